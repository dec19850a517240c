//! The first record of each direction of a socket that carries TLS (RFC 8446 section 5.1), if it is of the hand-shake: it
//! holds the hello, and is copied. Nothing that comes behind it is.

use netspan_ebpf::{HELLO_MAX, counter, data_flag};

use super::{Work, source::load_lead, step::bounded};
use crate::{
    conn::{Conn, get},
    emit::count,
    scratch::{Scratch, cell_at},
};

/// Bytes of a record's head.
const HEAD: u16 = 5;
/// `handshake` among the types of records.
const HANDSHAKE: u8 = 0x16;

/// A socket turns out to carry TLS, by the payload: takes up the hello, if both directions are at their beginning.
#[inline(always)]
pub fn begin_hello(work: &mut Work, conn: &mut Conn) {
    let other = ((work.direction & 1) ^ 1) as usize;
    if work.event.pos != 0 || conn.ways[other].pos != 0 {
        return;
    }
    // As far as it takes to learn the record's size.
    conn.hellos = [HEAD, HEAD];
    take_hello(work, conn);
}

/// Copies what a later call moved of the hello; says whether there is an event to send. Global: the verifier checks it once per program.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn walk_hello(slot: u32) -> u32 {
    let Some(Scratch { work, .. }) = cell_at(slot) else { return 0 };
    let Some(conn) = get(work.key) else { return 0 };
    if !load_lead(work, HELLO_MAX as u32) {
        // What follows would have a gap before it.
        conn.hellos[(work.direction & 1) as usize] = 0;
        count(counter::READ_FAULT, 1);
        return 0;
    }
    u32::from(take_hello(work, conn))
}

/// Fills in an event with those bytes of the payload that are of the hello; says whether there are any.
#[inline(always)]
fn take_hello(work: &mut Work, conn: &mut Conn) -> bool {
    let index = (work.direction & 1) as usize;
    if work.event.pos == 0 {
        conn.hellos[index] = end(work);
    }
    let end = u64::from(conn.hellos[index]);
    if end <= work.event.pos {
        return false;
    }
    let left = bounded::<{ HELLO_MAX as u64 }>(end - work.event.pos) as u32;
    work.event.off = 0;
    work.event.copied = if work.loaded < left { work.loaded } else { left };
    work.event.flags = data_flag::HELLO;
    work.pending = 1;
    true
}

/// Where the record ends that the payload begins with, as far as it is copied; 0 if it is not of the hand-shake.
#[inline(always)]
fn end(work: &Work) -> u16 {
    let [kind, major, _, high, low, ..] = *work.lead::<8>();
    if work.loaded < u32::from(HEAD) || kind != HANDSHAKE || major != 3 {
        return 0;
    }
    let end = u32::from(u16::from_be_bytes([high, low])) + u32::from(HEAD);
    if end > HELLO_MAX as u32 { HELLO_MAX as u16 } else { end as u16 }
}
