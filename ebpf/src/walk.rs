//! Which bytes of a call are copied: message heads, chunk heads and trailers; never bodies.
//!
//! This follows the framing of RFC 9112 section 6 just as far as it takes to find the next head. It is no parser: the
//! agent parses what is copied, decides what it means, and trusts its own framing where the two disagree. Where the
//! framing is lost here (a fault, a head split within a framing header, a bound), the next head is looked for where it
//! can begin: at the first byte of a call.
//!
//! The `extern` functions are global to the verifier: it checks each once, not once per turn of a loop and per caller.

use core::arch::asm;

use aya_ebpf::helpers::{bpf_ktime_get_boot_ns, generated::bpf_probe_read_user};
use netspan_ebpf::{COPY_MAX, DataEvent, HEAD_MAX, IOV_MAX, counter, data_flag, kind};

use crate::{
    conn::{Conn, Way, announce, class, get, head, ordinal, shard},
    emit::{count, count_in, row, send},
    kernel,
    maps::{KERNEL_READS, constant},
    scratch::{Cell, Scratch, cell_at},
    user,
};

/// What the next byte of a direction is.
pub mod mode {
    /// The first of a message, if a message begins here.
    pub const START: u8 = 0;
    /// In a head.
    pub const HEAD: u8 = 1;
    /// In bytes that are skipped.
    pub const SKIP: u8 = 2;
    /// In the line that tells a chunk's size.
    pub const CHUNK: u8 = 3;
    /// In the trailers.
    pub const TRAILER: u8 = 4;
}

/// Bits of [`Way::flags`].
pub mod way {
    /// The present message is a response.
    pub const RESPONSE: u8 = 1;
    /// Its head told a length.
    pub const LENGTH: u8 = 2;
    /// Its head told that it is chunked.
    pub const CHUNKED: u8 = 4;
    /// The hexadecimal digits of the chunk's size are over.
    pub const SIZED: u8 = 16;
    /// The present line is the message's first.
    pub const FIRST_LINE: u8 = 32;
}

