//! What became of the spans that were to be stored, and of the partitions.

use std::{
    fmt,
    sync::atomic::{
        AtomicU64,
        Ordering::{Acquire, Relaxed, Release},
    },
};

use crate::export::SinkStats;

/// Counters, written by the store's thread.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) stored: AtomicU64,
    pub(super) disk_full: AtomicU64,
    pub(super) failed: AtomicU64,
    pub(super) commits: AtomicU64,
    pub(super) damaged: AtomicU64,
    pub(super) expired: AtomicU64,
    pub(super) bytes: AtomicU64,
    pub(super) partitions: AtomicU64,
}

/// What became of each span given to the store: `offered` = `stored` + dropped + `waiting`, at every moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Spans given to the store.
    pub offered: u64,
    /// Spans that were committed; expired ones included.
    pub stored: u64,
    /// Spans lost because the queue in front of the store was full, or the store had ended.
    pub dropped_queue_full: u64,
    /// Spans lost because the disk was full.
    pub dropped_disk_full: u64,
    /// Spans lost because the store could not be written to for another reason; the log says which.
    pub dropped_failed: u64,
    /// Spans that wait for the next commit.
    pub waiting: u64,
    /// Commits.
    pub commits: u64,
    /// Partitions that were damaged and put aside.
    pub partitions_damaged: u64,
    /// Partitions that were removed for their age or for the bound of bytes.
    pub partitions_expired: u64,
    /// Partitions there are.
    pub partitions: u64,
    /// Bytes on the disk.
    pub bytes: u64,
}

impl Counters {
    pub(super) fn add(counter: &AtomicU64, number: u64) {
        counter.fetch_add(number, Release);
    }

    /// All counters; those of the sink are read last, so that `waiting` never falls below zero.
    pub(super) fn read(&self, sink: impl FnOnce() -> SinkStats) -> Stats {
        let get = |counter: &AtomicU64| counter.load(Acquire);
        let (stored, disk_full, failed) = (get(&self.stored), get(&self.disk_full), get(&self.failed));
        let sink = sink();
        let dropped_queue_full = sink.dropped_full + sink.dropped_closed;
        Stats {
            offered: sink.offered,
            stored,
            dropped_queue_full,
            dropped_disk_full: disk_full,
            dropped_failed: failed,
            waiting: sink.offered.saturating_sub(stored + disk_full + failed + dropped_queue_full),
            commits: get(&self.commits),
            partitions_damaged: get(&self.damaged),
            partitions_expired: get(&self.expired),
            partitions: self.partitions.load(Relaxed),
            bytes: self.bytes.load(Relaxed),
        }
    }
}

impl Stats {
    /// The counters by name.
    pub fn named(&self) -> [(&'static str, u64); 11] {
        let Self {
            offered,
            stored,
            dropped_queue_full,
            dropped_disk_full,
            dropped_failed,
            waiting,
            commits,
            partitions_damaged,
            partitions_expired,
            partitions,
            bytes,
        } = *self;
        [
            ("offered", offered),
            ("stored", stored),
            ("dropped_queue_full", dropped_queue_full),
            ("dropped_disk_full", dropped_disk_full),
            ("dropped_failed", dropped_failed),
            ("waiting", waiting),
            ("commits", commits),
            ("partitions_damaged", partitions_damaged),
            ("partitions_expired", partitions_expired),
            ("partitions", partitions),
            ("bytes", bytes),
        ]
    }
}

impl fmt::Display for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.named().map(|(name, number)| format!("{name} {number}"));
        f.write_str(&shown.join(", "))
    }
}
