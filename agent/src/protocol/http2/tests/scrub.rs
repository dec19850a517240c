//! What a recording may hold: the parser makes the same of scrubbed bytes, and no secret is in them.

use std::sync::Arc;

use httlib_hpack::Encoder;

use super::{super::Scrubber, frames::*, *};
use crate::{
    protocol::Chunk,
    span::redact::{Query, Redaction},
};

/// What no recording may hold.
pub(super) const SECRET: &str = "s3cr3tK7";
/// What a byte is before it is let through.
const MASKED: u8 = b'*';

/// A connection seen live, and the same through a recording.
pub(super) struct Twins {
    pub(super) live: Dialogue,
    pub(super) replay: Dialogue,
    pub(super) scrubber: Scrubber,
    redaction: Arc<Redaction>,
    /// The payload of all records.
    pub(super) written: Vec<u8>,
}

impl Twins {
    pub(super) fn new(joined_late: bool, redaction: Redaction) -> Self {
        let redaction = Arc::new(redaction);
        let config = Config { joined_late, redaction: Arc::clone(&redaction), ..Config::new(Observer::Server) };
        Self {
            live: Dialogue::new(config.clone()),
            replay: Dialogue::new(config),
            scrubber: Scrubber::new(joined_late),
            redaction,
            written: Vec::new(),
        }
    }

    fn greeted() -> Self {
        let mut twins = Self::new(false, Redaction::default());
        twins.call(Flow::Requests, &[&[Chunk::Copied(&preface())]]);
        twins.call(Flow::Responses, &[&[Chunk::Copied(&settings(&[]))]]);
        twins
    }