/// What of the present line was in earlier bytes.
mod line {
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

/// Steps that one call may take; a step looks at up to [`COPY_MAX`] bytes or passes over a run of them.
const STEPS: u32 = 512;
/// Bytes of a chunk's size line that one step looks at.
const CHUNK_LINE: u32 = 32;
/// Bytes that tell whether a message begins.
const LEAD: u32 = 8;
/// Calls of a connection that was not seen from its beginning that may be unrecognised before it is given up.
const MISSES_MAX: u32 = 16;
/// Bytes behind the payload that may be looked at, so that a look ahead needs no further bound.
const SLACK: usize = 64;
const MASK: u32 = COPY_MAX as u32 - 1;

/// What a walk works on, in a per-CPU cell. `event` and `payload` are sent as one.
#[repr(C)]
pub struct Work {
    /// The connection's key.
    key: u64,
    /// Thread.
    pid_tgid: u64,
    /// Where the present segment goes on.
    base: u64,
    /// The next segment's `struct iovec`.
    iov: u64,
    /// Segments left.
    iov_left: u32,
    /// Bytes left of the present segment.
    segment: u32,
    /// Bytes that the call moved.
    total: u32,
    /// Bytes of them passed.
    off: u32,
    /// Where in `payload` the present line begins.
    line: u32,
    /// Bytes in `payload`.
    loaded: u32,
    /// Non-zero: `event` is filled in and not sent yet.
    pending: u32,
    /// 0 or 1.
    direction: u32,
    /// The cell that this is in.
    slot: u32,
    /// 1 where the array of segments is in kernel memory.
    in_kernel: u32,
    /// Bytes that the iterator has to be taken back by.
    rewind: u64,
    /// The direction's state while it is walked; `walk` takes it from the connection and puts it back.
    way: Way,
    /// Non-zero: see [`Conn::turned`].
    turned: u32,
    event: DataEvent,
    payload: [u8; COPY_MAX + SLACK],
}

/// Where a call's bytes are in user memory.
pub enum Source {
    /// One buffer.
    Buffer(u64),
    /// An array of `struct iovec`, and how many.
    Vector(u64, u32),
    /// A `struct iov_iter` over an array of `struct iovec` in kernel memory, as the call left it: where it stands, in
    /// that segment, and how many bytes it advanced by.
    Iterator {
        /// The segment where it stands.
        vector: u64,
        /// Bytes of that segment that it has passed.
        offset: u64,
        /// Bytes that it advanced by.
        advanced: u64,
    },
    /// Nowhere (`sendfile`, `splice`, `MSG_TRUNC`).
    Nowhere,
    /// It could not be read.
    Unknown,
}

/// One call that moved bytes.
pub struct Moved {
    /// Key of the connection.
    pub key: u64,
    /// One of [`netspan_ebpf::direction`].
    pub direction: u8,
    /// How many bytes.
    pub len: u32,
    /// When it was entered, or 0 where that is not known.
    pub start_ns: u64,
    /// When the first of them arrived in the socket, or 0.
    pub arrived_ns: u64,
    /// Thread.
    pub pid_tgid: u64,
}

/// Walks over the bytes that a call moved, and sends what is to be known of them.
#[inline(always)]
pub fn walk(moved: &Moved, conn: &mut Conn, source: &Source) {
    let index = usize::from(moved.direction & 1);
    if conn.class == class::OPAQUE {
        count(counter::BYTES_SEEN, u64::from(moved.len));
        conn.ways[index].pos += u64::from(moved.len);
        return;
    }
    let Some(mut cell) = Cell::take() else {
        lose(conn, moved.len, index);
        return;
    };
    let slot = cell.slot();
    cell.count(counter::BYTES_SEEN, u64::from(moved.len));
    let work = &mut cell.work;
    // SAFETY: a helper without pointers.
    let now = unsafe { bpf_ktime_get_boot_ns() };
    work.event.head.time_ns = now;
    // Where the entry is not hooked, the return stands for it.
    work.event.start_ns = if moved.start_ns == 0 { now } else { moved.start_ns };
    work.event.pos = conn.ways[index].pos;
    work.event.arrived_ns = moved.arrived_ns;
    work.event.len = moved.len;
    work.event.direction = moved.direction;
    // Before any way out: what sends the event counts by it.
    work.direction = u32::from(moved.direction & 1);
    work.event.flags = 0;
    work.key = moved.key;
    work.pid_tgid = moved.pid_tgid;
    work.slot = slot;
    work.turned = u32::from(conn.turned >> index & 1);
    conn.turned &= !(1 << index);
    conn.ways[index].pos += u64::from(moved.len);
    let skipped = &mut conn.ways[index];
    if work.turned == 0 && skipped.mode == mode::SKIP && skipped.left >= u64::from(moved.len) {
        // The whole call is of a body: the common case of a large one.
        skipped.left -= u64::from(moved.len);
        if skipped.left == 0 {
            skipped.mode = skipped.next;
        }
        work.event.off = moved.len;
        work.event.copied = 0;
        walk_send(slot, 0);
        return;
    }
    work.total = moved.len;
    work.off = 0;
    work.pending = 0;
    work.segment = 0;
    work.iov_left = 0;
    work.in_kernel = 0;
    work.way.set(&conn.ways[index]);
    match *source {
        Source::Buffer(base) => {
            work.base = base;
            work.segment = moved.len;
        }
        Source::Vector(iov, segments) => {
            work.iov = iov;
            work.iov_left = if segments > IOV_MAX { IOV_MAX } else { segments };
        }
        Source::Iterator { vector, offset, advanced } => {
            work.iov = vector;
            work.base = offset;
            work.rewind = advanced;
            work.in_kernel = 1;
            walk_rewind(slot);
        }
        Source::Nowhere | Source::Unknown => {}
    }
    walk_on(slot);
}

/// Walks over the bytes of the call that is entered in a cell.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn walk_on(slot: u32) -> u32 {
    let mut step = 0;
    let mut state = ON;
    while step < STEPS {
        state = walk_step(slot);
        if state == DONE {
            break;
        }
        if state == SEND {
            walk_send(slot, u32::from(data_flag::MORE));
        }
        step += 1;
    }
    let Some(Scratch { work, .. }) = cell_at(slot) else { return 0 };
    if state != DONE {
        count(counter::CALL_CUT, 1);
        cut(work, data_flag::CUT);
    }
    let Some(conn) = get(work.key) else { return 0 };
    conn.ways[(work.direction & 1) as usize].set(&work.way);
    if work.pending == 0 {
        if conn.class != class::HTTP1 {
            return 0;
        }
        work.event.off = work.total;
        work.event.copied = 0;
    }
    // The last event of the call, the one without `MORE`.
    walk_send(slot, 0)
}

