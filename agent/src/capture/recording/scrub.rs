//! Masks payload before it is recorded: what is not on the allow-list never reaches a file. It follows each direction of
//! each connection; where it does not know what bytes are, it masks them.

use crate::{
    capture::event::{Event, runs},
    conn::{Lru, Stream},
    protocol::{Chunk, http1::Scrubber},
    span::redact::Redaction,
};
use netspan_ebpf::{DataEvent, PieceHead, close, data_flag, direction};
use std::sync::Arc;

/// What stands in the place of a byte that was never looked at.
const MASKED: u8 = b'*';

/// Masks the payload of events.
pub struct Scrub {
    redaction: Arc<Redaction>,
    /// Received and sent bytes of each connection.
    conns: Lru<[Way; 2]>,
}

#[derive(Default)]
struct Way {
    stream: Stream,
    scrubber: Scrubber,
    /// An event of it was seen.
    seen: bool,
}

impl Scrub {
    /// Follows at most `capacity` connections; what comes of one that was forgotten is masked up to its next message.
    pub fn new(capacity: usize, redaction: Arc<Redaction>) -> Self {
        Self { redaction, conns: Lru::new(capacity) }
    }

    /// Appends the event's bytes to `out`, with its payload masked. Bytes that are no event give nothing, because nobody
    /// knows what they hold.
    pub fn record(&mut self, record: &[u8], out: &mut Vec<u8>) {
        match Event::decode(record) {
            Ok(Event::Data(event, payload)) => {
                let payload = self.payload(&event, payload);
                Event::Data(event, &payload).encode(out);
            }
            Ok(event) => {
                if let Event::Close(event) = event
                    && !matches!(event.how, close::SHUT_WRITE | close::PEER_END)
                {
                    self.conns.remove(event.head.conn);
                }
                event.encode(out);
            }
            Err(_) => {}
        }
    }

    fn payload(&mut self, event: &DataEvent, payload: &[u8]) -> Vec<u8> {
        let starts = event.flags & data_flag::START != 0;
        if !self.conns.contains(event.head.conn) {
            self.conns.insert(event.head.conn, Default::default());
        }
        let mut clean = vec![MASKED; payload.len()];
        let Some(ways) = self.conns.touch(event.head.conn) else { return clean };
        let Way { stream, scrubber, seen } = &mut ways[usize::from(event.direction != direction::IN)];
        if !std::mem::replace(seen, true) && !starts {
            // Its beginning may be the middle of a message.
            scrubber.missing(Chunk::Lost(0));
        }
        for (run, bytes, at) in runs(event, payload) {
            let end = at + bytes.len();
            // The piece's head, where there is one.
            clean[at.saturating_sub(size_of::<PieceHead>())..at]
                .copy_from_slice(&payload[at.saturating_sub(size_of::<PieceHead>())..at]);
            stream.data(&run, bytes, |_, chunk| match chunk {
                Chunk::Copied(fresh) => {
                    let clean = &mut clean[end - fresh.len()..end];
                    clean.copy_from_slice(fresh);
                    scrubber.copied(clean, starts, &self.redaction);
                }
                missing => scrubber.missing(missing),
            });
        }
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
