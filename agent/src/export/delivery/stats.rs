//! What became of each span given to a destination. Counts only; it decides nothing.
#![forbid(unsafe_code)]

use std::{
    fmt,
    sync::atomic::{
        AtomicU64,
        Ordering::{Acquire, Release},
    },
};

use crate::export::SinkStats;

/// Counters that the worker writes.
#[derive(Debug, Default)]
pub struct Counters {
    /// Spans that an earlier run left on the disk.
    pub recovered: AtomicU64,
    /// Spans that a receiver took.
    pub sent: AtomicU64,
    /// Spans that a receiver refused within a batch that it took (partial success).
    pub rejected: AtomicU64,
    /// Spans pushed out of the queue.
    pub full: AtomicU64,
    /// Spans of batches that the receiver refused for good.
    pub refused: AtomicU64,
    /// Spans of batches that were retried until they were too old.
    pub age: AtomicU64,
    /// Spans larger than a request may be.
    pub oversized: AtomicU64,
    /// Spans of damaged records.
    pub corrupt: AtomicU64,
    /// Spans that were not sent when the agent ended.
    pub shutdown: AtomicU64,
    /// Attempts that failed and were to be repeated.
    pub retried: AtomicU64,
    /// Requests answered with success.
    pub requests: AtomicU64,
    /// Bytes of those requests, as they were sent.
    pub bytes: AtomicU64,
    /// Spans that wait on the disk.
    pub on_disk: AtomicU64,
    /// Bytes of the queue's files.
    pub disk_bytes: AtomicU64,
    /// Batches that could not be written to the disk.
    pub disk_failures: AtomicU64,
    /// Times that the circuit breaker opened.
    pub breaks: AtomicU64,
    /// What earlier runs counted; set once.
    pub earlier: std::sync::OnceLock<Totals>,
}

/// What became of each span given to the sink: `produced` + `recovered` = `sent` + `rejected` + `dropped` + `queued`, at
/// every moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Spans given to the sink.
    pub produced: u64,
    /// Spans that an earlier run left on the disk.
    pub recovered: u64,
    /// Spans that the receiver took.
    pub sent: u64,
    /// Spans that the receiver refused within a batch that it took (partial success); never retried.
    pub rejected: u64,
    /// Spans lost, by reason.
    pub dropped: Dropped,
    /// Spans whose fate is open: waiting, or under way. What waits on the disk stays there when the agent ends.
    pub queued: u64,
    /// Attempts that failed and were to be repeated.
    pub retried: u64,
    /// Requests answered with success.
    pub requests: u64,
    /// Bytes of those requests, as they were sent.
    pub bytes: u64,
    /// Bytes of the queue's files.
    pub disk_bytes: u64,
    /// Batches that could not be written to the disk; they waited in memory.
    pub disk_failures: u64,
    /// Times that the circuit breaker opened.
    pub breaks: u64,
}

/// Spans lost, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// The input or the queue was full; of the queue the oldest go.
    pub full: u64,
    /// Their batch was retried until it was too old.
    pub age: u64,
    /// The receiver refused their batch for good (a status that must not be retried).
    pub refused: u64,
    /// One span was larger than a request may be.
    pub oversized: u64,
    /// Their record on the disk was damaged.
    pub corrupt: u64,
    /// The agent ended before they could be sent, and they were not on the disk.
    pub shutdown: u64,
    /// They were in the memory of an agent that was killed, as far as that is known: only in [`Totals`].
    pub killed: u64,
}

impl Dropped {
    /// All reasons together.
    pub const fn total(&self) -> u64 {
        let Self { full, age, refused, oversized, corrupt, shutdown, killed } = *self;
        full + age + refused + oversized + corrupt + shutdown + killed
    }

    /// The counters by name.
    pub const fn named(&self) -> [(&'static str, u64); 7] {
        let Self { full, age, refused, oversized, corrupt, shutdown, killed } = *self;
        [
            ("dropped_full", full),
            ("dropped_age", age),
            ("dropped_refused", refused),
            ("dropped_oversized", oversized),
            ("corrupt", corrupt),
            ("dropped_shutdown", shutdown),
            ("dropped_killed", killed),
        ]
    }
}

/// What became of all spans since the queue's directory was made, over all runs: `produced` = `sent` + `rejected` +
/// `dropped` + what is queued.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Spans given to the sink.
    pub produced: u64,
    /// Spans that the receiver took.
    pub sent: u64,
    /// Spans that the receiver refused.
    pub rejected: u64,
    /// Spans lost, by reason. What was in the memory of an agent that was killed is known as far as it had been noted: that
    /// is done at each turn of the worker, every 20 ms.
    pub dropped: Dropped,
}

impl Totals {
    /// Numbers in it.
    pub const COUNT: usize = 10;

    /// The numbers, in the order in which they are stored.
    pub const fn numbers(&self) -> [u64; Self::COUNT] {
        let Self { produced, sent, rejected, dropped } = *self;
        let Dropped { full, age, refused, oversized, corrupt, shutdown, killed } = dropped;
        [produced, sent, rejected, full, age, refused, oversized, corrupt, shutdown, killed]
    }

    /// The same back; absent when there are too few.
    pub fn of_numbers(mut numbers: impl Iterator<Item = u64>) -> Option<Self> {
        let mut next = || numbers.next();
        let (produced, sent, rejected) = (next()?, next()?, next()?);
        let (full, age, refused) = (next()?, next()?, next()?);
        let (oversized, corrupt, shutdown, killed) = (next()?, next()?, next()?, next()?);
        let dropped = Dropped { full, age, refused, oversized, corrupt, shutdown, killed };
        Some(Self { produced, sent, rejected, dropped })
    }

