//! An exchange while it is on its way to becoming a span.

use super::{Context, Ids, Key, Told, infer, live, tally::Why, telemetry, timing};
use crate::{
    protocol::{Exchange, Stamp, Tokens},
    span::{Kind, Link, Resource, SpanId, TraceId},
};
use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
};

/// An exchange on its way to becoming a span, and what is remembered of it afterwards.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "independent marks, each with its meaning")]
pub(super) struct Node {
    pub(super) key: Key,
    pub(super) kind: Kind,
    pub(super) span_id: SpanId,
    /// The trace that it begins if it is a root.
    pub(super) own_trace: TraceId,
    pub(super) tgid: u32,
    pub(super) tid: u32,
    /// Span times, boot-time nanoseconds.
    pub(super) start_ns: u64,
    pub(super) end_ns: Option<u64>,
    pub(super) resource: Arc<Resource>,
    /// The whole exchange, from its end until the span is let go.
    pub(super) exchange: Option<Box<Exchange>>,
    pub(super) context: Option<Box<Context>>,
    /// What the caller's host told of it.
    pub(super) told: Option<Told>,
    /// What the thread published that made this call, when it did.
    pub(super) published: Option<Told>,
    /// When the call returned that moved the first of it.
    pub(super) first_ns: u64,
    pub(super) tokens: Tokens,
    /// Hash of method and target, kept longer than the exchange.
    pub(super) line: Option<u64>,
    /// Where the request begins on its connection, likewise.
    pub(super) offset: Option<u64>,
    /// It hands over telemetry.
    pub(super) is_export: bool,
    /// The trace that a tracer of a program began for it, as a call of it or below shows.
    pub(super) adopted: Option<TraceId>,
    /// The HTTP/2 stream that it is.
    pub(super) stream: Option<u64>,
    /// Method and target are known.
    pub(super) has_line: bool,
    /// It was answered as a whole, and nothing of it was missed.
    pub(super) is_whole: bool,
    pub(super) decision: Option<Decision>,
    /// Its trace, once that cannot change any more.
    pub(super) trace: Option<Trace>,
    /// Nodes to be decided once this one is finished.
    pub(super) watchers: Vec<Key>,
    /// Decided nodes to be resolved once this one's trace is known.
    pub(super) waiting: Vec<Key>,
    /// Times of the calls that were made for it, for its downstream time.
    pub(super) calls: Vec<(u64, u64)>,
    /// It was decided before all evidence was in.
    pub(super) given_up: bool,
    /// Its process's habits were learned from it.
    pub(super) observed: bool,
    pub(super) gone: bool,
}

/// The trace that a node belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Trace {
    pub(super) id: TraceId,
    /// `tracestate`, handed down from the node whose headers carried it, if there was any.
    pub(super) state: Option<Arc<str>>,
}

/// Where a node hangs.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Decision {
    pub(super) parent: Parent,
    /// Another node that it is related to, without being its child.
    pub(super) aside: Option<(Key, Link)>,
    /// Why it has no parent, if it is a call and has none.
    pub(super) why: Why,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Parent {
    /// None: it begins a trace.
    Root,
    /// The caller that its headers name ([`Node::context`]).
    Remote,
    /// The caller that its host told ([`Node::told`]).
    Told,
    /// The span that its thread published ([`Node::published`]).
    Published,
    /// Another node.
    Local(Key, Link),
}

impl Decision {
    /// The same, with the reason why there is no parent.
    pub(super) fn because(self, why: Why) -> Self {
        Self { why, ..self }
    }

    /// The nodes whose trace must be known before this one's span can be let go.
    pub(super) fn needs(&self) -> impl Iterator<Item = Key> {
        let parent = match self.parent {
            Parent::Local(key, _) => Some(key),
            Parent::Root | Parent::Remote | Parent::Told | Parent::Published => None,
        };
        parent.into_iter().chain(self.aside.map(|(key, _)| key))
    }
}

impl Node {
    pub(super) fn new(key: Key, kind: Kind, start_ns: u64, first: &Stamp, resource: Arc<Resource>, ids: Ids) -> Self {
        Self {
            key,
            kind,
            span_id: ids.span(key),
            own_trace: ids.trace(key),
            tgid: first.tgid,
            tid: first.tid,
            start_ns,
            end_ns: None,
            resource,
            exchange: None,
            context: None,
            told: None,
            published: None,
            first_ns: first.end_ns,
            tokens: Tokens::default(),
            line: None,
            offset: None,
            is_export: false,
            adopted: None,
            stream: None,
            has_line: false,
            is_whole: false,
            decision: None,
            trace: None,
            watchers: Vec::new(),
            waiting: Vec::new(),
            calls: Vec::new(),
            given_up: false,
            observed: false,
            gone: false,
        }
    }

    pub(super) fn finish(&mut self, exchange: Box<Exchange>, at_ns: u64) {
        self.end_ns = Some(timing::end_ns(&exchange, at_ns).max(self.start_ns));
        self.context = exchange.request.as_ref().and_then(|request| Context::of(&request.headers)).map(Box::new);
        self.line = exchange.request.as_ref().map(|request| {
            let mut hasher = DefaultHasher::new();
            (&request.method, &request.target).hash(&mut hasher);
            hasher.finish()
        });
        self.offset = exchange.offset;
        self.is_export = exchange.request.as_ref().is_some_and(telemetry::is_export);
        self.stream = exchange.stream();
        self.has_line =
            exchange.request.as_ref().is_some_and(|request| !request.method.is_empty() && !request.target.is_empty());
        self.is_whole = exchange.answered.is_some() && exchange.incomplete.is_none();
        self.exchange = Some(exchange);
    }

    /// A number for what was asked for, see [`live::route`].
    pub(super) fn route(&self, to: &impl Hash) -> u32 {
        let request = self.exchange.as_ref().and_then(|exchange| exchange.request.as_ref());
        request.map_or(0, |request| live::route(&request.method, &request.target, to))
    }

    /// As a call to infer from.
    pub(super) fn as_call(&self, to: &impl Hash) -> infer::Call {
        infer::Call {
            start_ns: self.start_ns,
            end_ns: self.end_ns.unwrap_or(self.start_ns),
            route: self.route(to),
            thread: Some(u64::from(self.tid)),
            ..infer::Call::default()
        }
    }

    /// The thread that moved the last of its answer; 0 where there was none.
    pub(super) fn last_tid(&self) -> u32 {
        let answered = self.exchange.as_ref().and_then(|exchange| exchange.answered);
        answered.map_or(0, |answered| answered.last.tid)
    }

    /// The trace that it has as a root, or as the child of who its thread, its headers or the caller's host name, in this order. A client's
    /// span has the trace that its headers carry, so these come before what was told; then what was adopted.
    pub(super) fn top_trace(&self) -> Trace {
        if let Some(published) = self.published {
            let same = self.context.as_ref().filter(|context| context.trace_id == published.trace_id);
            let state = same.filter(|context| !context.state.is_empty()).map(|context| context.state.as_str().into());
            return Trace { id: published.trace_id, state };
        }
        if let Some(context) = &self.context {
            let state = (!context.state.is_empty()).then(|| context.state.as_str().into());
            return Trace { id: context.trace_id, state };
        }
        let id = self.told.map(|told| told.trace_id).or(self.adopted).unwrap_or(self.own_trace);
        Trace { id, state: None }
    }
}
