//! The hellos of connections that carry TLS, until the sessions that they carry take them over. Which of the two is heard of
//! first does not matter. It keeps a hello's bytes only until it is whole.

use super::lru::Lru;
use crate::protocol::tls::{Beginning, Hellos as Told, hello};
use netspan_ebpf::{DataEvent, direction};
use std::sync::Arc;

/// Connections whose hellos are known at one time; past it, the one used longest ago is forgotten. A session takes them
/// over with its first bytes, moments later.
pub const HELLOS_MAX: usize = 4096;

/// What happened to hellos so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// Hellos that were read.
    pub(super) read: u64,
    /// Hellos that told nothing: a part of them was lost, or they were no hellos.
    pub(super) unread: u64,
    /// Connections whose hellos were forgotten before a session took them over.
    pub(super) untaken: u64,
}

/// The hellos, by the ids of the connections that carry TLS.
pub(super) struct Hellos {
    carriers: Lru<Carrier>,
    pub(super) counts: Counts,
}

#[derive(Default)]
struct Carrier {
    /// Received and sent.
    flows: [Beginning; 2],
    told: Arc<Told>,
    /// The session that it carries.
    session: Option<u64>,
}

impl Default for Hellos {
    fn default() -> Self {
        Self { carriers: Lru::new(HELLOS_MAX), counts: Counts::default() }
    }
}

impl Hellos {
    /// Takes bytes of a hello. Returns what is known now, with the session that it is about, if there is one already.
    pub(super) fn data(&mut self, event: &DataEvent, payload: &[u8]) -> Option<(u64, Arc<Told>)> {
        let carrier = carrier(&mut self.carriers, event.head.conn, &mut self.counts);
        let flow = &mut carrier.flows[usize::from(event.direction == direction::OUT)];
        if flow.is_over() {
            return None;
        }
        let follows = flow.push(event.pos.saturating_add(u64::from(event.off)), payload);
        if follows && !flow.is_whole() {
            return None;
        }
        // What was lost of it could be anything.
        let hello = if follows { hello::parse(flow.bytes()).ok() } else { None };
        flow.end();
        let Some(hello) = hello else {
            self.counts.unread += 1;
            return None;
        };
        self.counts.read += 1;
        Arc::make_mut(&mut carrier.told).learn(hello);
        carrier.session.map(|session| (session, Arc::clone(&carrier.told)))
    }

    /// A session goes over a connection: returns what is known of its hellos so far.
    pub(super) fn session(&mut self, over: u64, session: u64) -> Arc<Told> {
        let carrier = carrier(&mut self.carriers, over, &mut self.counts);
        carrier.session = Some(session);
        Arc::clone(&carrier.told)
    }
}

/// A connection, made if it is not known.
fn carrier<'a>(carriers: &'a mut Lru<Carrier>, id: u64, counts: &mut Counts) -> &'a mut Carrier {
    if !carriers.contains(id)
        && let Some((_, fallen)) = carriers.insert(id, Carrier::default())
    {
        counts.untaken += u64::from(fallen.session.is_none());
    }
    carriers.touch(id).expect("it was just put in")
}

#[cfg(test)]
mod tests {
    use super::*;
    use netspan_ebpf::EventHead;

    /// A hello of a client for TLS 1.2 that asks for `name`, and nothing else.
    fn client(name: &str) -> Vec<u8> {
        let len = name.len() as u8;
        let name = [&[0, 0, 0, len + 5, 0, len + 3, 0, 0, len][..], name.as_bytes()].concat();
        hello(1, &[&[0, 2, 0x13, 1, 1, 0, 0, name.len() as u8][..], &name].concat())
    }

    /// A hello of a server for TLS 1.2 that chose `http/1.1`.
    fn server() -> Vec<u8> {
        hello(2, b"\x13\x01\x00\x00\x0f\x00\x10\x00\x0b\x00\x09\x08http/1.1")
    }

    /// A record with a hello, of what comes behind the session id.
    fn hello(kind: u8, rest: &[u8]) -> Vec<u8> {
        let body = [&[3, 3][..], &[7; 32], &[0], rest].concat();
        let message = [&[kind, 0, 0, body.len() as u8][..], &body].concat();
        [&[0x16, 3, 1, 0, message.len() as u8][..], &message].concat()
    }

    fn data(hellos: &mut Hellos, carrier: u64, direction: u8, pos: u64, bytes: &[u8]) -> Option<(u64, Arc<Told>)> {
        let head = EventHead { conn: carrier, ..EventHead::default() };
        hellos.data(&DataEvent { head, direction, pos, ..DataEvent::default() }, bytes)
    }

    fn whole() -> Told {
        Told {
            server_name: Some("shop".into()),
            version: Some(hello::Version::TLS12),
            protocol: Some("http/1.1".into()),
        }
    }

    #[test]
    fn a_session_takes_the_hellos_over_whichever_is_heard_of_first() {
        let mut before = Hellos::default();
        assert_eq!(data(&mut before, 1, direction::OUT, 0, &client("shop")), None);
        assert_eq!(data(&mut before, 1, direction::IN, 0, &server()), None);
        assert_eq!(*before.session(1, 9), whole());

        let mut after = Hellos::default();
        assert_eq!(*after.session(1, 9), Told::default());
        let (session, told) = data(&mut after, 1, direction::IN, 0, &client("shop")).unwrap();
        assert_eq!((session, told.server_name.as_deref(), &told.protocol), (9, Some("shop"), &None));
        let (session, told) = data(&mut after, 1, direction::OUT, 0, &server()).unwrap();
        assert_eq!((session, &*told), (9, &whole()));
        assert_eq!(after.counts, Counts { read: 2, ..Counts::default() });
    }

    #[test]
    fn a_hello_in_pieces_is_read_with_its_last_and_one_with_a_gap_never() {
        let flow = server();
        for lost in [false, true] {
            let mut hellos = Hellos::default();
            hellos.session(1, 9);
            let mut told = None;
            for (n, piece) in flow.chunks(5).enumerate() {
                assert_eq!(told, None);
                if !(lost && n == 3) {
                    told = data(&mut hellos, 1, direction::IN, 5 * n as u64, piece);
                }
            }
            assert_eq!(told.is_some(), !lost);
            assert_eq!((hellos.counts.read, hellos.counts.unread), (u64::from(!lost), u64::from(lost)));
        }
    }

    #[test]
    fn what_is_no_hello_is_counted_once() {
        let mut hellos = Hellos::default();
        for pos in [0, 9] {
            data(&mut hellos, 1, direction::IN, pos, b"\x16\x03\x03\x00\x04\x0b\0\0\0");
        }
        assert_eq!(hellos.counts, Counts { unread: 1, ..Counts::default() });
    }

    #[test]
    fn of_too_many_connections_those_that_no_session_took_are_counted() {
        let mut hellos = Hellos::default();
        for carrier in 1..=HELLOS_MAX as u64 + 10 {
            data(&mut hellos, carrier, direction::IN, 0, &server());
            if carrier <= 4 {
                hellos.session(carrier, carrier + 100_000);
            }
        }
        assert_eq!((hellos.carriers.len(), hellos.counts.untaken), (HELLOS_MAX, 6));
    }
}
