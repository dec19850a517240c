//! Which request of a process a call belongs to: the evidence of goroutines, threads, values and time. It claims nothing where two
//! requests are possible, and makes no link where two methods tell of two.
//!
//! `thread` is exact only in programs that handle a request on one thread from its first byte to its last. Event loops
//! and runtimes that move tasks between threads do not, and nothing in a single call tells them apart. So a process is
//! watched: a thread that holds two requests of different connections at once is an event loop; a request that is
//! answered by another thread than the one that read it, or a call whose response another thread reads, has moved.
//! Either ends the trust in `thread` for as long as the process runs its program. And while several requests are open,
//! `thread` is believed only after [`STEADY_MIN`] calls have shown that the process stays on its threads: each was made
//! and answered on the thread of one request while others were open on other threads.
//!
//! Some calls are made for no request: health checks, timers, what is left to do after an answer. They are told by where
//! they go: a destination that a process also calls while it holds no request is not explained by requests. Then being
//! the only open request proves little, and the confidence falls below the default threshold.

use super::{
    CHILD_CONFIDENCE, Key,
    goroutine::{Child, Goroutines},
    live::Gathered,
    node::Node,
    record::Record,
    requests::{Held, Requests},
    tally::{Tally, Why},
    task::{Owner, Tasks},
    token::Claim,
    turn::{TURN_CONFIDENCE, Turns},
    worker::{HANDOFF_CONFIDENCE, Workers},
};
use crate::{conn::SocketEnd, protocol::Exchange, span::Method};
use rustc_hash::FxHashMap;
use std::collections::BTreeSet;

/// Confidence of the method `exclusive`. Only one request was open, so no other request can be the cause; what is left
/// is work that no request caused (timers, health checks) or that an already answered one left behind. Such calls are
/// rare next to those that requests make, and the threshold of 0.95 must be deserved, so it is set just above it.
pub const EXCLUSIVE_CONFIDENCE: f64 = 0.96;
/// Confidence of the method `exclusive` for a destination that the process also calls while it holds no request.
pub const UNEXPLAINED_CONFIDENCE: f64 = 0.8;
/// One call in so many, to one destination and without an open request, makes that destination unexplained.
pub const UNEXPLAINED_SHARE: u32 = 20;
/// Destinations of one process that are watched; calls to others are taken together.
pub const DESTINATIONS_MAX: usize = 64;
/// Calls that must have shown that a process stays on its threads, before `thread` is believed while several requests are
/// open. A runtime that moves tasks passes one such test by chance (about every second time at worst), so not all of
/// them.
pub const STEADY_MIN: u32 = 5;
/// How long after lost events of a process nothing is concluded from what was not seen, in nanoseconds.
const LOSS_SHADOW_NS: u64 = 1_000_000_000;

/// What is known of the requests that a process has been handling.
#[derive(Debug, Default)]
pub(super) struct Process {
    requests: Requests,
    /// Calls that are not decided yet, by their start.
    calls: BTreeSet<(u64, Key)>,
    habits: Habits,
    /// By destination, whether a call begins while a request is open; the last resort has the key `None`.
    destinations: FxHashMap<Option<SocketEnd>, Record>,
    lost_ns: Option<u64>,
    /// What it is at.
    pub(super) turns: Turns,
    /// What its goroutines are at.
    pub(super) goroutines: Goroutines,
    /// What its tasks are at.
    pub(super) tasks: Tasks,
    /// What may be inferred from.
    pub(super) gathered: Gathered,
    /// What became of its spans.
    pub(super) tally: Tally,
    /// It made a call since it was first seen.
    pub(super) makes_calls: bool,
}

#[derive(Debug, Default)]
struct Habits {
    event_loop: bool,
    moves: bool,
    steady: u32,
}

impl Habits {
    /// Whether the thread that reads a request is the one that works on it. As long as nothing is known of the process,
    /// `only_choice` decides: then `thread` claims no more than that one request was open.
    fn trusts_threads(&self, only_choice: bool) -> bool {
        !self.event_loop && !self.moves && (only_choice || self.steady >= STEADY_MIN)
    }
}

/// What the evidence says of a call.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Cause {
    /// The request that it was made for, and how sure that is.
    Request(Key, Method, f64),
    /// Nothing can be said, for this reason.
    Unknown(Why),
    /// Nothing but by statistics: several requests were open.
    Ask,
    /// It was made for a request that had been answered by then.
    Follows(Key, Method, f64),
    /// A method that should be exact names a request that was over before the call was, or another one than another method.
    Contradiction,
}

