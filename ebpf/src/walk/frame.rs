//! HTTP/2's framing (RFC 9113 section 4.1): heads of frames and the payload of all frames that tell something are
//! copied, `DATA` is passed over. Of a gRPC message in `DATA` its five-byte prefix is copied, so that messages can be
//! counted; what is no such prefix is not.
//!
//! A call may move hundreds of frames: what is copied of them goes into one event, as pieces.

use aya_ebpf::helpers::generated::bpf_probe_read_user;
use netspan_ebpf::{COPY_MAX, HEAD_MAX, PIECE_ALIGN, PieceHead, data_flag};

use super::{
    MASK, Work, mode,
    source::pass,
    step::{DONE, ON, SEND, bounded, cut, fault},
    way,
};
use crate::{
    maps::{MESSAGES, MessageKey},
    scratch::{Scratch, cell_at},
};

/// Bytes of a frame's head.
const HEAD: u32 = 9;
/// Bytes of a gRPC message's prefix: whether it is compressed, and its length.
const PREFIX: u32 = 5;
/// Prefixes that one call gives at most: a body of zeros would be nothing but empty messages.
const PREFIXES_MAX: u32 = 128;
/// Bytes that a gRPC message has at most; a longer one is taken for something else.
const MESSAGE_MAX: u32 = 1 << 26;
/// Bytes of `GOAWAY` that are copied: what follows is text for debugging.
const GOAWAY: u32 = 8;
/// Types above it are none: the known ones and the extensions of RFC 7838, 8336 and 9218 are below.
const TYPE_MAX: u8 = 0x20;

/// Value of [`Work::piece`] while there is none to go on with.
pub const NONE: u32 = u32::MAX;

mod kind {
    pub const DATA: u8 = 0;
    pub const HEADERS: u8 = 1;
    pub const PRIORITY: u8 = 2;
    pub const RST_STREAM: u8 = 3;
    pub const SETTINGS: u8 = 4;
    pub const PING: u8 = 6;
    pub const GOAWAY: u8 = 7;
    pub const WINDOW_UPDATE: u8 = 8;
    pub const CONTINUATION: u8 = 9;
}

/// Flags of frames.
mod flags {
    pub const END_STREAM: u8 = 1;
    pub const PADDED: u8 = 8;
    /// All that the types here define.
    pub const ALL: u8 = 0x2d;
}

/// Whether eight bytes may begin a frame, of a call that moved `len` bytes: only what is hardly anything else.
#[inline(always)]
pub fn may_be_frame(lead: u64, len: u32) -> bool {
    let [high, middle, low, kind, flags, stream @ ..] = lead.to_le_bytes();
    let size = u32::from_be_bytes([0, high, middle, low]);
    if high != 0 || flags & !flags::ALL != 0 || stream[0] >= 0x80 || len < HEAD {
        return false;
    }
    let on_connection = stream[0] == 0 && stream[1] == 0 && stream[2] == 0;
    match kind {
        kind::SETTINGS => {
            on_connection && flags <= 1 && size.is_multiple_of(6) && size <= 240 && (flags == 0 || size == 0)
        }
        kind::HEADERS => size > 0 && size <= 1 << 14,
        kind::PING => on_connection && flags <= 1 && size == 8,
        kind::RST_STREAM | kind::WINDOW_UPDATE => flags == 0 && size == 4,
        // Nothing but a length: the frame must be all of the call, or the agent decides.
        kind::DATA => flags & !(flags::END_STREAM | flags::PADDED) == 0 && size + HEAD == len,
        _ => false,
    }
}

/// One step over frames.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn walk_frames(slot: u32) -> u32 {
    let Some(Scratch { work, .. }) = cell_at(slot) else { return DONE };
    if work.way.mode == mode::FRAME {
        let state = frame(work);
        if state != ON || work.segment == 0 {
            return state;
        }
    }
    match work.way.mode {
        mode::COPY => copy(work),
        mode::MESSAGE => message(work),
        _ => ON,
    }
}

