//! The first idea of the delays, before any call has an owner. A gap that is there more often than chance explains is one
//! that something waits for: the calls' distances from the events before them are counted, and from the events after
//! them, which nothing can have waited for and which therefore are what chance does. This works at any concurrency, for
//! what is alike in a thousand pairs stands out however many unlike ones surround each.

use std::collections::BTreeMap;

use super::{
    anchor::Anchor,
    density::Histogram,
    problem::{OPEN, Problem},
    scale::{BINS, Scale},
    tally::{GapKey, Tally},
};

/// Events before and after each call that are looked at.
const REACH: usize = 64;
/// Kernel, in bins, that counts are smoothed by before chance is taken away.
const KERNEL_BINS: f64 = 1.5;
/// Standard deviations of chance that an excess must pass.
const SIGNIFICANT: f64 = 1.0;
/// Anchors of a pair that are tried.
const TRIED_MAX: usize = 4;
/// Share of a route's calls that begin after something else more often than by chance; below it they may well be nobody's,
/// and this share of them is taken to be so at first. Of few calls nothing is concluded.
const EXPLAINED_MIN: f64 = 0.2;
const UNEXPLAINED_ALONE: f64 = 0.5;
const FEW: f64 = 30.0;
/// Share of a route's calls that an anchor must explain.
const SHARE_MIN: f64 = 0.02;

/// First delays, and the order in which a pair's anchors are preferred.
pub(super) fn guess(problem: &Problem, scale: Scale) -> (Tally, BTreeMap<(u16, u16), Vec<Anchor>>) {
    let mut tally = Tally { span_ns: problem.span_ns, ..Tally::default() };
    let inbound = grouped(problem.reqs.iter().map(|req| (req.route, req.start)));
    let ends = grouped(problem.reqs.iter().filter(|req| req.end != OPEN).map(|req| (req.route, req.end)));
    let starts = grouped(problem.kids.iter().map(|kid| (kid.route, kid.start)));
    let call_ends = grouped(problem.kids.iter().map(|kid| (kid.route, kid.end)));
    let mut requests: BTreeMap<u16, f64> = BTreeMap::new();
    for req in &problem.reqs {
        *requests.entry(req.route).or_default() += 1.0;
    }
    let mut siblings: Vec<(u16, Anchor, f64, Histogram)> = Vec::new();
    for (route, calls) in &starts {
        let rate = calls.len() as f64 / problem.span_ns;
        for (other, events) in &call_ends {
            siblings.extend(
                explain(events, calls, scale, rate).map(|(gain, gaps)| (*route, Anchor::End(*other), gain, gaps)),
            );
        }
        for (other, events) in &starts {
            siblings.extend(
                explain(events, calls, scale, rate).map(|(gain, gaps)| (*route, Anchor::Begin(*other), gain, gaps)),
            );
        }
    }
    let nested = nested(problem, scale);
    let mut prefer = BTreeMap::new();
    for (route, calls) in &starts {
        let rate = calls.len() as f64 / problem.span_ns;
        let mut explained =
            siblings.iter().filter(|(to, ..)| to == route).map(|(.., gaps)| gaps.total()).fold(0.0, f64::max);
        for (from, events) in &inbound {
            let Some((gaps, pairs)) = nested.get(&(*from, *route, false)) else { continue };
            let (gain, mut counts) = explain(events, calls, scale, rate).unwrap_or_default();
            explained += counts.total();
            let share = (counts.total().max(*pairs) / requests.get(from).copied().unwrap_or(1.0)).clamp(0.01, 0.99);
            counts.merge(gaps);
            tally.gaps.insert((*from, *route, Anchor::Start), counts);
            let numbers = tally.numbers.entry((*from, *route)).or_default();
            numbers.add(0, 20.0 * (1.0 - share));
            numbers.add(1, 20.0 * share);
            let mut anchors: Vec<(f64, GapKey, &Histogram)> = siblings
                .iter()
                .filter(|(to, _, sibling_gain, _)| to == route && *sibling_gain > gain)
                .map(|(to, anchor, gain, gaps)| (*gain, (*from, *to, *anchor), gaps))
                .collect();
            anchors.sort_by(|(a, ..), (b, ..)| b.total_cmp(a));
            anchors.truncate(TRIED_MAX);
            let order = prefer.entry((*from, *route)).or_insert_with(Vec::new);
            for (_, key, gaps) in anchors {
                tally.gaps.insert(key, gaps.clone());
                order.push(key.2);
            }
            order.push(Anchor::Start);
        }
        let all = calls.len() as f64;
        let is_explained = explained >= EXPLAINED_MIN * all || all < FEW;
        tally.calls.insert(*route, (all, if is_explained { 0.0 } else { UNEXPLAINED_ALONE * all }));
        if let Some(own) = call_ends.get(route) {
            for (from, events) in &ends {
                let Some((gaps, _)) = nested.get(&(*from, *route, true)) else { continue };
                let (_, mut counts) = explain(own, events, scale, rate).unwrap_or_default();
                counts.merge(gaps);
                tally.tails.insert((*from, *route), counts);
            }
        }
    }
    for from in requests.into_keys() {
        tally.patterns.entry(from).or_default();
    }
    (tally, prefer)
}

