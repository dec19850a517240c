//! Judging a trace by all of its spans that are there. What is learned (durations, what is seldom) is learned from every trace,
//! kept or not, and never depends on a trace's randomness: so what is kept for sure stands for itself alone, and the estimates from
//! what chance keeps stay right.

use std::hash::{Hash, Hasher as _};

use rustc_hash::{FxHashMap, FxHasher};

use super::{
    Dropped, Incoming, Kept, Options, Randomness, Threshold, Verdict, latency::Latencies, rare::Seldom, rule::Action,
};
use crate::{
    control::nanoseconds,
    span::{Kind, Span, SpanId, Status, Value},
};

/// Traces that are kept in a second because they are rare, at most: where every trace is another one, chance decides.
pub const RARE_PER_S: u32 = 100;
const SECOND_NS: u64 = 1_000_000_000;

/// What is judged by.
#[derive(Debug, Default)]
pub(super) struct Judge {
    latencies: Latencies,
    seldom: Seldom,
    now_ns: u64,
    /// The second, and traces kept in it because they are rare.
    rare: (u64, u32),
    /// Of the trace at hand: the ways to its spans.
    paths: FxHashMap<SpanId, u64>,
    counted: FxHashMap<u64, bool>,
}

/// Reasons to keep a trace that were found in it, by their places in [`Kept::ALL`].
#[derive(Default)]
struct Traits([bool; Kept::ALL.len()]);

impl Traits {
    fn has(&self, kept: Kept) -> bool {
        self.0[kept as usize]
    }

    fn note(&mut self, kept: Kept, is_so: bool) {
        self.0[kept as usize] |= is_so;
    }
}

/// What is to be done with a trace.
pub(super) enum Judged {
    /// This.
    Now(Verdict),
    /// It is kept, if its route's cap permits.
    Capped { route: u64, kept: Kept, threshold: Option<Threshold> },
}

impl Judge {
    pub(super) fn advance(&mut self, now_ns: u64) {
        self.now_ns = now_ns;
        self.latencies.advance(now_ns);
        self.seldom.advance(now_ns);
    }

    /// Judges a trace by its spans, of which the first one that has no parent among them counts as its root.
    pub(super) fn judge<S: AsRef<Span>>(&mut self, options: &Options, spans: &[S]) -> Judged {
        let traits = self.traits(options, spans);
        let Some(root) = root(spans) else { return Judged::Now(Verdict::Drop(Dropped::Chance)) };
        let mut chance = None;
        for rule in &options.rules {
            match rule.action() {
                Action::Keep if spans.iter().any(|span| rule.matches(span.as_ref())) => return always(Kept::Rule),
                Action::Drop if rule.matches(root) => return Judged::Now(Verdict::Drop(Dropped::Rule)),
                Action::Chance(threshold) if rule.matches(root) => {
                    chance = Some(threshold);
                    break;
                }
                _ => {}
            }
        }
        let mut sure = [Kept::Header, Kept::Error, Kept::Slow, Kept::SlowRoute].into_iter();
        if let Some(kept) = sure.find(|kept| traits.has(*kept)) {
            return always(kept);
        }
        let rare = [Kept::RareRoute, Kept::RarePath].into_iter().find(|kept| traits.has(*kept));
        if let Some(kept) = rare.filter(|_| self.may_keep_rare()) {
            return always(kept);
        }
        let incoming = if options.incoming == Incoming::Respect && chance.is_none() { sampled(root) } else { None };
        let randomness = Randomness::of(root.trace_id, &root.trace_state);
        let (kept, threshold) = match incoming {
            Some(false) => return Judged::Now(Verdict::Drop(Dropped::Incoming)),
            // A threshold that would have dropped it is none.
            Some(true) => {
                (Kept::Incoming, Threshold::of_state(&root.trace_state).filter(|threshold| threshold.keeps(randomness)))
            }
            None => {
                let threshold = chance.unwrap_or_else(|| options.threshold());
                if !threshold.keeps(randomness) {
                    return Judged::Now(Verdict::Drop(Dropped::Chance));
                }
                (Kept::Chance, Some(threshold))
            }
        };
        if options.cap.is_some() {
            return Judged::Capped { route: route(root), kept, threshold };
        }
        Judged::Now(Verdict::Keep(kept, threshold))
    }

