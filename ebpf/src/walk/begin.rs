//! Where a message begins, and what it is.

use netspan_ebpf::{counter, data_flag};

use super::{Work, frame::may_be_frame, head::line, hello::begin_hello, mode, way};
use crate::{
    conn::{Conn, class, get},
    emit::count,
    scratch::cell_at,
    tls::layer,
};

/// Calls of a connection that was not seen from its beginning that may be unrecognised before it is given up.
const MISSES_MAX: u32 = 16;

/// Decides whether a message begins with the payload, and takes it up.
#[inline(always)]
pub fn begin(work: &mut Work) -> bool {
    let found = decided(work, walk_kind(work.slot));
    let index = (work.direction & 1) as usize;
    let Some(conn) = get(work.key) else { return false };
    if conn.class != class::HTTP1 && frames_begin(work, conn, found) {
        return true;
    }
    if found == NOTHING || conn.class == class::HTTP2 || conn.class == class::SWITCHED {
        if conn.class == class::UNKNOWN && conn.tls == layer::NONE && is_record(work) {
            conn.tls = layer::CARRIER;
            give_up(conn);
            begin_hello(work, conn);
        } else if conn.class != class::HTTP1 {
            conn.misses += 1;
            let whole = conn.origin != netspan_ebpf::origin::FOUND && conn.class != class::HTTP2;
            if whole || conn.class == class::SWITCHED || conn.misses >= MISSES_MAX {
                give_up(conn);
            }
        }
        return false;
    }
    // Joined late, a response may come before any request was seen: keep the ordinals together.
    if conn.responses > conn.requests {
        conn.requests = conn.responses;
    }
    work.way.mode = mode::HEAD;
    work.way.head = 0;
    work.way.left = 0;
    work.way.status = 0;
    work.way.line = line::EMPTY;
    work.way.flags = way::FIRST_LINE | way::BEGUN;
    work.event.flags = data_flag::START;
    if found == RESPONSE {
        work.way.flags |= way::RESPONSE;
    } else {
        let bit = 1u64 << (conn.requests & 63);
        conn.requests = conn.requests.wrapping_add(1);
        conn.bodiless &= !bit;
        conn.tunnels &= !bit;
        // What is behind the bytes that were read is of earlier calls.
        if work.payload[0] == b'H' && (work.loaded < 2 || work.payload[1] == b'E') {
            conn.bodiless |= bit;
        } else if work.payload[0] == b'C' && work.loaded > 2 && work.payload[2] == b'N' {
            conn.tunnels |= bit;
        }
    }
    conn.turned |= 1 << (index ^ 1);
    true
}

/// Whether the payload begins with a record of TLS.
#[inline(always)]
fn is_record(work: &Work) -> bool {
    crate::tls::is_record(u64::from_le_bytes(*work.lead::<8>()))
}

/// Bytes of the client's preface of HTTP/2 (RFC 9113 section 3.4).
const PREFACE: u64 = 24;

/// Takes up a connection of HTTP/2: its preface, or a frame.
#[inline(always)]
fn frames_begin(work: &mut Work, conn: &mut Conn, found: u32) -> bool {
    let (first, second) = work.payload.split_at(8);
    let lead = u64::from_le_bytes([first[0], first[1], first[2], first[3], first[4], first[5], first[6], first[7]]);
    let preface = lead == u64::from_le_bytes(*b"PRI * HT") && second[0] == b'T';
    // What can be text is no frame: their first byte is that of a length below 64 KiB.
    if !preface && (found != NOTHING || !may_be_frame(lead, work.total)) {
        return false;
    }
    conn.class = class::HTTP2;
    conn.turned = 0;
    work.way.mode = if preface { mode::COPY } else { mode::FRAME };
    work.way.left = if preface { PREFACE } else { 0 };
    work.way.frame = 0;
    work.way.chunk = 0;
    work.way.stream = 0;
    work.way.spelled = 0;
    work.way.flags = 0;
    true
}

