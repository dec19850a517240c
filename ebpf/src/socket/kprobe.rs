//! Hooks of the family as kprobes and kretprobes, for kernels without trampolines, and for the functions of kernel TLS
//! everywhere. A return is told without the arguments, so that the entry keeps them.

use aya_ebpf::{
    helpers::bpf_ktime_get_boot_ns,
    macros::{kprobe, kretprobe},
    programs::{ProbeContext, RetProbeContext},
};
use netspan_ebpf::counter;

use super::{Kind, SocketCall, current, life, message, scalar};
use crate::{
    conn,
    emit::count,
    filter::seen,
    kernel,
    maps::{LAYOUT, SOCKET_CALLS, constant},
};

/// Argument `n` (below 6).
#[inline(always)]
fn arg(ctx: &ProbeContext, n: usize) -> u64 {
    ctx.arg(n).unwrap_or(0)
}

/// Notes the call that the thread is in.
#[inline(always)]
fn enter(sock: u64, message: u64, asked: u64, flags: u64) {
    let pid_tgid = current();
    // SAFETY: a map value that only this thread's calls use.
    if let Some(earlier) = unsafe { SOCKET_CALLS.get(pid_tgid) } {
        // Its return was not told: the kernel keeps only so many returns at a time.
        count(counter::RETURN_MISSED, 1);
        if let Some(conn) = conn::get(earlier.sock) {
            // Nobody knows which way it moved bytes.
            conn::ordinal(conn, 0);
            conn::ordinal(conn, 1);
        }
    }
    if !seen((pid_tgid >> 32) as u32) {
        return;
    }
    // SAFETY: a helper without pointers.
    let start_ns = unsafe { bpf_ktime_get_boot_ns() };
    if SOCKET_CALLS.insert(pid_tgid, SocketCall { start_ns, sock, message, asked, flags }, 0).is_err() {
        count(counter::CALL_FULL, 1);
    }
}

/// The call that the thread returns from.
#[inline(always)]
fn leave() -> Option<SocketCall> {
    let pid_tgid = current();
    // SAFETY: the value is copied at once.
    let call = unsafe { SOCKET_CALLS.get(pid_tgid).copied() }?;
    let _ = SOCKET_CALLS.remove(pid_tgid);
    Some(call)
}

/// A sending call returns.
#[inline(always)]
fn sent(ctx: &RetProbeContext, kind: Kind) {
    if let Some(call) = leave() {
        message::sent(call.sock, kind, call.message, call.asked, ctx.ret(), call.start_ns);
    }
}

/// A receiving call returns.
#[inline(always)]
fn received(ctx: &RetProbeContext, kind: Kind) {
    if let Some(call) = leave() {
        message::received(call.sock, kind, call.message, call.asked, call.flags, ctx.ret());
    }
}

/// `tcp_sendmsg(sk, msg, size)`
#[kprobe]
pub fn kprobe_tcp_sendmsg(ctx: ProbeContext) -> u32 {
    enter(arg(&ctx, 0), arg(&ctx, 1), arg(&ctx, 2), 0);
    message::telling(arg(&ctx, 0), arg(&ctx, 1));
    0
}

/// `tcp_recvmsg(sk, msg, len, .., flags, ..)`
#[kprobe]
pub fn kprobe_tcp_recvmsg(ctx: ProbeContext) -> u32 {
    // Both are read: the compiler would make one address of a choice between two, which the verifier refuses.
    let (third, fourth) = (scalar(arg(&ctx, 3)), scalar(arg(&ctx, 4)));
    let flags = if constant(&LAYOUT.recv_flags) == 3 { third } else { fourth };
    if message::takes(flags) {
        enter(arg(&ctx, 0), arg(&ctx, 1), arg(&ctx, 2), flags);
    }
    0
}

/// `tcp_sendpage(sk, page, offset, size, flags)`
#[kprobe]
pub fn kprobe_tcp_sendpage(ctx: ProbeContext) -> u32 {
    enter(arg(&ctx, 0), 0, arg(&ctx, 3), 0);
    0
}

/// `tls_sw_sendmsg(sk, msg, size)`
#[kprobe]
pub fn kprobe_tls_sendmsg(ctx: ProbeContext) -> u32 {
    enter(arg(&ctx, 0), arg(&ctx, 1), arg(&ctx, 2), super::SENDS);
    0
}

/// `tls_sw_sendpage(sk, page, offset, size, flags)`
#[kprobe]
pub fn kprobe_tls_sendpage(ctx: ProbeContext) -> u32 {
    enter(arg(&ctx, 0), 0, arg(&ctx, 3), super::SENDS);
    0
}

/// `tcp_splice_read(sock, ppos, pipe, len, flags)`, and `unix_stream_splice_read` and `unix_stream_sendpage`, which have
/// the socket and the length in the same places.
#[kprobe]
pub fn kprobe_pages(ctx: ProbeContext) -> u32 {
    enter(kernel::sock_of(arg(&ctx, 0)), 0, arg(&ctx, 3), 0);
    0
}

