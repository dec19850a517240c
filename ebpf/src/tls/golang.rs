//! Go's `crypto/tls`, by Go's register ABI (from 1.17). A goroutine may go on in another thread, so calls are noted by
//! goroutine; returns are hooked at each return instruction, because a goroutine's stack may move.
//!
//! The descriptor is read from the session: `tls.Conn` begins with a `net.Conn`, an interface of a type and a pointer. Where
//! that points to a `net.TCPConn` or `net.UnixConn`, these begin with a pointer to a `net.netFD`, which begins with a
//! `poll.FD` of 56 bytes and goes on with the address family and the socket's type. Other types don't look like that.
//! What the descriptor stands for the family `syscall` has noted; the family `socket` looks it up in the process's table.

use core::arch::asm;

use aya_ebpf::{EbpfContext, helpers::bpf_get_current_pid_tgid, macros::uprobe, programs::ProbeContext};
use netspan_ebpf::{FdKey, direction, origin, role};

use super::{carrier, current, free, keep_stack, known_session, layer, leave, moved, note, op, open, session};
use crate::{
    conn::{self, Conn},
    kernel,
    maps::{FDS, KERNEL_READS, constant},
    user,
    walk::Source,
};

/// Offset of `isClient` in `tls.Conn`.
const IS_CLIENT: u64 = 16;
/// Offset in `poll.FD` of its `fdMutex`'s `state`, and the bit of that which is set before the descriptor is closed.
const MUTEX: u64 = 0;
const MUTEX_CLOSED: u64 = 1;
/// Offset of `Sysfd` in `poll.FD`.
const SYSFD: u64 = 16;
/// Offset of `IsStream` in `poll.FD`.
const IS_STREAM: u64 = 48;
/// Offsets of `family` and `sotype` in `net.netFD`.
const FAMILY: u64 = 56;
const SOCK_STREAM: u64 = 1;
const AF_UNIX: u64 = 1;
const AF_INET: u64 = 2;
const AF_INET6: u64 = 10;

/// Offsets in `struct pt_regs` of x86-64 of the first three integer arguments, the first of which is a result at the
/// return, and of the goroutine. The agent attaches these programs on x86-64 only.
pub const RAX: i32 = 80;
pub const RBX: i32 = 40;
const RCX: i32 = 88;
pub const R14: i32 = 8;

/// A register. The verifier wants the offset in the instruction itself.
#[inline(always)]
pub fn register<const OFFSET: i32>(ctx: &ProbeContext) -> u64 {
    let value;
    // SAFETY: a load from the context, at an offset that the verifier checks.
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

/// A goroutine, as a key of calls: no thread has such a number.
#[inline(always)]
fn goroutine(ctx: &ProbeContext, tgid: u32) -> u64 {
    (register::<R14>(ctx) ^ u64::from(tgid) << 40) | 1 << 63
}

/// Role of a session.
#[inline(always)]
fn role_of(pointer: u64) -> u8 {
    // SAFETY: an integer.
    match unsafe { user::read::<u8>(pointer + IS_CLIENT) } {
        Some(1) => role::CLIENT,
        Some(0) => role::SERVER,
        _ => role::UNKNOWN,
    }
}

/// Ties a session to the socket that it holds, if that is not known yet. Global: it has a stack of its own, and the verifier
/// checks it once per program.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn go_carrier(tgid: u32, key: u64, pointer: u64) -> u32 {
    // SAFETY: an integer.
    let Some([_, inner]) = (unsafe { user::read::<[u64; 2]>(pointer) }) else { return 0 };
    let Some(socket) = held(tgid, inner) else { return 0 };
    if let Some(carrier) = conn::get(socket)
        && (carrier.tls == layer::CARRIER || carrier.tls == layer::CARRIES)
    {
        carrier::bind(key, socket, carrier);
    }
    0
}

