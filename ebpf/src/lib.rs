//! The ABI between the BPF programs and the agent, written once: every event, map key, map value and constant that
//! both sides use.
//!
//! Rules: `#[repr(C)]`, 8-byte aligned, explicit padding, the size asserted; no `bool`, no `usize`, no pointers. Stamps
//! are nanoseconds of the boot-time clock (`bpf_ktime_get_boot_ns`). Addresses are IPv6 or IPv4-mapped IPv6, in network
//! order; ports are in host order.
#![no_std]
#![forbid(unsafe_code)]

pub mod counter;
mod event;
pub mod id;
pub mod option;

pub use event::*;

/// Raised with every change of a layout or of a meaning in this library; a recording carries it.
pub const ABI_VERSION: u32 = 8;

/// Ring buffers that events are spread over by connection; a power of two.
pub const RING_SHARDS: u32 = 4;
/// Cells per CPU that programs work in; see `scratch` of the programs.
pub const SCRATCH_CELLS: u32 = 6;
/// Bytes that one [`DataEvent`] copies at most; a power of two.
pub const COPY_MAX: usize = 4096;
/// Bytes of one message head that are copied at most; a longer head is reported as truncated.
pub const HEAD_MAX: u32 = 65_536;
/// Bytes of a direction's first record of TLS that are copied at most. Hellos with the key shares of ML-KEM, which may come
/// before a server's name, have some 1,800.
pub const HELLO_MAX: usize = 2048;
/// Segments of an iovec that are looked at in one call: as many as the kernel takes (`UIO_MAXIOV`).
pub const IOV_MAX: u32 = 1024;
/// Messages of one `recvmmsg`/`sendmmsg` call that are looked at.
pub const MMSG_MAX: u32 = 4;
/// `TASK_COMM_LEN` of the kernel.
pub const COMM_LEN: usize = 16;
/// Bytes of an executable's file name or of a Unix socket's path that an event carries.
pub const PATH_LEN: usize = 108;

/// System calls that the family `syscall` looks at. Where one hook is called for all system calls, a map made by the
/// agent tells which of these a number of the running architecture is.
pub mod syscall {
    /// None of these.
    pub const NONE: u8 = 0;
    /// `read`
    pub const READ: u8 = 1;
    /// `readv`
    pub const READV: u8 = 2;
    /// `recvfrom`
    pub const RECVFROM: u8 = 3;
    /// `recvmsg`
    pub const RECVMSG: u8 = 4;
    /// `recvmmsg`
    pub const RECVMMSG: u8 = 5;
    /// `write`
    pub const WRITE: u8 = 6;
    /// `writev`
    pub const WRITEV: u8 = 7;
    /// `sendto`
    pub const SENDTO: u8 = 8;
    /// `sendmsg`
    pub const SENDMSG: u8 = 9;
    /// `sendmmsg`
    pub const SENDMMSG: u8 = 10;
    /// `sendfile`
    pub const SENDFILE: u8 = 11;
    /// `splice`
    pub const SPLICE: u8 = 12;
    /// `connect`
    pub const CONNECT: u8 = 13;
    /// `accept` and `accept4`
    pub const ACCEPT: u8 = 14;
    /// `dup`
    pub const DUP: u8 = 15;
    /// `dup2` and `dup3`
    pub const DUP2: u8 = 16;
    /// `fcntl`
    pub const FCNTL: u8 = 17;
    /// `shutdown`
    pub const SHUTDOWN: u8 = 18;
    /// `close`
    pub const CLOSE: u8 = 19;
    /// `close_range`
    pub const CLOSE_RANGE: u8 = 20;
    /// `io_uring_setup`
    pub const IO_URING_SETUP: u8 = 21;
    /// `setsockopt`
    pub const SETSOCKOPT: u8 = 22;
    /// Numbers of system calls are below this.
    pub const NUMBERS: u32 = 512;
}

/// Values that stand for no address, in the maps of what asyncio runs.
pub mod loops {
    /// For a process: it can't be found out where it keeps its tasks.
    pub const NONE: u64 = 0;
    /// For a thread: it runs the only loop of its process.
    pub const ANY: u64 = 1;
}

/// Where the threads of a process publish their context: a thread-local pointer to a record.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ThreadSlot {
    /// Bytes from the thread pointer, modulo 2^64; or within the module's block.
    pub offset: u64,
    /// The module that has the variable, by which its block is found in the thread's table of blocks; 0: the offset is from the thread
    /// pointer.
    pub module: u64,
    /// Bytes of an entry of that table: 16 in glibc, 8 in musl.
    pub entry: u64,
}
const _: () = assert!(size_of::<ThreadSlot>() == 24);
/// Processes whose threads' contexts are read, at most.
pub const THREAD_SLOTS_MAX: u32 = 4096;

/// Key of the descriptor table.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct FdKey {
    /// Process.
    pub tgid: u32,
    /// Descriptor.
    pub fd: i32,
}

/// What the kernel side decided about a process.
pub mod verdict {
    /// Not decided yet.
    pub const NONE: u32 = 0;
    /// Its calls are seen.
    pub const INCLUDE: u32 = 1;
    /// Its calls are ignored.
    pub const EXCLUDE: u32 = 2;
}

/// Bits of [`FilterConfig::active`]: the dimensions that have rules. A process is seen when it matches one rule of each
/// dimension that has include rules, and no exclude rule.
pub mod dimension {
    /// Process ids, with their descendants.
    pub const PID: u32 = 1;
    /// Command names.
    pub const COMM: u32 = 2;
    /// Cgroups, with those below.
    pub const CGROUP: u32 = 4;
    /// Ports, local or remote.
    pub const PORT: u32 = 8;
}

