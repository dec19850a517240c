//! What it is worth that something points at a request: that it was read on the thread that makes the call, or that the thread was
//! at it last. How often that is so of the request that the call is for, and how often of others, is learned per program.

use super::problem::Problem;

/// Observations of which nothing follows.
const DOUBT: f64 = 4.0;

/// What points at a request, as seen from a call.
#[derive(Clone, Copy, Debug)]
pub(super) enum Signal {
    /// The thread that makes the call read the request.
    Thread,
    /// The thread was at the request last.
    Last,
}

/// How often a signal points at the request of a call, and at another that was open.
#[derive(Clone, Debug, Default)]
pub(super) struct Shares {
    own: (f64, f64),
    other: (f64, f64),
}

impl Shares {
    /// Counts a call that belongs to `owner`.
    pub(super) fn observe(&mut self, signal: Signal, problem: &Problem, call: u32, owner: u32, weight: f64) {
        let candidates = problem.candidates(call);
        for req in candidates {
            let Some(same) = problem.points(signal, *req, call) else { continue };
            let (counts, weight) = if *req == owner {
                (&mut self.own, weight)
            } else {
                (&mut self.other, weight / (candidates.len() as f64 - 1.0).max(1.0))
            };
            counts.0 += weight * f64::from(u8::from(same));
            counts.1 += weight;
        }
    }

    pub(super) fn merge(&mut self, other: &Self, factor: f64) {
        for (mine, more) in [(&mut self.own, other.own), (&mut self.other, other.other)] {
            mine.0 = mine.0 * factor + more.0;
            mine.1 = mine.1 * factor + more.1;
        }
    }

    /// Log-likelihood ratios of being the owner: if it points there, and if it does not.
    pub(super) fn ratios(&self) -> (f64, f64) {
        let share = |(same, all): (f64, f64)| (same + DOUBT / 2.0) / (all + DOUBT);
        if self.own.1 < 1.0 || self.other.1 < 1.0 {
            return (0.0, 0.0);
        }
        let (own, other) = (share(self.own), share(self.other));
        ((own / other).ln(), ((1.0 - own) / (1.0 - other)).ln())
    }
}
