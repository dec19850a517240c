//! What a solved window tells of a program: gaps by anchor, numbers of calls, threads. Models are made of it.

use std::collections::BTreeMap;

use super::{
    anchor::Anchor,
    context::{Situations, situation},
    density::Histogram,
    pattern::{Numbers, Patterns, signature},
    problem::{Kid, OPEN, Problem},
    scale::Scale,
    signal::{Shares, Signal},
    state::State,
};

/// Calls of one request that are looked at as anchors of a later one.
const ANCHORS_MAX: usize = 12;

/// Which gap: under an inbound route, of an outbound route, from an anchor.
pub(super) type GapKey = (u16, u16, Anchor);

/// Counts of everything that models are made of.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    pub gaps: BTreeMap<GapKey, Histogram>,
    /// From the end of the call that ended last (`None`: from the request's start, without calls) to the request's end.
    pub ends: BTreeMap<(u16, Option<u16>), Histogram>,
    /// From the end of a call to its request's end, whatever came between.
    pub tails: BTreeMap<(u16, u16), Histogram>,
    pub situations: BTreeMap<(u16, u16), Situations>,
    pub numbers: BTreeMap<(u16, u16), Numbers>,
    pub patterns: BTreeMap<u16, Patterns>,
    /// Calls by outbound route: all, and those without a request.
    pub calls: BTreeMap<u16, (f64, f64)>,
    pub threads: Shares,
    pub last: Shares,
    /// How long it was looked, in nanoseconds.
    pub span_ns: f64,
}

impl Tally {
    /// Counts what the state says, each thing with this weight. `wanted` says which gaps are of interest.
    pub(super) fn add(
        &mut self,
        problem: &Problem,
        state: &State,
        scale: Scale,
        weight: f64,
        wanted: impl Fn(GapKey) -> bool,
    ) {
        self.span_ns += problem.span_ns * weight;
        for (id, kid) in (0..).zip(&problem.kids) {
            let (all, alone) = self.calls.entry(kid.route).or_default();
            *all += weight;
            match state.owner(id) {
                None => *alone += weight,
                Some(owner) => {
                    self.threads.observe(Signal::Thread, problem, id, owner, weight);
                    self.last.observe(Signal::Last, problem, id, owner, weight);
                }
            }
        }
        for (id, req) in (0..).zip(&problem.reqs) {
            let kids = state.kids(id);
            if req.whole {
                self.count_calls(req.route, kids, weight);
            }
            for (at, kid) in kids.iter().enumerate() {
                let before = kids.get(..at).unwrap_or(&[]);
                let situations = self.situations.entry((req.route, kid.route)).or_default();
                situations.add(situation(before, kid.start), weight);
                let mut gap = |anchor: Anchor| {
                    let key = (req.route, kid.route, anchor);
                    if let Some(from) = anchor.at(req.start, before, kid.start).filter(|_| wanted(key)) {
                        self.gaps.entry(key).or_default().add(scale.bin(kid.start - from), weight);
                    }
                };
                gap(Anchor::Start);
                gap(Anchor::First);
                gap(Anchor::LatestEnd);
                gap(Anchor::LatestStart);
                let mut seen = [u16::MAX; ANCHORS_MAX];
                for (place, sibling) in seen.iter_mut().zip(before.iter().rev()) {
                    *place = sibling.route;
                }
                for (at, route) in seen.iter().enumerate() {
                    if *route != u16::MAX && !seen.iter().take(at).any(|other| other == route) {
                        gap(Anchor::End(*route));
                        gap(Anchor::Begin(*route));
                    }
                }
            }
            if req.end != OPEN {
                for kid in kids {
                    self.tails.entry((req.route, kid.route)).or_default().add(scale.bin(req.end - kid.end), weight);
                }
                let last = kids.iter().max_by_key(|kid| kid.end);
                let gap = req.end - last.map_or(req.start, |kid| kid.end);
                self.ends.entry((req.route, last.map(|kid| kid.route))).or_default().add(scale.bin(gap), weight);
            }
        }
    }

    fn count_calls(&mut self, route: u16, kids: &[Kid], weight: f64) {
        self.patterns.entry(route).or_default().add(signature(kids), weight);
        let mut counted: BTreeMap<u16, usize> = BTreeMap::new();
        for kid in kids {
            *counted.entry(kid.route).or_default() += 1;
        }
        for (call, calls) in counted {
            self.numbers.entry((route, call)).or_default().add(calls, weight);
        }
    }
}
