//! What a program is at, told by the order of what its threads read and send: the method `turn`.
//!
//! A request is *idle* while it is open and waits for nothing that is seen: it was just read, or the answer to the last of its
//! calls was. An event loop serves one ready socket at a time, and goes on until what it serves waits again. So where no
//! other request is idle, a call belongs to the request whose message the thread read last, or to the only idle one. An answer may
//! come in parts: its request may act on the first one, and once the thread reads something else, it waits for the rest.
//!
//! What is not seen (timers, other threads, a queue, other protocols) keeps a request idle for as long as it lasts, and
//! nothing is claimed meanwhile: then the call could be that request's. Each such call is a *doubt*: what the requests of that
//! time wait for is not known any more, and nothing is claimed until all of them are answered, unless doubts are as rare
//! in this program as [`DOUBTS_SHARE`] says. Whether the one that opens a connection is the one that uses it is observed
//! likewise.
//!
//! Steps are gone through in the order of their stamps once everything before a time has been seen, so that it does not
//! matter which ring told of them first.

use super::{Key, record::Record, worker::Workers};
use rustc_hash::FxHashMap;
use std::collections::{BTreeMap, BTreeSet};

/// Confidence of the method `turn`.
pub const TURN_CONFIDENCE: f64 = 0.97;
/// One doubt in so many calls, and a program is trusted after a doubt as well.
pub const DOUBTS_SHARE: u32 = 200;
/// Calls that a program must have made for that.
pub const TRUST_MIN: u32 = 200;
/// Connections that must have been used by the request that opened them, before that is relied on; and one in so many may be
/// an exception.
const CONNECTS_MIN: u32 = 20;
const CONNECTS_SHARE: u32 = 100;
/// How long after the thread's last step a call may follow as one of several made at once, in nanoseconds.
const TOGETHER_NS: u64 = 1_000_000;
/// How long a process is only watched from its first call on: requests from before it may be open, in nanoseconds.
const WATCHED_NS: u64 = 1_000_000_000;
/// Steps of one process that may wait for others; past it, all are forgotten.
pub const STEPS_MAX: usize = 65_536;

/// Threads of one process that are remembered; past it, all are forgotten.
const THREADS_MAX: usize = 4096;

/// Something that a thread did.
#[derive(Clone, Copy, Debug)]
pub(super) enum Did {
    /// Read the first of a request.
    Read(Key),
    /// Received bytes on this connection.
    Received(u64),
    /// Began to connect; which thread it was is not known.
    Connected(u64),
    /// Sent the first of a call.
    Sent(Key),
    /// Read the last of a call's answer, or the call was broken off.
    Learned(Key),
    /// Answered a request, or it was broken off.
    Answered(Key),
    /// The connection is over.
    Closed(u64),
    /// Made this thread.
    Made(u32),
}

impl Did {
    /// Whether only a process that makes calls does this.
    const fn is_call(self) -> bool {
        matches!(self, Self::Connected(_) | Self::Sent(_))
    }
}

#[derive(Clone, Copy, Debug)]
struct Step {
    at_ns: u64,
    tid: u32,
    did: Did,
}

/// An open request.
#[derive(Clone, Copy, Debug)]
struct Open {
    serial: u64,
    /// Calls that it waits for.
    waits: u32,
}

/// A call without an answer.
#[derive(Clone, Copy, Debug)]
struct Call {
    owner: Option<Key>,
    tid: u32,
    is_answering: bool,
}

/// A connection that no message was sent on yet.
#[derive(Clone, Copy, Debug)]
struct Opening {
    guess: Guess,
    /// Its request was idle: it may have opened it. Another one is only what the thread was at before it came to a timer.
    is_founded: bool,
    /// Its request counts as waiting.
    is_waited_for: bool,
}

/// What a thread read last, and when it last did anything.
#[derive(Clone, Copy, Debug, Default)]
struct Thread {
    at: Option<Key>,
    /// The call of which that was a part of the answer.
    answering: Option<Key>,
    last_ns: u64,
}

