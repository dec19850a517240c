//! Consistent probability sampling (OpenTelemetry, `TraceState: Probability Sampling`): a trace's randomness R, 56 bits that all
//! who see the trace agree on, and the threshold T of whoever decides. Kept is what has R >= T, which happens with the
//! probability 1 - T / 2^56; each kept one stands for the inverse of that many.

use std::fmt;

use crate::span::TraceId;

/// One more than the largest randomness.
const ALL: u64 = 1 << 56;
/// Hexadecimal digits of 56 bits.
const DIGITS: usize = 14;
/// Vendor key of OpenTelemetry in `tracestate`.
const MEMBER: &str = "ot=";
/// Members of a `tracestate` at most (W3C trace-context, 3.3.1.1).
const MEMBERS_MAX: usize = 32;

/// The randomness of a trace, below 2^56.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Randomness(u64);

impl Randomness {
    /// That of a trace: `rv` of its `tracestate`, else the last seven bytes of its id (W3C trace-context level 2).
    pub fn of(trace: TraceId, state: &str) -> Self {
        let own = Self(u128::from_be_bytes(trace.0) as u64 & (ALL - 1));
        let rv = value(state, "rv").filter(|digits| digits.len() == DIGITS);
        rv.and_then(hex).map_or(own, Self)
    }
}

/// A threshold, from 0 (all) to 2^56 (nothing).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Threshold(u64);

impl Threshold {
    /// Keeps all.
    pub const ALWAYS: Self = Self(0);
    /// Keeps nothing.
    pub const NEVER: Self = Self(ALL);

    /// The threshold of a probability from 0 to 1.
    #[expect(clippy::cast_precision_loss, clippy::cast_sign_loss, reason = "both are below 2^56, and not negative")]
    pub fn of_ratio(ratio: f64) -> Self {
        Self(ALL - (ratio.clamp(0.0, 1.0) * ALL as f64).round() as u64)
    }

    /// The lowest threshold that drops this randomness.
    pub const fn above(randomness: Randomness) -> Self {
        Self(randomness.0 + 1)
    }

    /// The threshold of `th` in a `tracestate`, if there is a valid one.
    pub fn of_state(state: &str) -> Option<Self> {
        let digits = value(state, "th").filter(|digits| (1..=DIGITS).contains(&digits.len()))?;
        let missing = (DIGITS - digits.len()) * 4;
        hex(digits).map(|number| Self(number << missing))
    }

    /// Whether what has this randomness is kept.
    pub const fn keeps(self, randomness: Randomness) -> bool {
        randomness.0 >= self.0
    }

    /// How many each kept one stands for: from 1; infinite where nothing is kept.
    #[expect(clippy::cast_precision_loss, reason = "a float has 53 bits, which is exact enough for a factor")]
    pub fn adjusted_count(self) -> f64 {
        ALL as f64 / (ALL - self.0) as f64
    }

    /// The `tracestate` with this threshold as its `th`. What others said in it stays; the member that changed is the first one,
    /// and of more members than are allowed the last one goes (W3C trace-context, 3.5).
    pub fn written(self, state: &str) -> String {
        let mut out = format!("{MEMBER}th:{self}");
        for field in member(state).unwrap_or_default().split(';') {
            if !field.is_empty() && !field.starts_with("th:") {
                out.push(';');
                out.push_str(field);
            }
        }
        let others = members(state).filter(|member| !member.starts_with(MEMBER));
        for other in others.take(MEMBERS_MAX - 1) {
            out.push(',');
            out.push_str(other);
        }
        out
    }
}

impl fmt::Display for Threshold {
    /// Hexadecimal digits without the zeros at the end.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Nobody writes that nothing is kept: it would be one digit too many.
        let digits = format!("{:0DIGITS$x}", self.0.min(ALL - 1));
        let short = digits.trim_end_matches('0');
        f.write_str(if short.is_empty() { "0" } else { short })
    }
}