    fn traits<S: AsRef<Span>>(&mut self, options: &Options, spans: &[S]) -> Traits {
        let mut traits = Traits::default();
        let slow_ns = options.slow.map_or(u64::MAX, nanoseconds);
        self.paths.clear();
        self.counted.clear();
        for (at, span) in spans.iter().enumerate() {
            let span = span.as_ref();
            let duration_ns = span.end_ns.saturating_sub(span.start_ns);
            traits.note(Kept::Error, options.errors && span.status == Status::Error);
            traits.note(Kept::Slow, duration_ns >= slow_ns);
            traits.note(Kept::Header, options.header.as_ref().is_some_and(|header| asks(span, header)));
            if options.slow_factor.is_none() && options.rare == 0 {
                continue;
            }
            let own = route(span);
            if span.kind == Kind::Server || at == 0 {
                if let Some(factor) = options.slow_factor {
                    let p99_ns = self.latencies.observe(own, duration_ns);
                    let is_slow = p99_ns.is_some_and(|p99_ns| is_above(duration_ns, p99_ns, factor));
                    traits.note(Kept::SlowRoute, is_slow);
                }
                traits.note(Kept::RareRoute, options.rare > 0 && self.is_rare(own, options.rare));
            }
            if options.rare > 0 {
                let above = span.parent.and_then(|parent| self.paths.get(&parent)).copied().unwrap_or(1);
                let path = above.rotate_left(7).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ own;
                self.paths.insert(span.span_id, path);
                traits.note(Kept::RarePath, self.is_rare(path, options.rare));
            }
        }
        traits
    }

    /// Whether a thing was seen seldom until now. It is counted once for a trace.
    fn is_rare(&mut self, hash: u64, rare: u8) -> bool {
        let seldom = &mut self.seldom;
        *self.counted.entry(hash).or_insert_with(|| seldom.count(hash) < rare)
    }

    fn may_keep_rare(&mut self) -> bool {
        let second = self.now_ns / SECOND_NS;
        if self.rare.0 != second {
            self.rare = (second, 0);
        }
        self.rare.1 += 1;
        self.rare.1 <= RARE_PER_S
    }
}

const fn always(kept: Kept) -> Judged {
    Judged::Now(Verdict::Keep(kept, Some(Threshold::ALWAYS)))
}

/// The span of a trace's request as it came to this host, as far as it is there.
fn root<S: AsRef<Span>>(spans: &[S]) -> Option<&Span> {
    let is_top = |span: &&Span| is_root(span);
    spans.iter().map(AsRef::as_ref).find(is_top).or_else(|| spans.first().map(AsRef::as_ref))
}

/// Whether a span has no parent on this host.
pub(super) const fn is_root(span: &Span) -> bool {
    span.parent.is_none() || span.parent_is_remote
}

/// A number for what a span is: its service, kind and name.
fn route(span: &Span) -> u64 {
    let mut hasher = FxHasher::default();
    (&span.resource.service, span.kind, &span.name).hash(&mut hasher);
    hasher.finish()
}

#[expect(clippy::cast_precision_loss, reason = "nanoseconds of a request are below 2^52")]
fn is_above(duration_ns: u64, p99_ns: u64, factor: f64) -> bool {
    duration_ns as f64 > p99_ns as f64 * factor
}

/// What the caller decided (`netspan.context.sampled`).
fn sampled(span: &Span) -> Option<bool> {
    span.attributes.iter().find_map(|(name, value)| match value {
        Value::Bool(sampled) if name == "netspan.context.sampled" => Some(*sampled),
        _ => None,
    })
}

/// Whether the request carries the header that asks for its trace.
fn asks(span: &Span, header: &str) -> bool {
    span.attributes.iter().any(|(name, value)| match value {
        Value::List(values) if name.strip_prefix("http.request.header.") == Some(header) => {
            values.iter().any(|value| !matches!(value.trim(), "" | "0" | "false"))
        }
        _ => false,
    })
}
