//! Hostile input, for each part one target of raw bytes and one of structured ones: frames, gRPC, the scrubber; HPACK has
//! its own beside its decoder. A failure names its seed. All of them with more than ten million executions each (chunks,
//! messages, blocks):
//!
//! ```text
//! NETSPAN_FUZZ_ROUNDS=500000 CARGO_PROFILE_RELEASE_OVERFLOW_CHECKS=true cargo test --release -p netspan --lib -- \
//!     --nocapture http2::tests::fuzz http2::hpack::tests::fuzz
//! ```
//! `NETSPAN_FUZZ_SEED` says where to begin.

mod frames;
mod grpc;
mod scrub;

fn seeds(quick: u64) -> std::ops::Range<u64> {
    let number = |name| std::env::var(name).ok().and_then(|value| value.parse().ok());
    let first = number("NETSPAN_FUZZ_SEED").unwrap_or(0);
    first..first + number("NETSPAN_FUZZ_ROUNDS").unwrap_or(quick)
}

/// How much was fed; told when the target is over.
struct Executions(u64, &'static str);

impl Executions {
    const fn of(target: &'static str) -> Self {
        Self(0, target)
    }
}

impl Drop for Executions {
    fn drop(&mut self) {
        println!("{}: {} executions", self.1, self.0);
    }
}

/// A small generator of numbers (SplitMix64): tests need repeatable ones, not good ones.
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    fn bytes(&mut self, n: usize) -> Vec<u8> {
        (0..n).map(|_| self.next() as u8).collect()
    }
}
