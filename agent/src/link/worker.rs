//! Which request a thread is at that got it from another thread: the method `handoff`.
//!
//! In many servers one thread reads all requests and hands each, through a queue, to one of many *workers*, which work on it and
//! send its answer. A worker whose calls block it is at one request at a time: what it called since its last answer, it
//! called for the request that it answers next, if that had been read by then. Who takes what out of the queue need not be seen.
//!
//! That calls block their threads is observed, not assumed: a thread that does something else on connections of this
//! kind before its call's answer was read is an event loop's or a runtime's, and so is a call whose answer another thread
//! reads. Nothing is claimed in a process in which that happens to one call in [`SHARE`], among those made while several
//! requests were open; nor where workers call for something else, which shows when the next request was read after the call.
//!
//! A thread that a worker makes while it is at a request, a *helper*, calls for that request as well: also where `thread` tells which
//! one it is, for there the helper's maker is the thread that read it. A helper that is kept for later requests belongs to
//! a pool, and may call for anybody: they are believed in a process once [`HELPED_MIN`] calls showed that they end with their
//! request, and one in [`SHARE`] may not.
//!
//! A call waits for its worker's next answer, at most [`super::task::TASK_WAIT_NS`]. Whether it does is decided when it ends, by
//! what was known then, so that it does not matter how much more has been seen when it is asked for.

use super::{Key, node::Node, record::Record, task::TASK_WAIT_NS, waiting::Waiting};
use rustc_hash::FxHashMap;
use std::collections::VecDeque;

/// Confidence of the method `handoff`. What is left is work that a busy worker did for nobody, between two requests.
pub const HANDOFF_CONFIDENCE: f64 = 0.97;
/// Calls that must have blocked their threads before it is believed that they do.
const BLOCKING_MIN: u32 = 30;
/// Calls of helpers that must have been made while their maker was at the same request, before helpers are believed.
const HELPED_MIN: u32 = 20;
/// One in so many may be an exception.
const SHARE: u32 = 200;
/// Threads of one process, and calls whose request is known; past it, all are forgotten.
const THREADS_MAX: usize = 4096;
const TOLD_MAX: usize = 16_384;
/// Threads whose making is remembered, and those of one maker and request.
const MADE_MAX: usize = 2048;
const HELPERS_MAX: usize = 256;
/// Calls of one thread for one request that are remembered.
const CALLS_MAX: usize = 256;

/// A call that a worker made since its last answer.
#[derive(Clone, Copy, Debug)]
struct Made {
    call: Key,
    /// Requests with lower serials had been read.
    read: u64,
    /// Several requests were open.
    is_crowded: bool,
    /// Until when its worker's answer is waited for, 0 if it is not.
    until_ns: u64,
}

/// Who made a thread, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Maker {
    pub(super) tid: u32,
    pub(super) at_ns: u64,
}

/// What a thread was seen to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Role {
    #[default]
    Unknown,
    /// Nothing, since it was made.
    New,
    /// It read requests.
    Reads,
    /// It answered requests.
    Answers,
}

/// A thread.
#[derive(Debug, Default)]
struct Worker {
    role: Role,
    /// Who made it, if that one is at the same request still.
    maker: Option<Maker>,
    /// Whom it made since its last answer.
    helpers: Vec<u32>,
    /// Calls that it made when its maker was at something else.
    strays: u32,
    calls: Vec<Made>,
    /// The last of them has no answer yet.
    waits: bool,
    /// The thread did something else meanwhile.
    is_mixed: bool,
}

/// The threads of a process.
#[derive(Debug, Default)]
pub(super) struct Workers {
    threads: FxHashMap<u32, Worker>,
    told: FxHashMap<Key, Key>,
    /// Whose helper made a call.
    helped: FxHashMap<Key, Maker>,
    /// Threads in the order in which they were made.
    made: VecDeque<u32>,
    /// Calls that wait for an answer of their thread.
    waiting: Waiting<u32, THREADS_MAX>,
    /// Whether a call blocks its thread.
    blocking: Record,
    /// Whether the request that a thread answers next was read before its call.
    inside: Record,
    /// Whether the maker of a helper is at the same request when that one's call is over.
    inner: Record,
}

