//! Which request a task of asyncio was serving when it called: the method `task`.
//!
//! A task *serves* a request if it sends the answer, or made the one that does after the request was read. A call belongs to the
//! request that the task was serving which sent it, or else the one which made that task, and so on; of a maker counts
//! what it served when it made the next one, so that what is left over from an earlier request is known for that. All
//! this is exact. A task that is older than the connection, or answers on several, may answer for others: it is believed
//! once it answered before, and always on this connection.
//!
//! Who serves a request is known once it is answered. A call waits for that, at most [`TASK_WAIT_NS`], if it is of a process whose
//! answers are sent by tasks. Nothing is believed any more in a process in which other evidence contradicts it too often.

use super::{Key, node::Node, record::Record, waiting::Waiting};
use netspan_ebpf::{TASKS_MAX, TaskId};
use rustc_hash::FxHashMap;
use std::collections::VecDeque;

/// How long after its end a call waits for the answer of a request that its task may be serving, in nanoseconds.
pub const TASK_WAIT_NS: u64 = 4_500_000_000;
/// One in so many calls may be contradicted by another method.
const DENIED_SHARE: u32 = 200;
/// Answers and calls without a use of tasks, before calls wait no more.
const PATIENCE: u32 = 16;
/// Answers of one process that are remembered, each for every task that serves the request.
pub const ANSWERS_MAX: usize = 8192;
/// Connections on which tasks send, undecided calls, and tasks that are waited for; past it, all are forgotten.
const SENDERS_MAX: usize = 16_384;
/// What is remembered of one connection.
const MARKS_MAX: usize = 64;

/// The task that sent something, the one that made it, and so on.
type Chain = [TaskId; TASKS_MAX];

/// A request that a task serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Served {
    pub(super) key: Key,
    pub(super) start_ns: u64,
    pub(super) end_ns: u64,
    /// The task was made after the connection.
    is_own: bool,
}

/// What tasks tell of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// Nothing: no task sent it, or none that served a request.
    None,
    /// It was sent while this request was served, or by a task that was made then.
    Of(Served),
    /// After this one.
    After(Served),
    /// What is known is of the time after this: everything until then has to be seen.
    Later(u64),
    /// Of several requests.
    Unclear,
}

/// The tasks of a process.
#[derive(Debug, Default)]
pub(super) struct Tasks {
    /// Who sent on a connection, and when.
    marks: FxHashMap<u64, VecDeque<(u64, Chain)>>,
    /// Who sent the calls that are undecided.
    calls: FxHashMap<Key, Chain>,
    /// What tasks serve, in the order in which it was learned.
    served: FxHashMap<TaskId, VecDeque<Served>>,
    order: VecDeque<TaskId>,
    /// Calls that wait for what a task serves.
    waiting: Waiting<TaskId, SENDERS_MAX>,
    /// Whether other methods tell of the same request.
    agreed: Record,
    /// Answers that a task sent, and others.
    by_task: u32,
    others: u32,
    /// Calls that waited, or would have, and of which something was found, or nothing.
    found: u32,
    missed: u32,
}

impl Tasks {
    /// A task sends on a connection, by a call that was entered then.
    pub(super) fn sends(&mut self, conn: u64, start_ns: u64, chain: Chain) {
        if self.marks.len() >= SENDERS_MAX && !self.marks.contains_key(&conn) {
            self.marks.clear();
        }
        let marks = self.marks.entry(conn).or_default();
        marks.push_back((start_ns, chain));
        if marks.len() > MARKS_MAX {
            marks.pop_front();
        }
    }

    /// Who sent what began with the call that was entered then.
    fn sender(&self, conn: u64, start_ns: u64) -> Option<Chain> {
        let mut marks = self.marks.get(&conn)?.iter().rev();
        marks.find(|(at_ns, _)| *at_ns == start_ns).map(|(_, chain)| *chain)
    }

    /// A call was begun.
    pub(super) fn called(&mut self, key: Key, start_ns: u64) {
        if let Some(chain) = self.sender(key.conn, start_ns) {
            if self.calls.len() >= SENDERS_MAX {
                self.calls.clear();
            }
            self.calls.insert(key, chain);
        }
    }

    /// A call is decided.
    pub(super) fn decided(&mut self, key: Key) {
        self.calls.remove(&key);
    }

    /// A connection is forgotten.
    pub(super) fn closed(&mut self, conn: u64) {
        self.marks.remove(&conn);
    }

