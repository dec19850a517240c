//! The requests that a process holds, and those that it held: which of them were open at a time, and whether a thread held two
//! at once. It decides nothing about calls.
//!
//! A request is *held* until its end is due: everything before it has been seen then. Requests are let go in the order of their
//! ends, so that what is kept of each thread, its latest end, tells whether a later one overlapped an earlier one, and nobody
//! needs to go through those that are over. A process may hold a hundred thousand (long polls, streams): nobody goes through those
//! either.

use super::{CALL_WAIT_NS, Key, node::Node, token::Holders};
use rustc_hash::FxHashMap;
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    hash::Hash,
};

/// Requests of one process that are remembered for calls that are still undecided.
pub const SERVERS_MAX: usize = 4096;
/// Threads of one process whose last requests are remembered; past it, all are forgotten.
const THREADS_MAX: usize = 4096;

/// What is known of the requests of a process.
#[derive(Debug, Default)]
pub(super) struct Requests {
    /// Those whose end is not due.
    held: BTreeMap<Place, Held>,
    /// Where those of a thread are.
    of_threads: FxHashMap<u32, BTreeSet<Place>>,
    /// Where those of a connection are.
    of_conns: FxHashMap<u64, BTreeSet<Place>>,
    /// The others, by their end.
    over: VecDeque<Held>,
    /// Of each thread, when it was last done.
    threads: FxHashMap<u32, Done>,
    /// What their calls may be known by.
    pub(super) holders: Holders,
    /// Requests that ended before this time may have been forgotten.
    pub(super) forgotten_ns: u64,
}

/// Requests are in the order of their start.
type Place = (u64, Key);

/// A request that the process holds, or held.
#[derive(Clone, Copy, Debug)]
pub(super) struct Held {
    pub(super) key: Key,
    pub(super) tid: u32,
    start_ns: u64,
    /// When it was answered, once it is.
    pub(super) end_ns: Option<u64>,
}

impl Held {
    const fn place(&self) -> Place {
        (self.start_ns, self.key)
    }

    /// Whether it had been read by then.
    pub(super) const fn was_read_by(&self, ns: u64) -> bool {
        self.start_ns <= ns
    }

    /// Whether it was being served at a time.
    pub(super) fn is_open_at(&self, ns: u64) -> bool {
        self.start_ns <= ns && self.end_ns.is_none_or(|end_ns| ns < end_ns)
    }
}

/// When a thread's latest request was over, and when the latest one of another connection was.
#[derive(Clone, Copy, Debug, Default)]
struct Done {
    conn: u64,
    end_ns: u64,
    other_ns: u64,
}

impl Done {
    fn note(&mut self, conn: u64, end_ns: u64) {
        if conn == self.conn {
            self.end_ns = self.end_ns.max(end_ns);
        } else if end_ns >= self.end_ns {
            *self = Self { conn, end_ns, other_ns: self.end_ns };
        } else {
            self.other_ns = self.other_ns.max(end_ns);
        }
    }

    /// When the thread was done with all connections but this one.
    const fn but(&self, conn: u64) -> u64 {
        if conn == self.conn { self.other_ns } else { self.end_ns }
    }
}

/// The requests that were open when a call began.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Open {
    /// All of them, two standing for more, and one.
    pub(super) count: usize,
    pub(super) any: Option<Held>,
    /// Those that the call's thread had read, likewise, and one.
    pub(super) here_count: usize,
    pub(super) here: Option<Held>,
    /// Those that were asked for.
    pub(super) named: [Option<Held>; 3],
}

impl Requests {
    /// A request was read.
    pub(super) fn received(&mut self, server: &Node) {
        let held = Held { key: server.key, tid: server.tid, start_ns: server.start_ns, end_ns: None };
        let place = held.place();
        self.held.insert(place, held);
        self.of_threads.entry(held.tid).or_default().insert(place);
        self.of_conns.entry(held.key.conn).or_default().insert(place);
        self.holders.hold(server.key, server.start_ns, &server.tokens);
    }

    /// A request is answered.
    pub(super) fn answered(&mut self, server: &Node) {
        if let Some(held) = self.held.get_mut(&(server.start_ns, server.key)) {
            held.end_ns = server.end_ns;
        }
    }

    /// The end of a request is due. `first_call_ns` is when the first call began that is not decided.
    pub(super) fn due(&mut self, server: &Node, first_call_ns: Option<u64>) {
        let Some(held) = self.held.remove(&(server.start_ns, server.key)) else { return };
        leave(&mut self.of_threads, &held.tid, held.place());
        leave(&mut self.of_conns, &held.key.conn, held.place());
        let Some(end_ns) = server.end_ns else { return };
        if self.threads.len() >= THREADS_MAX && !self.threads.contains_key(&held.tid) {
            self.threads.clear();
        }
        self.threads.entry(held.tid).or_default().note(held.key.conn, end_ns);
        let later = self.over.iter().rev().take_while(|other| other.end_ns > Some(end_ns)).count();
        self.over.insert(self.over.len() - later, Held { end_ns: Some(end_ns), ..held });
        self.forget(end_ns, first_call_ns);
    }

