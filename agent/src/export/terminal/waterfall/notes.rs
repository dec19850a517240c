//! What the line of a span can't say: a parent that is not there, a child out of its parent's time, references to other
//! spans, long waits.

use super::Scene;
use crate::{
    export::terminal::{
        clean::{columns, fit},
        describe,
        look::Paint,
        row::Row,
        tree::{Node, Place},
        units::brief,
    },
    span::{Span, SpanId, SpanLink, TraceId, Value},
};

/// A child may begin before or end after its parent by so much before that is worth a word: stamps of the two ends of a
/// connection are taken in two processes.
const SLACK_NS: u64 = 100_000;
/// A wait is worth a word when it takes at least one part in so many of its span...
const WAIT_PART: u64 = 10;
/// ...and at least this time.
const WAIT_MIN_NS: u64 = 1_000_000;

/// Appends the notes of a span, a line each.
pub fn put(scene: &Scene<'_>, node: &Node<'_>, out: &mut String) {
    for note in notes(scene, node) {
        let mut row = Row::begin(scene.look, out);
        let art = scene.layout.art(&node.stem);
        row.text(art, Paint::Faint);
        row.text(if node.has_children { "│ " } else { "  " }, Paint::Faint);
        let room = scene.look.drawing_width().saturating_sub(columns(art) + 2);
        row.text(&fit(&note, room), Paint::Notice);
        row.end();
    }
}

fn notes(scene: &Scene<'_>, node: &Node<'_>) -> Vec<String> {
    let mut notes = Vec::new();
    match node.place {
        Place::Root => {}
        Place::Remote(parent) => notes.push(format!("↑ called by span {parent}, which is not seen here")),
        Place::Orphan(parent) => notes.push(format!("? its parent, span {parent}, is not here")),
        Place::Child(at) => notes.extend(outside(node.span, scene.nodes[at].span)),
    }
    notes.extend(node.span.links.iter().map(|link| reference(scene, link)));
    notes.extend(waits(node.span));
    notes
}

/// A child that is not within its parent's time.
fn outside(child: &Span, parent: &Span) -> Option<String> {
    let early = parent.start_ns.saturating_sub(child.start_ns);
    let late = child.end_ns.saturating_sub(parent.end_ns);
    match (early > SLACK_NS, late > SLACK_NS) {
        (false, false) => None,
        (true, false) => Some(format!("! begins {} before its parent", brief(early))),
        (false, true) => Some(format!("! ends {} after its parent", brief(late))),
        (true, true) => Some(format!("! begins {} before its parent and ends {} after it", brief(early), brief(late))),
    }
}

fn reference(scene: &Scene<'_>, link: &SpanLink) -> String {
    let find = |name: &str| link.attributes.iter().find(|(key, _)| key == name).map(|(_, value)| value);
    let other = name(scene, link.trace_id, link.span_id);
    let method = match find("netspan.link.method") {
        Some(Value::Text(method)) => method.as_ref(),
        _ => "linked",
    };
    match find("netspan.link.confidence") {
        Some(Value::Float(sure)) if *sure < 1.0 => {
            format!("↳ perhaps caused by {other} ({method} {})", describe::percent(*sure))
        }
        _ => format!("↳ follows from {other} ({method})"),
    }
}

fn name(scene: &Scene<'_>, trace: TraceId, id: SpanId) -> String {
    let found = scene.nodes.iter().find(|node| trace == scene.trace && node.span.span_id == id);
    match found {
        Some(node) => format!("{} {}", describe::service(node.span), describe::request(node.span)),
        None if trace == scene.trace => format!("span {id}"),
        None => format!("span {id} of trace {trace}"),
    }
}

/// Waits that are a good part of their span.
fn waits(span: &Span) -> Option<String> {
    let least = (span.end_ns.saturating_sub(span.start_ns) / WAIT_PART).max(WAIT_MIN_NS);
    let kinds = [
        ("netspan.time.connect", "to connect"),
        ("netspan.time.accept_wait", "to be accepted"),
        ("netspan.time.queue_wait", "in the socket until it was read"),
    ];
    let waits = kinds.iter().filter_map(|(name, what)| {
        let ns = u64::try_from(describe::number(span, name)?).ok().filter(|&ns| ns >= least)?;
        Some(format!("{} {what}", brief(ns)))
    });
    let waits: Vec<_> = waits.collect();
    (!waits.is_empty()).then(|| format!("waited {}", waits.join(", ")))
}
