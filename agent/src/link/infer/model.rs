//! What is known of a program: how long after what it makes which call, how many of them, and what else tells.

use std::collections::BTreeMap;

use super::{
    anchor::Anchor,
    context::{Situations, situation},
    density::{Density, Histogram},
    pattern::{Numbers, Patterns},
    problem::Kid,
    routes::Routes,
    scale::{BINS, Scale},
    tally::{GapKey, Tally},
    thread::Threads,
};

/// Pairs of an inbound and an outbound route that a model has delays of; calls of further pairs have vague ones.
pub const PAIRS_MAX: usize = 512;
/// Gaps that a density remembers; older ones fade.
const KEPT: f64 = 4000.0;
/// Share of a pair's calls that must have been the last ones, for what comes after them as the last ones to be known.
const LAST_SHARE: f64 = 0.02;
/// Share of calls without a request that is assumed before any were looked at, and the weight of that assumption.
const ALONE_SHARE: f64 = 0.004;
const ALONE_WEIGHT: f64 = 100.0;

/// Gaps seen, and their density.
#[derive(Clone, Debug)]
pub(super) struct Gaps {
    counts: Histogram,
    density: Density,
    /// The mean logarithm of the density over the counts.
    typical: f64,
}

impl Gaps {
    fn new(counts: Histogram, scale: Scale) -> Self {
        let density = counts.density(scale);
        Self { typical: density.mean_log(&counts), density, counts }
    }

    fn absorb(&mut self, counts: &Histogram, scale: Scale) {
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
    delays: Vec<(Anchor, Gaps)>,
    situations: Situations,
    /// What comes after the last of them.
    end: Option<Gaps>,
    /// What comes after any of them.
    tail: Option<Gaps>,
    /// Logarithms for the numbers 0 to 7.
    log_numbers: [f64; 8],
}

/// What requests by one route do.
#[derive(Clone, Debug, Default)]
pub(super) struct Route {
    pub pairs: Vec<Option<Box<Pair>>>,
    pub patterns: Patterns,
    /// How long they take without calls.
    idle: Option<Gaps>,
    /// The logarithm of the likelihood of no call at all, if routes were independent.
    none: f64,
}

/// The kept models of one program. See the [module](self).
#[derive(Clone, Debug, Default)]
pub struct Model {
    pub(super) inbound: Routes,
    pub(super) outbound: Routes,
    scale: Option<Scale>,
    routes: Vec<Route>,
    pairs: usize,
    vague: Option<Density>,
    /// By outbound route: calls, calls without a request, and the logarithm of the latter's rate per nanosecond.
    alone: Vec<(f64, f64, f64)>,
    span_ns: f64,
    threads: Threads,
    ratios: (f64, f64),
}

impl Model {
    /// A model that knows nothing yet.
    pub fn new() -> Self {
        Self::default()
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
        let Self { inbound, outbound, .. } = std::mem::take(self);
        let mut vague = Histogram::default();
        // As likely in each doubling of the gap, and above all after the anchor.
        (0..BINS).for_each(|bin| vague.add(bin, if bin < BINS / 2 { 1e-6 } else { 1e-3 }));
        *self = Self { inbound, outbound, scale: Some(scale), vague: Some(vague.density(scale)), ..Self::default() };
    }

