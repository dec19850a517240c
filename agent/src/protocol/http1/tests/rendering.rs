//! However the bytes of a conversation are given (cut into calls and chunks, with bodies left out, scrubbed for a
//! recording), the same exchanges come of them.

use super::random::{Message, Random, Talk, seeds, talk};
use super::*;
use crate::span::redact::{Redaction, Scrubber};

/// Seeds of a quick round.
const SEEDS: u64 = 150;

/// A call that moved a part of a message.
#[derive(Clone, Debug)]
struct Call {
    flow: Flow,
    stamp: Stamp,
    bytes: Vec<u8>,
    left_out: Vec<bool>,
    /// A message begins with its first byte.
    starts: bool,
}

fn conversation(random: &mut Random) -> Vec<Talk> {
    let n = 1 + random.below(5) as u64;
    (0..n).map(|ordinal| talk(random, ordinal, 1000 + ordinal, ordinal + 1 == n)).collect()
}

/// The calls of both ends of a connection: each message by one or several, requests in one go if `pipelined`.
fn calls(random: &mut Random, talks: &[Talk], pipelined: bool) -> Vec<Call> {
    let mut messages: Vec<(Flow, &Message)> = Vec::new();
    for talk in talks {
        messages.push((Flow::Requests, &talk.request));
        messages.extend(talk.responses.iter().map(|response| (Flow::Responses, response)));
    }
    if pipelined {
        messages.sort_by_key(|(flow, _)| *flow == Flow::Responses);
    }
    let mut calls = Vec::new();
    for (flow, message) in messages {
        let pieces = random.pick(&[1, 1, 2, 3, 9]);
        let size = message.bytes.len().div_ceil(pieces);
        let parts = message.bytes.chunks(size).zip(message.left_out.chunks(size));
        for (n, (bytes, left_out)) in parts.enumerate() {
            let start_ns = calls.len() as u64 * 10;
            let stamp = Stamp { start_ns, end_ns: start_ns + 5, ..Stamp::default() };
            calls.push(Call { flow, stamp, bytes: bytes.to_vec(), left_out: left_out.to_vec(), starts: n == 0 });
        }
    }
    calls
}

/// How the bytes of a call are given to the parser.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rendering {
    /// As they are.
    Whole,
    /// In chunks of any size.
    Split,
    /// With the payload left out, as an ideal kernel side does.
    Elided,
    /// With some of the payload left out.
    PartlyElided,
}

enum Piece {
    Copied(Vec<u8>),
    Skipped(u64),
}

fn pieces(random: &mut Random, call: &Call, rendering: Rendering) -> Vec<Piece> {
    match rendering {
        Rendering::Whole => vec![Piece::Copied(call.bytes.clone())],
        Rendering::Split => {
            let mut rest = &call.bytes[..];
            let mut pieces = Vec::new();
            while !rest.is_empty() {
                let most = random.pick(&[1, 3, 40, 4096]).min(rest.len());
                let (piece, after) = rest.split_at(1 + random.below(most));
                pieces.push(Piece::Copied(piece.to_vec()));
                rest = after;
            }
            pieces
        }
        Rendering::Elided | Rendering::PartlyElided => {
            let mut pieces: Vec<Piece> = Vec::new();
            let mut leave = false;
            for (n, (&byte, &may)) in call.bytes.iter().zip(&call.left_out).enumerate() {
                if n == 0 || call.left_out[n - 1] != may {
                    leave = may && (rendering == Rendering::Elided || random.once_in(2));
                }
                match pieces.last_mut() {
                    Some(Piece::Skipped(n)) if leave => *n += 1,
                    Some(Piece::Copied(bytes)) if !leave => bytes.push(byte),
                    _ if leave => pieces.push(Piece::Skipped(1)),
                    _ => pieces.push(Piece::Copied(vec![byte])),
                }
            }
            pieces
        }
    }
}

