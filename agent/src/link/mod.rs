//! From exchanges to spans: each exchange of each connection becomes a span, and gets its trace and its parent.
//!
//! An exchange is a *node* from the moment its request is seen. Its span id and the id of the trace that it would begin
//! are fixed then, so a decision never has to wait for an id. What waits is evidence:
//!
//! 1. A finished node is *due* once everything before its end has been seen ([`Linker::advance`] says so): every request
//!    that could be its parent is known by then, whatever order the rings were read in.
//! 2. A due node is *decided* ([`decide`]): a parent on this host, a parent that a header names, or none. A decision
//!    is final. A call of which only statistics can tell waits for a round of inference ([`live`]).
//! 3. A decided node is *resolved* ([`resolve`]): its trace id is its parent's, so it waits until the parent's is known,
//!    and so on up to the root. Children end before their parents, so a whole tree is let go when its root is decided.
//!
//! Nothing waits for ever: after [`HOLD_NS`], or when [`HELD_MAX`] spans wait, the ancestors are decided by what is
//! known so far, and the span goes. Each such case is counted. Time comes from events only, never from a clock.
#![forbid(unsafe_code)]

mod adopt;
mod attributes;
mod build;
mod context;
mod counts;
mod decide;
mod ends;
mod goroutine;
mod id;
pub mod infer;
mod lineage;
mod live;
mod node;
pub mod offline;
mod process;
mod record;
mod requests;
mod resolve;
mod rpc;
mod tally;
mod target;
mod task;
mod telemetry;
mod texts;
mod timing;
mod tls;
mod token;
mod told;
mod turn;
mod waiting;
mod worker;

use crate::{
    conn::{Role, Socket},
    protocol::{Exchange, Stamp, Tokens, tls::Hellos},
    span::{Kind, Resource, Span},
};
pub use context::Context;
pub use counts::Counts;
use ends::Ends;
pub use goroutine::{CHILD_CONFIDENCE, GOROUTINES_MAX, Goroutine};
pub use id::Ids;
pub use lineage::LINEAGE_MAX;
use lineage::Lineage;
use live::Work;
pub use live::{
    DOUBTS_TRUSTED, LEARN_AT, LEARNING_NS, REMEMBERED_MAX, RIPE_NS, ROUND_NS, WAIT_MAX_NS, WAITING_MAX, WORK_PER_S,
};
use netspan_ebpf::{EventHead, GoroutineEvent, TaskEvent, ThreadEvent, role};
use node::Node;
use process::Process;
pub use process::{DESTINATIONS_MAX, EXCLUSIVE_CONFIDENCE, STEADY_MIN, UNEXPLAINED_CONFIDENCE, UNEXPLAINED_SHARE};
pub use requests::SERVERS_MAX;
use rustc_hash::FxHashMap;
use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
};
pub use tally::{Linked, Tally, Why};
pub use task::{ANSWERS_MAX, TASK_WAIT_NS};
use texts::Texts;
pub use timing::{end_ns, start_ns};
pub use token::{PATH_CONFIDENCE, TOKEN_CONFIDENCE};
pub use told::TOLD_MAX;
use told::{AllTold, Told};
use turn::Did;
pub use turn::{DOUBTS_SHARE, STEPS_MAX, TRUST_MIN, TURN_CONFIDENCE};

/// How long a finished exchange may wait for the decisions that its trace depends on, in nanoseconds after its end.
pub const HOLD_NS: u64 = 5_000_000_000;
/// Finished exchanges that may wait at one time.
pub const HELD_MAX: usize = 16_384;
/// How long a span's ids are remembered after it was let go, for children that come after it, in nanoseconds.
pub const LINGER_NS: u64 = 500_000_000;
/// The same for a request of a process whose calls are inferred, which takes longer.
pub const LINGER_ASKED_NS: u64 = 1_000_000_000;
/// The same for a call that was broken off: the server that was called may go on for long.
pub const LINGER_BROKEN_NS: u64 = 60_000_000_000;
/// Exchanges, open, waiting and remembered ones together; past it, remembered ones are forgotten early, then new ones
/// are let go without links.
pub const NODES_MAX: usize = 131_072;
/// Processes whose habits are remembered; past it, those without open requests and calls are forgotten.
pub const PROCESSES_MAX: usize = 8192;
/// How long a finished server exchange waits for addresses that may yet show that its client is on this host.
pub const ADDRESS_WAIT_NS: u64 = 100_000_000;
/// How long it waits for its client's exchange where the client's connection is known: the thread that sent the request may
/// lose its CPU before the call returns, and be told of after it was answered.
pub const CALL_WAIT_NS: u64 = 500_000_000;

