//! Hooks that trampolines run (`fentry`, `fexit`): at a return they still have the arguments.

use core::arch::asm;

use aya_ebpf::{
    EbpfContext,
    macros::{fentry, fexit},
    programs::{FEntryContext, FExitContext},
};

use super::{Kind, life, message, scalar};
use crate::{
    kernel,
    maps::{LAYOUT, constant},
};

/// Argument or return value `n` (2 to 6), where `n` depends on the kernel.
#[inline(always)]
fn word(ctx: &FExitContext, n: u32) -> u64 {
    match n {
        2 => load::<16>(ctx),
        3 => load::<24>(ctx),
        4 => load::<32>(ctx),
        5 => load::<40>(ctx),
        6 => load::<48>(ctx),
        _ => 0,
    }
}

/// Reads at an offset of the context that stands in the instruction itself: the compiler would make an address of it,
/// which the verifier refuses.
#[inline(always)]
fn load<const OFFSET: i32>(ctx: &FExitContext) -> u64 {
    let value;
    // SAFETY: a read of the context, which has as many words as the verifier lets pass.
    unsafe {
        asm!(
            "{value} = *(u64 *)({ctx} + {offset})",
            value = out(reg) value,
            ctx = in(reg) ctx.as_ptr(),
            offset = const OFFSET,
            options(nostack, readonly),
        );
    }
    value
}

/// Argument `n`, a pointer.
#[inline(always)]
fn pointer(ctx: &impl EbpfContext, n: usize) -> u64 {
    // SAFETY: a read of the context, which has as many words as the verifier lets pass.
    scalar(unsafe { ctx.as_ptr().cast::<u64>().add(n).read() })
}

/// `tcp_sendmsg(sk, msg, size)`
#[fentry(function = "tcp_sendmsg")]
pub fn fentry_tcp_sendmsg(ctx: FEntryContext) -> i32 {
    message::sending(pointer(&ctx, 0), Kind::Tcp);
    0
}

/// `tcp_sendmsg(sk, msg, size)`
#[fexit(function = "tcp_sendmsg")]
pub fn fexit_tcp_sendmsg(ctx: FExitContext) -> i32 {
    message::sent(pointer(&ctx, 0), Kind::Tcp, pointer(&ctx, 1), ctx.arg(2), ctx.arg(3), 0);
    0
}

/// `tcp_recvmsg(sk, msg, len, .., flags, ..)`
#[fexit(function = "tcp_recvmsg")]
pub fn fexit_tcp_recvmsg(ctx: FExitContext) -> i32 {
    let flags = word(&ctx, constant(&LAYOUT.recv_flags));
    let result = word(&ctx, constant(&LAYOUT.recv_arguments)) as i32;
    message::received(pointer(&ctx, 0), Kind::Tcp, pointer(&ctx, 1), ctx.arg(2), flags, result);
    0
}

/// `tcp_sendpage(sk, page, offset, size, flags)`, before 6.5
#[fexit(function = "tcp_sendpage")]
pub fn fexit_tcp_sendpage(ctx: FExitContext) -> i32 {
    message::sent(pointer(&ctx, 0), Kind::Tcp, 0, ctx.arg(3), ctx.arg(5), 0);
    0
}

/// `tcp_splice_read(sock, ppos, pipe, len, flags)`
#[fexit(function = "tcp_splice_read")]
pub fn fexit_tcp_splice_read(ctx: FExitContext) -> i32 {
    message::received(kernel::sock_of(pointer(&ctx, 0)), Kind::Tcp, 0, ctx.arg(3), 0, ctx.arg(5));
    0
}

/// `unix_stream_sendmsg(sock, msg, len)`
#[fentry(function = "unix_stream_sendmsg")]
pub fn fentry_unix_stream_sendmsg(ctx: FEntryContext) -> i32 {
    message::sending(kernel::sock_of(pointer(&ctx, 0)), Kind::Unix);
    0
}

