//! What inference costs per call on one core: `cargo bench -p netspan --bench infer`.
//!
//! Requests of a process that make two calls in sequence and then two at once, one of them optional, at several numbers
//! of requests open at a time. Prints the time per call to solve windows by a kept model (the median of the rounds),
//! and to learn that model once.

#![expect(clippy::cast_precision_loss, clippy::cast_sign_loss, reason = "delays need not be exact")]

use netspan::link::infer::{Call, Counts, Model, Request, Window};
use std::{hint::black_box, time::Instant};

const ROUNDS: usize = 9;
const REQUESTS: usize = 2000;
const SEED: u64 = 1;

/// A number that looks random.
fn mixed(n: u64) -> u64 {
    let n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ (n >> 31)
}

/// A delay with about this median, skewed as delays are.
fn delay(seed: &mut u64, us: f64) -> u64 {
    *seed += 1;
    let sum: u64 = (0..4).map(|n| mixed(*seed * 4 + n) >> 40).sum();
    let normal = (sum as f64 / (1_u64 << 24) as f64 - 2.0) * 1.7;
    (us * 1000.0 * (0.5 * normal).exp()) as u64
}

fn traffic(mut seed: u64, interval_us: f64) -> (Vec<Request>, Vec<Call>) {
    let (mut requests, mut calls) = (Vec::new(), Vec::new());
    let mut start_ns = 1_000_000_000;
    for n in 0..REQUESTS {
        start_ns += delay(&mut seed, interval_us * 0.9);
        let mut now_ns = start_ns + delay(&mut seed, 150.0);
        for (route, us) in [(0, 2000.0), (1, 3000.0)] {
            let end_ns = now_ns + delay(&mut seed, us);
            calls.push(Call { start_ns: now_ns, end_ns, route, ..Call::default() });
            now_ns = end_ns + delay(&mut seed, 120.0);
        }
        let (mut done_ns, last) = (now_ns, if n % 3 == 0 { 3 } else { 4 });
        for route in 2..last {
            let begin_ns = now_ns + delay(&mut seed, 20.0);
            let end_ns = begin_ns + delay(&mut seed, 1500.0);
            calls.push(Call { start_ns: begin_ns, end_ns, route, ..Call::default() });
            done_ns = done_ns.max(end_ns);
        }
        let end_ns = Some(done_ns + delay(&mut seed, 100.0));
        requests.push(Request { start_ns, end_ns, route: 0, thread: None, whole: true });
    }
    calls.sort_by_key(|call| call.start_ns);
    (requests, calls)
}

fn main() {
    for interval_us in [8000.0, 2000.0, 500.0, 125.0] {
        let (requests, calls) = traffic(1 << 32, interval_us);
        let window = Window { requests: &requests, calls: &calls };
        let (mut model, mut counts) = (Model::new(), Counts::default());
        let begin = Instant::now();
        model.learn(&window, SEED, &mut counts);
        let learned = begin.elapsed();
        let mut open = 0;
        let mut times: Vec<f64> = (0..ROUNDS as u64)
            .map(|round| {
                let (requests, calls) = traffic((round + 2) << 32, interval_us);
                let window = Window { requests: &requests, calls: &calls };
                let begin = Instant::now();
                let verdicts = black_box(model.solve(black_box(&window), SEED, &mut counts));
                let time = begin.elapsed().as_secs_f64() * 1e6 / calls.len() as f64;
                open = verdicts.iter().map(|verdict| u64::from(verdict.open)).sum::<u64>() / calls.len() as u64;
                time
            })
            .collect();
        times.sort_by(f64::total_cmp);
        println!(
            "{open} open: {:.1} µs per call (fastest {:.1}, slowest {:.1}); learned from {} calls in {:.1} ms",
            times[ROUNDS / 2],
            times[0],
            times[ROUNDS - 1],
            calls.len(),
            learned.as_secs_f64() * 1e3,
        );
    }
}
