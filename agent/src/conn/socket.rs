//! What is known of a connection apart from its bytes: role, addresses, and when it came to be.

use crate::protocol::tls::Hellos;
use netspan_ebpf::{ConnEvent, family, known, origin, role};
use std::{
    fmt,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

/// Which end of a connection the process holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Role {
    /// Not known (yet).
    #[default]
    Unknown,
    /// It connected.
    Client,
    /// It accepted.
    Server,
}

/// Address family of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Family {
    /// Not known yet.
    #[default]
    Unknown,
    /// A Unix stream socket.
    Unix,
    /// TCP over IPv4, or over IPv6 with v4-mapped addresses.
    Inet,
    /// TCP over IPv6.
    Inet6,
    /// No stream socket: not looked at.
    Other,
}

/// How a connection came to be known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Origin {
    /// At a message: it is older than the agent, or arrived by an unseen way.
    #[default]
    Found,
    /// Its `connect` was seen: its first byte is the first byte seen.
    Connect,
    /// Its `accept` was seen: its first byte is the first byte seen.
    Accept,
    /// It is a session of TLS that was seen from its beginning.
    Session,
}

/// What is known of a connection apart from its bytes. Stamps are boot-time nanoseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Socket {
    /// Its id, never used again.
    pub id: u64,
    /// Process that it was first seen in.
    pub tgid: u32,
    /// Role of that process.
    pub role: Role,
    /// Address family.
    pub family: Family,
    /// How it came to be known.
    pub origin: Origin,
    /// Own address, v4-mapped ones as IPv4; `None` while unknown and for Unix sockets.
    pub local: Option<SocketAddr>,
    /// The other end's address, likewise.
    pub peer: Option<SocketAddr>,
    /// Own and other end as raw numbers, for matching the two ends of one connection. For Unix sockets these are
    /// whatever unique numbers the source could tell of the two sockets (inodes); `None` while either is unknown.
    pub ends: Option<(SocketEnd, SocketEnd)>,
    /// `ends` are as the other end has them: addresses that are translated on the way were looked up.
    pub translated: bool,
    /// That is being looked up.
    pub looking: bool,
    /// What TCP counts from, as [`ConnEvent::sequences`] tells it; [`Socket::sequences`] is what to compare.
    pub counted_from: Option<[u32; 2]>,
    /// Inode number of its network namespace, or 0 where that is not known.
    pub netns: u32,
    /// `SO_COOKIE`, or 0.
    pub cookie: u64,
    /// The kernel's number of the socket, or 0: equal numbers at one time are one socket.
    pub number: u64,
    /// The descriptor when first seen, or -1.
    pub fd: i32,
    /// When the connection was begun, or 0.
    pub syn_ns: u64,
    /// When it was established, or 0.
    pub established_ns: u64,
    /// When `accept` returned it, or 0.
    pub accepted_ns: u64,
    /// Whether it is a session of TLS: its bytes are plaintext, and all else here is of the socket that carries it.
    pub tls: bool,
    /// For a session the id of the connection that carries it, or 0 where that is not known.
    pub over: u64,
    /// For a session what was said in the clear when it began, as far as that was seen.
    pub hellos: Option<Arc<Hellos>>,
}

/// One end of a connection as raw numbers: address and port.
pub type SocketEnd = ([u8; 16], u16);

/// The initial sequence numbers of a connection of TCP (RFC 9293 section 3.4.1): the client's, and the server's. Both ends have the same
/// two, on whatever hosts they are, and whatever addresses are translated in between; two connections of one time do not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Sequences {
    /// That of the `SYN`.
    pub client: u32,
    /// That of its answer.
    pub server: u32,
}

impl fmt::Display for Sequences {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:08x}-{:08x}", self.client, self.server)
    }
}

impl Socket {
    /// A connection of which nothing is known but that bytes moved.
    pub fn unknown(id: u64, tgid: u32) -> Self {
        Self { id, tgid, fd: -1, ..Self::default() }
    }

    /// Takes over what `event` tells. An event carries the whole of what the kernel side knows; what it does not know
    /// is kept from before, because user space may have found it out by looking at the descriptor.
    pub fn learn(&mut self, event: &ConnEvent) {
        if event.known == known::TRANSLATED {
            (self.translated, self.looking) = (true, false);
            self.ends = Some(((event.local, event.local_port), (event.peer, event.peer_port)));
            return;
        }
        match event.role {
            role::CLIENT => self.role = Role::Client,
            role::SERVER => self.role = Role::Server,
            _ => {}
        }
        match event.family {
            family::UNIX => self.family = Family::Unix,
            family::INET => self.family = Family::Inet,
            family::INET6 => self.family = Family::Inet6,
            family::OTHER => self.family = Family::Other,
            _ => {}
        }
        match event.origin {
            origin::CONNECT => self.origin = Origin::Connect,
            origin::ACCEPT => self.origin = Origin::Accept,
            origin::SESSION => self.origin = Origin::Session,
            _ => {}
        }
        let is_known = |bits| event.known & bits == bits;
        let inet = self.family != Family::Unix;
        if is_known(known::LOCAL) && inet {
            self.local = Some(address(event.local, event.local_port));
        }
        if is_known(known::PEER) && inet {
            self.peer = Some(address(event.peer, event.peer_port));
        }
        let told = |end: SocketEnd| if end == ([0; 16], 0) { None } else { Some(end) };
        if !self.translated
            && is_known(known::LOCAL | known::PEER)
            && let (Some(local), Some(peer)) =
                (told((event.local, event.local_port)), told((event.peer, event.peer_port)))
        {
            self.ends = Some((local, peer));
        }
        self.looking |= is_known(known::LOOKING) && !self.translated;
        if is_known(known::SEQUENCES) {
            self.counted_from = Some(event.sequences);
        }
        for (field, value) in [
            (&mut self.cookie, event.cookie),
            (&mut self.number, event.sock),
            (&mut self.syn_ns, event.syn_ns),
            (&mut self.established_ns, event.established_ns),
            (&mut self.accepted_ns, event.accepted_ns),
        ] {
            if value != 0 {
                *field = value;
            }
        }
        if event.fd >= 0 {
            self.fd = event.fd;
        }
        if event.netns != 0 {
            self.netns = event.netns;
        }
        self.tls |= event.tls != 0;
        if event.over != 0 {
            self.over = event.over;
        }
    }