/// What comes of the calls; `scrub` as of a recording of them.
fn notices(
    random: &mut Random,
    observer: Observer,
    calls: &[Call],
    rendering: Rendering,
    scrub: bool,
    close: bool,
) -> Vec<Notice> {
    let mut connection = Connection::new(Config::new(observer));
    let redaction = Redaction::default();
    let mut scrubbers = [Scrubber::default(), Scrubber::default()];
    let mut out = Vec::new();
    for call in calls {
        let scrubber = &mut scrubbers[usize::from(call.flow == Flow::Responses)];
        let mut starts = call.starts;
        for piece in pieces(random, call, rendering) {
            match piece {
                Piece::Copied(mut bytes) => {
                    if scrub {
                        scrubber.copied(&mut bytes, std::mem::take(&mut starts), &redaction);
                        assert!(!bytes.windows(6).any(|w| w == b"SECRET"), "{}", bytes.escape_ascii());
                    }
                    connection.data(call.flow, &call.stamp, Chunk::Copied(&bytes), &mut out);
                }
                Piece::Skipped(n) => {
                    scrubber.missing(Chunk::Skipped(n));
                    connection.data(call.flow, &call.stamp, Chunk::Skipped(n), &mut out);
                }
            }
        }
    }
    if close {
        connection.end(Some(Flow::Responses), End::Finished, &mut out);
    }
    assert_eq!(connection.open(), 0);
    out
}

fn lines(notices: &[Notice]) -> Vec<String> {
    notices
        .iter()
        .filter_map(|n| if let Notice::Finished(exchange) = n { Some(line(exchange)) } else { None })
        .collect()
}

/// Without what a scrubber may mask.
fn without_target(mut notices: Vec<Notice>) -> Vec<Notice> {
    for notice in &mut notices {
        if let Notice::Finished(exchange) = notice
            && let Some(request) = &mut exchange.request
        {
            request.target = bytes::Bytes::new();
        }
    }
    notices
}

#[test]
fn however_the_bytes_are_given_the_exchanges_are_the_true_ones() {
    for seed in seeds(SEEDS) {
        let random = &mut Random::new(seed);
        let talks = conversation(random);
        let expected: Vec<_> = talks.iter().map(|talk| talk.line.clone()).collect();
        let close = talks.last().is_some_and(|talk| talk.until_close);
        let pipelined = random.once_in(3);
        let calls = calls(random, &talks, pipelined);
        let observer = random.pick(&[Observer::Client, Observer::Server]);
        let whole = notices(random, observer, &calls, Rendering::Whole, false, close);
        assert_eq!(lines(&whole), expected, "seed {seed}");
        for rendering in [Rendering::Split, Rendering::Elided, Rendering::PartlyElided] {
            let same = notices(random, observer, &calls, rendering, false, close);
            assert_eq!(same, whole, "seed {seed} {rendering:?}");
        }
        let whole = without_target(whole);
        for rendering in [Rendering::Whole, Rendering::Split, Rendering::Elided, Rendering::PartlyElided] {
            let same = notices(random, observer, &calls, rendering, true, close);
            assert_eq!(without_target(same), whole, "seed {seed} {rendering:?} scrubbed");
        }
    }
}

#[test]
fn a_recording_of_whole_heads_keeps_targets() {
    for seed in seeds(SEEDS) {
        let random = &mut Random::new(seed);
        let talks = [talk(random, 0, 7, false)];
        let mut calls = calls(random, &talks, false);
        calls.retain(|call| call.flow == Flow::Requests);
        let joined = Call {
            bytes: calls.iter().flat_map(|call| call.bytes.clone()).collect(),
            left_out: calls.iter().flat_map(|call| call.left_out.clone()).collect(),
            ..calls[0].clone()
        };
        let mut connection = Connection::new(Config::new(Observer::Server));
        let mut bytes = joined.bytes;
        let mut out = Vec::new();
        Scrubber::default().copied(&mut bytes, true, &Redaction::default());
        connection.data(Flow::Requests, &joined.stamp, Chunk::Copied(&bytes), &mut out);
        connection.end(None, End::Closed, &mut out);
        let shown = lines(&out)[0].split(" -> ").next().map(str::to_owned);
        assert_eq!(shown.as_deref(), talks[0].line.split(" -> ").next(), "seed {seed}");
    }
}
