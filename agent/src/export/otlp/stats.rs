//! What became of each span given to the OTLP sink. Counts only; it decides nothing.

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
    /// Spans that a receiver took.
    pub sent: AtomicU64,
    /// Spans that a receiver refused within a batch that it took (partial success).
    pub rejected: AtomicU64,
    /// Spans pushed out of the queue.
    pub queue_full: AtomicU64,
    /// Spans of batches that the receiver refused for good.
    pub failed: AtomicU64,
    /// Spans of batches that were retried until they were too old.
    pub expired: AtomicU64,
    /// Spans larger than a request may be.
    pub oversized: AtomicU64,
    /// Spans that were not sent when the agent ended.
    pub shutdown: AtomicU64,
    /// Attempts that failed and were to be repeated.
    pub retries: AtomicU64,
    /// Requests answered with success.
    pub requests: AtomicU64,
    /// Bytes of those requests, before compression.
    pub bytes: AtomicU64,
}

/// What became of each span given to the sink: `produced` = `sent` + `rejected` + `dropped` + `queued`, at every moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Spans given to the sink.
    pub produced: u64,
    /// Spans that the receiver took.
    pub sent: u64,
    /// Spans that the receiver refused within a batch that it took (partial success); never retried.
    pub rejected: u64,
    /// Spans lost, by reason.
    pub dropped: Dropped,
    /// Spans whose fate is open: waiting, or under way.
    pub queued: u64,
    /// Attempts that failed and were to be repeated.
    pub retries: u64,
    /// Requests answered with success.
    pub requests: u64,
    /// Bytes of those requests, before compression.
    pub bytes: u64,
}

/// Spans lost, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// The input or the queue was full; of the queue the oldest go.
    pub queue_full: u64,
    /// The receiver refused their batch for good (a status that must not be retried).
    pub failed: u64,
    /// Their batch was retried until it was too old.
    pub expired: u64,
    /// One span was larger than a request may be.
    pub oversized: u64,
    /// The agent ended before they could be sent.
    pub shutdown: u64,
}

impl Dropped {
    /// All reasons together.
    pub const fn total(&self) -> u64 {
        let Self { queue_full, failed, expired, oversized, shutdown } = *self;
        queue_full + failed + expired + oversized + shutdown
    }
}

impl Counters {
    /// Adds `spans` to a counter.
    pub fn add(counter: &AtomicU64, spans: u64) {
        counter.fetch_add(spans, Release);
    }

    /// All counters, with those of the sink's input as `input` reads them.
    pub fn read(&self, input: impl FnOnce() -> SinkStats) -> Stats {
        let get = |counter: &AtomicU64| counter.load(Acquire);
        let (sent, rejected) = (get(&self.sent), get(&self.rejected));
        let mut dropped = Dropped {
            queue_full: get(&self.queue_full),
            failed: get(&self.failed),
            expired: get(&self.expired),
            oversized: get(&self.oversized),
            shutdown: get(&self.shutdown),
        };
        // The input is read last: a span is offered before it has a fate, so that `queued` never falls below zero.
        let input = input();
        dropped.queue_full += input.dropped_full;
        dropped.shutdown += input.dropped_closed;
        Stats {
            produced: input.offered,
            sent,
            rejected,
            dropped,
            queued: input.offered - sent - rejected - dropped.total(),
            retries: get(&self.retries),
            requests: get(&self.requests),
            bytes: get(&self.bytes),
        }
    }
}

impl fmt::Display for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { produced, sent, rejected, dropped, queued, retries, requests: _, bytes: _ } = self;
        write!(f, "{produced} produced = {sent} sent + {rejected} rejected + {} dropped", dropped.total())?;
        let Dropped { queue_full, failed, expired, oversized, shutdown } = *dropped;
        let reasons = [
            ("queue full", queue_full),
            ("refused", failed),
            ("too old", expired),
            ("too large", oversized),
            ("shut-down", shutdown),
        ];
        let mut before = " (";
        for (reason, spans) in reasons.into_iter().filter(|&(_, spans)| spans > 0) {
            write!(f, "{before}{reason} {spans}")?;
            before = ", ";
        }
        if dropped.total() > 0 {
            f.write_str(")")?;
        }
        write!(f, " + {queued} queued; {retries} retries")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_identity_holds_by_reading_the_input_last() {
        let counters = Counters::default();
        Counters::add(&counters.sent, 5);
        Counters::add(&counters.rejected, 1);
        Counters::add(&counters.failed, 2);
        let input = || SinkStats { name: "otlp", offered: 14, dropped_full: 3, dropped_closed: 1 };
        let stats = counters.read(input);
        assert_eq!(stats.queued, 2);
        assert_eq!(stats.produced, stats.sent + stats.rejected + stats.dropped.total() + stats.queued);
        assert_eq!(
            stats.to_string(),
            "14 produced = 5 sent + 1 rejected + 6 dropped (queue full 3, refused 2, shut-down 1) + 2 queued; 0 retries"
        );
    }

    #[test]
    fn reasons_without_a_loss_are_not_named() {
        assert_eq!(Stats::default().to_string(), "0 produced = 0 sent + 0 rejected + 0 dropped + 0 queued; 0 retries");
    }
}