/// The default of `--min-confidence`: a link below it is not made, but told of as a span link.
pub const DEFAULT_MIN_CONFIDENCE: f64 = 0.95;

/// Identity of an exchange: its connection, and its ordinal there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// Id of the connection.
    pub conn: u64,
    /// Ordinal of the exchange on it.
    pub ordinal: u64,
}

/// What a linker is told once.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Options {
    /// Makes the ids.
    pub ids: Ids,
    /// To be added to boot-time nanoseconds to get nanoseconds since the Unix epoch.
    pub clock_offset_ns: u64,
    /// Confidence, from 0 to 1, below which a link is not made.
    pub min_confidence: f64,
    /// Whether a trace without a caller takes the id that a tracer within it gave to its part of it. Not where the kernel side
    /// tells other hosts ids: it can't know.
    pub adopt_traces: bool,
}

/// What the linker keeps of a connection.
struct Conn {
    socket: Arc<Socket>,
    texts: Texts,
    closed_ns: Option<u64>,
    /// Its exchanges that are still known, oldest first.
    exchanges: VecDeque<u64>,
    /// A program exports telemetry on it: what it sends there is for none of its requests.
    exports: bool,
}

/// Makes spans of exchanges. See the [module](self).
pub struct Linker {
    options: Options,
    now_ns: u64,
    nodes: FxHashMap<Key, Box<Node>>,
    conns: FxHashMap<u64, Conn>,
    ends: Ends,
    told: AllTold,
    /// What threads published that sent requests which are not known yet, by the time of the call.
    published: AllTold,
    lineage: Lineage,
    processes: FxHashMap<u32, Process>,
    /// Finished nodes by their end (or by when to look at them again), until they are decided.
    due: BTreeSet<(u64, Key)>,
    /// Nodes that wait for others, by when that ends.
    deadlines: BTreeSet<(u64, Key)>,
    /// Nodes that were let go, in that order, with when.
    gone: VecDeque<(u64, Key)>,
    /// Requests among them that calls may yet be inferred to belong to.
    asked: VecDeque<(u64, Key)>,
    /// The same of those that were broken off.
    broken: VecDeque<(u64, Key)>,
    /// Closed connections in the order of closing, with when.
    closed: VecDeque<(u64, u64)>,
    /// Processes that ended, in that order, with when.
    exited: VecDeque<(u64, u32)>,
    /// Rounds of inference, by when, and of which process.
    rounds: BTreeSet<(u64, u32)>,
    work: Work,
    /// Processes that did something which was not gone through yet.
    stirred: Vec<u32>,
    counts: Counts,
    out: Vec<Arc<Span>>,
}

impl Linker {
    /// A linker that knows nothing yet.
    pub fn new(options: Options) -> Self {
        Self {
            options,
            now_ns: 0,
            nodes: FxHashMap::default(),
            conns: FxHashMap::default(),
            ends: Ends::default(),
            told: AllTold::default(),
            published: AllTold::default(),
            lineage: Lineage::default(),
            processes: FxHashMap::default(),
            due: BTreeSet::new(),
            deadlines: BTreeSet::new(),
            gone: VecDeque::new(),
            asked: VecDeque::new(),
            broken: VecDeque::new(),
            closed: VecDeque::new(),
            exited: VecDeque::new(),
            rounds: BTreeSet::new(),
            work: Work::default(),
            stirred: Vec::new(),
            counts: Counts::default(),
            out: Vec::new(),
        }
    }

    /// What happened so far.
    pub const fn counts(&self) -> &Counts {
        &self.counts
    }

    /// What became of the spans of each process that has any, by its id; at most [`PROCESSES_MAX`] and those that are at work.
    pub fn tallies(&self) -> impl Iterator<Item = (u32, &Tally)> {
        let with_spans = |(_, tally): &(u32, &Tally)| tally.resource.is_some();
        self.processes.iter().map(|(tgid, process)| (*tgid, &process.tally)).filter(with_spans)
    }

