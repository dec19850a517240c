//! A span out of an exchange and what was decided about it. Nothing is decided here. What the span's own fields say
//! (link, incomplete) is not said again by attributes: each sink has its form for those.

use super::{
    attributes,
    node::{Node, Trace},
    texts::Texts,
    timing,
};
use crate::{
    conn::Socket,
    protocol::{Exchange, Incomplete},
    span::{Attribute, Link, Method, Span, SpanId, SpanLink, Status, TraceId, Value},
};
use std::sync::Arc;

/// What a span is made of.
pub(super) struct Parts<'a> {
    pub(super) node: &'a Node,
    pub(super) exchange: &'a Exchange,
    pub(super) socket: &'a Socket,
    pub(super) texts: &'a mut Texts,
    pub(super) trace: &'a Trace,
    pub(super) end_ns: u64,
    pub(super) parent: Option<(SpanId, Link)>,
    /// Other spans to be told of, and what relates them.
    pub(super) asides: &'a [(TraceId, SpanId, Option<Link>)],
}

/// Makes the span. `clock_offset_ns` turns boot-time into Unix time.
pub(super) fn span(parts: Parts<'_>, clock_offset_ns: u64) -> Span {
    let Parts { node, exchange, socket, texts, trace, end_ns, parent, asides } = parts;
    let error = attributes::error_type(node.kind, exchange);
    let mut list = attributes::http(node.kind, exchange, socket, texts);
    if let Some(error) = &error {
        list.push(("error.type".into(), Value::Text(error.clone())));
    }
    timing::splits(node.kind, exchange, socket, &node.calls, |name, ns| {
        list.push((name.into(), Value::Int(ns.cast_signed())));
    });
    let link = parent.map(|(_, link)| link);
    if let Some(sampled) = node.context.as_ref().and_then(|context| context.sampled) {
        list.push(("netspan.context.sampled".into(), Value::Bool(sampled)));
    }
    if let Some(original) = node.context.as_ref().and_then(|context| context.original.as_deref()) {
        list.push(("netspan.context.trace_id".into(), Value::Text(original.to_owned().into())));
    }
    if node.given_up {
        list.push(("netspan.link.given_up".into(), Value::Bool(true)));
    }
    Span {
        trace_id: trace.id,
        span_id: node.span_id,
        parent: parent.map(|(id, _)| id),
        parent_is_remote: link.is_some_and(|link| matches!(link.method, Method::Header | Method::TcpOption)),
        trace_state: trace.state.as_deref().unwrap_or_default().to_owned(),
        kind: node.kind,
        name: attributes::name(exchange),
        start_ns: node.start_ns.saturating_add(clock_offset_ns),
        end_ns: end_ns.saturating_add(clock_offset_ns),
        status: if error.is_some() { Status::Error } else { Status::Unset },
        resource: Arc::clone(&node.resource),
        pid: node.tgid,
        tid: node.tid,
        incomplete: exchange.incomplete.map(Incomplete::name),
        link,
        links: asides.iter().map(span_link).collect(),
        attributes: list,
    }
}

fn span_link((trace_id, span_id, link): &(TraceId, SpanId, Option<Link>)) -> SpanLink {
    let attributes = link.iter().flat_map(link_attributes).collect();
    SpanLink { trace_id: *trace_id, span_id: *span_id, attributes }
}

fn link_attributes(link: &Link) -> [Attribute; 2] {
    [
        ("netspan.link.method".into(), Value::Text(link.method.name().into())),
        ("netspan.link.confidence".into(), Value::Float(link.confidence)),
    ]
}