    /// Forgets requests that no call can belong to any more, those still to be heard of included; past the bound, the ones
    /// that ended first.
    fn forget(&mut self, now_ns: u64, first_call_ns: Option<u64>) {
        let horizon_ns = now_ns.saturating_sub(CALL_WAIT_NS).min(first_call_ns.unwrap_or(u64::MAX));
        while let Some(Held { key, end_ns: Some(end_ns), .. }) = self.over.front().copied()
            && (end_ns < horizon_ns || self.over.len() > SERVERS_MAX)
        {
            self.over.pop_front();
            self.holders.release(key);
            if first_call_ns.is_some_and(|first_ns| end_ns >= first_ns) {
                self.forgotten_ns = self.forgotten_ns.max(end_ns);
            }
        }
    }

    /// Whether a request that was just answered was held by its thread together with one of another connection. It must not
    /// have been told to be due.
    pub(super) fn shares_its_thread(&self, server: &Node, end_ns: u64) -> bool {
        let is_other =
            |held: &Held| held.key.conn != server.key.conn && held.end_ns.is_none_or(|ns| ns > server.start_ns);
        self.threads.get(&server.tid).is_some_and(|done| done.but(server.key.conn) > server.start_ns)
            || self.of(&self.of_threads, &server.tid).take_while(|held| held.start_ns < end_ns).any(is_other)
    }

    /// The requests that were open at a time, as seen by a thread, and some of them by their names.
    pub(super) fn open_at(&self, ns: u64, tid: u32, names: [Option<Key>; 3]) -> Open {
        let is_open = |held: &&Held| held.is_open_at(ns);
        let over = || self.over.iter().rev().take_while(|held| held.end_ns.is_some_and(|end_ns| end_ns > ns));
        let held = self.held.values().take_while(|held| held.start_ns <= ns);
        let (count, any) = up_to_two(held.chain(over()).filter(is_open));
        let held_here = self.of(&self.of_threads, &tid).take_while(|held| held.start_ns <= ns);
        let over_here = over().filter(|held| held.tid == tid);
        let (here_count, here) = up_to_two(held_here.chain(over_here).filter(is_open));
        let asked_for = names.map(|asked| {
            let key = asked?;
            let mut known = self.of(&self.of_conns, &key.conn).chain(over()).filter(is_open);
            known.find(|held| held.key == key).copied()
        });
        Open { count, any, here_count, here, named: asked_for }
    }

    /// The request of a connection that was open at a time, or else the one that was answered last before. Of several, the first: it
    /// is served before the others.
    pub(super) fn of_conn(&self, conn: u64, ns: u64) -> Option<Held> {
        let is_of = |held: &&Held| held.key.conn == conn && held.start_ns <= ns;
        let held = || self.of(&self.of_conns, &conn).filter(is_of);
        let later = self.over.iter().rev().take_while(|held| held.end_ns.is_some_and(|end_ns| end_ns > ns));
        let open = held().chain(later.filter(is_of)).filter(|held| held.is_open_at(ns));
        let last = || held().chain(self.over.iter().rev().find(is_of)).max_by_key(|held| held.end_ns);
        open.min_by_key(|held| held.start_ns).or_else(last).copied()
    }

    /// Whether a request that was read by then is not answered; of one connection, if that is given.
    pub(super) fn is_any_unanswered(&self, conn: Option<u64>, ns: u64) -> bool {
        let is_unanswered = |held: &Held| held.end_ns.is_none();
        match conn {
            Some(conn) => self.of(&self.of_conns, &conn).take_while(|held| held.start_ns <= ns).any(is_unanswered),
            None => self.held.values().take_while(|held| held.start_ns <= ns).any(is_unanswered),
        }
    }

    /// Those of a thread or a connection, by their start.
    fn of<'r, K: Eq + Hash>(
        &'r self,
        places: &'r FxHashMap<K, BTreeSet<Place>>,
        which: &K,
    ) -> impl Iterator<Item = &'r Held> {
        places.get(which).into_iter().flatten().filter_map(|place| self.held.get(place))
    }

    /// Whether all are answered.
    pub(super) fn are_answered(&self) -> bool {
        self.held.values().all(|held| held.end_ns.is_some())
    }

    /// What the threads did before says nothing any more: the program is another one.
    pub(super) fn forget_threads(&mut self) {
        self.threads.clear();
    }
}

/// How many there are, two standing for more, and the last that was looked at.
fn up_to_two<'h>(held: impl Iterator<Item = &'h Held>) -> (usize, Option<Held>) {
    held.take(2).fold((0, None), |(count, _), held| (count + 1, Some(*held)))
}

