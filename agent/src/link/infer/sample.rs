//! Sampling: calls change hands at random, as often as the score says (Metropolis). How long a call stays with a request is
//! how likely that is, everything else being as unsure as it is.
//!
//! Moves: one call goes over; two calls by one route change places; all that two requests do from some call on changes
//! places (if the first call is with the wrong one, so is what waits for it).

use super::{
    ascent::Choices,
    problem::{Kid, Problem},
    random::Random,
    score::Scorer,
    state::{State, insert},
};

/// Orders of magnitude below which the likelihood of no request at all is not tried.
const ALONE_REACH: f64 = 12.0;

/// Makes moves, and keeps each request's score.
#[derive(Debug)]
pub(super) struct Sampler<'a> {
    scorer: Scorer<'a>,
    scores: Vec<f64>,
    random: Random,
    /// Differences of scores are divided by this.
    pub temperature: f64,
    left: Vec<Kid>,
    right: Vec<Kid>,
}

impl<'a> Sampler<'a> {
    pub(super) fn new(scorer: Scorer<'a>, state: &State, random: Random) -> Self {
        let scores = (0..scorer.problem.reqs.len() as u32).map(|req| scorer.whole(req, state.kids(req))).collect();
        Self { scorer, scores, random, temperature: 1.0, left: Vec::new(), right: Vec::new() }
    }

    /// The logarithm of the likelihood of everything.
    pub(super) fn total(&self, state: &State) -> f64 {
        let Scorer { model, problem } = self.scorer;
        let alone = problem.kids.iter().filter(|kid| state.owner(kid.id).is_none());
        self.scores.iter().sum::<f64>() + alone.map(|kid| model.log_alone(kid.route)).sum::<f64>()
    }

    /// The calls that there is something to decide about, with whether belonging to none is a choice.
    pub(super) fn unsure(&self, choices: &Choices) -> Vec<(u32, bool)> {
        let Scorer { model, problem } = self.scorer;
        let unsure = |kid: &Kid| {
            let own = choices.of(kid.id);
            let best = own.iter().map(|(_, weight)| f64::from(*weight)).fold(f64::NEG_INFINITY, f64::max);
            let alone = model.log_alone(kid.route) > best - ALONE_REACH;
            (problem.is_free(kid.id) && own.len() + usize::from(alone) > 1).then_some((kid.id, alone))
        };
        problem.kids.iter().filter_map(unsure).collect()
    }

    /// Tries so many moves of each unsure call; `tried` is told with which chance each is made.
    pub(super) fn sweep(
        &mut self,
        state: &mut State,
        choices: &Choices,
        unsure: &[(u32, bool)],
        tries: usize,
        mut tried: impl FnMut(u32, f64),
    ) {
        for &(call, alone) in unsure {
            for _ in 0..tries {
                if let Some(chance) = self.step(state, choices, call, alone) {
                    tried(call, chance);
                }
            }
        }
    }

