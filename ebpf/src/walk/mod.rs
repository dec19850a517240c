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
mod source;
mod step;

use aya_ebpf::helpers::bpf_ktime_get_boot_ns;
use netspan_ebpf::{COPY_MAX, DataEvent, counter, direction};

use crate::{
    conn::{Conn, Way, class, ordinal},
    emit::count,
    scratch::{Cell, Scratch, cell_at},
    task::{task_running, task_sends},
    tls::{carried, wants_carrier},
};

pub use self::{
    begin::{begins_request, may_begin},
    source::{Source, load_lead, walk_pass},
};
use self::{
    frame::NONE,
    hello::walk_hello,
    ktls::walk_session,
    source::place,
    step::{walk_on, walk_send},
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
    walk_tell(slot);
    walk_on(slot);
}

/// Tells which task of asyncio sends what may be the first of a message. By the cell alone: what else the caller had to keep over
/// the call would not fit the stack of old kernels, nor would the frames of what it calls, in each other.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn walk_tell(slot: u32) -> u32 {
    let Some(Scratch { work, .. }) = cell_at(slot) else { return 0 };
    if work.direction == u32::from(direction::OUT) && begins(work.way.mode) {
        let task = task_running(work.pid_tgid);
        if task != 0 {
            task_sends(slot, work.pid_tgid, work.key, work.event.start_ns, task);
        }
    }
    0
}

/// Whether a message may begin where the next byte is this.
#[inline(always)]
fn begins(mode: u8) -> bool {
    mode == mode::START || mode == mode::FRAME
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

/// A call can't be walked over, or was not seen: its event is missing, which the next one's ordinal tells.
#[inline(always)]
pub fn lose(conn: &mut Conn, len: u32, index: usize) {
    ordinal(conn, index);
    let way = &mut conn.ways[index];
    way.pos += u64::from(len);
    way.mode = mode::START;
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

    /// The time of its event.
    #[inline(always)]
    pub fn time_ns(&self) -> u64 {
        self.event.head.time_ns
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
