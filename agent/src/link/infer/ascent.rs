//! Block-coordinate ascent: one outbound route after the other, all its calls are taken away and assigned anew, given where
//! the calls by the other routes are.

use super::{
    Counts,
    assign::{Auction, Edges},
    problem::{Kid, OPEN, Problem},
    score::Scorer,
    state::{State, insert},
};

/// Candidates of a call that are scored fully: those that its start alone speaks for most.
const SCORED_MAX: usize = 16;
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

/// Calls that are assigned together: those by some routes.
#[derive(Clone, Debug)]
pub(super) struct Block {
    /// Whether calls by each route are part of it.
    pub routes: Vec<bool>,
    /// Whether those that one request has now stay together; else each goes its own way.
    pub together: bool,
}

/// Memory that rounds share.
#[derive(Debug, Default)]
pub(super) struct Ascent {
    edges: Edges,
    auction: Auction,
    starts: Vec<(u32, f64)>,
    scored: Vec<(u32, f64)>,
    kids: Vec<Kid>,
    units: Vec<Vec<Kid>>,
    before: Vec<u32>,
    /// Whether most calls have no request yet, so that a request's end tells nothing of its last call.
    pub partial: bool,
}

impl Ascent {
    /// Takes away the calls of a block, and assigns them anew.
    pub(super) fn reassign(
        &mut self,
        scorer: &Scorer<'_>,
        block: &Block,
        state: &mut State,
        choices: &mut Choices,
        counts: &mut Counts,
    ) {
        self.before.clear();
        self.before.extend((0..scorer.problem.kids.len() as u32).map(|call| state.owner(call).unwrap_or(u32::MAX)));
        self.take(scorer.problem, block, state);
        for repeat in 0..REPEATS_MAX {
            self.edges.clear();
            let units = std::mem::take(&mut self.units);
            for unit in &units {
                self.score(scorer, unit, state, block.together);
                let alone = unit.iter().map(|kid| scorer.model.log_alone(kid.route)).sum();
                if let ([kid], false) = (&unit[..], block.together) {
                    if repeat == 0 || self.scored.iter().any(|(_, weight)| *weight > alone) {
                        choices.set(kid.id, &self.scored);
                    }
                }
                self.edges.push(&self.scored, alone);
            }
            let (owners, cut_short) = self.auction.assign(&self.edges, scorer.problem.reqs.len());
            counts.cut_short += cut_short;
            let before = units.len();
            for (unit, owner) in units.into_iter().zip(owners) {
                match owner {
                    Some(owner) => unit.iter().for_each(|kid| state.give(*owner, *kid)),
                    None => self.units.push(unit),
                }
            }
            if self.units.is_empty() || self.units.len() == before {
                break;
            }
        }
    }

    /// Takes the free calls of a block from their requests.
    fn take(&mut self, problem: &Problem, block: &Block, state: &mut State) {
        self.units.clear();
        let is_in = |kid: &Kid| block.routes.get(usize::from(kid.route)) == Some(&true) && problem.is_free(kid.id);
        if block.together {
            for req in 0..problem.reqs.len() as u32 {
                let unit: Vec<Kid> = state.kids(req).iter().filter(|kid| is_in(kid)).copied().collect();
                if !unit.is_empty() {
                    self.units.push(unit);
                }
            }
        } else {
            self.units.extend(problem.kids.iter().filter(|kid| is_in(kid)).map(|kid| vec![*kid]));
        }
        self.units.iter().flatten().for_each(|kid| state.take(kid));
    }

    /// What each candidate gains by the calls of a unit.
    fn score(&mut self, scorer: &Scorer<'_>, unit: &[Kid], state: &State, together: bool) {
        let Scorer { model, problem } = *scorer;
        let Self { starts, scored, kids, .. } = self;
        starts.clear();
        scored.clear();
        let Some((first, rest)) = unit.split_first() else { return };
        for req_id in problem.candidates(first.id) {
            let Some(req) = problem.req(*req_id) else { continue };
            if !rest.iter().all(|kid| problem.may_own(*req_id, kid)) {
                continue;
            }
            let Some(route) = model.route(req.route) else { continue };
            let own = state.kids(*req_id);
            let place = own.partition_point(|other| (other.start, other.id) < (first.start, first.id));
            let start = model.log_start(route.pair(first.route), req.start, own.get(..place).unwrap_or(&[]), first);
            let pair = route.pair(first.route);
            let end = if req.end == OPEN { 0.0 } else { model.log_tail(pair, req.end - first.end) };
            let start = start + model.log_thread(problem.same_thread(*req_id, first.id));
            // Where it is now is always among the choices.
            let bonus = if self.before.get(first.id as usize) == Some(req_id) { 1e6 } else { 0.0 };
            starts.push((*req_id, start + end + bonus));
        }
        if starts.len() > SCORED_MAX {
            starts.select_nth_unstable_by(SCORED_MAX, |(_, a), (_, b)| b.total_cmp(a));
            starts.truncate(SCORED_MAX);
        }
        for (req_id, worth) in starts.iter() {
            if self.partial && !together {
                let calls = state.kids(*req_id).iter().filter(|other| other.route == first.route).count();
                scored.push((*req_id, worth + scorer.presence(*req_id, first.route, calls)));
                continue;
            }
            let own = state.kids(*req_id);
            kids.clear();
            kids.extend_from_slice(own);
            let without = if together { scorer.whole(*req_id, kids) } else { scorer.timing(*req_id, kids) };
            unit.iter().for_each(|kid| insert(kids, *kid));
            let gain = if together {
                scorer.whole(*req_id, kids)
            } else {
                let calls = own.iter().filter(|other| other.route == first.route).count();
                scorer.timing(*req_id, kids) + scorer.presence(*req_id, first.route, calls)
            };
            scored.push((*req_id, gain - without));
        }
    }
}
