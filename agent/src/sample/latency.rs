//! What is slow for a route: its own 99th percentile, from a histogram of the last one to two minutes.
//!
//! Four buckets to each doubling, of which the upper end counts: a percentile is told up to 19 % too high, never too low.

use rustc_hash::FxHashMap;

use super::window::Window;

/// Routes whose durations are remembered; of later ones nothing is slow.
pub const ROUTES_MAX: usize = 2048;
/// How long one histogram is filled, in nanoseconds.
pub const WINDOW_NS: u64 = 60_000_000_000;
/// Requests of a route before its percentile is worth anything.
pub const SURE_MIN: u32 = 200;
/// Requests after which the percentile is looked up anew.
const FRESH: u32 = 64;
/// The first bucket takes all below 2^13 ns (8 µs), the last one all from 2^37 ns (137 s) on.
const SHIFT: u32 = 13;
const BUCKETS: usize = 97;

type Histogram = [u32; BUCKETS];

#[derive(Debug)]
struct Route {
    now: Histogram,
    before: Histogram,
    count: u32,
    until_fresh: u32,
    p99_ns: Option<u64>,
}

/// The durations of routes.
#[derive(Debug, Default)]
pub(super) struct Latencies {
    routes: FxHashMap<u64, Box<Route>>,
    window: Window<WINDOW_NS>,
}

impl Latencies {
    /// Takes a duration of a route (by its hash), and returns the route's 99th percentile before it, if that is known.
    pub(super) fn observe(&mut self, route: u64, duration_ns: u64) -> Option<u64> {
        if self.routes.len() >= ROUTES_MAX && !self.routes.contains_key(&route) {
            return None;
        }
        let route = self.routes.entry(route).or_insert_with(|| Box::new(Route::default()));
        let p99_ns = route.p99_ns;
        if let Some(bucket) = route.now.get_mut(bucket(duration_ns)) {
            *bucket = bucket.saturating_add(1);
        }
        route.count = route.count.saturating_add(1);
        route.until_fresh = route.until_fresh.saturating_sub(1);
        if route.count >= SURE_MIN && route.until_fresh == 0 {
            route.refresh();
        }
        p99_ns
    }

    /// Forgets what is old. Routes that were not asked for since are forgotten altogether.
    pub(super) fn advance(&mut self, now_ns: u64) {
        if !self.window.is_over(now_ns) {
            return;
        }
        self.routes.retain(|_, route| {
            route.before = std::mem::replace(&mut route.now, [0; BUCKETS]);
            route.count = route.before.iter().fold(0, |all, bucket| all.saturating_add(*bucket));
            route.until_fresh = 0;
            route.count > 0
        });
    }
}

impl Default for Route {
    fn default() -> Self {
        Self { now: [0; BUCKETS], before: [0; BUCKETS], count: 0, until_fresh: 0, p99_ns: None }
    }
}

impl Route {
    fn refresh(&mut self) {
        self.until_fresh = FRESH;
        let mut above = self.count / 100;
        for (at, (now, before)) in self.now.iter().zip(&self.before).enumerate().rev() {
            let both = now.saturating_add(*before);
            if both > above {
                self.p99_ns = Some(upper_ns(at));
                return;
            }
            above -= both;
        }
    }
}

/// The bucket of a duration: its highest bit and the two after it.
fn bucket(ns: u64) -> usize {
    let bits = 64 - ns.leading_zeros();
    if bits <= SHIFT {
        return 0;
    }
    let fraction = ns >> (bits - 3) & 3;
    (((bits - SHIFT - 1) * 4) as usize + fraction as usize + 1).min(BUCKETS - 1)
}

/// The first duration that is above a bucket.
const fn upper_ns(bucket: usize) -> u64 {
    // Of bucket 1 the lower end is 2^SHIFT, which is the upper one of bucket 0.
    let steps = bucket as u64;
    let (doublings, quarter) = (steps / 4, steps % 4);
    (1 << (SHIFT as u64 + doublings)) / 4 * (4 + quarter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_below_the_upper_end_of_its_bucket_and_not_far() {
        for ns in (0..60).flat_map(|shift| [1_u64 << shift, (1 << shift) + 1, (3 << shift) / 2, (1 << shift) - 1]) {
            let at = bucket(ns);
            let upper = upper_ns(at);
            assert!(ns < upper || at == BUCKETS - 1, "{ns} in {at} below {upper}");
            assert!(at == 0 || at == BUCKETS - 1 || upper <= ns + ns / 4 + 1, "{ns} in {at} below {upper}");
        }
    }

    #[test]
    fn the_percentile_is_the_routes_own_and_is_known_after_enough_requests() {
        let mut latencies = Latencies::default();
        for n in 0..u64::from(SURE_MIN) {
            assert_eq!(latencies.observe(1, 1_000_000 + n), None);
            latencies.observe(2, 1_000_000_000);
        }
        let p99 = latencies.observe(1, 1_000_000).expect("known");
        assert!((1_000_000..1_300_000).contains(&p99), "{p99}");
        let other = latencies.observe(2, 1).expect("known");
        assert!((1_000_000_000..1_300_000_000).contains(&other), "{other}");
    }

    #[test]
    fn one_in_a_hundred_is_above_and_what_is_old_is_forgotten() {
        let mut latencies = Latencies::default();
        for n in 0..10_000_u64 {
            latencies.observe(1, if n % 200 == 0 { 5_000_000_000 } else { 2_000_000 });
        }
        let p99 = latencies.observe(1, 0).expect("known");
        assert!(p99 < 3_000_000, "{p99}");
        for n in 0..10_000_u64 {
            latencies.observe(1, if n % 20 == 0 { 5_000_000_000 } else { 2_000_000 });
        }
        let p99 = latencies.observe(1, 0).expect("known");
        assert!(p99 > 5_000_000_000, "{p99}");
        latencies.advance(1);
        latencies.advance(1 + WINDOW_NS);
        latencies.advance(1 + 2 * WINDOW_NS);
        assert!(latencies.routes.is_empty());
    }

    #[test]
    fn the_number_of_routes_is_bounded() {
        let mut latencies = Latencies::default();
        for route in 0..ROUTES_MAX as u64 + 100 {
            latencies.observe(route, 1);
        }
        assert_eq!(latencies.routes.len(), ROUTES_MAX);
    }
}
