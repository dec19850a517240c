//! Lines of heads and trailers: where they end, and what they tell of the framing.

use netspan_ebpf::{COPY_MAX, HEAD_MAX, counter, data_flag};

use super::{
    MASK, Work,
    begin::give_up,
    body::body,
    mode,
    step::{DONE, ON, cut, take},
    way,
};
use crate::{
    conn::{Way, class, get},
    emit::count,
    scratch::{Scratch, cell_at},
};

/// What of the present line was in earlier bytes.
pub mod line {
    /// Nothing.
    pub const EMPTY: u8 = 0;
    /// One carriage return.
    pub const CR: u8 = 1;
    /// More.
    pub const MORE: u8 = 2;
}

/// What a line spells that came in pieces. Whole lines are looked at where they are; the pieces of others are read byte
/// by byte.
mod spell {
    /// Nothing that tells the framing.
    pub const NOTHING: u8 = 0;
    /// The beginning of `content-length:`.
    pub const LENGTH: u8 = 1;
    /// The beginning of `transfer-encoding:`.
    pub const CODING: u8 = 2;
    /// `content-length:` and so many digits.
    pub const DIGITS: u8 = 3;
    /// `transfer-encoding:`, and its value's end so far is a beginning of `chunked`.
    pub const CHUNKED: u8 = 4;
    /// So many bytes of a response's first line.
    pub const STATUS: u8 = 5;
}

/// Bytes of a piece of a line that are read. A line whose piece is longer tells nothing: a framing header is short.
const PIECE: u32 = 64;

/// Looks for the end of a head or of trailers in the payload, and takes what belongs to it.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn walk_lines(slot: u32) -> u32 {
    let Some(Scratch { work, .. }) = cell_at(slot) else { return DONE };
    work.line = 0;
    let len = work.loaded;
    let mut end = 0;
    let mut at = 0u32;
    while at < COPY_MAX as u32 {
        if at >= len {
            break;
        }
        if line_ends(work, at) != 0 {
            end = walk_line(slot, at);
            if end != 0 {
                break;
            }
        }
        at += 8;
    }
    if end == OURS_NOT {
        work.pending = 0;
        work.off = work.total;
        return DONE;
    }
    if end == 0 {
        let mut taken = len;
        if work.line > 0 && work.line < len && work.segment > len {
            // More of the present line follows in this segment: the next step has it as a whole.
            taken = work.line;
            work.way.line = line::EMPTY;
        } else if work.line < len {
            walk_piece(work.slot, work.line, len);
            let one = len - work.line == 1 && work.payload[((len - 1) & MASK) as usize] == b'\r';
            work.way.line = match (work.way.line, one) {
                (line::EMPTY, true) => line::CR,
                (line::EMPTY, false) => line::MORE,
                // The whole payload continued a line that had begun before.
                (earlier, _) if work.line == 0 => {
                    if earlier == line::CR {
                        line::MORE
                    } else {
                        earlier
                    }
                }
                (_, true) => line::CR,
                (_, false) => line::MORE,
            };
        } else {
            work.way.line = line::EMPTY;
        }
        work.way.head += taken;
        take(work, taken);
        if work.way.head > HEAD_MAX {
            count(counter::HEAD_CUT, 1);
            return cut(work, data_flag::CUT);
        }
        return ON;
    }
    take(work, if end > len { len } else { end });
    body(work);
    ON
}

/// Which of the eight bytes of the payload at `at` are line feeds: the highest bit of each that is. Behind the first one
/// it may be set for others, too.
#[inline(always)]
fn line_ends(work: &Work, at: u32) -> u64 {
    // SAFETY: the offset is a multiple of 8 below COPY_MAX, and the payload is 8-aligned.
    let eight = unsafe { work.payload.as_ptr().add((at & MASK & !7) as usize).cast::<u64>().read() };
    let other = eight ^ 0x0a0a_0a0a_0a0a_0a0a;
    other.wrapping_sub(0x0101_0101_0101_0101) & !other & 0x8080_8080_8080_8080
}

/// Which byte the lowest bit of [`line_ends`] is in. BPF has no instruction for it, and a branch for each would be a path
/// for the verifier: multiplied by this, bit `8 * n` moves the three bits that are `n` to the top.
#[inline(always)]
fn first_byte(ends: u64) -> u32 {
    const PLACES: u64 = 1 << 53 | 2 << 45 | 3 << 37 | 4 << 29 | 5 << 21 | 6 << 13 | 7 << 5;
    let lowest = ends & ends.wrapping_neg();
    ((lowest >> 7).wrapping_mul(PLACES) >> 61) as u32
}