/// `unix_stream_sendmsg(sock, msg, len)`
#[kprobe]
pub fn kprobe_unix_stream_sendmsg(ctx: ProbeContext) -> u32 {
    enter(kernel::sock_of(arg(&ctx, 0)), arg(&ctx, 1), arg(&ctx, 2), 0);
    0
}

/// `unix_stream_recvmsg(sock, msg, size, flags)`
#[kprobe]
pub fn kprobe_unix_stream_recvmsg(ctx: ProbeContext) -> u32 {
    if message::takes(arg(&ctx, 3)) {
        enter(kernel::sock_of(arg(&ctx, 0)), arg(&ctx, 1), arg(&ctx, 2), arg(&ctx, 3));
    }
    0
}

/// The return of what sends on TCP.
#[kretprobe]
pub fn kretprobe_tcp_sent(ctx: RetProbeContext) -> u32 {
    sent(&ctx, Kind::Tcp);
    0
}

/// The return of what receives on TCP.
#[kretprobe]
pub fn kretprobe_tcp_received(ctx: RetProbeContext) -> u32 {
    received(&ctx, Kind::Tcp);
    0
}

/// The return of `tls_sw_sendmsg`, `tls_sw_recvmsg` and their like: one program for both directions, because the verifier
/// takes its time for each that walks.
#[kretprobe]
pub fn kretprobe_tls(ctx: RetProbeContext) -> u32 {
    if let Some(call) = leave() {
        message::moved_by_tls(&call, ctx.ret());
    }
    0
}

/// The return of what sends on a Unix socket.
#[kretprobe]
pub fn kretprobe_unix_sent(ctx: RetProbeContext) -> u32 {
    sent(&ctx, Kind::Unix);
    0
}

/// The return of what receives on a Unix socket.
#[kretprobe]
pub fn kretprobe_unix_received(ctx: RetProbeContext) -> u32 {
    received(&ctx, Kind::Unix);
    0
}

/// `inet_csk_accept(sk, ..)`: returns the new connection's `struct sock`.
#[kretprobe]
pub fn kretprobe_inet_csk_accept(ctx: RetProbeContext) -> u32 {
    life::accepted(ctx.ret(), Kind::Tcp);
    0
}

/// `unix_accept(sock, newsock, ..)`
#[kprobe]
pub fn kprobe_unix_accept(ctx: ProbeContext) -> u32 {
    enter(0, arg(&ctx, 1), 0, 0);
    0
}

/// `unix_accept(sock, newsock, ..)`
#[kretprobe]
pub fn kretprobe_unix_accept(ctx: RetProbeContext) -> u32 {
    if let Some(call) = leave()
        && ctx.ret::<i32>() == 0
    {
        life::accepted(kernel::sock_of(call.message), Kind::Unix);
    }
    0
}

/// `unix_stream_connect(sock, address, len, flags)`
#[kprobe]
pub fn kprobe_unix_stream_connect(ctx: ProbeContext) -> u32 {
    enter(kernel::sock_of(arg(&ctx, 0)), 0, 0, 0);
    0
}

/// `unix_stream_connect(sock, address, len, flags)`
#[kretprobe]
pub fn kretprobe_unix_stream_connect(ctx: RetProbeContext) -> u32 {
    if let Some(call) = leave()
        && ctx.ret::<i32>() == 0
    {
        life::unix_connected(call.sock, call.start_ns);
    }
    0
}

/// `tcp_shutdown(sk, how)`
#[kprobe]
pub fn kprobe_tcp_shutdown(ctx: ProbeContext) -> u32 {
    if arg(&ctx, 1) as u32 & super::SEND_SHUTDOWN != 0 {
        life::shut(arg(&ctx, 0));
    }
    0
}

/// `unix_shutdown(sock, mode)`
#[kprobe]
pub fn kprobe_unix_shutdown(ctx: ProbeContext) -> u32 {
    if arg(&ctx, 1) as u32 != super::SHUT_RD {
        life::shut(kernel::sock_of(arg(&ctx, 0)));
    }
    0
}

/// `tcp_close(sk, timeout)`
#[kprobe]
pub fn kprobe_tcp_close(ctx: ProbeContext) -> u32 {
    life::closed(arg(&ctx, 0), Kind::Tcp);
    0
}

/// `unix_release(sock)`
#[kprobe]
pub fn kprobe_unix_release(ctx: ProbeContext) -> u32 {
    life::closed(kernel::sock_of(arg(&ctx, 0)), Kind::Unix);
    0
}

/// `sock_def_readable(sk)`
#[kprobe]
pub fn kprobe_sock_def_readable(ctx: ProbeContext) -> u32 {
    life::arrived(arg(&ctx, 0));
    0
}
