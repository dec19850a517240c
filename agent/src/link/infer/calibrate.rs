//! Calibration: from the confidence that is claimed to the share that is right, learned from calls whose request is known
//! exactly but was kept from the solver. Isotonic regression (pool adjacent violators: Ayer et al., "An empirical
//! distribution function for sampling with incomplete information", 1955).

use std::collections::VecDeque;

/// Observations that are kept; older ones go first.
pub const OBSERVATIONS_MAX: usize = 4096;
/// Observations without which nothing is changed.
pub const OBSERVATIONS_MIN: usize = 200;
/// Observations after which the curve is drawn anew.
const FRESH: usize = 64;

/// What was claimed and what was so.
#[derive(Clone, Debug, Default)]
pub struct Calibration {
    observations: VecDeque<(f64, bool)>,
    fresh: usize,
    /// From which claim on, which share is right; both rise.
    curve: Vec<(f64, f64)>,
}

impl Calibration {
    /// A call that was held out: how sure its request was, and whether it was right.
    pub fn observe(&mut self, confidence: f64, right: bool) {
        if self.observations.len() == OBSERVATIONS_MAX {
            self.observations.pop_front();
        }
        self.observations.push_back((confidence, right));
        self.fresh += 1;
        if self.fresh >= FRESH && self.observations.len() >= OBSERVATIONS_MIN {
            self.fresh = 0;
            self.curve = isotonic(self.observations.iter().copied().collect());
        }
    }

    /// What a claim is worth. Without enough observations it is taken as it is.
    pub fn apply(&self, confidence: f64) -> f64 {
        let after = self.curve.partition_point(|(claim, _)| *claim <= confidence);
        match after.checked_sub(1).and_then(|at| self.curve.get(at)) {
            Some((_, share)) => *share,
            None => self.curve.first().map_or(confidence, |(_, share)| share.min(confidence)),
        }
    }
}

/// The rising steps that are nearest to the observations; each step doubts itself by one wrong observation.
fn isotonic(mut observations: Vec<(f64, bool)>) -> Vec<(f64, f64)> {
    observations.sort_by(|(a, _), (b, _)| a.total_cmp(b));
    // Lowest claim, right ones, all.
    let mut steps: Vec<(f64, f64, f64)> = Vec::new();
    for (claim, right) in observations {
        let mut step = (claim, f64::from(u8::from(right)), 1.0);
        while let Some(below) = steps.pop_if(|below| below.0 >= step.0 || below.1 * step.2 >= step.1 * below.2) {
            step = (below.0, below.1 + step.1, below.2 + step.2);
        }
        steps.push(step);
    }
    let mut highest: f64 = 0.0;
    let share = |(claim, right, all): (f64, f64, f64)| {
        highest = highest.max(right / (all + 1.0));
        (claim, highest)
    };
    steps.into_iter().map(share).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_observations_a_claim_is_what_it_says() {
        let mut calibration = Calibration::default();
        (1..OBSERVATIONS_MIN).for_each(|_| calibration.observe(0.9, false));
        assert!((calibration.apply(0.9) - 0.9).abs() < 1e-12);
    }

    #[test]
    fn claims_become_the_shares_that_were_right() {
        let mut calibration = Calibration::default();
        for n in 0..1000 {
            calibration.observe(0.99, n % 20 != 0);
            calibration.observe(0.6, n % 2 == 0);
        }
        let (high, low) = (calibration.apply(0.99), calibration.apply(0.6));
        assert!((0.93..0.96).contains(&high) && (0.48..0.52).contains(&low), "{high} {low}");
        assert!(calibration.apply(0.3) <= 0.3 && calibration.apply(1.0) <= high);
    }

    #[test]
    fn a_surer_claim_is_never_worth_less() {
        let mut random = crate::link::infer::random::Random::new(5);
        let mut calibration = Calibration::default();
        for _ in 0..3000 {
            let claim = random.unit();
            calibration.observe(claim, random.unit() < claim * claim);
        }
        let worth: Vec<f64> = (0..=100).map(|n| calibration.apply(f64::from(n) / 100.0)).collect();
        assert!(worth.is_sorted(), "{worth:?}");
    }
}
