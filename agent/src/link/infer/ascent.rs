//! Block-coordinate ascent: one outbound route after the other, all its calls are taken away and assigned anew, given where
//! the calls by the other routes are.

use super::{
    Counts,
    assign::{Auction, Edges},
    blocks::{Block, blocks},
    problem::{Kid, Problem},
    random::Random,
    score::Scorer,
    state::{State, insert},
};

/// Candidates of a call that are scored fully: those that its start alone speaks for most.
const SCORED_MAX: usize = 12;
/// Candidates less likely than the best by more than this, as a logarithm, are not kept.
const REACH: f64 = 12.0;
/// The same of those that are scored fully, by their starts alone; so many are in any case.
const START_REACH: f64 = 9.0;
const SCORED_MIN: usize = 3;
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

/// Calls that are given away together, one unit after the other.
#[derive(Clone, Debug, Default)]
struct Units {
    kids: Vec<Kid>,
    /// Where each unit ends.
    ends: Vec<usize>,
}

impl Units {
    fn clear(&mut self) {
        self.kids.clear();
        self.ends.clear();
    }

    fn push(&mut self, kids: &[Kid]) {
        self.kids.extend_from_slice(kids);
        self.ends.push(self.kids.len());
    }

    fn len(&self) -> usize {
        self.ends.len()
    }

    fn iter(&self) -> impl Iterator<Item = &[Kid]> {
        let mut from = 0;
        self.ends.iter().map(move |to| {
            let unit = self.kids.get(from..*to).unwrap_or(&[]);
            from = *to;
            unit
        })
    }
}

/// What speaks for a candidate before it is scored fully.
#[derive(Clone, Copy, Debug)]
struct Start {
    req: u32,
    worth: f64,
    /// The call is there now: always among the choices.
    is_own: bool,
}

/// Leaves those that are worth being scored fully.
fn narrow(starts: &mut Vec<Start>) {
    if starts.len() <= SCORED_MIN {
        return;
    }
    let rank = |start: &Start| if start.is_own { f64::INFINITY } else { start.worth };
    let best = starts.iter().map(|start| start.worth).fold(f64::NEG_INFINITY, f64::max);
    let is_near = |start: &Start| rank(start) > best - START_REACH;
    let near = starts.iter().filter(|start| is_near(start)).count();
    let kept = near.clamp(SCORED_MIN, SCORED_MAX);
    if near >= kept {
        starts.retain(is_near);
    }
    if starts.len() > kept {
        starts.select_nth_unstable_by(kept, |a, b| rank(b).total_cmp(&rank(a)));
        starts.truncate(kept);
    }
}

/// What a round assigns anew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Again {
    /// All that is free.
    Everything,
    /// Each call by itself, so that it is seen where else it may belong; together, only calls of contested requests.
    Calls,
    /// Calls of contested requests: those that some call may belong to which may as well belong to another.
    #[default]
    Contested,
}

/// Memory that rounds share.
#[derive(Debug, Default)]
pub(super) struct Ascent {
    edges: Edges,
    auction: Auction,
    starts: Vec<Start>,
    scored: Vec<(u32, f64)>,
    kids: Vec<Kid>,
    units: Units,
    spare: Units,
    before: Vec<u32>,
    /// By request, whether some call may belong to it that may as well belong to another.
    contested: Vec<bool>,
    /// Scores of requests without the calls that were taken away, and when they were computed.
    without: Vec<(u64, f64)>,
    time: u64,
    /// Calls that came to another request than they had been with.
    pub moved: usize,
    /// What rounds assign anew.
    pub again: Again,
    /// Disturbs scores, so that another of several good assignments is found.
    pub noise: Option<Random>,
}

impl Ascent {
    /// Goes through the calls in the order of their starts, those together of which none waits for another, and assigns
    /// them by what each request has done so far.
    pub(super) fn forward(
        &mut self,
        scorer: &Scorer<'_>,
        state: &mut State,
        choices: &mut Choices,
        counts: &mut Counts,
    ) {
        let problem = scorer.problem;
        let free = problem.order.iter().filter(|call| problem.is_free(**call));
        let calls: Vec<Kid> = free.filter_map(|call| problem.kid(*call)).copied().collect();
        for kid in &calls {
            state.take(kid);
        }
        // Nothing of an earlier solution counts.
        self.before.clear();
        let mut from = 0;
        while let Some(rest) = calls.get(from..).filter(|rest| !rest.is_empty()) {
            let mut first_end = i64::MAX;
            let upto = rest.iter().position(|kid| {
                let waits = kid.start >= first_end;
                first_end = first_end.min(kid.end);
                waits
            });
            let size = upto.unwrap_or(rest.len());
            self.units.clear();
            rest.iter().take(size).for_each(|kid| self.units.push(&[*kid]));
            self.distribute(scorer, true, REPEATS_MAX, state, choices, counts);
            from += size;
        }
    }