/// Whose a call is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Guess {
    pub request: Option<Key>,
    pub is_sure: bool,
}

/// What a process is at. See the [module](self).
#[derive(Debug, Default)]
pub(super) struct Turns {
    /// The process makes calls. What it does before the first one tells nothing: a server that calls nobody costs nothing.
    is_on: bool,
    /// It may be: there is a call among the steps.
    may_be_on: bool,
    steps: Vec<Step>,
    requests: FxHashMap<Key, Open>,
    /// Open requests by their serials.
    serials: BTreeMap<u64, Key>,
    idle: BTreeSet<Key>,
    calls: FxHashMap<Key, Call>,
    /// Exchanges that are open on connections, requests and calls.
    on: FxHashMap<u64, Vec<u64>>,
    opening: FxHashMap<u64, Opening>,
    threads: FxHashMap<u32, Thread>,
    last_tid: u32,
    told: FxHashMap<Key, Guess>,
    /// What its threads are at, each by itself.
    pub(super) workers: Workers,
    next_serial: u64,
    /// What requests with lower serials wait for is not known.
    clear_from: u64,
    watched_until_ns: u64,
    /// Whether a call's request is plain.
    plain: Record,
    /// Whether a connection is used by the request that opened it.
    used: Record,
}

impl Turns {
    /// A thread did something. Says whether there is something to go through that there was not before.
    pub(super) fn step(&mut self, at_ns: u64, tid: u32, did: Did) -> bool {
        if self.steps.len() >= STEPS_MAX {
            self.forget(at_ns);
        }
        self.may_be_on |= did.is_call();
        self.steps.push(Step { at_ns, tid, did });
        self.steps.len() == 1
    }

    /// What is known is no more so: events were lost, or the program is another one.
    pub(super) fn forget(&mut self, at_ns: u64) {
        let told = std::mem::take(&mut self.told);
        let workers = std::mem::take(&mut self.workers).forget();
        let watched_until_ns = at_ns.saturating_add(WATCHED_NS);
        *self = Self { is_on: self.is_on, may_be_on: self.is_on, told, workers, watched_until_ns, ..Self::default() };
    }

    /// Goes through the steps before a time; all of them are known. Says whether any are left.
    pub(super) fn advance(&mut self, now_ns: u64) -> bool {
        if !self.may_be_on {
            self.steps.retain(|step| step.at_ns >= now_ns);
            return !self.steps.is_empty();
        }
        let mut steps = std::mem::take(&mut self.steps);
        // Steps of one time stay in the order in which they were told.
        steps.sort_by_key(|step| step.at_ns);
        let due = steps.partition_point(|step| step.at_ns < now_ns);
        for step in steps.drain(..due) {
            self.take(step);
        }
        self.steps = steps;
        !self.steps.is_empty()
    }

    /// Whether nothing waits to be gone through.
    pub(super) fn is_idle(&self) -> bool {
        self.steps.is_empty() && self.requests.is_empty() && self.calls.is_empty()
    }

    /// Whose a call is, as far as that was found out.
    pub(super) fn told(&self, call: &Key) -> Guess {
        self.told.get(call).copied().unwrap_or_default()
    }

    /// Nobody will ask for this call again.
    pub(super) fn decided(&mut self, call: &Key) {
        self.told.remove(call);
        self.workers.decided(call);
    }