    /// A request is answered, on a connection that began then. Gives the calls that waited for it, each with when it was to be
    /// asked again.
    pub(super) fn answered(&mut self, server: &Node, conn_ns: u64) -> Vec<(u64, Key)> {
        let answered = server.exchange.as_ref().and_then(|exchange| exchange.answered);
        let (Some(answered), Some(end_ns)) = (answered, server.end_ns) else { return Vec::new() };
        let Some(chain) = self.sender(server.key.conn, answered.first.start_ns) else {
            self.others = self.others.saturating_add(1);
            return Vec::new();
        };
        self.by_task = self.by_task.saturating_add(1);
        let request = Served { key: server.key, start_ns: server.start_ns, end_ns, is_own: false };
        let mut woken = Vec::new();
        let own = chain.first().copied().into_iter();
        let makers = chain.into_iter().skip(1).take_while(|task| task.made_ns >= request.start_ns);
        for task in own.chain(makers).filter(|task| task.address != 0) {
            self.serves(task, Served { is_own: conn_ns != 0 && task.made_ns >= conn_ns, ..request });
            woken.extend(self.waiting.take(&task));
        }
        woken.sort_unstable();
        woken.dedup();
        woken
    }

    fn serves(&mut self, task: TaskId, served: Served) {
        if self.order.len() >= ANSWERS_MAX
            && let Some(oldest) = self.order.pop_front()
            && let Some(known) = self.served.get_mut(&oldest)
        {
            known.pop_front();
            if known.is_empty() {
                self.served.remove(&oldest);
            }
        }
        self.served.entry(task).or_default().push_back(served);
        self.order.push_back(task);
    }

    /// Whose a call is that began then. Everything before `now_ns` has been seen; more may be known, but does not count.
    pub(super) fn owner(&self, key: Key, start_ns: u64, now_ns: u64) -> Owner {
        let Some(chain) = self.calls.get(&key) else { return Owner::None };
        let mut at_ns = start_ns;
        for task in chain.iter().take_while(|task| task.address != 0) {
            let served = self.served.get(task).into_iter().flatten();
            let before = served.filter(|served| served.start_ns <= at_ns);
            // The one that was answered next, or else last.
            let next = before.clone().filter(|served| at_ns < served.end_ns).min_by_key(|served| served.end_ns);
            if let Some(one) = next.or_else(|| before.max_by_key(|served| served.end_ns)) {
                return if one.end_ns > now_ns { Owner::Later(one.end_ns) } else { self.judge(*task, *one, at_ns) };
            }
            // Who made it, and when, was not seen.
            if task.made_ns == 0 {
                break;
            }
            at_ns = task.made_ns;
        }
        Owner::None
    }

    /// What it tells that a task served this one, by what was known when it was answered.
    fn judge(&self, task: TaskId, one: Served, at_ns: u64) -> Owner {
        let known = self.served.get(&task).into_iter().flatten().filter(|served| served.end_ns <= one.end_ns);
        let (count, is_alone) =
            known.fold((0, true), |(count, is_alone), served| (count + 1, is_alone && served.key.conn == one.key.conn));
        match is_alone && (one.is_own || count > 1) {
            false => Owner::Unclear,
            true if at_ns < one.end_ns => Owner::Of(one),
            true => Owner::After(one),
        }
    }

    /// When to ask again whose a call is, if that may be known later; it may be asked earlier, see [`answered`](Self::answered).
    /// `is_open` says whether a request that was read before the call began is not answered yet; given a connection, only its.
    pub(super) fn wait(
        &mut self,
        client: &Node,
        now_ns: u64,
        is_open: impl FnOnce(Option<u64>) -> bool,
    ) -> Option<u64> {
        let chain = *self.calls.get(&client.key)?;
        let until = client.end_ns?.saturating_add(TASK_WAIT_NS);
        let is_of_use = self.by_task.saturating_add(PATIENCE) > self.others
            && self.found.saturating_add(PATIENCE) > self.missed
            && self.is_trusted();
        if !is_of_use || now_ns >= until {
            return None;
        }
        let conn = match self.owner(client.key, client.start_ns, now_ns) {
            Owner::Of(_) | Owner::Unclear => return None,
            Owner::Later(end_ns) => return Some(end_ns.saturating_sub(1).clamp(now_ns, until)),
            Owner::After(served) => Some(served.key.conn),
            Owner::None => None,
        };
        if !is_open(conn) {
            return None;
        }
        let tasks = chain.into_iter().take_while(|task| task.address != 0);
        Some(self.waiting.wait(client.key, tasks, now_ns, until))
    }

    /// A call is to be decided: counts whether tasks told of it.
    pub(super) fn note(&mut self, key: Key, is_found: bool) {
        let Some(chain) = self.calls.get(&key) else { return };
        self.waiting.forget(key, chain.iter().copied());
        let count = if is_found { &mut self.found } else { &mut self.missed };
        *count = count.saturating_add(1);
        if self.found.max(self.missed) >= 1 << 16 {
            (self.found, self.missed) = (self.found / 2, self.missed / 2);
        }
    }

    /// Another method tells of a call, too.
    pub(super) fn compare(&mut self, agrees: bool) {
        self.agreed.note(agrees);
    }

    /// Whether other methods contradict it rarely, if ever.
    pub(super) fn is_trusted(&self) -> bool {
        self.agreed.holds(0, DENIED_SHARE)
    }
}
