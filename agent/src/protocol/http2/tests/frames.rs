//! Builds frames and header blocks. Blocks are literals without indexing and without Huffman code (RFC 7541, section
//! 6.2.2), unless a test is about indexes.

use crate::protocol::detect::HTTP2_PREFACE;

pub(in super::super) const END_STREAM: u8 = 0x1;
pub(in super::super) const END_HEADERS: u8 = 0x4;
pub(in super::super) const PADDED: u8 = 0x8;
pub(in super::super) const PRIORITY: u8 = 0x20;

/// The newest entry of the dynamic table, as an indexed field (RFC 7541, sections 2.3.3 and 6.1).
pub(in super::super) const NEWEST: u8 = 0x80 + 62;

/// A frame of any type.
pub(in super::super) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A header block: each field a name and a value, `:` before pseudo-headers.
pub(in super::super) fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            integer(&mut block, 0, 7, text.len());
            block.extend_from_slice(text.as_bytes());
        }
    }
    block
}

/// A field that is inserted into the dynamic table (RFC 7541, section 6.2.1).
pub(in super::super) fn indexed(name: &str, value: &str) -> Vec<u8> {
    let mut block = vec![0x40];
    for text in [name, value] {
        integer(&mut block, 0, 7, text.len());
        block.extend_from_slice(text.as_bytes());
    }
    block
}

fn integer(out: &mut Vec<u8>, front: u8, bits: u32, value: usize) {
    let max = (1 << bits) - 1;
    if value < max {
        out.push(front | value as u8);
        return;
    }
    out.push(front | max as u8);
    let mut rest = value - max;
    while rest >= 128 {
        out.push(0x80 | (rest % 128) as u8);
        rest /= 128;
    }
    out.push(rest as u8);
}

pub(in super::super) fn headers(stream: u32, flags: u8, fields: &[(&str, &str)]) -> Vec<u8> {
    frame(1, flags | END_HEADERS, stream, &block(fields))
}

/// A request: HEADERS alone if `flags` says so.
pub(in super::super) fn request(stream: u32, flags: u8, method: &str, path: &str) -> Vec<u8> {
    headers(stream, flags, &[(":method", method), (":scheme", "http"), (":path", path), (":authority", "h:1")])
}

pub(in super::super) fn get(stream: u32, path: &str) -> Vec<u8> {
    request(stream, END_STREAM, "GET", path)
}

pub(in super::super) fn response(stream: u32, flags: u8, status: &str) -> Vec<u8> {
    headers(stream, flags, &[(":status", status), ("server", "x")])
}

pub(in super::super) fn data(stream: u32, flags: u8, payload: &[u8]) -> Vec<u8> {
    frame(0, flags, stream, payload)
}

pub(in super::super) fn reset(stream: u32, code: u32) -> Vec<u8> {
    frame(3, 0, stream, &code.to_be_bytes())
}

pub(in super::super) fn settings(parameters: &[(u16, u32)]) -> Vec<u8> {
    let payload: Vec<u8> =
        parameters.iter().flat_map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat()).collect();
    frame(4, 0, 0, &payload)
}

pub(in super::super) fn go_away(last: u32) -> Vec<u8> {
    frame(7, 0, 0, &[last.to_be_bytes(), [0; 4]].concat())
}

/// How a client begins.
pub(in super::super) fn preface() -> Vec<u8> {
    [HTTP2_PREFACE, &settings(&[(3, 100), (4, 65_535)])].concat()
}

/// A call's message: prefix and payload.
pub(in super::super) fn message(payload: &[u8]) -> Vec<u8> {
    [&[0][..], &(payload.len() as u32).to_be_bytes(), payload].concat()
}