/// A call can't be walked over: its event is missing, which the next one's ordinal tells.
#[inline(always)]
fn lose(conn: &mut Conn, len: u32, index: usize) {
    ordinal(conn, index);
    let way = &mut conn.ways[index];
    way.pos += u64::from(len);
    way.mode = mode::START;
}

/// The value, or `MOST` if that is less, in such a way that the verifier sees the bound: the compiler would compare
/// another copy of the value than the one that is used.
#[inline(always)]
fn bounded<const MOST: u64>(mut value: u64) -> u64 {
    // SAFETY: compares and sets one register.
    unsafe {
        asm!(
            "if {value} <= {most} goto +1",
            "{value} = {most}",
            value = inout(reg) value,
            most = const MOST,
            options(nomem, nostack),
        );
    }
    value
}

/// Sends the event that is filled in.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn walk_send(slot: u32, more: u32) -> u32 {
    let Some(Scratch { work, .. }) = cell_at(slot) else { return 0 };
    let Some(conn) = get(work.key) else { return 0 };
    announce(conn, work.pid_tgid);
    let seq = ordinal(conn, work.direction as usize);
    work.event.head = head(conn, kind::DATA, seq, work.event.head.time_ns, work.pid_tgid);
    work.event.flags |= more as u8;
    let copied = bounded::<{ COPY_MAX as u64 }>(u64::from(work.event.copied));
    count_in(row(slot), counter::BYTES_COPIED, copied);
    // SAFETY: `payload` follows `event`, and `copied` is bounded by its size.
    unsafe {
        let data = core::ptr::from_ref(&work.event).cast();
        send(row(slot), shard(conn.id), data, size_of::<DataEvent>() + copied as usize, false);
    }
    work.pending = 0;
    work.event.flags = 0;
    0
}

/// The walk goes on.
const ON: u32 = 0;
/// The walk is over.
const DONE: u32 = 1;
/// The walk goes on when the event that is filled in was sent.
const SEND: u32 = 2;

/// One step of a walk.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn walk_step(slot: u32) -> u32 {
    let Some(Scratch { work, .. }) = cell_at(slot) else { return DONE };
    if work.off >= work.total {
        return DONE;
    }
    let rest = work.total - work.off;
    let turned = work.off == 0 && work.turned != 0;
    if work.way.mode == mode::SKIP && !turned && work.way.left >= u64::from(rest) {
        work.way.left -= u64::from(rest);
        if work.way.left == 0 {
            work.way.mode = work.way.next;
        }
        work.off = work.total;
        return DONE;
    }
    if work.segment == 0 {
        let state = next_segment(work, rest);
        if state != ON || work.segment == 0 {
            return state;
        }
    }
    if work.pending != 0 && work.way.mode != mode::SKIP {
        return SEND;
    }
    match work.way.mode {
        mode::SKIP => {
            if turned && load(work, LEAD) && looks_like(&work.payload, work.loaded) != NOTHING {
                work.way.mode = mode::START;
                return ON;
            }
            let segment = u64::from(work.segment);
            let passed = if work.way.left < segment { work.way.left } else { segment };
            work.way.left -= passed;
            if work.way.left == 0 {
                work.way.mode = work.way.next;
            }
            // Looked at once: what follows in this call is not a turn any more.
            work.turned = 0;
            pass(work, passed as u32);
            ON
        }
        mode::CHUNK => chunk(work),
        mode::START => {
            if !load(work, COPY_MAX as u32) {
                return fault(work);
            }
            if !begin(work) {
                work.off = work.total;
                return DONE;
            }
            walk_lines(work.slot)
        }
        _ => {
            if !load(work, COPY_MAX as u32) {
                return fault(work);
            }
            work.event.flags = 0;
            walk_lines(work.slot)
        }
    }
}

