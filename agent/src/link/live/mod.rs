//! Inference while programs run: calls of which nothing else tells whose they are wait for a *round*, in which they are
//! solved together with what is known of the process's other calls.
//!
//! A call is *ripe* [`RIPE_NS`] after its end; rounds come every [`ROUND_NS`]. What a round begins, solving or learning, is
//! done by a thread of its own and taken by the next round, so that the pipeline waits for nothing but a thread that took
//! longer than that (learning has [`LEARNING_NS`]); and a replay gets the same verdicts, whatever its speed. A call
//! therefore waits at most [`WAIT_MAX_NS`], less than its request is remembered ([`super::LINGER_ASKED_NS`]).
//!
//! Nothing is gathered of a process before one of its calls asks. What a process may cost is bounded by [`WORK_PER_S`];
//! calls past it stay without a parent and are counted.

mod job;
mod route;
#[cfg(test)]
mod tests;
mod window;
mod work;

use super::{
    Key,
    infer::{self, Call, Model, Request, Window},
    tally::Why,
};
pub use job::DOUBTS_TRUSTED;
use job::{Doubts, Job};
pub(super) use route::route;
use std::{
    collections::VecDeque,
    thread::{self, JoinHandle},
};
use window::{Asked, Made, Whose};
pub use work::WORK_PER_S;
pub(super) use work::Work;

/// How long after its end a call is decided at the earliest: its request, and those that it could be taken for, go on.
pub const RIPE_NS: u64 = 250_000_000;
/// From one round of a process to the next.
pub const ROUND_NS: u64 = 250_000_000;
/// The longest that a call waits for a verdict.
pub const WAIT_MAX_NS: u64 = RIPE_NS + 2 * ROUND_NS;
/// Calls after which a program's model is learned, and learned again; or so many for each request that is open at a time, if
/// that is more.
pub const LEARN_AT: [(usize, usize); 3] = [(200, 10), (600, 24), (1600, 48)];
/// How long a thread may be at learning before it is waited for, for each call that it learns from.
const LEARNING_NS_PER_CALL: u64 = 1_000_000;
/// The same at most.
pub const LEARNING_NS: u64 = 1_000_000_000;
/// Calls that are remembered of a process, and requests.
pub const REMEMBERED_MAX: usize = 4096;
/// Calls of one process that may wait for a round.
pub const WAITING_MAX: usize = 2048;
/// Calls back to which it is looked whether one is known already: it may be decided twice.
const TWICE_MAX: usize = 32;
/// How long before the oldest call that is asked for others are taken into a round.
const BEFORE_NS: u64 = 500_000_000;
/// How long a process's requests are gathered before its calls are.
const SINCE_NS: u64 = 500_000_000;

/// What is gathered of one process.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    /// Since when: one of its calls asked, and requests from before are over.
    since_ns: Option<u64>,
    /// A round will come.
    pub(super) is_scheduled: bool,
    /// The program changed while a thread was at work for it.
    is_stale: bool,
    requests: VecDeque<Asked>,
    calls: VecDeque<Made>,
    waiting: usize,
    /// Calls gathered in all.
    total: usize,
    learned: usize,
    model: Option<Model>,
    job: Option<Job>,
    /// What verdicts leave open.
    doubts: Doubts,
    /// A thread that learns, and when its model is taken.
    learning: Option<(u64, JoinHandle<Model>)>,
    seed: u64,
}

/// What came out for a call.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Found {
    pub call: Key,
    /// Its request and how sure that is; nothing where it was given up.
    pub request: Option<(Key, f64)>,
    /// Why there is no request, or why it is not sure.
    pub why: Why,
}

/// What a round did.
#[derive(Default)]
pub(super) struct Round {
    pub found: Vec<Found>,
    /// Pairs of calls and requests that are being worked on.
    pub work: u64,
    pub is_waiting: bool,
    /// Calls given up because that would have been too much work.
    pub unsolved: u64,
}

impl Gathered {
    /// Whether anything is gathered.
    pub(super) const fn is_on(&self) -> bool {
        self.since_ns.is_some()
    }

    /// A request was read.
    pub(super) fn received(&mut self, key: Key, start_ns: u64, tid: u32) {
        if self.since_ns.is_none() {
            return;
        }
        let request = Request { start_ns, thread: Some(u64::from(tid)), ..Request::default() };
        self.requests.push_back(Asked { key, request });
        if self.requests.len() > REMEMBERED_MAX {
            self.requests.pop_front();
        }
    }

    /// A request was answered.
    pub(super) fn answered(&mut self, key: Key, end_ns: u64, route: impl FnOnce() -> u32) {
        if let Some(asked) = self.requests.iter_mut().rev().find(|asked| asked.key == key) {
            asked.request.end_ns = Some(end_ns);
            asked.request.route = route();
        }
    }

