//! TLS: what applications hand to their library before it is encrypted, and get from it after. Hooks are uprobes on the
//! libraries' functions; `library` has those of OpenSSL, `BoringSSL` and `GnuTLS`, `golang` those of Go's `crypto/tls`,
//! `rustls` those of rustls.
//!
//! A *session* is a connection of its own in the connection table, over the socket's: bytes of plaintext are walked over
//! as those of a socket are. `carrier` finds the socket that a session goes over, by exact evidence only.

mod carrier;
mod golang;
mod goroutine;
mod ktls;
mod library;
mod rustls;

use aya_ebpf::{
    EbpfContext,
    helpers::{bpf_get_current_pid_tgid, bpf_ktime_get_boot_ns},
};
use netspan_ebpf::{close, counter, direction, family, known, origin, role};

pub use self::{
    carrier::{carried, is_carrier, is_record, wants_carrier},
    ktls::{CIPHERTEXT, begin_ktls, ktls_carrier, ktls_control, ktls_control_of, speaker},
    rustls::{Half, HalfName, Line, RustlsCall, SocketName},
};
use crate::{
    conn::{self, Conn, flag},
    emit::count,
    filter::{ports_pass, seen},
    maps::{NEVER, NO_PROGRAMS, SESSIONS, SessionKey, TLS_CALLS, constant},
    user,
    walk::{Moved, Source, walk_plain},
};

/// Values of [`Conn::tls`].
pub mod layer {
    /// No sign of TLS.
    pub const NONE: u8 = 0;
    /// The socket's bytes are TLS; its session is not known.
    pub const CARRIER: u8 = 1;
    /// The socket's session is [`Conn::other`].
    pub const CARRIES: u8 = 2;
    /// A session; [`Conn::other`] is the socket's connection, if it is known.
    pub const SESSION: u8 = 3;
}

/// What a call of a library does.
mod op {
    /// Hands plaintext to the library.
    pub const WRITE: u8 = 1;
    /// Gets plaintext.
    pub const READ: u8 = 2;
    /// Neither: a hand-shake, within which the library uses the socket.
    pub const OTHER: u8 = 3;
    /// Makes a session, whose pointer it stores.
    pub const INIT: u8 = 4;
}

/// A call of a library that a thread (in Go: a goroutine) is in.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct TlsCall {
    /// When it was entered.
    pub start_ns: u64,
    /// Key of the session in the connection table.
    pub session: u64,
    /// The plaintext, or 0.
    pub buffer: u64,
    /// Where the number of bytes is stored at the return, or 0 where the return value is the number.
    pub len_at: u64,
    /// One of [`op`].
    pub op: u64,
}

/// Must be in each program on a uprobe, else the host may crash.
///
/// From Linux 6.13 on (x86-64, `bpf_enable_priv_stack`), programs of the type that uprobes have may get a stack per CPU
/// instead of the thread's, since kprobes are never entered twice on a CPU. Uprobes are: a kernel that preempts may take the
/// CPU from a thread in the middle of a program, and give it to one that comes to the same program, which then writes over
/// the first one's stack (seen: 7.2, preemption model lazy, a wild pointer in `walk_frames`). A program that may go on with
/// another one, by a tail call, keeps the thread's stack (`check_max_stack_depth`). This one never does, and the verifier
/// removes it.
#[inline(always)]
pub fn keep_stack(ctx: &impl EbpfContext) {
    if constant(&NEVER) != 0 {
        // SAFETY: the context is the program's own.
        unsafe { NO_PROGRAMS.tail_call(ctx, 0) };
    }
}

/// The session that a library knows by a pointer, if it is known.
#[inline(always)]
fn known_session(tgid: u32, pointer: u64) -> Option<(u64, &'static mut Conn)> {
    // SAFETY: the value is copied at once.
    let key = *unsafe { SESSIONS.get(SessionKey::new(tgid, pointer)) }?;
    conn::get(key).map(|conn| (key, conn))
}

/// The session that a library knows by a pointer; one that is not known yet becomes known.
#[inline(always)]
fn session(tgid: u32, pointer: u64) -> Option<(u64, &'static mut Conn)> {
    known_session(tgid, pointer).or_else(|| open(tgid, pointer, origin::FOUND, role::UNKNOWN))
}

/// Makes a session.
#[inline(always)]
fn open(tgid: u32, pointer: u64, origin: u8, role: u8) -> Option<(u64, &'static mut Conn)> {
    let key = tls_open(tgid, pointer, u32::from(origin), u32::from(role));
    conn::get(key).map(|conn| (key, conn))
}

