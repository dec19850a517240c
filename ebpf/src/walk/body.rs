//! What comes behind a head, and the lines that tell the sizes of chunks.

use super::{
    Work,
    begin::give_up,
    head::line,
    mode,
    source::load,
    step::{ON, fault, take},
    way,
};
use crate::conn::{class, get};

/// Bytes of a chunk's size line that one step looks at.
const CHUNK_LINE: u32 = 32;

/// A head or the trailers are over: what comes next.
#[inline(always)]
pub fn body(work: &mut Work) {
    if work.way.mode == mode::TRAILER {
        work.way.mode = mode::START;
        return;
    }
    let response = work.way.flags & way::RESPONSE != 0;
    let status = work.way.status;
    work.way.next = mode::START;
    let mut none = false;
    if response {
        let Some(conn) = get(work.key) else { return };
        let bit = 1u64 << (conn.responses & 63);
        let tunnel = conn.tunnels & bit != 0 && (200..300).contains(&status);
        if tunnel {
            give_up(conn);
            work.off = work.total;
            return;
        }
        if status == 101 {
            // HTTP/2's first frame, or something that is not ours, comes next in either direction.
            conn.class = class::SWITCHED;
            conn.misses = 0;
            work.way.mode = mode::START;
            return;
        }
        if status >= 200 {
            none = conn.bodiless & bit != 0 || status == 204 || status == 304;
            conn.responses = conn.responses.wrapping_add(1);
        } else if status >= 100 {
            none = true;
        }
    }
    work.way.mode = if none {
        mode::START
    } else if work.way.flags & way::CHUNKED != 0 {
        work.way.chunk = 0;
        work.way.flags &= !way::SIZED;
        mode::CHUNK
    } else if work.way.flags & way::LENGTH != 0 {
        if work.way.left == 0 { mode::START } else { mode::SKIP }
    } else if response {
        work.way.left = u64::MAX;
        mode::SKIP
    } else {
        mode::START
    };
}

/// A step in the line that tells a chunk's size (RFC 9112 section 7.1).
#[inline(always)]
pub fn chunk(work: &mut Work) -> u32 {
    if !load(work, CHUNK_LINE) {
        return fault(work);
    }
    work.event.flags = 0;
    let len = work.loaded;
    let mut at = 0;
    while at < CHUNK_LINE {
        if at >= len {
            break;
        }
        let byte = work.payload[at as usize];
        at += 1;
        if byte == b'\n' {
            let size = work.way.chunk;
            work.way.chunk = 0;
            work.way.flags &= !way::SIZED;
            if size == 0 {
                work.way.mode = mode::TRAILER;
                work.way.line = line::EMPTY;
                work.way.head = 0;
                work.way.flags &= !way::FIRST_LINE;
            } else {
                work.way.mode = mode::SKIP;
                work.way.left = u64::from(size) + 2;
                work.way.next = mode::CHUNK;
            }
            break;
        }
        if work.way.flags & way::SIZED == 0 {
            let low = byte | 0x20;
            if byte.is_ascii_digit() {
                work.way.chunk = work.way.chunk << 4 | u32::from(byte - b'0');
            } else if (b'a'..=b'f').contains(&low) {
                work.way.chunk = work.way.chunk << 4 | u32::from(low - b'a' + 10);
            } else {
                work.way.flags |= way::SIZED;
            }
        }
    }
    take(work, at);
    ON
}