/// What [`walk_line`] returns for a first line that is not HTTP/1's.
const OURS_NOT: u32 = u32::MAX;

/// Goes through the line ends within the eight bytes of the payload at `at`. Returns the offset behind the empty line
/// that ends the head, or 0.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn walk_line(slot: u32, at: u32) -> u32 {
    let Some(Scratch { work, .. }) = cell_at(slot) else { return 0 };
    let len = work.loaded;
    let mut ends = line_ends(work, at);
    let mut turn = 0;
    while turn < 8 {
        turn += 1;
        if ends == 0 {
            return 0;
        }
        let here = (at + first_byte(ends)) & MASK;
        ends &= ends - 1;
        if here >= len {
            return 0;
        }
        if work.payload[here as usize] != b'\n' {
            continue;
        }
        let begin = work.line & MASK;
        let size = here.wrapping_sub(begin);
        let empty = match work.way.line {
            line::EMPTY => size == 0 || size == 1 && work.payload[begin as usize] == b'\r',
            line::CR => size == 0,
            _ => false,
        };
        let whole = work.way.line == line::EMPTY;
        if !whole && !empty {
            walk_piece(slot, begin, here);
        }
        work.way.line = line::EMPTY;
        work.line = here + 1;
        if empty {
            // Empty lines before a first line are no end (RFC 9112 section 2.2).
            if work.way.flags & way::FIRST_LINE != 0 {
                continue;
            }
            return here + 1;
        }
        if work.way.mode == mode::HEAD {
            if work.way.flags & way::FIRST_LINE != 0 {
                if !first_line(work, begin, here, whole) {
                    return OURS_NOT;
                }
            } else if whole {
                // Most lines are neither of the two headers, and a call costs more than to look.
                let first = work.payload[begin as usize] | 0x20;
                if first == b'c' || first == b't' {
                    walk_header(slot, begin, here);
                }
            } else {
                spelled(work);
            }
        }
    }
    0
}

/// The first line of a head: it must name HTTP/1, or the connection is not ours.
#[inline(always)]
fn first_line(work: &mut Work, begin: u32, end: u32, whole: bool) -> bool {
    work.way.flags &= !way::FIRST_LINE;
    let Some(conn) = get(work.key) else { return false };
    if work.way.flags & way::RESPONSE != 0 {
        // Otherwise `walk_piece` has read it.
        if whole {
            let digit = |n: u32| u16::from(work.payload[((begin + n) & MASK) as usize].wrapping_sub(b'0') & 15);
            work.way.status = digit(9) * 100 + digit(10) * 10 + digit(11);
        }
    } else {
        let at = |n: u32| work.payload[(end.wrapping_sub(n) & MASK) as usize];
        let last = u32::from(end > 0 && at(1) == b'\r');
        // Bytes of the line that were in an earlier call can't be looked at any more.
        if end >= 10 {
            let one = at(last + 8) == b'H' && at(last + 7) == b'T' && at(last + 5) == b'P' && at(last + 4) == b'/';
            if !(one && at(last + 3) == b'1' && at(last + 2) == b'.') {
                if conn.class == class::UNKNOWN {
                    give_up(conn);
                    return false;
                }
                return true;
            }
        }
    }
    conn.class = class::HTTP1;
    true
}

