//! Load: many requests by a few threads, chosen by a seed, at full speed or at a rate, counted as they are answered.
#![forbid(unsafe_code)]

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

use crate::{drive::Ask, http::Connection, process::Address, truth::Seen};

/// A small generator of pseudo-random numbers (SplitMix64): equal seeds give equal loads.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// From a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Any number.
    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`; 0 for a `bound` of 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.roll().checked_rem(bound).unwrap_or(0)
    }

    /// One of them by weight.
    pub fn pick<'a, T>(&mut self, weighted: &'a [(u64, T)]) -> &'a T {
        let total: u64 = weighted.iter().map(|(weight, _)| weight).sum();
        let mut rolled = self.below(total);
        for (weight, item) in weighted {
            if rolled < *weight {
                return item;
            }
            rolled -= weight;
        }
        &weighted[0].1
    }
}

/// How much load.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Equal seeds give equal requests.
    pub seed: u64,
    /// Connections at once, each with a thread.
    pub concurrency: u32,
    /// Requests in all; the load ends after them.
    pub requests: u32,
    /// Requests per second in all; `None`: as fast as answers come.
    pub rate: Option<f64>,
}

/// Sends the requests that `choose` makes, and gives what was answered. Ends early, without error, once `halt` is set.
pub fn run(
    address: &Address,
    plan: Plan,
    halt: &AtomicBool,
    choose: impl Fn(&mut Dice) -> Ask + Sync,
) -> Result<Vec<Seen>> {
    thread::scope(|scope| {
        let workers: Vec<_> = (0..plan.concurrency)
            .map(|ordinal| {
                let (share, rest) = (plan.requests / plan.concurrency, plan.requests % plan.concurrency);
                let share = share + u32::from(ordinal < rest);
                let choose = &choose;
                scope.spawn(move || worker(address, plan, ordinal, share, halt, choose))
            })
            .collect();
        let mut seen = Vec::new();
        for worker in workers {
            seen.extend(worker.join().ok().context("a thread of the load panicked")??);
        }
        Ok(seen)
    })
}

fn worker(
    address: &Address,
    plan: Plan,
    ordinal: u32,
    share: u32,
    halt: &AtomicBool,
    choose: impl Fn(&mut Dice) -> Ask,
) -> Result<Vec<Seen>> {
    let mut dice = Dice::new(plan.seed.wrapping_add(ordinal.into()));
    let step = plan.rate.map(|rate| Duration::from_secs_f64(f64::from(plan.concurrency) / rate));
    // Spread the threads over the first step.
    let mut due = Instant::now() + step.unwrap_or_default().mul_f64(f64::from(ordinal) / f64::from(plan.concurrency));
    let mut seen = Vec::new();
    let mut open: Option<Connection> = None;
    for _ in 0..share {
        if let Some(step) = step {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            due += step;
        }
        if halt.load(Ordering::Relaxed) {
            break;
        }
        let ask = choose(&mut dice);
        let mut connection = match open.take() {
            Some(connection) => connection,
            None => Connection::open(address)?,
        };
        connection.write(&ask.bytes()).with_context(|| format!("cannot send {} {}", ask.method, ask.target))?;
        let answer =
            connection.answer(&ask.method).with_context(|| format!("no answer to {} {}", ask.method, ask.target))?;
        seen.push(ask.seen(&answer));
        if !answer.close && !ask.close {
            open = Some(connection);
        }
    }
    Ok(seen)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_seeds_give_equal_rolls() {
        let rolls = |seed| {
            let mut dice = Dice::new(seed);
            (0..100).map(|_| dice.below(1000)).collect::<Vec<_>>()
        };
        assert_eq!(rolls(7), rolls(7));
        assert_ne!(rolls(7), rolls(8));
    }

    #[test]
    fn a_weight_of_zero_is_never_picked() {
        let mut dice = Dice::new(1);
        assert!((0..1000).all(|_| *dice.pick(&[(0, 'a'), (1, 'b')]) == 'b'));
    }
}
