//! The cap of a route: of the traces that chance would keep, at most so many in a second. Those with the highest randomness
//! stay, so which these are depends on nothing but chance, and the threshold that they share is known afterwards: the randomness
//! of the best one that had to go (a bottom-k sample; its estimates are unbiased).

use std::{cmp::Reverse, collections::BinaryHeap};

use rustc_hash::FxHashMap;

use super::{Randomness, Threshold, window::Window};
use crate::span::TraceId;

/// How long one reservoir is filled, in nanoseconds.
pub const WINDOW_NS: u64 = 1_000_000_000;
/// Routes with a reservoir of their own in a second; all others share one.
pub const ROUTES_MAX: usize = 4096;
/// The route of those.
const OTHERS: u64 = 0;

#[derive(Debug, Default)]
struct Reservoir {
    /// The lowest randomness comes first.
    held: BinaryHeap<Reverse<(Randomness, TraceId)>>,
    /// The best one that had to go.
    gone: Option<Randomness>,
}

/// The reservoirs of a second.
#[derive(Debug, Default)]
pub(super) struct Reservoirs {
    routes: FxHashMap<u64, Reservoir>,
    window: Window<WINDOW_NS>,
}

impl Reservoirs {
    /// Offers a trace of a route (by its hash). Returns the trace that has to go, which may be the same one.
    pub(super) fn offer(
        &mut self,
        route: u64,
        (randomness, trace): (Randomness, TraceId),
        cap: usize,
    ) -> Option<TraceId> {
        let is_known = self.routes.len() < ROUTES_MAX || self.routes.contains_key(&route);
        let reservoir = self.routes.entry(if is_known { route } else { OTHERS }).or_default();
        reservoir.held.push(Reverse((randomness, trace)));
        if reservoir.held.len() <= cap {
            return None;
        }
        let Reverse((randomness, trace)) = reservoir.held.pop()?;
        reservoir.gone = reservoir.gone.max(Some(randomness));
        Some(trace)
    }

    /// When the second is over: each trace that stays, with the threshold of its reservoir, in a fixed order.
    pub(super) fn advance(&mut self, now_ns: u64) -> Vec<(TraceId, Threshold)> {
        if self.window.is_over(now_ns) { self.finish() } else { Vec::new() }
    }

    /// The same, whether the second is over or not.
    pub(super) fn finish(&mut self) -> Vec<(TraceId, Threshold)> {
        let mut kept: Vec<_> = self
            .routes
            .drain()
            .flat_map(|(_, reservoir)| {
                let threshold = reservoir.gone.map_or(Threshold::ALWAYS, Threshold::above);
                reservoir.held.into_iter().map(move |Reverse((_, trace))| (trace, threshold))
            })
            .collect();
        kept.sort_unstable();
        kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trace(n: u64) -> (Randomness, TraceId) {
        let mixed = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ n.wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 20;
        let id = TraceId((u128::from(n) << 64 | u128::from(mixed)).to_be_bytes());
        (Randomness::of(id, ""), id)
    }

    #[test]
    fn the_best_stay_and_what_they_stand_for_adds_up() {
        let mut reservoirs = Reservoirs::default();
        reservoirs.advance(0);
        let (mut sum, mut gone) = (0.0, 0);
        for second in 0..200_u64 {
            for n in 0..500 {
                gone += usize::from(reservoirs.offer(1, trace(second * 500 + n), 20).is_some());
            }
            let kept = reservoirs.advance((second + 1) * WINDOW_NS);
            assert_eq!(kept.len(), 20);
            for (id, threshold) in kept {
                assert!(threshold.keeps(Randomness::of(id, "")));
                sum += threshold.adjusted_count();
            }
        }
        assert_eq!(gone, 200 * 480);
        let off = sum / 100_000.0 - 1.0;
        assert!(off.abs() < 0.05, "{off}");
    }

    #[test]
    fn below_the_cap_everything_stays_for_what_it_is() {
        let mut reservoirs = Reservoirs::default();
        reservoirs.advance(0);
        assert!((0..5).all(|n| reservoirs.offer(n % 2, trace(n), 3).is_none()));
        let kept = reservoirs.advance(WINDOW_NS);
        assert_eq!(kept.len(), 5);
        assert!(kept.iter().all(|(_, threshold)| *threshold == Threshold::ALWAYS));
    }

    #[test]
    fn routes_beyond_the_bound_share_one() {
        let mut reservoirs = Reservoirs::default();
        let gone = (0..2 * ROUTES_MAX as u64).filter(|n| reservoirs.offer(n + 1, trace(*n), 1).is_some()).count();
        assert_eq!(gone, ROUTES_MAX - 1);
        assert_eq!(reservoirs.routes.len(), ROUTES_MAX + 1);
    }
}
