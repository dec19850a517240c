//! What was decided of traces whose spans may still come: two generations, of which the older one is forgotten when the younger
//! one is full.

use rustc_hash::FxHashMap;

use super::Verdict;
use crate::span::TraceId;

/// Decisions of a generation: so many are remembered at least, and twice as many at most.
pub const REMEMBERED_MIN: usize = 65_536;

/// Decisions by trace.
#[derive(Debug, Default)]
pub(super) struct Memory {
    young: FxHashMap<TraceId, Verdict>,
    old: FxHashMap<TraceId, Verdict>,
}

impl Memory {
    pub(super) fn remember(&mut self, trace: TraceId, verdict: Verdict) {
        if self.young.len() >= REMEMBERED_MIN {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(trace, verdict);
    }

    pub(super) fn recall(&self, trace: TraceId) -> Option<Verdict> {
        self.young.get(&trace).or_else(|| self.old.get(&trace)).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::{super::Dropped, *};

    #[test]
    fn the_last_ones_are_remembered_and_the_number_is_bounded() {
        let mut memory = Memory::default();
        let id = |n: usize| TraceId((n as u128 + 1).to_be_bytes());
        for n in 0..4 * REMEMBERED_MIN {
            memory.remember(id(n), Verdict::Drop(Dropped::Chance));
        }
        assert!(memory.young.len() + memory.old.len() <= 2 * REMEMBERED_MIN);
        assert!((3 * REMEMBERED_MIN..4 * REMEMBERED_MIN).all(|n| memory.recall(id(n)).is_some()));
        assert!(memory.recall(id(0)).is_none());
    }
}
