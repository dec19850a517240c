//! One process: its routes, and its calls linked.

use std::collections::BTreeMap;

use rustc_hash::FxHashMap;

use super::{
    Counts, Exchanges, Link, Method, Spans,
    follow::follow,
    group::Group,
    infer::{CONFIDENCE_MAX, Model, Verdict},
    learn, window,
};

/// What requests and calls of one process are, besides their times.
#[derive(Debug, Default)]
pub(super) struct Routes {
    /// Of each request.
    pub requests: Vec<u32>,
    /// Of each call.
    pub calls: Vec<u32>,
}

/// Links the calls of one process. Those that call it must have been linked before: the request of a
/// trace that is answered last is told apart from the earlier ones, for what they were all waited for is done within it.
pub(super) fn link(
    spans: &Spans<'_>,
    exchanges: &Exchanges,
    group: &Group,
    seed: u64,
    links: &mut [Link],
    counts: &mut Counts,
) {
    if group.calls.is_empty() {
        return;
    }
    let routes = Routes { requests: request_routes(spans, group, links), calls: call_routes(spans, exchanges, group) };
    let view = window::View { spans, exchanges, group, routes: &routes };
    let mut model = Model::thorough();
    learn::learn(&view, &mut model, seed, counts);
    let mut answered: Vec<(u64, u32)> = Vec::with_capacity(group.requests.len());
    answered.extend(group.requests.iter().filter_map(|span| Some((spans.all.get(*span as usize)?.end_ns, *span))));
    answered.sort_unstable();
    window::solve(&view, &mut model, seed, counts, |call, verdict, counts| {
        let Some(link) = links.get_mut(call as usize) else { return };
        let span = |request: u32| group.requests.get(request as usize).copied();
        let Verdict { request, confidence, runner_up, open, .. } = *verdict;
        let method = if open == 1 { Method::Exclusive } else { Method::Inferred };
        let confidence = if method == Method::Inferred { confidence.min(CONFIDENCE_MAX) } else { confidence };
        link.candidate = request.and_then(|request| Some((span(request)?, method, confidence)));
        link.runner_up = runner_up.and_then(|(request, confidence)| Some((span(request)?, confidence)));
        if open == 0 {
            counts.alone += 1;
            counts.follows += u64::from(follow(spans, &answered, call, link));
        }
    });
}

/// A request's route: its name, and whether it is the last of its trace that this process answers.
fn request_routes(spans: &Spans<'_>, group: &Group, links: &[Link]) -> Vec<u32> {
    let root = |span: u32| {
        let up = |span: &u32| links.get(*span as usize)?.candidate.map(|(parent, ..)| parent);
        std::iter::successors(Some(span), up).take(DEPTH_MAX).last().unwrap_or(span)
    };
    let roots: Vec<u32> = group.requests.iter().map(|request| root(*request)).collect();
    let end = |span: u32| spans.all.get(span as usize).map_or(0, |span| span.end_ns);
    let mut last: FxHashMap<u32, u32> = FxHashMap::default();
    for (root, request) in roots.iter().zip(&group.requests) {
        let own = last.entry(*root).or_insert(*request);
        if end(*request) >= end(*own) {
            *own = *request;
        }
    }
    let is_last = |root: &u32, request: u32| last.get(root) == Some(&request);
    let name = |span: u32| spans.all.get(span as usize).map_or(0, |span| span.name);
    let route = |(span, root): (&u32, &u32)| name(*span).wrapping_mul(2) + u32::from(is_last(root, *span));
    group.requests.iter().zip(&roots).map(route).collect()
}

/// Spans between one and the root of its trace that are looked at.
const DEPTH_MAX: usize = 64;

/// A call's route: its name, and the process that it is for. Where that is not known, the only one that calls by this name
/// are for.
fn call_routes(spans: &Spans<'_>, exchanges: &Exchanges, group: &Group) -> Vec<u32> {
    let target = |call: u32| exchanges.of(call).and_then(|peer| spans.all.get(peer as usize)).map(|peer| peer.process);
    let name = |call: u32| spans.all.get(call as usize).map_or(0, |span| span.name);
    let mut targets: BTreeMap<u32, Option<u32>> = BTreeMap::new();
    for (name, target) in group.calls.iter().filter_map(|call| Some((name(*call), target(*call)?))) {
        targets.entry(name).and_modify(|own| *own = own.filter(|own| *own == target)).or_insert(Some(target));
    }
    let mut numbers: FxHashMap<(u32, Option<u32>), u32> = FxHashMap::default();
    let route = |call: &u32| {
        let name = name(*call);
        let target = target(*call).or_else(|| targets.get(&name).copied().flatten());
        let next = numbers.len() as u32;
        *numbers.entry((name, target)).or_insert(next)
    };
    group.calls.iter().map(route).collect()
}