/// What goroutines tell of a call, and how sure that is.
enum ByGoroutine {
    Nothing,
    /// It was made for this request.
    Of(Held, f64),
    /// It was made after this request was answered.
    After(Held, f64),
    /// It was left over by a request that had been answered.
    Late,
    Contradiction,
}

impl Process {
    /// A request was read.
    pub(super) fn received(&mut self, server: &Node) {
        self.requests.received(server);
        self.gathered.received(server.key, server.start_ns, server.tid);
    }

    /// A request is over, on a connection that began then. Gives the calls that waited for it, each with when it was to be asked again.
    pub(super) fn answered(&mut self, server: &Node, conn_ns: u64) -> Vec<(u64, Key)> {
        self.requests.answered(server);
        if let Some(end_ns) = server.end_ns {
            self.gathered.answered(server.key, end_ns, || server.route(&()));
        }
        let mut woken = self.tasks.answered(server, conn_ns);
        woken.extend(self.turns.workers.woken(server.last_tid()));
        woken
    }

    /// Everything before the end of a request has been seen, or is not waited for any more.
    pub(super) fn due(&mut self, server: &Node) {
        self.requests.due(server, self.calls.first().map(|(start_ns, _)| *start_ns));
    }

    /// A call was begun.
    pub(super) fn called(&mut self, client: &Node) {
        self.makes_calls = true;
        self.goroutines.sent(client.key.conn, client.start_ns);
        self.tasks.called(client.key, client.start_ns);
        self.calls.insert((client.start_ns, client.key));
    }

    /// A call is decided.
    pub(super) fn decided(&mut self, client: &Node) {
        self.calls.remove(&(client.start_ns, client.key));
        self.turns.decided(&client.key);
        self.tasks.decided(client.key);
    }

    /// Events of the process were lost.
    pub(super) fn note_loss(&mut self, at_ns: u64) {
        self.lost_ns = self.lost_ns.max(Some(at_ns));
        self.turns.forget(at_ns);
    }

    /// The process runs another program.
    pub(super) fn forget_habits(&mut self, at_ns: u64) {
        self.habits = Habits::default();
        self.requests.forget_threads();
        self.turns.forget(at_ns);
        self.turns.workers = Workers::default();
        self.gathered.forget();
        self.goroutines = Goroutines::default();
        self.tasks = Tasks::default();
        self.destinations.clear();
    }

    /// Learns from a finished request how the process uses its threads. Everything before its end must have been seen.
    pub(super) fn observe_request(&mut self, server: &Node) {
        let (Some(exchange), Some(end_ns)) = (whole(server), server.end_ns) else { return };
        self.habits.moves |= !on_one_thread(exchange);
        // Once known, it stays.
        self.habits.event_loop = self.habits.event_loop || self.requests.shares_its_thread(server, end_ns);
    }

    /// Learns the same from a finished call.
    pub(super) fn observe_call(&mut self, client: &Node) {
        let Some(exchange) = whole(client) else { return };
        if !on_one_thread(exchange) {
            self.habits.moves = true;
            return;
        }
        let open = self.requests.open_at(client.start_ns, client.tid, [None; 3]);
        if open.here_count == 1 && open.count > 1 {
            self.habits.steady = self.habits.steady.saturating_add(1);
        }
    }

    /// When to ask for the cause of a call, if it may be known only later. Everything before `now_ns` has been seen.
    pub(super) fn wait(&mut self, client: &Node, now_ns: u64) -> Option<u64> {
        let Self { tasks, requests, turns, .. } = self;
        let by_task = tasks.wait(client, now_ns, |conn| requests.is_any_unanswered(conn, client.start_ns));
        by_task.or_else(|| turns.workers.wait(client, now_ns))
    }

