//! asyncio: which task a thread is at when the first of a message is sent, and who made that task: what tells the links of
//! asynchronous programs in Python (`task`).
//!
//! `asyncio` keeps a dictionary from a process's event loops to the tasks that they are at. Where it lies the agent finds out, for
//! it never moves ([`PYTHONS`]). An entry is there only while its task runs, and is believed only in the thread that runs the
//! loop ([`LOOPS`]): another one may send while a task waits for the interpreter. What is read has to pass for what it is:
//! the task must name the same loop as the entry.

use aya_ebpf::{
    helpers::{bpf_get_current_pid_tgid, bpf_ktime_get_boot_ns},
    macros::uprobe,
    programs::ProbeContext,
};
use netspan_ebpf::{EventHead, LoopEvent, TaskEvent, TaskId, kind, loops};

use crate::{
    conn::{self, shard},
    emit::{SHARED, send},
    filter::seen,
    maps::{ASKED, LOOPS, PYTHONS, TASKS, TaskKey},
    scratch::{Scratch, cell_at},
    tls::keep_stack,
    user,
};

/// The agent is asked about a thread at most once in so many nanoseconds.
const ASK_NS: u64 = 100_000_000;
/// Offsets in `PyDictObject`: `ma_used`, `ma_version_tag`, `ma_keys`.
const DICT_USED: u64 = 16;
/// Loops that are at a task at one time, at most.
const USED_MAX: u64 = 4;
/// Entries of the table that are looked at, the newest first: one that was taken out leaves a hole.
const ENTRIES: u64 = 5;
/// `sizeof(PyDictKeyEntry)`
const ENTRY: u64 = 24;
/// Tables with more places have more than a byte per index.
const SMALL: u64 = 128;
/// Offset of `task_loop` in `TaskObj`.
const TASK_LOOP: u64 = 16;

/// When a task was made, and which one its maker was at.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Made {
    /// When.
    pub ns: u64,
    /// The maker, if it was one.
    pub by: TaskId,
}

/// `_asyncio._set_running_loop(module, loop)`: the thread runs the loop from now on, or none where it is `None`.
#[uprobe]
pub fn task_loop(ctx: ProbeContext) -> u32 {
    keep_stack(&ctx);
    let pid_tgid = bpf_get_current_pid_tgid();
    let tgid = (pid_tgid >> 32) as u32;
    let (module, running) = (ctx.arg::<u64>(0).unwrap_or(0), ctx.arg::<u64>(1).unwrap_or(0));
    if seen(tgid) && running != 0 {
        let _ = LOOPS.insert(pid_tgid, running, 0);
        // SAFETY: the value is not looked at.
        if unsafe { PYTHONS.get(tgid) }.is_none() {
            ask(pid_tgid, module);
        }
    }
    0
}

/// `_asyncio.Task.__init__(self, ...)`: the task that the thread is at makes another one.
#[uprobe]
pub fn task_made(ctx: ProbeContext) -> u32 {
    keep_stack(&ctx);
    let pid_tgid = bpf_get_current_pid_tgid();
    if seen((pid_tgid >> 32) as u32) {
        task_make(pid_tgid, ctx.arg::<u64>(0).unwrap_or(0));
    }
    0
}

/// See [`task_made`]. Global: it has a stack of its own.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn task_make(pid_tgid: u64, task: u64) -> u32 {
    let tgid = (pid_tgid >> 32) as u32;
    // SAFETY: the values are copied at once.
    let (python, running) = unsafe { (PYTHONS.get(tgid).copied(), LOOPS.get(pid_tgid).is_some()) };
    if python == Some(loops::NONE) {
        return 0;
    }
    if python.is_none() || !running {
        ask(pid_tgid, task);
    }
    let address = task_running(pid_tgid);
    let by = TaskId { address, made_ns: made_ns(tgid, address) };
    // SAFETY: a helper without pointers.
    let ns = unsafe { bpf_ktime_get_boot_ns() };
    let _ = TASKS.insert(TaskKey::new(tgid, task), Made { ns, by }, 0);
    0
}

/// When a task was made; 0 where that is not known.
#[inline(always)]
fn made_ns(tgid: u32, address: u64) -> u64 {
    // SAFETY: the value is copied at once.
    unsafe { TASKS.get(TaskKey::new(tgid, address)) }.map_or(0, |made| made.ns)
}

/// The task that made a task; zeros where that is not known, or was none.
#[inline(always)]
fn maker(tgid: u32, task: TaskId) -> TaskId {
    // SAFETY: the value is copied at once.
    match unsafe { TASKS.get(TaskKey::new(tgid, task.address)) } {
        // Else this is of another task, made since at the same address.
        Some(made) if made.ns == task.made_ns => made.by,
        _ => TaskId { address: 0, made_ns: 0 },
    }
}

