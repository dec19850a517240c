//! What a thread publishes of itself: OpenTelemetry's thread context (OTEP 4947). A thread-local pointer leads to a record with
//! the trace and span that the thread is at; it is read when the thread sends a request, which is the moment that counts.
//!
//! Where the pointer is, the agent found out by process ([`THREAD_SLOTS`]). The thread that runs this is the one that writes the record,
//! so nothing is read while it is half written.

use aya_ebpf::helpers::generated::{bpf_get_current_task, bpf_get_current_task_btf};
use netspan_ebpf::{ContextEvent, EventHead, ThreadSlot, counter, direction, kind, role};

use crate::{
    conn::{class, get, shard},
    emit::{SHARED, count, send},
    kernel,
    maps::{KERNEL_READS, THREAD_POINTER, THREAD_SLOTS, constant},
    scratch::cell_at,
    user,
};

/// Modules with thread-local variables of a process at most: what has more is no number of a module.
const MODULES_MAX: u64 = 1 << 16;
/// A record's first byte behind the ids, where it is valid.
const VALID: u8 = 1;

/// Whether threads' contexts can be read.
#[inline(always)]
pub fn is_on() -> bool {
    constant(&THREAD_POINTER) != 0
}

/// The current thread's pointer to its thread-local storage (`fs` of x86-64), or 0.
#[inline(always)]
fn thread_pointer() -> u64 {
    let offset = constant(&THREAD_POINTER);
    if constant(&KERNEL_READS) != 0 {
        // A worker of io_uring has the pointer of whoever began it, and sends for others.
        if kernel::is_io_worker() {
            return 0;
        }
        // SAFETY: a helper without pointers.
        let task = unsafe { bpf_get_current_task() };
        return kernel::read::<u64>(task + u64::from(offset)).unwrap_or(0);
    }
    // SAFETY: a pointer that the verifier knows; the offset is that of the member in the running kernel, which it checks.
    unsafe { (bpf_get_current_task_btf() as *const u8).add(offset as usize).cast::<u64>().read_volatile() }
}

/// Where the thread's pointer to its record is, or 0 where it has none.
#[inline(always)]
fn address(slot: &ThreadSlot, pointer: u64) -> u64 {
    if slot.module == 0 {
        return pointer.wrapping_add(slot.offset);
    }
    if slot.module >= MODULES_MAX {
        return 0;
    }
    // SAFETY: integers.
    let Some(blocks) = (unsafe { user::read::<u64>(pointer + 8) }) else { return 0 };
    // How many entries there are: in glibc before the entry 0, whose entries are two words, in musl in it.
    let count = if slot.entry == 16 { blocks.wrapping_sub(16) } else { blocks };
    // SAFETY: integers.
    match unsafe { user::read::<u64>(count) } {
        Some(count) if slot.module <= count => {}
        _ => return 0,
    }
    // SAFETY: integers.
    match unsafe { user::read::<u64>(blocks.wrapping_add(slot.module.wrapping_mul(slot.entry))) } {
        // The thread never used a variable of the module.
        None | Some(0 | u64::MAX) => 0,
        Some(block) => block.wrapping_add(slot.offset),
    }
}

/// A call was walked over: tells what its thread publishes, if a request began in it. Global: it has a stack of its own.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn thread_walked(slot: u32) -> u32 {
    // Kernels verify it where nobody calls it, too, and old ones know no such helpers.
    if !is_on() {
        return 0;
    }
    let Some(scratch) = cell_at(slot) else { return 0 };
    if scratch.work.direction() != u32::from(direction::OUT) {
        return 0;
    }
    let (pid_tgid, time_ns) = (scratch.work.pid_tgid(), scratch.work.time_ns());
    let Some(conn) = get(scratch.work.key()) else { return 0 };
    if conn.role != role::CLIENT || conn.class != class::HTTP1 {
        return 0;
    }
    let begun = (conn.requests as u8).wrapping_sub(conn.told);
    conn.told = conn.requests as u8;
    // Several in one call have not all the same cause.
    if begun != 1 {
        return 0;
    }
    let id = conn.id;
    let tgid = (pid_tgid >> 32) as u32;
    // SAFETY: the value is copied at once.
    let Some(place) = (unsafe { THREAD_SLOTS.get(tgid) }).copied() else { return 0 };
    let pointer = thread_pointer();
    if pointer == 0 {
        return 0;
    }
    let at = address(&place, pointer);
    if at == 0 {
        return 0;
    }
    // SAFETY: integers.
    let record = match unsafe { user::read::<u64>(at) } {
        Some(0) => return 0,
        Some(record) => record,
        None => {
            count(counter::THREAD_FAULT, 1);
            return 0;
        }
    };
    // SAFETY: integers.
    let (ids, valid) = unsafe { (user::read::<[u64; 3]>(record), user::read::<u8>(record.wrapping_add(24))) };
    let (Some([high, low, span]), Some(valid)) = (ids, valid) else {
        count(counter::THREAD_FAULT, 1);
        return 0;
    };
    if valid != VALID || high | low == 0 || span == 0 {
        return 0;
    }
    let head = EventHead { time_ns, conn: id, seq: 0, tgid, tid: pid_tgid as u32, kind: kind::THREAD_CONTEXT, _pad: 0 };
    // SAFETY: integers of the same size.
    let trace = unsafe { core::mem::transmute::<[u64; 2], [u8; 16]>([high, low]) };
    let event = ContextEvent { head, ordinal: 0, trace, span: span.to_ne_bytes() };
    // SAFETY: a local of that size.
    unsafe {
        send(SHARED, shard(id), core::ptr::from_ref(&event).cast(), size_of::<ContextEvent>(), false);
    }
    0
}
