//! Bytes that were moved on a socket.

use aya_ebpf::helpers::bpf_ktime_get_boot_ns;
use netspan_ebpf::{close, direction, family, known};

use super::{Kind, SENDS, SocketCall, connection, connection_or_found, current, follow, socket_identify};
use crate::{
    conn::{self, Conn, class, flag},
    context,
    filter::ports_pass,
    kernel,
    tls::{self, is_carrier},
    walk::{Moved, Source, walk},
};

const MSG_OOB: u64 = 0x1;
const MSG_PEEK: u64 = 0x2;
const MSG_TRUNC: u64 = 0x20;
const MSG_ERRQUEUE: u64 = 0x2000;
const ECONNRESET: i32 = 104;
const EPIPE: i32 = 32;
const ETIMEDOUT: i32 = 110;

/// A sending call is entered: the return does not tell when.
#[inline(always)]
pub fn sending(sock: u64, kind: Kind) {
    if let Some(conn) = connection_or_found(sock, kind, current())
        && conn.class != class::OPAQUE
    {
        // SAFETY: a helper without pointers.
        conn.sending_ns = unsafe { bpf_ktime_get_boot_ns() };
    }
}

/// A sending call of TCP is entered: other hosts may be told whose request begins with it.
#[inline(always)]
pub fn telling(sock: u64, message: u64) {
    if context::is_on() {
        context::context_sending(sock, current(), kernel::kernel_lead(message));
    }
}

/// A sending call returned. `message` is 0 for what is sent from pages of the kernel; `start_ns` is 0 where the entry
/// was told by [`sending`].
#[inline(always)]
pub fn sent(sock: u64, kind: Kind, message: u64, asked: u64, result: i32, start_ns: u64) {
    let pid_tgid = current();
    if result <= 0 {
        return over(sock, result, false, pid_tgid);
    }
    let Some(conn) = connection_or_found(sock, kind, pid_tgid) else { return };
    let start_ns = if start_ns == 0 { conn.sending_ns } else { start_ns };
    moved(sock, conn, direction::OUT, message, asked, result, start_ns, pid_tgid);
}

/// A call of kernel TLS returned: what it moved is plaintext, unless it is a record that is no data.
#[inline(always)]
pub fn moved_by_tls(call: &SocketCall, result: i32) {
    let &SocketCall { start_ns, sock, message, asked, flags } = call;
    let pid_tgid = current();
    let direction = if flags & SENDS == 0 { direction::IN } else { direction::OUT };
    if result <= 0 {
        return over(sock, result, direction == direction::IN && asked != 0, pid_tgid);
    }
    let Some(conn) = connection_or_found(sock, Kind::Tcp, pid_tgid) else { return };
    tls::begin_ktls(conn, u32::from(direction));
    if message == 0 || tls::ktls_control_of(message, u32::from(direction)) == 0 {
        let start_ns = if direction == direction::OUT { start_ns } else { 0 };
        moved(sock, conn, direction, message, asked, result, start_ns, pid_tgid);
    }
}

/// Whether a receiving call takes bytes off the socket's stream.
#[inline(always)]
pub fn takes(flags: u64) -> bool {
    flags & (MSG_PEEK | MSG_OOB | MSG_ERRQUEUE) == 0
}

/// A receiving call returned. `message` is 0 for bytes that went to a pipe.
#[inline(always)]
pub fn received(sock: u64, kind: Kind, message: u64, asked: u64, flags: u64, result: i32) {
    if !takes(flags) {
        return;
    }
    let pid_tgid = current();
    if result <= 0 {
        return over(sock, result, asked != 0, pid_tgid);
    }
    let Some(conn) = connection_or_found(sock, kind, pid_tgid) else { return };
    // TCP drops the bytes instead of copying them.
    let message = if flags & MSG_TRUNC != 0 && kind == Kind::Tcp { 0 } else { message };
    moved(sock, conn, direction::IN, message, asked, result, 0, pid_tgid);
}

#[inline(always)]
#[expect(clippy::too_many_arguments, reason = "the parts of one call, taken apart at once")]
fn moved(
    sock: u64,
    conn: &mut Conn,
    direction: u8,
    message: u64,
    asked: u64,
    result: i32,
    start_ns: u64,
    pid_tgid: u64,
) {
    if conn.known & known::LOCAL == 0 && conn.family != family::UNIX {
        // The kernel skipped the run that was to tell that it is established.
        socket_identify(sock);
    }
    if !ports_pass(conn) {
        return;
    }
    if conn.family != family::UNIX {
        follow(sock, conn, usize::from(direction & 1), result.cast_unsigned());
    }
    let arrived_ns = if direction == direction::IN { core::mem::take(&mut conn.arrived_ns) } else { 0 };
    let index = usize::from(direction & 1);
    let is_hello = u64::from(conn.hellos[index]) > conn.ways[index].pos;
    let is_looked_at = is_carrier(conn, direction) || conn.ktls != 0;
    let ignored = conn.class == class::OPAQUE && !is_looked_at && !is_hello;
    let source = if message == 0 || ignored { Source::nowhere() } else { kernel::source(message, asked) };
    walk(&Moved { key: sock, direction, len: result.cast_unsigned(), start_ns, arrived_ns, pid_tgid }, conn, &source);
}

/// A call returned 0 or an error: the peer ended its side, or the connection broke.
#[inline(always)]
fn over(sock: u64, result: i32, is_end: bool, pid_tgid: u64) {
    let how = match -result {
        0 if is_end => close::PEER_END,
        ECONNRESET | EPIPE | ETIMEDOUT => close::ERROR,
        _ => return,
    };
    if let Some(conn) = connection(sock, pid_tgid).and_then(tls::speaker)
        && conn.flags & flag::ENDED == 0
    {
        conn.flags |= flag::ENDED;
        conn::end(conn, how, -result, pid_tgid);
    }
}