fn members(state: &str) -> impl Iterator<Item = &str> {
    state.split(',').map(str::trim).filter(|member| !member.is_empty())
}

/// What OpenTelemetry's member of a `tracestate` says.
fn member(state: &str) -> Option<&str> {
    members(state).find_map(|member| member.strip_prefix(MEMBER))
}

fn value<'a>(state: &'a str, key: &str) -> Option<&'a str> {
    member(state)?.split(';').find_map(|field| field.strip_prefix(key)?.strip_prefix(':'))
}

/// A number of at most 14 digits.
fn hex(digits: &str) -> Option<u64> {
    let is_sound = digits.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
    if is_sound { u64::from_str_radix(digits, 16).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: TraceId = TraceId([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]);

    #[test]
    fn randomness_is_the_end_of_the_id_unless_the_state_has_its_own() {
        assert_eq!(Randomness::of(TRACE, ""), Randomness(0x0a_0b0c_0d0e_0f10));
        assert_eq!(Randomness::of(TRACE, "a=1,ot=th:8;rv:abcdef01234567"), Randomness(0xab_cdef_0123_4567));
        for broken in [
            "ot=rv:abc",
            "ot=rv:ABCDEF01234567",
            "ot=rv:+bcdef01234567",
            "xot=rv:abcdef01234567",
            "ot=rv:abcdef012345678",
        ] {
            assert_eq!(Randomness::of(TRACE, broken), Randomness(0x0a_0b0c_0d0e_0f10), "{broken}");
        }
    }

    #[test]
    fn thresholds_are_written_and_read_as_the_specification_has_them() {
        for (ratio, written, count) in [
            (1.0, "0", 1.0),
            (0.5, "8", 2.0),
            (0.25, "c", 4.0),
            (0.01, "fd70a3d70a3d7", 100.0),
            (2_f64.powi(-56), "ffffffffffffff", 2_f64.powi(56)),
        ] {
            let threshold = Threshold::of_ratio(ratio);
            assert!(threshold.to_string().starts_with(written), "{ratio}: {threshold}");
            assert!((threshold.adjusted_count() / count - 1.0).abs() < 1e-9, "{ratio}");
            assert_eq!(Threshold::of_state(&format!("ot=th:{threshold}")), Some(threshold), "{ratio}");
        }
        assert_eq!((Threshold::of_ratio(0.0), Threshold::of_ratio(7.0)), (Threshold::NEVER, Threshold::ALWAYS));
        for broken in ["", "ot=", "ot=th:", "ot=th:123456789abcdef", "ot=th:G", "ot=tx:8", "th:8"] {
            assert_eq!(Threshold::of_state(broken), None, "{broken}");
        }
    }

    #[test]
    fn what_is_kept_is_what_is_not_below() {
        let half = Threshold::of_ratio(0.5);
        assert!(half.keeps(Randomness(1 << 55)) && !half.keeps(Randomness((1 << 55) - 1)));
        assert!(!Threshold::NEVER.keeps(Randomness(ALL - 1)) && Threshold::ALWAYS.keeps(Randomness(0)));
        assert!(
            !Threshold::above(Randomness(7)).keeps(Randomness(7))
                && Threshold::above(Randomness(7)).keeps(Randomness(8))
        );
    }

    #[test]
    fn a_state_keeps_what_others_said() {
        let half = Threshold::of_ratio(0.5);
        for (before, after) in [
            ("", "ot=th:8"),
            ("congo=t61", "ot=th:8,congo=t61"),
            ("a=1, ot=rv:abcdef01234567;th:c;x:y ,b=2", "ot=th:8;rv:abcdef01234567;x:y,a=1,b=2"),
        ] {
            assert_eq!(half.written(before), after);
        }
        let many: Vec<String> = (0..32).map(|n| format!("k{n}=v")).collect();
        assert_eq!(half.written(&many.join(",")).split(',').count(), 32);
    }
}
