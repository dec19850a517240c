//! What a process's model is learned from: its quietest moments, where there is least to confuse.

use super::{
    Counts,
    infer::{Call, Model, Request, Window},
    window::View,
};

/// Calls that a model is learned from, at most.
pub const LEARNED_MAX: usize = 6144;
/// Consecutive calls that are taken together.
const STRETCH: usize = 512;
/// Between stretches there is this much, in nanoseconds; and stretches are moved by multiples of it.
const PAUSE_NS: u64 = 1_000_000;

/// Learns the model from the stretches in which fewest requests are open.
pub(super) fn learn(view: &View<'_>, model: &mut Model, seed: u64, counts: &mut Counts) {
    let calls = view.group.calls.len();
    let stretch = if calls <= LEARNED_MAX { calls } else { STRETCH };
    let mut stretches = stretches(view, stretch);
    stretches.sort_by(|a, b| a.open.total_cmp(&b.open));
    stretches.truncate((LEARNED_MAX / stretch).max(1));
    stretches.sort_by_key(|stretch| stretch.calls.0);
    let (mut requests, mut learned): (Vec<Request>, Vec<Call>) = (Vec::new(), Vec::new());
    // They are put one after the other, as if nothing had been in between.
    let mut now_ns = PAUSE_NS;
    for stretch in &stretches {
        let begin_ns = stretch.begin_ns / PAUSE_NS * PAUSE_NS;
        let moved = |ns: u64| (now_ns + ns).saturating_sub(begin_ns);
        let first = requests.len() as u32;
        let mut end_ns = now_ns;
        let mut places = rustc_hash::FxHashMap::default();
        for at in stretch.requests.0..stretch.requests.1 {
            let Some(request) = view.request(at) else { continue };
            let request_end_ns = request.end_ns.unwrap_or(u64::MAX);
            if request_end_ns < stretch.begin_ns {
                continue;
            }
            let whole = request.start_ns >= stretch.begin_ns && request_end_ns <= stretch.end_ns;
            places.insert(view.group.requests.get(at).copied(), first + places.len() as u32);
            requests.push(Request {
                start_ns: moved(request.start_ns),
                end_ns: request.end_ns.map(moved),
                whole,
                ..request
            });
            end_ns = end_ns.max(moved(request_end_ns));
        }
        for at in stretch.calls.0..stretch.calls.1 {
            let Some(call) = view.call(at) else { continue };
            let barred = view.other_end(at).and_then(|other| places.get(&Some(other))).copied();
            learned.push(Call { start_ns: moved(call.start_ns), end_ns: moved(call.end_ns), barred, ..call });
            end_ns = end_ns.max(moved(call.end_ns));
        }
        now_ns = (end_ns / PAUSE_NS + 2) * PAUSE_NS;
    }
    model.learn(&Window { requests: &requests, calls: &learned }, seed, &mut counts.inference);
}

/// Consecutive calls, and the requests that may own them.
struct Stretch {
    calls: (usize, usize),
    requests: (usize, usize),
    begin_ns: u64,
    end_ns: u64,
    /// How many requests are open when a call begins, on average.
    open: f64,
}

fn stretches(view: &View<'_>, length: usize) -> Vec<Stretch> {
    let calls = view.group.calls.len();
    let start = |at: usize| view.call(at).map_or(u64::MAX, |call| call.start_ns);
    let mut found = Vec::new();
    let (mut next_request, mut oldest) = (0, 0);
    let mut open: Vec<(usize, u64)> = Vec::new();
    let mut from = 0;
    while from < calls {
        let to = (from + length).min(calls);
        let end_ns = if to == calls { u64::MAX } else { start(to) };
        let begin_ns = if from == 0 { 0 } else { start(from) };
        open.retain(|(_, end_ns)| *end_ns >= start(from));
        oldest = open.first().map_or(next_request.max(oldest), |(at, _)| *at);
        let mut sum = 0.0;
        let mut retain_at = 64;
        for at in from..to {
            let now_ns = start(at);
            while let Some(request) = view.request(next_request).filter(|request| request.start_ns <= now_ns) {
                open.push((next_request, request.end_ns.unwrap_or(u64::MAX)));
                next_request += 1;
            }
            if open.len() > retain_at {
                open.retain(|(_, end_ns)| *end_ns >= now_ns);
                retain_at = 2 * open.len().max(32);
            }
            sum += open.len() as f64;
        }
        let begin_ns =
            if from == 0 { start(0).min(view.request(0).map_or(u64::MAX, |r| r.start_ns)) } else { begin_ns };
        found.push(Stretch {
            calls: (from, to),
            requests: (oldest, next_request),
            begin_ns,
            end_ns,
            open: sum / (to - from) as f64,
        });
        from = to;
    }
    found
}
