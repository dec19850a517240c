//! The lines above the tree: which trace, how long, how bad, and where most of its time went.

use std::collections::BTreeSet;

use super::{Scene, Trace};
use crate::{
    export::terminal::{
        clean::{columns, fit},
        describe,
        look::Paint,
        row::Row,
        tree::Place,
        units::brief,
    },
    span::{Kind, Status},
};

/// Appends the lines.
pub fn put(scene: &Scene<'_>, trace: &Trace<'_>, out: &mut String) {
    title(scene, trace, out);
    let left_out = (trace.left_out > 0).then(|| format!("{} more of its spans are not shown", trace.left_out));
    for line in trace.partial.map(str::to_owned).into_iter().chain(left_out) {
        let mut row = Row::begin(scene.look, out);
        row.text(&fit(&line, scene.look.drawing_width()), Paint::Warning);
        row.end();
    }
    slowest(scene, out);
}

/// The parts of the title for which there is room, the most needed first.
fn title(scene: &Scene<'_>, trace: &Trace<'_>, out: &mut String) {
    let services: BTreeSet<_> = trace.spans.iter().map(|span| span.resource.service.as_str()).collect();
    let errors = trace.spans.iter().filter(|span| span.status == Status::Error).count();
    let (took, all) = (scene.root.1 - scene.root.0, scene.window.1 - scene.window.0);
    let with_rest = if all > took { format!("({} with what follows)", brief(all)) } else { String::new() };
    let parts = [
        (format!("trace {}", trace.id), Paint::Strong),
        (brief(took), Paint::Strong),
        (if errors > 0 { count(errors, "error") } else { String::new() }, Paint::Error),
        (with_rest, Paint::Plain),
        (format!("{}, {}", count(trace.spans.len(), "span"), count(services.len(), "service")), Paint::Plain),
        (scene.look.date_and_time(scene.window.0), Paint::Faint),
    ];
    let mut row = Row::begin(scene.look, out);
    let mut left = scene.look.drawing_width();
    for (text, paint) in parts.iter().filter(|(text, _)| !text.is_empty()) {
        let used = columns(text);
        if used <= left {
            row.text(text, *paint);
            row.gap(super::layout::GAP);
            left = left.saturating_sub(used + super::layout::GAP);
        }
    }
    row.end();
}

fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// Where most of the root's time went: the span with the most time of its own, and what that time is.
fn slowest(scene: &Scene<'_>, out: &mut String) {
    let Some(index) = scene.slowest else { return };
    let node = &scene.nodes[index];
    let own = node.own_within(scene.root);
    let percent = u128::from(own) * 100 / u128::from((scene.root.1 - scene.root.0).max(1));
    let service = describe::service(node.span);
    let how_long = (": ", brief(own), format!(" ({percent}%)"));
    let used = columns("slowest: ") + columns(how_long.0) + columns(&how_long.1) + columns(&how_long.2);
    let left = scene.look.drawing_width().saturating_sub(used);
    let service_shown = fit(&service, left);
    let what = what(scene, index);
    let mut row = Row::begin(scene.look, out);
    row.text("slowest: ", Paint::Faint);
    row.text(&service_shown, scene.palette.paint(&service));
    row.text(&fit(&what, left.saturating_sub(columns(&service_shown))), Paint::Plain);
    row.text(how_long.0, Paint::Plain);
    row.text(&how_long.1, Paint::Warning);
    row.text(&how_long.2, Paint::Plain);
    row.end();
}

/// What a span's own time is.
fn what(scene: &Scene<'_>, index: usize) -> String {
    let span = scene.nodes[index].span;
    let child = scene.nodes.iter().find(|child| child.place == Place::Child(index));
    match (span.kind, child) {
        (Kind::Server, _) => format!(" itself, in {}", describe::request(span)),
        (Kind::Client, Some(child)) => {
            format!(" to {} and back (connection, network, queue)", describe::service(child.span))
        }
        (Kind::Client, None) => match describe::peer(span) {
            peer if peer.is_empty() => format!(" waiting for an answer to {}", describe::request(span)),
            peer => format!(" waiting for {peer}, which is not seen from inside"),
        },
    }
}
