//! Hooks that trampolines run (`fentry`, `fexit`): at a return they still have the arguments.
//!
//! A kernel that may take the CPU from a task in the middle of a program skips the program for whom it gives the CPU to.
//! There ([`TWICE`]) each program is attached twice, under two names. Entries are then noted, which done twice is done
//! once, and the first of the two at the return that finds the note takes it and acts.

use core::arch::asm;

use aya_ebpf::{
    EbpfContext,
    macros::{fentry, fexit},
    programs::{FEntryContext, FExitContext},
};

use netspan_ebpf::counter;

use super::{Kind, SocketCall, life, message, scalar};
use crate::{
    emit::count,
    filter::seen,
    kernel,
    maps::{LAYOUT, SOCKET_CALLS, TWICE, constant},
};

/// Makes a program, and the same under another name.
macro_rules! twice {
    ($(#[doc = $doc:literal])+ #[$hook:ident] $name:ident, $again:ident: fn($ctx:ident: $context:ty) $body:block) => {
        $(#[doc = $doc])+
        #[$hook]
        pub fn $name($ctx: $context) -> i32 {
            $body;
            0
        }

        $(#[doc = $doc])+
        #[doc = "\n\nThe second of the two."]
        #[$hook]
        pub fn $again($ctx: $context) -> i32 {
            $body;
            0
        }
    };
}

/// Notes that the thread is in a call, where programs are attached twice.
#[inline(always)]
fn note() {
    if constant(&TWICE) == 0 {
        return;
    }
    let pid_tgid = super::current();
    let blank = SocketCall { start_ns: 0, sock: 0, message: 0, asked: 0, flags: 0 };
    if seen((pid_tgid >> 32) as u32) && SOCKET_CALLS.insert(pid_tgid, blank, 0).is_err() {
        count(counter::CALL_FULL, 1);
    }
}

/// Whether this is the program that acts on the return of the call that the thread was in.
#[inline(always)]
fn acts() -> bool {
    constant(&TWICE) == 0 || SOCKET_CALLS.remove(super::current()).is_ok()
}

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

twice! {
    /// `tcp_sendmsg(sk, msg, size)`
    #[fentry]
    fentry_tcp_sendmsg, fentry_tcp_sendmsg_again: fn(ctx: FEntryContext) {
        message::sending(pointer(&ctx, 0), Kind::Tcp);
        message::telling(pointer(&ctx, 0), pointer(&ctx, 1));
        note();
    }
}

twice! {
    /// `tcp_sendmsg(sk, msg, size)`
    #[fexit]
    fexit_tcp_sendmsg, fexit_tcp_sendmsg_again: fn(ctx: FExitContext) {
        if acts() {
            message::sent(pointer(&ctx, 0), Kind::Tcp, pointer(&ctx, 1), ctx.arg(2), ctx.arg(3), 0);
        }
    }
}

twice! {
    /// `tcp_recvmsg(sk, msg, len, .., flags, ..)`
    #[fexit]
    fexit_tcp_recvmsg, fexit_tcp_recvmsg_again: fn(ctx: FExitContext) {
        if acts() {
            let flags = word(&ctx, constant(&LAYOUT.recv_flags));
            let result = word(&ctx, constant(&LAYOUT.recv_arguments)) as i32;
            message::received(pointer(&ctx, 0), Kind::Tcp, pointer(&ctx, 1), ctx.arg(2), flags, result);
        }
    }
}

/// `tcp_sendpage(sk, page, offset, size, flags)`, before 6.5
#[fexit]
pub fn fexit_tcp_sendpage(ctx: FExitContext) -> i32 {
    message::sent(pointer(&ctx, 0), Kind::Tcp, 0, ctx.arg(3), ctx.arg(5), 0);
    0
}

twice! {
    /// `tcp_splice_read(sock, ppos, pipe, len, flags)`
    #[fexit]
    fexit_tcp_splice_read, fexit_tcp_splice_read_again: fn(ctx: FExitContext) {
        if acts() {
            message::received(kernel::sock_of(pointer(&ctx, 0)), Kind::Tcp, 0, ctx.arg(3), 0, ctx.arg(5));
        }
    }
}

twice! {
    /// `unix_stream_sendmsg(sock, msg, len)`
    #[fentry]
    fentry_unix_stream_sendmsg, fentry_unix_stream_sendmsg_again: fn(ctx: FEntryContext) {
        message::sending(kernel::sock_of(pointer(&ctx, 0)), Kind::Unix);
        note();
    }
}

twice! {
    /// `unix_stream_sendmsg(sock, msg, len)`
    #[fexit]
    fexit_unix_stream_sendmsg, fexit_unix_stream_sendmsg_again: fn(ctx: FExitContext) {
        if acts() {
            message::sent(kernel::sock_of(pointer(&ctx, 0)), Kind::Unix, pointer(&ctx, 1), ctx.arg(2), ctx.arg(3), 0);
        }
    }
}

twice! {
    /// `unix_stream_recvmsg(sock, msg, size, flags)`
    #[fexit]
    fexit_unix_stream_recvmsg, fexit_unix_stream_recvmsg_again: fn(ctx: FExitContext) {
        if acts() {
            let sock = kernel::sock_of(pointer(&ctx, 0));
            message::received(sock, Kind::Unix, pointer(&ctx, 1), ctx.arg(2), ctx.arg(3), ctx.arg(4));
        }
    }
}

/// `unix_stream_sendpage(sock, page, offset, size, flags)`, before 6.5
#[fexit]
pub fn fexit_unix_stream_sendpage(ctx: FExitContext) -> i32 {
    message::sent(kernel::sock_of(pointer(&ctx, 0)), Kind::Unix, 0, ctx.arg(3), ctx.arg(5), 0);
    0
}

twice! {
    /// `unix_stream_splice_read(sock, ppos, pipe, size, flags)`
    #[fexit]
    fexit_unix_stream_splice_read, fexit_unix_stream_splice_read_again: fn(ctx: FExitContext) {
        if acts() {
            message::received(kernel::sock_of(pointer(&ctx, 0)), Kind::Unix, 0, ctx.arg(3), 0, ctx.arg(5));
        }
    }
}

twice! {
    /// `inet_csk_accept(sk, ..)`: returns the new connection's `struct sock`.
    #[fexit]
    fexit_inet_csk_accept, fexit_inet_csk_accept_again: fn(ctx: FExitContext) {
        life::accepted(scalar(word(&ctx, constant(&LAYOUT.accept_arguments))), Kind::Tcp);
    }
}

twice! {
    /// `unix_accept(sock, newsock, ..)`
    #[fexit]
    fexit_unix_accept, fexit_unix_accept_again: fn(ctx: FExitContext) {
        if word(&ctx, constant(&LAYOUT.unix_accept_arguments)) as i32 == 0 {
            life::accepted(kernel::sock_of(pointer(&ctx, 1)), Kind::Unix);
        }
    }
}

twice! {
    /// `unix_stream_connect(sock, address, len, flags)`
    #[fexit]
    fexit_unix_stream_connect, fexit_unix_stream_connect_again: fn(ctx: FExitContext) {
        if ctx.arg::<i32>(4) == 0 {
            life::unix_connected(kernel::sock_of(pointer(&ctx, 0)), 0);
        }
    }
}

twice! {
    /// `tcp_shutdown(sk, how)`
    #[fentry]
    fentry_tcp_shutdown, fentry_tcp_shutdown_again: fn(ctx: FEntryContext) {
        if ctx.arg::<u32>(1) & super::SEND_SHUTDOWN != 0 {
            life::shut(pointer(&ctx, 0));
        }
    }
}

twice! {
    /// `unix_shutdown(sock, mode)`
    #[fentry]
    fentry_unix_shutdown, fentry_unix_shutdown_again: fn(ctx: FEntryContext) {
        if ctx.arg::<u32>(1) != super::SHUT_RD {
            life::shut(kernel::sock_of(pointer(&ctx, 0)));
        }
    }
}

twice! {
    /// `tcp_close(sk, timeout)`
    #[fentry]
    fentry_tcp_close, fentry_tcp_close_again: fn(ctx: FEntryContext) {
        life::closed(pointer(&ctx, 0), Kind::Tcp);
    }
}

twice! {
    /// `unix_release(sock)`
    #[fentry]
    fentry_unix_release, fentry_unix_release_again: fn(ctx: FEntryContext) {
        life::closed(kernel::sock_of(pointer(&ctx, 0)), Kind::Unix);
    }
}

/// `sock_def_readable(sk)`, where there is no tracepoint `sk_data_ready`
#[fentry]
pub fn fentry_sock_def_readable(ctx: FEntryContext) -> i32 {
    life::arrived(pointer(&ctx, 0));
    0
}

twice! {
    /// `tcp_recvmsg(sk, msg, len, .., flags, ..)`, only where programs are attached twice
    #[fentry]
    fentry_tcp_recvmsg, fentry_tcp_recvmsg_again: fn(_ctx: FEntryContext) {
        note();
    }
}

twice! {
    /// `tcp_splice_read(sock, ppos, pipe, len, flags)`, only where programs are attached twice
    #[fentry]
    fentry_tcp_splice_read, fentry_tcp_splice_read_again: fn(_ctx: FEntryContext) {
        note();
    }
}

twice! {
    /// `unix_stream_recvmsg(sock, msg, size, flags)`, only where programs are attached twice
    #[fentry]
    fentry_unix_stream_recvmsg, fentry_unix_stream_recvmsg_again: fn(_ctx: FEntryContext) {
        note();
    }
}

twice! {
    /// `unix_stream_splice_read(sock, ppos, pipe, size, flags)`, only where programs are attached twice
    #[fentry]
    fentry_unix_stream_splice_read, fentry_unix_stream_splice_read_again: fn(_ctx: FEntryContext) {
        note();
    }
}
