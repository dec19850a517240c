//! netspan's BPF programs. They filter by maps, copy bytes and stamp time; what bytes mean is decided by the agent.
//!
//! `syscall` is the family that reads no kernel memory; `socket` is the one that does, through `kernel` alone. `tls` sees
//! plaintext under TLS, beside either; `task` which asynchronous task sends; `thread` reads what threads publish; `sockops` and `context`
//! tell other hosts whose requests they get. Everything else here is shared by the families: `maps`, `filter` (whose calls are seen), `conn`
//! (the connection table), `walk`
//! (which bytes are copied), `user` (reads of user memory), `scratch` (what they work on) and `emit` (rings and counters).
#![cfg_attr(target_arch = "bpf", no_std, no_main, feature(asm_experimental_arch))]
#![cfg_attr(
    target_arch = "bpf",
    expect(clippy::inline_always, reason = "a call between programs' functions costs the verifier its bounds"),
    expect(clippy::needless_pass_by_value, reason = "the macros of the programs ask for their context by value"),
    expect(clippy::cast_ptr_alignment, reason = "the records of the kernel are aligned, though known as bytes"),
    expect(clippy::cast_sign_loss, reason = "results are counts of bytes where they are used as such")
)]

#[cfg(target_arch = "bpf")]
mod conn;
#[cfg(target_arch = "bpf")]
mod context;
#[cfg(target_arch = "bpf")]
mod emit;
#[cfg(target_arch = "bpf")]
mod filter;
#[cfg(target_arch = "bpf")]
mod kernel;
#[cfg(target_arch = "bpf")]
mod maps;
#[cfg(target_arch = "bpf")]
mod scratch;
#[cfg(target_arch = "bpf")]
mod socket;
#[cfg(target_arch = "bpf")]
mod sockops;
#[cfg(target_arch = "bpf")]
mod syscall;
#[cfg(target_arch = "bpf")]
mod task;
#[cfg(target_arch = "bpf")]
mod thread;
#[cfg(target_arch = "bpf")]
mod tls;
#[cfg(target_arch = "bpf")]
mod user;
#[cfg(target_arch = "bpf")]
mod walk;

/// Helpers such as `bpf_ktime_get_boot_ns` are for programs under a GPL-compatible licence only.
#[cfg(target_arch = "bpf")]
#[unsafe(no_mangle)]
#[unsafe(link_section = "license")]
pub static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[cfg(target_arch = "bpf")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    // SAFETY: no code here can panic: the verifier would refuse a program that reaches this.
    unsafe { core::hint::unreachable_unchecked() }
}

#[cfg(not(target_arch = "bpf"))]
fn main() {}