    /// Tries one move of a call; says with which chance it is made.
    fn step(&mut self, state: &mut State, choices: &Choices, call: u32, alone: bool) -> Option<f64> {
        let own = choices.of(call);
        let pick = self.random.below(own.len() + usize::from(alone));
        let with = own.get(pick).map(|(req, _)| *req);
        let from = state.owner(call);
        if with == from {
            return Some(0.0);
        }
        let kid = *self.scorer.problem.kid(call)?;
        let kind = self.random.below(8);
        self.left.clear();
        self.right.clear();
        let (mut change, mut old) = (0.0, 0.0);
        let mut ousted = None;
        match (from, with) {
            (Some(from), Some(with)) => {
                let valid = self.exchange(state, kid, from, with, kind);
                if !valid {
                    return Some(0.0);
                }
            }
            (Some(from), None) => {
                self.left.extend(state.kids(from).iter().filter(|other| other.id != call));
                change += self.scorer.model.log_alone(kid.route);
            }
            (None, Some(with)) => {
                // Into a free place, or instead of another that has none then.
                let same = |other: &&Kid| other.route == kid.route && self.scorer.problem.is_free(other.id);
                let twins = state.kids(with).iter().filter(same).count();
                if kind < 6 && twins > 0 {
                    ousted = state.kids(with).iter().filter(same).nth(self.random.below(twins)).copied();
                } else {
                    change -= self.scorer.model.log_alone(kid.route);
                }
                let stays = |other: &&Kid| ousted.is_none_or(|ousted| ousted.id != other.id);
                self.right.extend(state.kids(with).iter().filter(stays));
                insert(&mut self.right, kid);
            }
            (None, None) => return None,
        }
        let mut new = [0.0; 2];
        for ((req, kids), new) in [(from, &self.left), (with, &self.right)].into_iter().zip(&mut new) {
            if let Some(req) = req {
                *new = self.scorer.whole(req, kids);
                change += *new;
                old += self.scores.get(req as usize).copied().unwrap_or(0.0);
            }
        }
        change -= old;
        let chance = (change / self.temperature).min(0.0).exp();
        let taken = change >= 0.0 || self.random.unit() < chance;
        if taken {
            if with.is_none() {
                state.take(&kid);
            }
            if let Some(ousted) = ousted {
                state.take(&ousted);
            }
            for ((req, kids), new) in [(from, &self.left), (with, &self.right)].into_iter().zip(new) {
                if let Some(req) = req {
                    state.set(req, kids);
                    if let Some(score) = self.scores.get_mut(req as usize) {
                        *score = new;
                    }
                }
            }
        }
        Some(chance)
    }

    /// Makes in `left` and `right` what the two requests would have; says whether they may.
    fn exchange(&mut self, state: &State, kid: Kid, from: u32, with: u32, kind: usize) -> bool {
        let (a, b) = (state.kids(from), state.kids(with));
        let (left, right) = (&mut self.left, &mut self.right);
        let same = |kids: &[Kid], upto: u32| {
            kids.iter().take_while(|other| other.id != upto).filter(|other| other.route == kid.route).count()
        };
        // The call in the same place of the other request, or at nearly the same time.
        let ordinal = same(a, kid.id);
        let mut alike = b.iter().filter(|other| other.route == kid.route);
        let twin = match kind {
            2 | 3 => alike.min_by_key(|other| (other.start - kid.start).abs()),
            5 => None,
            _ => alike.nth(ordinal),
        };
        let problem: &Problem = self.scorer.problem;
        match (kind, twin) {
            (0..=3, Some(twin)) => {
                left.extend(a.iter().filter(|other| other.id != kid.id));
                right.extend(b.iter().filter(|other| other.id != twin.id));
                insert(left, *twin);
                insert(right, kid);
                problem.is_free(twin.id) && problem.may_own(from, twin)
            }
            (4..=6, _) => {
                // From this call on; or, now and then, everything.
                let cut = |kids: &[Kid], id: u32| {
                    if kind == 6 { 0 } else { kids.iter().position(|other| other.id == id).unwrap_or(kids.len()) }
                };
                let after =
                    |kids: &[Kid]| if kind == 6 { 0 } else { kids.partition_point(|other| other.start < kid.start) };
                let (cut_a, cut_b) = (cut(a, kid.id), twin.map_or_else(|| after(b), |twin| cut(b, twin.id)));
                let (Some((head_a, tail_a)), Some((head_b, tail_b))) =
                    (a.split_at_checked(cut_a), b.split_at_checked(cut_b))
                else {
                    return false;
                };
                left.extend_from_slice(head_a);
                right.extend_from_slice(head_b);
                for other in tail_b {
                    insert(left, *other);
                }
                for other in tail_a {
                    insert(right, *other);
                }
                tail_a.iter().all(|other| problem.is_free(other.id) && problem.may_own(with, other))
                    && tail_b.iter().all(|other| problem.is_free(other.id) && problem.may_own(from, other))
            }
            (7, _) | (_, None) => {
                left.extend(a.iter().filter(|other| other.id != kid.id));
                right.extend_from_slice(b);
                insert(right, kid);
                true
            }
            _ => false,
        }
    }
}