impl Workers {
    /// A thread makes another one.
    pub(super) fn made(&mut self, tid: u32, made: u32, at_ns: u64) {
        if self.made.len() >= MADE_MAX
            && let Some(oldest) = self.made.pop_front()
            && self.threads.get(&oldest).is_some_and(|worker| worker.role == Role::New)
        {
            self.threads.remove(&oldest);
        }
        self.made.push_back(made);
        // What a helper makes helps the same worker.
        let by = self.threads.get(&tid).and_then(|worker| worker.maker).map_or(tid, |maker| maker.tid);
        let helpers = &mut self.thread(by).helpers;
        let has_room = helpers.len() < HELPERS_MAX;
        if has_room {
            helpers.push(made);
        }
        let maker = Some(Maker { tid: by, at_ns }).filter(|_| has_room);
        *self.thread(made) = Worker { role: Role::New, maker, ..Worker::default() };
    }

    fn thread(&mut self, tid: u32) -> &mut Worker {
        if self.threads.len() >= THREADS_MAX && !self.threads.contains_key(&tid) {
            self.threads.clear();
        }
        self.threads.entry(tid).or_default()
    }

    /// A thread is at its request no more: takes the calls that its helpers made.
    fn dismiss(&mut self, tid: u32) -> Vec<Made> {
        let helpers = self.threads.get_mut(&tid).map(|worker| std::mem::take(&mut worker.helpers)).unwrap_or_default();
        let mut calls = Vec::new();
        for helper in helpers {
            if let Some(worker) = self.threads.get_mut(&helper)
                && worker.maker.is_some_and(|maker| maker.tid == tid)
            {
                worker.maker = None;
                worker.waits = false;
                calls.append(&mut worker.calls);
            }
        }
        calls
    }

    /// A thread does something on a connection.
    pub(super) fn does(&mut self, tid: u32, conn: u64) {
        if let Some(worker) = self.threads.get_mut(&tid).filter(|worker| worker.waits) {
            worker.is_mixed |= worker.calls.last().is_some_and(|made| made.call.conn != conn);
        }
    }

    /// A thread reads a request: what it called before was not for this one.
    pub(super) fn read(&mut self, tid: u32, request: Key) {
        self.does(tid, request.conn);
        self.dismiss(tid);
        let worker = self.thread(tid);
        worker.maker = None;
        if worker.role != Role::Answers {
            worker.role = Role::Reads;
        }
        worker.waits = false;
        let (left, strays) = (worker.calls.len(), std::mem::take(&mut worker.strays));
        worker.calls.clear();
        self.inner.forgive(strays);
        (0..left).for_each(|_| self.inside.note(false));
    }

    /// A thread makes a call. Requests with serials below `read` have been read; `is_crowded` says whether several of them are open.
    pub(super) fn sent(&mut self, tid: u32, call: Key, read: u64, is_crowded: bool) {
        let trusts_helpers = self.trusts_helpers();
        let worker = self.thread(tid);
        let maker = worker.maker;
        let is_stray = worker.role == Role::New && maker.is_none();
        worker.strays += u32::from(is_stray);
        let left = if worker.waits { worker.calls.pop() } else { None };
        if worker.calls.len() >= CALLS_MAX {
            worker.calls.remove(0);
        }
        worker.calls.push(Made { call, read, is_crowded, until_ns: 0 });
        (worker.waits, worker.is_mixed) = (true, false);
        if left.is_some_and(|left| left.is_crowded) {
            self.blocking.note(false);
        }
        if is_stray {
            self.inner.note(false);
        }
        if let Some(maker) = maker.filter(|_| trusts_helpers) {
            if self.helped.len() >= TOLD_MAX {
                self.helped.clear();
            }
            self.helped.insert(call, maker);
        }
    }

