//! A window as the solver sees it: stamps as signed numbers, routes as small ones, and which requests each call may
//! belong to. A request may own a call that began while it was open; nothing else is ruled out before the solver.

use super::{Call, Counts, Owner, Request, Window, model::Model, signal::Signal};

/// Requests that a call may belong to are at most so many: those that began last. Past it, the call is `crowded`.
pub const OPEN_MAX: usize = 256;

/// How much less likely than the best a candidate may be, as a logarithm, where not everything is looked at.
const LIKELY_REACH: f64 = 15.0;

/// A request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Req {
    pub start: i64,
    /// [`OPEN`] while it is open.
    pub end: i64,
    pub route: u16,
    /// Whether all calls of its time are in the window.
    pub whole: bool,
    pub thread: Option<u64>,
}

/// A call, also as one of a request's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Kid {
    pub start: i64,
    pub end: i64,
    pub id: u32,
    pub route: u16,
}

/// Everything about a window that does not change while it is solved.
#[derive(Debug, Default)]
pub(super) struct Problem {
    pub reqs: Vec<Req>,
    pub kids: Vec<Kid>,
    threads: Vec<Option<u64>>,
    last: Vec<Option<u32>>,
    /// The request that a call must not belong to, because it is the other end of it.
    pub barred: Vec<Option<u32>>,
    /// What is known of the owner.
    pub known: Vec<Owner>,
    settled: Vec<bool>,
    /// Calls in the order of their starts.
    pub order: Vec<u32>,
    /// Candidates of all calls, and where each call's begin and end.
    candidates: Vec<u32>,
    ranges: Vec<(u32, u32)>,
    /// The same of those that are likely at all, with what speaks for them whatever else the requests do.
    likely: Vec<(u32, f64)>,
    first_likely: Vec<u32>,
    /// From the first to the last stamp, in nanoseconds.
    pub span_ns: f64,
}

/// The end of a request that is open. Stamps are below it, so that differences can't overflow.
pub(super) const OPEN: i64 = i64::MAX / 2;

fn signed(ns: u64) -> i64 {
    i64::try_from(ns).unwrap_or(OPEN).min(OPEN - 1)
}

impl Problem {
    /// Reads a window; the model gets to know its routes.
    pub(super) fn new(window: &Window<'_>, model: &mut Model, counts: &mut Counts) -> Self {
        let request = |request: &Request, model: &mut Model| Req {
            start: signed(request.start_ns),
            end: request.end_ns.map_or(OPEN, signed),
            route: model.inbound.id(request.route),
            whole: request.whole,
            thread: request.thread,
        };
        let mut problem = Self::default();
        problem.reqs.extend(window.requests.iter().map(|r| request(r, model)));
        for (call, id) in window.calls.iter().zip(0..) {
            let Call { start_ns, end_ns, route, thread, last, owner, barred } = *call;
            let route = model.outbound.id(route);
            problem.kids.push(Kid { start: signed(start_ns), end: signed(end_ns), id, route });
            problem.threads.push(thread);
            problem.last.push(last);
            problem.barred.push(barred);
            problem.known.push(match owner {
                Owner::Request(request) if request as usize >= problem.reqs.len() => Owner::Unknown,
                owner => owner,
            });
        }
        problem.find_candidates(counts);
        let start = problem.kids.iter().map(|kid| kid.start).min().unwrap_or(0);
        let end = problem.kids.iter().map(|kid| kid.start).max().unwrap_or(0);
        problem.span_ns = ((end - start) as f64).max(1.0);
        problem
    }

    /// Goes through requests and calls in the order of their starts, with the requests that are open.
    fn find_candidates(&mut self, counts: &mut Counts) {
        let mut by_start: Vec<u32> = (0..self.reqs.len() as u32).collect();
        by_start.sort_by_key(|id| self.reqs.get(*id as usize).map(|req| req.start));
        self.order = (0..self.kids.len() as u32).collect();
        self.order.sort_by_key(|id| self.kids.get(*id as usize).map(|kid| (kid.start, kid.id)));
        let mut waiting = by_start.into_iter().peekable();
        let mut open: Vec<u32> = Vec::new();
        let mut candidates: Vec<u32> = Vec::new();
        self.ranges.resize(self.kids.len(), (0, 0));
        let mut crowd_at = 64;
        for id in &self.order {
            let Some(kid) = self.kids.get(*id as usize).copied() else { continue };
            while let Some(req) = waiting.next_if(|r| self.reqs.get(*r as usize).is_some_and(|r| r.start <= kid.start))
            {
                open.push(req);
            }
            if open.len() > crowd_at {
                open.retain(|r| self.req(*r).is_some_and(|req| req.end >= kid.start));
                crowd_at = 2 * open.len().max(32);
            }
            let before = candidates.len();
            for req in open.iter().rev() {
                if self.may_own(*req, &kid) {
                    if candidates.len() - before == OPEN_MAX {
                        counts.crowded += 1;
                        break;
                    }
                    candidates.push(*req);
                }
            }
            candidates[before..].sort_unstable();
            self.ranges[*id as usize] = (before as u32, candidates.len() as u32);
        }
        self.candidates = candidates;
    }

