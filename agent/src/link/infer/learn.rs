//! Learning a program's model from a window, and solving windows by it.

use std::collections::BTreeMap;

use super::{
    Counts, Owner, Verdict, Window,
    anchor::Anchor,
    ascent::{Ascent, Choices},
    first,
    model::Model,
    problem::Problem,
    random::Random,
    sample::Sampler,
    scale::{Scale, tick_ns},
    score::Scorer,
    state::State,
    tally::Tally,
    verdict::Votes,
};

/// Rounds of solving and refitting.
const ROUNDS: usize = 12;
/// Samples that a refit is made from, and moves per unsure call between two.
const SAMPLES: usize = 3;
/// Calls of a route that must have an anchor for it to be preferred to one that all have.
const ANCHORED_MIN: f64 = 3.0;

impl Model {
    /// Learns from a window, from nothing: what was learned before is forgotten.
    pub fn learn(&mut self, window: &Window<'_>, seed: u64, counts: &mut Counts) {
        let requests = window.requests.iter().flat_map(|r| [Some(r.start_ns), r.end_ns]).flatten();
        let calls = window.calls.iter().flat_map(|call| [call.start_ns, call.end_ns]);
        let scale = Scale::new(tick_ns(requests.chain(calls)));
        let problem = Problem::new(window, self, counts);
        self.begin(scale);
        let (tally, prefer) = first::guess(&problem, scale);
        self.absorb(&tally, Some(&prefer));
        let mut random = Random::new(seed);
        let mut state = State::new(&problem);
        let mut choices = Choices::new(&problem);
        let mut ascent = Ascent::default();
        for round in 0..ROUNDS {
            let scorer = Scorer { model: self, problem: &problem };
            let routes = order(&problem, self);
            ascent.round(&scorer, &routes, &mut state, &mut choices, counts);
            if round == 0 {
                ascent.round(&scorer, &routes, &mut state, &mut choices, counts);
            }
            let mut tally = Tally::default();
            let mut sampler = Sampler::new(scorer, &state, Random::new(random.next()));
            let unsure = sampler.unsure(&choices);
            for _ in 0..SAMPLES {
                for (call, alone) in &unsure {
                    for _ in 0..3 {
                        sampler.step(&mut state, &choices, *call, *alone);
                    }
                }
                tally.add(&problem, &state, scale, 1.0 / SAMPLES as f64, |_| true);
            }
            let prefer = preferred(&tally, scale);
            self.absorb(&tally, Some(&prefer));
        }
    }

    /// Says for each call of a window which request it belongs to, in the order of the calls, and learns a little from it.
    pub fn solve(&mut self, window: &Window<'_>, seed: u64, counts: &mut Counts) -> Vec<Verdict> {
        counts.windows += 1;
        let problem = Problem::new(window, self, counts);
        let mut state = State::new(&problem);
        let mut choices = Choices::new(&problem);
        let mut ascent = Ascent::default();
        let scorer = Scorer { model: self, problem: &problem };
        let routes = order(&problem, self);
        for _ in 0..3 {
            ascent.round(&scorer, &routes, &mut state, &mut choices, counts);
        }
        let mut votes = Votes::new(&problem);
        let mut sampler = Sampler::new(scorer, &state, Random::new(seed));
        let unsure = sampler.unsure(&choices);
        let start = state.clone();
        for sweep in 0..super::verdict::SWEEPS {
            for (call, alone) in &unsure {
                for _ in 0..2 {
                    if let Some(tried) = sampler.step(&mut state, &choices, *call, *alone) {
                        votes.tried(*call, &tried);
                    }
                }
            }
            if sweep >= super::verdict::SWEEPS / 6 {
                unsure.iter().for_each(|(call, _)| votes.count(*call, state.owner(*call)));
            }
        }
        let mut tally = Tally::default();
        tally.add(&problem, &state, self.scale(), 1.0, |key| self.wants(key));
        let verdicts = votes.verdicts(&problem, &start, &choices);
        self.absorb(&tally, None);
        verdicts
    }
}

/// The free calls by route, those first that are known best from their request alone.
fn order(problem: &Problem, model: &Model) -> Vec<(u16, Vec<u32>)> {
    let mut routes: BTreeMap<u16, Vec<u32>> = BTreeMap::new();
    for kid in &problem.kids {
        if problem.known.get(kid.id as usize) == Some(&Owner::Unknown) {
            routes.entry(kid.route).or_default().push(kid.id);
        }
    }
    let mut routes: Vec<_> = routes.into_iter().collect();
    routes.sort_by_key(|(route, _)| model.depth(*route));
    routes
}

/// For each pair of routes the anchors that make its gaps most alike: the best, the latest end, the start.
fn preferred(tally: &Tally, scale: Scale) -> BTreeMap<(u16, u16), Vec<Anchor>> {
    let mut best: BTreeMap<(u16, u16), (f64, Anchor)> = BTreeMap::new();
    let spread = |key| tally.gaps.get(&key).map(|counts| (counts.total(), counts.density(scale).mean_log(counts)));
    for (inbound, outbound, anchor) in tally.gaps.keys().copied() {
        let Some((all, by_start)) = spread((inbound, outbound, Anchor::Start)) else { continue };
        let Some((anchored, mean)) = spread((inbound, outbound, anchor)) else { continue };
        if anchored < ANCHORED_MIN && anchor != Anchor::Start {
            continue;
        }
        let worth = anchored * mean + (all - anchored) * by_start;
        let own = best.entry((inbound, outbound)).or_insert((f64::NEG_INFINITY, anchor));
        if worth > own.0 {
            *own = (worth, anchor);
        }
    }
    let listed = |(_, anchor)| match anchor {
        Anchor::Start => vec![Anchor::Start],
        Anchor::LatestEnd => vec![Anchor::LatestEnd, Anchor::Start],
        other => vec![other, Anchor::LatestEnd, Anchor::Start],
    };
    best.into_iter().map(|(pair, best)| (pair, listed(best))).collect()
}