/// See [`open`]. Global: the verifier checks it once per program.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn tls_open(tgid: u32, pointer: u64, origin: u32, role: u32) -> u64 {
    let key = tls_make(tgid, origin, role);
    if key != 0 && SESSIONS.insert(SessionKey::new(tgid, pointer), key, 0).is_err() {
        count(counter::SESSION_FULL, 1);
        return 0;
    }
    key
}

/// Makes a session that no library's pointer stands for. Gives its key, or 0.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn tls_make(tgid: u32, origin: u32, role: u32) -> u64 {
    let made = conn::create(tgid, -1, role as u8, family::UNKNOWN, origin as u8);
    let Some((key, conn)) = made else { return 0 };
    conn.tls = layer::SESSION;
    conn.known = known::SOCKET;
    key
}

/// A session is over: its library freed it.
#[inline(always)]
fn free(pid_tgid: u64, pointer: u64) {
    let tgid = (pid_tgid >> 32) as u32;
    if let Some((key, conn)) = known_session(tgid, pointer) {
        let _ = SESSIONS.remove(SessionKey::new(tgid, pointer));
        if conn.flags & flag::ENDED == 0 && (conn.seqs[0] != 0 || conn.seqs[1] != 0) {
            conn.flags |= flag::ENDED;
            conn::end(conn, close::CLOSED, 0, pid_tgid);
        }
        conn::forget(key, conn);
    }
}

/// The session that the thread is in a library's call about, or 0.
#[inline(always)]
pub fn calling(pid_tgid: u64) -> u64 {
    // SAFETY: the value is copied at once.
    unsafe { TLS_CALLS.get(pid_tgid) }.map_or(0, |call| call.session)
}

/// The thread, if its process is seen.
#[inline(always)]
fn current() -> Option<(u64, u32)> {
    let pid_tgid = bpf_get_current_pid_tgid();
    let tgid = (pid_tgid >> 32) as u32;
    if seen(tgid) { Some((pid_tgid, tgid)) } else { None }
}

/// Notes a call of a library by its thread.
#[inline(always)]
fn enter(op: u8, pointer: u64, buffer: u64, len_at: u64) {
    let Some((pid_tgid, tgid)) = current() else { return };
    let Some((key, _)) = session(tgid, pointer) else { return };
    note(pid_tgid, op, key, buffer, len_at);
}

/// Notes a call.
#[inline(always)]
fn note(caller: u64, op: u8, session: u64, buffer: u64, len_at: u64) {
    // SAFETY: a helper without pointers.
    let start_ns = unsafe { bpf_ktime_get_boot_ns() };
    let call = TlsCall { start_ns, session, buffer, len_at, op: u64::from(op) };
    if TLS_CALLS.insert(caller, call, 0).is_err() {
        count(counter::CALL_FULL, 1);
    }
}

/// A call of a library returned.
#[inline(always)]
fn leave(caller: u64, result: u64) {
    // SAFETY: the value is copied at once.
    let Some(call) = (unsafe { TLS_CALLS.get(caller) }).copied() else { return };
    let _ = TLS_CALLS.remove(caller);
    // Only a positive 32-bit number counts: what the register has above it is not the function's.
    let result = result as u32;
    if result == 0 || result >> 31 != 0 || call.op > u64::from(op::READ) {
        return;
    }
    let len = if call.len_at == 0 {
        result
    } else {
        // SAFETY: an integer.
        match unsafe { user::read::<u64>(call.len_at) } {
            Some(len) => len as u32,
            None => return count(counter::READ_FAULT, 1),
        }
    };
    let is_write = call.op == u64::from(op::WRITE);
    let direction = if is_write { direction::OUT } else { direction::IN };
    let start_ns = if is_write { call.start_ns } else { 0 };
    let source = if call.buffer == 0 { Source::nowhere() } else { Source::buffer(call.buffer) };
    moved(call.session, direction, &source, len, start_ns);
}

/// Walks over plaintext that a session's application sent or got. `start_ns`: when the call was entered, 0 where it just
/// was, or where that does not matter.
#[inline(always)]
fn moved(session: u64, direction: u8, source: &Source, len: u32, start_ns: u64) {
    let Some(conn) = conn::get(session) else { return count(counter::CONN_FULL, 1) };
    if len == 0 || len >> 31 != 0 || !ports_pass(conn) {
        return;
    }
    let pid_tgid = bpf_get_current_pid_tgid();
    conn.tgid = (pid_tgid >> 32) as u32;
    carrier::refresh(conn);
    let arrived_ns = if direction == direction::OUT { 0 } else { core::mem::take(&mut conn.arrived_ns) };
    walk_plain(&Moved { key: session, direction, len, start_ns, arrived_ns, pid_tgid }, conn, source);
}
