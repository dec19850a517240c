//! rustls 0.23, by what no build inlines because it is called through a table: the functions behind `dyn MessageEncrypter`
//! and `dyn MessageDecrypter`. Each sees every record of its direction once, with the record's number.
//!
//! [`half`] says whose records they are, [`record`] recognises them on sockets, [`message`] knows what they look like in
//! memory. Registers are those of the System V order on x86-64: a place for the result, the half, the message, the record's
//! number. The agent attaches these programs on x86-64 only.

mod half;
mod message;
mod record;

use aya_ebpf::{
    helpers::bpf_get_current_pid_tgid,
    macros::{uprobe, uretprobe},
    programs::{ProbeContext, RetProbeContext},
};
use netspan_ebpf::{counter, direction};

pub use self::{
    half::{Half, HalfName, Line, RUSTLS, SocketName},
    record::{rustls_records, uses_rustls},
};
use self::{
    half::{adopt, expect_first, expect_next, half_at, made, may_change, named, session_of},
    message::{Cipher, Plain, Shape, changes_keys},
    record::{received, remember},
};
use super::{current, keep_stack, moved};
use crate::{emit::count, maps::RUSTLS_CALLS, walk::Source};

/// A call that a thread is in.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct RustlsCall {
    /// The half that decrypts, with its line's begin; or the line that encrypts.
    pub half: HalfName,
    /// Where the result will be.
    pub result: u64,
    /// The ciphertext, or 0 where the call encrypts.
    pub at: u64,
    /// Bytes of it; where the call encrypts, of the plaintext.
    pub len: u64,
    /// The record's number.
    pub number: u64,
}

/// An argument.
#[inline(always)]
fn arg(ctx: &ProbeContext, n: usize) -> u64 {
    ctx.arg::<u64>(n).unwrap_or(0)
}

/// Notes a call by its thread.
#[inline(always)]
fn note(pid_tgid: u64, call: RustlsCall) {
    if RUSTLS_CALLS.insert(pid_tgid, call, 0).is_err() {
        count(counter::CALL_FULL, 1);
    }
}

/// The call that the thread returns from, if it is one that decrypts or encrypts.
#[inline(always)]
fn noted(pid_tgid: u64, decrypts: bool) -> Option<RustlsCall> {
    // SAFETY: the value is copied at once.
    let call = unsafe { RUSTLS_CALLS.get(pid_tgid) }.copied()?;
    if (call.at != 0) != decrypts {
        return None;
    }
    let _ = RUSTLS_CALLS.remove(pid_tgid);
    Some(call)
}

/// `MessageEncrypter::encrypt(&mut self, OutboundPlainMessage, u64) -> Result<OutboundOpaqueMessage, Error>`
#[uprobe]
pub fn rustls_encrypt(ctx: ProbeContext) -> u32 {
    keep_stack(&ctx);
    if current().is_some() {
        let message = arg(&ctx, 2);
        let session = rustls_outgoing(arg(&ctx, 0), arg(&ctx, 1), message, arg(&ctx, 3));
        if session != 0 {
            rustls_send(session, message);
        }
    }
    0
}

/// Takes a record that a half encrypts. Gives the key of the session whose data it is, or 0. Global, as what walks over the
/// data is: what they work with is never on the stack together.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn rustls_outgoing(result: u64, pointer: u64, message: u64, number: u64) -> u64 {
    let pid_tgid = bpf_get_current_pid_tgid();
    let tgid = (pid_tgid >> 32) as u32;
    let Some(plain) = Plain::read(message) else { return 0 };
    let Some(half) = half_at(tgid, pointer, number, true) else { return 0 };
    half.next = number.wrapping_add(1);
    adopt(half);
    if half.socket.key == 0 {
        note(pid_tgid, RustlsCall { half: half.line, result, at: 0, len: plain.len, number });
    }
    if plain.shape != Shape::DATA {
        may_change(half, direction::OUT);
        if changes_keys(&plain) {
            expect_next(pid_tgid, direction::OUT, half);
        } else if plain.shape == Shape::ALERT {
            // No keys change any more.
            expect_first(pid_tgid, direction::OUT);
            expect_first(pid_tgid, direction::IN);
        }
        return 0;
    }
    if plain.len == 0 {
        return 0;
    }
    let Some(session) = session_of(tgid, half, direction::OUT) else {
        half.missed += plain.len;
        count(counter::RECORD_UNTIED, 1);
        return 0;
    };
    session
}

