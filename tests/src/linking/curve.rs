//! What confidence is worth: how many calls a threshold leaves with a parent and how many of these with a wrong one, and how often claims of
//! about the same confidence are right.

use serde::Serialize;

/// Thresholds of the curve.
const THRESHOLDS: [f64; 8] = [0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.97, 0.99];
/// Where the bins of the calibration begin.
const BINS: [f64; 7] = [0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99];

/// What would be told with a threshold.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Step {
    /// The threshold.
    pub min_confidence: f64,
    /// Share of the calls that have a parent then.
    pub coverage: f64,
    /// Share of these that have a wrong one.
    pub wrong: f64,
}

/// Claims of about the same confidence, whatever the method.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Bin {
    /// How many.
    pub calls: usize,
    /// Their confidence on average.
    pub claimed: f64,
    /// The share that is right.
    pub right: f64,
}

/// The curve and the calibration of claims, each a confidence and whether it is right, made of so many calls.
pub(super) fn measured(claims: &[(f64, bool)], calls: usize) -> (Vec<Step>, Vec<Bin>) {
    let share = |part: usize, all: usize| part as f64 / all.max(1) as f64;
    let step = |min_confidence: f64| {
        let told = || claims.iter().filter(|(confidence, _)| *confidence >= min_confidence);
        let (made, wrong) = (told().count(), told().filter(|(_, right)| !right).count());
        Step { min_confidence, coverage: share(made, calls), wrong: share(wrong, made) }
    };
    let ends = BINS[1..].iter().copied().chain([f64::INFINITY]);
    let bin = |(from, to): (f64, f64)| {
        let own: Vec<_> = claims.iter().filter(|(confidence, _)| (from..to).contains(confidence)).collect();
        let claimed = own.iter().map(|(confidence, _)| confidence).sum::<f64>() / own.len().max(1) as f64;
        let right = share(own.iter().filter(|(_, right)| *right).count(), own.len());
        (!own.is_empty()).then_some(Bin { calls: own.len(), claimed, right })
    };
    (THRESHOLDS.map(step).to_vec(), BINS.into_iter().zip(ends).filter_map(bin).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coverage_falls_with_the_threshold_and_bins_hold_what_was_claimed() {
        let claims = [(1.0, true), (0.96, true), (0.96, false), (0.55, false)];
        let (curve, bins) = measured(&claims, 8);
        assert_eq!(curve[0], Step { min_confidence: 0.5, coverage: 0.5, wrong: 0.5 });
        assert_eq!(curve[5], Step { min_confidence: 0.95, coverage: 0.375, wrong: 1.0 / 3.0 });
        assert_eq!(curve[7], Step { min_confidence: 0.99, coverage: 0.125, wrong: 0.0 });
        assert_eq!(bins.iter().map(|bin| bin.calls).collect::<Vec<_>>(), [1, 2, 1]);
        assert_eq!(bins[1], Bin { calls: 2, claimed: 0.96, right: 0.5 });
        assert_eq!(measured(&[], 0).1, []);
    }
}