    /// A call is over whose request is known, or will not be. `last` is the request that its thread was at last.
    pub(super) fn known(&mut self, key: Key, call: Call, last: Option<Key>, request: Option<Key>) {
        let is_on = self.since_ns.is_some_and(|since_ns| call.start_ns >= since_ns);
        if is_on && self.calls.iter().rev().take(TWICE_MAX).all(|made| made.key != key) {
            self.put(Made { key, call, last, whose: request.map_or(Whose::Unknown, Whose::Known) });
        }
    }

    /// A call asks for its request. Where it may not wait, says why; so for the first ones, of which no request is known.
    pub(super) fn ask(&mut self, key: Key, call: Call, last: Option<Key>) -> Result<(), Why> {
        let since_ns = *self.since_ns.get_or_insert(call.end_ns.saturating_add(SINCE_NS));
        if call.start_ns < since_ns {
            return Err(Why::Learning);
        }
        let may = self.waiting < WAITING_MAX;
        self.waiting += usize::from(may);
        self.put(Made { key, call, last, whose: if may { Whose::Waiting } else { Whose::Unknown } });
        if may { Ok(()) } else { Err(Why::Work) }
    }

    /// Whether no call waits.
    pub(super) fn is_idle(&self) -> bool {
        self.waiting == 0
    }

    /// The program is another one. Calls that wait are still told of.
    pub(super) fn forget(&mut self) {
        (self.model, self.learned, self.total, self.doubts) = (None, 0, 0, Doubts::default());
        self.is_stale = self.job.is_some();
        self.learning = None;
        self.requests.clear();
    }

    fn put(&mut self, made: Made) {
        self.total += 1;
        self.calls.push_back(made);
        if self.calls.len() > REMEMBERED_MAX
            && let Some(Made { whose: Whose::Waiting, .. }) = self.calls.pop_front()
        {
            self.waiting -= 1;
        }
    }

    /// A round at a time: takes what the last one began, and begins something. `budget` is the work that may be done.
    pub(super) fn round(&mut self, now_ns: u64, budget: u64, counts: &mut infer::Counts) -> Round {
        let mut round = Round::default();
        if let Some(job) = self.job.take() {
            self.collect(job, &mut round.found, counts);
        }
        self.learn(now_ns);
        round.is_waiting = self.learning.is_some();
        let waiting = self.calls.iter().filter(|made| made.whose == Whose::Waiting);
        let Some(oldest_ns) = waiting.map(|made| made.call.start_ns).min() else {
            self.waiting = 0;
            return round;
        };
        if self.model.is_none() {
            self.give_up(&mut round.found, u64::MAX, Why::Learning);
            return round;
        }
        round.is_waiting = true;
        let (from_ns, to_ns) = self.range(oldest_ns.saturating_sub(BEFORE_NS), now_ns);
        let (mut window, mut work) = self.window((from_ns, to_ns), now_ns, true);
        if work > budget {
            (window, work) = self.window((from_ns, to_ns), now_ns, false);
        }
        if work > budget {
            round.unsolved = self.give_up(&mut round.found, now_ns, Why::Work);
            return round;
        }
        if window.1.is_empty() {
            return round;
        }
        round.work = work;
        self.begin(window);
        round
    }

    /// Begins to learn where enough is known, and takes what was learned.
    fn learn(&mut self, now_ns: u64) {
        if let Some((_, handle)) = self.learning.take_if(|(at_ns, _)| *at_ns <= now_ns)
            && let Ok(mut learned) = handle.join()
        {
            if let Some(model) = self.model.take() {
                learned.calibration = model.calibration;
            }
            self.model = Some(learned);
        }
        let Some((all, each)) = LEARN_AT.get(self.learned) else { return };
        if self.total < *all || self.learning.is_some() {
            return;
        }
        let open = self.requests.iter().filter(|asked| asked.request.end_ns.is_none_or(|end_ns| end_ns > now_ns));
        if self.total < (open.count() * each).min(REMEMBERED_MAX) {
            return;
        }
        let ((requests, calls), _) = self.window((0, now_ns), now_ns, true);
        self.learned += 1;
        self.seed += 1;
        let seed = self.seed;
        let work = move || {
            let requests: Vec<Request> = requests.iter().map(|asked| asked.request).collect();
            let calls: Vec<Call> = calls.iter().map(|(_, call, _)| *call).collect();
            let mut model = Model::new();
            model.learn(&Window { requests: &requests, calls: &calls }, seed, &mut infer::Counts::default());
            model
        };
        let bound_ns = LEARNING_NS.min(self.total as u64 * LEARNING_NS_PER_CALL);
        self.learning = Some((now_ns.saturating_add(bound_ns), thread::spawn(work)));
    }

    /// The calls that are ripe at a time get no verdict; says how many these are.
    fn give_up(&mut self, found: &mut Vec<Found>, now_ns: u64, why: Why) -> u64 {
        let before = found.len();
        for made in self.calls.iter_mut().filter(|made| made.is_ripe(now_ns)) {
            made.whose = Whose::Unknown;
            found.push(Found { call: made.key, request: None, why });
        }
        self.waiting = self.waiting.saturating_sub(found.len() - before);
        (found.len() - before) as u64
    }
}
