//! Recordings of HTTP/2: their replay gives the spans that were seen live, and no secret is in them.

use crate::{
    dialogue::{End, Play},
    golden::{attribute, forest},
    http2::{END_HEADERS, END_STREAM, SETTINGS, frame},
    recorded::{recorded, replayed},
};
use httlib_hpack::Encoder;
use netspan::{
    capture::{event::Event, recording::Scrub},
    protocol::detect::HTTP2_PREFACE,
    span::Span,
};
use netspan_ebpf::{PIECE_ALIGN, PieceHead, data_flag};
use std::sync::Arc;

const SECRET: &str = "hunter2-0123456789";
const CLIENT: u32 = 10;
const SERVER: u32 = 20;

/// Pseudo-random numbers that repeat with their seed (xorshift).
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }
}

/// One side of a conversation, with its header compression.
struct Speaker {
    encoder: Encoder<'static>,
}

impl Speaker {
    fn new() -> Self {
        Self { encoder: Encoder::default() }
    }

    fn headers(&mut self, dice: &mut Dice, id: u32, flags: u8, fields: &[(&str, String)]) -> Vec<u8> {
        let mut block = Vec::new();
        for (name, value) in fields {
            let how = [Encoder::BEST_FORMAT, 0][dice.below(2)]
                | [Encoder::HUFFMAN_NAME, 0][dice.below(2)]
                | [Encoder::HUFFMAN_VALUE, 0][dice.below(2)]
                | [Encoder::WITH_INDEXING, Encoder::NEVER_INDEXED, 0][dice.below(3)];
            self.encoder.encode((name.as_bytes().to_vec(), value.as_bytes().to_vec(), how), &mut block).unwrap();
        }
        let (first, rest) = block.split_at(dice.below(block.len() + 1));
        if dice.below(2) == 0 {
            return frame(1, flags | END_HEADERS, id, &block);
        }
        [frame(1, flags, id, first), frame(9, END_HEADERS, id, rest)].concat()
    }

    fn ask(&mut self, dice: &mut Dice, id: u32) -> Vec<u8> {
        let fields = [
            (":method", "POST".to_owned()),
            (":scheme", "http".to_owned()),
            (":path", format!("/shop.Cart/Add{}?key={SECRET}&n={id}", dice.below(3))),
            (":authority", format!("{SECRET}@shop.example")),
            ("content-type", "application/grpc".to_owned()),
            ("authorization", format!("Bearer {SECRET}")),
            ("cookie", format!("a={SECRET}; b={}", dice.below(9))),
            ("traceparent", format!("00-{:032x}-{:016x}-01", id + 1, id + 1)),
        ];
        let message = [&[0, 0, 0, 0, SECRET.len() as u8], SECRET.as_bytes()].concat();
        [self.headers(dice, id, 0, &fields), frame(0, END_STREAM, id, &message)].concat()
    }

    fn answer(&mut self, dice: &mut Dice, id: u32) -> Vec<u8> {
        let head = [(":status", "200".to_owned()), ("content-type", "application/grpc".to_owned())];
        let tail = [
            ("grpc-status", dice.below(3).to_string()),
            ("grpc-message", SECRET.to_owned()),
            ("set-cookie", format!("a={SECRET}")),
        ];
        let message = [&[0, 0, 0, 0, SECRET.len() as u8], SECRET.as_bytes()].concat();
        let parts =
            [self.headers(dice, id, 0, &head), frame(0, 0, id, &message), self.headers(dice, id, END_STREAM, &tail)];
        parts.concat()
    }
}

/// Two processes that call each other: each side's bytes go in calls of any size, or (`whole`) frame by frame.
fn play(seed: u64, whole: bool, is_found: bool) -> Play {
    let (mut play, mut dice) = (Play::new(), Dice(seed * 7919 + 1));
    play.process(CLIENT, "client");
    play.process(SERVER, "server");
    let (client, server) = if is_found { play.found_pair(CLIENT, SERVER) } else { play.pair(CLIENT, SERVER) };
    let (client, server): ((End, u32), (End, u32)) = ((client, CLIENT), (server, SERVER));
    let mut speakers = [Speaker::new(), Speaker::new()];
    if is_found {
        // What compression refers to was said before the agent came.
        for n in 0..5 {
            speakers[0].ask(&mut dice, n);
            speakers[1].answer(&mut dice, n);
        }
        play.carry(client, server, &frame(0, 0, 7, &[0, 0, 0, 0, 3, 1, 2, 3]));
    } else {
        play.carry(client, server, &[HTTP2_PREFACE, SETTINGS].concat());
        play.carry(server, client, SETTINGS);
    }
    for n in 0..20 {
        let id = 101 + 2 * n;
        let (asked, answered) = (speakers[0].ask(&mut dice, id), speakers[1].answer(&mut dice, id));
        for (from, to, bytes) in [(client, server, asked), (server, client, answered)] {
            let most = if whole { bytes.len() } else { 1 + dice.below(bytes.len()) };
            for part in bytes.chunks(most) {
                play.carry(from, to, part);
            }
        }
    }
    play.close(client.0);
    play.close(server.0);
    play
}

/// The recording's bytes, decompressed.
fn plain(file: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(file), &mut plain).unwrap();
    plain
}

/// Bytes as text of their bits.
fn bits(bytes: &[u8]) -> String {
    bytes.iter().flat_map(|byte| (0..8).rev().map(move |bit| if byte >> bit & 1 == 1 { '1' } else { '0' })).collect()
}