    /// A call of a thread is over: `reader` read the last of its answer, 0 if it has none.
    pub(super) fn learned(&mut self, tid: u32, call: Key, reader: u32, at_ns: u64) {
        let is_trusted = self.is_trusted();
        let of_helper = self.helped.get(&call).and_then(|maker| self.threads.get(&maker.tid));
        let is_helping = of_helper.is_some_and(Worker::answers);
        let Some(worker) = self.threads.get_mut(&tid).filter(|worker| worker.waits) else { return };
        let answers = worker.answers();
        let Some(made) = worker.calls.last_mut().filter(|made| made.call == call) else { return };
        worker.waits = false;
        let is_crowded = made.is_crowded;
        if (answers || is_helping) && is_crowded && is_trusted {
            made.until_ns = at_ns.saturating_add(TASK_WAIT_NS);
        }
        let is_blocking = !worker.is_mixed && (reader == tid || reader == 0);
        if !is_blocking {
            worker.calls.pop();
        }
        if answers && is_crowded && reader != 0 {
            self.blocking.note(is_blocking);
        }
    }

    /// A thread answers a request of this serial, if that is known.
    pub(super) fn answered(&mut self, tid: u32, request: Key, serial: Option<u64>, at_ns: u64) {
        self.does(tid, request.conn);
        let helped = self.dismiss(tid);
        let worker = self.thread(tid);
        (worker.role, worker.maker) = (Role::Answers, None);
        let is_late = std::mem::take(&mut worker.waits);
        let (calls, strays) = (std::mem::take(&mut worker.calls), std::mem::take(&mut worker.strays));
        // A worker that was made lately, and no helper.
        self.inner.forgive(strays);
        let Some(serial) = serial else { return };
        if self.told.len() >= TOLD_MAX {
            self.told.clear();
        }
        for (calls, record, is_late) in [(helped, &mut self.inner, false), (calls, &mut self.inside, is_late)] {
            for made in calls {
                let is_its_own = serial < made.read && !is_late;
                record.note(is_its_own);
                if is_its_own && at_ns <= made.until_ns {
                    self.told.insert(made.call, request);
                }
            }
        }
    }

    /// The request that a call was made for, if that is believed.
    pub(super) fn told(&self, call: &Key) -> Option<Key> {
        self.told.get(call).copied()
    }

    /// Who made the thread that made a call, if that one is at what it was at then, and that is believed.
    pub(super) fn maker(&self, call: &Key) -> Option<Maker> {
        self.helped.get(call).copied()
    }

    /// Another method tells of another request.
    pub(super) fn denied(&mut self) {
        self.blocking.note(false);
    }

    /// When to ask again whose a call is, if that may be known later.
    pub(super) fn wait(&mut self, client: &Node, now_ns: u64) -> Option<u64> {
        let worker = self.threads.get(&client.tid)?;
        let until_ns = worker.calls.iter().find(|made| made.call == client.key)?.until_ns;
        let tid = worker.maker.map_or(client.tid, |maker| maker.tid);
        (now_ns < until_ns).then(|| self.waiting.wait(client.key, [tid], now_ns, until_ns))
    }

    /// The calls that waited for an answer of a thread, each with when it was to be asked for again.
    pub(super) fn woken(&mut self, tid: u32) -> Vec<(u64, Key)> {
        self.waiting.take(&tid)
    }

    /// Nobody will ask for this call again.
    pub(super) fn decided(&mut self, call: &Key) {
        self.told.remove(call);
        self.helped.remove(call);
    }

    /// What the threads are at is not known any more: events were lost.
    pub(super) fn forget(self) -> Self {
        let threads = self.threads.into_iter().filter(|(_, worker)| worker.answers());
        let threads = threads.map(|(tid, _)| (tid, Worker { role: Role::Answers, ..Worker::default() })).collect();
        Self { threads, made: VecDeque::new(), ..self }
    }

    fn trusts_helpers(&self) -> bool {
        self.inner.holds(HELPED_MIN, SHARE)
    }

    fn is_trusted(&self) -> bool {
        self.blocking.holds(BLOCKING_MIN, SHARE) && self.inside.holds(0, SHARE)
    }
}

impl Worker {
    fn answers(&self) -> bool {
        self.role == Role::Answers
    }
}

#[cfg(test)]
mod tests;
