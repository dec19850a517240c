//! Frames: whatever comes, in any order, the parser does not panic, keeps within its bounds, and tells each exchange once.

use std::collections::HashSet;

use super::{Executions, Random, seeds};
use crate::protocol::http2::{
    EARLY_MAX, HEAD_MAX, STREAMS_MAX,
    hpack::TABLE_MAX,
    looks_like_frames,
    tests::{frames::*, *},
};

/// Seeds of a quick round.
const ROUNDS: u64 = 600;

/// A frame that is well formed but for its place.
pub(super) fn well_formed(random: &mut Random) -> Vec<u8> {
    let id = random.pick(&[1, 3, 5, 7, 9, 11, 2, 101]);
    let flags = random.pick(&[0, END_STREAM, END_STREAM | PADDED]);
    match random.below(14) {
        0..=2 => get(id, "/a?b=c"),
        3 => request(id, flags & END_STREAM, "POST", "/x.Y/Z"),
        4 | 5 => response(id, flags & END_STREAM, random.pick(&["200", "100", "404"])),
        6 => headers(id, flags & END_STREAM, &[("grpc-status", "3"), ("content-type", "application/grpc")]),
        7 | 8 => data(id, flags, &[&[2][..], &message(b"abc"), &[0; 2]].concat()),
        9 => reset(id, random.below(20) as u32),
        10 => go_away(random.pick(&[3, 0x7fff_ffff])),
        11 => settings(&[(1, random.next() as u32), (5, random.next() as u32)]),
        12 => frame(1, flags & END_STREAM, id, &indexed(":path", "/i")),
        _ => frame(9, random.pick(&[0, END_HEADERS]), id, &[0x80 | random.next() as u8]),
    }
}

pub(super) fn tampered(random: &mut Random) -> Vec<u8> {
    let mut bytes: Vec<u8> = (0..random.below(6)).flat_map(|_| well_formed(random)).collect();
    for _ in 0..random.below(3) {
        let at = random.below(bytes.len() + 1);
        match random.below(5) {
            0 if at < bytes.len() => bytes[at] = random.next() as u8,
            1 => bytes.truncate(at),
            2 => drop(bytes.drain(..at)),
            3 => {
                let n = random.pick(&[1, 9, 70, 20_000]);
                let noise = random.bytes(n);
                bytes.splice(at..at, noise);
            }
            _ => {}
        }
    }
    bytes
}

/// Bytes that are frames by chance at most.
pub(super) fn raw(random: &mut Random) -> Vec<u8> {
    let n = random.pick(&[0, 1, 8, 9, 10, 30, 200]);
    let mut bytes = random.bytes(n);
    // Steer to short frames of known types.
    for head in bytes.chunks_mut(random.pick(&[9, 13, 17])) {
        if random.below(3) > 0
            && let [a, b, c, kind, flags, d, ..] = head
        {
            (*a, *b, *c, *d) = (0, 0, *c & 0x1f, 0);
            (*kind, *flags) = (*kind % 11, *flags & random.pick(&[0x2d, 0x05, 0xff]));
        }
    }
    bytes
}

fn round(seed: u64, make: fn(&mut Random) -> Vec<u8>, executions: &mut Executions) {
    let random = &mut Random::new(seed);
    let config = Config { joined_late: random.below(3) == 0, ..Config::new(Observer::Client) };
    let mut dialogue = Dialogue::new(config);
    if random.below(4) > 0 {
        dialogue = dialogue.asks(&preface());
    }
    for _ in 0..20 + random.below(40) {
        executions.0 += 1;
        let flow = random.pick(&[Flow::Requests, Flow::Responses]);
        let n = random.pick(&[0, 1, 9, 100, 1 << 40, u64::MAX]);
        dialogue = match random.below(20) {
            0 => dialogue.chunk(flow, Chunk::Skipped(n)),
            1 => dialogue.chunk(flow, Chunk::Cut(n)),
            2 => dialogue.chunk(flow, Chunk::Lost(n)),
            3 => {
                let before = random.next() % 500;
                dialogue.expire(before)
            }
            4 if random.below(8) == 0 => {
                let end = random.pick(&[End::Finished, End::Closed, End::Error(104)]);
                dialogue.end(random.pick(&[None, Some(flow)]), end)
            }
            _ => {
                let bytes = make(random);
                looks_like_frames(&bytes);
                let at = random.below(bytes.len() + 1);
                let (first, rest) = bytes.split_at(at);
                dialogue.call(flow, &[Chunk::Copied(first), Chunk::Copied(rest)])
            }
        };
        let connection = &dialogue.connection;
        assert!(connection.open() <= STREAMS_MAX + EARLY_MAX, "seed {seed}");
        assert!(connection.kept_bytes() <= 2 * (2 * HEAD_MAX + 4 * TABLE_MAX as usize), "seed {seed}");
    }
    let dialogue = dialogue.end(None, End::Closed);
    assert_eq!(dialogue.connection.open(), 0, "seed {seed}");
    let mut open = HashSet::new();
    for notice in &dialogue.out {
        match notice {
            Notice::Started { ordinal, .. } => assert!(open.insert(*ordinal), "seed {seed}"),
            Notice::Finished(exchange) => {
                assert!(open.remove(&exchange.ordinal), "seed {seed}");
                let complete = exchange.incomplete.is_some() || exchange.answered.is_some();
                assert!(complete && exchange.request.is_some(), "seed {seed}");
            }
            Notice::Opaque => assert!(open.is_empty(), "seed {seed}"),
        }
    }
    assert!(open.is_empty(), "seed {seed}");
}

#[test]
fn fuzz_raw_frames() {
    let mut executions = Executions::of("raw frames");
    seeds(ROUNDS).for_each(|seed| round(seed, raw, &mut executions));
}

#[test]
fn fuzz_structured_frames() {
    let mut executions = Executions::of("structured frames");
    seeds(ROUNDS).for_each(|seed| round(seed, tampered, &mut executions));
}
