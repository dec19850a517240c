//! Spans as text, for golden comparisons.

use netspan::span::{Kind, Span, SpanId, Value};
use std::{fmt::Write as _, sync::Arc};

/// The spans as a forest: a line for each, children indented below their parents, siblings by start. A line tells kind,
/// service, what was asked, how the parent was found, and why the span is incomplete.
pub fn forest(spans: &[Arc<Span>]) -> String {
    let mut text = String::new();
    let known = |id: SpanId| spans.iter().any(|span| span.span_id == id);
    for root in sorted(spans, |span| span.parent.is_none_or(|parent| !known(parent))) {
        branch(spans, root, 0, &mut text);
    }
    text
}

fn branch(spans: &[Arc<Span>], span: &Span, depth: usize, text: &mut String) {
    let kind = if span.kind == Kind::Server { "SERVER" } else { "CLIENT" };
    let path = attribute(span, "url.path").or(attribute(span, "url.full")).unwrap_or("?".into());
    // Where there is a route, it says no more than the path.
    let name = span.name.split_once(" /").map_or(span.name.as_str(), |(method, _)| method);
    write!(text, "{:1$}{kind} {2} {name} {path}", "", 2 * depth, span.resource.service).unwrap();
    if let Some(link) = span.link {
        write!(text, " [{}]", link.method.name()).unwrap();
    }
    if let Some(reason) = span.incomplete {
        write!(text, " ({reason})").unwrap();
    }
    text.push('\n');
    for child in sorted(spans, |child| child.parent == Some(span.span_id)) {
        assert_eq!(child.trace_id, span.trace_id, "a child is in its parent's trace");
        branch(spans, child, depth + 1, text);
    }
}

fn sorted(spans: &[Arc<Span>], which: impl Fn(&Span) -> bool) -> Vec<&Span> {
    let mut chosen: Vec<&Span> = spans.iter().map(Arc::as_ref).filter(|span| which(span)).collect();
    chosen.sort_by_key(|span| (span.start_ns, span.span_id));
    chosen
}

/// An attribute as text.
pub fn attribute(span: &Span, name: &str) -> Option<String> {
    let (_, value) = span.attributes.iter().find(|(key, _)| key == name)?;
    Some(match value {
        Value::Text(text) => text.to_string(),
        Value::Int(number) => number.to_string(),
        other => format!("{other:?}"),
    })
}

/// The one span of a kind and service.
pub fn only<'a>(spans: &'a [Arc<Span>], kind: Kind, service: &str) -> &'a Span {
    let found: Vec<&Arc<Span>> =
        spans.iter().filter(|span| span.kind == kind && span.resource.service == service).collect();
    assert_eq!(found.len(), 1, "spans of {service}: {found:#?}");
    found[0]
}