/// Takes up the next segment of an iovec.
#[inline(always)]
fn next_segment(work: &mut Work, rest: u32) -> u32 {
    if work.iov_left == 0 {
        count(counter::CALL_CUT, 1);
        return cut(work, data_flag::CUT);
    }
    let read = if constant(&KERNEL_READS) != 0 && work.in_kernel != 0 {
        kernel::read::<[u64; 2]>(work.iov)
    } else {
        // SAFETY: integers.
        unsafe { user::read::<[u64; 2]>(work.iov) }
    };
    let Some(pair) = read else { return fault(work) };
    work.iov += 16;
    work.iov_left -= 1;
    work.base = pair[0];
    work.segment = if pair[1] > u64::from(rest) { rest } else { pair[1] as u32 };
    ON
}

/// Takes an iterator back to where the call began: to the first segment that has bytes of the call, of which `base` and
/// `segment` then tell what is left, and `iov` the next one.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn walk_rewind(slot: u32) -> u32 {
    let Some(Scratch { work, .. }) = cell_at(slot) else { return 0 };
    if constant(&KERNEL_READS) == 0 {
        return 0;
    }
    let mut offset = work.base;
    let mut rewind = work.rewind;
    let mut vector = work.iov;
    let mut step = 0;
    while step < IOV_MAX {
        if rewind <= offset {
            break;
        }
        rewind -= offset;
        vector -= 16;
        let Some(len) = kernel::read::<u64>(vector + 8) else { return 0 };
        offset = len;
        step += 1;
    }
    if rewind > offset {
        // More segments than are looked at: the walk finds none, and says so.
        return 0;
    }
    let Some([base, len]) = kernel::read::<[u64; 2]>(vector) else { return 0 };
    let start = offset - rewind;
    let left = len.wrapping_sub(start);
    let total = u64::from(work.total);
    work.base = base + start;
    work.segment = if left > total { work.total } else { left as u32 };
    work.iov = vector + 16;
    work.iov_left = IOV_MAX;
    0
}

/// User memory could not be read: from here on the bytes of this call are lost.
#[inline(always)]
fn fault(work: &mut Work) -> u32 {
    count(counter::READ_FAULT, 1);
    cut(work, data_flag::FAULT)
}

/// The rest of the call is not looked at: the last event says why, and the next head is looked for in the next call.
#[inline(always)]
fn cut(work: &mut Work, flag: u8) -> u32 {
    work.way.mode = mode::START;
    if work.pending == 0 {
        work.event.off = work.off;
        work.event.copied = 0;
    }
    work.event.flags |= flag;
    work.pending = 1;
    work.off = work.total;
    DONE
}

/// Reads up to `most` bytes of the present segment into the payload.
#[inline(always)]
fn load(work: &mut Work, most: u32) -> bool {
    let len = bounded::<{ COPY_MAX as u64 }>(u64::from(if work.segment < most { work.segment } else { most })) as u32;
    work.loaded = len;
    // SAFETY: `payload` has room for `len` bytes; the read may fail.
    unsafe { bpf_probe_read_user(work.payload.as_mut_ptr().cast(), len, work.base as *const _) == 0 }
}

/// Passes over bytes of the present segment.
#[inline(always)]
fn pass(work: &mut Work, len: u32) {
    work.off += len;
    work.base += u64::from(len);
    work.segment -= len;
}

/// Fills in an event with the first `len` bytes of the payload, and passes over them.
#[inline(always)]
fn take(work: &mut Work, len: u32) {
    work.event.off = work.off;
    work.event.copied = len;
    work.pending = 1;
    pass(work, len);
}

