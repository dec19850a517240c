//! Calls that begin while no request is open: what is left to do after an answer, or nobody's work.

use super::{Link, Spans};

/// How long after an answer a call may follow from it, in nanoseconds.
pub const FOLLOWS_NS: u64 = 1_000_000_000;

/// The request that a call may follow from: the one that was answered last. The more were answered shortly before, the
/// less sure that is, and it is never more than even.
pub(super) fn follow(spans: &Spans<'_>, answered: &[(u64, u32)], call: u32, link: &mut Link) -> bool {
    let Some(start_ns) = spans.all.get(call as usize).map(|span| span.start_ns) else { return false };
    let before = answered.partition_point(|(end_ns, _)| *end_ns < start_ns);
    let recent = answered.partition_point(|(end_ns, _)| end_ns.saturating_add(FOLLOWS_NS) < start_ns);
    let Some((_, request)) = answered.get(recent..before).and_then(<[_]>::last) else { return false };
    link.follows = Some((*request, 0.5 / (before - recent) as f64));
    true
}
