//! The two ends of one connection on this host: which client connection a server connection mirrors. It compares initial
//! sequence numbers, else addresses, and lifetimes; never bytes.

use super::{Conn, Key, Linker};
use crate::conn::{Family, Role, Sequences, Socket, SocketEnd};
use rustc_hash::FxHashMap;
use std::{collections::BTreeSet, hash::Hash};

/// The client's end and the server's end, and whether these are numbers of Unix sockets.
type Pair = (SocketEnd, SocketEnd, bool);

/// The client connections of this host, by their ends.
#[derive(Default)]
pub(super) struct Ends {
    clients: FxHashMap<Pair, Vec<u64>>,
    /// The same by what no translation of addresses changes, where that is known.
    numbered: FxHashMap<Sequences, Vec<u64>>,
    /// Client connections whose ends are not known yet, or may be translated on the way.
    unknown: BTreeSet<u64>,
}

impl Ends {
    /// Takes over what is known of a connection now.
    pub(super) fn learn(&mut self, socket: &Socket) {
        if socket.role != Role::Client {
            return;
        }
        if let Some(sequences) = socket.sequences() {
            enter(&mut self.numbered, sequences, socket.id);
        }
        let Some(pair) = pair(socket) else {
            if may_be_addressed(socket) {
                self.unknown.insert(socket.id);
            }
            return;
        };
        if socket.looking {
            self.unknown.insert(socket.id);
        } else {
            self.unknown.remove(&socket.id);
        }
        enter(&mut self.clients, pair, socket.id);
    }

    pub(super) fn forget(&mut self, socket: &Socket) {
        self.unknown.remove(&socket.id);
        if let Some(sequences) = socket.sequences() {
            strike_out(&mut self.numbered, &sequences, socket.id);
        }
        if let Some(pair) = pair(socket) {
            strike_out(&mut self.clients, &pair, socket.id);
        }
    }

    fn clients_of(&self, server: &Socket) -> &[u64] {
        pair(server).and_then(|pair| self.clients.get(&pair)).map_or(&[], Vec::as_slice)
    }

    fn numbered_as(&self, server: &Socket) -> &[u64] {
        server.sequences().and_then(|sequences| self.numbered.get(&sequences)).map_or(&[], Vec::as_slice)
    }
}

fn enter<K: Eq + Hash>(map: &mut FxHashMap<K, Vec<u64>>, key: K, id: u64) {
    let ids = map.entry(key).or_default();
    if !ids.contains(&id) {
        ids.push(id);
    }
}

fn strike_out<K: Eq + Hash>(map: &mut FxHashMap<K, Vec<u64>>, key: &K, id: u64) {
    if let Some(ids) = map.get_mut(key) {
        ids.retain(|other| *other != id);
        if ids.is_empty() {
            map.remove(key);
        }
    }
}

/// The ends in the order client, server, whichever end the socket is.
fn pair(socket: &Socket) -> Option<Pair> {
    let (local, peer) = socket.ends?;
    let unix = socket.family == Family::Unix;
    match socket.role {
        Role::Client => Some((local, peer, unix)),
        Role::Server => Some((peer, local, unix)),
        Role::Unknown => None,
    }
}

impl Linker {
    /// The client connection on this host whose other end is this server connection: the one with the same initial sequence
    /// numbers, whatever addresses were translated in between; where these are not known, one with mirrored addresses. Ports are
    /// used again, so of several the youngest counts that lived at the time of the exchange. Two network namespaces may have the
    /// same addresses: a loopback connection does not leave its namespace, and where others are possible in two, nothing is claimed.
    pub(super) fn client_conn(&self, server: Key, start_ns: u64) -> Option<u64> {
        let server = &self.conns.get(&server.conn)?.socket;
        // A session mirrors a session: what carries it has the same addresses and numbers.
        let same = |client: &&Socket| client.tls == server.tls;
        let numbered = self.alive(self.ends.numbered_as(server), server, start_ns).filter(same);
        if let Some(client) = numbered.max_by_key(|client| (begun_ns(client), client.id)) {
            return Some(client.id);
        }
        let mut clients = self.clients_at(server, start_ns).filter(same);
        let first = clients.next()?;
        match clients.next() {
            None => choose(server, &[first]),
            Some(second) => choose(server, &[first, second].into_iter().chain(clients).collect::<Vec<_>>()),
        }
    }

