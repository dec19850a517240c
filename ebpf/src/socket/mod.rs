//! The family `socket`: hooks on the kernel's TCP and Unix stream sockets. It sees every way of moving bytes, whoever
//! asks for it: system calls, `io_uring`, `sendfile` and `splice`.
//!
//! `message` acts on bytes that were moved, `life` on beginnings and ends; both are functions of a socket's kernel address,
//! which is the connection's key. `fentry` and `kprobe` are the hooks: each has the same set, and the agent attaches one
//! or the other by function. `raw` are the tracepoints that both use.

mod fentry;
mod kprobe;
mod life;
mod message;
mod raw;

use core::arch::asm;

use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use netspan_ebpf::{counter, family, known, origin, role};

use crate::{
    conn::{self, Conn, class, flag},
    emit::count,
    filter::seen,
    kernel,
    maps::{FILTER, SOCKS},
    walk,
};

/// `SEND_SHUTDOWN` of the kernel, in what it passes to `tcp_shutdown`.
const SEND_SHUTDOWN: u32 = 2;
/// `SHUT_RD`, in what the kernel passes to `unix_shutdown`.
const SHUT_RD: u32 = 0;

/// What kind of socket a hook is about.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Tcp,
    Unix,
}

/// Bit of [`SocketCall::flags`], none of the kernel's: a call of kernel TLS that sends.
const SENDS: u64 = 1 << 63;

/// A call that a thread is in, where the return is told without the arguments (kprobes).
#[repr(C)]
#[derive(Clone, Copy)]
pub struct SocketCall {
    /// When it was entered.
    pub start_ns: u64,
    /// The socket.
    pub sock: u64,
    /// `struct msghdr`, or what else the return needs.
    pub message: u64,
    /// Bytes asked for.
    pub asked: u64,
    /// The call's flags.
    pub flags: u64,
}

/// A connection whose current user is seen.
#[inline(always)]
fn connection(sock: u64, pid_tgid: u64) -> Option<&'static mut Conn> {
    let conn = conn::get(sock)?;
    let generation = FILTER.get(0)?.generation;
    let tgid = (pid_tgid >> 32) as u32;
    if conn.tgid == tgid && conn.generation == generation {
        return Some(conn);
    }
    if !seen(tgid) {
        return None;
    }
    conn.tgid = tgid;
    conn.generation = generation;
    Some(conn)
}

/// A connection whose current user is seen; one that is not known yet becomes known.
#[inline(always)]
fn connection_or_found(sock: u64, kind: Kind, pid_tgid: u64) -> Option<&'static mut Conn> {
    if conn::get(sock).is_some() {
        return connection(sock, pid_tgid);
    }
    if !seen((pid_tgid >> 32) as u32) {
        return None;
    }
    create(sock, kind, role::UNKNOWN, origin::FOUND, pid_tgid)
}

/// Makes a connection with all that the socket tells of it.
#[inline(always)]
fn create(sock: u64, kind: Kind, role: u8, origin: u8, pid_tgid: u64) -> Option<&'static mut Conn> {
    let is_unix = u32::from(kind == Kind::Unix);
    if socket_create(sock, is_unix, u32::from(role), u32::from(origin), pid_tgid) == 0 {
        return None;
    }
    conn::get(sock)
}

/// See [`create`]. Global: it has a stack of its own, and the verifier checks it once per program.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn socket_create(sock: u64, is_unix: u32, role: u32, origin: u32, pid_tgid: u64) -> u32 {
    let (kind, family) = if is_unix != 0 { (Kind::Unix, family::UNIX) } else { (Kind::Tcp, family::INET) };
    let made = conn::create_as(sock, (pid_tgid >> 32) as u32, -1, role as u8, family, origin as u8);
    let Some((_, conn)) = made else { return 0 };
    // SAFETY: only whether there is an entry matters.
    if origin as u8 == origin::FOUND && unsafe { SOCKS.get(sock) }.is_some() {
        // It was known and gave way to others: what of its message was seen so far is lost.
        count(counter::CONN_FULL, 1);
    }
    let _ = SOCKS.insert(sock, sock, 0);
    conn.sock = sock;
    conn.known = known::SOCKET;
    conn.generation = FILTER.get(0).map_or(0, |config| config.generation);
    conn.netns = kernel::netns(sock);
    identify(sock, conn, kind);
    1
}

