//! Sampling: which spans leave the host. By default all do.
//!
//! # Whole traces
//! The spans of a trace wait for each other until its request on this host is answered, and for [`Options::delay`] more. Then the
//! trace is judged by all of them ([`judge`]): kept for sure (rules, header, errors, slow, rare), or by chance. What comes
//! later follows that decision, as long as it is remembered ([`memory`]). Hosts do not talk to each other about it: what chance keeps,
//! all keep, because they agree on a trace's randomness; what one keeps for sure, the others may not.
//!
//! # Estimates
//! Each span that is kept tells its threshold (`tracestate: ot=th:...`) and how many it stands for (`netspan.sample.adjusted_count`,
//! the inverse of the probability that it had): sums of these are unbiased estimates of what was there (Horvitz-Thompson). What
//! is kept for sure stands for itself. What chance keeps, less what a route's cap takes away ([`reservoir`]), for others of its kind.
//!
//! # Bounds
//! At most [`HELD_MAX`] spans wait; past it the oldest traces are judged early, and counted. It takes no clock: the same spans at the
//! same times are decided alike.
#![forbid(unsafe_code)]

mod judge;
mod latency;
mod memory;
mod options;
mod rare;
mod reservoir;
mod rule;
#[cfg(test)]
mod tests;
mod threshold;
mod verdict;
mod window;

use std::{collections::VecDeque, sync::Arc};

use rustc_hash::FxHashMap;

pub use self::{
    judge::RARE_PER_S,
    latency::SURE_MIN,
    memory::REMEMBERED_MIN,
    options::{Incoming, Options, Store},
    rule::{RULES_MAX, Rule, RuleError},
    threshold::{Randomness, Threshold},
    verdict::{Counts, Dropped, Kept, Verdict},
};
use self::{
    judge::{Judge, Judged, is_root},
    memory::Memory,
    reservoir::Reservoirs,
    rule::Action,
};
use crate::{
    control::nanoseconds,
    span::{Span, TraceId, Value},
};

/// Spans that wait for decisions, at most.
pub const HELD_MAX: usize = 32_768;
/// How long a trace waits for its local root, in nanoseconds: longer than the linker holds spans back.
pub const ROOTLESS_NS: u64 = 10_000_000_000;

/// A probability from 0 to 1.
pub fn ratio(text: &str) -> Option<f64> {
    text.parse().ok().filter(|ratio| (0.0..=1.0).contains(ratio))
}

/// A trace that waits.
#[derive(Debug)]
struct Held {
    spans: Vec<Arc<Span>>,
    waits: Waits,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waits {
    /// For its root.
    Root,
    /// For what comes late.
    Late,
    /// For the end of its route's second.
    Cap(Kept, Option<Threshold>),
}

/// Decides about spans. See the [module](self).
#[derive(Debug, Default)]
pub struct Sampler {
    options: Options,
    judges_traces: bool,
    now_ns: u64,
    held: FxHashMap<TraceId, Held>,
    /// Traces with their roots, in the order of their times; and those without.
    rooted: VecDeque<(u64, TraceId)>,
    rootless: VecDeque<(u64, TraceId)>,
    judge: Judge,
    reservoirs: Reservoirs,
    memory: Memory,
    counts: Counts,
    out: Vec<Arc<Span>>,
}

impl Sampler {
    /// A sampler that has seen nothing yet.
    pub fn new(options: Options) -> Self {
        let judges_traces = options.judges_traces();
        Self { options, judges_traces, ..Self::default() }
    }

    /// Replaces the options. Decisions that were made stay.
    pub fn set(&mut self, options: Options) {
        self.judges_traces = options.judges_traces();
        self.options = options;
        if !self.judges_traces {
            self.finish();
        }
    }

    /// The options.
    pub const fn options(&self) -> &Options {
        &self.options
    }

    /// What became of the spans so far.
    pub const fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Takes a span. Parents come before their children, as the linker lets them go.
    pub fn push(&mut self, span: Arc<Span>) {
        self.counts.produced += 1;
        let trace = span.trace_id;
        if let Some(held) = self.held.get_mut(&trace) {
            if held.waits == Waits::Root && is_root(&span) {
                held.waits = Waits::Late;
                self.rooted.push_back((self.late_ns(), trace));
            }
            self.hold(span);
        } else if let Some(verdict) = self.memory.recall(trace) {
            self.counts.late += 1;
            self.settle(span, verdict);
        } else if self.judges_traces {
            let waits = if is_root(&span) {
                self.rooted.push_back((self.late_ns(), trace));
                Waits::Late
            } else {
                self.rootless.push_back((self.now_ns.saturating_add(ROOTLESS_NS), trace));
                Waits::Root
            };
            self.held.insert(trace, Held { spans: Vec::new(), waits });
            self.hold(span);
        } else {
            self.settle(span, Verdict::Keep(Kept::Chance, Some(Threshold::ALWAYS)));
        }
    }

