//! What was seen seldom in this minute: a count-min sketch, in constant space. It may take for common what is not (where very
//! many different things are seen), never for rare what is common.

use super::window::Window;

/// How long is counted, in nanoseconds.
pub const WINDOW_NS: u64 = 60_000_000_000;
/// Counters of a row, a power of two; and rows.
const COLUMNS: usize = 1 << 14;
const ROWS: usize = 4;

/// How often things were seen.
#[derive(Debug, Default)]
pub(super) struct Seldom {
    /// Filled at its first use.
    counts: Vec<u8>,
    window: Window<WINDOW_NS>,
}

impl Seldom {
    /// Counts a thing by its hash, and returns how often it was seen before in this window; 255 is as often or oftener.
    pub(super) fn count(&mut self, hash: u64) -> u8 {
        if self.counts.is_empty() {
            self.counts = vec![0; COLUMNS * ROWS];
        }
        let places = (0..ROWS).map(|row| {
            let mixed = hash.rotate_left(16 * row as u32).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            row * COLUMNS + (mixed >> (64 - COLUMNS.trailing_zeros())) as usize
        });
        let least = places.clone().filter_map(|at| self.counts.get(at)).min().copied().unwrap_or(u8::MAX);
        for at in places {
            // Only the least one is known to be too low (conservative update).
            if let Some(count) = self.counts.get_mut(at).filter(|count| **count == least) {
                *count = count.saturating_add(1);
            }
        }
        least
    }

    /// Begins anew when the window is over.
    pub(super) fn advance(&mut self, now_ns: u64) {
        if self.window.is_over(now_ns) {
            self.counts.fill(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(n: u64) -> u64 {
        n.wrapping_mul(0xbf58_476d_1ce4_e5b9) ^ n << 7
    }

    #[test]
    fn each_thing_is_counted_and_never_too_low() {
        let mut seldom = Seldom::default();
        for round in 0..3 {
            let right = (0..1000).filter(|n| seldom.count(hash(*n)) == round).count();
            assert!(right >= 999, "{right}");
        }
        for _ in 0..300 {
            seldom.count(hash(5000));
        }
        assert_eq!(seldom.count(hash(5000)), u8::MAX);
    }

    #[test]
    fn a_window_begins_with_nothing() {
        let mut seldom = Seldom::default();
        seldom.advance(1);
        assert_eq!((seldom.count(9), seldom.count(9)), (0, 1));
        seldom.advance(WINDOW_NS);
        assert_eq!(seldom.count(9), 2);
        seldom.advance(WINDOW_NS + 1);
        assert_eq!(seldom.count(9), 0);
    }
}
