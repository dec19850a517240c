//! The trace that a program's tracer begins in the middle of one of ours is adopted by all that caused it. Parents are not touched.

use super::{Key, Linker, node::Parent};
use crate::span::TraceId;

impl Linker {
    /// A call of a request carries the context of a tracer in its program, or its thread published one. Where the request came without a context, that tracer began a
    /// trace of its own: the request and what is above it go into it, unless their trace is known already.
    pub(super) fn adopt(&mut self, request: Key, trace_id: Option<TraceId>) {
        if !self.options.adopt_traces {
            return;
        }
        let (mut at, Some(trace_id)) = (Some(request), trace_id) else { return };
        while let Some(node) = at.and_then(|key| self.nodes.get_mut(&key)) {
            if node.trace.is_some()
                || node.adopted.is_some()
                || node.context.is_some()
                || node.told.is_some()
                || node.published.is_some()
            {
                return;
            }
            node.adopted = Some(trace_id);
            at = node.decision.as_ref().and_then(|decision| match decision.parent {
                Parent::Local(parent, _) => Some(parent),
                Parent::Root | Parent::Remote | Parent::Told | Parent::Published => None,
            });
        }
    }
}
