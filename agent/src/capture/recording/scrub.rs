//! Masks payload before it is recorded: what is not on the allow-list never reaches a file. It follows each direction of
//! each connection; where it does not know what bytes are, it masks them.

mod speech;

use crate::{
    capture::event::{Event, runs},
    conn::{Lru, Socket, Stream},
    protocol::{Chunk, http2::ScrubCounts, tls},
    span::redact::Redaction,
};
use netspan_ebpf::{ConnEvent, DataEvent, PieceHead, close, data_flag, direction};
use speech::{Run, Speech};
use std::sync::Arc;

/// What stands in the place of a byte that was never looked at.
const MASKED: u8 = b'*';

/// Masks the payload of events.
pub struct Scrub {
    redaction: Arc<Redaction>,
    conns: Lru<Conn>,
    /// What could not be judged on connections that are gone.
    counts: ScrubCounts,
}

/// A connection.
struct Conn {
    socket: Socket,
    speech: Speech,
    /// Received and sent bytes.
    ways: [Way; 2],
    /// Of a connection that carries TLS: its hellos, received and sent.
    hellos: [tls::Beginning; 2],
}

#[derive(Default)]
struct Way {
    stream: Stream,
    /// An event of it was seen.
    seen: bool,
}

impl Scrub {
    /// Follows at most `capacity` connections; what comes of one that was forgotten is masked up to its next message.
    pub fn new(capacity: usize, redaction: Arc<Redaction>) -> Self {
        Self { redaction, conns: Lru::new(capacity), counts: ScrubCounts::default() }
    }

    /// Appends the event's bytes to `out`, with its payload masked. Bytes that are no event give nothing, because nobody
    /// knows what they hold.
    pub fn record(&mut self, record: &[u8], out: &mut Vec<u8>) {
        match Event::decode(record) {
            Ok(Event::Data(event, payload)) if event.flags & data_flag::HELLO != 0 => {
                let payload = self.hello(&event, payload);
                Event::Data(event, &payload).encode(out);
            }
            Ok(Event::Data(event, payload)) => {
                let payload = self.payload(&event, payload);
                Event::Data(event, &payload).encode(out);
            }
            Ok(event) => {
                match &event {
                    Event::Conn(event) => self.learn(event),
                    Event::Close(event) if !matches!(event.how, close::SHUT_WRITE | close::PEER_END) => {
                        let conn = self.conns.remove(event.head.conn);
                        self.forget(conn);
                    }
                    Event::Close(_)
                    | Event::Process(_)
                    | Event::Goroutine(_)
                    | Event::Context(_)
                    | Event::ThreadContext(_)
                    | Event::Task(_)
                    | Event::Thread(_)
                    | Event::Data(..) => {}
                }
                event.encode(out);
            }
            Err(_) => {}
        }
    }

    /// Takes what is told of a connection: who holds which end, and whether its beginning was seen, decides what its bytes
    /// are taken for.
    pub fn learn(&mut self, event: &ConnEvent) {
        if let Some(conn) = self.conn(event.head.conn, event.head.tgid) {
            conn.socket.learn(event);
        }
    }

    /// What could not be judged so far, and is masked for that.
    pub fn counts(&mut self) -> ScrubCounts {
        let mut counts = self.counts;
        self.conns.for_each(|_, conn| counts.add(&conn.speech.counts()));
        counts
    }

    fn conn(&mut self, id: u64, tgid: u32) -> Option<&mut Conn> {
        if !self.conns.contains(id) {
            let conn = Conn {
                socket: Socket::unknown(id, tgid),
                speech: Speech::default(),
                ways: Default::default(),
                hellos: Default::default(),
            };
            let fallen = self.conns.insert(id, conn);
            self.forget(fallen.map(|(_, conn)| conn));
        }
        self.conns.touch(id)
    }

    fn forget(&mut self, conn: Option<Conn>) {
        if let Some(conn) = conn {
            self.counts.add(&conn.speech.counts());
        }
    }

    /// Of a hello nothing stays but what spans show of it.
    fn hello(&mut self, event: &DataEvent, payload: &[u8]) -> Vec<u8> {
        let masked = vec![MASKED; payload.len()];
        let Some(conn) = self.conn(event.head.conn, event.head.tgid) else { return masked };
        let hello = &mut conn.hellos[usize::from(event.direction != direction::IN)];
        if !hello.push(event.pos.saturating_add(u64::from(event.off)), payload) {
            hello.end();
            return masked;
        }
        let mut clean = tls::mask(hello.bytes());
        if hello.is_whole() {
            hello.end();
        }
        clean.split_off(clean.len() - payload.len())
    }

