//! What became of a process's spans: how many got their parents by which method, and why calls have none. It counts only.

use super::node::Node;
use crate::span::{Kind, Method, Resource};
use std::sync::Arc;

/// Why a call has no parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Why {
    /// Its process held no request: a timer, a health check.
    NoRequest,
    /// It went on after the request was answered that it could have been made for.
    Outlived,
    /// Its destination is also called while no request is open ([`super::UNEXPLAINED_SHARE`]).
    Destination,
    /// Several requests were open, and it was not answered as a whole, so that nothing is inferred of it.
    Incomplete,
    /// Several requests were open, and the program is not known yet: it takes some hundred calls.
    Learning,
    /// More requests were open than inference looks at ([`super::infer::OPEN_MAX`]).
    Crowded,
    /// Inferring its request would have been too much work ([`super::WORK_PER_S`], [`super::WAITING_MAX`]).
    Work,
    /// Several requests were open, and none of them is sure enough.
    Unsure,
    /// Events of the process were lost shortly before.
    Lost,
    /// It exports telemetry, and its request does not ([`super::telemetry`]).
    Export,
    /// Evidence contradicts itself.
    Contradicted,
    /// It was decided before all was known, or when requests of its time were forgotten.
    Late,
}

impl Why {
    /// All reasons, in the order of their counters.
    pub const ALL: [Self; 12] = [
        Self::NoRequest,
        Self::Outlived,
        Self::Destination,
        Self::Incomplete,
        Self::Learning,
        Self::Crowded,
        Self::Work,
        Self::Unsure,
        Self::Lost,
        Self::Export,
        Self::Contradicted,
        Self::Late,
    ];

    /// The word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NoRequest => "no_request",
            Self::Outlived => "outlived",
            Self::Destination => "destination",
            Self::Incomplete => "incomplete",
            Self::Learning => "learning",
            Self::Crowded => "crowded",
            Self::Work => "work",
            Self::Unsure => "unsure",
            Self::Lost => "lost",
            Self::Export => "export",
            Self::Contradicted => "contradicted",
            Self::Late => "late",
        }
    }

    /// The reason for people.
    pub const fn text(self) -> &'static str {
        match self {
            Self::NoRequest => "made while no request was open",
            Self::Outlived => "went on after the request was answered",
            Self::Destination => "to a destination that is also called while no request is open",
            Self::Incomplete => "not answered as a whole, while several requests were open",
            Self::Learning => "made before the program was learned, while several requests were open",
            Self::Crowded => "made while 256 requests or more were open at once",
            Self::Work => "left out because inferring them would have been too much work",
            Self::Unsure => "of which no open request is sure enough",
            Self::Lost => "made shortly after events were lost",
            Self::Export => "by which the program exports its own telemetry",
            Self::Contradicted => "of which evidence contradicts itself",
            Self::Late => "decided before all was known",
        }
    }
}

/// Spans of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Linked {
    /// Those with a parent, by the method's place in [`Method::ALL`].
    pub by: [u64; Method::ALL.len()],
    /// Those without.
    pub roots: u64,
}

impl Linked {
    /// All spans.
    pub fn spans(&self) -> u64 {
        self.by.iter().sum::<u64>() + self.roots
    }
}

/// What became of the spans of a process since it was first seen.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tally {
    /// Requests that it received.
    pub requests: Linked,
    /// Calls that it made.
    pub calls: Linked,
    /// Why calls have no parent, by the reason's place in [`Why::ALL`].
    pub why: [u64; Why::ALL.len()],
    /// Who it was at its last span.
    pub resource: Option<Arc<Resource>>,
}

impl Tally {
    /// A span of the process is let go. `why` counts for a call without a parent.
    pub(super) fn count(&mut self, node: &Node, method: Option<Method>, why: Why) {
        let linked = if node.kind == Kind::Server { &mut self.requests } else { &mut self.calls };
        match method {
            Some(method) => linked.by[method as usize] += 1,
            None => linked.roots += 1,
        }
        if method.is_none() && node.kind == Kind::Client {
            self.why[why as usize] += 1;
        }
        if self.resource.as_ref().is_none_or(|resource| !Arc::ptr_eq(resource, &node.resource)) {
            self.resource = Some(Arc::clone(&node.resource));
        }
    }

    /// The reasons why calls have no parent, with the number of calls, the most frequent first.
    pub fn reasons(&self) -> Vec<(Why, u64)> {
        let mut reasons: Vec<_> = Why::ALL.into_iter().zip(self.why).filter(|(_, count)| *count > 0).collect();
        reasons.sort_by_key(|(why, count)| (std::cmp::Reverse(*count), *why));
        reasons
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_place_and_a_name_of_its_own() {
        for (place, why) in Why::ALL.into_iter().enumerate() {
            assert_eq!(why as usize, place);
            assert_eq!(Why::ALL.iter().filter(|other| other.name() == why.name()).count(), 1);
        }
        assert!(Why::Crowded.text().contains(&super::super::infer::OPEN_MAX.to_string()));
    }

    #[test]
    fn reasons_come_with_the_most_frequent_first() {
        let mut tally = Tally::default();
        (tally.why[Why::Lost as usize], tally.why[Why::Unsure as usize]) = (3, 5);
        assert_eq!(tally.reasons(), [(Why::Unsure, 5), (Why::Lost, 3)]);
    }
}