    /// Exchanges that are kept: open ones, waiting ones, and ones remembered for their children.
    pub fn kept(&self) -> usize {
        self.nodes.len()
    }

    /// Takes the spans that were let go since the last call, parents before their children.
    pub fn take(&mut self) -> Vec<Arc<Span>> {
        std::mem::take(&mut self.out)
    }

    /// A connection is known, or known better.
    pub fn socket(&mut self, socket: &Arc<Socket>) {
        let is_first = !self.conns.contains_key(&socket.id);
        let conn = self.conns.entry(socket.id).or_insert_with(|| Conn {
            socket: Arc::clone(socket),
            texts: Texts::default(),
            closed_ns: None,
            exchanges: VecDeque::new(),
            exports: false,
        });
        let is_new_client = socket.role == Role::Client
            && socket.syn_ns != 0
            && (conn.socket.syn_ns == 0 || (is_first && conn.exchanges.is_empty()));
        conn.texts.learn(socket);
        if conn.socket.ends != socket.ends {
            self.ends.forget(&conn.socket);
        }
        conn.socket = Arc::clone(socket);
        self.ends.learn(socket);
        if is_new_client {
            self.step(socket.tgid, socket.syn_ns, 0, Did::Connected(socket.id));
        }
    }

    /// What was said when a session of TLS began is known now.
    pub fn hellos(&mut self, conn: u64, hellos: Arc<Hellos>) {
        if let Some(conn) = self.conns.get_mut(&conn) {
            conn.socket = Arc::new(conn.socket.with_hellos(hellos));
        }
    }

    /// A call of this process and thread received bytes.
    pub fn received(&mut self, conn: u64, at_ns: u64, tgid: u32, thread: u32) {
        self.step(tgid, at_ns, thread, Did::Received(conn));
    }

    /// A goroutine of a Go program is at a connection.
    pub fn goroutine(&mut self, event: &GoroutineEvent) {
        let EventHead { conn, tgid, time_ns, .. } = event.head;
        let goroutines = &mut self.processes.entry(tgid).or_default().goroutines;
        if event.role == u64::from(role::SERVER) {
            goroutines.serves(conn, event.goroutine);
        } else {
            let asking = Goroutine { id: event.goroutine, parent: event.parent, site: event.site };
            goroutines.asks(conn, time_ns, asking);
        }
    }

    /// A task of a Python program sends on a connection.
    pub fn task(&mut self, event: &TaskEvent) {
        let EventHead { conn, tgid, .. } = event.head;
        self.processes.entry(tgid).or_default().tasks.sends(conn, event.start_ns, event.tasks);
    }

    /// A thread of a process made another one.
    pub fn thread(&mut self, event: &ThreadEvent) {
        let EventHead { tgid, tid, time_ns, .. } = event.head;
        self.step(tgid, time_ns, tid, Did::Made(event.made));
    }

    /// Events of a connection of this process were lost.
    pub fn lost(&mut self, tgid: u32, at_ns: u64) {
        self.processes.entry(tgid).or_default().note_loss(at_ns);
    }

    /// A connection is over: no more of its exchanges will come.
    pub fn closed(&mut self, conn: u64, at_ns: u64) {
        if let Some(known) = self.conns.get_mut(&conn) {
            known.closed_ns = Some(at_ns);
            let tgid = known.socket.tgid;
            if known.socket.role == Role::Client {
                self.step(tgid, at_ns, 0, Did::Closed(conn));
            }
        }
        self.told.forget(conn);
        self.published.forget(conn);
        self.closed.push_back((at_ns, conn));
    }

    /// A process runs another program now: what was learned of its habits does not hold any more.
    pub fn executed(&mut self, tgid: u32, at_ns: u64) {
        if let Some(process) = self.processes.get_mut(&tgid) {
            process.forget_habits(at_ns);
        }
    }

    /// A process ended; its id may be used again.
    pub fn exited(&mut self, tgid: u32, at_ns: u64) {
        self.executed(tgid, at_ns);
        self.exited.push_back((at_ns, tgid));
    }

