//! gRPC: whatever its headers and the bodies of its streams hold, nothing panics, and messages that are whole are counted
//! as they are.

use super::{Executions, Random, seeds};
use crate::{
    protocol::{
        Chunk,
        http2::{
            grpc::{self, Messages},
            tests::frames::message,
        },
    },
    span::redact::VALUE_MAX,
};

/// Seeds of a quick round; each feeds [`STEPS`] chunks and as many values of headers.
const ROUNDS: u64 = 2000;
const STEPS: usize = 20;

fn value(random: &mut Random) -> Vec<u8> {
    let words: [&[u8]; 10] = [
        b"application/grpc",
        b"+proto",
        b"-web",
        b";",
        b"%",
        b"%4",
        b"%zz",
        b"99999999",
        b"H",
        b"18446744073709551616",
    ];
    let mut value = Vec::new();
    for _ in 0..random.below(5) {
        if random.below(3) == 0 {
            let n = random.pick(&[1, 3, 5000]);
            value.extend(random.bytes(n));
        } else {
            value.extend(random.pick(&words));
        }
    }
    value
}

#[test]
fn fuzz_raw_grpc() {
    let mut executions = Executions::of("raw gRPC");
    for seed in seeds(ROUNDS) {
        let random = &mut Random::new(seed);
        let mut messages = Messages::default();
        let mut bytes = 0;
        for _ in 0..STEPS {
            executions.0 += 1;
            let value = value(random);
            let mut out = Vec::new();
            grpc::message(&value, &mut out);
            assert!(out.len() <= VALUE_MAX && out.len() <= value.len(), "seed {seed}");
            let (_, _, _) = (grpc::is_grpc(&value), grpc::status(&value), grpc::timeout_ns(&value));
            let n = random.pick(&[0, 1, 2, 5, 6, 40]);
            let mut chunk = random.bytes(n);
            for byte in &mut chunk {
                *byte &= random.pick(&[0, 1, 3, 3, 0xff]);
            }
            let passed = random.pick(&[0, 1, 5, 1 << 26, u64::MAX]);
            match random.below(12) {
                0 => messages.data(Chunk::Skipped(passed)),
                1 => messages.data(Chunk::Cut(passed)),
                2 if random.below(8) == 0 => messages.data(Chunk::Lost(passed)),
                _ => {
                    bytes += chunk.len() as u64;
                    let mut told = 0;
                    messages.each(&chunk, |n, _| told += n);
                    assert_eq!(told, chunk.len(), "seed {seed}: each byte is told of once");
                }
            }
            assert!(messages.count().is_none_or(|count| count <= bytes), "seed {seed}");
        }
    }
}

#[test]
fn fuzz_structured_grpc() {
    let mut executions = Executions::of("structured gRPC");
    for seed in seeds(ROUNDS) {
        let random = &mut Random::new(seed);
        let mut messages = Messages::default();
        let (mut sent, mut prefixes) = (0, 0);
        for _ in 0..STEPS {
            executions.0 += 1;
            let n = random.pick(&[0, 1, 4, 5, 6, 100, 300]);
            let mut bytes = message(&random.bytes(n));
            bytes[0] = random.below(2) as u8;
            sent += 1;
            // The prefix in one or two parts, then the payload, copied or not.
            let at = random.below(6);
            for part in [&bytes[..at], &bytes[at..5]] {
                messages.each(part, |n, is_prefix| prefixes += if is_prefix { n } else { 0 });
            }
            let (first, rest) = bytes[5..].split_at(random.below(n + 1));
            for part in [first, rest] {
                if random.below(2) == 0 {
                    messages.each(part, |_, is_prefix| assert!(!is_prefix, "seed {seed}"));
                } else {
                    messages.data(Chunk::Skipped(part.len() as u64));
                }
            }
            assert_eq!(messages.count(), Some(sent), "seed {seed}");
            assert_eq!(prefixes as u64, 5 * sent, "seed {seed}");
        }
        // What is no prefix ends the count.
        messages.data(Chunk::Copied(&[random.pick(&[2, 0x7b, 0xff])]));
        assert_eq!(messages.count(), None, "seed {seed}");
    }
}