    /// Whether a session's client is on this host, of which only the socket is known so far: its first call may not have
    /// returned yet.
    pub(super) fn may_have_session(&self, server: Key, start_ns: u64) -> bool {
        let server = self.conns.get(&server.conn).map(|conn| &*conn.socket).filter(|server| server.tls);
        server.is_some_and(|server| {
            let mut numbered = self.alive(self.ends.numbered_as(server), server, start_ns);
            numbered.any(|client| !client.tls) || self.clients_at(server, start_ns).any(|client| !client.tls)
        })
    }

    /// The client connections with mirrored addresses that lived at a time. Other sequence numbers are those of another
    /// connection; within one namespace somebody may have replaced them (a `SYN` proxy), since there the addresses are enough.
    fn clients_at<'l>(&'l self, server: &'l Socket, start_ns: u64) -> impl Iterator<Item = &'l Socket> {
        let numbers = server.sequences();
        let fits = move |client: &&Socket| {
            let differ = numbers.is_some() && client.sequences().is_some_and(|other| Some(other) != numbers);
            !differ || client.netns == server.netns
        };
        self.alive(self.ends.clients_of(server), server, start_ns).filter(fits)
    }

    /// Of these clients those that lived at a time.
    fn alive<'l>(&'l self, ids: &'l [u64], server: &'l Socket, start_ns: u64) -> impl Iterator<Item = &'l Socket> {
        let conns = ids.iter().filter_map(|id| self.conns.get(id));
        let lived = move |client: &&Conn| {
            begun_ns(&client.socket) <= start_ns
                && client.closed_ns.is_none_or(|closed_ns| closed_ns >= opened_ns(server))
        };
        conns.filter(lived).map(|client| &*client.socket)
    }

    /// Whether a connection may yet turn out to be the other end of this server connection: one of the two does not know
    /// its addresses.
    pub(super) fn may_mirror(&self, server: Key) -> bool {
        let unaddressed = self.conns.get(&server.conn).is_some_and(|conn| may_be_addressed(&conn.socket));
        let waits = |id: &u64| self.conns.get(id).is_some_and(|conn| !conn.exchanges.is_empty());
        unaddressed || self.ends.unknown.iter().any(waits)
    }
}

/// The youngest of the clients that can be the other end.
fn choose(server: &Socket, clients: &[&Socket]) -> Option<u64> {
    let youngest = |fits: &dyn Fn(&Socket) -> bool| {
        let fitting = clients.iter().filter(|client| fits(client));
        fitting.max_by_key(|client| (begun_ns(client), client.id)).map(|client| client.id)
    };
    let at_home = youngest(&|client| client.netns != 0 && client.netns == server.netns);
    let is_loopback = server.peer.is_some_and(|peer| peer.ip().is_loopback());
    let unclear = |client: &Socket| client.netns == 0 || server.netns == 0;
    let mut abroad = clients.iter().map(|client| client.netns).filter(|netns| *netns != 0);
    let is_one_place = abroad.next().is_none_or(|first| abroad.all(|netns| netns == first));
    match at_home {
        Some(client) => Some(client),
        None if is_loopback => youngest(&unclear),
        None if !is_one_place => None,
        None => youngest(&|_| true),
    }
}

/// Whether addresses are missing that may still come. Unix sockets have none to wait for.
fn may_be_addressed(socket: &Socket) -> bool {
    socket.ends.is_none() && matches!(socket.family, Family::Unknown | Family::Inet | Family::Inet6)
}

