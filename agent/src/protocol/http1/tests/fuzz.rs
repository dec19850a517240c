//! Hostile input: whatever comes, in any order, the parser does not panic, keeps within its bounds, and tells each
//! exchange once. Two targets: raw bytes, and structured conversations that were tampered with.
//! A quick round runs with the other tests; [`seeds`](super::random::seeds) says how to run a long one.

use super::random::{Random, seeds, talk};
use super::*;
use crate::protocol::http1::{HEAD_MAX, HELD_BYTES_MAX, OPEN_MAX};
use crate::span::redact::{Redaction, Scrubber};

/// Seeds of a quick round.
const ROUNDS: u64 = 600;

/// Words that steer a parser into its corners.
const WORDS: &[&str] = &[
    "GET ",
    "HEAD / HTTP/1.1\r\n\r\n",
    "CONNECT h:1 HTTP/1.1\r\n\r\n",
    "POST / HTTP/1.1\r\n",
    "HTTP/1.1 200 OK\r\n",
    "HTTP/1.1 100 \r\n\r\n",
    "HTTP/1.0 101 X\r\n\r\n",
    "HTTP/1.",
    "Content-Length: ",
    "5",
    "99999999999999999999",
    "\r\n",
    "\n",
    "\r",
    "\r\n\r\n",
    "Transfer-Encoding: chunked\r\n",
    "0\r\n\r\n",
    "ffffffffffffffff\r\n",
    ";",
    ":",
    " ",
    "\t",
    "Expect: 100-continue\r\n",
    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "http://u:p@h/?a=b",
    "\0",
    "\u{ff}",
];

fn raw(random: &mut Random) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..random.below(12) {
        match random.below(8) {
            0 => {
                let n = random.below(40);
                bytes.extend(random.bytes(n));
            }
            1 => bytes.extend(std::iter::repeat_n(random.next() as u8, random.pick(&[1, 70, 5000, 70_000]))),
            _ => bytes.extend(random.pick(WORDS).as_bytes()),
        }
    }
    bytes
}

fn tampered(random: &mut Random, flow: Flow) -> Vec<u8> {
    let talk = talk(random, 0, 1, false);
    let mut bytes = match flow {
        Flow::Requests => talk.request.bytes,
        Flow::Responses => talk.responses.into_iter().flat_map(|message| message.bytes).collect(),
    };
    for _ in 0..random.below(4) {
        let at = random.below(bytes.len());
        match random.below(5) {
            0 => bytes[at] = random.next() as u8,
            1 => bytes.truncate(at + 1),
            2 => {
                let end = at + random.below(bytes.len() - at);
                bytes.drain(at..end);
            }
            3 => {
                let word = random.pick(WORDS);
                bytes.splice(at..at, word.bytes());
            }
            _ => {
                let end = at + random.below(bytes.len() - at);
                bytes.extend_from_within(at..end);
            }
        }
    }
    bytes
}

/// One step on a connection, and its scrubbed twin.
fn step(random: &mut Random, twins: &mut [Dialogue; 2], scrubbers: &mut [Scrubber; 2], raw_only: bool) {
    let flow = random.pick(&[Flow::Requests, Flow::Responses]);
    let stamp = twins[0].stamp();
    let late = random.below(30) as u64;
    let stamp = Stamp { start_ns: stamp.start_ns.saturating_sub(late), ..stamp };
    let scrubber = &mut scrubbers[usize::from(flow == Flow::Responses)];
    let n = random.pick(&[0, 1, 2, 5, 100, 1 << 40, u64::MAX]);
    let chunk = match random.below(24) {
        0 => Chunk::Skipped(n),
        1 => Chunk::Cut(n),
        2 => Chunk::Lost(n),
        3 => {
            let before = stamp.end_ns.saturating_sub(random.below(1000) as u64);
            for twin in twins.iter_mut() {
                twin.connection.expire(before, &mut twin.out);
            }
            return;
        }
        4 if random.once_in(8) => {
            let end = random.pick(&[End::Finished, End::Closed, End::Exited, End::Error(104), End::Unobserved]);
            let flow = random.pick(&[None, Some(flow)]);
            for twin in twins.iter_mut() {
                twin.connection.end(flow, end, &mut twin.out);
            }
            return;
        }
        _ => {
            let mut bytes = if raw_only || random.once_in(8) { raw(random) } else { tampered(random, flow) };
            let [plain, masked] = twins;
            plain.connection.data(flow, &stamp, Chunk::Copied(&bytes), &mut plain.out);
            scrubber.copied(&mut bytes, random.once_in(2), &Redaction::default());
            masked.connection.data(flow, &stamp, Chunk::Copied(&bytes), &mut masked.out);
            return;
        }
    };
    scrubber.missing(chunk);
    for twin in twins.iter_mut() {
        twin.connection.data(flow, &stamp, chunk, &mut twin.out);
    }
}

fn round(seed: u64, raw_only: bool) {
    let random = &mut Random::new(seed);
    let observer = random.pick(&[Observer::Client, Observer::Server]);
    let config = Config { joined_late: random.once_in(3), ..Config::new(observer) };
    let mut twins = [Dialogue::new(config.clone()), Dialogue::new(config)];
    let mut scrubbers = [Scrubber::default(), Scrubber::default()];
    for _ in 0..random.below(60) {
        step(random, &mut twins, &mut scrubbers, raw_only);
        for twin in &twins {
            let (heads, held, open) = twin.connection.kept();
            assert!(heads <= 2 * HEAD_MAX && held <= HELD_BYTES_MAX && open <= OPEN_MAX, "seed {seed}");
        }
    }
    for mut twin in twins {
        twin.connection.end(None, End::Closed, &mut twin.out);
        assert_eq!(twin.connection.open(), 0, "seed {seed}");
        let mut started: u64 = 0;
        let mut finished = 0;
        for notice in &twin.out {
            match notice {
                Notice::Started { ordinal, .. } => {
                    assert_eq!(*ordinal, started, "seed {seed}");
                    started += 1;
                }
                Notice::Finished(exchange) => {
                    assert_eq!(exchange.ordinal, finished, "seed {seed}");
                    assert!(exchange.ordinal < started, "seed {seed}");
                    finished += 1;
                }
                Notice::Opaque => {}
            }
        }
        assert_eq!(started, finished, "seed {seed}");
    }
}

#[test]
fn fuzz_raw_bytes() {
    seeds(ROUNDS).for_each(|seed| round(seed, true));
}

#[test]
fn fuzz_tampered_conversations() {
    seeds(ROUNDS).for_each(|seed| round(seed, false));
}
