//! Durations for people: three digits that matter, and the same width for all of them.

const SECOND: u64 = 1_000_000_000;

/// Columns of a [`duration`].
pub const DURATION_WIDTH: usize = 8;

/// A duration of `ns` nanoseconds in [`DURATION_WIDTH`] columns, with numbers and units under each other. Durations of
/// ten thousand hours and more are wider.
pub fn duration(ns: u64) -> String {
    // In the unit of the first line where it rounds to less than 1000; seconds end at 60.
    for (unit, name) in [(1, "ns"), (1_000, "µs"), (1_000_000, "ms"), (SECOND, "s ")] {
        let digits = digits(ns, unit);
        if unit == SECOND && ns >= 60 * SECOND - SECOND / 20 {
            break;
        }
        if let Some(digits) = digits {
            return format!("{digits:>5} {name}");
        }
    }
    let seconds = ns.saturating_add(SECOND / 2) / SECOND;
    let (minutes, rest) = (seconds / 60, seconds % 60);
    match minutes {
        0..60 => format!("{minutes:>4}m {rest:02}s").chars().skip(1).collect(),
        _ => format!("{:>3}h {:02}m", minutes / 60, minutes % 60),
    }
}

/// The same without padding.
pub fn brief(ns: u64) -> String {
    duration(ns).trim().to_owned()
}

/// Three significant digits of `ns` in `unit`; absent when that rounds to 1000 or more.
fn digits(ns: u64, unit: u64) -> Option<String> {
    if unit == 1 {
        return (ns < 1000).then(|| ns.to_string());
    }
    let rounded = |per_unit: u64| ns.saturating_add(unit / per_unit / 2) / (unit / per_unit);
    let (hundredths, tenths, whole) = (rounded(100), rounded(10), rounded(1));
    match () {
        () if hundredths < 1000 => Some(format!("{}.{:02}", hundredths / 100, hundredths % 100)),
        () if tenths < 1000 => Some(format!("{}.{}", tenths / 10, tenths % 10)),
        () if whole < 1000 => Some(whole.to_string()),
        () => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_three_digits_and_one_width() {
        let table = [
            (0, "    0 ns"),
            (999, "  999 ns"),
            (1_000, " 1.00 µs"),
            (9_994, " 9.99 µs"),
            (9_996, " 10.0 µs"),
            (99_960, "  100 µs"),
            (999_499, "  999 µs"),
            (999_500, " 1.00 ms"),
            (12_400_000, " 12.4 ms"),
            (999_500_000, " 1.00 s "),
            (59_940_000_000, " 59.9 s "),
            (59_950_000_000, "  1m 00s"),
            (61_000_000_000, "  1m 01s"),
            (3_599_400_000_000, " 59m 59s"),
            (3_599_600_000_000, "  1h 00m"),
            (360_000_000_000_000, "100h 00m"),
        ];
        for (ns, text) in table {
            assert_eq!(duration(ns), text, "{ns}");
            assert_eq!(text.chars().count(), DURATION_WIDTH);
        }
        assert_eq!(brief(12_400_000), "12.4 ms");
        assert!(!duration(u64::MAX).is_empty());
    }
}
