//! What is known of a program: how long after what it makes which call, how many of them, and what else tells.

use super::{
    anchor::Anchor,
    calibrate::Calibration,
    context::{Situations, situation},
    density::{Density, Histogram},
    pattern::{Numbers, Patterns},
    problem::{Kid, Problem},
    routes::Routes,
    scale::{BINS, Scale},
    signal::{Shares, Signal},
    tally::{GapKey, Tally},
};

/// Pairs of an inbound and an outbound route that a model has delays of; calls of further pairs have vague ones.
pub const PAIRS_MAX: usize = 512;
/// Gaps that a density remembers; older ones fade.
pub(super) const KEPT: f64 = 4000.0;
/// Share of a pair's calls that must have been the last ones, for what comes after them as the last ones to be known.
const LAST_SHARE: f64 = 0.02;

/// Gaps seen, and their density.
#[derive(Clone, Debug)]
pub(super) struct Gaps {
    counts: Histogram,
    density: Density,
    /// The mean logarithm of the density over the counts.
    typical: f64,
}

impl Gaps {
    pub(super) fn new(counts: Histogram, scale: Scale) -> Self {
        let density = counts.density(scale);
        Self { typical: density.mean_log(&counts), density, counts }
    }

    pub(super) fn absorb(&mut self, counts: &Histogram, scale: Scale) {
        self.counts.fade(KEPT);
        self.counts.merge(counts);
        self.density = self.counts.density(scale);
        self.typical = self.density.mean_log(&self.counts);
    }
}

/// What requests by one route do with calls by one route.
#[derive(Clone, Debug, Default)]
pub(super) struct Pair {
    pub numbers: Numbers,
    /// What they wait for, in the order of preference.
    pub(super) delays: Vec<(Anchor, Gaps)>,
    pub(super) situations: Situations,
    /// What comes after the last of them.
    pub(super) end: Option<Gaps>,
    /// What comes after any of them.
    pub(super) tail: Option<Gaps>,
    /// Logarithms for the numbers 0 to 7.
    pub(super) log_numbers: [f64; 8],
}

/// What requests by one route do.
#[derive(Clone, Debug, Default)]
pub(super) struct Route {
    pub pairs: Vec<Option<Box<Pair>>>,
    pub patterns: Patterns,
    /// How long they take without calls.
    pub(super) idle: Option<Gaps>,
    /// The logarithm of the likelihood of no call at all, if routes were independent.
    pub(super) none: f64,
}

/// The kept models of one program. See the [module](self).
#[derive(Clone, Debug, Default)]
pub struct Model {
    /// Whether everything is looked at, however unlikely.
    pub(super) is_thorough: bool,
    pub(super) inbound: Routes,
    pub(super) outbound: Routes,
    scale: Option<Scale>,
    pub(super) routes: Vec<Route>,
    pub(super) pairs: usize,
    vague: Option<Density>,
    /// By outbound route: calls, calls without a request, and the logarithm of the latter's rate per nanosecond.
    pub(super) alone: Vec<(f64, f64, f64)>,
    pub(super) span_ns: f64,
    /// What claims of this program are worth; [`Model::solve`] applies it.
    pub calibration: Calibration,
    pub(super) threads: Shares,
    pub(super) last: Shares,
    /// What each of the two tells.
    pub(super) ratios: [(f64, f64); 2],
    /// What windows told that is not taken in yet.
    pub(super) pending: Tally,
}

impl Model {
    /// A model that knows nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// A model that knows nothing yet, and looks at everything, however unlikely and long it takes: for spans that do not wait.
    pub fn thorough() -> Self {
        Self { is_thorough: true, ..Self::default() }
    }

    /// Whether it has learned anything.
    pub const fn is_empty(&self) -> bool {
        self.scale.is_none()
    }

    /// How many pairs of routes it has delays of; at most [`PAIRS_MAX`].
    pub const fn pairs(&self) -> usize {
        self.pairs
    }

    pub(super) fn scale(&self) -> Scale {
        self.scale.unwrap_or_else(|| Scale::new(1))
    }

    /// Forgets all but the numbers of the routes, and counts gaps by this scale from now on.
    pub(super) fn begin(&mut self, scale: Scale) {
        let Self { is_thorough, inbound, outbound, calibration, .. } = std::mem::take(self);
        let mut vague = Histogram::default();
        // As likely in each doubling of the gap, and above all after the anchor.
        (0..BINS).for_each(|bin| vague.add(bin, if bin < BINS / 2 { 1e-6 } else { 1e-3 }));
        let vague = Some(vague.density(scale));
        *self = Self { is_thorough, inbound, outbound, calibration, scale: Some(scale), vague, ..Self::default() };
    }

    pub(super) fn pair_mut(&mut self, inbound: u16, outbound: u16) -> Option<&mut Pair> {
        let pair = self.routes.get_mut(usize::from(inbound))?.pairs.get_mut(usize::from(outbound))?;
        if pair.is_none() {
            if self.pairs == PAIRS_MAX {
                return None;
            }
            self.pairs += 1;
            *pair = Some(Box::default());
        }
        pair.as_deref_mut()
    }

    /// What is known of requests by a route.
    pub(super) fn route(&self, inbound: u16) -> Option<&Route> {
        self.routes.get(usize::from(inbound))
    }

    /// The logarithm of the rate, per nanosecond, of calls by a route that no request caused.
    pub(super) fn log_alone(&self, outbound: u16) -> f64 {
        self.alone.get(usize::from(outbound)).map_or(-30.0, |(_, _, rate)| *rate)
    }

