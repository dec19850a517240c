//! Socket tracepoints: they tie descriptors to sockets, and tell states and arrivals. The socket's address in their
//! records is used as a mere number.

use aya_ebpf::{
    EbpfContext,
    helpers::bpf_ktime_get_boot_ns,
    macros::{raw_tracepoint, tracepoint},
    programs::{RawTracePointContext, TracePointContext},
};
use netspan_ebpf::{close, counter, direction, family, known, origin, role};

use super::{call, current, op};
use crate::{
    conn::{self, Addresses, class, flag},
    emit::count,
    maps::{ESTABLISHED, SOCKS, SPACE_ADJUST_HAS_FAMILY, constant},
};

const TCP_ESTABLISHED: u32 = 1;
const TCP_SYN_SENT: u32 = 2;
const TCP_SYN_RECV: u32 = 3;
const TCP_FIN_WAIT1: u32 = 4;
const TCP_CLOSE: u32 = 7;
const TCP_LAST_ACK: u32 = 9;
const IPPROTO_TCP: u16 = 6;
const AF_INET6: u16 = 10;

/// Reads a field of the record.
#[inline(always)]
fn field<T: Copy>(ctx: &TracePointContext, offset: usize) -> T {
    // SAFETY: the offsets are those of the record's format, and each field is aligned to its size.
    unsafe { ctx.as_ptr().cast::<u8>().add(offset).cast::<T>().read_volatile() }
}

/// Reads an IPv6 address (IPv4 ones are v4-mapped in these records), which is aligned to two bytes only.
#[inline(always)]
fn address(ctx: &TracePointContext, offset: usize) -> [u8; 16] {
    let mut words = [0u16; 8];
    let mut n = 0;
    while n < 8 {
        words[n] = field(ctx, offset + 2 * n);
        n += 1;
    }
    // SAFETY: both are 16 bytes, and all bit patterns are valid.
    unsafe { core::mem::transmute(words) }
}

/// `family::INET` for v4-mapped addresses too.
#[inline(always)]
fn family_of(raw: u16, peer: &[u8; 16]) -> u8 {
    let mapped = peer[10] == 0xff && peer[11] == 0xff && peer[0] == 0 && peer[1] == 0;
    if raw == AF_INET6 && !mapped { family::INET6 } else { family::INET }
}

/// `sock:inet_sock_set_state`: a TCP socket changes its state, in the thread that caused it or in an interrupt.
#[tracepoint]
pub fn inet_sock_set_state(ctx: TracePointContext) -> u32 {
    if field::<u16>(&ctx, 30) != IPPROTO_TCP {
        return 0;
    }
    let sock: u64 = field(&ctx, 8);
    let (old, new): (u32, u32) = (field(&ctx, 16), field(&ctx, 20));
    match (old, new) {
        (TCP_CLOSE, TCP_SYN_SENT) => connecting(&ctx, sock),
        (TCP_SYN_RECV, TCP_ESTABLISHED) => {
            // SAFETY: a helper without pointers.
            let now = unsafe { bpf_ktime_get_boot_ns() };
            let _ = SOCKS.remove(sock);
            let _ = ESTABLISHED.insert(sock, now, 0);
        }
        (TCP_SYN_SENT, TCP_ESTABLISHED) => connected(&ctx, sock),
        (_, TCP_FIN_WAIT1 | TCP_LAST_ACK) => ending(sock, false),
        (_, TCP_CLOSE) => {
            ending(sock, true);
            let _ = ESTABLISHED.remove(sock);
            // The number may be another socket's as soon as the last descriptor is closed, which is not always seen.
            let _ = SOCKS.remove(sock);
        }
        _ => {}
    }
    0
}

/// A SYN is sent, by the thread that is in `connect`.
#[inline(always)]
fn connecting(ctx: &TracePointContext, sock: u64) {
    // Whatever the number stood for: this is another socket, and perhaps of a process that is not seen.
    let _ = SOCKS.remove(sock);
    let (pid_tgid, tgid) = current();
    let Some(call) = call(pid_tgid) else { return };
    if call.op != op::CONNECT {
        return;
    }
    let peer = address(ctx, 56);
    let family = family_of(field(ctx, 28), &peer);
    let Some((key, conn)) = conn::create(tgid, call.fd, role::CLIENT, family, origin::CONNECT) else { return };
    conn.syn_ns = call.start_ns;
    conn.sock = sock;
    conn.peer = peer;
    conn.peer_port = field(ctx, 26);
    conn.known |= known::SOCKET | known::PEER;
    if SOCKS.insert(sock, key, 0).is_err() {
        count(counter::SOCK_FULL, 1);
    }
    conn::tie(tgid, call.fd, key, sock);
    call.key = key;
}

