//! Which request each call was made for, and how many parents say otherwise.

use netspan::span::{Kind, Span, SpanId, Value};
use std::{collections::HashMap, sync::Arc};

/// A message: the client's port, and when it was told of.
pub type Place = (u16, u64);

/// What is known of a feed, apart from what the linker is told.
#[derive(Default)]
pub struct Truth {
    /// By call, its request.
    of: HashMap<Place, Place>,
    spans: HashMap<Place, SpanId>,
    calls: Vec<(Place, Option<SpanId>)>,
}

/// How right the links are.
#[derive(Clone, Copy, Default)]
pub struct Score {
    /// Calls whose request is known.
    pub calls: usize,
    /// Of the later half, those with a parent, and with the right one.
    pub later: usize,
    /// See `later`.
    pub right: usize,
    /// Parents of all, and wrong ones.
    pub made: usize,
    /// See `made`.
    pub wrong: usize,
}

impl Truth {
    /// A call belongs to a request.
    pub fn belongs(&mut self, call: Place, request: Place) {
        self.of.insert(call, request);
    }

    /// A span came out.
    pub fn note(&mut self, span: &Arc<Span>, sent_after_ns: u64) {
        if self.of.is_empty() {
            return;
        }
        let name = if span.kind == Kind::Server { "network.peer.port" } else { "network.local.port" };
        let port = span.attributes.iter().find(|(own, _)| own == name).and_then(|(_, value)| match value {
            Value::Int(port) => u16::try_from(*port).ok(),
            _ => None,
        });
        let Some(port) = port else { return };
        if span.kind == Kind::Server {
            self.spans.insert((port, span.start_ns), span.span_id);
        } else {
            self.calls.push(((port, span.start_ns + sent_after_ns), span.parent));
        }
    }

    /// Compares.
    pub fn score(mut self) -> Score {
        self.calls.sort_by_key(|((_, at_ns), _)| *at_ns);
        let mut score = Score::default();
        let calls: Vec<_> = self.calls.iter().filter_map(|(call, parent)| Some((self.of.get(call)?, parent))).collect();
        score.calls = calls.len();
        for (n, (request, parent)) in calls.iter().enumerate() {
            let is_right = parent.is_some() && self.spans.get(request) == parent.as_ref();
            score.made += usize::from(parent.is_some());
            score.wrong += usize::from(parent.is_some() && !is_right);
            if n >= score.calls / 2 {
                score.later += 1;
                score.right += usize::from(is_right);
            }
        }
        score
    }
}
