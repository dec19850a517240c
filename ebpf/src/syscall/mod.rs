//! The family `syscall`: tracepoints of system calls and of socket states. It reads user memory and the tracepoints' own
//! records, and no kernel memory: it works under lockdown in confidentiality mode, without BTF and without kprobes.
//!
//! `enter` notes what a thread's call is about; `exit` acts on what it returned; `socket` ties descriptors to sockets;
//! `process` follows forks, programs and ends. Two kinds of hooks call `enter` and `exit`, and one of them runs: `raw`,
//! two hooks for all system calls, and `tracepoint`, two for each that matters, which costs more at each call.

mod enter;
mod exit;
mod process;
mod raw;
mod socket;
mod tracepoint;

use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use netspan_ebpf::{FdKey, counter};

use crate::{
    conn::{self, Conn},
    emit::count,
    filter::seen,
    maps::{FDS, FILTER, FdEntry, PROCESSES, THREADS, fd},
};

/// What a call does.
pub mod op {
    /// None of ours.
    pub const NONE: u8 = 0;
    /// Receives into one buffer.
    pub const READ: u8 = 1;
    /// Receives into an iovec.
    pub const READV: u8 = 2;
    /// Receives by `struct msghdr`.
    pub const RECVMSG: u8 = 3;
    /// Receives by an array of `struct mmsghdr`.
    pub const RECVMMSG: u8 = 4;
    /// Sends from one buffer.
    pub const WRITE: u8 = 5;
    /// Sends from an iovec.
    pub const WRITEV: u8 = 6;
    /// Sends by `struct msghdr`.
    pub const SENDMSG: u8 = 7;
    /// Sends by an array of `struct mmsghdr`.
    pub const SENDMMSG: u8 = 8;
    /// Sends from a file.
    pub const SENDFILE: u8 = 9;
    /// Moves between a pipe and perhaps a socket at either end.
    pub const SPLICE: u8 = 10;
    /// Connects.
    pub const CONNECT: u8 = 11;
    /// Accepts.
    pub const ACCEPT: u8 = 12;
    /// Makes another descriptor for the same file.
    pub const DUP: u8 = 13;
    /// Hands a key of TLS to the kernel.
    pub const TLS_KEY: u8 = 14;
}

/// Bits of [`Thread::flags`].
pub mod how {
    /// The call is for sockets only.
    pub const SOCKET: u8 = 1;
    /// The bytes are dropped, not put into the buffer (`MSG_TRUNC` on TCP).
    pub const NOWHERE: u8 = 2;
}

/// A thread whose calls are seen, and the call that it is in.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Thread {
    /// When the call was entered.
    pub start_ns: u64,
    /// Buffer, iovec, message head or socket address, by `op`.
    pub address: u64,
    /// Key of the connection, or 0.
    pub key: u64,
    /// Socket of the connection, or 0 where not known.
    pub sock: u64,
    /// Descriptor.
    pub fd: i32,
    /// How many segments or messages; for `SPLICE` 1 where `fd` is the end that is read; for `TLS_KEY` the direction.
    pub count: u32,
    /// Generation of the filters by which the thread is seen.
    pub generation: u32,
    /// One of [`op`]; `NONE` while the thread is in no call of ours.
    pub op: u8,
    /// Bits of [`how`].
    pub flags: u8,
    /// Explicit padding.
    pub pad: u16,
}

/// The arguments of a system call.
trait Arguments {
    /// Argument `n`, below 6.
    fn get(&self, n: usize) -> u64;
}

/// The current thread.
#[inline(always)]
fn current() -> (u64, u32) {
    let pid_tgid = bpf_get_current_pid_tgid();
    (pid_tgid, (pid_tgid >> 32) as u32)
}

/// The current thread, if its calls are seen.
#[inline(always)]
fn thread(pid_tgid: u64) -> Option<&'static mut Thread> {
    let generation = FILTER.get(0)?.generation;
    if let Some(thread) = THREADS.get_ptr_mut(pid_tgid) {
        // SAFETY: a map value that only this thread's calls use.
        let thread = unsafe { &mut *thread };
        if thread.generation == generation {
            return Some(thread);
        }
    }
    new_thread(pid_tgid, generation)
}

/// Enters the current thread, or strikes it out if it is not seen any more.
#[inline(always)]
fn new_thread(pid_tgid: u64, generation: u32) -> Option<&'static mut Thread> {
    if !seen((pid_tgid >> 32) as u32) {
        return None;
    }
    let thread = Thread {
        start_ns: 0,
        address: 0,
        key: 0,
        sock: 0,
        fd: -1,
        count: 0,
        generation,
        op: op::NONE,
        flags: 0,
        pad: 0,
    };
    if THREADS.insert(pid_tgid, thread, 0).is_err() {
        count(counter::CALL_FULL, 1);
        return None;
    }
    // SAFETY: a map value that only this thread's calls use.
    THREADS.get_ptr_mut(pid_tgid).map(|thread| unsafe { &mut *thread })
}

/// The call of the current thread that returns now, if it was noted.
#[inline(always)]
fn call(pid_tgid: u64) -> Option<&'static mut Thread> {
    // SAFETY: a map value that only this thread's calls use.
    let thread = unsafe { &mut *THREADS.get_ptr_mut(pid_tgid)? };
    if thread.op == op::NONE { None } else { Some(thread) }
}

/// What a descriptor stands for, as an entry whose key may be one of [`fd`]. A process that was forked has its parent's
/// descriptors until it executes another program.
#[inline(always)]
fn lookup(tgid: u32, fd: i32) -> Option<FdEntry> {
    // SAFETY: values are copied at once.
    unsafe {
        if let Some(&entry) = FDS.get(FdKey { tgid, fd }) {
            return Some(entry);
        }
        inherited(tgid, fd)
    }
}

/// The entry that a forked process has from its parent.
#[inline(always)]
fn inherited(tgid: u32, fd: i32) -> Option<FdEntry> {
    // SAFETY: values are copied at once.
    unsafe {
        let parent = PROCESSES.get(tgid)?.heir_of;
        if parent == 0 {
            return None;
        }
        let entry = *FDS.get(FdKey { tgid: parent, fd })?;
        let conn = conn::get(entry.key)?;
        conn.refs += 1;
        conn::tie(tgid, fd, entry.key, entry.sock);
        Some(entry)
    }
}

/// The connection that a descriptor stands for.
#[inline(always)]
fn connection(tgid: u32, fd: i32) -> Option<(u64, &'static mut Conn)> {
    let entry = lookup(tgid, fd)?;
    if entry.key <= fd::LAST {
        return None;
    }
    conn::get(entry.key).map(|conn| (entry.key, conn))
}
