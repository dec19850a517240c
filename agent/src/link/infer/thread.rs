//! What it is worth that a call is made on the thread that read the request: learned per program.

use super::problem::Problem;

/// Observations of which nothing follows.
const DOUBT: f64 = 4.0;

/// How often calls are made on their request's thread, and on that of another that was open.
#[derive(Clone, Debug, Default)]
pub(super) struct Threads {
    own: (f64, f64),
    other: (f64, f64),
}

impl Threads {
    /// Counts a call that belongs to `owner`.
    pub(super) fn observe(&mut self, problem: &Problem, call: u32, owner: u32, weight: f64) {
        if problem.threads.get(call as usize).is_none_or(Option::is_none) {
            return;
        }
        let candidates = problem.candidates(call);
        for req in candidates {
            let Some(same) = problem.same_thread(*req, call) else { continue };
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

    /// Log-likelihood ratios of being the owner: if the thread is the same, and if it is not.
    pub(super) fn ratios(&self) -> (f64, f64) {
        let share = |(same, all): (f64, f64)| (same + DOUBT / 2.0) / (all + DOUBT);
        if self.own.1 < 1.0 || self.other.1 < 1.0 {
            return (0.0, 0.0);
        }
        let (own, other) = (share(self.own), share(self.other));
        ((own / other).ln(), ((1.0 - own) / (1.0 - other)).ln())
    }
}
