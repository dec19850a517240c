//! A trace as a waterfall: a tree of calls, each with its time as a bar, and where the time went in one line.

mod call;
mod head;
mod layout;
mod notes;

use std::mem::discriminant;

use self::{call::Call, layout::Layout};
use super::{
    bar::{Cell, bar},
    clean::columns,
    describe,
    look::{Look, Paint, Palette},
    row::Row,
    tree::{Interval, Node, Place, tree},
    units::{DURATION_WIDTH, brief, duration},
};
use crate::span::{Span, Status, TraceId};

/// What to draw.
#[derive(Clone, Copy, Debug)]
pub struct Trace<'a> {
    /// The trace's id.
    pub id: TraceId,
    /// Its spans, in the order in which they came; at least one.
    pub spans: &'a [&'a Span],
    /// Why this may not be the whole trace; absent when it is.
    pub partial: Option<&'static str>,
    /// Spans of it that are not among `spans`.
    pub left_out: u64,
}

/// Appends the drawing of a trace, and an empty line.
pub fn draw(look: &Look, trace: &Trace<'_>, out: &mut String) {
    let nodes = tree(trace.spans);
    let scene = Scene::of(look, trace.id, &nodes);
    head::put(&scene, trace, out);
    axis(&scene, out);
    for node in &nodes {
        put(&scene, node, out);
        notes::put(&scene, node, out);
    }
    out.push('\n');
}

/// What all lines of a drawing share.
struct Scene<'s> {
    look: &'s Look,
    trace: TraceId,
    nodes: &'s [Node<'s>],
    layout: Layout,
    /// From the first beginning to the last end.
    window: Interval,
    /// The time that somebody waited for: that of the first root.
    root: Interval,
    /// The node with the most time of its own within that.
    slowest: Option<usize>,
    palette: Palette,
}

