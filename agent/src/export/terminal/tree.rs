//! The spans of one trace as a tree: who called whom, and what time of a span is its own. It tells nothing that the
//! spans do not say: a parent that was not seen is an absent parent.

use std::collections::HashMap;

use crate::span::{Span, SpanId};

/// A piece of time: from and to, in nanoseconds since the Unix epoch.
pub type Interval = (u64, u64);

/// A span in its tree.
#[derive(Clone, Debug)]
pub struct Node<'a> {
    /// The span.
    pub span: &'a Span,
    /// Why it is where it is.
    pub place: Place,
    /// The line art before it.
    pub branch: String,
    /// The line art before its further lines.
    pub stem: String,
    /// The times at which none of its children was open, in order.
    pub own: Vec<Interval>,
    /// Whether it has children.
    pub has_children: bool,
}

/// Why a span is where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// It has no parent.
    Root,
    /// Below its parent, which is the node of this index.
    Child(usize),
    /// Its parent is in a process that no span of this trace is of.
    Remote(SpanId),
    /// Its parent was not seen, or comes to be its own descendant.
    Orphan(SpanId),
}

impl Node<'_> {
    /// Nanoseconds of its own.
    pub fn own_ns(&self) -> u64 {
        self.own_within((0, u64::MAX))
    }

    /// Nanoseconds of its own within `window`.
    pub fn own_within(&self, window: Interval) -> u64 {
        self.own.iter().map(|(from, to)| to.min(&window.1).saturating_sub(*from.max(&window.0))).sum()
    }
}

/// The nodes of a trace from top to bottom: roots by time, each with its children by time below it; then the spans whose
/// parents are not there. Spans that start together keep their order.
pub fn tree<'a>(spans: &[&'a Span]) -> Vec<Node<'a>> {
    let family = Family::of(spans);
    let mut nodes = Vec::with_capacity(spans.len());
    let mut seen = vec![false; spans.len()];
    let mut stack = Vec::new();
    for top in family.tops() {
        stack.push(Visit { index: top, parent: None, last: true, stem: String::new() });
        while let Some(visit) = stack.pop() {
            if std::mem::replace(&mut seen[visit.index], true) {
                continue;
            }
            let children: Vec<_> = family.children[visit.index].iter().copied().filter(|&child| !seen[child]).collect();
            let node = nodes.len();
            let (branch, stem) = visit.art();
            for (nth, &index) in children.iter().enumerate().rev() {
                let last = nth + 1 == children.len();
                stack.push(Visit { index, parent: Some(node), last, stem: stem.clone() });
            }
            let span = spans[visit.index];
            let place = visit.parent.map_or_else(|| place_of_top(span), Place::Child);
            let own = own_time(span, children.iter().map(|&child| spans[child]));
            nodes.push(Node { span, place, branch, stem, own, has_children: !children.is_empty() });
        }
    }
    nodes
}

struct Visit {
    index: usize,
    parent: Option<usize>,
    last: bool,
    stem: String,
}

impl Visit {
    /// The line art before the node, and before what is below it.
    fn art(&self) -> (String, String) {
        let (branch, stem) = match (self.parent, self.last) {
            (None, _) => ("", ""),
            (Some(_), true) => ("╰", " "),
            (Some(_), false) => ("├", "│"),
        };
        (format!("{}{branch}", self.stem), format!("{}{stem}", self.stem))
    }
}

fn place_of_top(span: &Span) -> Place {
    match span.parent {
        None => Place::Root,
        Some(parent) if span.parent_is_remote => Place::Remote(parent),
        Some(parent) => Place::Orphan(parent),
    }
}

/// Who is whose child, by index.
struct Family<'s, 'a> {
    spans: &'s [&'a Span],
    parents: Vec<Option<usize>>,
    children: Vec<Vec<usize>>,
}

impl<'s, 'a> Family<'s, 'a> {
    fn of(spans: &'s [&'a Span]) -> Self {
        let mut places = HashMap::new();
        for (index, span) in spans.iter().enumerate() {
            places.entry(span.span_id).or_insert(index);
        }
        let parent_of = |index: usize| places.get(&spans[index].parent?).copied().filter(|&parent| parent != index);
        let parents: Vec<_> = (0..spans.len()).map(parent_of).collect();
        let mut children = vec![Vec::new(); spans.len()];
        for (index, parent) in parents.iter().enumerate() {
            if let Some(parent) = *parent {
                children[parent].push(index);
            }
        }
        for children in &mut children {
            children.sort_by_key(|&child: &usize| spans[child].start_ns);
        }
        Self { spans, parents, children }
    }

    /// Where to begin, in order: roots, then spans without their parents, then one of each ring of parents.
    fn tops(&self) -> Vec<usize> {
        let by_time = |indexes: &mut Vec<usize>| indexes.sort_by_key(|&index| self.spans[index].start_ns);
        let mut all: Vec<_> = (0..self.spans.len()).collect();
        by_time(&mut all);
        let (mut tops, below): (Vec<_>, Vec<_>) = all.into_iter().partition(|&index| self.parents[index].is_none());
        tops.sort_by_key(|&index| match place_of_top(self.spans[index]) {
            Place::Root => 0,
            Place::Remote(_) => 1,
            Place::Child(_) | Place::Orphan(_) => 2,
        });
        // Those of a ring are reached from no top; those that are reached are skipped by the walk.
        tops.extend(below);
        tops
    }
}

