//! Learning a program's model from a window, and solving windows by it.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Counts, Verdict, Window,
    anchor::Anchor,
    ascent::{Ascent, Block, Choices},
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
/// Places of a request, in all and by one route, whose calls are reassigned in a round.
const SLOTS_MAX: usize = 8;
/// Temperatures at which the most probable state is looked for.
const COOLING: [f64; 6] = [0.7, 0.5, 0.35, 0.2, 0.1, 0.05];
/// Solutions that are looked for, each beginning differently.
const REPLICAS: usize = 3;
/// Samples of each, and moves of each unsure call between two.
const SWEEPS: usize = 10;
const TRIES: usize = 2;
/// Rounds of ascent before samples are taken.
const ASCENTS: usize = 2;
const SETTLED: usize = 2;
const HEAT: f64 = 0.0;
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
            if round == 0 {
                ascent.forward(&scorer, &mut state, &mut choices, counts);
            }
            ascent.futures(&scorer, &mut state, &mut choices, counts);
            for block in blocks(&routes(&problem, self), &problem, &state) {
                ascent.reassign(&scorer, block, &mut state, &mut choices, counts);
            }
            let mut tally = Tally::default();
            let mut sampler = Sampler::new(scorer, &state, Random::new(random.next()));
            sampler.temperature = 1.0 + HEAT * (1.0 - (round as f64 + 1.0) / ROUNDS as f64);
            let unsure = sampler.unsure(&choices);
            for _ in 0..SAMPLES {
                for (call, alone) in &unsure {
                    for _ in 0..3 {
                        sampler.step(&mut state, &choices, *call, *alone);
                    }
                }
                tally.add(&problem, &state, scale, 1.0 / SAMPLES as f64, |_| true);
            }
            if round + SETTLED < ROUNDS {
                tally.calls.values_mut().for_each(|(_, alone)| *alone = 0.0);
            }
            let prefer = preferred(&tally, scale);
            self.absorb(&tally, Some(&prefer));
        }
    }

    /// Says for each call of a window which request it belongs to, in the order of the calls, and learns a little from it.
    pub fn solve(&mut self, window: &Window<'_>, seed: u64, counts: &mut Counts) -> Vec<Verdict> {
        counts.windows += 1;
        let mut problem = Problem::new(window, self, counts);
        let routes = routes(&problem, self);
        let mut random = Random::new(seed);
        let mut ascent = Ascent::default();
        let mut votes = Votes::new(&problem);
        let mut best: Option<(f64, State, Choices)> = None;
        for replica in 0..REPLICAS {
            let scorer = Scorer { model: self, problem: &problem };
            let (mut state, mut choices) = (State::new(&problem), Choices::new(&problem));
            ascent.noise = (replica > 0).then(|| Random::new(random.next()));
            if replica % 2 == 0 {
                ascent.forward(&scorer, &mut state, &mut choices, counts);
            } else {
                for route in &routes {
                    ascent.reassign(&scorer, Block::Route(*route), &mut state, &mut choices, counts);
                }
            }
            ascent.noise = None;
            for _ in 0..ASCENTS {
                ascent.futures(&scorer, &mut state, &mut choices, counts);
                for block in blocks(&routes, &problem, &state) {
                    ascent.reassign(&scorer, block, &mut state, &mut choices, counts);
                }
            }
            let mut sampler = Sampler::new(scorer, &state, Random::new(random.next()));
            let unsure = sampler.unsure(&choices);
            for sweep in 0..SWEEPS {
                for (call, alone) in &unsure {
                    for _ in 0..TRIES {
                        if let Some(tried) = sampler.step(&mut state, &choices, *call, *alone) {
                            votes.tried(*call, &tried);
                        }
                    }
                }
                if sweep >= SWEEPS / 5 {
                    votes.sample(&problem, &state);
                }
            }
            for temperature in COOLING {
                sampler.temperature = temperature;
                for (call, alone) in &unsure {
                    for _ in 0..TRIES {
                        sampler.step(&mut state, &choices, *call, *alone);
                    }
                }
            }
            let total = sampler.total(&state);
            if best.as_ref().is_none_or(|(best, ..)| total > *best) {
                best = Some((total, state, choices));
            }
            if let (0, Some((_, state, _))) = (replica, &best) {
                votes.settle(&mut problem, state);
            }
        }
        let (_, state, choices) = best.unwrap_or_default();
        let verdicts = votes.verdicts(&problem, &state, &choices);
        let mut tally = Tally::default();
        tally.add(&problem, &state, self.scale(), 1.0, |key| self.wants(key));
        self.absorb(&tally, None);
        verdicts
    }
}

