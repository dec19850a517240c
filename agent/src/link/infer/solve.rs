//! Solving a window by what is known of the program.
//!
//! The likelihood has many local maxima when many requests are open. So several solutions are looked for, each from
//! another beginning with scores disturbed by Gumbel noise, and each is sampled from: a call that is with the same request in all
//! samples of all solutions is sure, and one that is not shows it.

use super::{
    Counts, Verdict, Window,
    ascent::{Again, Ascent, Choices},
    blocks::{Block, routes},
    model::Model,
    problem::Problem,
    random::Random,
    sample::Sampler,
    score::Scorer,
    state::State,
    verdict::Votes,
};

/// Solutions that are looked for, each beginning differently.
const REPLICAS: usize = 3;
/// Samples of each, and moves of each unsure call between two.
const SWEEPS: usize = 10;
const TRIES: usize = 2;
/// Rounds of ascent before samples are taken.
const ASCENTS: usize = 2;
/// Temperatures at which the most probable state is looked for.
const COOLING: [f64; 6] = [0.7, 0.5, 0.35, 0.2, 0.1, 0.05];

impl Model {
    /// Says for each call of a window which request it belongs to, in the order of the calls, and learns a little from it.
    pub fn solve(&mut self, window: &Window<'_>, seed: u64, counts: &mut Counts) -> Vec<Verdict> {
        counts.windows += 1;
        let mut problem = Problem::new(window, self, counts);
        problem.narrow(self);
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
            for ascents in 0..ASCENTS {
                ascent.again = match ascents {
                    _ if self.is_thorough => Again::Everything,
                    // The beginning has looked at each call by itself just now.
                    0 => Again::Contested,
                    _ => Again::Calls,
                };
                ascent.moved = 0;
                ascent.round(&scorer, &routes, &mut state, &mut choices, counts);
                if ascent.moved == 0 {
                    break;
                }
            }
            let mut sampler = Sampler::new(scorer, &state, Random::new(random.next()));
            let unsure = sampler.unsure(&choices);
            for sweep in 0..SWEEPS {
                sampler.sweep(&mut state, &choices, &unsure, TRIES, |call, chance| votes.tried(call, chance));
                if sweep >= SWEEPS / 5 {
                    votes.sample(&problem, &state);
                }
            }
            for temperature in COOLING {
                sampler.temperature = temperature;
                sampler.sweep(&mut state, &choices, &unsure, TRIES, |_, _| {});
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
        let mut verdicts = votes.verdicts(&problem, &state, &choices);
        for verdict in &mut verdicts {
            verdict.claim = verdict.confidence;
            verdict.confidence = self.calibration.apply(verdict.confidence);
        }
        let mut tally = std::mem::take(&mut self.pending);
        tally.add(&problem, &state, self.scale(), 1.0, |key| self.wants(key));
        self.pending = tally;
        self.absorb_pending();
        verdicts
    }
}
