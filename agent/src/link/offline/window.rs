//! A process's spans in windows, so that memory does not grow with them: each window is solved together with the calls
//! after it that its requests may still make, and what was found of the calls before it is taken as known.

use rustc_hash::FxHashMap;

use super::{
    Counts, Exchanges, Spans,
    group::Group,
    infer::{Call, Model, Owner, Request, Verdict, Window},
    process::Routes,
};

/// Calls of a window.
pub const WINDOW_MAX: usize = 8192;
/// Calls after it that are solved with it, at most.
pub const OVERLAP_MAX: usize = 2048;

/// One process.
#[derive(Clone, Copy, Debug)]
pub(super) struct View<'a> {
    pub spans: &'a Spans<'a>,
    pub exchanges: &'a Exchanges,
    pub group: &'a Group,
    pub routes: &'a Routes,
}

impl View<'_> {
    /// A request, by its place in the group.
    pub(super) fn request(&self, at: usize) -> Option<Request> {
        let span = self.spans.all.get(*self.group.requests.get(at)? as usize)?;
        let route = self.routes.requests.get(at).copied().unwrap_or(0);
        let (start_ns, end_ns, thread) = (span.start_ns, Some(span.end_ns), span.thread);
        Some(Request { start_ns, end_ns, route, thread, whole: true })
    }

    /// A call, by its place in the group; `barred` is left to those who number requests.
    pub(super) fn call(&self, at: usize) -> Option<Call> {
        let span = self.spans.all.get(*self.group.calls.get(at)? as usize)?;
        let route = self.routes.calls.get(at).copied().unwrap_or(0);
        Some(Call { start_ns: span.start_ns, end_ns: span.end_ns, route, thread: span.thread, ..Call::default() })
    }

    /// The span at the other end of a call, if it is a request of this process itself.
    pub(super) fn other_end(&self, at: usize) -> Option<u32> {
        let call = *self.group.calls.get(at)?;
        let other = self.exchanges.of(call)?;
        let process = |span: u32| self.spans.all.get(span as usize).map(|span| span.process);
        (process(other) == process(call)).then_some(other)
    }

    fn call_start(&self, at: usize) -> u64 {
        self.call(at).map_or(u64::MAX, |call| call.start_ns)
    }
}

/// Solves all windows, and tells of each call once: its span, what was found out, with requests by their place in the
/// group.
pub(super) fn solve(
    view: &View<'_>,
    model: &mut Model,
    seed: u64,
    counts: &mut Counts,
    mut tell: impl FnMut(u32, &Verdict, &mut Counts),
) {
    let calls = view.group.calls.len();
    // Requests that began before the window's end and may be open in it, and the calls that they are known to have made.
    let mut open: Vec<usize> = Vec::new();
    let mut made: FxHashMap<usize, Vec<usize>> = FxHashMap::default();
    let (mut next_request, mut from) = (0, 0);
    while from < calls {
        let to = (from + WINDOW_MAX).min(calls);
        let begin = view.call_start(from);
        open.retain(|at| view.request(*at).and_then(|request| request.end_ns).is_some_and(|end_ns| end_ns >= begin));
        let mut admit = |upto: u64, open: &mut Vec<usize>| {
            while let Some(request) = view.request(next_request).filter(|request| request.start_ns <= upto) {
                if request.end_ns.is_some_and(|end_ns| end_ns >= begin) {
                    open.push(next_request);
                }
                next_request += 1;
            }
        };
        admit(view.call_start(to - 1), &mut open);
        let busy_until = open.iter().filter_map(|at| view.request(*at)?.end_ns).max().unwrap_or(0);
        let mut beyond = to;
        while beyond < calls && beyond - to < OVERLAP_MAX && view.call_start(beyond) <= busy_until {
            beyond += 1;
        }
        admit(view.call_start(beyond - 1), &mut open);
        made.retain(|at, _| open.binary_search(at).is_ok());

        let end = if beyond == calls { u64::MAX } else { view.call_start(beyond - 1) };
        let requests: Vec<Request> = open
            .iter()
            .filter_map(|at| view.request(*at))
            .map(|request| Request { whole: request.end_ns.is_some_and(|end_ns| end_ns < end), ..request })
            .collect();
        let mut window_calls: Vec<Call> = Vec::with_capacity(beyond - from);
        let places: FxHashMap<u32, u32> = if (from..beyond).any(|at| view.other_end(at).is_some()) {
            open.iter().zip(0..).filter_map(|(at, place)| Some((*view.group.requests.get(*at)?, place))).collect()
        } else {
            FxHashMap::default()
        };
        for at in from..beyond {
            let barred = view.other_end(at).and_then(|other| places.get(&other)).copied();
            window_calls.extend(view.call(at).map(|call| Call { barred, ..call }));
        }
        for (place, at) in (0..).zip(&open) {
            for call in made.get(at).into_iter().flatten() {
                let owner = Owner::Request(place);
                window_calls.extend(view.call(*call).map(|call| Call { owner, ..call }));
            }
        }
        let window = Window { requests: &requests, calls: &window_calls };
        let verdicts = model.solve(&window, seed ^ from as u64, &mut counts.inference);
        for (at, verdict) in (from..to).zip(&verdicts) {
            let place = |request: u32| open.get(request as usize).map(|at| *at as u32);
            let request = verdict.request.and_then(place);
            let runner_up = verdict.runner_up.and_then(|(request, confidence)| Some((place(request)?, confidence)));
            if let Some(request) = request {
                made.entry(request as usize).or_default().push(at);
            }
            if let Some(span) = view.group.calls.get(at) {
                tell(*span, &Verdict { request, runner_up, ..*verdict }, counts);
            }
        }
        from = to;
    }
}
