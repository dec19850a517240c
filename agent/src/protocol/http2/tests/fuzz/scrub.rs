//! The scrubber: nothing panics; of conversations that are whole or have losses, the parser makes the same as of the
//! scrubbed ones, and no secret is left in those.

use httlib_hpack::Encoder;

use super::{
    Executions, Random,
    frames::{raw, tampered},
    seeds,
};
use crate::{
    protocol::http2::tests::{
        frames::*,
        scrub::{SECRET, Twins},
        *,
    },
    span::redact::{Query, Redaction},
};

/// Seeds of a quick round.
const ROUNDS: u64 = 600;
/// Runs of bytes of which at most one may lead to a secret that stays: one in twelve is lost where there are losses, and
/// the conversations are full of secrets.
const LEAKS_ONCE_IN: u64 = 200_000;

/// One side of a conversation.
struct Speaker {
    encoder: Encoder<'static>,
}

impl Speaker {
    fn new() -> Self {
        Self { encoder: Encoder::default() }
    }

    /// A header block as HEADERS and perhaps CONTINUATION.
    fn headers(&mut self, random: &mut Random, id: u32, flags: u8, fields: &[(&str, String)]) -> Vec<u8> {
        let mut block = Vec::new();
        if random.below(10) == 0 {
            self.encoder.update_max_dynamic_size(random.pick(&[0, 64, 300, 4096]), &mut block).unwrap();
        }
        for (name, value) in fields {
            let mut how = random.pick(&[Encoder::BEST_FORMAT, Encoder::BEST_FORMAT, 0]);
            how |= random.pick(&[0, Encoder::HUFFMAN_NAME]) | random.pick(&[0, Encoder::HUFFMAN_VALUE]);
            how |= random.pick(&[0, Encoder::WITH_INDEXING, Encoder::NEVER_INDEXED]);
            self.encoder.encode((name.as_bytes().to_vec(), value.as_bytes().to_vec(), how), &mut block).unwrap();
        }
        if random.below(4) > 0 {
            return frame(1, flags | END_HEADERS, id, &block);
        }
        let (first, rest) = block.split_at(random.below(block.len() + 1));
        [frame(1, flags, id, first), frame(9, END_HEADERS, id, rest)].concat()
    }

    fn ask(&mut self, random: &mut Random, id: u32) -> Vec<u8> {
        let is_rpc = random.below(2) == 0;
        let path = match random.below(4) {
            0 => format!("/a?key={SECRET}&b={SECRET}"),
            1 => format!("/b;j={SECRET}/c#{SECRET}"),
            _ => format!("/shop.Cart/Add{}", random.below(4)),
        };
        let mut fields = vec![(":method", "POST".to_owned()), (":scheme", "http".to_owned()), (":path", path)];
        let user = if random.below(4) == 0 { format!("{SECRET}:{SECRET}@") } else { String::new() };
        fields.push((":authority", format!("{user}shop.example")));
        if is_rpc {
            fields.push(("content-type", "application/grpc".to_owned()));
            fields.push(("grpc-timeout", "1S".to_owned()));
        }
        regular(random, &mut fields);
        let ends = random.below(3) == 0;
        let mut bytes = self.headers(random, id, if ends { END_STREAM } else { 0 }, &fields);
        if !ends {
            bytes.extend(body(random, id, true));
        }
        bytes
    }

    fn answer(&mut self, random: &mut Random, id: u32) -> Vec<u8> {
        let mut fields = vec![(":status", random.pick(&["200", "404", "503"]).to_owned())];
        regular(random, &mut fields);
        let mut bytes = self.headers(random, id, 0, &fields);
        bytes.extend(body(random, id, false));
        let trailers = [("grpc-status", "5".to_owned()), ("grpc-message", SECRET.to_owned())];
        bytes.extend(self.headers(random, id, END_STREAM, &trailers));
        bytes
    }
}

fn regular(random: &mut Random, fields: &mut Vec<(&str, String)>) {
    for _ in 0..random.below(5) {
        fields.push(match random.below(6) {
            0 => ("authorization", format!("Bearer {SECRET}")),
            1 => ("cookie", format!("a={SECRET}; n={}", random.below(50))),
            2 => ("x-request-id", random.below(20).to_string()),
            3 => ("user-agent", "test/1 (something long enough)".to_owned()),
            4 => ("referer", format!("http://{SECRET}@h/?a={SECRET}")),
            _ => ("x-custom", format!("{}{SECRET}{}", random.below(9), random.below(9))),
        });
    }
}

