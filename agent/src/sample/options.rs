//! What to keep, as the configuration says.

use std::time::Duration;

use super::{Rule, Threshold};

/// What of the callers' decisions counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Incoming {
    /// Nothing: what is seen here is decided here.
    #[default]
    Override,
    /// A caller's `sampled` flag decides instead of chance, where there is one.
    Respect,
}

/// What the agent's own store gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Store {
    /// All spans.
    #[default]
    All,
    /// What is exported.
    Kept,
}

/// What to keep.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// Probability from 0 to 1 that a trace is kept of which nothing else tells. Default: 1.
    pub ratio: f64,
    /// What of the callers' decisions counts. Default: nothing.
    pub incoming: Incoming,
    /// All traces with an error are kept. Default: they are.
    pub errors: bool,
    /// All traces are kept with a span that took so long. Default: none for that.
    pub slow: Option<Duration>,
    /// All traces are kept with a request that took so many times as long as the 99th percentile of its route. Default: none for
    /// that.
    pub slow_factor: Option<f64>,
    /// Traces of each route, and of each way through services, that are kept in a minute whatever chance says. Default: 1.
    pub rare: u8,
    /// All traces are kept with a request that carries this header, unless its value is `0` or `false`. Default: none for that.
    pub header: Option<String>,
    /// Traces of a route that chance may keep in a second. Default: all.
    pub cap: Option<u32>,
    /// What is to become of traces; the first rule that matches counts.
    pub rules: Vec<Rule>,
    /// What is to become of single spans of traces that are kept; the first rule that matches counts.
    pub span_rules: Vec<Rule>,
    /// How long to wait for more of a trace after its request was answered. Default: 1 s.
    pub delay: Duration,
    /// What the agent's own store gets. Default: all.
    pub store: Store,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            ratio: 1.0,
            incoming: Incoming::default(),
            errors: true,
            slow: None,
            slow_factor: None,
            rare: 1,
            header: None,
            cap: None,
            rules: Vec::new(),
            span_rules: Vec::new(),
            delay: Duration::from_secs(1),
            store: Store::default(),
        }
    }
}

impl Options {
    /// Whether anything may be dropped.
    pub fn is_on(&self) -> bool {
        self.judges_traces() || !self.span_rules.is_empty()
    }

    /// Whether whole traces may be dropped, so that their spans have to wait for each other.
    pub(super) fn judges_traces(&self) -> bool {
        self.threshold() != Threshold::ALWAYS
            || self.incoming == Incoming::Respect
            || self.cap.is_some()
            || !self.rules.is_empty()
    }

    pub(super) fn threshold(&self) -> Threshold {
        Threshold::of_ratio(self.ratio)
    }
}
