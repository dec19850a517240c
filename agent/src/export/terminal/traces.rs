//! Collects spans by trace until a trace is whole, and draws it then. Time is that of the spans and of the ticks that
//! are passed in, never a clock's.

mod open;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    sync::Arc,
};

use self::open::{Cause, Open};
use super::{
    look::Look,
    waterfall::{Trace, draw},
};
use crate::span::{Span, TraceId};

/// Bounds of the collection, and its times in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Traces that are open at once; with one more the oldest is drawn as it is.
    pub traces: usize,
    /// Spans that are held at once; with one more the oldest trace is drawn as it is.
    pub spans: usize,
    /// Spans of one trace that are drawn; further ones are counted.
    pub spans_per_trace: usize,
    /// A trace whose root and parents have been seen is whole when nothing came for it so long.
    pub quiet_ns: u64,
    /// A trace that lacks some is drawn when nothing came for it so long.
    pub patience_ns: u64,
    /// A trace is drawn at the latest so long after its first span came.
    pub hold_ns: u64,
    /// Traces that were drawn and are remembered, so that late spans are known as such.
    pub remembered: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            traces: 1000,
            spans: 5000,
            spans_per_trace: 500,
            quiet_ns: 500_000_000,
            patience_ns: 5_000_000_000,
            hold_ns: 60_000_000_000,
            remembered: 4096,
        }
    }
}

/// What was drawn and what was not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Traces drawn, parts included.
    pub drawn: u64,
    /// Of them, traces drawn though they lacked a root or a parent, or might go on.
    pub partial: u64,
    /// Spans that came after their trace was drawn; they are drawn as a part of their own.
    pub late_spans: u64,
    /// Spans that were not drawn, because their trace had as many as it may have.
    pub left_out: u64,
}

/// Draws traces as waterfalls.
#[derive(Debug)]
pub struct Waterfalls {
    look: Look,
    bounds: Bounds,
    /// Open traces by the order of their first spans.
    open: BTreeMap<u64, Open>,
    places: HashMap<TraceId, u64>,
    spans: usize,
    next: u64,
    now_ns: u64,
    /// No trace is due before.
    due_ns: u64,
    drawn: HashSet<TraceId>,
    drawn_order: VecDeque<TraceId>,
    counters: Counters,
}

impl Waterfalls {
    /// An empty collection.
    pub fn new(look: Look, bounds: Bounds) -> Self {
        Self {
            look,
            bounds,
            open: BTreeMap::new(),
            places: HashMap::new(),
            spans: 0,
            next: 0,
            now_ns: 0,
            due_ns: u64::MAX,
            drawn: HashSet::new(),
            drawn_order: VecDeque::new(),
            counters: Counters::default(),
        }
    }

    /// Draws in this look from now on (the terminal has another width).
    pub fn set_look(&mut self, look: Look) {
        self.look = look;
    }

    /// Takes a span; traces that are due by its end are appended to `out`.
    pub fn push(&mut self, span: &Arc<Span>, out: &mut String) {
        self.tick(span.end_ns, out);
        let serial = self.place(span.trace_id);
        let (now_ns, bounds) = (self.now_ns, self.bounds);
        let Some(trace) = self.open.get_mut(&serial) else { return };
        self.counters.late_spans += u64::from(trace.late);
        if trace.add(span, now_ns, bounds.spans_per_trace) {
            self.spans += 1;
        } else {
            self.counters.left_out += 1;
        }
        self.due_ns = self.due_ns.min(trace.due_ns(&bounds));
        while self.open.len() > bounds.traces.max(1) || self.spans > bounds.spans.max(1) {
            let Some((&oldest, _)) = self.open.first_key_value() else { break };
            self.draw(oldest, Cause::Pushed, out);
        }
    }

    /// It is `now_ns` (nanoseconds since the Unix epoch) or later: traces that are due are appended to `out`.
    pub fn tick(&mut self, now_ns: u64, out: &mut String) {
        self.now_ns = self.now_ns.max(now_ns);
        if self.now_ns < self.due_ns {
            return;
        }
        let due = |trace: &Open| trace.due_ns(&self.bounds);
        let over: Vec<_> = self.open.iter().filter(|(_, trace)| due(trace) <= self.now_ns).map(|(at, _)| *at).collect();
        for serial in over {
            self.draw(serial, Cause::Due, out);
        }
        self.due_ns = self.open.values().map(|trace| trace.due_ns(&self.bounds)).min().unwrap_or(u64::MAX);
    }

    /// No more spans come: all open traces are appended to `out`.
    pub fn finish(&mut self, out: &mut String) {
        let open: Vec<_> = self.open.keys().copied().collect();
        for serial in open {
            self.draw(serial, Cause::Finished, out);
        }
    }

    /// What was drawn so far.
    pub const fn counters(&self) -> Counters {
        self.counters
    }

    /// The open trace of this id; a new one if there is none.
    fn place(&mut self, id: TraceId) -> u64 {
        if let Some(&serial) = self.places.get(&id) {
            return serial;
        }
        let serial = self.next;
        self.next += 1;
        self.places.insert(id, serial);
        self.open.insert(serial, Open::new(id, self.now_ns, self.drawn.contains(&id)));
        serial
    }

    fn draw(&mut self, serial: u64, cause: Cause, out: &mut String) {
        let Some(trace) = self.open.remove(&serial) else { return };
        self.places.remove(&trace.id);
        self.spans -= trace.spans.len();
        let partial = trace.partial(cause);
        self.counters.drawn += 1;
        self.counters.partial += u64::from(partial.is_some());
        self.remember(trace.id);
        let spans: Vec<_> = trace.spans.iter().map(Arc::as_ref).collect();
        draw(&self.look, &Trace { id: trace.id, spans: &spans, partial, left_out: trace.left_out }, out);
    }

    fn remember(&mut self, id: TraceId) {
        if self.drawn.insert(id) {
            self.drawn_order.push_back(id);
        }
        while self.drawn_order.len() > self.bounds.remembered {
            if let Some(oldest) = self.drawn_order.pop_front() {
                self.drawn.remove(&oldest);
            }
        }
    }
}
