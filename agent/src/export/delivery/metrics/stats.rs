//! What became of messages with metrics. Counts only.

use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

/// Counters that the exporter writes.
#[derive(Debug, Default)]
pub struct Counters {
    pub begun: AtomicU64,
    pub sent: AtomicU64,
    pub refused: AtomicU64,
    pub skipped: AtomicU64,
    pub retried: AtomicU64,
    pub points: AtomicU64,
    pub rejected_points: AtomicU64,
}

/// What became of messages with metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Messages that the receiver took.
    pub sent: u64,
    /// Messages that were not taken in their time, or are under way: the next ones carry the same sums.
    pub failed: u64,
    /// Messages that the receiver refused for good.
    pub refused: u64,
    /// Messages that were not tried: the receiver had refused one before, or had asked for time.
    pub skipped: u64,
    /// Attempts that failed.
    pub retried: u64,
    /// Data points that the receiver took.
    pub points: u64,
    /// Data points that it refused within messages that it took (partial success).
    pub rejected_points: u64,
}

impl Counters {
    /// Adds to a counter.
    pub fn add(counter: &AtomicU64, number: u64) {
        counter.fetch_add(number, Relaxed);
    }

    /// All counters.
    pub fn read(&self) -> Stats {
        let get = |counter: &AtomicU64| counter.load(Relaxed);
        let (sent, refused) = (get(&self.sent), get(&self.refused));
        Stats {
            sent,
            failed: get(&self.begun).saturating_sub(sent + refused),
            refused,
            skipped: get(&self.skipped),
            retried: get(&self.retried),
            points: get(&self.points),
            rejected_points: get(&self.rejected_points),
        }
    }
}

impl Stats {
    /// The counters by name, as the API tells them.
    pub fn named(&self) -> Vec<(&'static str, u64)> {
        let Self { sent, failed, refused, skipped, retried, points, rejected_points } = *self;
        vec![
            ("sent", sent),
            ("failed", failed),
            ("refused", refused),
            ("skipped", skipped),
            ("retried", retried),
            ("points", points),
            ("rejected_points", rejected_points),
        ]
    }
}

impl fmt::Display for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all: Vec<_> = self.named().into_iter().map(|(name, number)| format!("{name} {number}")).collect();
        f.write_str(&all.join(", "))
    }
}
