//! The walk itself: step by step over a call's bytes, each event sent when it is filled in.

use core::arch::asm;

use netspan_ebpf::{COPY_MAX, DataEvent, counter, data_flag, kind};

use super::{
    Work,
    begin::{begin, begins_anew},
    body::chunk,
    frame::{NONE, pass_unseen, walk_frames},
    head::walk_lines,
    mode,
    source::{load, next_segment, pass},
};
use crate::{
    conn::{announce, class, get, ordinal, shard},
    context,
    emit::{count, count_in, row, send},
    scratch::{Scratch, cell_at},
    thread,
};

/// Steps that one call may take; a step looks at up to [`COPY_MAX`] bytes or passes over a run of them.
const STEPS: u32 = 2048;

/// Bytes that tell whether a message begins: a method of up to 20 letters, a space and the first of its target.
const LEAD: u32 = 24;

/// The walk goes on.
pub(super) const ON: u32 = 0;

/// The walk is over.
pub(super) const DONE: u32 = 1;

/// The walk goes on when the event that is filled in was sent.
pub(super) const SEND: u32 = 2;

/// Walks over the bytes of the call that is entered in a cell.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn walk_on(slot: u32) -> u32 {
    let mut step = 0;
    let mut state = ON;
    while step < STEPS {
        state = walk_step(slot);
        if state == DONE {
            break;
        }
        if state == SEND {
            walk_send(slot, u32::from(data_flag::MORE));
        }
        step += 1;
    }
    let Some(Scratch { work, .. }) = cell_at(slot) else { return 0 };
    if state != DONE {
        count(counter::CALL_CUT, 1);
        cut(work, data_flag::CUT);
    }
    let Some(conn) = get(work.key) else { return 0 };
    conn.ways[(work.direction & 1) as usize].set(&work.way);
    if work.pending == 0 {
        if conn.class != class::HTTP1 && conn.class != class::HTTP2 {
            return 0;
        }
        work.event.off = work.total;
        work.event.copied = 0;
    }
    // The last event of the call, the one without `MORE`.
    walk_send(slot, 0);
    if context::is_on() {
        context::context_walked(slot);
    }
    if thread::is_on() {
        thread::thread_walked(slot);
    }
    0
}

/// One step of a walk.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn walk_step(slot: u32) -> u32 {
    let Some(Scratch { work, .. }) = cell_at(slot) else { return DONE };
    if work.off >= work.total {
        return DONE;
    }
    let rest = work.total - work.off;
    let turned = work.off == 0 && work.turned != 0;
    if work.way.mode == mode::SKIP && !turned && work.way.left >= u64::from(rest) {
        work.way.left -= u64::from(rest);
        if work.way.left == 0 {
            work.way.mode = work.way.next;
        }
        work.off = work.total;
        return DONE;
    }
    if work.segment == 0 {
        if work.way.mode == mode::MESSAGE && work.iov_left == 0 {
            // Sent from a file.
            pass_unseen(work);
            return ON;
        }
        let state = next_segment(work, rest);
        if state != ON || work.segment == 0 {
            return state;
        }
    }
    if work.way.mode >= mode::FRAME {
        return walk_frames(work.slot);
    }
    if work.pending != 0 && work.way.mode != mode::SKIP {
        return SEND;
    }
    match work.way.mode {
        mode::SKIP => {
            if turned && load(work, LEAD) && begins_anew(work) {
                work.way.mode = mode::START;
                return ON;
            }
            let segment = u64::from(work.segment);
            let passed = if work.way.left < segment { work.way.left } else { segment };
            work.way.left -= passed;
            if work.way.left == 0 {
                work.way.mode = work.way.next;
            }
            // Looked at once: what follows in this call is not a turn any more.
            work.turned = 0;
            pass(work, passed as u32);
            ON
        }
        mode::CHUNK => chunk(work),
        mode::START => {
            if !load(work, COPY_MAX as u32) {
                return fault(work);
            }
            if !begin(work) {
                work.off = work.total;
                return DONE;
            }
            if work.way.mode >= mode::FRAME {
                return ON;
            }
            walk_lines(work.slot)
        }
        _ => {
            if !load(work, COPY_MAX as u32) {
                return fault(work);
            }
            work.event.flags = 0;
            walk_lines(work.slot)
        }
    }
}

/// User memory could not be read: from here on the bytes of this call are lost.
#[inline(always)]
pub(super) fn fault(work: &mut Work) -> u32 {
    count(counter::READ_FAULT, 1);
    cut(work, data_flag::FAULT)
}

/// The rest of the call is not looked at: the last event says why, and the next head is looked for in the next call.
#[inline(always)]
pub(super) fn cut(work: &mut Work, flag: u8) -> u32 {
    work.way.mode = mode::START;
    if work.pending == 0 {
        work.event.off = work.off;
        work.event.copied = 0;
    }
    work.event.flags |= flag;
    work.pending = 1;
    work.off = work.total;
    DONE
}

/// Fills in an event with the first `len` bytes of the payload, and passes over them.
#[inline(always)]
pub(super) fn take(work: &mut Work, len: u32) {
    work.event.off = work.off;
    work.event.copied = len;
    work.pending = 1;
    pass(work, len);
}

/// Sends the event that is filled in.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn walk_send(slot: u32, more: u32) -> u32 {
    let Some(Scratch { work, .. }) = cell_at(slot) else { return 0 };
    let Some(conn) = get(work.key) else { return 0 };
    // What carries a session is told of by the session. Field by field: old kernels have no stack left for a copy.
    if work.event.flags & data_flag::HELLO == 0 {
        announce(conn, work.pid_tgid);
        work.event.head.seq = ordinal(conn, work.direction as usize);
    } else {
        work.event.head.seq = 0;
    }
    work.event.head.conn = conn.id;
    work.event.head.tgid = (work.pid_tgid >> 32) as u32;
    work.event.head.tid = work.pid_tgid as u32;
    work.event.head.kind = kind::DATA;
    work.event.head._pad = 0;
    work.event.flags |= more as u8;
    let copied = bounded::<{ COPY_MAX as u64 }>(u64::from(work.event.copied));
    count_in(row(slot), counter::BYTES_COPIED, copied);
    // SAFETY: `payload` follows `event`, and `copied` is bounded by its size.
    unsafe {
        let data = core::ptr::from_ref(&work.event).cast();
        send(row(slot), shard(conn.id), data, size_of::<DataEvent>() + copied as usize, false);
    }
    work.pending = 0;
    work.piece = NONE;
    work.filled = 0;
    work.event.flags = 0;
    0
}

/// The value, or `MOST` if that is less, in such a way that the verifier sees the bound: the compiler would compare
/// another copy of the value than the one that is used.
#[inline(always)]
pub(super) fn bounded<const MOST: u64>(mut value: u64) -> u64 {
    // SAFETY: compares and sets one register.
    unsafe {
        asm!(
            "if {value} <= {most} goto +1",
            "{value} = {most}",
            value = inout(reg) value,
            most = const MOST,
            options(nomem, nostack),
        );
    }
    value
}