/// Decides whether a message begins with the payload, and takes it up.
#[inline(always)]
fn begin(work: &mut Work) -> bool {
    let found = looks_like(&work.payload, work.loaded);
    let index = (work.direction & 1) as usize;
    let Some(conn) = get(work.key) else { return false };
    if found == NOTHING {
        if conn.class == class::UNKNOWN {
            conn.misses += 1;
            if conn.origin != netspan_ebpf::origin::FOUND || conn.misses >= MISSES_MAX {
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
    work.way.flags = way::FIRST_LINE;
    work.event.flags = data_flag::START;
    if found == RESPONSE {
        work.way.flags |= way::RESPONSE;
    } else {
        let bit = 1u64 << (conn.requests & 63);
        conn.requests = conn.requests.wrapping_add(1);
        conn.bodiless &= !bit;
        conn.tunnels &= !bit;
        if work.payload[0] == b'H' && work.payload[1] == b'E' {
            conn.bodiless |= bit;
        } else if work.payload[0] == b'C' && work.payload[2] == b'N' {
            conn.tunnels |= bit;
        }
    }
    conn.turned |= 1 << (index ^ 1);
    true
}

/// No protocol of ours: from now on bytes are counted only.
#[inline(always)]
fn give_up(conn: &mut Conn) {
    conn.class = class::OPAQUE;
    count(counter::OPAQUE, 1);
}

const NOTHING: u32 = 0;
const REQUEST: u32 = 1;
const RESPONSE: u32 = 2;

/// The first four bytes of a method that is known by name, as a little-endian number.
const fn word(name: [u8; 4]) -> u32 {
    u32::from_le_bytes(name)
}

/// Whether bytes look like the beginning of a request or of a response. Fewer than eight bytes may match less.
#[inline(always)]
fn looks_like(payload: &[u8], len: u32) -> u32 {
    let four = u32::from_le_bytes([payload[0], payload[1], payload[2], payload[3]]);
    if len < 4 {
        // Up to three bytes: only what a person types into a socket, one byte at a time, comes here.
        let letter = payload[0];
        if letter == b'H' && (len == 1 || payload[1] == b'T') {
            return RESPONSE;
        }
        return if letter.is_ascii_uppercase() { REQUEST } else { NOTHING };
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
            return REQUEST;
        }
        let byte = payload[at];
        if at + 1 >= payload.len() {
            return REQUEST;
        }
        if byte == b' ' {
            let next = payload[at + 1];
            let target = next == b'/' || next == b'*' || next == b'h';
            return if target || at as u32 + 1 >= len { REQUEST } else { NOTHING };
        }
        if !(byte.is_ascii_alphabetic() || byte == b'-' || byte == b'_') {
            return NOTHING;
        }
        at += 1;
    }
    if at < 20 { REQUEST } else { NOTHING }
}

/// Whether the first eight bytes of a call may begin a message.
#[inline(always)]
pub fn may_begin(lead: u64) -> bool {
    looks_like(&lead.to_le_bytes(), 8) != NOTHING
}

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
        // SAFETY: `at` is a multiple of 8 below COPY_MAX, and the payload is 8-aligned.
        let word = unsafe { work.payload.as_ptr().add((at & MASK & !7) as usize).cast::<u64>().read() };
        let other = word ^ 0x0a0a_0a0a_0a0a_0a0a;
        if other.wrapping_sub(0x0101_0101_0101_0101) & !other & 0x8080_8080_8080_8080 != 0 {
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

/// What [`walk_line`] returns for a first line that is not HTTP/1's.
const OURS_NOT: u32 = u32::MAX;

/// Goes through the line ends within the eight bytes of the payload at `at`. Returns the offset behind the empty line
/// that ends the head, or 0.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn walk_line(slot: u32, at: u32) -> u32 {
    let Some(Scratch { work, .. }) = cell_at(slot) else { return 0 };
    let len = work.loaded;
    let mut byte = 0;
    while byte < 8 {
        let here = (at + byte) & MASK;
        byte += 1;
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
                walk_header(slot, begin, here);
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

/// A head or the trailers are over: what comes next.
#[inline(always)]
fn body(work: &mut Work) {
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
        if tunnel || status == 101 {
            give_up(conn);
            work.off = work.total;
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
fn chunk(work: &mut Work) -> u32 {
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
