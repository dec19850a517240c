//! A trace that is being collected: what of it is here, and when it is whole.

use std::{collections::HashSet, sync::Arc};

use super::Bounds;
use crate::span::{Span, SpanId, TraceId};

/// A trace that is being collected.
#[derive(Debug)]
pub struct Open {
    /// Its id.
    pub id: TraceId,
    /// Its spans, in the order in which they came.
    pub spans: Vec<Arc<Span>>,
    /// Spans for which there was no room.
    pub left_out: u64,
    first_ns: u64,
    last_ns: u64,
    /// Its beginning was drawn before.
    pub late: bool,
    /// Spans that are there, and parents that are not.
    present: HashSet<SpanId>,
    awaited: HashSet<SpanId>,
    rooted: bool,
}

/// Why a trace is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Its time has come.
    Due,
    /// Others need its room.
    Pushed,
    /// No more spans come.
    Finished,
}

impl Open {
    /// An empty one.
    pub fn new(id: TraceId, now_ns: u64, late: bool) -> Self {
        Self {
            id,
            spans: Vec::new(),
            left_out: 0,
            first_ns: now_ns,
            last_ns: now_ns,
            late,
            present: HashSet::new(),
            awaited: HashSet::new(),
            rooted: false,
        }
    }

    /// Puts a span in; whether there was room.
    pub fn add(&mut self, span: &Arc<Span>, now_ns: u64, most: usize) -> bool {
        self.last_ns = now_ns;
        let outside = span.parent.is_none() || span.parent_is_remote;
        self.rooted |= outside;
        self.awaited.remove(&span.span_id);
        if self.spans.len() >= most {
            self.left_out += 1;
            return false;
        }
        self.present.insert(span.span_id);
        if let Some(parent) = span.parent.filter(|parent| !outside && !self.present.contains(parent)) {
            self.awaited.insert(parent);
        }
        self.spans.push(Arc::clone(span));
        true
    }

    /// Whether all that a whole trace has is here.
    fn is_whole(&self) -> bool {
        self.rooted && self.awaited.is_empty()
    }

    /// When it is to be drawn, if nothing more comes.
    pub fn due_ns(&self, bounds: &Bounds) -> u64 {
        let quiet = if self.late || self.is_whole() { bounds.quiet_ns } else { bounds.patience_ns };
        self.last_ns.saturating_add(quiet).min(self.first_ns.saturating_add(bounds.hold_ns))
    }

    /// What to say of a trace that is drawn for this cause.
    pub fn partial(&self, cause: Cause) -> Option<&'static str> {
        match cause {
            _ if self.late => Some("these spans came after the rest of their trace was shown"),
            Cause::Pushed => Some("shown early, because too many traces are open; more of it may follow"),
            Cause::Finished | Cause::Due if !self.rooted => Some("its root was not seen"),
            Cause::Finished | Cause::Due if !self.awaited.is_empty() => Some("some of its spans were not seen"),
            Cause::Finished | Cause::Due => None,
        }
    }
}
