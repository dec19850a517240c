//! `httparse` as the judge: whatever head it accepts, ours reads the same way. (Ours accepts more: what end-points
//! accept although the grammar does not, and heads that were cut.)

use super::random::{Random, seeds, talk};
use crate::{
    protocol::http1::head,
    span::redact::{Query, Redaction, mask_target},
};

/// Seeds of a quick round.
const SEEDS: u64 = 1000;

type Kept = Vec<(Vec<u8>, Vec<u8>)>;

fn kept(redaction: &Redaction, headers: &[httparse::Header<'_>]) -> Kept {
    let keep = |header: &httparse::Header<'_>| {
        let name = redaction.allowed(header.name.as_bytes())?;
        // It leaves blanks at the end of a folded value.
        Some((name.to_vec(), header.value.trim_ascii().to_vec()))
    };
    headers.iter().filter_map(keep).collect()
}

fn ours(headers: &[(bytes::Bytes, bytes::Bytes)]) -> Kept {
    headers.iter().map(|(name, value)| (name.to_vec(), value.to_vec())).collect()
}

/// The message, and sometimes the message with a byte changed.
fn tampered(random: &mut Random, mut bytes: Vec<u8>) -> Vec<u8> {
    if random.once_in(2) {
        let at = random.below(bytes.len().min(300));
        bytes[at] = random.pick(b" \t\r\n:/?xX5\x00\x7f\xff,;");
    }
    bytes
}

#[test]
fn requests_that_httparse_accepts_are_read_as_it_reads_them() {
    let redaction = Redaction::default();
    let mut accepted = 0;
    for seed in seeds(SEEDS) {
        let random = &mut Random::new(seed);
        let request = talk(random, 0, seed, false).request.bytes;
        let bytes = tampered(random, request);
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut theirs = httparse::Request::new(&mut headers);
        let Ok(httparse::Status::Complete(length)) = theirs.parse(&bytes) else { continue };
        accepted += 1;
        let blank = bytes.iter().take_while(|b| matches!(b, b'\r' | b'\n')).count();
        assert_eq!(head::length(&bytes[blank..], 0).map(|n| n + blank), Some(length), "seed {seed}");
        let read = head::request(&bytes[blank..length], &redaction).unwrap_or_else(|| panic!("seed {seed}"));
        assert!(!read.malformed, "seed {seed}");
        assert_eq!(Some(&read.request.method[..]), theirs.method.map(str::as_bytes), "seed {seed}");
        let mut target = Vec::new();
        mask_target(theirs.path.unwrap_or_default().as_bytes(), Query::Mask, &mut target);
        assert_eq!(read.request.target, target, "seed {seed}");
        assert_eq!(ours(&read.request.headers), kept(&redaction, theirs.headers), "seed {seed}");
    }
    assert!(accepted > 0);
}

#[test]
fn responses_that_httparse_accepts_are_read_as_it_reads_them() {
    let redaction = Redaction::default();
    let mut accepted = 0;
    for seed in seeds(SEEDS) {
        let random = &mut Random::new(seed);
        let response = talk(random, 0, seed, false).responses.pop().unwrap_or_default().bytes;
        let bytes = tampered(random, response);
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut theirs = httparse::Response::new(&mut headers);
        let Ok(httparse::Status::Complete(length)) = theirs.parse(&bytes) else { continue };
        accepted += 1;
        let blank = bytes.iter().take_while(|b| matches!(b, b'\r' | b'\n')).count();
        assert_eq!(head::length(&bytes[blank..], 0).map(|n| n + blank), Some(length), "seed {seed}");
        let read = head::response(&bytes[blank..length], &redaction).unwrap_or_else(|| panic!("seed {seed}"));
        assert!(!read.malformed, "seed {seed}");
        assert_eq!(Some(read.response.status), theirs.code, "seed {seed}");
        assert_eq!(ours(&read.response.headers), kept(&redaction, theirs.headers), "seed {seed}");
    }
    assert!(accepted > 0);
}