    /// It is `now_ns` now, by the clock of events: decides what has waited long enough.
    pub fn advance(&mut self, now_ns: u64) {
        self.now_ns = self.now_ns.max(now_ns);
        let now_ns = self.now_ns;
        self.judge.advance(now_ns);
        while let Some((_, trace)) = self.rooted.pop_front_if(|(at, _)| *at <= now_ns) {
            self.decide(trace, Waits::Late);
        }
        while let Some((_, trace)) = self.rootless.pop_front_if(|(at, _)| *at <= now_ns) {
            self.decide(trace, Waits::Root);
        }
        for (trace, threshold) in self.reservoirs.advance(now_ns) {
            self.uncap(trace, threshold);
        }
    }

    /// No more spans will come: decides about all that wait.
    pub fn finish(&mut self) {
        while let Some((_, trace)) = self.rooted.pop_front() {
            self.decide(trace, Waits::Late);
        }
        while let Some((_, trace)) = self.rootless.pop_front() {
            self.decide(trace, Waits::Root);
        }
        for (trace, threshold) in self.reservoirs.finish() {
            self.uncap(trace, threshold);
        }
    }

    /// Takes the spans that are kept since the last call; those of a trace in the order of their coming.
    pub fn take(&mut self) -> Vec<Arc<Span>> {
        std::mem::take(&mut self.out)
    }

    fn late_ns(&self) -> u64 {
        self.now_ns.saturating_add(nanoseconds(self.options.delay))
    }

    fn hold(&mut self, span: Arc<Span>) {
        let Some(held) = self.held.get_mut(&span.trace_id) else { return };
        held.spans.push(span);
        self.counts.held += 1;
        while self.counts.held > HELD_MAX as u64 {
            self.make_room();
        }
    }

    /// Decides about the trace that waits longest.
    fn make_room(&mut self) {
        self.counts.early += 1;
        if let Some((_, trace)) = self.rooted.pop_front() {
            self.decide(trace, Waits::Late);
        } else if let Some((_, trace)) = self.rootless.pop_front() {
            self.decide(trace, Waits::Root);
        } else {
            for (trace, threshold) in self.reservoirs.finish() {
                self.uncap(trace, threshold);
            }
        }
    }

    /// Judges a trace, if it waits for that.
    fn decide(&mut self, trace: TraceId, waits: Waits) {
        let Some(held) = self.held.get_mut(&trace).filter(|held| held.waits == waits) else { return };
        self.counts.rootless += u64::from(waits == Waits::Root);
        match self.judge.judge(&self.options, &held.spans) {
            Judged::Now(verdict) => self.close(trace, verdict),
            Judged::Capped { route, kept, threshold } => {
                held.waits = Waits::Cap(kept, threshold);
                let state = held.spans.first().map_or("", |span| span.trace_state.as_str());
                let randomness = Randomness::of(trace, state);
                let cap = self.options.cap.unwrap_or(u32::MAX) as usize;
                if let Some(gone) = self.reservoirs.offer(route, (randomness, trace), cap) {
                    self.close(gone, Verdict::Drop(Dropped::Cap));
                }
            }
        }
    }

    /// Keeps a trace that its route's cap permits, by the higher one of both thresholds.
    fn uncap(&mut self, trace: TraceId, cap: Threshold) {
        if let Some(Held { waits: Waits::Cap(kept, threshold), .. }) = self.held.get(&trace) {
            let verdict = Verdict::Keep(*kept, threshold.map(|threshold| threshold.max(cap)));
            self.close(trace, verdict);
        }
    }

    fn close(&mut self, trace: TraceId, verdict: Verdict) {
        let Some(held) = self.held.remove(&trace) else { return };
        self.memory.remember(trace, verdict);
        self.counts.held = self.counts.held.saturating_sub(held.spans.len() as u64);
        for span in held.spans {
            self.settle(span, verdict);
        }
    }

    /// Does with a span what was decided of its trace, and what the rules for single spans say.
    fn settle(&mut self, mut span: Arc<Span>, verdict: Verdict) {
        let (kept, threshold) = match verdict {
            Verdict::Keep(kept, threshold) => (kept, threshold),
            Verdict::Drop(why) => return self.drop(why),
        };
        let rule = self.options.span_rules.iter().find(|rule| rule.matches(&span));
        let threshold = match rule.map(Rule::action) {
            Some(Action::Drop) => return self.drop(Dropped::SpanRule),
            Some(Action::Chance(own)) if !own.keeps(Randomness::of(span.trace_id, &span.trace_state)) => {
                return self.drop(Dropped::SpanRule);
            }
            Some(Action::Chance(own)) => threshold.map(|threshold| threshold.max(own)),
            Some(Action::Keep) | None => threshold,
        };
        self.counts.kept[kept as usize] += 1;
        mark(Arc::make_mut(&mut span), kept, threshold);
        self.out.push(span);
    }

    fn drop(&mut self, why: Dropped) {
        self.counts.dropped[why as usize] += 1;
    }
}

/// Writes into a span that is kept why it is, and how many it stands for.
fn mark(span: &mut Span, kept: Kept, threshold: Option<Threshold>) {
    span.attributes.push(("netspan.sample.reason".into(), Value::Text(kept.name().into())));
    if let Some(threshold) = threshold {
        span.trace_state = threshold.written(&span.trace_state);
        let count = threshold.adjusted_count();
        span.attributes.push(("netspan.sample.adjusted_count".into(), Value::Float(count)));
    }
}