/// Whether bytes hold the secret as it is, or Huffman-coded from any bit on.
fn holds_secret(bytes: &[u8]) -> bool {
    let mut block = Vec::new();
    let field = (b"x".to_vec(), SECRET.as_bytes().to_vec(), Encoder::HUFFMAN_VALUE);
    Encoder::default().encode(field, &mut block).unwrap();
    // Without what comes before the string, and without its last byte, which is padded.
    let coded = bits(&block[block.len() - 10..block.len() - 1]);
    bytes.windows(SECRET.len()).any(|window| window == SECRET.as_bytes()) || bits(bytes).contains(&coded)
}

/// A span without what depends on the end of a value.
fn shortened(span: &Span) -> Span {
    let mut span = span.clone();
    let depends = ["url.full", "url.query", "url.path", "server.address", "rpc.method"];
    span.attributes.retain(|(name, _)| !depends.contains(&name.as_ref()));
    span.name.truncate(span.name.find('?').unwrap_or(span.name.len()));
    span
}

#[test]
fn the_test_finds_secrets() {
    let mut block = Vec::new();
    let mut encoder = Encoder::default();
    encoder.encode((b"x".to_vec(), format!("a={SECRET}").into_bytes(), Encoder::HUFFMAN_VALUE), &mut block).unwrap();
    assert!(holds_secret(&block) && holds_secret(SECRET.as_bytes()));
    assert!(!holds_secret(b"hunter2"));
}

#[test]
fn a_replay_of_http2_gives_the_spans_that_were_seen_live() {
    for seed in 0..20 {
        for is_found in [false, true] {
            let play = play(seed, true, is_found);
            let file = recorded(&play);
            let live = play.run(0.95);
            let (spans, _) = replayed(&play, &file);
            assert_eq!(spans, live, "seed {seed}");
            assert_eq!(spans.len(), 40, "seed {seed}: {}", forest(&spans));
            assert!(!holds_secret(&plain(&file)), "seed {seed}");
        }
    }
}

#[test]
fn calls_that_split_blocks_cost_a_replay_nothing_but_the_values_that_they_split() {
    for seed in 0..20 {
        let play = play(seed, false, false);
        let file = recorded(&play);
        let view = |spans: &[Arc<Span>]| -> Vec<Span> { spans.iter().map(|span| shortened(span)).collect() };
        let live = play.run(0.95);
        let (spans, _) = replayed(&play, &file);
        assert_eq!(view(&spans), view(&live), "seed {seed}");
        assert!(!holds_secret(&plain(&file)), "seed {seed}");
    }
}

#[test]
fn a_replay_of_an_upgraded_connection_gives_both_its_requests() {
    let mut play = Play::new();
    play.process(CLIENT, "client");
    play.process(SERVER, "server");
    let (client, server) = play.pair(CLIENT, SERVER);
    let (client, server) = ((client, CLIENT), (server, SERVER));
    let mut dice = Dice(1);
    let mut speakers = [Speaker::new(), Speaker::new()];
    play.carry(client, server, b"GET /old HTTP/1.1\r\nHost: h\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n");
    let switch = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n";
    let answer = speakers[1].answer(&mut dice, 1);
    play.carry(server, client, &[switch, SETTINGS, &answer].concat());
    play.carry(client, server, &[HTTP2_PREFACE, SETTINGS, &speakers[0].ask(&mut dice, 3)].concat());
    play.carry(server, client, &speakers[1].answer(&mut dice, 3));
    let file = recorded(&play);
    let live = play.run(0.95);
    assert_eq!((replayed(&play, &file).0, live.len()), (live.clone(), 4));
    assert!(!holds_secret(&plain(&file)));
}

#[test]
fn events_in_pieces_are_scrubbed_piece_by_piece() {
    let mut dice = Dice(3);
    let asked = [HTTP2_PREFACE, SETTINGS, &Speaker::new().ask(&mut dice, 1)].concat();
    let mut play = Play::new();
    let server = play.accept(SERVER);
    let conn = play.records()[0].clone();
    play.receive(server, SERVER, std::str::from_utf8(HTTP2_PREFACE).unwrap(), 0);
    let Ok(Event::Data(event, _)) = Event::decode(&play.records()[1]) else { panic!("no data") };
    // The call in pieces of seven bytes, in one event.
    let mut payload = Vec::new();
    for (n, piece) in asked.chunks(7).enumerate() {
        payload.resize(payload.len().next_multiple_of(PIECE_ALIGN), 0);
        let PieceHead { off, len } = PieceHead { off: 7 * n as u32, len: piece.len() as u32 };
        payload.extend([off.to_ne_bytes(), len.to_ne_bytes()].concat());
        payload.extend(piece);
    }
    let event = netspan_ebpf::DataEvent {
        flags: data_flag::PIECES,
        len: asked.len() as u32,
        copied: payload.len() as u32,
        ..event
    };
    let (mut record, mut clean) = (Vec::new(), Vec::new());
    Event::Data(event, &payload).encode(&mut record);
    let mut scrub = Scrub::new(10, Arc::default());
    scrub.record(&conn, &mut clean);
    clean.clear();
    scrub.record(&record, &mut clean);
    assert!(!holds_secret(&clean));
    let spans = |record: &[u8]| {
        let mut pipeline = play.pipeline(0.95);
        pipeline.record(&conn).unwrap();
        pipeline.record(record).unwrap();
        pipeline.finish();
        pipeline.take()
    };
    let (live, replay) = (spans(&record), spans(&clean));
    assert_eq!(live, replay);
    let path = attribute(&live[0], "url.path").unwrap();
    assert!(path.starts_with("/shop.Cart/Add"), "{path}");
    assert_eq!(scrub.counts(), netspan::protocol::http2::ScrubCounts::default());
}
