//! What was decided, why, and how often.

use super::Threshold;

/// Why spans are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// A rule says so.
    Rule,
    /// A request carries the header that asks for it.
    Header,
    /// Something ended in an error.
    Error,
    /// Something took as long as is slow for anything.
    Slow,
    /// A request took longer than is usual for its route.
    SlowRoute,
    /// A route that is seen seldom.
    RareRoute,
    /// A way through services that is seen seldom.
    RarePath,
    /// The caller keeps it.
    Incoming,
    /// Chance.
    Chance,
}

/// Why spans are dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dropped {
    /// A rule says so.
    Rule,
    /// The caller drops it.
    Incoming,
    /// Chance.
    Chance,
    /// There were too many of its route in this second.
    Cap,
    /// A rule about single spans says so.
    SpanRule,
}

/// What is decided of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is kept: why, and by which threshold; nobody knows which where a caller decided who did not tell.
    Keep(Kept, Option<Threshold>),
    /// It is dropped.
    Drop(Dropped),
}

impl Kept {
    /// All reasons, in the order of the counters.
    pub const ALL: [Self; 9] = [
        Self::Rule,
        Self::Header,
        Self::Error,
        Self::Slow,
        Self::SlowRoute,
        Self::RareRoute,
        Self::RarePath,
        Self::Incoming,
        Self::Chance,
    ];

    /// The value of `netspan.sample.reason`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rule => "rule",
            Self::Header => "header",
            Self::Error => "error",
            Self::Slow => "slow",
            Self::SlowRoute => "slow_route",
            Self::RareRoute => "rare_route",
            Self::RarePath => "rare_path",
            Self::Incoming => "incoming",
            Self::Chance => "chance",
        }
    }
}

/// What became of the spans: `produced` = those kept + those dropped + `held`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Spans that came.
    pub produced: u64,
    /// Spans kept, by the place of the reason in [`Kept::ALL`].
    pub kept: [u64; Kept::ALL.len()],
    /// Spans dropped, by `Dropped` as a number.
    pub dropped: [u64; 5],
    /// Spans that wait for their traces' decisions.
    pub held: u64,
    /// Of those kept and dropped, spans that came after their traces' decisions.
    pub late: u64,
    /// Traces that were decided before their time because too many spans waited.
    pub early: u64,
    /// Traces that were decided without their local roots.
    pub rootless: u64,
}

impl Counts {
    /// Spans kept.
    pub fn kept(&self) -> u64 {
        self.kept.iter().sum()
    }

    /// Spans dropped.
    pub fn dropped(&self) -> u64 {
        self.dropped.iter().sum()
    }

    /// Each counter with its name.
    pub const fn named(&self) -> [(&'static str, u64); 19] {
        let Self { produced, kept, dropped, held, late, early, rootless } = *self;
        let [k_rule, header, error, slow, slow_route, rare_route, rare_path, k_incoming, k_chance] = kept;
        let [d_rule, d_incoming, d_chance, cap, span_rule] = dropped;
        [
            ("produced", produced),
            ("kept_rule", k_rule),
            ("kept_header", header),
            ("kept_error", error),
            ("kept_slow", slow),
            ("kept_slow_route", slow_route),
            ("kept_rare_route", rare_route),
            ("kept_rare_path", rare_path),
            ("kept_incoming", k_incoming),
            ("kept_chance", k_chance),
            ("dropped_rule", d_rule),
            ("dropped_incoming", d_incoming),
            ("dropped_chance", d_chance),
            ("dropped_cap", cap),
            ("dropped_span_rule", span_rule),
            ("held", held),
            ("late", late),
            ("early", early),
            ("rootless", rootless),
        ]
    }
}
