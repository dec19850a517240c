//! Span and trace ids: a keyed function of the connection and the request's ordinal, so that a replay gives the ids of
//! the first run. Nothing is hidden by the key: it only keeps hosts and runs apart.

use super::Key;
use crate::span::{SpanId, TraceId};
use netspan_ebpf::id::{self, purpose};

/// Makes ids from the seed of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ids {
    seed: [u64; 2],
}

impl Ids {
    /// `seed` should be random, and is kept in recordings.
    pub const fn new(seed: [u64; 2]) -> Self {
        Self { seed }
    }

    /// The id of an exchange's span.
    pub(super) fn span(self, key: Key) -> SpanId {
        SpanId(self.number(key, purpose::SPAN).to_be_bytes())
    }

    /// The id of the trace that begins with an exchange. All its bits look random, the low 56 among them, as consistent
    /// sampling needs (W3C trace-context level 2, random flag).
    pub(super) fn trace(self, key: Key) -> TraceId {
        let number =
            u128::from(self.number(key, purpose::TRACE_HIGH)) << 64 | u128::from(self.number(key, purpose::TRACE_LOW));
        TraceId(number.to_be_bytes())
    }

    fn number(self, key: Key, purpose: u64) -> u64 {
        id::number(self.seed, key.conn, key.ordinal, purpose)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn ids_repeat_with_the_seed_and_differ_without_it() {
        let key = Key { conn: 5, ordinal: 6 };
        assert_eq!(Ids::new([1, 2]).trace(key), Ids::new([1, 2]).trace(key));
        assert_ne!(Ids::new([1, 2]).trace(key), Ids::new([1, 3]).trace(key));
        assert_ne!(Ids::new([1, 2]).span(key), Ids::new([2, 2]).span(key));
    }

    #[test]
    fn neighbouring_exchanges_share_no_id_and_the_low_bits_look_random() {
        let ids = Ids::new([7, 8]);
        let mut spans = HashSet::new();
        let mut ones = 0;
        for conn in 0..100 {
            for ordinal in 0..100 {
                let key = Key { conn, ordinal };
                assert!(spans.insert(ids.span(key)));
                ones += ids.trace(key).0[9..].iter().map(|byte| byte.count_ones()).sum::<u32>();
            }
        }
        let share = f64::from(ones) / (56.0 * 10_000.0);
        assert!((0.49..0.51).contains(&share), "{share} of the low 56 bits are set");
    }
}