fn grouped(events: impl Iterator<Item = (u16, i64)>) -> BTreeMap<u16, Vec<i64>> {
    let mut groups: BTreeMap<u16, Vec<i64>> = BTreeMap::new();
    for (route, at) in events {
        groups.entry(route).or_default().push(at);
    }
    for events in groups.values_mut() {
        events.sort_unstable();
    }
    groups
}

/// The gaps from `events` to `calls` beyond chance, and how much knowing them tells of a call's time, in natural units of
/// information, on average over the calls.
fn explain(events: &[i64], calls: &[i64], scale: Scale, rate: f64) -> Option<(f64, Histogram)> {
    let (mut after, mut before) = (Histogram::default(), Histogram::default());
    let mut next = 0;
    for call in calls {
        while events.get(next).is_some_and(|event| event <= call) {
            next += 1;
        }
        let past = events.get(next.saturating_sub(REACH)..next).unwrap_or(&[]);
        let future = events.get(next..(next + REACH).min(events.len())).unwrap_or(&[]);
        // As far into the past as into the future, where that is cut off.
        let reach = |cut: bool, far: Option<&i64>| far.filter(|_| cut).map_or(i64::MAX, |far| (call - far).abs());
        let horizon = reach(past.len() == REACH, past.first()).min(reach(future.len() == REACH, future.last()));
        past.iter()
            .map(|event| call - event)
            .filter(|gap| *gap <= horizon)
            .for_each(|gap| after.add(scale.bin(gap), 1.0));
        future
            .iter()
            .map(|event| event - call)
            .filter(|gap| *gap <= horizon)
            .for_each(|gap| before.add(scale.bin(gap), 1.0));
    }
    let (after, before) = (after.smoothed(KERNEL_BINS), before.smoothed(KERNEL_BINS));
    let mut excess = Histogram::default();
    for (bin, (after, before)) in after.iter().zip(&before).enumerate().skip(BINS / 2) {
        let more = after - before - SIGNIFICANT * (before + 0.1).sqrt();
        if more > 0.0 {
            excess.add(bin, more);
        }
    }
    let share = (excess.total() / calls.len() as f64).min(1.0);
    if share < SHARE_MIN {
        return None;
    }
    let gain = share * (excess.mean_log(scale) - rate.max(f64::MIN_POSITIVE).ln());
    Some((gain, excess))
}

/// Gaps between requests and the calls within them (`true`: between the ends), each call counting once, squarely less the
/// more requests it may belong to; and the number of calls that this stands for.
fn nested(problem: &Problem, scale: Scale) -> BTreeMap<(u16, u16, bool), (Histogram, f64)> {
    let mut gaps: BTreeMap<(u16, u16, bool), (Histogram, f64)> = BTreeMap::new();
    for kid in &problem.kids {
        let all = problem.candidates(kid.id).iter().filter_map(|req| problem.req(*req));
        let inside = || all.clone().filter(|req| kid.end <= req.end);
        let count = inside().count() as f64;
        for req in inside() {
            let (starts, pairs) = gaps.entry((req.route, kid.route, false)).or_default();
            starts.add(scale.bin(kid.start - req.start), count.powi(-2));
            *pairs += 1.0 / count;
            if req.end != OPEN {
                let (ends, _) = gaps.entry((req.route, kid.route, true)).or_default();
                ends.add(scale.bin(req.end - kid.end), count.powi(-2));
            }
        }
    }
    gaps
}
