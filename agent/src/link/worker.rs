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
//! A call waits for its worker's next answer, at most [`super::task::TASK_WAIT_NS`]. Whether it does is decided when it ends, by
//! what was known then, so that it does not matter how much more has been seen when it is asked for.

use super::{Key, node::Node, task::TASK_WAIT_NS};
use rustc_hash::FxHashMap;

/// Confidence of the method `handoff`. What is left is work that a busy worker did for nobody, between two requests.
pub const HANDOFF_CONFIDENCE: f64 = 0.97;
/// Calls that must have blocked their threads before it is believed that they do.
const BLOCKING_MIN: u32 = 30;
/// One in so many may be an exception.
const SHARE: u32 = 200;
/// Calls after which earlier ones count half.
const REMEMBERED: u32 = 4096;
/// Threads of one process, and calls whose request is known; past it, all are forgotten.
const THREADS_MAX: usize = 4096;
const TOLD_MAX: usize = 16_384;
/// Calls of one thread for one request that are remembered.
const CALLS_MAX: usize = 256;
/// How often a call is asked for meanwhile, in nanoseconds; it is when its worker answers, too.
const ASK_NS: u64 = 100_000_000;

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

/// A thread.
#[derive(Debug, Default)]
struct Worker {
    /// It answered a request.
    answers: bool,
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
    /// Calls that wait for an answer of their thread, each with when it is asked for again.
    waiting: FxHashMap<u32, Vec<(u64, Key)>>,
    /// Calls that blocked their thread, and others.
    blocking: u32,
    mixed: u32,
    /// Calls before which the request was read that their thread answered next, and others.
    inside: u32,
    outside: u32,
}

impl Workers {
    /// A thread does something on a connection.
    pub(super) fn does(&mut self, tid: u32, conn: u64) {
        if let Some(worker) = self.threads.get_mut(&tid).filter(|worker| worker.waits) {
            worker.is_mixed |= worker.calls.last().is_some_and(|made| made.call.conn != conn);
        }
    }

    /// A thread reads a request: what it called before was not for this one.
    pub(super) fn read(&mut self, tid: u32, request: Key) {
        self.does(tid, request.conn);
        if let Some(worker) = self.threads.get_mut(&tid) {
            self.outside = self.outside.saturating_add(worker.leave());
        }
    }

    /// A thread makes a call. Requests with serials below `read` have been read; `is_crowded` says whether several of them are open.
    pub(super) fn sent(&mut self, tid: u32, call: Key, read: u64, is_crowded: bool) {
        if self.threads.len() >= THREADS_MAX && !self.threads.contains_key(&tid) {
            self.threads.clear();
        }
        let worker = self.threads.entry(tid).or_default();
        if worker.waits {
            let left = worker.calls.pop();
            self.mixed = self.mixed.saturating_add(u32::from(left.is_some_and(|left| left.is_crowded)));
        }
        if worker.calls.len() >= CALLS_MAX {
            worker.calls.remove(0);
        }
        worker.calls.push(Made { call, read, is_crowded, until_ns: 0 });
        (worker.waits, worker.is_mixed) = (true, false);
    }

    /// A call of a thread is over: `reader` read the last of its answer, 0 if it has none.
    pub(super) fn learned(&mut self, tid: u32, call: Key, reader: u32, at_ns: u64) {
        let is_trusted = self.is_trusted();
        let Some(worker) = self.threads.get_mut(&tid).filter(|worker| worker.waits) else { return };
        let Some(made) = worker.calls.last_mut().filter(|made| made.call == call) else { return };
        worker.waits = false;
        let is_crowded = made.is_crowded;
        if worker.answers && is_crowded && is_trusted {
            made.until_ns = at_ns.saturating_add(TASK_WAIT_NS);
        }
        let is_blocking = !worker.is_mixed && (reader == tid || reader == 0);
        if !is_blocking {
            worker.calls.pop();
        }
        if worker.answers && is_crowded && reader != 0 {
            let count = if is_blocking { &mut self.blocking } else { &mut self.mixed };
            *count = count.saturating_add(1);
            if self.blocking > REMEMBERED {
                (self.blocking, self.mixed) = (self.blocking / 2, self.mixed / 2);
            }
        }
    }

    /// A thread answers a request of this serial, if that is known.
    pub(super) fn answered(&mut self, tid: u32, request: Key, serial: Option<u64>, at_ns: u64) {
        self.does(tid, request.conn);
        if self.threads.len() >= THREADS_MAX && !self.threads.contains_key(&tid) {
            self.threads.clear();
        }
        let worker = self.threads.entry(tid).or_default();
        worker.answers = true;
        let Some(serial) = serial else {
            worker.leave();
            return;
        };
        if self.told.len() >= TOLD_MAX {
            self.told.clear();
        }
        let is_late = worker.waits;
        for made in worker.calls.drain(..) {
            let is_inside = serial < made.read && !is_late;
            let count = if is_inside { &mut self.inside } else { &mut self.outside };
            *count = count.saturating_add(1);
            if is_inside && at_ns <= made.until_ns {
                self.told.insert(made.call, request);
            }
        }
        worker.waits = false;
        if self.inside > REMEMBERED {
            (self.inside, self.outside) = (self.inside / 2, self.outside / 2);
        }
    }

    /// The request that a call was made for, if that is believed.
    pub(super) fn told(&self, call: &Key) -> Option<Key> {
        self.told.get(call).copied()
    }

    /// Another method tells of another request.
    pub(super) fn denied(&mut self) {
        self.mixed = self.mixed.saturating_add(1);
    }

    /// When to ask again whose a call is, if that may be known later.
    pub(super) fn wait(&mut self, client: &Node, now_ns: u64) -> Option<u64> {
        let made = self.threads.get(&client.tid)?.calls.iter().find(|made| made.call == client.key)?;
        let until_ns = made.until_ns;
        if now_ns >= until_ns {
            return None;
        }
        if self.waiting.len() >= THREADS_MAX {
            self.waiting.clear();
        }
        let again = now_ns.saturating_add(ASK_NS).min(until_ns);
        let waiting = self.waiting.entry(client.tid).or_default();
        waiting.retain(|(at_ns, key)| *key != client.key && *at_ns > now_ns);
        waiting.push((again, client.key));
        Some(again)
    }

    /// The calls that waited for an answer of a thread, each with when it was to be asked for again.
    pub(super) fn woken(&mut self, tid: u32) -> Vec<(u64, Key)> {
        self.waiting.remove(&tid).unwrap_or_default()
    }

    /// Nobody will ask for this call again.
    pub(super) fn decided(&mut self, call: &Key) {
        self.told.remove(call);
    }

    /// What the threads are at is not known any more: events were lost.
    pub(super) fn forget(self) -> Self {
        let threads = self.threads.into_iter().filter(|(_, worker)| worker.answers);
        let threads = threads.map(|(tid, _)| (tid, Worker { answers: true, ..Worker::default() })).collect();
        Self { threads, ..self }
    }

    fn is_trusted(&self) -> bool {
        self.blocking >= BLOCKING_MIN
            && self.mixed.saturating_mul(SHARE) <= self.blocking
            && self.outside.saturating_mul(SHARE) <= self.inside
    }
}

impl Worker {
    /// Says how many calls it made, and forgets them.
    fn leave(&mut self) -> u32 {
        self.waits = false;
        let count = self.calls.len();
        self.calls.clear();
        u32::try_from(count).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests;
