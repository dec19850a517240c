//! OpenSSL, `BoringSSL` and `GnuTLS`: the functions that move plaintext have the same form in all three, so one program
//! serves each kind. All returns are of one program: what was called was noted at the entry.

use aya_ebpf::{
    helpers::bpf_get_current_pid_tgid,
    macros::{uprobe, uretprobe},
    programs::{ProbeContext, RetProbeContext},
};
use netspan_ebpf::{close, origin, role};

use super::{carrier, current, enter, free, keep_stack, known_session, leave, note, op, open};
use crate::{
    conn::{self, flag},
    maps::TLS_CALLS,
    user,
};

/// An argument.
#[inline(always)]
fn arg(ctx: &ProbeContext, n: usize) -> u64 {
    ctx.arg::<u64>(n).unwrap_or(0)
}

/// `SSL_write(ssl, buffer, size)`, `gnutls_record_send(session, buffer, size)`
#[uprobe]
pub fn tls_write(ctx: ProbeContext) -> u32 {
    keep_stack(&ctx);
    enter(op::WRITE, arg(&ctx, 0), arg(&ctx, 1), 0);
    0
}

/// `SSL_read(ssl, buffer, size)`, `gnutls_record_recv(session, buffer, size)`
#[uprobe]
pub fn tls_read(ctx: ProbeContext) -> u32 {
    keep_stack(&ctx);
    enter(op::READ, arg(&ctx, 0), arg(&ctx, 1), 0);
    0
}

/// `SSL_sendfile(ssl, fd, offset, size, flags)`, `gnutls_record_send_file(session, fd, *offset, size)`: the kernel encrypts,
/// and the plaintext is in no memory of the process. Where it does not, the latter calls `gnutls_record_send`.
#[uprobe]
pub fn tls_send_file(ctx: ProbeContext) -> u32 {
    keep_stack(&ctx);
    enter(op::WRITE, arg(&ctx, 0), 0, 0);
    0
}

/// `SSL_write_ex(ssl, buffer, size, *written)`
#[uprobe]
pub fn tls_write_ex(ctx: ProbeContext) -> u32 {
    keep_stack(&ctx);
    enter(op::WRITE, arg(&ctx, 0), arg(&ctx, 1), arg(&ctx, 3));
    0
}

/// `SSL_read_ex(ssl, buffer, size, *read)`
#[uprobe]
pub fn tls_read_ex(ctx: ProbeContext) -> u32 {
    keep_stack(&ctx);
    enter(op::READ, arg(&ctx, 0), arg(&ctx, 1), arg(&ctx, 3));
    0
}

/// `SSL_write_ex2(ssl, buffer, size, flags, *written)`
#[uprobe]
pub fn tls_write_ex2(ctx: ProbeContext) -> u32 {
    keep_stack(&ctx);
    enter(op::WRITE, arg(&ctx, 0), arg(&ctx, 1), arg(&ctx, 4));
    0
}

/// `SSL_do_handshake(ssl)`, `gnutls_handshake(session)`. A library may call it within a call that moves plaintext, which
/// then stays what is noted.
#[uprobe]
pub fn tls_handshake(ctx: ProbeContext) -> u32 {
    keep_stack(&ctx);
    let pid_tgid = bpf_get_current_pid_tgid();
    // SAFETY: the value is copied at once.
    let within = unsafe { TLS_CALLS.get(pid_tgid) }.is_some_and(|call| call.op <= u64::from(op::READ));
    if !within {
        enter(op::OTHER, arg(&ctx, 0), 0, 0);
    }
    0
}

/// The return of a hand-shake.
#[uretprobe]
pub fn tls_handshake_return(ctx: RetProbeContext) -> u32 {
    keep_stack(&ctx);
    let pid_tgid = bpf_get_current_pid_tgid();
    // SAFETY: the value is copied at once.
    if unsafe { TLS_CALLS.get(pid_tgid) }.is_some_and(|call| call.op == u64::from(op::OTHER)) {
        let _ = TLS_CALLS.remove(pid_tgid);
    }
    0
}

/// `SSL_new(..)` returned a session.
#[uretprobe]
pub fn tls_new(ctx: RetProbeContext) -> u32 {
    keep_stack(&ctx);
    if let Some((_, tgid)) = current()
        && ctx.ret::<u64>() != 0
    {
        let pointer = ctx.ret::<u64>();
        open(tgid, pointer, origin::SESSION, role::UNKNOWN);
    }
    0
}

/// `gnutls_init(*session, flags)`: where the session's pointer will be.
#[uprobe]
pub fn tls_init(ctx: ProbeContext) -> u32 {
    keep_stack(&ctx);
    if let Some((pid_tgid, _)) = current() {
        note(pid_tgid, op::INIT, 0, arg(&ctx, 0), 0);
    }
    0
}

/// `gnutls_init` returned.
#[uretprobe]
pub fn tls_init_return(ctx: RetProbeContext) -> u32 {
    keep_stack(&ctx);
    let pid_tgid = bpf_get_current_pid_tgid();
    // SAFETY: the value is copied at once; an integer is read.
    unsafe {
        if let Some(call) = TLS_CALLS.get(pid_tgid).copied()
            && call.op == u64::from(op::INIT)
        {
            let _ = TLS_CALLS.remove(pid_tgid);
            if let Some(pointer) = user::read::<u64>(call.buffer) {
                open((pid_tgid >> 32) as u32, pointer, origin::SESSION, role::UNKNOWN);
            }
        }
    }
    0
}

/// `SSL_shutdown(ssl)`, `gnutls_bye(session, how)`: no more plaintext is sent.
#[uprobe]
pub fn tls_shutdown(ctx: ProbeContext) -> u32 {
    keep_stack(&ctx);
    if let Some((pid_tgid, tgid)) = current()
        && let Some((_, conn)) = known_session(tgid, arg(&ctx, 0))
        && conn.flags & (flag::SHUT | flag::ENDED) == 0
        && conn.seqs[1] != 0
    {
        conn.flags |= flag::SHUT;
        conn::end(conn, close::SHUT_WRITE, 0, pid_tgid);
    }
    0
}

/// `SSL_free(ssl)`, `gnutls_deinit(session)`
#[uprobe]
pub fn tls_free(ctx: ProbeContext) -> u32 {
    keep_stack(&ctx);
    if let Some((pid_tgid, _)) = current() {
        free(pid_tgid, arg(&ctx, 0));
    }
    0
}

/// The return of any of these.
#[uretprobe]
pub fn tls_return(ctx: RetProbeContext) -> u32 {
    keep_stack(&ctx);
    leave(bpf_get_current_pid_tgid(), ctx.ret::<u64>());
    0
}

/// `BIO_write(bio, data, size)`: within a library's call, these are bytes that it encrypted for the session. Where they
/// go through memory, the call that sends them is recognised by them.
#[uprobe]
pub fn tls_ciphertext(ctx: ProbeContext) -> u32 {
    keep_stack(&ctx);
    let pid_tgid = bpf_get_current_pid_tgid();
    // SAFETY: the value is copied at once.
    if let Some(call) = unsafe { TLS_CALLS.get(pid_tgid) }.copied() {
        carrier::ciphertext(pid_tgid, call.session, arg(&ctx, 1), arg(&ctx, 2) as u32);
    }
    0
}