    /// A request by its number.
    pub(super) fn req(&self, id: u32) -> Option<&Req> {
        self.reqs.get(id as usize)
    }

    /// A call by its number.
    pub(super) fn kid(&self, id: u32) -> Option<&Kid> {
        self.kids.get(id as usize)
    }

    /// The requests that a call may belong to.
    pub(super) fn candidates(&self, call: u32) -> &[u32] {
        let (from, to) = self.ranges.get(call as usize).copied().unwrap_or_default();
        self.candidates.get(from as usize..to as usize).unwrap_or(&[])
    }

    /// Leaves out, from now on, candidates of free calls that are less likely than the best by more than [`LIKELY_REACH`] by the gaps
    /// from the request's start and to its end, whatever else it does.
    pub(super) fn narrow(&mut self, model: &Model) {
        let (mut likely, mut first_likely) = (std::mem::take(&mut self.likely), std::mem::take(&mut self.first_likely));
        likely.clear();
        first_likely.clear();
        let reach = if model.is_thorough { f64::INFINITY } else { LIKELY_REACH };
        let mut worths: Vec<f64> = Vec::new();
        for kid in &self.kids {
            let from = likely.len();
            first_likely.push(from as u32);
            if !self.is_free(kid.id) {
                continue;
            }
            worths.clear();
            for req_id in self.candidates(kid.id) {
                let Some(req) = self.req(*req_id) else { continue };
                let Some(pair) = model.route(req.route).map(|route| route.pair(kid.route)) else { continue };
                let end = if req.end == OPEN { 0.0 } else { model.log_tail(pair, req.end - kid.end) };
                let steady = end + model.log_signals(self, *req_id, kid.id);
                worths.push(steady + model.log_since(pair, kid.start - req.start));
                likely.push((*req_id, steady));
            }
            let best = worths.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let mut kept = from;
            for (at, worth) in (from..).zip(&worths) {
                if *worth >= best - reach {
                    likely[kept] = likely[at];
                    kept += 1;
                }
            }
            likely.truncate(kept);
        }
        first_likely.push(likely.len() as u32);
        (self.likely, self.first_likely) = (likely, first_likely);
    }

    /// The candidates of a call that are likely, with the part of their likelihood that stays.
    pub(super) fn likely(&self, call: u32) -> &[(u32, f64)] {
        let at = |index: usize| self.first_likely.get(index).map_or(0, |first| *first as usize);
        self.likely.get(at(call as usize)..at(call as usize + 1)).unwrap_or(&[])
    }

    /// Whether nothing rules out that the call belongs to the request.
    pub(super) fn may_own(&self, req: u32, kid: &Kid) -> bool {
        let open = self.req(req).is_some_and(|req| req.start <= kid.start && kid.start <= req.end);
        open && self.barred.get(kid.id as usize).is_none_or(|barred| *barred != Some(req))
    }

    /// Whether the solver may choose the owner of a call.
    pub(super) fn is_free(&self, call: u32) -> bool {
        matches!(self.known.get(call as usize), Some(Owner::Unknown))
    }

    /// Takes the owner of a free call as known from now on.
    pub(super) fn settle(&mut self, call: u32, owner: u32) {
        if let Some(known) = self.known.get_mut(call as usize) {
            *known = Owner::Request(owner);
            self.settled.resize(self.kids.len(), false);
            if let Some(settled) = self.settled.get_mut(call as usize) {
                *settled = true;
            }
        }
    }

    /// Whether the owner of a call was asked for.
    pub(super) fn was_free(&self, call: u32) -> bool {
        self.is_free(call) || self.settled.get(call as usize) == Some(&true)
    }

    /// Whether a signal points from a call to a request; `None` if that is not known.
    pub(super) fn points(&self, signal: Signal, req: u32, call: u32) -> Option<bool> {
        match signal {
            Signal::Thread => Some(self.req(req)?.thread? == (*self.threads.get(call as usize)?)?),
            Signal::Last => Some(req == (*self.last.get(call as usize)?)?),
        }
    }
}
