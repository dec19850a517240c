//! Hooks on the raw tracepoints `sys_enter` and `sys_exit`, which all system calls pass. They cost a fraction of
//! single tracepoints, and need `bpf_task_pt_regs` (kernels from 5.15, with BTF): it gives the registers that user space
//! called with, as a pointer that the verifier checks by BTF. Kernels under lockdown allow it.
//!
//! A kernel that may take the CPU from a task in the middle of a raw tracepoint's program skips the program for whom it
//! gives the CPU to. There the same is attached by perf (`raw_syscalls:sys_enter` and `sys_exit`), which keeps the CPU and
//! costs a little more.
use aya_ebpf::{
    EbpfContext,
    helpers::generated::{bpf_get_current_task_btf, bpf_task_pt_regs},
    macros::{raw_tracepoint, tracepoint},
    programs::{RawTracePointContext, TracePointContext},
};
use netspan_ebpf::syscall;

use super::{Arguments, enter::enter, exit::leave};
use crate::maps::{REGISTERS, SYSCALLS, USER_CS, USER_CS_OFFSET, constant};

/// The registers that user space called with.
struct Registers(*const u8);

impl Arguments for Registers {
    #[inline(always)]
    fn get(&self, n: usize) -> u64 {
        // SAFETY: the offsets are those of the argument registers in the running kernel's `struct pt_regs`, which the
        // verifier checks.
        unsafe { self.0.add(constant(&REGISTERS)[n] as usize).cast::<u64>().read_volatile() }
    }
}

/// Whether the caller is a 64-bit program: the numbers of system calls mean something else to others.
#[inline(always)]
fn is_native(registers: &Registers) -> bool {
    let offset = constant(&USER_CS_OFFSET) as usize;
    // SAFETY: as in `get`.
    offset == 0 || unsafe { registers.0.add(offset).cast::<u16>().read_volatile() } == constant(&USER_CS)
}

/// The entry of the system call of that number.
#[inline(always)]
fn entered(number: u64) {
    let Some(&which) = SYSCALLS.get(number as u32) else { return };
    if which == syscall::NONE {
        return;
    }
    // SAFETY: helpers that return pointers which the verifier knows.
    let registers = unsafe { Registers(bpf_task_pt_regs(bpf_get_current_task_btf().cast()) as *const u8) };
    if is_native(&registers) {
        enter(which, &registers);
    }
}

/// The entry of every system call.
#[raw_tracepoint(tracepoint = "sys_enter")]
pub fn raw_sys_enter(ctx: RawTracePointContext) -> i32 {
    // SAFETY: the second argument of `sys_enter` is the number.
    entered(unsafe { ctx.as_ptr().cast::<u64>().add(1).read_volatile() });
    0
}

/// The return of every system call.
#[raw_tracepoint(tracepoint = "sys_exit")]
pub fn raw_sys_exit(ctx: RawTracePointContext) -> i32 {
    // SAFETY: the second argument of `sys_exit` is the return value.
    leave(unsafe { ctx.as_ptr().cast::<i64>().add(1).read_volatile() });
    0
}

/// The entry of every system call, by perf: see the module.
#[tracepoint]
pub fn perf_sys_enter(ctx: TracePointContext) -> u32 {
    // SAFETY: `struct trace_event_raw_sys_enter` has the number at offset 8.
    entered(unsafe { ctx.as_ptr().cast::<u64>().add(1).read_volatile() });
    0
}

/// The return of every system call, by perf: see the module.
#[tracepoint]
pub fn perf_sys_exit(ctx: TracePointContext) -> u32 {
    // SAFETY: `struct trace_event_raw_sys_exit` has the return value at offset 16.
    leave(unsafe { ctx.as_ptr().cast::<i64>().add(2).read_volatile() });
    0
}