/// Adds up to `most` bytes of the present segment to the event and passes over them. Returns how many: 0 for no room, and
/// [`NONE`] where they can't be read.
#[inline(always)]
fn gather(work: &mut Work, most: u32) -> u32 {
    let mut at = work.piece;
    if at == NONE || work.piece_end != work.off {
        at = (work.filled + PIECE_ALIGN as u32 - 1) & !(PIECE_ALIGN as u32 - 1);
        let filled = at + size_of::<PieceHead>() as u32;
        if filled + HEAD + PREFIX > COPY_MAX as u32 {
            return 0;
        }
        if work.piece == NONE {
            work.event.off = work.off;
        }
        work.piece = at;
        work.filled = filled;
        let head = PieceHead { off: work.off, len: 0 };
        // SAFETY: within the payload, which is larger than the mask by more than this, and aligned to four bytes.
        unsafe { work.payload.as_mut_ptr().add((at & MASK) as usize).cast::<PieceHead>().write_volatile(head) };
    }
    let room = (COPY_MAX as u32).saturating_sub(work.filled);
    let mut len = if most < work.segment { most } else { work.segment };
    len = if room < len { room } else { len };
    let len = bounded::<{ COPY_MAX as u64 }>(u64::from(len)) as u32;
    if len == 0 {
        return 0;
    }
    let to = (work.filled & MASK) as usize;
    // SAFETY: the payload has room for `COPY_MAX` bytes behind any masked offset; the read may fail.
    if unsafe { bpf_probe_read_user(work.payload.as_mut_ptr().add(to).cast(), len, work.base as *const _) } != 0 {
        return NONE;
    }
    resize(work, at, len);
    work.filled += len;
    work.piece_end = work.off + len;
    work.event.copied = work.filled;
    work.event.flags |= data_flag::PIECES;
    work.pending = 1;
    pass(work, len);
    len
}

/// Makes the piece at `at` longer.
#[inline(always)]
fn resize(work: &mut Work, at: u32, by: u32) {
    // SAFETY: as in `gather`.
    unsafe {
        let len = work.payload.as_mut_ptr().add((at & MASK) as usize + 4).cast::<u32>();
        len.write_volatile(len.read_volatile().wrapping_add(by));
    }
}

/// Reads up to `HEAD` bytes that were gathered last into `way.left`, of which the last may be kept apart.
#[inline(always)]
fn gathered(work: &Work, len: u32, n: u32) -> u8 {
    work.payload[(work.filled.wrapping_sub(len).wrapping_add(n) & MASK) as usize]
}

/// The head of a frame, or more of it.
#[inline(always)]
fn frame(work: &mut Work) -> u32 {
    let had = u32::from(work.way.spelled);
    let len = gather(work, HEAD.wrapping_sub(had));
    if len == 0 {
        return SEND;
    }
    if len == NONE {
        return fault(work);
    }
    let mut bytes = work.way.left;
    let mut last = 0;
    let mut n = 0;
    while n < HEAD {
        if n >= len {
            break;
        }
        last = gathered(work, len, n);
        if had + n < 8 {
            bytes = bytes << 8 | u64::from(last);
        }
        n += 1;
    }
    work.way.left = bytes;
    work.way.spelled = (had + len) as u8;
    if had + len < HEAD {
        return ON;
    }
    work.way.spelled = 0;
    work.way.left = 0;
    let size = (bytes >> 40) as u32;
    let kind = (bytes >> 32) as u8;
    let flags = (bytes >> 24) as u8;
    let stream = (bytes as u32) << 8 | u32::from(last);
    let streamless = matches!(kind, kind::SETTINGS | kind::PING | kind::GOAWAY);
    let broken = kind > TYPE_MAX
        || stream >> 31 != 0
        || kind < kind::WINDOW_UPDATE && (stream == 0) != streamless
        || kind == kind::RST_STREAM && size != 4;
    if broken {
        // Out of step: the next frame is looked for at the beginning of a call.
        return cut(work, data_flag::CUT);
    }
    if kind == kind::DATA {
        data(work, size, flags, stream);
        return ON;
    }
    work.way.frame = 0;
    let wanted = match kind {
        kind::PRIORITY | kind::PING | kind::WINDOW_UPDATE => 0,
        kind::GOAWAY if size > GOAWAY => GOAWAY,
        _ if kind > kind::CONTINUATION || size > HEAD_MAX => 0,
        _ => size,
    };
    if wanted > 0 {
        work.way.mode = mode::COPY;
        work.way.left = u64::from(wanted);
        work.way.frame = size - wanted;
    } else {
        skip(work, size, mode::FRAME);
    }
    ON
}

/// Passes over bytes; `next` is what comes then.
#[inline(always)]
fn skip(work: &mut Work, len: u32, next: u8) {
    work.way.mode = if len == 0 { next } else { mode::SKIP };
    work.way.left = u64::from(len);
    work.way.next = next;
}

