//! What happened so far, counted.

use super::{Why, infer};
use crate::span::Method;

/// What happened to exchanges and links so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Exchanges that began.
    pub started: u64,
    /// Exchanges that are over.
    pub finished: u64,
    /// Spans let go.
    pub spans: u64,
    /// Links made, by the method's place in [`Method::ALL`].
    pub linked: [u64; Method::ALL.len()],
    /// Spans that stayed roots.
    pub roots: u64,
    /// Calls among them, by the reason's place in [`Why::ALL`].
    pub unlinked: [u64; Why::ALL.len()],
    /// Links not made because they were below the asked confidence.
    pub unsure: u64,
    /// Traces that took the id which a program's tracer gave to a part of them.
    pub adopted: u64,
    /// Links not made because other evidence contradicts an exact method.
    pub contradicted: u64,
    /// Parents that headers name and that are descendants of the span itself: such a link is not made.
    pub circular: u64,
    /// Spans let go before all decisions that they depend on were made by full evidence.
    pub given_up: u64,
    /// Of those, because too many spans waited.
    pub crowded: u64,
    /// Exchanges let go without links because [`NODES_MAX`](super::NODES_MAX) was reached.
    pub refused: u64,
    /// Requests of which another host told while [`TOLD_MAX`](super::TOLD_MAX) waited.
    pub untold: u64,
    /// Calls that nothing was inferred of because it would have been too much work ([`WORK_PER_S`](super::WORK_PER_S)).
    pub unsolved: u64,
    /// What inference counted.
    pub inference: infer::Counts,
}

impl Counts {
    /// Each counter with its name.
    pub fn named(&self) -> [(&'static str, u64); 26] {
        let Self { started, finished, spans, linked, roots, unsure, contradicted, given_up, crowded, refused, .. } =
            *self;
        let infer::Counts { windows, .. } = self.inference;
        let [
            header,
            socket,
            thread,
            exclusive,
            turn,
            inferred,
            token,
            goroutine,
            tcp_option,
            thread_context,
            task,
            handoff,
        ] = linked;
        [
            ("started", started),
            ("finished", finished),
            ("spans", spans),
            ("header", header),
            ("socket", socket),
            ("thread", thread),
            ("exclusive", exclusive),
            ("turn", turn),
            ("inferred", inferred),
            ("token", token),
            ("goroutine", goroutine),
            ("tcp_option", tcp_option),
            ("thread_context", thread_context),
            ("task", task),
            ("handoff", handoff),
            ("roots", roots),
            ("unsure", unsure),
            ("contradicted", contradicted),
            ("circular", self.circular),
            ("adopted", self.adopted),
            ("given_up", given_up),
            ("crowded", crowded),
            ("refused", refused),
            ("untold", self.untold),
            ("unsolved", self.unsolved),
            ("windows", windows),
        ]
    }
}