/// Takes the two headers that tell a body's length.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn walk_header(slot: u32, begin: u32, end: u32) -> u32 {
    let Some(Scratch { work, .. }) = cell_at(slot) else { return 0 };
    let at = |n: u32| work.payload[(begin as usize & (COPY_MAX - 1)) + n as usize] | 0x20;
    let name = at(0);
    if name == b'c' && at(8) == b'l' {
        const NAME: &[u8; 15] = b"content-length:";
        let mut n = 1;
        while n < 15 {
            if at(n) != NAME[n as usize] {
                return 0;
            }
            n += 1;
        }
        let mut value = 0u64;
        let mut seen = false;
        let mut n = 15;
        while n < 40 {
            let byte = work.payload[(begin as usize & (COPY_MAX - 1)) + n];
            if byte.is_ascii_digit() {
                value = value.wrapping_mul(10).wrapping_add(u64::from(byte - b'0'));
                seen = true;
            } else if seen || !(byte == b' ' || byte == b'\t') {
                break;
            }
            n += 1;
        }
        if seen {
            work.way.left = value;
            work.way.flags |= way::LENGTH;
        }
    } else if name == b't' && at(9) == b'e' {
        const NAME: &[u8; 18] = b"transfer-encoding:";
        let mut n = 1;
        while n < 18 {
            // The hyphen and the colon have the bit of lower case set already.
            if at(n) != NAME[n as usize] {
                return 0;
            }
            n += 1;
        }
        let last = |n: u32| work.payload[(end.wrapping_sub(n) & MASK) as usize] | 0x20;
        // `\r | 0x20` is `-`.
        let back = u32::from(last(1) == b'-');
        if last(back + 1) == b'd' && last(back + 2) == b'e' && last(back + 5) == b'u' && last(back + 7) == b'c' {
            work.way.flags |= way::CHUNKED;
        }
    }
    0
}

/// Reads the bytes of the payload from `begin` to `end`, a piece of a line, for what the line tells of the framing.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn walk_piece(slot: u32, begin: u32, end: u32) -> u32 {
    let Some(Scratch { work, .. }) = cell_at(slot) else { return 0 };
    if work.way.mode != mode::HEAD {
        return 0;
    }
    if work.way.line == line::EMPTY {
        work.way.spelled = 0;
        work.way.spell = if work.way.flags & way::FIRST_LINE == 0 {
            match work.payload[(begin & MASK) as usize] | 0x20 {
                b'c' => spell::LENGTH,
                b't' => spell::CODING,
                _ => spell::NOTHING,
            }
        } else if work.way.flags & way::RESPONSE != 0 {
            spell::STATUS
        } else {
            spell::NOTHING
        };
    }
    if end.wrapping_sub(begin) > PIECE && work.way.spell != spell::STATUS {
        work.way.spell = spell::NOTHING;
    }
    let mut n = 0;
    while n < PIECE {
        let at = begin.wrapping_add(n);
        if at >= end || work.way.spell == spell::NOTHING {
            break;
        }
        let byte = work.payload[(at & MASK) as usize];
        spell_byte(&mut work.way, byte);
        n += 1;
    }
    0
}

/// One byte of a line that comes in pieces.
#[inline(always)]
fn spell_byte(way: &mut Way, byte: u8) {
    const LENGTH: &[u8; 16] = b"content-length:\0";
    const CODING: &[u8; 32] = b"transfer-encoding:\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    const CHUNKED: &[u8; 8] = b"chunked\0";
    let lower = byte | 0x20;
    let at = way.spelled;
    match way.spell {
        spell::LENGTH => {
            way.spelled = at + 1;
            if lower != LENGTH[usize::from(at & 15)] {
                way.spell = spell::NOTHING;
            } else if at == 14 {
                (way.spell, way.spelled) = (spell::DIGITS, 0);
            }
        }
        spell::CODING => {
            way.spelled = at + 1;
            if lower != CODING[usize::from(at & 31)] {
                way.spell = spell::NOTHING;
            } else if at == 17 {
                (way.spell, way.spelled) = (spell::CHUNKED, 0);
            }
        }
        spell::DIGITS => {
            if byte.is_ascii_digit() {
                way.left = if at == 0 { 0 } else { way.left.wrapping_mul(10) }.wrapping_add(u64::from(byte - b'0'));
                way.spelled = 1;
            }
        }
        spell::CHUNKED => {
            if lower == CHUNKED[usize::from(at & 7)] && at < 7 {
                way.spelled = at + 1;
            } else if !(at == 7 && (byte == b'\r' || byte == b' ' || byte == b'\t')) {
                way.spelled = u8::from(lower == b'c');
            }
        }
        _ => {
            if (9..12).contains(&at) {
                way.status = way.status.wrapping_mul(10).wrapping_add(u16::from(byte.wrapping_sub(b'0') & 15));
            }
            way.spelled = if at < 12 { at + 1 } else { at };
        }
    }
}

/// A header that came in pieces is over.
#[inline(always)]
fn spelled(work: &mut Work) {
    if work.way.spell == spell::DIGITS && work.way.spelled > 0 {
        work.way.flags |= way::LENGTH;
    } else if work.way.spell == spell::CHUNKED && work.way.spelled == 7 {
        work.way.flags |= way::CHUNKED;
    }
}