/// Asks the agent to look where the process keeps its tasks, by a task or the module.
#[inline(always)]
fn ask(pid_tgid: u64, object: u64) {
    // SAFETY: a helper without pointers; the value is copied at once.
    let (time_ns, last_ns) = unsafe { (bpf_ktime_get_boot_ns(), ASKED.get(pid_tgid).copied()) };
    if last_ns.is_some_and(|last_ns| time_ns.wrapping_sub(last_ns) < ASK_NS) {
        return;
    }
    let _ = ASKED.insert(pid_tgid, time_ns, 0);
    let (tgid, thread) = ((pid_tgid >> 32) as u32, pid_tgid as u32);
    let head = EventHead { time_ns, conn: 0, seq: 0, tgid, tid: thread, kind: kind::LOOP, _pad: 0 };
    let event = LoopEvent { head, object };
    // SAFETY: a local of that size.
    unsafe { send(SHARED, pid_tgid >> 32, core::ptr::from_ref(&event).cast(), size_of::<LoopEvent>(), true) };
}

/// Address of the task that the current thread is at, or 0. Global: the verifier checks it once per program.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn task_running(pid_tgid: u64) -> u64 {
    let tgid = (pid_tgid >> 32) as u32;
    // SAFETY: the values are copied at once.
    let Some(dict) = (unsafe { PYTHONS.get(tgid) }).copied() else { return 0 };
    // SAFETY: as above.
    let Some(own) = (unsafe { LOOPS.get(pid_tgid) }).copied() else { return 0 };
    if dict == loops::NONE {
        return 0;
    }
    // SAFETY: integers.
    let Some([used, _, keys]) = (unsafe { user::read::<[u64; 3]>(dict + DICT_USED) }) else { return 0 };
    // Which of several is this thread's, only its loop tells.
    if used == 0 || used > USED_MAX || own == loops::ANY && used != 1 {
        return 0;
    }
    // SAFETY: integers.
    let Some([_, shape, _, usable, old]) = (unsafe { user::read::<[u64; 5]>(keys) }) else { return 0 };
    // Up to Python 3.10: dk_refcnt, dk_size, dk_lookup, dk_usable, dk_nentries, the indices. Then: dk_refcnt, a byte each for
    // the logarithms of size and index bytes and the kind, dk_version, dk_usable, dk_nentries, the indices.
    let (entries, count) = if shape & shape.wrapping_sub(1) == 0 {
        if shape > SMALL {
            return 0;
        }
        (keys + 40 + shape, old)
    } else {
        let (size, indices, kind) = (shape & 0xff, shape >> 8 & 0xff, shape >> 16 & 0xff);
        if size != indices || size > 7 || kind != 0 {
            return 0;
        }
        (keys + 32 + (1 << (indices & 7)), usable)
    };
    if count > SMALL {
        return 0;
    }
    let mut n = 0;
    while n < ENTRIES {
        if n >= count {
            return 0;
        }
        // SAFETY: integers.
        let entry = unsafe { user::read::<[u64; 3]>(entries + (count - 1 - n) * ENTRY) };
        let Some([_, key, task]) = entry else { return 0 };
        if task != 0 && (own == loops::ANY || own == key) {
            // SAFETY: an integer.
            if unsafe { user::read::<u64>(task + TASK_LOOP) } != Some(key) {
                return 0;
            }
            if own == loops::ANY {
                // From now on it is known which.
                let _ = LOOPS.insert(pid_tgid, key, 0);
            }
            return task;
        }
        n += 1;
    }
    0
}

/// Tells that this task sends the first of a message on a connection, who made it, and so on. `start_ns`: when the call was
/// entered, by which the agent knows the message. `slot`: the cell that the caller has taken, where the event is made. Global: it has a
/// stack of its own.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn task_sends(slot: u32, pid_tgid: u64, key: u64, start_ns: u64, address: u64) -> u32 {
    let Some(Scratch { task: event, .. }) = cell_at(slot) else { return 0 };
    let Some(conn) = conn::get(key) else { return 0 };
    let id = conn.id;
    let (tgid, thread) = ((pid_tgid >> 32) as u32, pid_tgid as u32);
    // SAFETY: a helper without pointers.
    let time_ns = unsafe { bpf_ktime_get_boot_ns() };
    event.head = EventHead { time_ns, conn: id, seq: 0, tgid, tid: thread, kind: kind::TASK, _pad: 0 };
    event.start_ns = start_ns;
    event.tasks[0] = TaskId { address, made_ns: made_ns(tgid, address) };
    event.tasks[1] = maker(tgid, event.tasks[0]);
    event.tasks[2] = maker(tgid, event.tasks[1]);
    event.tasks[3] = maker(tgid, event.tasks[2]);
    // SAFETY: a part of a map value, of that size.
    unsafe { send(SHARED, shard(id), core::ptr::from_ref(event).cast(), size_of::<TaskEvent>(), false) };
    0
}

/// The current thread's process runs another program, or ends: where it kept its tasks says nothing any more.
#[inline(always)]
pub fn forget(tgid: u32) {
    let _ = PYTHONS.remove(tgid);
}
