//! Shares, delays and arrivals that look random, the same for the same seed.

use crate::load::Dice;

/// The generator.
#[derive(Clone, Debug)]
pub(super) struct Random(Dice);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(Dice::new(seed))
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0.roll()
    }

    /// From 0 to 1, 1 excluded.
    pub(super) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    pub(super) fn once_in(&mut self, share: f64) -> bool {
        self.unit() < share
    }

    /// A delay in nanoseconds with this median, in microseconds; its logarithm is normally distributed.
    pub(super) fn delay(&mut self, median_us: f64, deviation: f64) -> u64 {
        let normal = (-2.0 * self.unit().max(1e-12).ln()).sqrt() * (std::f64::consts::TAU * self.unit()).cos();
        (median_us * 1000.0 * (deviation * normal).exp()) as u64
    }

    /// An interval between arrivals at this rate per second, in nanoseconds.
    pub(super) fn interval(&mut self, rate: f64) -> u64 {
        (-(1.0 - self.unit()).ln() / rate * 1e9) as u64
    }
}
