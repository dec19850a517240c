//! A generator of numbers that look random, the same for the same seed (`SplitMix64`: Steele, Lea and Flood, "Fast
//! splittable pseudorandom number generators", 2014, figure 17).

/// The generator.
#[derive(Clone, Debug)]
pub(super) struct Random(u64);

impl Random {
    /// One that begins at a seed.
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub(super) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mixed(self.0)
    }

    /// A number from 0 to `bound` - 1; 0 if `bound` is 0.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.next()) * bound as u128) >> 64) as usize
    }

    /// A number in [0, 1).
    pub(super) fn unit(&mut self) -> f64 {
        const STEPS: f64 = (1_u64 << 53) as f64;
        (self.next() >> 11) as f64 / STEPS
    }

    /// A number from the standard Gumbel distribution: to add one to each of several logarithms of likelihoods and take
    /// the largest is to draw one by its likelihood.
    pub(super) fn gumbel(&mut self) -> f64 {
        -(-self.unit().max(1e-12).ln()).ln()
    }
}

/// A number whose every bit depends on every bit of `n`.
pub(super) const fn mixed(n: u64) -> u64 {
    let n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ (n >> 31)
}