    /// One round: exchanges what open requests do from each point in time on, then assigns block after block anew.
    pub(super) fn round(
        &mut self,
        scorer: &Scorer<'_>,
        routes: &[u16],
        state: &mut State,
        choices: &mut Choices,
        counts: &mut Counts,
    ) {
        self.contest(scorer.problem, state, choices);
        self.futures(scorer, state, choices, counts);
        for block in blocks(routes, scorer.problem, state) {
            self.reassign(scorer, block, state, choices, counts);
        }
    }

    /// Finds out which requests there is something to decide about.
    fn contest(&mut self, problem: &Problem, state: &State, choices: &Choices) {
        self.contested.clear();
        self.contested.resize(problem.reqs.len(), self.again == Again::Everything);
        for kid in problem.kids.iter().filter(|kid| problem.is_free(kid.id)) {
            let (own, owner) = (choices.of(kid.id), state.owner(kid.id));
            if owner.is_some() && own.iter().all(|(req, _)| Some(*req) == owner) {
                continue;
            }
            for req in own.iter().map(|(req, _)| *req).chain(owner) {
                if let Some(contested) = self.contested.get_mut(req as usize) {
                    *contested = true;
                }
            }
        }
    }

    /// Takes away the calls of a block, and assigns them anew.
    pub(super) fn reassign(
        &mut self,
        scorer: &Scorer<'_>,
        block: Block,
        state: &mut State,
        choices: &mut Choices,
        counts: &mut Counts,
    ) {
        self.take(scorer.problem, block, state);
        let partial = matches!(block, Block::Route(_));
        let repeats = if partial { REPEATS_MAX } else { 1 };
        self.distribute(scorer, partial, repeats, state, choices, counts);
    }

    /// Assigns the units, each request getting at most one of them each time.
    fn distribute(
        &mut self,
        scorer: &Scorer<'_>,
        partial: bool,
        repeats: usize,
        state: &mut State,
        choices: &mut Choices,
        counts: &mut Counts,
    ) {
        self.without.resize(scorer.problem.reqs.len(), (0, 0.0));
        for repeat in 0..repeats {
            self.time += 1;
            self.edges.clear();
            let units = std::mem::replace(&mut self.units, std::mem::take(&mut self.spare));
            for unit in units.iter() {
                self.score(scorer, unit, state, partial);
                let alone = unit.iter().map(|kid| scorer.model.log_alone(kid.route)).sum();
                let is_new = repeat == 0 || self.scored.iter().any(|(_, weight)| *weight > alone);
                if let ([kid], true) = (unit, is_new) {
                    choices.set(kid.id, &self.scored);
                }
                self.edges.push(&self.scored, alone);
            }
            let (owners, cut_short) = self.auction.assign(&self.edges, scorer.problem.reqs.len());
            counts.cut_short += cut_short;
            self.units.clear();
            for (unit, owner) in units.iter().zip(owners) {
                match owner {
                    Some(owner) => {
                        let is_moved = |kid: &&Kid| self.before.get(kid.id as usize) != Some(owner);
                        self.moved += unit.iter().filter(is_moved).count();
                        for kid in unit {
                            state.give(*owner, *kid);
                        }
                    }
                    None => self.units.push(unit),
                }
            }
            let is_done = self.units.len() == 0 || self.units.len() == units.len();
            self.spare = units;
            if is_done {
                break;
            }
        }
    }

    /// Takes the free calls of a block from their requests.
    fn take(&mut self, problem: &Problem, block: Block, state: &mut State) {
        self.units.clear();
        let units = &mut self.units;
        let mut push = |kids: &[Kid]| {
            if !kids.is_empty() && kids.iter().all(|kid| problem.is_free(kid.id)) {
                units.push(kids);
            }
        };
        let of_route = |route: u16| problem.kids.iter().filter(move |kid| kid.route == route);
        let all = self.again != Again::Contested;
        let requests = (0..).zip(&self.contested);
        let contested = requests.clone().filter_map(|(req, contested)| contested.then_some(req));
        match block {
            Block::Route(route) => of_route(route).for_each(|kid| push(&[*kid])),
            Block::Slot(route, ordinal) => {
                for req in requests.filter_map(|(req, contested)| (all || *contested).then_some(req)) {
                    let kid = state.kids(req).iter().filter(|kid| kid.route == route).nth(ordinal);
                    if let Some(kid) = kid {
                        push(&[*kid]);
                    }
                }
                of_route(route).filter(|kid| state.owner(kid.id).is_none()).for_each(|kid| push(&[*kid]));
            }
            Block::From(place) => contested.for_each(|req| push(state.kids(req).get(place..).unwrap_or(&[]))),
            Block::Upto(place) => contested.for_each(|req| {
                let kids = state.kids(req);
                push(kids.get(..place).unwrap_or(kids));
            }),
        }
        self.take_units(problem, state);
    }