    fn payload(&mut self, event: &DataEvent, payload: &[u8]) -> Vec<u8> {
        let starts = event.flags & data_flag::START != 0;
        let received = event.direction == direction::IN;
        let redaction = Arc::clone(&self.redaction);
        let mut clean = vec![MASKED; payload.len()];
        let Some(Conn { socket, speech, ways, .. }) = self.conn(event.head.conn, event.head.tgid) else { return clean };
        let Way { stream, seen } = &mut ways[usize::from(!received)];
        if !std::mem::replace(seen, true) && !starts {
            speech.begins_anywhere(received);
        }
        for (run, bytes, at) in runs(event, payload) {
            let end = at + bytes.len();
            // The piece's head, where there is one.
            clean[at.saturating_sub(size_of::<PieceHead>())..at]
                .copy_from_slice(&payload[at.saturating_sub(size_of::<PieceHead>())..at]);
            stream.data(&run, bytes, |stamp, chunk| {
                let at = if let Chunk::Copied(fresh) = chunk { end - fresh.len() } else { end };
                let mut run = Run { received, stamp, chunk, starts, clean: &mut clean, at };
                speech.run(socket, &mut run, &redaction);
            });
        }
        speech.flush(received, &mut clean, &redaction);
        clean
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use netspan_ebpf::{EventHead, kind};

    fn scrubbed(scrub: &mut Scrub, event: DataEvent, payload: &[u8]) -> String {
        let head = EventHead { kind: kind::DATA, conn: 1, ..event.head };
        let event = DataEvent { head, copied: payload.len() as u32, len: event.len.max(payload.len() as u32), ..event };
        let (mut record, mut out) = (Vec::new(), Vec::new());
        Event::Data(event, payload).encode(&mut record);
        scrub.record(&record, &mut out);
        let Ok(Event::Data(decoded, payload)) = Event::decode(&out) else { panic!("no data event") };
        assert_eq!(decoded, event, "nothing but the payload changes");
        String::from_utf8(payload.to_vec()).unwrap()
    }

    #[test]
    fn a_head_keeps_what_is_allowed_and_a_secret_split_over_two_calls_is_masked_in_both() {
        let mut scrub = Scrub::new(10, Arc::default());
        let start = DataEvent { flags: data_flag::START, ..DataEvent::default() };
        let first = b"GET /a?key=secret HTTP/1.1\r\nHost: shop\r\nAuthorization: Bas";
        let text = scrubbed(&mut scrub, start, first);
        assert!(text.starts_with("GET /a?key=") && text.contains("Host: shop\r\n"), "{text}");
        assert!(!text.contains("secret") && !text.contains("Bas"), "{text}");
        let rest = DataEvent { pos: first.len() as u64, ..DataEvent::default() };
        let text = scrubbed(&mut scrub, rest, b"ic c2VjcmV0\r\nUser-Agent: curl\r\n\r\n");
        assert!(!text.contains("c2Vj") && text.contains("curl"), "{text}");
    }

    #[test]
    fn sizes_of_chunks_in_the_first_call_of_a_connection_stay() {
        let mut scrub = Scrub::new(10, Arc::default());
        let head = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
        let call = DataEvent { len: 100, flags: data_flag::MORE, ..DataEvent::default() };
        scrubbed(&mut scrub, DataEvent { flags: data_flag::START | data_flag::MORE, ..call }, head);
        let size = DataEvent { off: head.len() as u32, ..call };
        assert_eq!(scrubbed(&mut scrub, size, b"3\r\n"), "3\r\n");
    }

    #[test]
    fn bytes_of_unknown_meaning_are_masked() {
        let mut scrub = Scrub::new(10, Arc::default());
        let text = scrubbed(&mut scrub, DataEvent::default(), b"Host: middle of something");
        assert_eq!(text, "*".repeat(25));
        let mut scrub = Scrub::new(10, Arc::default());
        let start = DataEvent { flags: data_flag::START, ..DataEvent::default() };
        assert!(!scrubbed(&mut scrub, start, b"*2\r\n$4\r\nAUTH\r\n$6\r\nsecret\r\n").contains("secret"));
    }
}
