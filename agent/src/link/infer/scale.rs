//! The bins that gaps of time are counted in: one unit wide up to eight units, then eight to each doubling, so that the
//! width is a twelfth to an eighth of the gap. Nearly the logarithm of (1 + gap), without computing one.

/// Bins on either side of zero.
const SIDE: usize = 304;
/// Bins of a scale: gaps below zero first.
pub(super) const BINS: usize = 2 * SIDE;
/// The finest unit, in nanoseconds. What happens within a process between two calls takes longer.
const UNIT_MIN_NS: u64 = 1000;

/// How gaps are put into bins.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Scale {
    unit_ns: f64,
    log_unit_ns: f64,
    per_unit: f64,
}

impl Scale {
    /// The scale for stamps that are multiples of `tick_ns`.
    pub(super) fn new(tick_ns: u64) -> Self {
        let unit_ns = tick_ns.max(UNIT_MIN_NS) as f64;
        Self { unit_ns, log_unit_ns: unit_ns.ln(), per_unit: unit_ns.recip() }
    }

    /// The bin of a gap in nanoseconds.
    pub(super) fn bin(self, gap_ns: i64) -> usize {
        // Half a nanosecond keeps a multiple of the unit from falling below itself.
        let units = ((gap_ns.unsigned_abs() as f64 + 0.5) * self.per_unit) as u64;
        let bin = if units < 8 {
            units as usize
        } else {
            let octave = units.ilog2() as usize;
            (octave - 2) * 8 + ((units >> (octave - 3)) & 7) as usize
        };
        let bin = bin.min(SIDE - 1);
        if gap_ns < 0 { SIDE - 1 - bin } else { SIDE + bin }
    }

    /// The natural logarithm of a bin's width in nanoseconds.
    pub(super) fn log_width_ns(self, bin: usize) -> f64 {
        let bin = if bin < SIDE { SIDE - 1 - bin } else { bin - SIDE };
        let doublings = (bin / 8).saturating_sub(1).min(62);
        self.log_unit_ns + doublings as f64 * std::f64::consts::LN_2
    }
}

/// The coarsest power of ten, in nanoseconds, that all stamps are multiples of.
pub(super) fn tick_ns(stamps: impl Iterator<Item = u64>) -> u64 {
    let mut tick = 1_000_000_000;
    for stamp in stamps {
        while stamp % tick != 0 {
            tick /= 10;
        }
        if tick == 1 {
            break;
        }
    }
    tick
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_gap_has_a_bin_and_bins_are_as_wide_as_they_say() {
        for tick in [1, 1000, 1_000_000] {
            let scale = Scale::new(tick);
            let mut bin = scale.bin(0);
            let (mut from, unit) = (0_i64, tick.max(UNIT_MIN_NS).cast_signed());
            for units in 1..5000_i64 {
                let next = scale.bin(units * unit);
                if next != bin {
                    assert_eq!(next, bin + 1);
                    assert!((scale.log_width_ns(bin).exp() - (units * unit - from) as f64).abs() < 0.5);
                    (bin, from) = (next, units * unit);
                }
                assert_eq!(scale.bin(-units * unit), BINS - 1 - next);
            }
            assert_eq!(scale.bin(i64::MAX), BINS - 1);
            assert_eq!(scale.bin(i64::MIN), 0);
        }
    }

    #[test]
    fn the_tick_is_what_all_stamps_share() {
        for (stamps, tick) in [
            (&[1_695_318_375_835_000_000, 1_695_318_375_880_000_000][..], 1_000_000),
            (&[1_655_753_657_874_176_000, 2_000_000], 1000),
            (&[17, 20_000], 1),
            (&[0, 0], 1_000_000_000),
        ] {
            assert_eq!(tick_ns(stamps.iter().copied()), tick);
        }
    }
}
