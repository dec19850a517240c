//! Densities of gaps: counts in bins, made smooth, as a table of logarithms.

use super::scale::{BINS, Scale};

/// Share of a density that is spread widely around what was seen, and share that is the same in every bin. A gap that was
/// never seen is unlikely, not impossible.
const WIDE_SHARE: f64 = 0.03;
const UNIFORM_SHARE: f64 = 0.01;
/// Observations that are added to both when few were made.
const DOUBT: f64 = 1.0;
/// Share that is assumed to be still to come, at least.
const BEYOND_MIN: f64 = 0.02;
/// Narrowest and widest kernel, in bins.
const KERNEL_BINS: (f64, f64) = (0.6, 24.0);

/// Weighted counts of gaps in bins.
#[derive(Clone, Debug)]
pub(super) struct Histogram {
    bins: Vec<f32>,
    total: f64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { bins: vec![0.0; BINS], total: 0.0 }
    }
}

impl Histogram {
    /// Counts a gap in this bin.
    pub(super) fn add(&mut self, bin: usize, weight: f64) {
        if let Some(count) = self.bins.get_mut(bin) {
            *count += weight as f32;
            self.total += weight;
        }
    }

    /// The weight of all counts.
    pub(super) const fn total(&self) -> f64 {
        self.total
    }

    /// Adds the counts of another.
    pub(super) fn merge(&mut self, other: &Self) {
        for (count, more) in self.bins.iter_mut().zip(&other.bins) {
            *count += more;
        }
        self.total += other.total;
    }

    /// Makes the total at most `most`.
    pub(super) fn fade(&mut self, most: f64) {
        if self.total > most {
            let factor = most / self.total;
            self.bins.iter_mut().for_each(|count| *count *= factor as f32);
            self.total = most;
        }
    }

    /// The bins at these shares of the total.
    fn quantiles<const N: usize>(&self, shares: [f64; N]) -> [f64; N] {
        shares.map(|share| {
            let mut sum = 0.0;
            let bin = self.bins.iter().position(|count| {
                sum += f64::from(*count);
                sum >= share * self.total
            });
            bin.unwrap_or(BINS - 1) as f64
        })
    }

    /// The counts, smoothed by a kernel with this standard deviation in bins: three passes of a moving average.
    pub(super) fn smoothed(&self, deviation: f64) -> Vec<f64> {
        let mut values: Vec<f64> = self.bins.iter().copied().map(f64::from).collect();
        // The variance of a moving average over w bins is (w² - 1) / 12; it is mixed from the two nearest odd widths.
        let width = (4.0 * deviation * deviation + 1.0).sqrt();
        let radius = ((width - 1.0) / 2.0).floor().max(0.0);
        let (narrow, wide) = (2.0 * radius + 1.0, 2.0 * radius + 3.0);
        let share = ((width * width - narrow * narrow) / (wide * wide - narrow * narrow)).clamp(0.0, 1.0);
        let mut sums = Vec::new();
        for _ in 0..3 {
            average(&mut values, radius as usize, share, &mut sums);
        }
        values
    }

    /// The share of each bin of what these counts are a sample of.
    fn masses(&self) -> Vec<f64> {
        let [low, quarter, three_quarters, high] = self.quantiles([0.16, 0.25, 0.75, 0.84]);
        let spread = ((high - low) / 2.0).min((three_quarters - quarter) / 1.35).max(0.3);
        // Silverman's rule.
        let deviation = (1.06 * spread * self.total.max(1.0).powf(-0.2)).clamp(KERNEL_BINS.0, KERNEL_BINS.1);
        let (mut masses, far) = (self.smoothed(deviation), self.smoothed(4.0 * deviation + 6.0));
        let doubt = DOUBT / (self.total + DOUBT);
        let (wide_share, uniform_share) = (WIDE_SHARE + 0.5 * doubt, UNIFORM_SHARE + 0.3 * doubt);
        let total = self.total.max(f64::MIN_POSITIVE);
        let (near, wide) = ((1.0 - wide_share - uniform_share) / total, wide_share / total);
        for (mass, far) in masses.iter_mut().zip(far) {
            *mass = near * *mass + wide * far + uniform_share / BINS as f64;
        }
        masses
    }

    /// The density that these counts are a sample of, per nanosecond.
    pub(super) fn density(&self, scale: Scale) -> Density {
        let masses = self.masses();
        let mut ln = Logarithm::default();
        let log: Box<[f32]> =
            (0..).zip(&masses).map(|(bin, mass)| (ln.of(*mass) - scale.log_width_ns(bin)) as f32).collect();
        let (mut rate, mut beyond) = (log.clone(), 0.0);
        for (rate, own) in rate.iter_mut().zip(&masses).rev() {
            beyond += own;
            *rate -= ln.of((beyond - own / 2.0).max(BEYOND_MIN)) as f32;
        }
        Density { log, rate }
    }

