//! Which columns a waterfall has room for, and how wide they are.

use super::call::Call;
use crate::export::terminal::{clean::columns, describe, look::Look, tree::Node, units::DURATION_WIDTH};

/// Between columns.
pub const GAP: usize = 2;
/// The status code's column.
pub const STATUS: usize = 4;
/// The bars are at least so wide while there is a column that can go.
const BAR_MIN: usize = 24;
/// The tree of calls is at least so wide.
const CALL_MIN: usize = 24;
/// The tree takes at most so many twentieths of the line...
const CALL_PART: usize = 9;
/// ...and line art one part in so many of the tree; deeper levels stay under each other.
const ART_PART: usize = 2;

/// Widths of the columns; 0 for a column that has no room, or nothing in it.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    /// The tree of calls.
    pub call: usize,
    /// How parents were found.
    pub link: usize,
    /// Own time.
    pub own: usize,
    /// The bars.
    pub bar: usize,
}

impl Layout {
    /// The columns for these nodes.
    pub fn of(look: &Look, nodes: &[Node<'_>]) -> Self {
        let width = look.drawing_width();
        let most = width * CALL_PART / 20;
        let call = |node: &Node<'_>| columns(last(&node.branch, most / ART_PART)) + Call::of(node, nodes).columns();
        let call = nodes.iter().map(call).max().unwrap_or(0).clamp(CALL_MIN, most.max(CALL_MIN));
        let link = |node: &Node<'_>| node.span.link.map_or(0, |link| columns(&describe::link(link)));
        let all = Self { call, link: nodes.iter().map(link).max().unwrap_or(0), own: DURATION_WIDTH, bar: 0 };
        let last = Self { link: 0, own: 0, ..all };
        let fits = [all, Self { link: 0, ..all }].into_iter().find(|layout| layout.rest(width) >= BAR_MIN);
        let fits = fits.unwrap_or(last);
        Self { bar: fits.rest(width), ..fits }
    }

    /// The line art that there is room for: of a very deep tree the levels nearest to the span.
    pub fn art<'a>(&self, art: &'a str) -> &'a str {
        last(art, self.call / ART_PART)
    }

    /// What the columns leave of `width`.
    fn rest(&self, width: usize) -> usize {
        let optional = [self.own, self.link].into_iter().filter(|&width| width > 0).map(|width| width + GAP);
        width.saturating_sub(self.call + GAP + STATUS + 1 + DURATION_WIDTH + GAP + optional.sum::<usize>())
    }
}

/// The last `most` characters of line art.
fn last(art: &str, most: usize) -> &str {
    let excess = art.chars().count().saturating_sub(most);
    art.char_indices().nth(excess).map_or("", |(at, _)| &art[at..])
}
