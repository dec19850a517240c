//! Block-coordinate ascent: one outbound route after the other, all its calls are taken away and assigned anew, given where
//! the calls by the other routes are.

use super::{
    Counts,
    assign::{Auction, Edges},
    problem::{Kid, Problem},
    score::Scorer,
    state::{State, insert},
};

/// Candidates of a call that are scored fully: those that its start alone speaks for most.
const SCORED_MAX: usize = 8;
/// Candidates less likely than the best by more than this, as a logarithm, are not kept.
const REACH: f64 = 12.0;
/// Calls by one route that a request is given in one round; more only by the sampler.
const REPEATS_MAX: usize = 12;

/// The requests that a call may belong to, with how much more likely each is than others, as a logarithm.
#[derive(Clone, Debug, Default)]
pub(super) struct Choices {
    by_call: Vec<Vec<(u32, f32)>>,
}

impl Choices {
    pub(super) fn new(problem: &Problem) -> Self {
        Self { by_call: vec![Vec::new(); problem.kids.len()] }
    }

    /// The choices of a call; the best is not first.
    pub(super) fn of(&self, call: u32) -> &[(u32, f32)] {
        self.by_call.get(call as usize).map_or(&[], Vec::as_slice)
    }

    fn set(&mut self, call: u32, edges: &[(u32, f64)]) {
        let Some(own) = self.by_call.get_mut(call as usize) else { return };
        own.clear();
        let best = edges.iter().map(|(_, weight)| *weight).fold(f64::NEG_INFINITY, f64::max);
        own.extend(edges.iter().filter(|(_, w)| *w > best - REACH).map(|(req, w)| (*req, *w as f32)));
    }
}

/// Memory that rounds share.
#[derive(Debug, Default)]
pub(super) struct Ascent {
    edges: Edges,
    auction: Auction,
    starts: Vec<(u32, f64)>,
    scored: Vec<(u32, f64)>,
    kids: Vec<Kid>,
}

impl Ascent {
    /// One round over all routes, in this order.
    pub(super) fn round(
        &mut self,
        scorer: &Scorer<'_>,
        routes: &[(u16, Vec<u32>)],
        state: &mut State,
        choices: &mut Choices,
        counts: &mut Counts,
    ) {
        for (route, calls) in routes {
            self.reassign(scorer, *route, calls, state, choices, counts);
        }
    }

    fn reassign(
        &mut self,
        scorer: &Scorer<'_>,
        route: u16,
        calls: &[u32],
        state: &mut State,
        choices: &mut Choices,
        counts: &mut Counts,
    ) {
        let problem = scorer.problem;
        let mut left: Vec<Kid> = calls.iter().filter_map(|id| problem.kid(*id)).copied().collect();
        for kid in &left {
            state.take(kid);
        }
        for repeat in 0..REPEATS_MAX {
            self.edges.clear();
            for kid in &left {
                self.score(scorer, kid, state);
                if repeat == 0 || self.scored.iter().any(|(_, weight)| *weight > scorer.model.log_alone(route)) {
                    choices.set(kid.id, &self.scored);
                }
                self.edges.push(&self.scored, scorer.model.log_alone(route));
            }
            let (owners, cut_short) = self.auction.assign(&self.edges, problem.reqs.len());
            counts.cut_short += cut_short;
            let before = left.len();
            let mut owners = owners.iter();
            left.retain(|kid| match owners.next().copied().flatten() {
                Some(owner) => {
                    state.give(owner, *kid);
                    false
                }
                None => true,
            });
            if left.is_empty() || left.len() == before {
                break;
            }
        }
    }

    /// What each candidate gains by the call.
    fn score(&mut self, scorer: &Scorer<'_>, kid: &Kid, state: &State) {
        let Scorer { model, problem } = *scorer;
        let Self { starts, scored, kids, .. } = self;
        starts.clear();
        scored.clear();
        for req_id in problem.candidates(kid.id) {
            let Some(req) = problem.req(*req_id) else { continue };
            let pair = model.route(req.route).and_then(|route| route.pair(kid.route));
            let own = state.kids(*req_id);
            let place = own.partition_point(|other| (other.start, other.id) < (kid.start, kid.id));
            let start = model.log_start(pair, req.start, own.get(..place).unwrap_or(&[]), kid);
            starts.push((*req_id, start + model.log_thread(problem.same_thread(*req_id, kid.id))));
        }
        if starts.len() > SCORED_MAX {
            starts.select_nth_unstable_by(SCORED_MAX, |(_, a), (_, b)| b.total_cmp(a));
            starts.truncate(SCORED_MAX);
        }
        for (req_id, _) in starts.iter() {
            let own = state.kids(*req_id);
            let calls = own.iter().filter(|other| other.route == kid.route).count();
            kids.clear();
            kids.extend_from_slice(own);
            let without = scorer.timing(*req_id, kids);
            insert(kids, *kid);
            let gain = scorer.timing(*req_id, kids) - without;
            scored.push((*req_id, gain + scorer.presence(*req_id, kid.route, calls)));
        }
    }
}
