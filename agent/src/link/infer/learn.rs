//! Learning a program's model from a window: solve, refit, and so on. Refits are made from samples, not from the best
//! solution, which would make every delay look more regular than it is.

use std::collections::BTreeMap;

use super::{
    Counts, Window,
    anchor::Anchor,
    ascent::{Again, Ascent, Choices},
    blocks::routes,
    first,
    model::Model,
    problem::Problem,
    random::Random,
    sample::Sampler,
    scale::{Scale, tick_ns},
    score::Scorer,
    state::State,
    tally::{GapKey, Tally},
};

/// Rounds of solving and refitting, at most.
const ROUNDS: usize = 12;
/// Samples that a refit is made from.
const SAMPLES: usize = 3;
/// Rounds at the end in which it is learned how many calls have no request; before, that would only be what is not solved.
const SETTLED: usize = 2;
/// Share of calls that move in a round after which nothing else is going to be found but that.
const STILL: f64 = 0.01;
/// Moves of each unsure call between two samples.
const TRIES: usize = 3;
/// Calls of a route that must have an anchor for it to be preferred to one that all have.
const ANCHORED_MIN: f64 = 3.0;

impl Model {
    /// Learns from a window, from nothing: what was learned before is forgotten.
    pub fn learn(&mut self, window: &Window<'_>, seed: u64, counts: &mut Counts) {
        let requests = window.requests.iter().flat_map(|r| [Some(r.start_ns), r.end_ns]).flatten();
        let calls = window.calls.iter().flat_map(|call| [call.start_ns, call.end_ns]);
        let scale = Scale::new(tick_ns(requests.chain(calls)));
        let mut problem = Problem::new(window, self, counts);
        self.begin(scale);
        let (first, prefer) = first::guess(&problem, scale);
        self.absorb(&first, Some(&prefer));
        let mut random = Random::new(seed);
        let mut state = State::new(&problem);
        let mut choices = Choices::new(&problem);
        let mut ascent = Ascent::default();
        let mut left = ROUNDS;
        while left > 0 {
            let is_first = left == ROUNDS;
            left -= 1;
            problem.narrow(self);
            ascent.again = if is_first || self.is_thorough { Again::Everything } else { Again::Calls };
            ascent.moved = 0;
            let scorer = Scorer { model: self, problem: &problem };
            if is_first {
                ascent.forward(&scorer, &mut state, &mut choices, counts);
            }
            ascent.round(&scorer, &routes(&problem, self), &mut state, &mut choices, counts);
            let mut tally = Tally::default();
            let mut sampler = Sampler::new(scorer, &state, Random::new(random.next()));
            let unsure = sampler.unsure(&choices);
            for _ in 0..SAMPLES {
                sampler.sweep(&mut state, &choices, &unsure, TRIES, |_, _| {});
                tally.add(&problem, &state, scale, 1.0 / SAMPLES as f64, |_| true);
            }
            if left >= SETTLED {
                for (route, (all, alone)) in &mut tally.calls {
                    let guess = first.calls.get(route).map_or(0.0, |(all, alone)| alone / all);
                    *alone = *all * guess;
                }
            }
            let prefer = preferred(&tally, scale);
            self.absorb(&tally, Some(&prefer));
            if !self.is_thorough && ascent.moved as f64 <= STILL * problem.kids.len() as f64 {
                left = left.min(SETTLED);
            }
        }
    }
}

/// For each pair of routes the anchors that make its gaps most alike: the best, the latest end, the start.
fn preferred(tally: &Tally, scale: Scale) -> BTreeMap<(u16, u16), Vec<Anchor>> {
    let mut best: BTreeMap<(u16, u16), (f64, Anchor)> = BTreeMap::new();
    let spreads: BTreeMap<GapKey, (f64, f64)> =
        tally.gaps.iter().map(|(key, counts)| (*key, (counts.total(), counts.mean_log(scale)))).collect();
    let spread = |key| spreads.get(&key).copied();
    for (&(inbound, outbound, anchor), &(anchored, mean)) in &spreads {
        let Some((all, by_start)) = spread((inbound, outbound, Anchor::Start)) else { continue };
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