/// Walks over the data of a record that a session sends.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn rustls_send(session: u64, message: u64) -> u32 {
    if let Some(Plain { at, len, slices, skipped, .. }) = Plain::read(message) {
        let source = if slices == 0 { Source::buffer(at) } else { Source::part(slices, at, skipped) };
        moved(session, direction::OUT, &source, len as u32, 0);
    }
    0
}

/// The return of `encrypt`: only where the line's socket is not known yet, the call was noted.
#[uretprobe]
pub fn rustls_encrypted(ctx: RetProbeContext) -> u32 {
    keep_stack(&ctx);
    let pid_tgid = bpf_get_current_pid_tgid();
    if let Some(call) = noted(pid_tgid, false)
        && let Some((payload, len)) = message::encrypted(call.result, call.len)
    {
        remember((pid_tgid >> 32) as u32, call.half, payload, len);
    }
    0
}

/// `Tls13AeadAlgorithm::encrypter(..) -> Box<dyn MessageEncrypter>` returned a half.
#[uretprobe]
pub fn rustls_encrypter(ctx: RetProbeContext) -> u32 {
    keep_stack(&ctx);
    if let Some((pid_tgid, tgid)) = current() {
        made(pid_tgid, direction::OUT, tgid, ctx.ret::<u64>());
    }
    0
}

/// `Tls13AeadAlgorithm::decrypter(..) -> Box<dyn MessageDecrypter>` returned a half.
#[uretprobe]
pub fn rustls_decrypter(ctx: RetProbeContext) -> u32 {
    keep_stack(&ctx);
    if let Some((pid_tgid, tgid)) = current() {
        made(pid_tgid, direction::IN, tgid, ctx.ret::<u64>());
    }
    0
}

/// `MessageDecrypter::decrypt(&mut self, InboundOpaqueMessage, u64) -> Result<InboundPlainMessage, Error>`
#[uprobe]
pub fn rustls_decrypt(ctx: ProbeContext) -> u32 {
    keep_stack(&ctx);
    let Some((pid_tgid, tgid)) = current() else { return 0 };
    let (result, pointer, message, number) = (arg(&ctx, 0), arg(&ctx, 1), arg(&ctx, 2), arg(&ctx, 3));
    let Some(Cipher { at, len }) = Cipher::read(message) else { return 0 };
    let Some(half) = half_at(tgid, pointer, number, false) else { return 0 };
    if half.socket.key == 0 || number == 0 {
        received(tgid, half, at, len);
    }
    let half = HalfName { pointer, born_ns: half.line.born_ns };
    note(pid_tgid, RustlsCall { half, result, at, len, number });
    0
}

/// The return of `decrypt`.
#[uretprobe]
pub fn rustls_decrypted(ctx: RetProbeContext) -> u32 {
    keep_stack(&ctx);
    let session = rustls_incoming();
    if let Some(RustlsCall { at, len, .. }) = noted(bpf_get_current_pid_tgid(), true)
        && session != 0
    {
        rustls_receive(session, at, len);
    }
    0
}

/// Takes the record that the thread decrypted, and notes where its plaintext is. Gives the key of the session whose data it
/// is, or 0. Global: see [`rustls_outgoing`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn rustls_incoming() -> u64 {
    let pid_tgid = bpf_get_current_pid_tgid();
    let tgid = (pid_tgid >> 32) as u32;
    // SAFETY: a map value that is this thread's alone.
    let Some(call) = RUSTLS_CALLS.get_ptr_mut(pid_tgid).map(|call| unsafe { &mut *call }) else { return 0 };
    if call.at == 0 {
        return 0;
    }
    let Some(half) = named(tgid, call.half) else { return 0 };
    let Some(plain) = Plain::decrypted(call.result, call.at, call.len) else { return 0 };
    half.next = call.number.wrapping_add(1);
    if plain.shape != Shape::DATA {
        may_change(half, direction::IN);
        if changes_keys(&plain) {
            expect_next(pid_tgid, direction::IN, half);
        }
        return 0;
    }
    if plain.len == 0 {
        return 0;
    }
    let Some(session) = session_of(tgid, half, direction::IN) else {
        half.missed += plain.len;
        count(counter::RECORD_UNTIED, 1);
        return 0;
    };
    call.at = plain.at;
    call.len = plain.len;
    session
}

/// Walks over data that a session got.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn rustls_receive(session: u64, at: u64, len: u64) -> u32 {
    moved(session, direction::IN, &Source::buffer(at), len as u32, 0);
    0
}