    /// What the mean logarithm of the density over these counts would be: minus their entropy.
    pub(super) fn mean_log(&self, scale: Scale) -> f64 {
        let counted = self.masses().into_iter().zip(&self.bins).enumerate().filter(|(_, (_, count))| **count > 0.0);
        let sum: f64 =
            counted.map(|(bin, (mass, count))| f64::from(*count) * (mass.ln() - scale.log_width_ns(bin))).sum();
        sum / self.total.max(f64::MIN_POSITIVE)
    }
}

/// Natural logarithms of numbers that often come several times in a row.
#[derive(Default)]
struct Logarithm {
    last: f64,
    log: f64,
}

impl Logarithm {
    fn of(&mut self, number: f64) -> f64 {
        if number.to_bits() != self.last.to_bits() {
            (self.last, self.log) = (number, number.ln());
        }
        self.log
    }
}

/// Replaces values by the moving average over `radius` bins on either side, mixed with that over one more, which has this
/// share. `sums` is memory.
fn average(values: &mut [f64], radius: usize, share: f64, sums: &mut Vec<f64>) {
    // Sums up to each value, with as many values of zero on either side as an average reaches.
    sums.clear();
    sums.resize(radius + 2, 0.0);
    let mut sum = 0.0;
    sums.extend(values.iter().map(|value| {
        sum += value;
        sum
    }));
    sums.resize(values.len() + 2 * radius + 3, sum);
    let (narrow, wide) = ((1.0 - share) / (2 * radius + 1) as f64, share / (2 * radius + 3) as f64);
    let ends = sums[2 * radius + 2..].iter().zip(&sums[2 * radius + 3..]);
    for (value, (begins, (end, far_end))) in values.iter_mut().zip(sums.windows(2).zip(ends)) {
        *value = narrow * (end - begins[1]) + wide * (far_end - begins[0]);
    }
}

/// A density of gaps.
#[derive(Clone, Debug)]
pub(super) struct Density {
    log: Box<[f32]>,
    rate: Box<[f32]>,
}

impl Density {
    /// The logarithm of the density per nanosecond in this bin.
    pub(super) fn log(&self, bin: usize) -> f64 {
        self.log.get(bin).copied().map_or(f64::from(f32::MIN), f64::from)
    }

    /// The logarithm of the rate per nanosecond at which what has not come comes in this bin.
    pub(super) fn log_rate(&self, bin: usize) -> f64 {
        self.rate.get(bin).copied().map_or(f64::from(f32::MIN), f64::from)
    }

    /// The mean of the logarithms over counts: minus their entropy.
    pub(super) fn mean_log(&self, counts: &Histogram) -> f64 {
        let sum: f64 = counts.bins.iter().zip(&self.log).map(|(count, log)| f64::from(*count) * f64::from(*log)).sum();
        sum / counts.total.max(f64::MIN_POSITIVE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(gaps: impl Iterator<Item = i64>) -> (Histogram, Scale) {
        let (mut counts, scale) = (Histogram::default(), Scale::new(1000));
        gaps.for_each(|gap| counts.add(scale.bin(gap), 1.0));
        (counts, scale)
    }

    #[test]
    fn a_density_sums_to_one() {
        for n in [1, 10, 1000] {
            let (counts, scale) = sample((0..n).map(|n| 200_000 + n * 1000));
            let density = counts.density(scale);
            let sum: f64 = (0..BINS).map(|bin| (density.log(bin) + scale.log_width_ns(bin)).exp()).sum();
            assert!((sum - 1.0).abs() < 0.01, "{sum} of {n}");
        }
    }

    #[test]
    fn what_was_often_seen_is_more_likely_and_nothing_is_impossible() {
        let (counts, scale) = sample((0..100).map(|n| 200_000 + n * 1000));
        let at = |gap| counts.density(scale).log(scale.bin(gap));
        assert!(at(250_000) > at(150_000) && at(150_000) > at(10_000_000));
        assert!(at(-5).is_finite() && at(i64::MAX).is_finite());
    }

    #[test]
    fn a_kernel_keeps_the_weight_and_has_the_asked_deviation() {
        for deviation in [0.6, 1.0, 3.3, 12.0] {
            let mut counts = Histogram::default();
            counts.add(BINS / 2, 2.0);
            let values = counts.smoothed(deviation);
            let sum: f64 = values.iter().sum();
            let variance: f64 =
                values.iter().enumerate().map(|(bin, v)| v * (bin as f64 - (BINS / 2) as f64).powi(2)).sum::<f64>()
                    / sum;
            assert!((sum - 2.0).abs() < 1e-9);
            assert!((variance.sqrt() - deviation).abs() < 0.1, "{} for {deviation}", variance.sqrt());
        }
    }
}
