//! What a call waits for: the event within its request after which it begins. Which one it is for a pair of routes is
//! learned; sequences and parallel calls need not be told.

use super::problem::Kid;

/// An event within a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Anchor {
    /// The request's start.
    Start,
    /// The request's start, if the call is the first.
    First,
    /// The latest end of a call, of those that had ended.
    LatestEnd,
    /// The start of the call before.
    LatestStart,
    /// The end of the last call by this route.
    End(u16),
    /// The start of the last call by this route.
    Begin(u16),
}

impl Anchor {
    /// When that was, for a call that begins at `start` after these calls of the request.
    pub(super) fn at(self, request_start: i64, before: &[Kid], start: i64) -> Option<i64> {
        let last = |route: u16| before.iter().rev().find(|kid| kid.route == route);
        match self {
            Self::Start => Some(request_start),
            Self::First => before.is_empty().then_some(request_start),
            Self::LatestEnd => before.iter().map(|kid| kid.end).filter(|end| *end <= start).max(),
            Self::LatestStart => before.last().map(|kid| kid.start),
            Self::End(route) => last(route).map(|kid| kid.end),
            Self::Begin(route) => last(route).map(|kid| kid.start),
        }
    }
}