/// More of a payload that is copied.
#[inline(always)]
fn copy(work: &mut Work) -> u32 {
    let left = work.way.left as u32;
    let len = gather(work, left);
    if len == 0 {
        return SEND;
    }
    if len == NONE {
        return fault(work);
    }
    work.way.left = u64::from(left - len);
    if left == len {
        let rest = work.way.frame;
        skip(work, rest, mode::FRAME);
    }
    ON
}

/// A `DATA` frame begins: finds out how much of a message of its stream is left.
#[inline(always)]
fn data(work: &mut Work, size: u32, flags: u8, stream: u32) {
    if flags & flags::PADDED != 0 {
        // gRPC does not pad.
        return skip(work, size, mode::FRAME);
    }
    if work.way.stream != stream {
        if work.way.chunk != 0 {
            let key = MessageKey { conn: work.key, stream: work.way.stream, direction: work.direction };
            // Full, others give way: their messages are not counted.
            let _ = MESSAGES.insert(key, work.way.chunk, 0);
            work.way.flags |= way::PARKED;
        }
        work.way.stream = stream;
        work.way.chunk = 0;
        if work.way.flags & way::PARKED != 0 {
            let key = MessageKey { conn: work.key, stream, direction: work.direction };
            // SAFETY: the value is copied at once.
            if let Some(&left) = unsafe { MESSAGES.get(key) } {
                work.way.chunk = left;
                let _ = MESSAGES.remove(key);
            }
        }
    }
    work.way.frame = size;
    in_data(work);
    if flags & flags::END_STREAM != 0 {
        work.way.chunk = 0;
    }
}

/// Within a `DATA` frame: the rest of a message is passed over, then the next one's prefix comes.
#[inline(always)]
fn in_data(work: &mut Work) {
    let (message, frame) = (work.way.chunk, work.way.frame);
    let passed = if message < frame { message } else { frame };
    work.way.chunk = message - passed;
    work.way.frame = frame - passed;
    let next = if work.way.frame == 0 { mode::FRAME } else { mode::MESSAGE };
    skip(work, passed, next);
}

/// A call that shows none of its bytes (`sendfile`) goes on within a `DATA` frame: whether messages begin in it is not known.
#[inline(always)]
pub fn pass_unseen(work: &mut Work) {
    let rest = work.way.frame;
    work.way.frame = 0;
    work.way.spelled = 0;
    skip(work, rest, mode::FRAME);
}

/// The prefix of a message, or more of it.
#[inline(always)]
fn message(work: &mut Work) -> u32 {
    let had = u32::from(work.way.spelled);
    let missing = PREFIX.wrapping_sub(had);
    let frame = work.way.frame;
    let len = gather(work, if missing < frame { missing } else { frame });
    if len == 0 {
        return SEND;
    }
    if len == NONE {
        return fault(work);
    }
    let mut bytes = if had == 0 { 0 } else { work.way.left };
    let mut n = 0;
    while n < PREFIX {
        if n >= len {
            break;
        }
        bytes = bytes << 8 | u64::from(gathered(work, len, n));
        n += 1;
    }
    let read = had + len;
    work.way.frame = frame - len;
    // Compressed or not, and a length that is none of any other thing.
    let flag = (bytes >> (8 * (read.wrapping_sub(1) & 7))) as u8;
    let size = bytes as u32;
    work.prefixes += 1;
    if flag > 1 || read == PREFIX && size > MESSAGE_MAX || work.prefixes > PREFIXES_MAX {
        // No message: these bytes stay here.
        let at = work.piece;
        resize(work, at, len.wrapping_neg());
        work.filled -= len;
        work.piece_end = NONE;
        work.event.copied = work.filled;
        work.way.spelled = 0;
        let rest = work.way.frame;
        work.way.frame = 0;
        skip(work, rest, mode::FRAME);
        return ON;
    }
    if read == PREFIX {
        work.way.spelled = 0;
        work.way.chunk = size;
        in_data(work);
    } else if work.way.frame == 0 {
        // A prefix over two frames: the agent does not count then.
        work.way.spelled = 0;
        work.way.left = 0;
        work.way.mode = mode::FRAME;
    } else {
        work.way.spelled = read as u8;
        work.way.left = bytes;
    }
    ON
}
