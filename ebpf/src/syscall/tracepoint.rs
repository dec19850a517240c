//! Hooks on the tracepoints of single system calls, `syscalls:sys_enter_*` and `sys_exit_*`: they work everywhere.

use aya_ebpf::{EbpfContext, macros::tracepoint, programs::TracePointContext};
use netspan_ebpf::syscall;

use super::{Arguments, enter::enter, exit::leave};

impl Arguments for TracePointContext {
    #[inline(always)]
    fn get(&self, n: usize) -> u64 {
        // SAFETY: `struct syscall_trace_enter` has six arguments of eight bytes from offset 16.
        unsafe { self.as_ptr().cast::<u8>().add(16 + 8 * n).cast::<u64>().read_volatile() }
    }
}

/// The return of every system call whose entry is noted.
#[tracepoint]
pub fn sys_exit(ctx: TracePointContext) -> u32 {
    // SAFETY: `struct syscall_trace_exit` has the return value at offset 16.
    leave(unsafe { ctx.as_ptr().cast::<u8>().add(16).cast::<i64>().read_volatile() });
    0
}

/// Makes a program for the entry of each system call.
macro_rules! entries {
    ($($name:ident $which:ident)*) => {$(
        #[doc = concat!("The entry of [`syscall::", stringify!($which), "`].")]
        #[tracepoint]
        pub fn $name(ctx: TracePointContext) -> u32 {
            enter(syscall::$which, &ctx);
            0
        }
    )*};
}

entries! {
    enter_read READ
    enter_readv READV
    enter_recvfrom RECVFROM
    enter_recvmsg RECVMSG
    enter_recvmmsg RECVMMSG
    enter_write WRITE
    enter_writev WRITEV
    enter_sendto SENDTO
    enter_sendmsg SENDMSG
    enter_sendmmsg SENDMMSG
    enter_sendfile SENDFILE
    enter_splice SPLICE
    enter_connect CONNECT
    enter_accept ACCEPT
    enter_dup DUP
    enter_dup2 DUP2
    enter_fcntl FCNTL
    enter_shutdown SHUTDOWN
    enter_close CLOSE
    enter_close_range CLOSE_RANGE
    enter_io_uring_setup IO_URING_SETUP
    enter_setsockopt SETSOCKOPT
}
