//! What live linking costs per span: `cargo bench -p netspan --bench link`.
//!
//! Programs at work (`programs.rs`), told to a linker as the pipeline tells of them (`feed.rs`), with the watermark moving as in
//! the agent. The time is the CPU's, of all threads together, so that inference is in it; it ends with the spans, which are
//! made as they are exported. Prints for each program the median of rounds that take turns, and what came out.

#![expect(clippy::cast_precision_loss, clippy::cast_sign_loss, reason = "figures for people")]

mod feed;
mod programs;
mod timers;
mod truth;

use feed::Feed;
use netspan::{
    link::{Ids, Linker, Options},
    span::Method,
};
use truth::Score;

/// Rounds of each program; odd, for a median.
const ROUNDS: usize = 7;

/// A program by its name, and what it does.
type Case = (&'static str, fn() -> Feed);

const CASES: [Case; 11] = [
    ("server without calls", || programs::server(64)),
    ("threads that call another server", || programs::threads(16)),
    ("2000 servers without calls", || programs::servers(2000)),
    ("event loop, 16 open, calls at once", || programs::event_loop(16, 0)),
    ("event loop, 64 open, calls at once", || programs::event_loop(64, 0)),
    ("event loop, 16 open, calls later", || programs::event_loop(16, 3_000_000)),
    ("event loop, 64 open, calls later", || programs::event_loop(64, 3_000_000)),
    ("timers and two servers, 16 open", || timers::timers(16, 20_000, 0)),
    ("timers and two servers, 64 open", || timers::timers(64, 20_000, 0)),
    ("timers and stalls, 16 open", || timers::timers(16, 20_000, 30_000_000)),
    ("timers and stalls, 64 open", || timers::timers(64, 20_000, 30_000_000)),
];

/// What came out of a round: nanoseconds per span, spans, and links by method.
struct Outcome {
    ns: f64,
    spans: u64,
    linked: [u64; Method::ALL.len()],
    score: Score,
}

fn round(feed: Feed) -> Outcome {
    let mut linker =
        Linker::new(Options { ids: Ids::new([1, 2]), clock_offset_ns: 0, min_confidence: 0.95, adopt_traces: true });
    let (ns, score) = feed.tell(&mut linker);
    let counts = linker.counts();
    Outcome { ns: ns as f64 / counts.spans as f64, spans: counts.spans, linked: counts.linked, score }
}

fn main() {
    let only = std::env::args().nth(1).filter(|argument| !argument.starts_with('-'));
    let cases: Vec<Case> =
        CASES.into_iter().filter(|(name, _)| only.as_ref().is_none_or(|only| name.contains(only.as_str()))).collect();
    let mut outcomes: Vec<Vec<Outcome>> = cases.iter().map(|_| Vec::new()).collect();
    for _ in 0..ROUNDS {
        for ((_, feed), outcomes) in cases.iter().zip(&mut outcomes) {
            outcomes.push(round(feed()));
        }
    }
    for ((name, _), mut outcomes) in cases.iter().zip(outcomes) {
        outcomes.sort_by(|a, b| a.ns.total_cmp(&b.ns));
        let Outcome { ns, spans, linked, score } = &outcomes[ROUNDS / 2];
        let links: Vec<String> = Method::ALL
            .iter()
            .zip(linked)
            .filter(|(_, count)| **count > 0)
            .map(|(method, count)| format!("{} {:.1} %", method.name(), *count as f64 * 100.0 / *spans as f64))
            .collect();
        println!(
            "{name}: {ns:.0} ns per span (fastest {:.0}, slowest {:.0}); {spans} spans; {}",
            outcomes[0].ns,
            outcomes[ROUNDS - 1].ns,
            if links.is_empty() { "no links".to_owned() } else { links.join(", ") },
        );
        if score.calls > 0 {
            let share = |part: usize, all: usize| part as f64 * 100.0 / all.max(1) as f64;
            let (right, wrong) = (share(score.right, score.later), share(score.wrong, score.made));
            println!(
                "  of the later half of the calls {right:.1} % have the right parent; of all parents {wrong:.2} % are wrong"
            );
        }
    }
}
