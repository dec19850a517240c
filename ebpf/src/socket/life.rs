//! Beginnings and ends of connections, and arrivals of data.

use aya_ebpf::helpers::bpf_ktime_get_boot_ns;
use netspan_ebpf::{close, known, origin, role};

use super::{Kind, create, current, follow};
use crate::{
    conn::{self, class, flag},
    filter::seen,
    kernel,
    maps::{CONNS, ESTABLISHED, SOCKS, TWICE, constant},
};

const TCP_ESTABLISHED: u32 = 1;
const TCP_SYN_SENT: u32 = 2;
const TCP_SYN_RECV: u32 = 3;
const TCP_CLOSE: u32 = 7;
const IPPROTO_TCP: u8 = 6;
/// How long before it is established a socket may have been accepted, in nanoseconds: an emulated processor may stand still
/// between the two. What was accepted longer ago is an earlier socket at the same address.
const EARLY_NS: u64 = 1_000_000_000;

/// A socket changes its state, in the thread that caused it or in an interrupt.
#[inline(always)]
pub fn state(sock: u64, old: u32, new: u32) {
    // SAFETY: a helper without pointers.
    let now = || unsafe { bpf_ktime_get_boot_ns() };
    match (old, new) {
        (TCP_CLOSE, TCP_SYN_SENT) => connecting(sock, now()),
        (TCP_SYN_SENT, TCP_ESTABLISHED) => {
            if let Some(conn) = conn::get(sock) {
                conn.established_ns = now();
                super::socket_identify(sock);
                conn::announce_made(conn);
            }
        }
        (TCP_SYN_RECV, TCP_ESTABLISHED) => established(sock, now()),
        (_, TCP_CLOSE) => broken(sock, old),
        _ => {}
    }
}

/// A socket that a peer connected to is established, mostly in an interrupt. It was put into the accepting queue before
/// (`tcp_check_req`), so that another processor may have accepted it already.
#[inline(always)]
fn established(sock: u64, now: u64) {
    if let Some(conn) = conn::get(sock)
        && conn.accepted_ns != 0
        && now.saturating_sub(conn.accepted_ns) < EARLY_NS
    {
        conn.established_ns = now;
        return;
    }
    let _ = CONNS.remove(sock);
    if kernel::protocol(sock) == IPPROTO_TCP {
        let _ = ESTABLISHED.insert(sock, now, 0);
    }
}

/// The calling thread connects.
#[inline(always)]
fn connecting(sock: u64, now: u64) {
    let pid_tgid = current();
    let _ = CONNS.remove(sock);
    if kernel::protocol(sock) != IPPROTO_TCP || !seen((pid_tgid >> 32) as u32) {
        return;
    }
    if let Some(conn) = create(sock, Kind::Tcp, role::CLIENT, origin::CONNECT, pid_tgid) {
        conn.syn_ns = now;
        // The port is chosen later.
        conn.known &= !known::LOCAL;
    }
}

/// A socket is closed for good. The process closed it before (then it is known no more), or it broke.
#[inline(always)]
fn broken(sock: u64, old: u32) {
    let _ = ESTABLISHED.remove(sock);
    let Some(conn) = conn::get(sock) else { return };
    let error = kernel::error(sock);
    if error != 0 && conn.flags & flag::ENDED == 0 {
        conn.flags |= flag::ENDED;
        conn::end(conn, close::ERROR, error, conn::owner(conn));
    }
    if old == TCP_SYN_SENT {
        let _ = CONNS.remove(sock);
    }
}

/// Whether the other of two programs has told a connection's beginning, where programs are attached twice.
#[inline(always)]
fn was_told(sock: u64) -> bool {
    constant(&TWICE) != 0 && conn::get(sock).is_some()
}

/// `accept` returned a socket.
#[inline(always)]
pub fn accepted(sock: u64, kind: Kind) {
    let pid_tgid = current();
    if sock == 0 || was_told(sock) || !seen((pid_tgid >> 32) as u32) {
        return;
    }
    let Some(conn) = create(sock, kind, role::SERVER, origin::ACCEPT, pid_tgid) else { return };
    // SAFETY: a helper without pointers; the value is copied at once.
    unsafe {
        conn.accepted_ns = bpf_ktime_get_boot_ns();
        conn.established_ns = ESTABLISHED.get(sock).copied().unwrap_or(0);
    }
    let _ = ESTABLISHED.remove(sock);
}

/// A Unix socket was connected: what arrives until the peer accepts waits in the peer's socket.
#[inline(always)]
pub fn unix_connected(sock: u64, start_ns: u64) {
    let pid_tgid = current();
    // SAFETY: a helper without pointers.
    let now = unsafe { bpf_ktime_get_boot_ns() };
    let peer = kernel::unix_peer(sock);
    if peer != 0 {
        let _ = CONNS.remove(peer);
        let _ = ESTABLISHED.insert(peer, now, 0);
    }
    if was_told(sock) || !seen((pid_tgid >> 32) as u32) {
        return;
    }
    if let Some(conn) = create(sock, Kind::Unix, role::CLIENT, origin::CONNECT, pid_tgid) {
        conn.syn_ns = start_ns;
        conn.established_ns = now;
    }
}

/// The process shuts its sending side down.
#[inline(always)]
pub fn shut(sock: u64) {
    if let Some(conn) = conn::get(sock)
        && conn.flags & flag::SHUT == 0
    {
        conn.flags |= flag::SHUT;
        conn::end(conn, close::SHUT_WRITE, 0, current());
    }
}

/// The last descriptor of a socket is closed.
#[inline(always)]
pub fn closed(sock: u64, kind: Kind) {
    // The next socket at this address is not this one that gave way.
    let _ = SOCKS.remove(sock);
    if let Some(conn) = conn::get(sock) {
        let how = if kernel::is_exiting() { close::EXITED } else { close::CLOSED };
        let path = if kind == Kind::Tcp {
            follow(sock, conn, 0, 0);
            follow(sock, conn, 1, 0);
            kernel::path(sock)
        } else {
            kernel::NO_PATH
        };
        conn::end_with(conn, how, 0, current(), &path);
        if conn.other != 0 {
            conn::conn_part(conn.other, sock);
        }
        let _ = CONNS.remove(sock);
    }
}

/// Data arrived in a socket. Only the first arrival since the last read counts.
#[inline(always)]
pub fn arrived(sock: u64) {
    if let Some(conn) = conn::get(sock)
        && conn.arrived_ns == 0
        && (conn.class != class::OPAQUE || conn.other != 0 || conn.ktls != 0)
    {
        // SAFETY: a helper without pointers.
        conn.arrived_ns = unsafe { bpf_ktime_get_boot_ns() };
    }
}