    /// The same with what was said in the clear when it began.
    #[must_use]
    pub fn with_hellos(&self, hellos: Arc<Hellos>) -> Self {
        Self { hellos: Some(hellos), ..self.clone() }
    }

    /// How long establishing took, for the end that connected.
    pub fn connect_ns(&self) -> Option<u64> {
        let begun = self.role == Role::Client && self.syn_ns != 0;
        if begun { self.established_ns.checked_sub(self.syn_ns) } else { None }
    }

    /// How long it waited to be accepted, for the end that accepted.
    pub fn accept_wait_ns(&self) -> Option<u64> {
        let told = self.role == Role::Server && self.established_ns != 0;
        if told { self.accepted_ns.checked_sub(self.established_ns) } else { None }
    }

    /// The initial sequence numbers, once it is known which end it is.
    pub fn sequences(&self) -> Option<Sequences> {
        let [own, peer] = self.counted_from?;
        match self.role {
            Role::Client => Some(Sequences { client: own, server: peer }),
            Role::Server => Some(Sequences { client: peer, server: own.wrapping_sub(1) }),
            Role::Unknown => None,
        }
    }

    /// Whether its first byte was seen, so that ordinals count from its first request.
    pub fn from_beginning(&self) -> bool {
        self.origin != Origin::Found
    }
}

/// An address in network order, v4-mapped ones as IPv4.
fn address(octets: [u8; 16], port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V6(Ipv6Addr::from(octets)).to_canonical(), port)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapped(last: u8) -> [u8; 16] {
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 127, 0, 0, last]
    }

    #[test]
    fn what_was_translated_on_the_way_stays_so_and_shows_in_no_address() {
        let end = |last, port| (mapped(last), port);
        let told = |known, (local, local_port): SocketEnd, (peer, peer_port): SocketEnd| ConnEvent {
            known,
            role: role::CLIENT,
            family: family::INET,
            local,
            local_port,
            peer,
            peer_port,
            ..ConnEvent::default()
        };
        let mut socket = Socket::unknown(7, 1);
        socket.learn(&told(known::LOCAL | known::PEER | known::LOOKING, end(1, 4000), end(9, 80)));
        assert_eq!((socket.looking, socket.ends), (true, Some((end(1, 4000), end(9, 80)))));
        socket.learn(&told(known::TRANSLATED, end(1, 5555), end(2, 8080)));
        assert_eq!((socket.looking, socket.ends), (false, Some((end(1, 5555), end(2, 8080)))));
        // The kernel side knows nothing of it.
        socket.learn(&told(known::LOCAL | known::PEER | known::COOKIE, end(1, 4000), end(9, 80)));
        assert_eq!((socket.looking, socket.ends), (false, Some((end(1, 5555), end(2, 8080)))));
        assert_eq!(socket.peer, Some("127.0.0.9:80".parse().unwrap()));
    }

    #[test]
    fn a_later_event_adds_what_it_knows_and_takes_nothing_away() {
        let mut socket = Socket::unknown(7, 1);
        let first = ConnEvent {
            role: role::CLIENT,
            family: family::INET6,
            peer: mapped(1),
            peer_port: 80,
            known: known::PEER,
            syn_ns: 10,
            ..ConnEvent::default()
        };
        socket.learn(&first);
        assert_eq!(socket.peer, Some("127.0.0.1:80".parse().unwrap()));
        assert_eq!((socket.local, socket.ends), (None, None));
        let second = ConnEvent {
            local: mapped(2),
            local_port: 4000,
            peer: mapped(1),
            peer_port: 80,
            known: known::LOCAL | known::PEER,
            established_ns: 15,
            ..ConnEvent::default()
        };
        socket.learn(&second);
        assert_eq!(socket.role, Role::Client);
        assert_eq!(socket.local, Some("127.0.0.2:4000".parse().unwrap()));
        assert_eq!(socket.connect_ns(), Some(5));
        assert_eq!(socket.ends, Some(((mapped(2), 4000), (mapped(1), 80))));
    }

    #[test]
    fn a_real_ipv6_address_stays_one() {
        let mut socket = Socket::unknown(7, 1);
        let octets = "2001:db8::1".parse::<Ipv6Addr>().unwrap().octets();
        socket.learn(&ConnEvent {
            family: family::INET6,
            local: octets,
            local_port: 1,
            known: known::LOCAL,
            ..ConnEvent::default()
        });
        assert_eq!(socket.local, Some("[2001:db8::1]:1".parse().unwrap()));
    }
}