/// Bits of a rule's value in the filter maps.
pub mod rule {
    /// Include.
    pub const INCLUDE: u8 = 1;
    /// Exclude.
    pub const EXCLUDE: u8 = 2;
    /// For ports: applies to the local port.
    pub const LOCAL: u8 = 4;
    /// For ports: applies to the peer's port.
    pub const PEER: u8 = 8;
}

/// How many cgroup rules there may be.
pub const CGROUP_RULES_MAX: u32 = 64;

/// The filters' head: which dimensions have rules. The rules are in maps of their own.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FilterConfig {
    /// Raised with every change: verdicts of an older generation are decided anew.
    pub generation: u32,
    /// Bits of [`dimension`] that have include rules.
    pub include: u32,
    /// Bits of [`dimension`] that have exclude rules.
    pub exclude: u32,
    /// Process id of the agent: never seen.
    pub agent: u32,
    /// How many cgroup rules there are.
    pub cgroups: u32,
    /// 0 while the rules are not (or not all) set: nothing is seen.
    pub open: u32,
}
const _: () = assert!(size_of::<FilterConfig>() == 24);

/// Value of a [`Layout`] field for what the running kernel does not have.
pub const ABSENT: u32 = u32::MAX;

/// Where the programs of the `socket` family find things in the running kernel, by its BTF: offsets in bytes, but for
/// those that say otherwise. [`ABSENT`] for what it does not have.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    /// `sock.__sk_common.skc_family` (16 bits)
    pub sock_family: u32,
    /// `sock.__sk_common.skc_num` (16 bits, host order)
    pub sock_local_port: u32,
    /// `sock.__sk_common.skc_dport` (16 bits, network order)
    pub sock_peer_port: u32,
    /// `sock.__sk_common.skc_rcv_saddr` (4 bytes)
    pub sock_local: u32,
    /// `sock.__sk_common.skc_daddr` (4 bytes)
    pub sock_peer: u32,
    /// `sock.__sk_common.skc_v6_rcv_saddr` (16 bytes)
    pub sock_local6: u32,
    /// `sock.__sk_common.skc_v6_daddr` (16 bytes)
    pub sock_peer6: u32,
    /// `sock.__sk_common.skc_cookie` (64 bits, 0 until somebody asked for it)
    pub sock_cookie: u32,
    /// `sock.__sk_common.skc_net.net` (pointer)
    pub sock_net: u32,
    /// `net.ns.inum` (32 bits)
    pub net_inum: u32,
    /// `sock.sk_protocol` (8 bits before 5.6, 16 bits since)
    pub sock_protocol: u32,
    /// `sock.sk_err` (32 bits)
    pub sock_err: u32,
    /// `socket.sk` (pointer)
    pub socket_sk: u32,
    /// `unix_sock.peer` (pointer)
    pub unix_peer: u32,
    /// `tcp_sock.srtt_us` (32 bits, in eighths of a microsecond)
    pub tcp_srtt: u32,
    /// `tcp_sock.rtt_min.s[0].v` (32 bits, in microseconds)
    pub tcp_min_rtt: u32,
    /// `tcp_sock.total_retrans` (32 bits)
    pub tcp_retransmits: u32,
    /// `tcp_sock.snd_una` (32 bits)
    pub tcp_unacknowledged: u32,
    /// `tcp_sock.bytes_acked` (64 bits)
    pub tcp_acknowledged: u32,
    /// `tcp_sock.rcv_nxt` (32 bits)
    pub tcp_expected: u32,
    /// `tcp_sock.bytes_received` (64 bits)
    pub tcp_received: u32,
    /// `tcp_sock.copied_seq` (32 bits)
    pub tcp_copied: u32,
    /// `tcp_sock.write_seq` (32 bits)
    pub tcp_written: u32,
    /// `msghdr.msg_iter`
    pub msg_iter: u32,
    /// `iov_iter.iter_type` (8 bits), or before 5.14 `iov_iter.type` (32 bits, the lowest of which is not of the kind)
    pub iter_kind: u32,
    /// Size of `iter_kind` in bytes.
    pub iter_kind_size: u32,
    /// `iov_iter.iov_offset` (64 bits)
    pub iter_offset: u32,
    /// `iov_iter.count` (64 bits)
    pub iter_count: u32,
    /// `iov_iter.__iov`, or before 6.4 `iov_iter.iov` (pointer)
    pub iter_vector: u32,
    /// `iov_iter.ubuf` (pointer)
    pub iter_buffer: u32,
    /// Value of `ITER_IOVEC`.
    pub kind_vector: u32,
    /// Value of `ITER_UBUF`.
    pub kind_buffer: u32,
    /// Which argument of `tcp_recvmsg` is `flags`.
    pub recv_flags: u32,
    /// How many arguments `tcp_recvmsg` has.
    pub recv_arguments: u32,
    /// How many arguments `inet_csk_accept` has.
    pub accept_arguments: u32,
    /// How many arguments `unix_accept` has.
    pub unix_accept_arguments: u32,
    /// `task_struct.flags` (32 bits)
    pub task_flags: u32,
    /// `msghdr.msg_control` (pointer)
    pub msg_control: u32,
    /// `msghdr.msg_controllen` (64 bits)
    pub msg_controllen: u32,
    /// `task_struct.files` (pointer)
    pub task_files: u32,
    /// `files_struct.fdt` (pointer)
    pub files_table: u32,
    /// `fdtable.max_fds` (32 bits)
    pub table_size: u32,
    /// `fdtable.fd` (pointer to an array of pointers)
    pub table_files: u32,
    /// `file.private_data` (pointer)
    pub file_private: u32,
    /// `socket.file` (pointer)
    pub socket_file: u32,
    /// Explicit padding.
    pub _pad: u32,
}
const _: () = assert!(size_of::<Layout>() == 184);
