//! Repeatable random numbers, as the tests of `http1` have them.

/// Seeds of a test: `quick` of them. `NETSPAN_FUZZ_ROUNDS=300000 cargo test --release -p netspan --lib hpack::tests::fuzz`
/// runs longer (12 million blocks); a failure names its seed, and `NETSPAN_FUZZ_SEED` begins there.
pub(super) fn seeds(quick: u64) -> std::ops::Range<u64> {
    let number = |name| std::env::var(name).ok().and_then(|value| value.parse().ok());
    let first = number("NETSPAN_FUZZ_SEED").unwrap_or(0);
    first..first + number("NETSPAN_FUZZ_ROUNDS").unwrap_or(quick)
}

/// A small generator of numbers (SplitMix64): tests need repeatable ones, not good ones.
#[derive(Clone, Debug)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x6a09_e667_f3bc_c908)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `n`, which must not be 0.
    pub(super) fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    /// True once in `n` times.
    pub(super) fn once_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    pub(super) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    pub(super) fn bytes(&mut self, n: usize) -> Vec<u8> {
        (0..n).map(|_| self.next() as u8).collect()
    }
}