/// Each route of which there are free calls, those first that are known best from their request alone.
fn routes(problem: &Problem, model: &Model) -> Vec<u16> {
    let present: BTreeSet<u16> =
        problem.kids.iter().filter(|kid| problem.is_free(kid.id)).map(|kid| kid.route).collect();
    let mut routes: Vec<u16> = present.into_iter().collect();
    routes.sort_by_key(|route| model.depth(*route));
    routes
}

/// Blocks of a round: each place in a request that a call by each route has, then whole heads and tails of requests.
fn blocks(routes: &[u16], problem: &Problem, state: &State) -> Vec<Block> {
    let mut most: BTreeMap<u16, usize> = BTreeMap::new();
    let mut longest = 0;
    let mut seen: BTreeMap<u16, usize> = BTreeMap::new();
    for req in 0..problem.reqs.len() as u32 {
        let kids = state.kids(req);
        longest = kids.len().max(longest);
        seen.clear();
        for kid in kids {
            *seen.entry(kid.route).or_default() += 1;
        }
        for (route, calls) in &seen {
            let most = most.entry(*route).or_default();
            *most = (*calls).max(*most);
        }
    }
    let slots = |route: &u16| {
        let route = *route;
        let calls = most.get(&route).copied().unwrap_or(0).clamp(1, SLOTS_MAX);
        (0..calls).map(move |ordinal| Block::Slot(route, ordinal))
    };
    let mut blocks: Vec<Block> = routes.iter().flat_map(slots).collect();
    let longest = longest.min(SLOTS_MAX);
    blocks.extend((0..longest.saturating_sub(1)).map(Block::From));
    blocks.extend((2..longest).map(Block::Upto));
    blocks
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
        let (first, by_first) = spread((inbound, outbound, Anchor::First)).unwrap_or_default();
        let rest = match anchor {
            Anchor::Start => 0.0,
            Anchor::First => (all - anchored) * by_start,
            _ => first * by_first + (all - anchored - first) * by_start,
        };
        let worth = anchored * mean + rest;
        let own = best.entry((inbound, outbound)).or_insert((f64::NEG_INFINITY, anchor));
        if worth > own.0 {
            *own = (worth, anchor);
        }
    }
    let listed = |(_, anchor)| match anchor {
        Anchor::Start => vec![Anchor::Start],
        Anchor::First => vec![Anchor::First, Anchor::Start],
        Anchor::LatestEnd => vec![Anchor::LatestEnd, Anchor::First, Anchor::Start],
        other => vec![other, Anchor::LatestEnd, Anchor::First, Anchor::Start],
    };
    best.into_iter().map(|(pair, best)| (pair, listed(best))).collect()
}

impl Model {
    /// DEBUG
    pub fn evaluate(&mut self, window: &Window<'_>, owners: &[Option<u32>]) -> (f64, Vec<f64>) {
        let mut counts = Counts::default();
        let problem = Problem::new(window, self, &mut counts);
        let mut state = State::new(&problem);
        let mut sum = 0.0;
        for (kid, owner) in problem.kids.iter().zip(owners) {
            match owner {
                Some(owner) => state.give(*owner, *kid),
                None => sum += self.log_alone(kid.route),
            }
        }
        let scorer = Scorer { model: self, problem: &problem };
        let scores: Vec<f64> = (0..problem.reqs.len() as u32).map(|r| scorer.whole(r, state.kids(r))).collect();
        (sum + scores.iter().sum::<f64>(), scores)
    }
}
