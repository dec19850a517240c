//! Which goroutine serves a connection's requests, and which one asks on another: what tells a Go program's links
//! (`goroutine`). Go's HTTP client hands each request to a goroutine that belongs to the connection, so neither the thread nor
//! the goroutine that writes is the one that asks.
//!
//! Nothing of the runtime's version is needed. `goid` is the word behind `atomicstatus` and `stackLock` in `g`: at 152, or at 160
//! where that word is these two (a goroutine that runs has the status 2; a goroutine 2 is the runtime's own). Since Go 1.21
//! `parentGoid` and `gopc` follow each other 120 bytes behind it, or 128: what comes after them, `ancestors`, is nil. Before, who makes a
//! goroutine is noted when that is done.

use aya_ebpf::{helpers::bpf_ktime_get_boot_ns, macros::uprobe, programs::ProbeContext};
use netspan_ebpf::{EventHead, GoroutineEvent, kind, role};

use super::{
    current,
    golang::{R14, RAX, RBX, held, register},
    keep_stack, known_session,
};
use crate::{
    conn::{self, shard},
    emit::{SHARED, send},
    filter::ports_pass,
    maps::GOROUTINES,
    user,
};

/// Offset of the pointer in `net/http.conn.rwc`, a `net.Conn`, behind `server` and `cancelCtx`.
const SERVER_CONN: u64 = 24;
/// Offset of the pointer in `net/http.persistConn.conn`, a `net.Conn`, behind `alt`, `t` and `cacheKey`.
const CLIENT_CONN: u64 = 88;
/// Offsets in `runtime.g`.
const STATUS: u64 = 152;
const RUNNING: u64 = 2;
/// Running, and being stopped so that its stack can be looked at. Of older runtimes it is the goroutine of that number.
const SCANNED: u64 = 0x1002;
const PARENT: u64 = 120;
/// The same before Go 1.21: `m`, `sched.pc` (of a new goroutine, where it begins) and `goid`; and `curg` in `runtime.m`.
const M: u64 = 48;
const BEGINS: u64 = 64;
const NUMBER: u64 = 152;
const CURRENT: u64 = 192;

/// `net/http.(*conn).readRequest(context)`: the goroutine will read a request of the connection, and serve it.
#[uprobe]
pub fn go_serves(ctx: ProbeContext) -> u32 {
    keep_stack(&ctx);
    if let Some((pid_tgid, _)) = current() {
        go_tell(pid_tgid, register::<RAX>(&ctx), register::<R14>(&ctx), u32::from(role::SERVER));
    }
    0
}

/// `net/http.(*persistConn).roundTrip(request)`: the goroutine sends a request on the connection, and waits for the answer.
#[uprobe]
pub fn go_asks(ctx: ProbeContext) -> u32 {
    keep_stack(&ctx);
    if let Some((pid_tgid, _)) = current() {
        go_tell(pid_tgid, register::<RAX>(&ctx), register::<R14>(&ctx), u32::from(role::CLIENT));
    }
    0
}

/// `runtime.runqput(p, g, next)` is called by `runtime.newproc`: a goroutine was made, on the stack of the scheduler.
#[uprobe]
pub fn go_made(ctx: ProbeContext) -> u32 {
    keep_stack(&ctx);
    if let Some((pid_tgid, _)) = current() {
        go_note(pid_tgid >> 32, register::<RBX>(&ctx), register::<R14>(&ctx));
    }
    0
}

/// Notes which goroutine made another one. Global: it has a stack of its own.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn go_note(tgid: u64, made: u64, g: u64) -> u32 {
    // SAFETY: integers, all of them.
    let word = |address: u64| unsafe { user::read::<u64>(address) };
    let Some(m) = word(g + M) else { return 0 };
    let Some(maker) = word(m + CURRENT) else { return 0 };
    // What does not point back is something else.
    if word(maker + M) != Some(m) {
        return 0;
    }
    if let (Some(begins), Some(number), Some(parent)) = (word(made + BEGINS), word(made + NUMBER), word(maker + NUMBER))
    {
        let _ = GOROUTINES.insert([tgid, number], [parent, begins], 0);
    }
    0
}

/// Tells which goroutine is at the connection that `receiver` holds. Global: it has a stack of its own.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn go_tell(pid_tgid: u64, receiver: u64, g: u64, role: u32) -> u32 {
    let tgid = (pid_tgid >> 32) as u32;
    let offset = if role == u32::from(role::SERVER) { SERVER_CONN } else { CLIENT_CONN };
    // SAFETY: integers.
    let Some(inner) = (unsafe { user::read::<u64>(receiver + offset) }) else { return 0 };
    let key = match known_session(tgid, inner) {
        Some((key, _)) => key,
        None => match held(tgid, inner) {
            Some(key) => key,
            None => return 0,
        },
    };
    let Some(conn) = conn::get(key) else { return 0 };
    if !ports_pass(conn) {
        return 0;
    }
    // SAFETY: integers.
    let Some([first, second]) = (unsafe { user::read::<[u64; 2]>(g + STATUS) }) else { return 0 };
    if first == SCANNED {
        return 0;
    }
    let (at, goroutine) = if first == RUNNING { (g + STATUS + 8, second) } else { (g + STATUS, first) };
    // SAFETY: integers.
    let Some([one, two, three]) = (unsafe { user::read::<[u64; 3]>(at + PARENT) }) else { return 0 };
    let (mut parent, mut site) = if three == 0 { (one, two) } else { (two, three) };
    if first != RUNNING {
        // SAFETY: integers, copied at once.
        if let Some(made) = unsafe { GOROUTINES.get([u64::from(tgid), goroutine]) } {
            [parent, site] = *made;
        }
    }
    // SAFETY: a helper without pointers.
    let time_ns = unsafe { bpf_ktime_get_boot_ns() };
    let id = conn.id;
    let head = EventHead { time_ns, conn: id, seq: 0, tgid, tid: pid_tgid as u32, kind: kind::GOROUTINE, _pad: 0 };
    let event = GoroutineEvent { head, goroutine, parent, site, role: u64::from(role) };
    // SAFETY: a local of that size.
    unsafe {
        send(SHARED, shard(id), core::ptr::from_ref(&event).cast(), size_of::<GoroutineEvent>(), false);
    }
    0
}