    fn take(&mut self, Step { at_ns, tid, did }: Step) {
        if !self.is_on {
            if !did.is_call() {
                return;
            }
            self.is_on = true;
            self.watched_until_ns = self.watched_until_ns.max(at_ns.saturating_add(WATCHED_NS));
        }
        match did {
            Did::Read(key) => {
                self.workers.read(tid, key);
                self.requests.insert(key, Open { serial: self.next_serial, waits: 0 });
                self.serials.insert(self.next_serial, key);
                self.next_serial += 1;
                self.idle.insert(key);
                self.on.entry(key.conn).or_default().push(key.ordinal);
                self.leave(tid);
                self.note(tid, at_ns, Some(key), None);
            }
            Did::Received(conn) => {
                if self.on.contains_key(&conn) {
                    self.workers.does(tid, conn);
                }
                self.leave(tid);
                let (at, answering) = self.received(conn);
                self.note(tid, at_ns, at, answering);
            }
            Did::Connected(conn) => {
                let guess = self.guess(self.last_tid, at_ns);
                let is_founded = guess.request.is_some_and(|key| self.idle.contains(&key));
                let is_waited_for = self.opens_for_itself();
                if is_waited_for {
                    self.wait(guess.request);
                }
                self.opening.insert(conn, Opening { guess, is_founded, is_waited_for });
            }
            Did::Sent(key) => {
                self.workers.sent(tid, key, self.next_serial, self.requests.len() > 1);
                let guess = match self.opening.remove(&key.conn) {
                    Some(opening) => self.opened(opening, tid, at_ns),
                    None => self.guess(tid, at_ns),
                };
                self.wait(guess.request);
                self.calls.insert(key, Call { owner: guess.request, tid, is_answering: false });
                self.on.entry(key.conn).or_default().push(key.ordinal);
                let thread = self.threads.entry(tid).or_default();
                thread.last_ns = at_ns;
                if guess.request.is_some() {
                    self.told.insert(key, guess);
                }
            }
            Did::Learned(key) => {
                self.off(key);
                if let Some(call) = self.calls.remove(&key) {
                    self.workers.learned(call.tid, key, tid, at_ns);
                    if !call.is_answering {
                        self.resume(call.owner);
                    }
                    if tid != 0 {
                        self.note(tid, at_ns, call.owner, None);
                    }
                }
            }
            Did::Answered(key) => {
                self.off(key);
                if tid != 0 {
                    self.workers.answered(tid, key, self.requests.get(&key).map(|open| open.serial), at_ns);
                }
                if let Some(open) = self.requests.remove(&key) {
                    self.serials.remove(&open.serial);
                    self.idle.remove(&key);
                }
            }
            Did::Made(made) => self.workers.made(tid, made, at_ns),
            Did::Closed(conn) => {
                if let Some(opening) = self.opening.remove(&conn) {
                    self.note_used(opening, false);
                    if opening.is_waited_for {
                        self.resume(opening.guess.request);
                    }
                }
            }
        }
    }

    /// A thread reads something: the request that it was at waits for the rest of an answer of which it read a part.
    fn leave(&mut self, tid: u32) {
        let answering = self.threads.get_mut(&tid).and_then(|thread| thread.answering.take());
        let call = answering.and_then(|key| self.calls.get_mut(&key)).filter(|call| call.is_answering);
        if let Some(call) = call {
            call.is_answering = false;
            let owner = call.owner;
            self.wait(owner);
        }
    }

    /// Bytes came on a connection: says which request is served now, and which call is answered.
    fn received(&mut self, conn: u64) -> (Option<Key>, Option<Key>) {
        if let Some(opening) = self.opening.remove(&conn) {
            // Another protocol, in which the other end speaks.
            if opening.is_waited_for {
                self.resume(opening.guess.request);
            }
            return (None, None);
        }
        let Some([ordinal]) = self.on.get(&conn).map(Vec::as_slice) else { return (None, None) };
        let key = Key { conn, ordinal: *ordinal };
        let Some(call) = self.calls.get_mut(&key) else { return (Some(key), None) };
        let (owner, is_first) = (call.owner, !call.is_answering);
        call.is_answering = true;
        if is_first {
            self.resume(owner);
        }
        (owner, Some(key))
    }