/// `unix_stream_sendmsg(sock, msg, len)`
#[fexit(function = "unix_stream_sendmsg")]
pub fn fexit_unix_stream_sendmsg(ctx: FExitContext) -> i32 {
    message::sent(kernel::sock_of(pointer(&ctx, 0)), Kind::Unix, pointer(&ctx, 1), ctx.arg(2), ctx.arg(3), 0);
    0
}

/// `unix_stream_recvmsg(sock, msg, size, flags)`
#[fexit(function = "unix_stream_recvmsg")]
pub fn fexit_unix_stream_recvmsg(ctx: FExitContext) -> i32 {
    let sock = kernel::sock_of(pointer(&ctx, 0));
    message::received(sock, Kind::Unix, pointer(&ctx, 1), ctx.arg(2), ctx.arg(3), ctx.arg(4));
    0
}

/// `unix_stream_sendpage(sock, page, offset, size, flags)`, before 6.5
#[fexit(function = "unix_stream_sendpage")]
pub fn fexit_unix_stream_sendpage(ctx: FExitContext) -> i32 {
    message::sent(kernel::sock_of(pointer(&ctx, 0)), Kind::Unix, 0, ctx.arg(3), ctx.arg(5), 0);
    0
}

/// `unix_stream_splice_read(sock, ppos, pipe, size, flags)`
#[fexit(function = "unix_stream_splice_read")]
pub fn fexit_unix_stream_splice_read(ctx: FExitContext) -> i32 {
    message::received(kernel::sock_of(pointer(&ctx, 0)), Kind::Unix, 0, ctx.arg(3), 0, ctx.arg(5));
    0
}

/// `inet_csk_accept(sk, ..)`: returns the new connection's `struct sock`.
#[fexit(function = "inet_csk_accept")]
pub fn fexit_inet_csk_accept(ctx: FExitContext) -> i32 {
    life::accepted(scalar(word(&ctx, constant(&LAYOUT.accept_arguments))), Kind::Tcp);
    0
}

/// `unix_accept(sock, newsock, ..)`
#[fexit(function = "unix_accept")]
pub fn fexit_unix_accept(ctx: FExitContext) -> i32 {
    if word(&ctx, constant(&LAYOUT.unix_accept_arguments)) as i32 == 0 {
        life::accepted(kernel::sock_of(pointer(&ctx, 1)), Kind::Unix);
    }
    0
}

/// `unix_stream_connect(sock, address, len, flags)`
#[fexit(function = "unix_stream_connect")]
pub fn fexit_unix_stream_connect(ctx: FExitContext) -> i32 {
    if ctx.arg::<i32>(4) == 0 {
        life::unix_connected(kernel::sock_of(pointer(&ctx, 0)), 0);
    }
    0
}

/// `tcp_shutdown(sk, how)`
#[fentry(function = "tcp_shutdown")]
pub fn fentry_tcp_shutdown(ctx: FEntryContext) -> i32 {
    if ctx.arg::<u32>(1) & super::SEND_SHUTDOWN != 0 {
        life::shut(pointer(&ctx, 0));
    }
    0
}

/// `unix_shutdown(sock, mode)`
#[fentry(function = "unix_shutdown")]
pub fn fentry_unix_shutdown(ctx: FEntryContext) -> i32 {
    if ctx.arg::<u32>(1) != super::SHUT_RD {
        life::shut(kernel::sock_of(pointer(&ctx, 0)));
    }
    0
}

/// `tcp_close(sk, timeout)`
#[fentry(function = "tcp_close")]
pub fn fentry_tcp_close(ctx: FEntryContext) -> i32 {
    life::closed(pointer(&ctx, 0), Kind::Tcp);
    0
}

/// `unix_release(sock)`
#[fentry(function = "unix_release")]
pub fn fentry_unix_release(ctx: FEntryContext) -> i32 {
    life::closed(kernel::sock_of(pointer(&ctx, 0)), Kind::Unix);
    0
}

/// `sock_def_readable(sk)`, where there is no tracepoint `sk_data_ready`
#[fentry(function = "sock_def_readable")]
pub fn fentry_sock_def_readable(ctx: FEntryContext) -> i32 {
    life::arrived(pointer(&ctx, 0));
    0
}
