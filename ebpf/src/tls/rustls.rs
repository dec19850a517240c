//! rustls 0.23, by three functions that see each byte once; the agent's `tls/rustls.rs` has what is known of their
//! arguments, which no promise of the library covers.
//!
//! The socket: what was encrypted is written by `ChunkVecBuffer::write_to`, within which the thread uses the socket. The
//! buffer is a field of the session, near its beginning; two sessions are further apart than that.

use aya_ebpf::{
    helpers::{bpf_get_current_pid_tgid, bpf_ktime_get_boot_ns},
    macros::uprobe,
    programs::ProbeContext,
};
use netspan_ebpf::direction;

use super::{TlsCall, carrier, current, known_session, note, op, put, session};
use crate::{
    filter::ports_pass,
    maps::RUSTLS_LAST,
    user,
    walk::{Moved, Source, walk},
};

/// Bytes from a session's beginning within which its buffer of ciphertext begins; a session is larger.
const BUFFER_MAX: u64 = 0x200;

#[inline(always)]
fn arg(ctx: &ProbeContext, n: usize) -> u64 {
    ctx.arg::<u64>(n).unwrap_or(0)
}

/// `CommonState::send_appdata_encrypt(state, &OutboundChunks)`, which is one slice or several.
#[uprobe]
pub fn rustls_encrypt(ctx: ProbeContext) -> u32 {
    let Some((pid_tgid, tgid)) = current() else { return 0 };
    let (state, chunks) = (arg(&ctx, 0), arg(&ctx, 1));
    // SAFETY: integers.
    let Some([first, second, start]) = (unsafe { user::read::<[u64; 3]>(chunks) }) else { return 0 };
    let Some((key, _)) = session(tgid, state) else { return 0 };
    let _ = RUSTLS_LAST.insert(pid_tgid, state, 0);
    // SAFETY: a helper without pointers.
    let start_ns = unsafe { bpf_ktime_get_boot_ns() };
    let (buffer, segments) = if first == 0 { (second, 0) } else { (first, second) };
    // Several slices, not from the first one's beginning: what they hold is not read.
    let buffer = if first != 0 && start != 0 { 0 } else { buffer };
    put(pid_tgid, &TlsCall { start_ns, session: key, buffer, len_at: 0, segments, op: u64::from(op::WRITE) });
    0
}

/// `CommonState::take_received_plaintext(state, Payload)`: a record was decrypted.
#[uprobe]
pub fn rustls_received(ctx: ProbeContext) -> u32 {
    let Some((pid_tgid, tgid)) = current() else { return 0 };
    // SAFETY: integers.
    let Some([_, buffer, len]) = (unsafe { user::read::<[u64; 3]>(arg(&ctx, 1)) }) else { return 0 };
    let Some((key, conn)) = session(tgid, arg(&ctx, 0)) else { return 0 };
    if len == 0 || len >> 31 != 0 || !ports_pass(conn) {
        return 0;
    }
    conn.tgid = tgid;
    carrier::refresh(conn);
    let arrived_ns = core::mem::take(&mut conn.arrived_ns);
    let moved = Moved { key, direction: direction::IN, len: len as u32, start_ns: 0, arrived_ns, pid_tgid };
    walk(&moved, conn, &Source::Buffer(buffer));
    0
}

/// `ChunkVecBuffer::write_to(buffer, io)`
#[uprobe]
pub fn rustls_write_to(ctx: ProbeContext) -> u32 {
    let pid_tgid = bpf_get_current_pid_tgid();
    // SAFETY: the value is copied at once.
    let Some(&state) = (unsafe { RUSTLS_LAST.get(pid_tgid) }) else { return 0 };
    if arg(&ctx, 0).wrapping_sub(state) >= BUFFER_MAX {
        return 0;
    }
    if let Some((key, conn)) = known_session((pid_tgid >> 32) as u32, state)
        && conn.other == 0
    {
        note(pid_tgid, op::OTHER, key, 0, 0);
    }
    0
}