fn begun_ns(client: &Socket) -> u64 {
    client.syn_ns.max(client.established_ns)
}

fn opened_ns(server: &Socket) -> u64 {
    server.established_ns.max(server.accepted_ns)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn socket(id: u64, role: Role, ends: Option<(SocketEnd, SocketEnd)>) -> Socket {
        Socket { id, role, ends, family: Family::Inet, ..Socket::default() }
    }

    #[test]
    fn a_connection_stays_in_its_namespace_where_addresses_repeat() {
        let at = |id, netns, address: &str| Socket {
            netns,
            peer: Some(format!("{address}:80").parse().unwrap()),
            ..socket(id, Role::Server, None)
        };
        let (one, two, unknown) = (at(1, 7, "127.0.0.1"), at(2, 8, "127.0.0.1"), at(3, 0, "127.0.0.1"));
        assert_eq!(choose(&at(9, 7, "127.0.0.1"), &[&one, &two]), Some(1));
        assert_eq!(choose(&at(9, 6, "127.0.0.1"), &[&one, &two]), None);
        assert_eq!(choose(&at(9, 6, "127.0.0.1"), &[&one, &unknown]), Some(3));
        assert_eq!(choose(&at(9, 0, "127.0.0.1"), &[&one]), Some(1));
        // Between two containers the two ends are in two namespaces.
        assert_eq!(choose(&at(9, 6, "172.17.0.2"), &[&one]), Some(1));
        assert_eq!(choose(&at(9, 6, "172.17.0.2"), &[&one, &two]), None, "which of the two is not known");
    }

    #[test]
    fn initial_sequence_numbers_tell_the_client_whatever_the_addresses_are() {
        let numbered = |id, role, address: u8, counted_from| Socket {
            counted_from: Some(counted_from),
            ..socket(id, role, Some((([address; 16], 4000), ([address; 16], 80))))
        };
        let mut ends = Ends::default();
        ends.learn(&numbered(1, Role::Client, 1, [700, 900]));
        ends.learn(&numbered(2, Role::Client, 2, [u32::MAX, 0]));
        // What the kernel counts from at the end that accepted is one more than what it sent first.
        assert_eq!(ends.numbered_as(&numbered(3, Role::Server, 3, [901, 700])), [1]);
        assert_eq!(ends.numbered_as(&numbered(4, Role::Server, 3, [1, u32::MAX])), [2]);
        assert!(ends.numbered_as(&numbered(5, Role::Server, 3, [900, 700])).is_empty());
        assert!(
            ends.numbered_as(&numbered(6, Role::Unknown, 3, [901, 700])).is_empty(),
            "which end it is is not known"
        );
        ends.forget(&numbered(1, Role::Client, 1, [700, 900]));
        assert!(ends.numbered_as(&numbered(3, Role::Server, 3, [901, 700])).is_empty());
        assert_eq!((ends.numbered.len(), ends.clients.len()), (1, 1));
    }

    #[test]
    fn a_server_finds_the_client_with_mirrored_addresses_once_they_are_known() {
        let (a, b) = (([1; 16], 4000), ([1; 16], 80));
        let mut ends = Ends::default();
        ends.learn(&socket(1, Role::Client, None));
        let server = socket(2, Role::Server, Some((b, a)));
        assert_eq!((ends.clients_of(&server), ends.unknown.len()), (&[][..], 1));
        ends.learn(&socket(1, Role::Client, Some((a, b))));
        assert_eq!((ends.clients_of(&server), ends.unknown.len()), (&[1][..], 0));
        let stranger = socket(3, Role::Server, Some((a, b)));
        assert!(ends.clients_of(&stranger).is_empty());
        ends.forget(&socket(1, Role::Client, Some((a, b))));
        assert!(ends.clients_of(&server).is_empty() && ends.clients.is_empty());
    }
}