/// Fills in what a TCP socket tells of both ends. Global, as [`socket_create`] is.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn socket_identify(sock: u64) -> u32 {
    if let Some(conn) = conn::get(sock) {
        identify(sock, conn, Kind::Tcp);
    }
    0
}

/// Fills in what the socket tells of both ends.
#[inline(always)]
fn identify(sock: u64, conn: &mut Conn, kind: Kind) {
    if kind == Kind::Unix {
        let cookie = kernel::cookie(sock);
        let peer = kernel::unix_peer(sock);
        if cookie != 0 {
            conn.cookie = cookie;
            conn.known |= known::COOKIE;
        }
        if peer != 0 {
            // Both ends mirror each other, as addresses of TCP do.
            conn.local = number(sock);
            conn.peer = number(peer);
            conn.known |= known::LOCAL | known::PEER;
        }
    } else {
        kernel::place(sock, conn);
        // An end that connects has its numbers when it is established; how much it moved since is not known where that was not told.
        if conn.role != role::CLIENT || conn.syn_ns != 0 {
            kernel::sequences(sock, conn);
            if conn.origin != origin::FOUND && (conn.role != role::CLIENT || conn.established_ns != 0) {
                base(sock, conn, 0);
                base(sock, conn, 1);
            }
        }
    }
    conn.flags |= flag::CHANGED;
}

/// Notes where TCP counts from in a direction that stands where its calls do.
#[inline(always)]
fn base(sock: u64, conn: &mut Conn, index: usize) {
    if let Some(position) = kernel::position(sock, index) {
        conn.bases[index] = position.wrapping_sub(conn.ways[index].pos as u32);
        conn.based |= 1 << index;
    }
}

/// Whether TCP has moved more bytes than the calls that were seen, of which the present one moved `len`: the kernel may skip a
/// program's run, and there are ways to move bytes that no hook sees. Without this, what comes next would be taken for what was
/// not seen. A single byte more is a `FIN`, or urgent.
#[inline(always)]
fn follow(sock: u64, conn: &mut Conn, index: usize, len: u32) {
    // What kernel TLS moves is not what the socket moves.
    if conn.ktls != 0 || conn.class == class::OPAQUE {
        return;
    }
    let Some(position) = kernel::position(sock, index) else { return };
    let before = position.wrapping_sub(len);
    let ahead = before.wrapping_sub(conn.bases[index]).wrapping_sub(conn.ways[index].pos as u32).cast_signed();
    if conn.based >> index & 1 == 0 || ahead < 0 {
        // Two threads that send at once: what the other one sent may be told later.
        conn.bases[index] = before.wrapping_sub(conn.ways[index].pos as u32);
        conn.based |= 1 << index;
    } else if ahead > 1 {
        count(counter::BYTES_UNSEEN, 1);
        walk::lose(conn, ahead.cast_unsigned(), index);
    }
}

/// A socket's number in the place of an address.
#[inline(always)]
fn number(sock: u64) -> [u8; 16] {
    u128::from(sock.to_le()).to_le_bytes()
}

/// A kernel address as a mere number: the verifier knows what trampolines pass as pointers of a type, and those may not
/// go to global functions. Negated twice, they are numbers to it.
#[inline(always)]
fn scalar(mut value: u64) -> u64 {
    // SAFETY: two instructions on one register.
    unsafe { asm!("{value} = -{value}", "{value} = -{value}", value = inout(reg) value, options(nomem, nostack)) };
    value
}

/// The current thread.
#[inline(always)]
fn current() -> u64 {
    bpf_get_current_pid_tgid()
}