    /// The head of a request was seen. `resource` is the process that made the call in `first`, `tokens` what its calls may be
    /// known by.
    pub fn started(&mut self, conn: u64, ordinal: u64, first: &Stamp, tokens: Tokens, resource: Arc<Resource>) {
        let key = Key { conn, ordinal };
        let Some(kind) = self.kind_of(conn) else { return };
        self.counts.started += 1;
        if self.nodes.len() >= NODES_MAX && !self.forget_oldest() {
            return;
        }
        let start_ns = timing::first_ns(kind, first);
        let node = Node::new(key, kind, start_ns, first, resource, self.options.ids);
        self.begin(key, Box::new(Node { tokens, ..node }));
    }

    /// An exchange is over. `at_ns` is the time of the event that ended it.
    pub fn finished(&mut self, conn: u64, exchange: Box<Exchange>, at_ns: u64, resource: Arc<Resource>) {
        let key = Key { conn, ordinal: exchange.ordinal };
        self.counts.finished += 1;
        let Some(kind) = self.kind_of(conn) else {
            self.counts.refused += 1;
            return;
        };
        if !self.nodes.contains_key(&key) {
            // Its head was never seen: nobody knows since when the process has been at it.
            let (Some(first), Some(start_ns)) = (timing::first_stamp(&exchange), start_ns(kind, &exchange)) else {
                self.counts.refused += 1;
                return;
            };
            let mut node = Node::new(key, kind, start_ns, &first, resource, self.options.ids);
            node.tokens = exchange.request.as_ref().map(Tokens::of).unwrap_or_default();
            if self.nodes.len() >= NODES_MAX && !self.forget_oldest() {
                self.counts.refused += 1;
                node.finish(exchange, at_ns);
                self.let_go_alone(node);
                return;
            }
            self.begin(key, Box::new(node));
        }
        let Some(node) = self.nodes.get_mut(&key) else { return };
        node.finish(exchange, at_ns);
        let end_ns = node.end_ns.unwrap_or(at_ns);
        let (tgid, thread) = (node.tgid, node.last_tid());
        if let Some(conn) = self.conns.get_mut(&conn).filter(|_| kind == Kind::Client) {
            conn.exports = node.is_export;
        }
        if kind == Kind::Server {
            let socket = self.conns.get(&conn).map(|conn| &conn.socket);
            let conn_ns = socket.map_or(0, |socket| socket.accepted_ns.max(socket.established_ns));
            let woken = self.processes.entry(tgid).or_default().answered(node, conn_ns);
            for (at_ns, call) in woken {
                // Before the request is let go.
                if let Some(call_ns) = self.nodes.get(&call).and_then(|call| call.end_ns)
                    && self.due.remove(&(at_ns, call))
                {
                    self.due.insert((call_ns.max(end_ns.saturating_sub(1)), call));
                }
            }
        }
        self.step(tgid, end_ns, thread, if kind == Kind::Server { Did::Answered(key) } else { Did::Learned(key) });
        self.due.insert((end_ns, key));
        if self.due.len() + self.deadlines.len() > HELD_MAX {
            self.make_room();
        }
    }