    /// The request that a call of this process was made for. Everything before `seen_ns` has been seen; where that is not
    /// the whole call, less can be said.
    pub(super) fn cause(&mut self, client: &Node, to: Option<SocketEnd>, seen_ns: u64) -> Cause {
        let from = client.start_ns;
        let turn = self.turns.told(&client.key);
        if from < self.requests.forgotten_ns || from >= seen_ns {
            return Cause::Unknown(Why::Late);
        }
        let claim = self
            .requests
            .holders
            .claim(&client.tokens, seen_ns.min(client.end_ns.unwrap_or(seen_ns)), || client.route(&to));
        let by_worker = self.turns.workers.told(&client.key);
        // What a helper does, its maker does: if the request was read before the helper was made.
        let maker = self.turns.workers.maker(&client.key);
        let tid = maker.map_or(client.tid, |maker| maker.tid);
        let open = self.requests.open_at(from, tid, [turn.request, claim.request(), by_worker]);
        let [by_turn, by_token, by_worker] = open.named;
        let is_explained = Self::explains(&mut self.destinations, to, open.count == 0);
        // A call that nobody answered ends when its connection does, and its request need not wait for that.
        let gave_up = client.exchange.as_ref().is_some_and(|exchange| exchange.incomplete.is_some());
        let contains = |held: &Held| match (held.end_ns, client.end_ns) {
            (Some(end_ns), Some(call_end_ns)) => call_end_ns <= end_ns,
            _ => true,
        };
        let trusted_here = if self.habits.trusts_threads(open.count == 1 && is_explained) && open.here_count == 1 {
            open.here.filter(|held| maker.is_none_or(|maker| held.was_read_by(maker.at_ns)))
        } else {
            None
        };
        let other = trusted_here.or(by_token).map(|held| held.key);
        if let Some(cause) = self.by_runtime(client, seen_ns, other, gave_up) {
            return cause;
        }
        if let Some(held) = trusted_here {
            let confidence = if maker.is_none() { 1.0 } else { CHILD_CONFIDENCE };
            let fits = (contains(&held) || gave_up) && by_token.is_none_or(|other| other.key == held.key);
            return if fits { Cause::Request(held.key, Method::Thread, confidence) } else { Cause::Contradiction };
        }
        match claim {
            Claim::Of(..) if self.lost_before(from) => {}
            Claim::Of(_, _, confidence) if let Some(held) = by_token => {
                if by_worker.is_some_and(|other| other.key != held.key) {
                    self.turns.workers.denied();
                    return Cause::Contradiction;
                }
                if turn.is_sure && by_turn.is_some_and(|other| other.key != held.key) {
                    return Cause::Contradiction;
                }
                return if contains(&held) || gave_up {
                    Cause::Request(held.key, Method::Token, confidence)
                } else {
                    Cause::Follows(held.key, Method::Token, confidence)
                };
            }
            Claim::Of(key, start_ns, confidence) if start_ns <= from => {
                return Cause::Follows(key, Method::Token, confidence);
            }
            // It was read after the call was made: what is called asks back.
            Claim::Of(..) | Claim::Nothing => {}
            Claim::Contradiction => return Cause::Contradiction,
        }
        match open.any {
            Some(only)
                if open.count == 1
                    && contains(&only)
                    && !self.lost_before(from)
                    && client.end_ns.is_some_and(|end_ns| end_ns < seen_ns) =>
            {
                let confidence = if is_explained { EXCLUSIVE_CONFIDENCE } else { UNEXPLAINED_CONFIDENCE };
                Cause::Request(only.key, Method::Exclusive, confidence)
            }
            _ if let Some(held) = by_worker.filter(contains)
                && !self.lost_before(from) =>
            {
                if turn.is_sure && by_turn.is_some_and(|other| other.key != held.key) {
                    self.turns.workers.denied();
                    return Cause::Contradiction;
                }
                let confidence = if is_explained { HANDOFF_CONFIDENCE } else { UNEXPLAINED_CONFIDENCE };
                Cause::Request(held.key, Method::Handoff, confidence)
            }
            _ if turn.is_sure && !self.lost_before(from) => {
                let Some(held) = by_turn.filter(|held| contains(held) || gave_up) else {
                    return Cause::Unknown(Why::Outlived);
                };
                let confidence = if is_explained { TURN_CONFIDENCE } else { UNEXPLAINED_CONFIDENCE };
                Cause::Request(held.key, Method::Turn, confidence)
            }
            None => Cause::Unknown(Why::NoRequest),
            _ if self.lost_before(from) => Cause::Unknown(Why::Lost),
            _ if open.count == 1 => Cause::Unknown(Why::Outlived),
            _ if !is_explained => Cause::Unknown(Why::Destination),
            _ if whole(client).is_none() => Cause::Unknown(Why::Incomplete),
            _ => Cause::Ask,
        }
    }

