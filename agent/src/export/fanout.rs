//! Gives each span to every sink, and never waits for one: a sink that is full loses the span, and that is counted.

use std::sync::{
    Arc,
    atomic::{
        AtomicU64,
        Ordering::{Acquire, Relaxed, Release},
    },
};

use tokio::sync::mpsc::{self, Receiver, Sender, error::TrySendError};

use crate::span::Span;

/// The producer's end of a sink.
#[derive(Clone, Debug)]
pub struct Sink {
    name: &'static str,
    spans: Sender<Arc<Span>>,
    tally: Arc<Tally>,
}

/// What became of a sink's spans, for who must not keep the sink open.
#[derive(Clone, Debug)]
pub struct Watch {
    name: &'static str,
    tally: Arc<Tally>,
}

#[derive(Debug, Default)]
struct Tally {
    offered: AtomicU64,
    full: AtomicU64,
    closed: AtomicU64,
}

/// What became of the spans offered to a sink: `offered` = taken + `dropped_full` + `dropped_closed`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SinkStats {
    /// Name of the sink.
    pub name: &'static str,
    /// Spans offered to it.
    pub offered: u64,
    /// Spans lost because it held as many as it may.
    pub dropped_full: u64,
    /// Spans lost because it had ended.
    pub dropped_closed: u64,
}

impl SinkStats {
    /// Spans that the sink took.
    pub const fn taken(&self) -> u64 {
        self.offered - self.dropped_full - self.dropped_closed
    }
}

impl Sink {
    /// A sink that holds at most `capacity` spans (at least 1) that its receiver has not taken yet.
    ///
    /// A receiver that waits for every single span is woken for every single span; one that has been served should
    /// rather doze for some milliseconds and then take many (`recv_many`): waking costs more than sending.
    pub fn bounded(name: &'static str, capacity: usize) -> (Self, Receiver<Arc<Span>>) {
        let (spans, receiver) = mpsc::channel(capacity.max(1));
        (Self { name, spans, tally: Arc::default() }, receiver)
    }

    /// Gives the sink a span, if it has room. Never blocks.
    pub fn offer(&self, span: Arc<Span>) {
        // Offered is counted first and read last: nobody ever sees more drops than offers.
        self.tally.offered.fetch_add(1, Relaxed);
        match self.spans.try_send(span) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => drop(self.tally.full.fetch_add(1, Release)),
            Err(TrySendError::Closed(_)) => drop(self.tally.closed.fetch_add(1, Release)),
        }
    }

    /// Gives the sink a span, and waits until it has room: for a producer that may wait, such as a replay.
    ///
    /// # Panics
    /// Within an asynchronous task.
    pub fn give(&self, span: Arc<Span>) {
        self.tally.offered.fetch_add(1, Relaxed);
        if self.spans.blocking_send(span).is_err() {
            self.tally.closed.fetch_add(1, Release);
        }
    }

    /// What became of the spans so far.
    pub fn stats(&self) -> SinkStats {
        self.tally.read(self.name)
    }

    /// The same for later.
    pub fn watch(&self) -> Watch {
        Watch { name: self.name, tally: Arc::clone(&self.tally) }
    }
}

impl Watch {
    /// What became of the spans so far.
    pub fn stats(&self) -> SinkStats {
        self.tally.read(self.name)
    }
}

impl Tally {
    fn read(&self, name: &'static str) -> SinkStats {
        let (dropped_full, dropped_closed) = (self.full.load(Acquire), self.closed.load(Acquire));
        SinkStats { name, offered: self.offered.load(Relaxed), dropped_full, dropped_closed }
    }
}

/// All sinks of the pipeline.
#[derive(Clone, Debug, Default)]
pub struct Fanout {
    sinks: Vec<Sink>,
}

impl Fanout {
    /// Adds a sink.
    pub fn add(&mut self, sink: Sink) {
        self.sinks.push(sink);
    }

    /// Puts other sinks in the place of all.
    pub fn replace(&mut self, sinks: impl IntoIterator<Item = Sink>) {
        self.sinks = sinks.into_iter().collect();
    }

    /// Gives `span` to every sink. Never blocks.
    pub fn send(&self, span: &Arc<Span>) {
        for sink in &self.sinks {
            sink.offer(Arc::clone(span));
        }
    }

    /// What became of the spans, for each sink in the order of adding.
    pub fn stats(&self) -> impl Iterator<Item = SinkStats> {
        self.sinks.iter().map(Sink::stats)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::span::sample;

    #[test]
    fn every_sink_gets_every_span_without_a_copy() {
        let (mut fanout, span) = (Fanout::default(), Arc::new(sample::root()));
        let (one, mut at_one) = Sink::bounded("one", 4);
        let (two, mut at_two) = Sink::bounded("two", 4);
        fanout.add(one);
        fanout.add(two);
        fanout.send(&span);
        for receiver in [&mut at_one, &mut at_two] {
            assert!(Arc::ptr_eq(&receiver.try_recv().expect("a span"), &span));
        }
    }

    #[test]
    fn a_full_sink_counts_its_drops_and_does_not_starve_the_others() {
        let (mut fanout, span) = (Fanout::default(), Arc::new(sample::root()));
        let (small, _kept) = Sink::bounded("small", 2);
        let (large, mut at_large) = Sink::bounded("large", 8);
        fanout.add(small);
        fanout.add(large);
        (0..5).for_each(|_| fanout.send(&span));
        let stats: Vec<_> = fanout.stats().collect();
        assert_eq!(stats[0], SinkStats { name: "small", offered: 5, dropped_full: 3, dropped_closed: 0 });
        assert_eq!((stats[0].taken(), stats[1].taken()), (2, 5));
        assert_eq!(std::iter::from_fn(|| at_large.try_recv().ok()).count(), 5);
    }

    #[test]
    fn spans_for_a_sink_that_has_ended_are_counted_as_such() {
        let (sink, receiver) = Sink::bounded("gone", 2);
        drop(receiver);
        sink.offer(Arc::new(sample::root()));
        assert_eq!(sink.stats(), SinkStats { name: "gone", offered: 1, dropped_full: 0, dropped_closed: 1 });
    }
}