    /// Adds what a tally says. With `afresh`, of what the tally knows the earlier is forgotten; `prefer` orders the
    /// anchors of a pair then.
    pub(super) fn absorb(&mut self, tally: &Tally, prefer: Option<&BTreeMap<(u16, u16), Vec<Anchor>>>) {
        let scale = self.scale();
        let factor = if prefer.is_some() { 0.0 } else { (KEPT / (KEPT + tally_size(tally))).min(1.0) };
        let (inbound, outbound) = (self.inbound.len(), self.outbound.len());
        self.routes.resize_with(inbound.max(self.routes.len()), Route::default);
        for route in &mut self.routes {
            route.pairs.resize_with(outbound.max(route.pairs.len()), || None);
            if prefer.is_some() {
                route.pairs.fill_with(|| None);
                route.idle = None;
            }
        }
        if prefer.is_some() {
            self.pairs = 0;
        }
        for ((inbound, outbound, anchor), counts) in &tally.gaps {
            let place = prefer.map(|prefer| prefer.get(&(*inbound, *outbound)).map_or(&[][..], Vec::as_slice));
            if place.is_some_and(|anchors| !anchors.contains(anchor)) {
                continue;
            }
            let Some(pair) = self.pair_mut(*inbound, *outbound) else { continue };
            match pair.delays.iter_mut().find(|(own, _)| own == anchor) {
                Some((_, gaps)) => gaps.absorb(counts, scale),
                None => pair.delays.push((*anchor, Gaps::new(counts.clone(), scale))),
            }
            if let Some(anchors) = place {
                pair.delays.sort_by_key(|(own, _)| anchors.iter().position(|anchor| anchor == own));
            }
        }
        for ((inbound, outbound), situations) in &tally.situations {
            if let Some(pair) = self.pair_mut(*inbound, *outbound) {
                pair.situations.merge(situations, factor);
            }
        }
        for ((inbound, outbound), counts) in &tally.tails {
            match self.pair_mut(*inbound, *outbound).map(|pair| &mut pair.tail) {
                Some(Some(gaps)) => gaps.absorb(counts, scale),
                Some(none) => *none = Some(Gaps::new(counts.clone(), scale)),
                None => {}
            }
        }
        for ((inbound, last), counts) in &tally.ends {
            let gaps = match last {
                Some(outbound) => self.pair_mut(*inbound, *outbound).map(|pair| &mut pair.end),
                None => self.routes.get_mut(usize::from(*inbound)).map(|route| &mut route.idle),
            };
            match gaps {
                Some(Some(gaps)) => gaps.absorb(counts, scale),
                Some(none) => *none = Some(Gaps::new(counts.clone(), scale)),
                None => {}
            }
        }
        self.absorb_numbers(tally, factor);
        self.alone.resize(outbound.max(self.alone.len()), (0.0, 0.0, 0.0));
        self.span_ns = self.span_ns * factor + tally.span_ns;
        for (route, (all, alone, rate)) in (0..).zip(&mut self.alone) {
            let (more, more_alone) = tally.calls.get(&route).copied().unwrap_or_default();
            (*all, *alone) = (*all * factor + more, *alone * factor + more_alone);
            let share = (*alone + ALONE_SHARE * ALONE_WEIGHT) / (*all + ALONE_WEIGHT);
            *rate = (share * (*all + 1.0) / self.span_ns.max(1.0)).ln();
        }
        self.threads.merge(&tally.threads, factor);
        self.ratios = self.threads.ratios();
    }

    fn absorb_numbers(&mut self, tally: &Tally, factor: f64) {
        for (route, patterns) in &tally.patterns {
            if let Some(route) = self.routes.get_mut(usize::from(*route)) {
                route.patterns.merge(patterns, factor);
            }
        }
        for ((inbound, outbound), numbers) in &tally.numbers {
            let requests = tally.patterns.get(inbound).map_or(0.0, Patterns::total);
            if let Some(pair) = self.pair_mut(*inbound, *outbound) {
                // Requests without such a call are not in the tally's numbers.
                let mut numbers = numbers.clone();
                numbers.complete(requests);
                pair.numbers.merge(&numbers, factor);
            }
        }
        for (id, route) in (0..).zip(&mut self.routes) {
            let requests = tally.patterns.get(&id).map_or(0.0, Patterns::total);
            route.none = 0.0;
            for (outbound, pair) in (0..).zip(&mut route.pairs) {
                let Some(pair) = pair else { continue };
                if requests > 0.0 && !tally.numbers.contains_key(&(id, outbound)) {
                    let mut none = Numbers::default();
                    none.complete(requests);
                    pair.numbers.merge(&none, factor);
                }
                for (calls, log) in pair.log_numbers.iter_mut().enumerate() {
                    *log = pair.numbers.log(calls);
                }
                route.none += pair.log_numbers.first().copied().unwrap_or(0.0);
            }
        }
    }

    fn pair_mut(&mut self, inbound: u16, outbound: u16) -> Option<&mut Pair> {
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

    /// Prints it.
    pub fn dump(&self) {
        for (i, r) in self.routes.iter().enumerate() {
            for (o, p) in r.pairs.iter().enumerate() {
                if let Some(p) = p {
                    println!("    {i} -> {o}: {:?} numbers {:?} ends {:.0}", p.delays.iter().map(|(a, g)| (a, g.counts.total(), g.density.mean_log(&g.counts))).collect::<Vec<_>>(), p.numbers, p.end.as_ref().map_or(0.0, |e| e.counts.total()));
                }
            }
            println!("    {i} patterns {:?}", r.patterns);
        }
        println!("    alone {:?} threads {:?}", self.alone, self.ratios);
    }

    /// Log-likelihood ratio of what is known of the threads.
    pub(super) fn log_thread(&self, same: Option<bool>) -> f64 {
        match same {
            Some(true) => self.ratios.0,
            Some(false) => self.ratios.1,
            None => 0.0,
        }
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

    /// How much likelier than is typical a request's end is after any of its calls, as a logarithm.
    pub(super) fn log_tail(&self, pair: Option<&Pair>, gap: i64) -> f64 {
        let tail = pair.and_then(|pair| pair.tail.as_ref());
        tail.map_or(0.0, |tail| tail.density.log(self.scale().bin(gap)) - tail.typical)
    }
}

fn tally_size(tally: &Tally) -> f64 {
    tally.calls.values().map(|(all, _)| all).sum()
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
