//! Durations, counted by bins on a logarithmic scale: percentiles within 1 % of the true value, from sketches that can be added up
//! (`DDSketch`: Masson, Rim, Lee, VLDB 2019), all of them over the same bins.

use std::sync::LazyLock;

/// Bins for each factor of ten: each is 1.94 % wide, so its middle is at most 0.96 % from what is in it. They are stored: the number
/// must never change. It is a multiple of the rows of a heat map, which are made of whole bins.
pub const BINS_PER_DECADE: usize = 120;
/// Bins there are: 20 decades hold every number of nanoseconds.
pub const BINS: usize = 20 * BINS_PER_DECADE;
/// Bits behind a duration's first one that choose a place in the table of bins: a place is narrower than a bin.
const FINE_BITS: u32 = 6;

/// The lowest duration of each bin, in nanoseconds, ascending; many of the first bins hold none.
static BOUNDS: LazyLock<Vec<u64>> = LazyLock::new(|| (0..BINS).map(bound).collect());
/// The bin of the lowest duration that begins with these bits.
static FIRST: LazyLock<Vec<u16>> = LazyLock::new(|| {
    let place = |place: u64| {
        let (length, fine) = ((place >> FINE_BITS) as u32, place & ((1 << FINE_BITS) - 1));
        let lowest = u128::from(fine | 1 << FINE_BITS) << length >> FINE_BITS;
        let lowest = u64::try_from(lowest).unwrap_or(u64::MAX);
        BOUNDS.partition_point(|bound| *bound <= lowest).saturating_sub(1) as u16
    };
    (0..64 << FINE_BITS).map(place).collect()
});

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "bins are far fewer than 2^52, and a power of ten is above 0"
)]
fn bound(bin: usize) -> u64 {
    let (decade, rest) = (bin / BINS_PER_DECADE, bin % BINS_PER_DECADE);
    let decade = 10_u64.saturating_pow(decade as u32);
    if rest == 0 {
        return decade;
    }
    (decade as f64 * 10_f64.powf(rest as f64 / BINS_PER_DECADE as f64)).ceil() as u64
}

/// The bin of a duration in nanoseconds.
pub fn bin(ns: u64) -> usize {
    let ns = ns.max(1);
    let length = ns.ilog2();
    let fine = (u128::from(ns) << FINE_BITS >> length) as usize & ((1 << FINE_BITS) - 1);
    let first = usize::from(FIRST[(length as usize) << FINE_BITS | fine]);
    let is_next = |bin: usize| BOUNDS.get(bin).is_some_and(|bound| *bound <= ns);
    // Short durations skip bins that hold none.
    (first..BINS).find(|bin| !is_next(bin + 1)).unwrap_or(first)
}

/// How many durations there are of each bin.
#[derive(Clone, Debug, Default)]
pub struct Sketch {
    /// The bin of the first of [`Self::counts`].
    first: usize,
    counts: Vec<u64>,
    total: u64,
}

impl Sketch {
    /// Takes so many durations of a bin.
    pub fn add(&mut self, bin: usize, count: u64) {
        if self.counts.is_empty() {
            self.first = bin;
        }
        if bin < self.first {
            let missing = self.first - bin;
            self.counts.splice(0..0, std::iter::repeat_n(0, missing));
            self.first = bin;
        }
        let at = bin - self.first;
        if at >= self.counts.len() {
            self.counts.resize(at + 1, 0);
        }
        self.counts[at] += count;
        self.total += count;
    }

    /// Takes all durations of another sketch.
    pub fn merge(&mut self, other: &Self) {
        for (bin, count) in (other.first..).zip(&other.counts).filter(|(_, count)| **count > 0) {
            self.add(bin, *count);
        }
    }

    /// The duration that this share (0 to 1) does not exceed, in nanoseconds; nothing where there are none.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_sign_loss,
        reason = "ranks are from 0 to what was counted, and a share of 2^52 durations may be one off"
    )]
    pub fn quantile_ns(&self, share: f64) -> Option<f64> {
        let rank = (share.clamp(0.0, 1.0) * self.total.checked_sub(1)? as f64) as u64;
        let mut below = 0;
        let at = self.counts.iter().position(|count| {
            below += count;
            below > rank
        })?;
        Some(middle(self.first + at))
    }
}

/// The duration that is as far, by its factor, from the shortest of a bin as from the longest.
#[expect(clippy::cast_precision_loss, reason = "bins are far fewer than 2^52")]
fn middle(bin: usize) -> f64 {
    10_f64.powf((bin as f64 + 0.5) / BINS_PER_DECADE as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_in_the_bin_between_whose_bounds_it_is() {
        let near = |ns: u64| [ns.saturating_sub(1).max(1), ns, ns.saturating_add(1)];
        let all = (0..BINS).flat_map(|bin| near(bound(bin))).chain((0..64).flat_map(|bit| near(1 << bit)));
        for ns in all.chain(1..3000).chain([u64::MAX]) {
            let bin = bin(ns);
            assert!(BOUNDS[bin] <= ns && BOUNDS.get(bin + 1).is_none_or(|next| ns < *next), "{ns}: {bin}");
        }
        for (ns, expected) in [(0, 0), (1, 0), (10, 120), (1_000, 360), (10_000_000_000, 1200)] {
            assert_eq!(bin(ns), expected, "{ns}");
        }
    }

    #[test]
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_sign_loss,
        reason = "durations and shares of the test are small"
    )]
    fn percentiles_are_within_one_percent_and_sketches_add_up() {
        let (mut odd, mut even, mut all) = (Sketch::default(), Sketch::default(), Sketch::default());
        assert_eq!(all.quantile_ns(0.5), None);
        let durations: Vec<u64> = (0..10_000_u64).map(|n| 1_000 + n * n * 37).collect();
        // From both ends, so that bins come before the first one as well.
        for (n, ns) in durations.iter().rev().enumerate() {
            all.add(bin(*ns), 1);
            if n % 2 == 0 { &mut even } else { &mut odd }.add(bin(*ns), 1);
        }
        odd.merge(&even);
        for share in [0.0, 0.25, 0.5, 0.99, 0.999, 1.0] {
            let exact = durations[(share * 9_999.0) as usize] as f64;
            let found = all.quantile_ns(share).expect("durations");
            assert!((found - exact).abs() <= 0.01 * exact, "{share}: {found} for {exact}");
            assert_eq!(odd.quantile_ns(share), Some(found));
        }
    }
}