/// Key of the connection whose descriptor a `net.Conn` holds, by the pointer in it.
///
/// That the descriptor was still the `net.Conn`'s own when it was looked up is told by what is read after that: before it is
/// closed, and its number may be another's, the mutex says so, and does for good.
#[inline(always)]
pub fn held(tgid: u32, inner: u64) -> Option<u64> {
    // SAFETY: integers.
    unsafe {
        let netfd = user::read::<u64>(inner)?;
        let [family, kind] = user::read::<[u64; 2]>(netfd + FAMILY)?;
        let stream = user::read::<u8>(netfd + IS_STREAM)?;
        if stream != 1 || kind != SOCK_STREAM || !matches!(family, AF_UNIX | AF_INET | AF_INET6) {
            return None;
        }
        let fd = user::read::<i32>(netfd + SYSFD)?;
        let socket = socket_of(tgid, fd)?;
        if user::read::<u64>(netfd + MUTEX)? & MUTEX_CLOSED == 0 { Some(socket) } else { None }
    }
}

/// Key of the connection that a descriptor stands for.
#[inline(always)]
fn socket_of(tgid: u32, fd: i32) -> Option<u64> {
    if constant(&KERNEL_READS) != 0 {
        return kernel::sock_of_descriptor(fd.cast_unsigned());
    }
    // SAFETY: the value is copied at once.
    unsafe { FDS.get(FdKey { tgid, fd }) }.map(|entry| entry.key)
}

/// The session that a method is called on, tied to its socket as far as that is known by now.
#[inline(always)]
fn entered(ctx: &ProbeContext) -> Option<(u32, u64, &'static mut Conn)> {
    let (_, tgid) = current()?;
    let pointer = register::<RAX>(ctx);
    let (key, conn) = session(tgid, pointer)?;
    if conn.role == role::UNKNOWN {
        conn.role = role_of(pointer);
    }
    if conn.other == 0 {
        go_carrier(tgid, key, pointer);
    }
    Some((tgid, key, conn))
}

/// `crypto/tls.(*Conn).Write(buffer)`. It writes all or fails, so the bytes are known now, and are walked over now: another
/// goroutine may have read the answer by the time this one comes to its return. Only where the session's socket is not
/// known yet, which the call itself will show, they are walked over then.
///
/// Hooked behind the check of the goroutine's stack, after which the function may begin again: it comes here once per call.
#[uprobe]
pub fn go_write(ctx: ProbeContext) -> u32 {
    keep_stack(&ctx);
    if let Some((tgid, key, conn)) = entered(&ctx) {
        let buffer = register::<RBX>(&ctx);
        if conn.other == 0 {
            note(goroutine(&ctx, tgid), op::WRITE, key, buffer, 0);
        } else {
            // A slice is at most so long as a call's length here.
            moved(key, direction::OUT, &Source::buffer(buffer), register::<RCX>(&ctx) as u32, 0);
        }
    }
    0
}

/// `crypto/tls.(*Conn).Read(buffer)`
#[uprobe]
pub fn go_read(ctx: ProbeContext) -> u32 {
    keep_stack(&ctx);
    if let Some((tgid, key, _)) = entered(&ctx) {
        note(goroutine(&ctx, tgid), op::READ, key, register::<RBX>(&ctx), 0);
    }
    0
}

/// `crypto/tls.(*Conn).clientHandshake` or `serverHandshake`: a session begins.
#[uprobe]
pub fn go_handshake(ctx: ProbeContext) -> u32 {
    keep_stack(&ctx);
    if let Some((_, tgid)) = current() {
        let pointer = register::<RAX>(&ctx);
        if known_session(tgid, pointer).is_none() {
            open(tgid, pointer, origin::SESSION, role_of(pointer));
        }
    }
    0
}

/// `crypto/tls.(*Conn).Close`
#[uprobe]
pub fn go_close(ctx: ProbeContext) -> u32 {
    keep_stack(&ctx);
    if let Some((pid_tgid, _)) = current() {
        free(pid_tgid, register::<RAX>(&ctx));
    }
    0
}

/// A return instruction of `Read` or `Write`.
#[uprobe]
pub fn go_return(ctx: ProbeContext) -> u32 {
    keep_stack(&ctx);
    let tgid = (bpf_get_current_pid_tgid() >> 32) as u32;
    leave(goroutine(&ctx, tgid), register::<RAX>(&ctx));
    0
}
