//! How often a request makes which calls: each route's number of calls, and which numbers come together.

use super::{problem::Kid, random::mixed};
use std::cell::Cell;

/// Combinations of calls that are remembered of one inbound route.
pub const PATTERNS_MAX: usize = 256;
/// Calls by one route that are told apart in number; more count as so many.
const CALLS_MAX: usize = 31;
/// How much the numbers of calls, taken as independent of each other, count against the combinations seen.
const INDEPENDENCE: f64 = 4.0;
/// Observations that spread a little likelihood over numbers of calls that were never seen.
const DOUBT: f64 = 0.5;

/// The identity of a combination: the same for any order of the calls.
pub(super) fn signature(kids: &[Kid]) -> u64 {
    kids.iter().fold(0, |sum: u64, kid| sum.wrapping_add(mixed(u64::from(kid.route) + 1)))
}

/// How many calls by one route requests by another make.
#[derive(Clone, Debug, Default)]
pub(super) struct Numbers {
    counts: Vec<f64>,
}

impl Numbers {
    /// Counts a request with so many calls.
    pub(super) fn add(&mut self, calls: usize, weight: f64) {
        let calls = calls.min(CALLS_MAX);
        if self.counts.len() <= calls {
            self.counts.resize(calls + 1, 0.0);
        }
        if let Some(count) = self.counts.get_mut(calls) {
            *count += weight;
        }
    }

    pub(super) fn merge(&mut self, other: &Self, factor: f64) {
        if self.counts.len() < other.counts.len() {
            self.counts.resize(other.counts.len(), 0.0);
        }
        self.counts.iter_mut().for_each(|count| *count *= factor);
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
    }

    /// Counts the rest of so many requests as making none.
    pub(super) fn complete(&mut self, requests: f64) {
        let rest = requests - self.total();
        if rest > 0.0 {
            self.add(0, rest);
        }
    }

    fn total(&self) -> f64 {
        self.counts.iter().sum()
    }

    /// The logarithm of the share of requests that make so many; each number past those seen is a tenth as likely.
    pub(super) fn log(&self, calls: usize) -> f64 {
        let calls = calls.min(CALLS_MAX);
        let seen = self.counts.get(calls).copied().unwrap_or(0.0);
        let beyond = (calls + 1).saturating_sub(self.counts.len().max(1)) as f64;
        let doubt = DOUBT * 0.1_f64.powf(beyond);
        ((seen + doubt) / (self.total() + (self.counts.len() + 1) as f64 * DOUBT)).ln()
    }

    /// The share of requests that make at least so many.
    pub(super) fn at_least(&self, calls: usize) -> f64 {
        let more: f64 = self.counts.iter().skip(calls.min(CALLS_MAX)).sum();
        (more + 0.02) / (self.total() + 0.04)
    }
}

/// Combinations of calls.
#[derive(Clone, Debug, Default)]
pub(super) struct Patterns {
    /// Sorted by signature.
    counts: Vec<(u64, f64)>,
    total: f64,
    /// Logarithms that were asked for since the counts changed, by the places of the counts.
    logs: Vec<Cell<f64>>,
}

impl Patterns {
    /// Counts a request with this combination.
    pub(super) fn add(&mut self, signature: u64, weight: f64) {
        match self.counts.binary_search_by_key(&signature, |(signature, _)| *signature) {
            Ok(at) => {
                if let Some((_, count)) = self.counts.get_mut(at) {
                    *count += weight;
                }
            }
            Err(at) if self.counts.len() < PATTERNS_MAX => self.counts.insert(at, (signature, weight)),
            Err(_) => {}
        }
        self.total += weight;
    }

    pub(super) fn merge(&mut self, other: &Self, factor: f64) {
        self.counts.iter_mut().for_each(|(_, count)| *count *= factor);
        self.counts.retain(|(_, count)| *count > 0.01);
        self.total *= factor;
        for (signature, count) in &other.counts {
            self.add(*signature, *count);
        }
        self.total += other.total - other.counts.iter().map(|(_, count)| count).sum::<f64>();
        self.logs.clear();
        self.logs.resize(self.counts.len(), Cell::new(f64::NAN));
    }

    /// How many requests were counted.
    pub(super) const fn total(&self) -> f64 {
        self.total
    }

    /// The logarithm of the share of requests with this combination; `independent` says that of the same by the numbers of
    /// calls by each route alone, and the same each time until counts are merged.
    pub(super) fn log(&self, signature: u64, independent: impl FnOnce() -> f64) -> f64 {
        let at = self.counts.binary_search_by_key(&signature, |(signature, _)| *signature).ok();
        let known = at.and_then(|at| self.logs.get(at));
        if let Some(log) = known.map(Cell::get).filter(|log| !log.is_nan()) {
            return log;
        }
        let seen = at.and_then(|at| self.counts.get(at)).map_or(0.0, |(_, count)| *count);
        let log = ((seen + INDEPENDENCE * independent().exp()) / (self.total + INDEPENDENCE)).max(1e-30).ln();
        if let Some(known) = known {
            known.set(log);
        }
        log
    }
}