    /// A call that is told in several records, each of several runs.
    pub(super) fn call(&mut self, flow: Flow, records: &[&[Chunk<'_>]]) {
        let stamp = self.live.stamp();
        for record in records {
            self.record(flow, &stamp, record);
        }
    }

    fn record(&mut self, flow: Flow, stamp: &Stamp, chunks: &[Chunk<'_>]) {
        let copied = |chunk: &Chunk<'_>| if let Chunk::Copied(bytes) = chunk { bytes.len() } else { 0 };
        let mut clean = vec![MASKED; chunks.iter().map(copied).sum()];
        let mut at = 0;
        for chunk in chunks {
            self.live.connection.data(flow, stamp, *chunk, &mut self.live.out);
            self.scrubber.chunk(flow, stamp, *chunk, (&mut clean, at), &self.redaction);
            at += copied(chunk);
        }
        self.scrubber.flush(flow, &mut clean, &self.redaction);
        let mut rest = &clean[..];
        for chunk in chunks {
            let (bytes, after) = rest.split_at(copied(chunk));
            rest = after;
            let chunk = if let Chunk::Copied(_) = chunk { Chunk::Copied(bytes) } else { *chunk };
            self.replay.connection.data(flow, stamp, chunk, &mut self.replay.out);
        }
        self.written.extend(clean);
    }

    /// The replay gives the exchanges that were seen live, whatever is told of them: out of step, live values may be no
    /// values of headers, and are masked.
    #[track_caller]
    pub(super) fn agree_in_shape(&self, seed: u64) {
        let shape = |notice: &Notice| match notice {
            Notice::Finished(exchange) => {
                Some((exchange.ordinal, exchange.sent, exchange.answered, exchange.incomplete, exchange.reset))
            }
            Notice::Started { .. } | Notice::Opaque => None,
        };
        let of = |dialogue: &Dialogue| dialogue.out.iter().map(shape).collect::<Vec<_>>();
        assert_eq!(of(&self.live), of(&self.replay), "seed {seed}");
    }

    /// The replay gives what was seen live; where a value was parted, but for what its end was needed for.
    #[track_caller]
    pub(super) fn agree(&self, seed: u64) {
        let parted = self.scrubber.counts().parted > 0;
        let view = |dialogue: &Dialogue| -> Vec<Notice> {
            let mut out = dialogue.out.clone();
            for notice in &mut out {
                if let (Notice::Finished(exchange), true) = (notice, parted) {
                    shorten(exchange);
                }
            }
            out
        };
        let (live, replay) = (view(&self.live), view(&self.replay));
        for (live, replay) in live.iter().zip(&replay) {
            assert_eq!(live, replay, "seed {seed}");
        }
        assert_eq!(live.len(), replay.len(), "seed {seed}");
    }

    pub(super) fn holds_secret(&self) -> bool {
        contains(&self.written, SECRET)
    }

    #[track_caller]
    pub(super) fn holds_no_secret(&self, seed: u64) {
        assert!(!self.holds_secret(), "seed {seed}: {}", self.written.escape_ascii());
    }
}

/// Takes what depends on the end of a value out of an exchange.
fn shorten(exchange: &mut Exchange) {
    if let Some(request) = &mut exchange.request {
        let end = request.target.iter().position(|byte| b"?;#".contains(byte)).unwrap_or(request.target.len());
        request.target.truncate(end);
        request.headers.retain(|(name, _)| name != "host" && name != "referer");
    }
    if let Some(response) = &mut exchange.response {
        response.headers.retain(|(name, _)| name != "referer");
    }
}

/// Whether bytes hold a text as it is or Huffman-coded, from any bit on.
pub(super) fn contains(bytes: &[u8], text: &str) -> bool {
    let bits = text.bytes().map(code_length).sum::<u32>();
    let block = literals(&[("x", text)], Encoder::HUFFMAN_VALUE);
    let coded = &block[block.len() - bits.div_ceil(8) as usize..];
    let code = coded.iter().fold(0_u128, |code, byte| code << 8 | u128::from(*byte)) >> (coded.len() as u32 * 8 - bits);
    let mask = (1_u128 << bits) - 1;
    let mut window = 0_u128;
    let plain = bytes.windows(text.len()).any(|window| window == text.as_bytes());
    plain
        || bytes.iter().enumerate().any(|(at, byte)| {
            (0..8).rev().any(|bit| {
                window = (window << 1 | u128::from(byte >> bit & 1)) & mask;
                at * 8 + 8 - bit >= bits as usize && window == code
            })
        })
}

/// Bits of a symbol, as an encoder that is not ours has them.
fn code_length(byte: u8) -> u32 {
    match byte {
        b'0'..=b'2' | b'a' | b'c' | b'e' | b'i' | b'o' | b's' | b't' => 5,
        b'3'..=b'9' | b'b' | b'd' | b'f' | b'g' | b'h' | b'l' | b'm' | b'n' | b'p' | b'r' | b'u' => 6,
        b'K' | b'j' | b'k' => 7,
        _ => panic!("not in the table of this test"),
    }
}

/// A block of literals, Huffman-coded or not, inserted into the table or not.
fn literals(fields: &[(&str, &str)], flags: u8) -> Vec<u8> {
    let mut encoder = Encoder::default();
    let mut block = Vec::new();
    for (name, value) in fields {
        encoder.encode((name.as_bytes().to_vec(), value.as_bytes().to_vec(), flags), &mut block).unwrap();
    }
    block
}

fn secrets() -> Vec<(&'static str, &'static str)> {
    vec![
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/shop.Cart/Add;j=s3cr3tK7?key=s3cr3tK7&s3cr3tK7"),
        (":authority", "s3cr3tK7:s3cr3tK7@shop.example:80"),
        ("authorization", "Bearer s3cr3tK7"),
        ("cookie", "a=s3cr3tK7; b=s3cr3tK7"),
        ("user-agent", "test/1"),
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ("content-type", "application/grpc"),
        ("x-s", "s3cr3tK7"),
        ("grpc-timeout", "1S"),
    ]
}

#[test]
fn the_test_finds_secrets_in_any_form() {
    for flags in FLAGS {
        for value in [SECRET.to_owned(), format!("!{SECRET}"), format!("ab{SECRET}0")] {
            assert!(contains(&literals(&[("x", &value)], flags), SECRET), "{flags} {value}");
        }
        assert!(!contains(&literals(&[("x", "s3cr3tK8")], flags), SECRET));
    }
    assert!(!contains(b"s3cr3tK and 7", SECRET));
}

/// Strings Huffman-coded or not, fields inserted or not.
const FLAGS: [u8; 4] = [0, Encoder::WITH_INDEXING, CODED, CODED | Encoder::WITH_INDEXING];
const CODED: u8 = Encoder::HUFFMAN_NAME | Encoder::HUFFMAN_VALUE;

#[test]
fn a_block_within_a_record_gives_the_same_exchange_and_no_secret() {
    for flags in FLAGS {
        let block = literals(&secrets(), flags);
        for at in 0..=block.len() {
            // As two frames, of which each comes in two runs.
            let (first, rest) = block.split_at(at);
            let bytes = [frame(1, 0, 1, first), frame(9, END_HEADERS, 1, rest)].concat();
            let (one, two) = bytes.split_at(at);
            let mut twins = Twins::greeted();
            twins.call(Flow::Requests, &[&[Chunk::Copied(one), Chunk::Copied(two)]]);
            // The entries of the table, if there are any.
            let again = frame(1, END_HEADERS, 3, &block);
            twins.call(Flow::Requests, &[&[Chunk::Copied(&again)]]);
            twins.call(Flow::Responses, &[&[Chunk::Copied(&response(1, END_STREAM, "200"))]]);
            twins.call(Flow::Requests, &[&[Chunk::Copied(&data(1, END_STREAM, b""))]]);
            twins.holds_no_secret(at as u64);
            twins.agree(at as u64);
            assert_eq!(twins.live.finished().len(), 1);
            assert_eq!(twins.scrubber.counts(), crate::protocol::http2::ScrubCounts::default());
        }
    }
}

#[test]
fn a_block_in_several_records_gives_the_same_exchange_but_for_its_parted_value() {
    for flags in FLAGS {
        let bytes = frame(1, END_HEADERS | END_STREAM, 1, &literals(&secrets(), flags));
        for at in 0..bytes.len() {
            for more in [1, 2, 7, 1000] {
                let end = (at + more).min(bytes.len());
                let mut twins = Twins::greeted();
                let parts = [&bytes[..at], &bytes[at..end], &bytes[end..]].map(Chunk::Copied);
                twins.call(Flow::Requests, &parts.each_ref().map(std::slice::from_ref));
                // What follows refers to the table.
                let next = literals(&[(":method", "GET"), (":path", "/next"), ("x-request-id", "7")], flags);
                twins.call(Flow::Requests, &[&[Chunk::Copied(&frame(1, 5, 3, &[&[0x82][..], &next].concat()))]]);
                for id in [1, 3] {
                    twins.call(Flow::Responses, &[&[Chunk::Copied(&response(id, END_STREAM, "200"))]]);
                }
                twins.holds_no_secret(at as u64);
                twins.agree(at as u64);
                assert_eq!(twins.live.finished().len(), 2);
            }
        }
    }
}

#[test]
fn bodies_and_debug_data_are_masked_and_prefixes_of_messages_stay() {
    let mut twins = Twins::greeted();
    let call = headers(1, 0, &[(":method", "POST"), (":path", "/a.B/C"), ("content-type", "application/grpc")]);
    let body = [message(SECRET.as_bytes()), message(b""), message(SECRET.as_bytes())].concat();
    let (one, two) = body.split_at(15);
    let page = headers(3, 0, &[(":method", "POST"), (":path", "/"), ("content-type", "text/plain")]);
    let asked = [call, data(1, PADDED, &[&[3][..], one, &[9; 3]].concat()), data(1, END_STREAM, two)].concat();
    twins.call(Flow::Requests, &[&[Chunk::Copied(&asked)]]);
    let page = [page, data(3, END_STREAM, &[&[0, 0, 0, 0, 8], SECRET.as_bytes()].concat())].concat();
    twins.call(Flow::Requests, &[&[Chunk::Copied(&page)]]);
    let away = frame(7, 0, 0, &[&[0; 8], SECRET.as_bytes()].concat());
    let ping = frame(6, 0, 0, SECRET.as_bytes());
    let extension = frame(0x10, 0, 0, SECRET.as_bytes());
    let other = data(99, 0, &message(SECRET.as_bytes()));
    let answers = [ping, extension, other, response(1, END_STREAM, "200"), response(3, END_STREAM, "200"), away];
    twins.call(Flow::Responses, &[&[Chunk::Copied(&answers.concat())]]);
    twins.holds_no_secret(0);
    twins.agree(0);
    assert_eq!(twins.replay.finished()[0].rpc.as_ref().unwrap().sent_messages, Some(3));
    let written = &twins.written;
    assert!(written.windows(13).any(|run| run == b"\0\0\0\0\x08********"));
    assert!(written.ends_with(b"\0\0\0\0\0\0\0\0********"));
}

#[test]
fn what_configuration_keeps_stays() {
    let redaction = Redaction::new(&["referer", "x-tenant"], Query::Keep).unwrap();
    let mut twins = Twins::new(false, redaction);
    let fields = [(":method", "GET"), (":path", "/a?b=c"), ("referer", "http://u:s3cr3tK7@h/?d=e"), ("x-tenant", "t")];
    twins.call(Flow::Requests, &[&[Chunk::Copied(&[preface(), headers(1, END_STREAM, &fields)].concat())]]);
    twins.call(Flow::Responses, &[&[Chunk::Copied(&[settings(&[]), response(1, END_STREAM, "200")].concat())]]);
    twins.agree(0);
    twins.holds_no_secret(0);
    for kept in ["/a?b=c", "@h/?d=e", "x-tenant\x01t"] {
        assert!(twins.written.windows(kept.len()).any(|window| window == kept.as_bytes()), "{kept}");
    }
}

#[test]
fn a_table_larger_than_usual_is_followed_because_the_other_side_allowed_it() {
    let mut twins = Twins::new(false, Redaction::default());
    twins.call(Flow::Responses, &[&[Chunk::Copied(&settings(&[(1, 1 << 16)]))]]);
    // A size update, and an entry that has no room in the usual table.
    let long = "l".repeat(5000);
    let block = [&[0x3f, 0xe1, 0xff, 0x03][..], &indexed("x-request-id", &long), &indexed(":path", "/a")].concat();
    let asked = [preface(), frame(1, 4, 1, &block), frame(1, 5, 3, &[NEWEST, 0x82, NEWEST + 1])].concat();
    twins.call(Flow::Requests, &[&[Chunk::Copied(&asked)]]);
    twins.call(Flow::Responses, &[&[Chunk::Copied(&response(3, END_STREAM, "200"))]]);
    twins.agree(0);
    assert_eq!(twins.scrubber.counts().undecodable, 0);
    assert_eq!(twins.replay.finished()[0].request.as_ref().unwrap().target, "/a");
}

#[test]
fn a_connection_that_is_not_http2_after_all_is_masked() {
    let mut twins = Twins::new(false, Redaction::default());
    twins.call(Flow::Requests, &[&[Chunk::Copied(SECRET.as_bytes())]]);
    twins.call(Flow::Requests, &[&[Chunk::Copied(&get(1, "/"))]]);
    assert!(twins.written.iter().all(|&byte| byte == MASKED));
    twins.agree(0);
}