    /// What the runtime's goroutines or tasks tell of a call; `other` is the request that another method names. One that `gave_up` may
    /// have ended after its request.
    fn by_runtime(&mut self, client: &Node, seen_ns: u64, other: Option<Key>, gave_up: bool) -> Option<Cause> {
        let is_within = |end_ns: Option<u64>| gave_up || end_ns.is_none_or(|end_ns| client.end_ns <= Some(end_ns));
        match self.by_goroutine(client, other) {
            ByGoroutine::Nothing => {}
            ByGoroutine::Contradiction => return Some(Cause::Contradiction),
            ByGoroutine::Late => return Some(Cause::Unknown(Why::Outlived)),
            ByGoroutine::Of(held, confidence) if is_within(held.end_ns) => {
                return Some(Cause::Request(held.key, Method::Goroutine, confidence));
            }
            ByGoroutine::Of(held, confidence) | ByGoroutine::After(held, confidence) => {
                return Some(Cause::Follows(held.key, Method::Goroutine, confidence));
            }
        }
        match self.by_task(client, seen_ns, other) {
            None => Some(Cause::Contradiction),
            Some(Owner::None | Owner::Unclear | Owner::Later(_)) => None,
            Some(Owner::Of(served)) if is_within(Some(served.end_ns)) => {
                Some(Cause::Request(served.key, Method::Task, 1.0))
            }
            Some(Owner::Of(served) | Owner::After(served)) => Some(Cause::Follows(served.key, Method::Task, 1.0)),
        }
    }

    /// What goroutines tell of a call; `other` is the request that another method names.
    fn by_goroutine(&mut self, client: &Node, other: Option<Key>) -> ByGoroutine {
        let Some(asker) = self.goroutines.asker(client.key.conn, client.start_ns) else { return ByGoroutine::Nothing };
        let held = self.requests.of_conn(asker.conn, asker.at_ns);
        let open = held.filter(|held| held.is_open_at(asker.at_ns));
        let confidence = match asker.child {
            None => 1.0,
            Some(child) => match self.goroutines.child(child, open.map(|held| held.key)) {
                Child::Believed => CHILD_CONFIDENCE,
                Child::Unproven => return ByGoroutine::Nothing,
                Child::Late => return ByGoroutine::Late,
            },
        };
        let Some(held) = held else { return ByGoroutine::Nothing };
        if let Some(other) = other {
            let agrees = other == held.key;
            self.goroutines.compare(agrees);
            if !agrees {
                return ByGoroutine::Contradiction;
            }
        }
        match self.goroutines.is_trusted() {
            false => ByGoroutine::Nothing,
            true if open.is_some() => ByGoroutine::Of(held, confidence),
            true => ByGoroutine::After(held, confidence),
        }
    }

    /// What tasks tell of a call; nothing where `other`, the request that another method names, contradicts it.
    fn by_task(&mut self, client: &Node, seen_ns: u64, other: Option<Key>) -> Option<Owner> {
        let owner = match self.tasks.owner(client.key, client.start_ns, seen_ns) {
            // It may have been made for one that is not answered yet, on the same connection.
            Owner::After(last) if self.requests.is_any_unanswered(Some(last.key.conn), client.start_ns) => Owner::None,
            owner => owner,
        };
        self.tasks.note(client.key, matches!(owner, Owner::Of(_) | Owner::After(_)));
        if let (Owner::Of(served), Some(other)) = (owner, other) {
            let agrees = other == served.key;
            self.tasks.compare(agrees);
            if !agrees {
                return None;
            }
        }
        Some(if self.tasks.is_trusted() { owner } else { Owner::None })
    }

    /// Counts a call, and says whether calls to its destination are made for requests.
    fn explains(
        destinations: &mut FxHashMap<Option<SocketEnd>, Record>,
        to: Option<SocketEnd>,
        no_request_is_open: bool,
    ) -> bool {
        let known = destinations.len() < DESTINATIONS_MAX || destinations.contains_key(&to);
        let calls = destinations.entry(if known { to } else { None }).or_default();
        calls.note(!no_request_is_open);
        calls.holds(0, UNEXPLAINED_SHARE)
    }

    /// Whether events were lost so shortly before that an open request may have been missed.
    fn lost_before(&self, ns: u64) -> bool {
        self.lost_ns.is_some_and(|lost_ns| ns < lost_ns.saturating_add(LOSS_SHADOW_NS))
    }

    /// Whether nothing would be missed if it were forgotten.
    pub(super) fn is_idle(&self) -> bool {
        self.calls.is_empty() && self.turns.is_idle() && self.gathered.is_idle() && self.requests.are_answered()
    }
}

/// The exchange of a node that was answered as a whole, both messages of which were seen.
fn whole(node: &Node) -> Option<&Exchange> {
    node.exchange.as_deref().filter(|exchange| node.is_whole && exchange.sent.is_some())
}

/// Whether all calls that were seen of an exchange were made by one thread.
fn on_one_thread(exchange: &Exchange) -> bool {
    let transfers = [exchange.sent, exchange.answered];
    let mut tids = transfers.into_iter().flatten().flat_map(|transfer| [transfer.first.tid, transfer.last.tid]);
    let first = tids.next();
    tids.all(|tid| Some(tid) == first)
}