impl<'s> Scene<'s> {
    fn of(look: &'s Look, trace: TraceId, nodes: &'s [Node<'s>]) -> Self {
        let from = nodes.iter().map(|node| node.span.start_ns).min().unwrap_or(0);
        let to = nodes.iter().map(|node| node.span.end_ns).max().unwrap_or(0);
        let window = (from, to.max(from));
        let is_root = |node: &&Node<'_>| matches!(node.place, Place::Root | Place::Remote(_));
        let root = nodes.iter().find(is_root).map_or(window, |node| interval(node.span));
        // The first of equals.
        let own = |index: &usize| nodes[*index].own_within(root);
        let slowest = (0..nodes.len()).rev().max_by_key(own).filter(|index| own(index) > 0);
        let mut palette = Palette::default();
        for node in nodes {
            palette.add(&describe::service(node.span));
        }
        Self { look, trace, nodes, layout: Layout::of(look, nodes), window, root, slowest, palette }
    }
}

fn interval(span: &Span) -> Interval {
    (span.start_ns, span.end_ns.max(span.start_ns))
}

/// The names of the columns, and the times along the bars.
fn axis(scene: &Scene<'_>, out: &mut String) {
    let layout = &scene.layout;
    let mut row = Row::begin(scene.look, out);
    row.left("", layout.call, layout::GAP, Paint::Faint);
    if layout.link > 0 {
        row.left("by", layout.link, layout::GAP, Paint::Faint);
    }
    row.left("code", layout::STATUS, 1, Paint::Faint);
    row.right("took ", DURATION_WIDTH, layout::GAP, Paint::Faint);
    if layout.own > 0 {
        row.right("own ", layout.own, layout::GAP, Paint::Faint);
    }
    row.text(&scale(scene.window.1 - scene.window.0, layout.bar), Paint::Faint);
    row.end();
}

/// Times at the beginning of each part, and at the end; as many as there is room for.
fn scale(length: u64, width: usize) -> String {
    let end = brief(length);
    // The last of the labels between stands a part's width before the end, and the label of the end ends there.
    let room = columns(&end) * 2 + 2;
    let parts = [4_u64, 2].into_iter().find(|&parts| width / parts as usize >= room).unwrap_or(1);
    let mut text = "0".to_owned();
    let mut put = |label: &str, at: usize| {
        text.extend(std::iter::repeat_n(' ', at.saturating_sub(columns(&text))));
        text.push_str(label);
    };
    for part in 1..parts {
        let time = (u128::from(length) * u128::from(part) / u128::from(parts)) as u64;
        put(&brief(time), width * part as usize / parts as usize);
    }
    put(&end, width.saturating_sub(columns(&end)));
    text
}

/// The line of a span.
fn put(scene: &Scene<'_>, node: &Node<'_>, out: &mut String) {
    let (layout, span) = (&scene.layout, node.span);
    let paint = scene.palette.paint(&describe::service(span));
    let mut row = Row::begin(scene.look, out);
    let art = layout.art(&node.branch);
    row.text(art, Paint::Faint);
    Call::of(node, scene.nodes).put(&mut row, layout.call.saturating_sub(columns(art)), paint);
    row.gap(layout::GAP);
    if layout.link > 0 {
        row.left(&span.link.map(describe::link).unwrap_or_default(), layout.link, layout::GAP, Paint::Faint);
    }
    row.left(&describe::status(span), layout::STATUS, 1, describe::status_paint(span));
    row.right(&duration(span.end_ns.saturating_sub(span.start_ns)), DURATION_WIDTH, layout::GAP, Paint::Plain);
    if layout.own > 0 {
        let slowest = scene.slowest.is_some_and(|index| std::ptr::eq(&raw const scene.nodes[index], node));
        let paint = if slowest { Paint::Warning } else { Paint::Faint };
        row.right(&duration(node.own_ns()), layout.own, layout::GAP, paint);
    }
    put_bar(scene, node, if span.status == Status::Error { Paint::Error } else { paint }, &mut row);
    row.end();
}

fn put_bar(scene: &Scene<'_>, node: &Node<'_>, own: Paint, row: &mut Row<'_>) {
    let cells = bar(scene.window, interval(node.span), &node.own, scene.layout.bar);
    for run in cells.chunk_by(|one, other| discriminant(one) == discriminant(other)) {
        let text: String = run.iter().map(|cell| cell.glyph()).collect();
        match run[0] {
            Cell::Blank => row.gap(run.len()),
            Cell::Own(_) => row.text(&text, own),
            Cell::Waiting(_) => row.text(&text, Paint::Faint),
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::*;
    use crate::{export::terminal::golden, span::Kind};

    fn drawn(look: &Look, spans: &[Span], partial: Option<&'static str>, left_out: u64) -> String {
        let spans: Vec<_> = spans.iter().collect();
        let mut out = String::new();
        draw(look, &Trace { id: spans[0].trace_id, spans: &spans, partial, left_out }, &mut out);
        out
    }

    fn narrow(width: u16) -> Look {
        Look::terminal(Some(width), Some("1"), TimeZone::UTC)
    }

    #[test]
    fn a_whole_trace_shows_where_its_time_went() {
        let plain = Look::plain(TimeZone::UTC);
        golden::check("trace-plain.txt", &drawn(&plain, &golden::shop(), None, 0));
        let colour = Look::terminal(Some(140), None, TimeZone::UTC);
        golden::check("trace-140-colour.txt", &drawn(&colour, &golden::shop(), None, 0));
    }

    #[test]
    fn a_narrow_terminal_keeps_the_tree_and_the_bars() {
        golden::check("trace-80.txt", &drawn(&narrow(80), &golden::shop(), None, 0));
        golden::check("trace-60.txt", &drawn(&narrow(60), &golden::shop(), None, 0));
    }

    #[test]
    fn what_is_odd_about_a_trace_is_said() {
        golden::check("trace-odd.txt", &drawn(&narrow(140), &golden::odd_trace(), Some("its root was not seen"), 7));
    }

    #[test]
    fn no_line_is_wider_than_its_terminal() {
        let deep: Vec<_> = (1..100).map(|id| golden::span(id, id - 1, Kind::Server, "s", id, 1000)).collect();
        for width in 60..200 {
            for spans in [golden::shop(), golden::odd_trace(), golden::oddities(), deep.clone()] {
                let text = drawn(&narrow(width), &spans, Some("its root was not seen"), 3);
                let widest = text.lines().map(columns).max().unwrap_or(0);
                assert!(widest <= usize::from(width), "{widest} in {width}:\n{text}");
            }
        }
    }

    #[test]
    fn times_along_the_bars_never_touch() {
        for width in 0..200 {
            for length in [1, 999, 1_000_000, 52_400_000, 61_000_000_000, 3_600_000_000_000_000] {
                let text = scale(length, width);
                assert!(width < 20 || columns(&text) == width, "{width}: {text}");
                let labels = text.split("  ").filter(|label| !label.trim().is_empty()).count();
                assert!(width < 20 || [2, 3, 5].contains(&labels), "{width}: {text}");
            }
        }
    }
}