/// The handshake of a connecting socket is done, mostly in an interrupt.
#[inline(always)]
fn connected(ctx: &TracePointContext, sock: u64) {
    // SAFETY: the value is copied at once.
    let Some(&key) = (unsafe { SOCKS.get(sock) }) else { return };
    let Some(conn) = conn::get(key) else { return };
    // SAFETY: a helper without pointers.
    conn.established_ns = unsafe { bpf_ktime_get_boot_ns() };
    conn.local = address(ctx, 40);
    conn.local_port = field(ctx, 24);
    conn.known |= known::LOCAL;
    conn.flags |= flag::CHANGED;
    conn.port_generation = 0;
    conn::announce_made(conn);
}

/// A socket sends its FIN, or is closed for good.
#[inline(always)]
fn ending(sock: u64, closed: bool) {
    // SAFETY: the value is copied at once.
    let Some(&key) = (unsafe { SOCKS.get(sock) }) else { return };
    let Some(conn) = conn::get(key) else { return };
    // An end's thread is told only where the process itself closed.
    let own = conn::owner(conn);
    if conn.flags & flag::CLOSING == 0 && closed && conn.refs != 0 {
        // This is mostly an interrupt, and the process may be in a call on another CPU, or have yet to read what came: it
        // tells the end itself when it closes its descriptor.
        conn.flags |= if conn.flags & flag::SHUT == 0 { flag::RESET } else { flag::DONE };
    } else if conn.flags & flag::SHUT == 0 || closed {
        conn::end(conn, close::CLOSED, 0, own);
        conn::forget(key, conn);
    }
}

/// `tcp:tcp_rcv_space_adjust`: the kernel copied received data to the thread that is in a receiving call. This is what
/// ties a descriptor to its socket, addresses and cookie.
#[tracepoint]
pub fn tcp_rcv_space_adjust(ctx: TracePointContext) -> u32 {
    let (pid_tgid, tgid) = current();
    let Some(call) = call(pid_tgid) else { return 0 };
    let sock: u64 = field(&ctx, 8);
    if call.sock == sock || call.op > op::RECVMMSG {
        return 0;
    }
    call.sock = sock;
    let known_key = if call.key == 0 { None } else { conn::get(call.key).map(|conn| (call.key, conn)) };
    let (key, conn) = match known_key {
        Some((key, conn)) if conn.sock == 0 || conn.sock == sock => (key, conn),
        // Not known, or the descriptor stands for another socket than it did.
        _ => {
            // SAFETY: the value is copied at once.
            let other = unsafe { SOCKS.get(sock) }.copied().and_then(|key| conn::get(key).map(|conn| (key, conn)));
            if let Some((key, conn)) = other {
                if conn.ktls & 1 << direction::IN != 0 {
                    // Kernel TLS takes what arrives, while the thread is in a call on another socket.
                    return 0;
                }
                conn.refs += 1;
                (key, conn)
            } else {
                match conn::create(tgid, call.fd, role::UNKNOWN, family::INET, origin::FOUND) {
                    Some(made) => made,
                    None => return 0,
                }
            }
        }
    };
    call.key = key;
    if conn.sock != sock || conn.known & known::COOKIE == 0 {
        let has_family = constant(&SPACE_ADJUST_HAS_FAMILY) != 0;
        let (local, peer, cookie) = if has_family {
            (address(&ctx, 30), address(&ctx, 46), field(&ctx, 64))
        } else {
            (address(&ctx, 28), address(&ctx, 44), field(&ctx, 64))
        };
        let family = family_of(if has_family { field(&ctx, 20) } else { AF_INET6 }, &peer);
        let addresses =
            Addresses { sock, cookie, local, peer, local_port: field(&ctx, 16), peer_port: field(&ctx, 18), family };
        conn::identify(key, conn, &addresses);
    }
    conn::tie(tgid, call.fd, key, sock);
    0
}

/// `sk_data_ready` (kernels from 6.3): data arrived in a socket. Only the first arrival since the last read counts. The
/// raw tracepoint gives the socket's address, which is all that is needed of it, and costs less than a record.
#[raw_tracepoint(tracepoint = "sk_data_ready")]
pub fn sk_data_ready(ctx: RawTracePointContext) -> i32 {
    // SAFETY: the first argument of the tracepoint is the socket.
    let sock = unsafe { ctx.as_ptr().cast::<u64>().read_volatile() };
    // SAFETY: the values are not kept; a helper without pointers.
    unsafe {
        if let Some(&key) = SOCKS.get(sock)
            && let Some(conn) = conn::get(key)
            && conn.arrived_ns == 0
            && (conn.class != class::OPAQUE || conn.other != 0 || conn.ktls != 0)
        {
            conn.arrived_ns = bpf_ktime_get_boot_ns();
        }
    }
    0
}