    /// Spans whose fate is known.
    pub const fn settled(&self) -> u64 {
        self.sent + self.rejected + self.dropped.total()
    }

    /// With what a run counted.
    #[must_use]
    pub const fn plus(&self, run: &Stats) -> Self {
        let (mut sum, add) = (*self, run);
        sum.produced += add.produced;
        sum.sent += add.sent;
        sum.rejected += add.rejected;
        sum.dropped.full += add.dropped.full;
        sum.dropped.age += add.dropped.age;
        sum.dropped.refused += add.dropped.refused;
        sum.dropped.oversized += add.dropped.oversized;
        sum.dropped.corrupt += add.dropped.corrupt;
        sum.dropped.shutdown += add.dropped.shutdown;
        sum.dropped.killed += add.dropped.killed;
        sum
    }
}

impl Stats {
    /// The counters by name, as the API tells them.
    pub fn named(&self) -> Vec<(&'static str, u64)> {
        #[rustfmt::skip]
        let Self {
            produced, recovered, sent, rejected, dropped, queued, retried, requests, bytes, disk_bytes, disk_failures, breaks,
        } = *self;
        let mut all = vec![
            ("produced", produced),
            ("recovered", recovered),
            ("sent", sent),
            ("rejected", rejected),
            ("queued", queued),
            ("retried", retried),
            ("requests", requests),
            ("bytes", bytes),
            ("disk_bytes", disk_bytes),
            ("disk_failures", disk_failures),
            ("breaks", breaks),
        ];
        all.extend(dropped.named());
        all
    }
}

impl Counters {
    /// Adds `spans` to a counter.
    pub fn add(counter: &AtomicU64, spans: u64) {
        counter.fetch_add(spans, Release);
    }

    /// Sets a counter that is no sum.
    pub fn set(counter: &AtomicU64, value: u64) {
        counter.store(value, Release);
    }

    /// All counters, with those of the sink's input as `input` reads them.
    pub fn read(&self, input: impl FnOnce() -> SinkStats) -> Stats {
        let get = |counter: &AtomicU64| counter.load(Acquire);
        let (sent, rejected) = (get(&self.sent), get(&self.rejected));
        let mut dropped = Dropped {
            full: get(&self.full),
            age: get(&self.age),
            refused: get(&self.refused),
            oversized: get(&self.oversized),
            corrupt: get(&self.corrupt),
            shutdown: get(&self.shutdown),
            killed: 0,
        };
        let recovered = get(&self.recovered);
        // The input is read last: a span is offered before it has a fate, so that `queued` never falls below zero.
        let input = input();
        dropped.full += input.dropped_full;
        dropped.shutdown += input.dropped_closed;
        Stats {
            produced: input.offered,
            recovered,
            sent,
            rejected,
            dropped,
            queued: (input.offered + recovered).saturating_sub(sent + rejected + dropped.total()),
            retried: get(&self.retried),
            requests: get(&self.requests),
            bytes: get(&self.bytes),
            disk_bytes: get(&self.disk_bytes),
            disk_failures: get(&self.disk_failures),
            breaks: get(&self.breaks),
        }
    }
}

impl fmt::Display for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { produced, recovered, sent, rejected, dropped, queued, retried, .. } = self;
        write!(f, "{produced} produced + {recovered} recovered = {sent} sent + {rejected} rejected")?;
        write!(f, " + {} dropped", dropped.total())?;
        let mut before = " (";
        for (reason, spans) in dropped.named().into_iter().filter(|&(_, spans)| spans > 0) {
            write!(f, "{before}{reason} {spans}")?;
            before = ", ";
        }
        if dropped.total() > 0 {
            f.write_str(")")?;
        }
        write!(f, " + {queued} queued; {retried} retried")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_identity_holds_by_reading_the_input_last() {
        let counters = Counters::default();
        Counters::add(&counters.recovered, 4);
        Counters::add(&counters.sent, 5);
        Counters::add(&counters.rejected, 1);
        Counters::add(&counters.refused, 2);
        let input = || SinkStats { name: "otlp", offered: 14, dropped_full: 3, dropped_closed: 1 };
        let stats = counters.read(input);
        assert_eq!(stats.queued, 6);
        assert_eq!(
            stats.to_string(),
            "14 produced + 4 recovered = 5 sent + 1 rejected + 6 dropped (dropped_full 3, dropped_refused 2, \
             dropped_shutdown 1) + 6 queued; 0 retried"
        );
    }

    #[test]
    fn reasons_without_a_loss_are_not_named() {
        let none = "0 produced + 0 recovered = 0 sent + 0 rejected + 0 dropped + 0 queued; 0 retried";
        assert_eq!(Stats::default().to_string(), none);
    }

    #[test]
    fn totals_are_stored_and_read_number_by_number() {
        let totals = Totals::of_numbers(1..=10).expect("enough");
        assert_eq!(totals.numbers(), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
        assert_eq!(Totals::of_numbers(1..10), None);
        assert_eq!(totals.settled(), (2..=10).sum::<u64>());
        let run = Stats { produced: 10, recovered: 99, sent: 20, ..Stats::default() };
        assert_eq!(totals.plus(&run).numbers(), [11, 22, 3, 4, 5, 6, 7, 8, 9, 10]);
    }
}