/// The span's time less that of its children.
fn own_time<'a>(span: &Span, children: impl Iterator<Item = &'a Span>) -> Vec<Interval> {
    let mut own = Vec::new();
    let mut from = span.start_ns;
    for child in children {
        if child.start_ns.min(span.end_ns) > from {
            own.push((from, child.start_ns.min(span.end_ns)));
        }
        from = from.max(child.end_ns);
    }
    if span.end_ns > from {
        own.push((from, span.end_ns));
    }
    own
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        export::terminal::golden::{self, START_NS, span},
        span::Kind::Server,
    };

    /// The tree as text: one line a node, with its place and its own time in microseconds.
    fn drawn(spans: &[Span]) -> Vec<String> {
        let spans: Vec<_> = spans.iter().collect();
        let nodes = tree(&spans);
        let us = |ns: u64| (ns - START_NS) / 1000;
        let line = |node: &Node<'_>| {
            let own: Vec<_> = node.own.iter().map(|(from, to)| format!("{}-{}", us(*from), us(*to))).collect();
            let mark = match node.place {
                Place::Orphan(_) => "?",
                Place::Remote(_) => "^",
                Place::Root | Place::Child(_) => "",
            };
            format!("{}{mark}{} {}", node.branch, u64::from_be_bytes(node.span.span_id.0), own.join(","))
        };
        nodes.iter().map(line).collect()
    }

    fn s(id: u64, parent: u64, from: u64, to: u64) -> Span {
        span(id, parent, Server, "s", from, to)
    }

    #[test]
    fn children_are_below_their_parents_by_time_and_own_time_is_what_they_leave() {
        let spans = [s(4, 2, 30, 40), s(3, 1, 60, 70), s(2, 1, 10, 50), s(1, 0, 0, 100), s(5, 1, 65, 80)];
        assert_eq!(drawn(&spans), ["1 0-10,50-60,80-100", "├2 10-30,40-50", "│╰4 30-40", "├3 60-70", "╰5 65-80"]);
    }

    #[test]
    fn a_child_that_outlives_its_parent_takes_no_more_than_there_is() {
        assert_eq!(drawn(&[s(1, 0, 10, 20), s(2, 1, 15, 90), s(3, 1, 30, 40)])[0], "1 10-15");
        assert_eq!(drawn(&[s(1, 0, 10, 20), s(2, 1, 5, 12)])[0], "1 12-20");
        assert_eq!(drawn(&[s(1, 0, 10, 20), s(2, 1, 5, 90)])[0], "1 ");
    }

    #[test]
    fn spans_whose_parent_is_not_there_come_last_and_say_so() {
        let mut remote = s(7, 99, 5, 6);
        remote.parent_is_remote = true;
        assert_eq!(drawn(&[s(2, 9, 1, 2), s(3, 2, 1, 2), remote, s(1, 0, 3, 4)]), ["1 3-4", "^7 5-6", "?2 ", "╰3 1-2"]);
    }

    #[test]
    fn a_ring_of_parents_ends() {
        let ring = [s(1, 2, 0, 9), s(2, 3, 1, 8), s(3, 1, 2, 7)];
        assert_eq!(drawn(&ring), ["?1 0-2,7-9", "╰3 ", " ╰2 1-8"]);
    }

    #[test]
    fn a_span_that_names_itself_and_one_that_comes_twice_are_each_shown_once() {
        assert_eq!(drawn(&[s(1, 1, 0, 9)]), ["?1 0-9"]);
        assert_eq!(drawn(&[s(1, 0, 0, 9), s(1, 0, 0, 9), s(2, 1, 2, 3)]).len(), 3);
    }

    #[test]
    fn a_very_deep_trace_does_not_overflow_the_stack() {
        let spans: Vec<_> = (1..2000).map(|id| s(id, id - 1, 0, 1)).collect();
        assert_eq!(drawn(&spans).len(), 1999);
    }

    #[test]
    fn whatever_the_parents_each_span_is_there_once_and_its_own_time_is_within_it() {
        for seed in 0..300 {
            let mut random = golden::Random::new(seed);
            let some = |_| s(random.below(20) + 1, random.below(24), random.below(50), random.below(100));
            let spans: Vec<_> = (0..20).map(some).collect();
            let references: Vec<_> = spans.iter().collect();
            let nodes = tree(&references);
            let mut addresses: Vec<_> = nodes.iter().map(|node| std::ptr::from_ref(node.span)).collect();
            addresses.sort_unstable();
            assert_eq!(addresses, spans.iter().map(std::ptr::from_ref).collect::<Vec<_>>(), "seed {seed}");
            for node in &nodes {
                let within =
                    |(from, to): &Interval| node.span.start_ns <= *from && from < to && *to <= node.span.end_ns;
                assert!(node.own.iter().all(within), "seed {seed}: {:?}", node.own);
                if let Place::Child(at) = node.place {
                    assert_eq!(node.span.parent, Some(nodes[at].span.span_id), "seed {seed}");
                }
            }
        }
    }
}
