//! From samples to verdicts: how often a call was with which request.

use super::{
    Verdict,
    ascent::Choices,
    problem::{Kid, Problem},
    state::State,
};

/// The share of samples to this power is the confidence.
const STRICTNESS: f64 = 1.5;
/// How much the chance that a call leaves its request counts.
const LEAVING: f64 = 10.0;
/// How much it falls with the doubts about the other calls of the window, and for how many calls without doubt.
const COMPANY: f64 = 0.3;
const COMPANY_MIN: f64 = 20.0;

/// What a call that is not solved again may have of that at most; and which share of the calls may have more.
const CALM_RESIDUAL: f64 = 0.002;
const CALM_DOUBTS: f64 = 0.05;

#[derive(Clone, Debug, Default)]
struct Vote {
    with: Vec<(Option<u32>, u32)>,
    chances: f64,
    tries: u32,
}

impl Vote {
    /// With which chance it leaves its request at a move, on average.
    fn residual(&self) -> f64 {
        self.chances / f64::from(self.tries.max(1))
    }
}

/// What the samples say.
#[derive(Debug)]
pub(super) struct Votes {
    votes: Vec<Vote>,
}

impl Votes {
    pub(super) fn new(problem: &Problem) -> Self {
        Self { votes: vec![Vote::default(); problem.kids.len()] }
    }

    /// A call is with this request in a sample.
    fn count(&mut self, call: u32, with: Option<u32>) {
        let Some(vote) = self.votes.get_mut(call as usize) else { return };
        match vote.with.iter_mut().find(|(other, _)| *other == with) {
            Some((_, count)) => *count += 1,
            None => vote.with.push((with, 1)),
        }
    }

    /// Each call is where it is in a sample.
    pub(super) fn sample(&mut self, problem: &Problem, state: &State) {
        for kid in problem.kids.iter().filter(|kid| problem.is_free(kid.id)) {
            self.count(kid.id, state.owner(kid.id));
        }
    }

    /// What is sure is not solved again: calls of which one request only was open, and, where the window as a whole leaves next to
    /// no doubt, all that stayed where they are in all samples and hardly could have gone elsewhere.
    pub(super) fn settle(&self, problem: &mut Problem, state: &State) {
        let is_only = |call: u32| problem.candidates(call).len() == 1;
        let stays = |call: u32, vote: &Vote| matches!((&vote.with[..], state.owner(call)), ([(with @ Some(_), _)], owner) if *with == owner);
        let is_calm = |call: u32, vote: &Vote| stays(call, vote) && vote.residual() <= CALM_RESIDUAL;
        let free = || (0..).zip(&self.votes).filter(|(call, _)| problem.is_free(*call));
        let doubtful = free().filter(|(call, vote)| !is_calm(*call, vote)).count();
        let trusts = doubtful as f64 <= CALM_DOUBTS * free().count() as f64;
        let settled: Vec<u32> = free()
            .filter(|(call, vote)| if trusts { is_calm(*call, vote) } else { is_only(*call) && stays(*call, vote) })
            .map(|(call, _)| call)
            .collect();
        for call in settled {
            if let Some(owner) = state.owner(call) {
                problem.settle(call, owner);
            }
        }
    }

    /// A move of a call was tried, which had this chance.
    pub(super) fn tried(&mut self, call: u32, chance: f64) {
        let Some(vote) = self.votes.get_mut(call as usize) else { return };
        vote.chances += chance;
        vote.tries += 1;
    }

    pub(super) fn verdicts(&self, problem: &Problem, best: &State, choices: &Choices) -> Vec<Verdict> {
        let verdict = |(id, vote): (u32, &Vote)| {
            let open = problem.candidates(id).len() as u32;
            let total: u32 = vote.with.iter().map(|(_, count)| count).sum();
            let own = best.owner(id);
            if total == 0 {
                let request = own.or_else(|| choices.of(id).first().map(|(req, _)| *req));
                let confidence = f64::from(u8::from(own.is_some()));
                return Verdict { request, confidence, open, ..Verdict::default() };
            }
            let mut with = vote.with.clone();
            with.sort_by_key(|(req, count)| (*req != own || own.is_none(), std::cmp::Reverse(*count), *req));
            if own.is_some() && with.first().is_none_or(|(req, _)| *req != own) {
                with.insert(0, (own, 0));
            }
            let share = |count: u32| f64::from(count) / f64::from(total);
            let mut named = with.iter().filter_map(|(req, count)| Some(((*req)?, share(*count))));
            let fallback = || {
                let best = choices.of(id).iter().max_by(|(_, a), (_, b)| a.total_cmp(b));
                best.map(|(req, _)| (*req, 0.0))
            };
            let first = named.next().or_else(fallback);
            let residual = vote.residual();
            let confidence =
                first.map_or(0.0, |(_, share)| share).min(1.0 / (1.0 + LEAVING * residual)).powf(STRICTNESS);
            let request = first.map(|(req, _)| req);
            let runner_up = named.next();
            let moment = |req: Option<u32>| Some(moment(problem, best, req?, problem.kid(id)?));
            let is_tie = runner_up.is_some() && moment(request) == moment(runner_up.map(|(req, _)| req));
            Verdict { request, confidence, claim: 0.0, runner_up, open, is_tie }
        };
        let mut verdicts: Vec<Verdict> = (0..).zip(&self.votes).map(verdict).collect();
        let free = || (0..).zip(&verdicts).filter(|(call, verdict)| problem.was_free(*call) && !verdict.is_tie);
        let doubts: f64 = free().map(|(_, verdict)| 1.0 - verdict.confidence).sum();
        let company = 1.0 - COMPANY * doubts / (free().count() as f64 + COMPANY_MIN);
        for verdict in &mut verdicts {
            verdict.confidence *= company;
        }
        verdicts
    }
}

/// When the last thing happened to a request before a call: it was read, or the answer to one of its other calls was.
fn moment(problem: &Problem, state: &State, req: u32, call: &Kid) -> i64 {
    let ends = state.kids(req).iter().filter(|kid| kid.id != call.id && kid.end <= call.start).map(|kid| kid.end);
    ends.fold(problem.req(req).map_or(0, |req| req.start), i64::max)
}