fn body(random: &mut Random, id: u32, ends: bool) -> Vec<u8> {
    let body: Vec<u8> =
        (0..=random.below(3)).flat_map(|_| message(SECRET.repeat(random.below(3)).as_bytes())).collect();
    let (first, rest) = body.split_at(random.below(body.len() + 1));
    [data(id, 0, first), data(id, if ends { END_STREAM } else { 0 }, rest)].concat()
}

/// Takes a flow's bytes off in calls, records and runs of any size.
fn feed(random: &mut Random, twins: &mut Twins, flow: Flow, bytes: &[u8], lossy: bool) -> u64 {
    let mut rest = bytes;
    let mut fed = 0;
    while !rest.is_empty() {
        let most = random.pick(&[rest.len(), rest.len(), 500, 60]);
        let (call, after) = rest.split_at(most.clamp(1, rest.len()));
        rest = after;
        let runs: Vec<Chunk<'_>> = call
            .chunks(random.pick(&[call.len(), call.len(), 200, 33]))
            .map(|run| match random.below(25) {
                0 if lossy => Chunk::Lost(run.len() as u64),
                1 if lossy => Chunk::Cut(run.len() as u64),
                _ => Chunk::Copied(run),
            })
            .collect();
        fed += runs.len() as u64;
        let records: Vec<&[Chunk<'_>]> = runs.chunks(random.pick(&[1, 3, 100])).collect();
        twins.call(flow, &records);
    }
    fed
}

fn redaction(random: &mut Random) -> Redaction {
    match random.below(3) {
        0 => Redaction::new(&["referer"], Query::Mask).unwrap(),
        _ => Redaction::default(),
    }
}

#[test]
fn fuzz_structured_scrubber() {
    let mut executions = Executions::of("structured scrubber");
    // After a loss, a frame that is looked for may be found where none is, and what follows is judged as what it seems.
    let mut leaks = 0;
    for seed in seeds(ROUNDS) {
        let random = &mut Random::new(seed);
        let (late, lossy) = (random.below(4) == 0, random.below(3) == 0);
        let mut twins = Twins::new(late, redaction(random));
        let mut speakers = [Speaker::new(), Speaker::new()];
        let mut asked = Vec::new();
        let mut answered = Vec::new();
        if !late {
            asked.extend(preface());
            answered.extend(settings(&[(3, 100)]));
        }
        let mut done = 0;
        for n in 0..24 {
            let id = 2 * n + 1;
            asked.extend(speakers[0].ask(random, id));
            answered.extend(speakers[1].answer(random, id));
            if random.below(4) == 0 || n == 23 {
                done += feed(random, &mut twins, Flow::Requests, &std::mem::take(&mut asked), lossy);
                done += feed(random, &mut twins, Flow::Responses, &std::mem::take(&mut answered), lossy);
            }
        }
        executions.0 += done;
        if lossy {
            twins.agree_in_shape(seed);
            leaks += u64::from(twins.holds_secret());
        } else {
            twins.agree(seed);
            twins.holds_no_secret(seed);
        }
    }
    println!("conversations with losses in whose recording a secret is left: {leaks}");
    assert!(leaks * LEAKS_ONCE_IN <= executions.0, "{leaks}");
}

#[test]
fn fuzz_raw_scrubber() {
    let mut executions = Executions::of("raw scrubber");
    for seed in seeds(ROUNDS) {
        let random = &mut Random::new(seed);
        let mut twins = Twins::new(random.below(2) == 0, redaction(random));
        if random.below(2) == 0 {
            twins.call(Flow::Requests, &[&[Chunk::Copied(&preface())]]);
        }
        for _ in 0..20 {
            executions.0 += 1;
            let flow = random.pick(&[Flow::Requests, Flow::Responses]);
            let n = random.pick(&[0, 1, 9, 100, 1 << 40, u64::MAX]);
            match random.below(16) {
                0 => twins.call(flow, &[&[Chunk::Skipped(n)]]),
                1 => twins.call(flow, &[&[Chunk::Cut(n)]]),
                2 => twins.call(flow, &[&[Chunk::Lost(n)]]),
                _ => {
                    let bytes = if random.below(2) == 0 { raw(random) } else { tampered(random) };
                    let (first, rest) = bytes.split_at(random.below(bytes.len() + 1));
                    let (first, rest) = (Chunk::Copied(first), Chunk::Copied(rest));
                    if random.below(2) == 0 {
                        twins.call(flow, &[&[first, rest]]);
                    } else {
                        twins.call(flow, &[&[first], &[rest]]);
                    }
                }
            }
        }
    }
}