    fn take_units(&mut self, problem: &Problem, state: &mut State) {
        self.before.resize(problem.kids.len(), u32::MAX);
        for kid in &self.units.kids {
            if let Some(before) = self.before.get_mut(kid.id as usize) {
                *before = state.owner(kid.id).unwrap_or(u32::MAX);
            }
            state.take(kid);
        }
    }

    /// Goes through the window in time, and at each step exchanges what open requests do from then on.
    fn futures(&mut self, scorer: &Scorer<'_>, state: &mut State, choices: &mut Choices, counts: &mut Counts) {
        let problem = scorer.problem;
        let mut at = 0;
        while let Some(pivot) = problem.order.get(at).and_then(|call| problem.kid(*call)) {
            let open = problem.candidates(pivot.id);
            at += (open.len() / 2).max(1);
            if open.len() < 2 {
                continue;
            }
            self.units.clear();
            for req in open.iter().filter(|req| self.contested.get(**req as usize) == Some(&true)) {
                let kids = state.kids(*req);
                let future = kids.get(kids.partition_point(|kid| kid.start < pivot.start)..).unwrap_or(&[]);
                if !future.is_empty() && future.iter().all(|kid| problem.is_free(kid.id)) {
                    self.units.push(future);
                }
            }
            self.take_units(problem, state);
            self.distribute(scorer, false, 1, state, choices, counts);
        }
    }

    /// What each candidate gains by the calls of a unit.
    fn score(&mut self, scorer: &Scorer<'_>, unit: &[Kid], state: &State, partial: bool) {
        let Scorer { model, problem } = *scorer;
        let Self { starts, scored, kids, without, .. } = self;
        starts.clear();
        scored.clear();
        let Some((first, rest)) = unit.split_first() else { return };
        for (req_id, steady) in problem.likely(first.id) {
            let Some(req) = problem.req(*req_id) else { continue };
            if !rest.iter().all(|kid| problem.may_own(*req_id, kid)) {
                continue;
            }
            let Some(route) = model.route(req.route) else { continue };
            let own = state.kids(*req_id);
            let place = own.partition_point(|other| (other.start, other.id) < (first.start, first.id));
            let (pair, earlier) = (route.pair(first.route), own.get(..place).unwrap_or(&[]));
            let start = if partial {
                model.log_start_rate(pair, req.start, earlier, first)
            } else {
                model.log_start(pair, req.start, earlier, first)
            };
            // Where it is now is always among the choices.
            let is_own = self.before.get(first.id as usize) == Some(req_id);
            starts.push(Start { req: *req_id, worth: start + steady, is_own });
        }
        narrow(starts);
        for Start { req: req_id, worth, .. } in starts.iter() {
            let own = state.kids(*req_id);
            let noise = self.noise.as_mut().map_or(0.0, Random::gumbel);
            if partial {
                // A request's end tells nothing of its last call yet.
                let calls = own.iter().filter(|other| other.route == first.route).count();
                scored.push((*req_id, worth + scorer.presence(*req_id, first.route, calls) + noise));
                continue;
            }
            let without = match without.get_mut(*req_id as usize) {
                Some((time, score)) if *time == self.time => *score,
                Some(place) => {
                    *place = (self.time, scorer.whole(*req_id, own));
                    place.1
                }
                None => continue,
            };
            kids.clear();
            kids.extend_from_slice(own);
            for kid in unit {
                insert(kids, *kid);
            }
            scored.push((*req_id, scorer.whole(*req_id, kids) - without + noise));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_candidates_are_scored_and_where_the_call_is_now_always() {
        let kept = |worths: &[f64], own: usize| {
            let start = |(at, worth): (usize, &f64)| Start { req: at as u32, worth: *worth, is_own: at == own };
            let mut starts: Vec<Start> = worths.iter().enumerate().map(start).collect();
            narrow(&mut starts);
            let mut kept: Vec<u32> = starts.iter().map(|start| start.req).collect();
            kept.sort_unstable();
            kept
        };
        assert_eq!(kept(&[-1.0, -50.0], 9), [0, 1], "few are left as they are");
        assert_eq!(kept(&[-1.0, -50.0, -40.0, -60.0, -2.0], 9), [0, 2, 4], "no fewer than three");
        assert_eq!(kept(&[-1.0, -2.0, -3.0, -4.0, -60.0, -70.0], 4), [0, 1, 2, 3, 4]);
        let many: Vec<f64> = (0..40).map(|n| -f64::from(n) / 10.0).collect();
        let first: Vec<u32> = (0..SCORED_MAX as u32 - 1).chain([39]).collect();
        assert_eq!(kept(&many, 39), first);
    }
}