    /// The first message is sent on a new connection.
    fn opened(&mut self, opening: Opening, tid: u32, at_ns: u64) -> Guess {
        if opening.is_waited_for {
            self.resume(opening.guess.request);
        }
        let is_open = opening.guess.request.is_some_and(|key| self.requests.contains_key(&key));
        if self.opens_for_itself() && is_open {
            self.note_used(opening, true);
            return opening.guess;
        }
        // Whoever opened it is idle still, unless it sent elsewhere meanwhile.
        let is_used = opening.guess.request.is_some_and(|key| self.idle.contains(&key));
        if !is_used {
            if is_open {
                self.note_used(opening, false);
            }
            return Guess { is_sure: false, ..self.guess(tid, at_ns) };
        }
        self.note_used(opening, true);
        if self.opens_for_itself() {
            // Earlier doubts came from not knowing that.
            self.plain = Record::default();
        }
        let is_sure = opening.guess.is_sure && self.idle.len() == 1;
        if !is_sure {
            self.clear_from = self.next_serial;
        }
        Guess { is_sure, ..opening.guess }
    }

    /// Whether the request that opened a connection used it, if that is known.
    fn note_used(&mut self, opening: Opening, is_used: bool) {
        if opening.is_founded {
            self.used.note(is_used);
        }
    }

    fn opens_for_itself(&self) -> bool {
        self.used.holds(CONNECTS_MIN, CONNECTS_SHARE)
    }

    /// Whose a call is that a thread makes now.
    fn guess(&mut self, tid: u32, at_ns: u64) -> Guess {
        let thread = self.threads.get(&tid).copied().unwrap_or_default();
        let here = thread.at.filter(|key| self.requests.contains_key(key));
        let here_is_idle = here.is_some_and(|key| self.idle.contains(&key));
        let others = self.idle.len() - usize::from(here_is_idle);
        let together = at_ns.saturating_sub(thread.last_ns) <= TOGETHER_NS;
        self.count(others > 0 && (here.is_some() || others > 1));
        let only = || self.idle.first().copied();
        let (request, is_sure) = match (here, others) {
            (Some(here), 0) => (Some(here), here_is_idle || together),
            (None, 1) => (only(), true),
            (Some(_), 1) if !here_is_idle && !together => (only(), false),
            (Some(here), _) => (Some(here), false),
            (None, _) => (None, false),
        };
        if !is_sure {
            self.clear_from = self.next_serial;
        }
        let is_clear = self.serials.first_key_value().is_none_or(|(serial, _)| *serial >= self.clear_from);
        Guess { request, is_sure: is_sure && at_ns >= self.watched_until_ns && (is_clear || self.is_trusted()) }
    }

    fn is_trusted(&self) -> bool {
        self.plain.holds(TRUST_MIN, DOUBTS_SHARE)
    }

    /// Counts a call, where more than one request is open.
    fn count(&mut self, is_doubtful: bool) {
        if self.requests.len() > 1 {
            self.plain.note(!is_doubtful);
        }
    }

    fn note(&mut self, tid: u32, at_ns: u64, at: Option<Key>, answering: Option<Key>) {
        if self.threads.len() >= THREADS_MAX {
            self.threads.clear();
        }
        self.threads.insert(tid, Thread { at, answering, last_ns: at_ns });
        self.last_tid = tid;
    }

    fn wait(&mut self, request: Option<Key>) {
        if let Some((key, open)) = request.and_then(|key| Some((key, self.requests.get_mut(&key)?))) {
            open.waits += 1;
            self.idle.remove(&key);
        }
    }

    fn resume(&mut self, request: Option<Key>) {
        if let Some((key, open)) = request.and_then(|key| Some((key, self.requests.get_mut(&key)?))) {
            open.waits = open.waits.saturating_sub(1);
            if open.waits == 0 {
                self.idle.insert(key);
            }
        }
    }

    /// An exchange is over.
    fn off(&mut self, key: Key) {
        if let Some(open) = self.on.get_mut(&key.conn) {
            open.retain(|ordinal| *ordinal != key.ordinal);
            if open.is_empty() {
                self.on.remove(&key.conn);
            }
        }
    }
}

#[cfg(test)]
mod tests;
