//! Sending events, and counting each one that was meant to be sent: the one place where a loss is counted on the kernel
//! side.

use core::arch::asm;

use aya_ebpf::{
    bindings::{BPF_RB_AVAIL_DATA, BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP},
    helpers::{bpf_ringbuf_output, bpf_ringbuf_query},
    maps::RingBuf,
};
use netspan_ebpf::counter;

use crate::maps::{COUNTERS, RING_0, RING_1, RING_2, RING_3, RINGS_MASK, WAKE_BYTES, constant};

/// Adds to a counter.
#[inline(always)]
pub fn count(which: u32, by: u64) {
    count_in(SHARED, which, by);
}

/// The row of counters that any program may write at any time.
pub const SHARED: u32 = 0;

/// The row of counters that only who has taken a cell of this CPU writes.
#[inline(always)]
pub fn row(slot: u32) -> u32 {
    (slot + 1) * counter::COUNT
}

/// Adds to a counter of a row.
#[inline(always)]
pub fn count_in(row: u32, which: u32, by: u64) {
    if let Some(cell) = COUNTERS.get_ptr_mut(row + which) {
        // SAFETY: a map value, aligned to eight bytes.
        unsafe {
            if row == SHARED {
                add(cell, by);
            } else {
                *cell += by;
            }
        }
    }
}

/// Adds in one step: `BPF_XADD`, which every kernel has, where later atomic operations are refused by those before 5.12.
///
/// # Safety
/// `cell` must be valid and aligned to eight bytes.
#[inline(always)]
pub unsafe fn add(cell: *mut u64, by: u64) {
    // SAFETY: as the caller promises.
    unsafe { asm!("lock *(u64 *)({cell} + 0) += {by}", cell = in(reg) cell, by = in(reg) by, options(nostack)) };
}

/// Sends `len` bytes at `data` to the ring of `shard`, counted in `row`; `now` asks for a wake-up of the agent at once.
///
/// # Safety
/// `data` must be valid for `len` bytes.
#[inline(always)]
pub unsafe fn send(row: u32, shard: u64, data: *const u8, len: usize, now: bool) {
    count_in(row, counter::EVENT_ATTEMPTED, 1);
    // SAFETY: as the caller promises.
    let sent = unsafe {
        match shard & u64::from(constant(&RINGS_MASK)) {
            0 => put(&RING_0, data, len, now),
            1 => put(&RING_1, data, len, now),
            2 => put(&RING_2, data, len, now),
            _ => put(&RING_3, data, len, now),
        }
    };
    count_in(row, if sent { counter::EVENT_SUBMITTED } else { counter::RING_FULL }, 1);
}

/// A wake-up costs the traced thread over a microsecond, so it is sent only when much is waiting (or for what cannot
/// wait); else the agent's timer drains.
#[inline(always)]
unsafe fn put(ring: &RingBuf, data: *const u8, len: usize, now: bool) -> bool {
    let map = core::ptr::from_ref(ring).cast_mut().cast();
    // SAFETY: `map` is a ring buffer, `data` is valid for `len` bytes by the caller's promise.
    unsafe {
        let waiting = bpf_ringbuf_query(map, u64::from(BPF_RB_AVAIL_DATA));
        let enough = constant(&WAKE_BYTES);
        // One wake-up for as much: by the next one the agent is awake, or as late as it would be anyway.
        let crosses = waiting & !(enough - 1) != (waiting + len as u64) & !(enough - 1);
        let flags = if now || crosses { BPF_RB_FORCE_WAKEUP } else { BPF_RB_NO_WAKEUP };
        bpf_ringbuf_output(map, data.cast_mut().cast(), len as u64, u64::from(flags)) == 0
    }
}
