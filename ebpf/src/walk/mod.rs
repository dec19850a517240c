//! Which bytes of a call are copied: message heads, chunk heads and trailers; never bodies.
//!
//! This follows the framing of RFC 9112 section 6 just as far as it takes to find the next head. It is no parser: the
//! agent parses what is copied, decides what it means, and trusts its own framing where the two disagree. Where the
//! framing is lost here (a fault, a head split within a framing header, a bound), the next head is looked for where it
//! can begin: at the first byte of a call.
//!
//! The `extern` functions are global to the verifier: it checks each once, not once per turn of a loop and per caller.

mod begin;
mod body;
mod frame;
mod head;
mod hello;
mod ktls;

use core::arch::asm;

use aya_ebpf::helpers::{bpf_ktime_get_boot_ns, generated::bpf_probe_read_user};
use netspan_ebpf::{COPY_MAX, DataEvent, IOV_MAX, counter, data_flag, kind};

use crate::{
    conn::{Conn, Way, announce, class, get, ordinal, shard},
    emit::{count, count_in, row, send},
    kernel,
    maps::{KERNEL_READS, constant},
    scratch::{Cell, Scratch, cell_at},
    tls::{carried, wants_carrier},
    user,
};

pub use self::begin::may_begin;
use self::{
    begin::{begin, begins_anew},
    body::chunk,
    frame::{NONE, pass_unseen, walk_frames},
    head::walk_lines,
    hello::walk_hello,
    ktls::walk_session,
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
    /// In the head of a frame.
    pub const FRAME: u8 = 5;
    /// In bytes of a frame that are copied.
    pub const COPY: u8 = 6;
    /// In the prefix of a gRPC message.
    pub const MESSAGE: u8 = 7;
}

/// Bits of [`Way::flags`].
pub mod way {
    /// The present message is a response.
    pub const RESPONSE: u8 = 1;
    /// Its head told a length.
    pub const LENGTH: u8 = 2;
    /// Its head told that it is chunked.
    pub const CHUNKED: u8 = 4;
    /// A message has begun in this direction.
    pub const BEGUN: u8 = 8;
    /// The hexadecimal digits of the chunk's size are over.
    pub const SIZED: u8 = 16;
    /// The present line is the message's first.
    pub const FIRST_LINE: u8 = 32;
    /// Unfinished messages of other streams are remembered.
    pub const PARKED: u8 = 64;
}

/// Steps that one call may take; a step looks at up to [`COPY_MAX`] bytes or passes over a run of them.
const STEPS: u32 = 2048;
/// Bytes that tell whether a message begins: a method of up to 20 letters, a space and the first of its target.
const LEAD: u32 = 24;
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
    /// Where in `payload` the head of the present piece is, or [`NONE`].
    piece: u32,
    /// Where in the call the present piece ends.
    piece_end: u32,
    /// Bytes of `payload` that pieces take up.
    filled: u32,
    /// Prefixes of messages that this call gave.
    prefixes: u32,
    event: DataEvent,
    /// Twice as large as what is sent, so that a copy may begin anywhere in it.
    payload: [u8; 2 * COPY_MAX + SLACK],
}

/// Where a call's bytes are in user memory. All fields are always set: what an enum leaves unset the compiler may read
/// all the same, and old verifiers refuse that.
#[derive(Clone, Copy)]
pub struct Source {
    kind: Kind,
    at: u64,
    part: u64,
    advanced: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Nowhere,
    Buffer,
    Vector,
    Iterator,
}

impl Source {
    /// Nowhere (`sendfile`, `splice`, `MSG_TRUNC`), or it could not be read.
    #[inline(always)]
    pub fn nowhere() -> Self {
        Self { kind: Kind::Nowhere, at: 0, part: 0, advanced: 0 }
    }

    /// One buffer.
    #[inline(always)]
    pub fn buffer(at: u64) -> Self {
        Self { kind: Kind::Buffer, at, part: 0, advanced: 0 }
    }

    /// An array of `struct iovec`, and how many.
    #[inline(always)]
    pub fn vector(at: u64, count: u32) -> Self {
        Self { kind: Kind::Vector, at, part: u64::from(count), advanced: 0 }
    }

    /// The same, without the first `skipped` bytes.
    #[inline(always)]
    pub fn part(at: u64, count: u64, skipped: u64) -> Self {
        Self { kind: Kind::Vector, at, part: count, advanced: skipped }
    }

