//! In what situation a request makes a call: after which other, and while how many are not answered. Who makes one call
//! after the other makes none while another is open.

use super::problem::Kid;

/// Open calls that are told apart in number; more count as so many.
const OPEN_MAX: usize = 2;
/// Situations that are assumed besides each that was seen.
const DOUBT: f64 = 0.05;

/// A situation: a small number. The first call of a request has number 0.
pub(super) fn situation(before: &[Kid], start: i64) -> usize {
    let Some(last) = before.last() else { return 0 };
    let open = before.iter().filter(|other| other.end > start).count().min(OPEN_MAX);
    1 + usize::from(last.route) * (OPEN_MAX + 1) + open
}

/// How often calls of a pair of routes are made in which situation.
#[derive(Clone, Debug, Default)]
pub(super) struct Situations {
    counts: Vec<f64>,
    total: f64,
    logs: Vec<f32>,
}

impl Situations {
    /// Counts a call.
    pub(super) fn add(&mut self, situation: usize, weight: f64) {
        if self.counts.len() <= situation {
            self.counts.resize(situation + 1, 0.0);
        }
        if let Some(count) = self.counts.get_mut(situation) {
            *count += weight;
            self.total += weight;
        }
    }

    /// Adds the counts of another to a part of its own.
    pub(super) fn merge(&mut self, other: &Self, factor: f64) {
        if self.counts.len() < other.counts.len() {
            self.counts.resize(other.counts.len(), 0.0);
        }
        self.counts.iter_mut().for_each(|count| *count *= factor);
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
        self.total = self.total * factor + other.total;
        self.logs = (0..=self.counts.len()).map(|situation| self.compute(situation) as f32).collect();
    }

    fn compute(&self, situation: usize) -> f64 {
        let seen = self.counts.get(situation).copied().unwrap_or(0.0);
        ((seen + DOUBT) / (self.total + DOUBT * (self.counts.len() + 1) as f64)).ln()
    }

    /// The logarithm of the share of calls made in this situation.
    pub(super) fn log(&self, situation: usize) -> f64 {
        self.logs.get(situation).or(self.logs.last()).copied().map_or(0.0, f64::from)
    }
}
