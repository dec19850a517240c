//! Hooks on the raw tracepoints `sys_enter` and `sys_exit`, which all system calls pass. They cost a fraction of
//! single tracepoints, and need `bpf_task_pt_regs` (kernels from 5.15, with BTF): it gives the registers that user space
//! called with, as a pointer that the verifier checks by BTF. Kernels under lockdown allow it.
//!
//! A kernel that may take the CPU from a task in the middle of a program skips the program for whom it gives the CPU to.
//! There each program is attached three times, under three names: the later ones do what the earlier were skipped for, and
//! nothing otherwise. What they do is short then, so that a task is rarely put off in the middle of them, too.

use aya_ebpf::{
    EbpfContext,
    helpers::generated::{bpf_get_current_task_btf, bpf_task_pt_regs},
    macros::raw_tracepoint,
    programs::RawTracePointContext,
};
use netspan_ebpf::syscall;

use super::{Arguments, call, current, enter::enter, exit::leave};
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

/// The entry of a system call.
#[inline(always)]
fn entered(ctx: &RawTracePointContext) -> i32 {
    // SAFETY: the second argument of `sys_enter` is the number.
    let number = unsafe { ctx.as_ptr().cast::<u64>().add(1).read_volatile() };
    let Some(&which) = SYSCALLS.get(number as u32) else { return 0 };
    if which == syscall::NONE {
        return 0;
    }
    // SAFETY: helpers that return pointers which the verifier knows.
    let registers = unsafe { Registers(bpf_task_pt_regs(bpf_get_current_task_btf().cast()) as *const u8) };
    if is_native(&registers) {
        enter(which, &registers);
    }
    0
}

/// The same, where another program may have noted the call already. Noting it twice would be noting it once, but takes
/// longer.
#[inline(always)]
fn entered_again(ctx: &RawTracePointContext) -> i32 {
    if let Some(call) = call(current().0) {
        // SAFETY: helpers that return pointers which the verifier knows.
        let registers = unsafe { Registers(bpf_task_pt_regs(bpf_get_current_task_btf().cast()) as *const u8) };
        if call.fd == registers.get(0) as i32 && call.address == registers.get(1) {
            return 0;
        }
    }
    entered(ctx)
}

/// The return of a system call.
#[inline(always)]
fn returned(ctx: &RawTracePointContext) -> i32 {
    // SAFETY: the second argument of `sys_exit` is the return value.
    leave(unsafe { ctx.as_ptr().cast::<i64>().add(1).read_volatile() });
    0
}

/// The entry of every system call.
#[raw_tracepoint(tracepoint = "sys_enter")]
pub fn raw_sys_enter(ctx: RawTracePointContext) -> i32 {
    entered(&ctx)
}

/// The return of every system call.
#[raw_tracepoint(tracepoint = "sys_exit")]
pub fn raw_sys_exit(ctx: RawTracePointContext) -> i32 {
    returned(&ctx)
}

/// [`raw_sys_enter`] once more.
#[raw_tracepoint(tracepoint = "sys_enter")]
pub fn raw_sys_enter_again(ctx: RawTracePointContext) -> i32 {
    entered_again(&ctx)
}

/// [`raw_sys_exit`] once more.
#[raw_tracepoint(tracepoint = "sys_exit")]
pub fn raw_sys_exit_again(ctx: RawTracePointContext) -> i32 {
    returned(&ctx)
}

/// [`raw_sys_enter`] for the third time.
#[raw_tracepoint(tracepoint = "sys_enter")]
pub fn raw_sys_enter_third(ctx: RawTracePointContext) -> i32 {
    entered_again(&ctx)
}

/// [`raw_sys_exit`] for the third time.
#[raw_tracepoint(tracepoint = "sys_exit")]
pub fn raw_sys_exit_third(ctx: RawTracePointContext) -> i32 {
    returned(&ctx)
}