    /// A `struct iov_iter` over an array of `struct iovec` in kernel memory, as the call left it: where it stands, how many
    /// bytes of that segment it has passed, and how many bytes it advanced by.
    #[inline(always)]
    pub fn iterator(at: u64, offset: u64, advanced: u64) -> Self {
        Self { kind: Kind::Iterator, at, part: offset, advanced }
    }
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

/// Walks over the bytes that a call moved on a socket, and sends what is to be known of them.
#[inline(always)]
pub fn walk(moved: &Moved, conn: &mut Conn, source: &Source) {
    if conn.class != class::OPAQUE {
        return walk_known(moved, conn, source);
    }
    let index = usize::from(moved.direction & 1);
    let pos = pass_over(moved, conn);
    let is_hello = u64::from(conn.hellos[index]) > pos;
    let is_ktls = conn.ktls != 0;
    let wants_session = wants_carrier(moved, conn);
    if is_hello || wants_session || is_ktls {
        carry(moved, source, pos, is_hello, wants_session, is_ktls);
    }
}

/// The same for plaintext of a session, which carries no other session: what looks for one would not fit its stack.
#[inline(always)]
pub fn walk_plain(moved: &Moved, conn: &mut Conn, source: &Source) {
    if conn.class == class::OPAQUE {
        pass_over(moved, conn);
    } else {
        walk_known(moved, conn, source);
    }
}

/// Counts bytes of no protocol of ours. Gives how many its direction had moved before.
#[inline(always)]
fn pass_over(moved: &Moved, conn: &mut Conn) -> u64 {
    let index = usize::from(moved.direction & 1);
    count(counter::BYTES_SEEN, u64::from(moved.len));
    let pos = conn.ways[index].pos;
    conn.ways[index].pos = pos + u64::from(moved.len);
    pos
}

/// Walks over bytes of a connection that may be of a protocol of ours.
#[inline(always)]
fn walk_known(moved: &Moved, conn: &mut Conn, source: &Source) {
    let index = usize::from(moved.direction & 1);
    let Some(mut cell) = Cell::take() else {
        lose(conn, moved.len, index);
        return;
    };
    let slot = cell.slot();
    cell.count(counter::BYTES_SEEN, u64::from(moved.len));
    let work = &mut cell.work;
    // Before any way out: what sends the event counts by it.
    enter(work, moved, slot, conn.ways[index].pos);
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
    work.pending = 0;
    work.piece = NONE;
    work.filled = 0;
    work.prefixes = 0;
    work.way.set(&conn.ways[index]);
    place(work, moved.len, source);
    walk_on(slot);
}

/// Enters a call, and what its events have in common. `pos` is how many bytes its direction had moved before.
#[inline(always)]
fn enter(work: &mut Work, moved: &Moved, slot: u32, pos: u64) {
    // SAFETY: a helper without pointers.
    let now = unsafe { bpf_ktime_get_boot_ns() };
    work.event.head.time_ns = now;
    // Where the entry is not hooked, the return stands for it.
    work.event.start_ns = if moved.start_ns == 0 { now } else { moved.start_ns };
    work.event.pos = pos;
    work.event.arrived_ns = moved.arrived_ns;
    work.event.len = moved.len;
    work.event.direction = moved.direction;
    work.event.flags = 0;
    work.direction = u32::from(moved.direction & 1);
    work.key = moved.key;
    work.pid_tgid = moved.pid_tgid;
    work.slot = slot;
}

/// A call on a socket that carries TLS: looks for its session, and copies the hello, in a cell as a walk does. Where the
/// kernel encrypts, what was moved is the session's plaintext.
#[inline(always)]
fn carry(moved: &Moved, source: &Source, pos: u64, is_hello: bool, wants_session: bool, is_ktls: bool) {
    let Some(mut cell) = Cell::take() else { return };
    let slot = cell.slot();
    let work = &mut cell.work;
    enter(work, moved, slot, pos);
    place(work, moved.len, source);
    if is_ktls && walk_session(slot) {
        return;
    }
    // Sent from here: the frames of both would not fit the stack of old kernels.
    if is_hello && walk_hello(slot) != 0 {
        walk_send(slot, 0);
    }
    // After it: this may pass over the bytes.
    if wants_session {
        carried(slot);
    }
}

/// Enters where a call's bytes are.
#[inline(always)]
fn place(work: &mut Work, len: u32, source: &Source) {
    work.total = len;
    work.off = 0;
    work.segment = 0;
    work.iov_left = 0;
    work.in_kernel = 0;
    match source.kind {
        Kind::Nowhere => {}
        Kind::Buffer => {
            work.base = source.at;
            work.segment = len;
        }
        Kind::Vector => {
            work.iov = source.at;
            work.iov_left = if source.part > u64::from(IOV_MAX) { IOV_MAX } else { source.part as u32 };
            if source.advanced != 0 {
                walk_skip(work.slot, source.advanced as u32);
            }
        }
        Kind::Iterator => {
            work.iov = source.at;
            work.base = source.part;
            work.rewind = source.advanced;
            work.in_kernel = 1;
            walk_rewind(work.slot);
        }
    }
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
        if conn.class != class::HTTP1 && conn.class != class::HTTP2 {
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
    // What carries a session is told of by the session. Field by field: old kernels have no stack left for a copy.
    if work.event.flags & data_flag::HELLO == 0 {
        announce(conn, work.pid_tgid);
        work.event.head.seq = ordinal(conn, work.direction as usize);
    } else {
        work.event.head.seq = 0;
    }
    work.event.head.conn = conn.id;
    work.event.head.tgid = (work.pid_tgid >> 32) as u32;
    work.event.head.tid = work.pid_tgid as u32;
    work.event.head.kind = kind::DATA;
    work.event.head._pad = 0;
    work.event.flags |= more as u8;
    let copied = bounded::<{ COPY_MAX as u64 }>(u64::from(work.event.copied));
    count_in(row(slot), counter::BYTES_COPIED, copied);
    // SAFETY: `payload` follows `event`, and `copied` is bounded by its size.
    unsafe {
        let data = core::ptr::from_ref(&work.event).cast();
        send(row(slot), shard(conn.id), data, size_of::<DataEvent>() + copied as usize, false);
    }
    work.pending = 0;
    work.piece = NONE;
    work.filled = 0;
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
        if work.way.mode == mode::MESSAGE && work.iov_left == 0 {
            // Sent from a file.
            pass_unseen(work);
            return ON;
        }
        let state = next_segment(work, rest);
        if state != ON || work.segment == 0 {
            return state;
        }
    }
    if work.way.mode >= mode::FRAME {
        return walk_frames(work.slot);
    }
    if work.pending != 0 && work.way.mode != mode::SKIP {
        return SEND;
    }
    match work.way.mode {
        mode::SKIP => {
            if turned && load(work, LEAD) && begins_anew(work) {
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
            if work.way.mode >= mode::FRAME {
                return ON;
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

/// Takes up the segment that has the byte after the first `skipped`.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn walk_skip(slot: u32, skipped: u32) -> u32 {
    let Some(Scratch { work, .. }) = cell_at(slot) else { return 0 };
    let mut skipped = u64::from(skipped);
    let mut step = 0;
    while step < IOV_MAX && work.iov_left > 0 {
        // SAFETY: integers.
        let Some([base, len]) = (unsafe { user::read::<[u64; 2]>(work.iov) }) else { return 0 };
        work.iov += 16;
        work.iov_left -= 1;
        if len > skipped {
            let (left, total) = (len - skipped, u64::from(work.total));
            work.base = base + skipped;
            work.segment = if left > total { work.total } else { left as u32 };
            return 0;
        }
        skipped -= len;
        step += 1;
    }
    0
}

/// Segments that [`walk_pass`] passes over at most.
const PASS_MAX: u32 = 32;

/// Passes over bytes of a call, and over the ends of segments. Gives how many of them the call does not have.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn walk_pass(slot: u32, len: u32) -> u32 {
    let Some(Scratch { work, .. }) = cell_at(slot) else { return len };
    let mut left = len;
    let mut step = 0;
    while step < PASS_MAX && left > 0 && work.off < work.total {
        if work.segment == 0 && (work.iov_left == 0 || next_segment(work, work.total - work.off) != ON) {
            return left;
        }
        let passed = if left < work.segment { left } else { work.segment };
        pass(work, passed);
        left -= passed;
        step += 1;
    }
    left
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

/// Reads the next bytes of the call, up to `most` of its next segment that has any.
#[inline(always)]
pub fn load_lead(work: &mut Work, most: u32) -> bool {
    let total = work.total;
    let mut n = 0;
    while n < 4 && work.segment == 0 && work.iov_left > 0 {
        if next_segment(work, total) != ON {
            return false;
        }
        n += 1;
    }
    work.segment != 0 && load(work, most)
}

impl Work {
    /// Key of the connection.
    #[inline(always)]
    pub fn key(&self) -> u64 {
        self.key
    }

    /// Thread.
    #[inline(always)]
    pub fn pid_tgid(&self) -> u64 {
        self.pid_tgid
    }

    /// One of [`netspan_ebpf::direction`].
    #[inline(always)]
    pub fn direction(&self) -> u32 {
        self.direction
    }

    /// Whether the call has more bytes than were passed.
    #[inline(always)]
    pub fn goes_on(&self) -> bool {
        self.off < self.total
    }

    /// How many bytes [`load_lead`] read.
    #[inline(always)]
    pub fn loaded(&self) -> u32 {
        self.loaded
    }

    /// The first bytes that [`load_lead`] read; more than it read are of earlier calls.
    #[inline(always)]
    pub fn lead<const N: usize>(&self) -> &[u8; N] {
        // SAFETY: the payload is longer.
        unsafe { &*self.payload.as_ptr().cast::<[u8; N]>() }
    }
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
