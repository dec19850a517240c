//! Processes: forks (descriptors and rules are inherited), programs, ends.

use aya_ebpf::{
    EbpfContext,
    helpers::{bpf_get_current_cgroup_id, bpf_get_current_comm, bpf_ktime_get_boot_ns},
    macros::tracepoint,
    programs::TracePointContext,
};
use netspan_ebpf::{COMM_LEN, EventHead, PATH_LEN, ProcessEvent, ThreadEvent, counter, kind, verdict};

use super::current;
use crate::{
    emit::{SHARED, count, send},
    filter::seen,
    maps::{PROCESSES, Process, THREAD_SLOTS, THREADS},
    task,
};

/// Tells of the current process. A new program's path is in the tail of the tracepoint's record, which can't be read
/// without kernel reads: the agent, woken at once, reads it from procfs; the command name serves where it is too late.
#[inline(always)]
pub fn tell(kind: u16, pid_tgid: u64) {
    // SAFETY: helpers without pointers.
    let (now, cgroup) = unsafe { (bpf_ktime_get_boot_ns(), bpf_get_current_cgroup_id()) };
    let event = ProcessEvent {
        head: EventHead {
            time_ns: now,
            conn: 0,
            seq: 0,
            tgid: (pid_tgid >> 32) as u32,
            tid: pid_tgid as u32,
            kind,
            _pad: 0,
        },
        cgroup,
        comm: bpf_get_current_comm().unwrap_or([0; COMM_LEN]),
        path: [0; PATH_LEN],
        _pad: [0; 4],
    };
    // SAFETY: a local of that size.
    unsafe {
        send(SHARED, pid_tgid >> 32, core::ptr::from_ref(&event).cast(), size_of::<ProcessEvent>(), kind != kind::EXIT);
    };
}

/// `task:task_newtask`, in the thread that forks: descriptors and rules are inherited by a new process. Of a new thread it is told who
/// made it.
#[tracepoint]
pub fn task_newtask(ctx: TracePointContext) -> u32 {
    const CLONE_THREAD: u64 = 0x1_0000;
    // SAFETY: the record's format has `pid` and `clone_flags` there.
    let (child, flags) = unsafe {
        let record = ctx.as_ptr().cast::<u8>();
        (record.add(8).cast::<u32>().read_volatile(), record.add(32).cast::<u64>().read_volatile())
    };
    let (pid_tgid, tgid) = current();
    // SAFETY: a helper without pointers.
    let now = unsafe { bpf_ktime_get_boot_ns() };
    if flags & CLONE_THREAD != 0 {
        if seen(tgid) {
            let thread = pid_tgid as u32;
            let head = EventHead { time_ns: now, conn: 0, seq: 0, tgid, tid: thread, kind: kind::THREAD, _pad: 0 };
            let event = ThreadEvent { head, made: child, pad: 0 };
            // SAFETY: a local of that size.
            unsafe {
                let data = core::ptr::from_ref(&event).cast();
                send(SHARED, u64::from(tgid), data, size_of::<ThreadEvent>(), false);
            }
        }
        return 0;
    }
    let mut heir_of = 0;
    if let Some(process) = PROCESSES.get_ptr_mut(tgid) {
        // SAFETY: a map value.
        unsafe {
            (*process).forked = 1;
            if (*process).tied != 0 || (*process).heir_of != 0 {
                heir_of = tgid;
            }
        }
    }
    let verdict = verdict::NONE;
    let process = Process { since_ns: now, parent: tgid, heir_of, verdict, generation: 0, forked: 0, tied: 0 };
    if PROCESSES.insert(child, process, 0).is_err() {
        count(counter::PROCESS_FULL, 1);
    }
    0
}

/// `sched:sched_process_exec`, in the thread that executes, which is the process's leader from now on.
#[tracepoint]
pub fn sched_process_exec(_ctx: TracePointContext) -> u32 {
    let (pid_tgid, tgid) = current();
    let _ = THREADS.remove(pid_tgid);
    let _ = THREAD_SLOTS.remove(tgid);
    task::forget(tgid);
    if let Some(process) = PROCESSES.get_ptr_mut(tgid) {
        // SAFETY: a map value.
        unsafe { (*process).verdict = verdict::NONE };
    }
    let is_seen = seen(tgid);
    if let Some(process) = PROCESSES.get_ptr_mut(tgid) {
        // SAFETY: a map value; a helper without pointers.
        unsafe {
            // Descriptors that are closed at `exec` close without a call: nothing is inherited any more.
            (*process).parent = 0;
            (*process).heir_of = 0;
            (*process).forked = 0;
            (*process).since_ns = bpf_ktime_get_boot_ns();
        }
    }
    if is_seen {
        tell(kind::EXEC, pid_tgid);
    }
    0
}

/// `sched:sched_process_exit`, in each thread that ends.
#[tracepoint]
pub fn sched_process_exit(_ctx: TracePointContext) -> u32 {
    let (pid_tgid, tgid) = current();
    let _ = THREADS.remove(pid_tgid);
    if pid_tgid as u32 == tgid {
        if seen(tgid) {
            tell(kind::EXIT, pid_tgid);
        }
        let _ = PROCESSES.remove(tgid);
        let _ = THREAD_SLOTS.remove(tgid);
        task::forget(tgid);
    }
    0
}