    /// All events before `now_ns` have been seen: decides what can be decided.
    pub fn advance(&mut self, now_ns: u64) {
        self.now_ns = self.now_ns.max(now_ns);
        for tgid in std::mem::take(&mut self.stirred) {
            if self.processes.get_mut(&tgid).is_some_and(|process| process.turns.advance(now_ns)) {
                self.stirred.push(tgid);
            }
        }
        // In the order of their times, however far the watermark goes at once.
        loop {
            let due = self.due.first().copied().filter(|(at_ns, _)| *at_ns < self.now_ns);
            let round = self.rounds.first().copied().filter(|(at_ns, _)| *at_ns < self.now_ns);
            match (due, round) {
                (Some((due_ns, _)), Some((at_ns, tgid))) if at_ns < due_ns => self.round(at_ns, tgid),
                (Some((due_ns, key)), _) => {
                    self.due.remove(&(due_ns, key));
                    self.settle(key);
                }
                (None, Some((at_ns, tgid))) => self.round(at_ns, tgid),
                (None, None) => break,
            }
        }
        while let Some((at_ns, key)) = self.deadlines.first().copied().filter(|(at_ns, _)| *at_ns < self.now_ns) {
            self.deadlines.remove(&(at_ns, key));
            self.give_up(key);
        }
        while let Some((_, key)) = self.gone.pop_front_if(|(at, _)| at.saturating_add(LINGER_NS) < self.now_ns) {
            self.forget(key);
        }
        while let Some((_, key)) = self.asked.pop_front_if(|(at, _)| at.saturating_add(LINGER_ASKED_NS) < self.now_ns) {
            self.forget(key);
        }
        while let Some((_, key)) = self.broken.pop_front_if(|(at, _)| at.saturating_add(LINGER_BROKEN_NS) < self.now_ns)
        {
            self.forget(key);
        }
        while let Some((_, conn)) = self.closed.pop_front_if(|(at, _)| at.saturating_add(LINGER_NS) < self.now_ns) {
            self.forget_conn(conn);
        }
        while let Some((_, tgid)) = self.exited.pop_front_if(|(at, _)| at.saturating_add(HOLD_NS) < self.now_ns) {
            if self.processes.get(&tgid).is_some_and(Process::is_idle) {
                self.processes.remove(&tgid);
            }
        }
        if self.processes.len() > PROCESSES_MAX {
            self.processes.retain(|_, process| !process.is_idle());
        }
    }

    /// No more events will come: lets everything go that is finished.
    pub fn finish(&mut self) {
        self.advance(u64::MAX);
        debug_assert!(self.due.is_empty() && self.deadlines.is_empty());
    }

    fn kind_of(&self, conn: u64) -> Option<Kind> {
        match self.conns.get(&conn)?.socket.role {
            Role::Client => Some(Kind::Client),
            Role::Server => Some(Kind::Server),
            Role::Unknown => None,
        }
    }

    /// A thread did something.
    fn step(&mut self, tgid: u32, at_ns: u64, thread: u32, did: Did) {
        if self.processes.entry(tgid).or_default().turns.step(at_ns, thread, did) {
            self.stirred.push(tgid);
        }
    }

    fn begin(&mut self, key: Key, mut node: Box<Node>) {
        let did = if node.kind == Kind::Server { Did::Read(key) } else { Did::Sent(key) };
        if self.conns.get(&key.conn).is_none_or(|conn| !conn.exports) {
            self.step(node.tgid, node.start_ns, node.tid, did);
        }
        let process = self.processes.entry(node.tgid).or_default();
        match node.kind {
            Kind::Server => process.received(&node),
            Kind::Client => process.called(&node),
        }
        node.told = self.told.take(key);
        if node.kind == Kind::Client {
            node.published = self.published.take(Key { conn: key.conn, ordinal: node.first_ns });
        }
        if let Some(conn) = self.conns.get_mut(&key.conn) {
            conn.exchanges.push_back(key.ordinal);
        }
        self.nodes.insert(key, node);
    }

    /// Forgets the span that was let go first; says whether there was one.
    fn forget_oldest(&mut self) -> bool {
        let oldest = self.gone.pop_front().or_else(|| self.asked.pop_front()).or_else(|| self.broken.pop_front());
        oldest.is_some_and(|(_, key)| {
            self.forget(key);
            true
        })
    }

    fn forget(&mut self, key: Key) {
        self.nodes.remove(&key);
        if let Some(conn) = self.conns.get_mut(&key.conn) {
            match conn.exchanges.front() {
                Some(oldest) if *oldest == key.ordinal => drop(conn.exchanges.pop_front()),
                _ => conn.exchanges.retain(|ordinal| *ordinal != key.ordinal),
            }
        }
    }

    /// Forgets a closed connection, unless exchanges of it are still known: then it is asked again later.
    fn forget_conn(&mut self, id: u64) {
        let Some(conn) = self.conns.get(&id) else { return };
        if conn.exchanges.is_empty() || self.now_ns == u64::MAX {
            self.ends.forget(&conn.socket);
            if let Some(process) = self.processes.get_mut(&conn.socket.tgid) {
                process.goroutines.closed(id);
                process.tasks.closed(id);
            }
            self.conns.remove(&id);
        } else {
            self.closed.push_back((self.now_ns, id));
        }
    }
}
