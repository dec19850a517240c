//! How a model takes in what windows tell.

use std::collections::BTreeMap;

use super::{
    anchor::Anchor,
    model::{Gaps, KEPT, Model, Route},
    pattern::{Numbers, Patterns},
    tally::Tally,
};

/// Share of calls without a request that is assumed before any were looked at, and the weight of that assumption.
const ALONE_SHARE: f64 = 0.004;
const ALONE_WEIGHT: f64 = 100.0;

/// Calls that must have been told of before densities are drawn anew.
const PENDING_MAX: f64 = 400.0;

impl Model {
    /// Takes in what windows told so far, once it is enough to be worth the work.
    pub(super) fn absorb_pending(&mut self) {
        if tally_size(&self.pending) >= PENDING_MAX {
            let tally = std::mem::take(&mut self.pending);
            self.absorb(&tally, None);
        }
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
        self.last.merge(&tally.last, factor);
        self.ratios = [self.threads.ratios(), self.last.ratios()];
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
}

fn tally_size(tally: &Tally) -> f64 {
    tally.calls.values().map(|(all, _)| all).sum()
}
