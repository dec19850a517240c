//! No span is its own ancestor, whatever headers claim. Links that are found on this host can't close a circle: a child begins
//! after its parent. A header can name any span, the one that it is in and its descendants included.
//!
//! Of the spans that were let go the parents are remembered. A circle has a link that is made last: it is not made.

use super::{HELD_MAX, Key, Linker};
use crate::span::SpanId;
use rustc_hash::FxHashMap;
use std::collections::VecDeque;

/// Spans whose parents are remembered at most; past it, those that were let go first are forgotten.
pub const LINEAGE_MAX: usize = 16_384;

/// Who hangs under whom, of the spans that were let go last.
#[derive(Debug, Default)]
pub(super) struct Lineage {
    parents: FxHashMap<SpanId, Above>,
    /// The children, in the order in which they were let go.
    order: VecDeque<SpanId>,
    /// Spans that headers named as parents, and how many did.
    named: FxHashMap<SpanId, u32>,
}

#[derive(Clone, Copy, Debug)]
struct Above {
    id: SpanId,
    is_claimed: bool,
}

impl Lineage {
    /// A span is let go under this parent, which a header (or another host) claims or which was found on this host. Says whether
    /// it may be: whether the parent is neither the span itself nor one of its descendants.
    pub(super) fn add(&mut self, span: SpanId, parent: SpanId, is_claimed: bool) -> bool {
        // A circle has a claim in it: this one, or one that names this span or one above it.
        if (is_claimed || !self.named.is_empty()) && self.is_above(span, parent) {
            return false;
        }
        if self.parents.insert(span, Above { id: parent, is_claimed }).is_none() {
            self.order.push_back(span);
        }
        if is_claimed {
            *self.named.entry(parent).or_default() += 1;
        }
        if self.order.len() > LINEAGE_MAX {
            self.forget();
        }
        true
    }

    /// Whether a span is this one or an ancestor of it. What is remembered has no circle, so this ends.
    fn is_above(&self, span: SpanId, of: SpanId) -> bool {
        let chain = std::iter::successors(Some(of), |at| self.parents.get(at).map(|above| above.id));
        chain.take(LINEAGE_MAX).any(|at| at == span)
    }

    fn forget(&mut self) {
        let oldest = self.order.pop_front().and_then(|span| self.parents.remove(&span));
        if let Some(Above { id, is_claimed: true }) = oldest
            && let Some(count) = self.named.get_mut(&id)
        {
            *count -= 1;
            if *count == 0 {
                self.named.remove(&id);
            }
        }
    }
}

impl Linker {
    /// Whether a node has this span id, or one of those that wait for it.
    pub(super) fn waits_for(&self, key: Key, span: SpanId) -> bool {
        let mut keys = vec![key];
        let mut looked_at = 0;
        while let Some(key) = keys.pop() {
            let Some(node) = self.nodes.get(&key) else { continue };
            looked_at += 1;
            if node.span_id == span || looked_at > HELD_MAX {
                return node.span_id == span;
            }
            keys.extend(&node.waiting);
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u64) -> SpanId {
        SpanId(number.to_be_bytes())
    }

    #[test]
    fn the_link_that_would_close_a_circle_is_not_made_whichever_is_last() {
        let links = [(1, 3, true), (2, 1, false), (3, 2, false)];
        for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
            let mut lineage = Lineage::default();
            let made = order.map(|place: usize| {
                let (span, parent, is_claimed) = links[place];
                lineage.add(id(span), id(parent), is_claimed)
            });
            assert_eq!(made, [true, true, false], "{order:?}");
        }
        let mut lineage = Lineage::default();
        assert!(!lineage.add(id(1), id(1), true), "a span that names itself");
        assert!(lineage.add(id(1), id(2), true));
        assert!(!lineage.add(id(2), id(1), true), "two that name each other");
        assert!(lineage.add(id(2), id(3), true), "the one that was refused is free");
    }

    #[test]
    fn what_is_remembered_has_a_bound() {
        let mut lineage = Lineage::default();
        for number in 0..3 * LINEAGE_MAX as u64 {
            assert!(lineage.add(id(number + 1), id(u64::MAX - number), number.is_multiple_of(2)));
        }
        assert_eq!(
            (lineage.order.len(), lineage.parents.len(), lineage.named.len()),
            (LINEAGE_MAX, LINEAGE_MAX, LINEAGE_MAX / 2)
        );
    }
}