    /// How many other routes' calls have to be known before those by a route can be.
    pub(super) fn depth(&self, outbound: u16) -> usize {
        let waits_for = |route: u16| {
            let pairs = self.routes.iter().filter_map(move |own| own.pair(route));
            pairs.filter_map(Pair::anchor).find_map(|anchor| match anchor {
                Anchor::End(other) | Anchor::Begin(other) if other != route => Some(other),
                _ => None,
            })
        };
        std::iter::successors(Some(outbound), |route| waits_for(*route)).take(self.outbound.len() + 1).count()
    }

    /// Log-likelihood ratio of all that points from a call to a request, or to another.
    pub(super) fn log_signals(&self, problem: &Problem, req: u32, call: u32) -> f64 {
        let signals = [Signal::Thread, Signal::Last].into_iter().zip(self.ratios);
        signals.fold(0.0, |sum, (signal, (points, does_not))| {
            sum + match problem.points(signal, req, call) {
                Some(true) => points,
                Some(false) => does_not,
                None => 0.0,
            }
        })
    }

    /// Whether the model has a use for this gap.
    pub(super) fn wants(&self, (inbound, outbound, anchor): GapKey) -> bool {
        let pair = self.route(inbound).and_then(|route| route.pair(outbound));
        pair.is_none_or(|pair| pair.delays.is_empty() || pair.delays.iter().any(|(own, _)| *own == anchor))
            && (pair.is_some_and(|pair| !pair.delays.is_empty()) || anchor == Anchor::Start)
    }

    /// The logarithm of the density of a call's start, given the calls before it, per nanosecond.
    pub(super) fn log_start(&self, pair: Option<&Pair>, request_start: i64, before: &[Kid], kid: &Kid) -> f64 {
        self.log_begin(pair, request_start, before, kid, Density::log)
    }

    /// The logarithm of the rate of calls at a call's start, given that none was made since the calls before it.
    pub(super) fn log_start_rate(&self, pair: Option<&Pair>, request_start: i64, before: &[Kid], kid: &Kid) -> f64 {
        self.log_begin(pair, request_start, before, kid, Density::log_rate)
    }

    fn log_begin(
        &self,
        pair: Option<&Pair>,
        request_start: i64,
        before: &[Kid],
        kid: &Kid,
        log: impl Fn(&Density, usize) -> f64,
    ) -> f64 {
        let Some(pair) = pair else {
            let vague = self.vague.as_ref();
            return vague.map_or(-30.0, |vague| vague.log(self.scale().bin(kid.start - request_start)));
        };
        let context = pair.situations.log(situation(before, kid.start));
        for (anchor, gaps) in &pair.delays {
            if let Some(from) = anchor.at(request_start, before, kid.start) {
                return context + log(&gaps.density, self.scale().bin(kid.start - from));
            }
        }
        let vague = self.vague.as_ref();
        vague.map_or(-30.0, |vague| vague.log(self.scale().bin(kid.start - request_start)))
    }

    /// The logarithm of the density of a request's end after the last of its calls, which is by this route, or after its
    /// start if there are none.
    pub(super) fn log_end(&self, route: &Route, last: Option<u16>, gap: i64) -> f64 {
        let bin = self.scale().bin(gap);
        let vague = || self.vague.as_ref().map_or(-30.0, |vague| vague.log(bin));
        let Some(outbound) = last else { return route.idle.as_ref().map_or_else(vague, |idle| idle.density.log(bin)) };
        let Some(pair) = route.pair(outbound) else { return vague() };
        let (end, tail) = (pair.end.as_ref(), pair.tail.as_ref());
        let seen = |gaps: Option<&Gaps>| gaps.map_or(0.0, |gaps| gaps.counts.total());
        match (end, tail) {
            (Some(end), _) if seen(Some(end)) >= LAST_SHARE * seen(tail) => end.density.log(bin),
            (_, Some(tail)) => tail.density.log(bin),
            _ => vague(),
        }
    }

    /// The logarithm of the density of a call's start after its request's, whatever was between.
    pub(super) fn log_since(&self, pair: Option<&Pair>, gap: i64) -> f64 {
        let since = pair.and_then(|pair| pair.delays.iter().rev().find(|(anchor, _)| *anchor == Anchor::Start));
        let density = since.map(|(_, gaps)| &gaps.density).or(self.vague.as_ref());
        density.map_or(-30.0, |density| density.log(self.scale().bin(gap)))
    }

    /// How much likelier than is typical a request's end is after any of its calls, as a logarithm.
    pub(super) fn log_tail(&self, pair: Option<&Pair>, gap: i64) -> f64 {
        let tail = pair.and_then(|pair| pair.tail.as_ref());
        tail.map_or(0.0, |tail| tail.density.log(self.scale().bin(gap)) - tail.typical)
    }
}

impl Route {
    /// What is known of calls by a route.
    pub(super) fn pair(&self, outbound: u16) -> Option<&Pair> {
        self.pairs.get(usize::from(outbound))?.as_deref()
    }

    /// The logarithm of the likelihood of no call at all, if routes were independent.
    pub(super) const fn log_none(&self) -> f64 {
        self.none
    }
}

impl Pair {
    /// The logarithm of the share of requests that make so many calls.
    pub(super) fn log_number(&self, calls: usize) -> f64 {
        self.log_numbers.get(calls).copied().unwrap_or_else(|| self.numbers.log(calls))
    }

    /// What the calls wait for, the first choice.
    pub(super) fn anchor(&self) -> Option<Anchor> {
        self.delays.first().map(|(anchor, _)| *anchor)
    }
}