/// No protocol of ours: from now on bytes are counted only.
#[inline(always)]
pub fn give_up(conn: &mut Conn) {
    conn.class = class::OPAQUE;
    count(counter::OPAQUE, 1);
}

const NOTHING: u32 = 0;
const REQUEST: u32 = 1;
const RESPONSE: u32 = 2;
/// There are too few bytes to tell.
const MAYBE: u32 = 3;

/// Whether a message begins in what seemed to be the rest of a body, as where its sender gave that up: one of the kind that
/// this direction has, beyond doubt. A body's last few bytes, in a call of their own, may be letters as a method is.
#[inline(always)]
pub fn begins_anew(work: &Work) -> bool {
    let kind = if work.way.flags & way::RESPONSE == 0 { REQUEST } else { RESPONSE };
    walk_kind(work.slot) == kind
}

/// What the payload looks like. Global: the verifier checks it once, and the step that asks has no stack to spare.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn walk_kind(slot: u32) -> u32 {
    cell_at(slot).map_or(NOTHING, |scratch| looks_like(&scratch.work.payload, scratch.work.loaded))
}

/// What too few bytes are taken for: what this direction has had so far.
#[inline(always)]
fn decided(work: &Work, found: u32) -> u32 {
    if found != MAYBE {
        return found;
    }
    let response = work.loaded < 4 && work.payload[0] == b'H' && (work.loaded == 1 || work.payload[1] == b'T');
    match (work.way.flags & way::BEGUN != 0, work.way.flags & way::RESPONSE != 0) {
        (true, false) => REQUEST,
        (true, true) if !response => NOTHING,
        (false, _) if !response => REQUEST,
        _ => RESPONSE,
    }
}

/// The first four bytes of a method that is known by name, as a little-endian number.
const fn word(name: [u8; 4]) -> u32 {
    u32::from_le_bytes(name)
}

/// Whether bytes look like the beginning of a request or of a response.
#[inline(always)]
fn looks_like(payload: &[u8], len: u32) -> u32 {
    let four = u32::from_le_bytes([payload[0], payload[1], payload[2], payload[3]]);
    if len < 4 {
        // Up to three bytes: only what a person types into a socket, one byte at a time, comes here.
        return if payload[0].is_ascii_uppercase() { MAYBE } else { NOTHING };
    }
    if four == word(*b"HTTP") {
        return RESPONSE;
    }
    let known = four == word(*b"GET ")
        || four == word(*b"POST")
        || four == word(*b"HEAD")
        || four == word(*b"PUT ")
        || four == word(*b"DELE")
        || four == word(*b"PATC")
        || four == word(*b"OPTI")
        || four == word(*b"CONN")
        || four == word(*b"TRAC");
    if known {
        return REQUEST;
    }
    // Another method: a token of up to 20 letters, a space, and the beginning of a target.
    if !payload[0].is_ascii_alphabetic() {
        return NOTHING;
    }
    let mut at = 1;
    while at < 20 && at < payload.len() {
        if at as u32 >= len {
            return MAYBE;
        }
        let byte = payload[at];
        if at + 1 >= payload.len() {
            return MAYBE;
        }
        if byte == b' ' {
            if at as u32 + 1 >= len {
                return MAYBE;
            }
            let next = payload[at + 1];
            return if next == b'/' || next == b'*' || next == b'h' { REQUEST } else { NOTHING };
        }
        if !(byte.is_ascii_alphabetic() || byte == b'-' || byte == b'_') {
            return NOTHING;
        }
        at += 1;
    }
    if at < 20 { MAYBE } else { NOTHING }
}

/// Whether the first eight bytes of a call may begin a message.
#[inline(always)]
pub fn may_begin(lead: u64, len: u32) -> bool {
    looks_like(&lead.to_le_bytes(), 8) != NOTHING || may_be_frame(lead, len)
}

/// Whether the first eight bytes of a call begin a request of HTTP/1.
#[inline(always)]
pub fn begins_request(lead: &[u8; 8]) -> bool {
    looks_like(lead, 8) == REQUEST
}