/// Takes a place out.
fn leave<K: Eq + Hash>(places: &mut FxHashMap<K, BTreeSet<Place>>, which: &K, place: Place) {
    if let Some(set) = places.get_mut(which) {
        set.remove(&place);
        if set.is_empty() {
            places.remove(which);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{link::Ids, protocol::Stamp, span::Kind};
    use std::sync::Arc;

    fn server(conn: u64, tid: u32, start_ns: u64) -> Node {
        let first = Stamp { end_ns: start_ns, tid, ..Stamp::default() };
        Node::new(Key { conn, ordinal: start_ns }, Kind::Server, start_ns, &first, Arc::default(), Ids::new([1, 2]))
    }

    /// Requests by connection, thread, start and end are told in this order, and are due in that of their ends.
    fn shared(rows: &[(u64, u32, u64, u64)]) -> Vec<bool> {
        let mut requests = Requests::default();
        let mut nodes: Vec<Node> = rows.iter().map(|(conn, tid, start_ns, _)| server(*conn, *tid, *start_ns)).collect();
        for (node, row) in nodes.iter_mut().zip(rows) {
            requests.received(node);
            node.end_ns = Some(row.3);
            requests.answered(node);
        }
        nodes.sort_by_key(|node| node.end_ns);
        let mut due = |node: &Node| {
            let shares = requests.shares_its_thread(node, node.end_ns.unwrap());
            requests.due(node, None);
            shares
        };
        nodes.iter().map(&mut due).collect()
    }

    #[test]
    fn a_thread_shares_itself_if_two_connections_overlap_on_it() {
        assert_eq!(shared(&[(1, 7, 10, 20), (2, 7, 20, 30), (1, 7, 30, 40)]), [false; 3], "one after the other");
        assert_eq!(shared(&[(1, 7, 10, 40), (2, 7, 20, 30)]), [true, true]);
        assert_eq!(shared(&[(2, 7, 20, 30), (1, 7, 10, 40)]), [true, true], "told in another order");
        assert_eq!(shared(&[(1, 7, 10, 40), (2, 8, 20, 30)]), [false, false], "two threads");
        assert_eq!(shared(&[(1, 7, 10, 40), (1, 7, 20, 30)]), [false, false], "one connection");
        // An earlier one counts whatever ended after it, on its own connection or another one.
        assert_eq!(shared(&[(1, 7, 10, 20), (2, 7, 25, 30), (2, 7, 15, 40)]), [true, false, true]);
    }

    #[test]
    fn requests_are_open_from_their_start_to_their_end_whether_due_or_not() {
        let mut requests = Requests::default();
        let mut nodes = [server(1, 7, 10), server(2, 8, 20), server(3, 8, 30)];
        for node in &nodes {
            requests.received(node);
        }
        (nodes[0].end_ns, nodes[1].end_ns) = (Some(40), Some(50));
        for node in &nodes[..2] {
            requests.answered(node);
        }
        let counts = |requests: &Requests| {
            [5, 10, 25, 39, 40, 49, 50].map(|ns| {
                let open = requests.open_at(ns, 8, [None, Some(nodes[0].key), None]);
                (open.count, open.here_count, open.named[1].is_some())
            })
        };
        let expected =
            [(0, 0, false), (1, 0, true), (2, 1, true), (2, 2, true), (2, 2, false), (2, 2, false), (1, 1, false)];
        assert_eq!(counts(&requests), expected);
        requests.due(&nodes[0], None);
        requests.due(&nodes[1], None);
        assert_eq!(counts(&requests), expected);
        assert!(!requests.are_answered());
    }

    #[test]
    fn what_is_over_is_forgotten_once_no_call_can_ask_for_it_and_told_where_one_could() {
        /// When a call begins that is never decided.
        const FIRST_NS: u64 = 2_000_500_000;
        let mut requests = Requests::default();
        let mut now_ns = 0;
        let mut one = |requests: &mut Requests, first_call_ns| {
            now_ns += 1_000_000;
            let mut node = server(now_ns, 7, now_ns);
            requests.received(&node);
            node.end_ns = Some(now_ns + 1000);
            requests.due(&node, first_call_ns);
        };
        for _ in 0..2000 {
            one(&mut requests, None);
        }
        assert!(requests.over.len() <= 501 && requests.forgotten_ns == 0);
        for _ in 0..SERVERS_MAX {
            one(&mut requests, Some(FIRST_NS));
        }
        assert_eq!(requests.over.len(), SERVERS_MAX);
        assert!(requests.forgotten_ns == 0, "those from before the call are not missed");
        one(&mut requests, Some(FIRST_NS));
        assert!(requests.forgotten_ns > FIRST_NS);
    }
}
