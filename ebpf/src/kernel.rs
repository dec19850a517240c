//! The one module that reads kernel memory. Where things lie comes from the running kernel's BTF as constants (see
//! [`netspan_ebpf::Layout`]); nothing here knows a kernel's version.

use core::mem::MaybeUninit;

use aya_ebpf::helpers::generated::{bpf_get_current_task, bpf_probe_read_kernel};
use netspan_ebpf::{ABSENT, counter, family, known};

use crate::{
    conn::Conn,
    emit::count,
    maps::{LAYOUT, constant},
    walk::Source,
};

const AF_INET6: u16 = 10;
/// `PF_EXITING` of the kernel: the task is on its way out.
const PF_EXITING: u32 = 4;
/// `PF_IO_WORKER` of the kernel.
const PF_IO_WORKER: u32 = 0x10;

/// Reads a value.
#[inline(always)]
pub fn read<T: Copy>(address: u64) -> Option<T> {
    let mut value = MaybeUninit::<T>::uninit();
    // SAFETY: a read into a local of that size, which may fail; all bit patterns of what is read here are valid.
    unsafe {
        if bpf_probe_read_kernel(value.as_mut_ptr().cast(), size_of::<T>() as u32, address as *const _) != 0 {
            count(counter::KERNEL_FAULT, 1);
            return None;
        }
        Some(value.assume_init())
    }
}

/// Reads a member of a structure; nothing where the running kernel does not have it.
#[inline(always)]
fn member<T: Copy>(structure: u64, offset: &'static u32) -> Option<T> {
    let offset = constant(offset);
    if offset == ABSENT { None } else { read(structure + u64::from(offset)) }
}

/// `socket.sk`
#[inline(always)]
pub fn sock_of(socket: u64) -> u64 {
    member(socket, &LAYOUT.socket_sk).unwrap_or(0)
}

/// The socket that a descriptor of the current process stands for. Nothing where it stands for none, or where the running
/// kernel does not have all that leads there.
///
/// A program runs within an RCU read-side section, which keeps the table of descriptors and the file alive; the caller
/// answers for the descriptor's being open. What a file's `private_data` points to depends on the file's kind: only a socket
/// points back to its file.
#[inline(always)]
pub fn sock_of_descriptor(fd: u32) -> Option<u64> {
    // SAFETY: a helper without pointers.
    let task = unsafe { bpf_get_current_task() };
    let files = member::<u64>(task, &LAYOUT.task_files)?;
    let table = member::<u64>(files, &LAYOUT.files_table)?;
    if fd >= member::<u32>(table, &LAYOUT.table_size)? {
        return None;
    }
    let entries = member::<u64>(table, &LAYOUT.table_files)?;
    let file = read::<u64>(entries + u64::from(fd) * size_of::<u64>() as u64)?;
    if file == 0 {
        return None;
    }
    let socket = member::<u64>(file, &LAYOUT.file_private)?;
    if socket == 0 || member::<u64>(socket, &LAYOUT.socket_file)? != file {
        return None;
    }
    member(socket, &LAYOUT.socket_sk)
}

/// `unix_sock.peer`
#[inline(always)]
pub fn unix_peer(sock: u64) -> u64 {
    member(sock, &LAYOUT.unix_peer).unwrap_or(0)
}

/// `sock.sk_protocol`
#[inline(always)]
pub fn protocol(sock: u64) -> u8 {
    member(sock, &LAYOUT.sock_protocol).unwrap_or(0)
}

/// `sock.sk_err`, a positive `errno` or 0.
#[inline(always)]
pub fn error(sock: u64) -> i32 {
    member(sock, &LAYOUT.sock_err).unwrap_or(0)
}

/// Inode number of a socket's network namespace, or 0.
#[inline(always)]
pub fn netns(sock: u64) -> u32 {
    let Some(net) = member::<u64>(sock, &LAYOUT.sock_net) else { return 0 };
    member(net, &LAYOUT.net_inum).unwrap_or(0)
}

/// A socket's cookie, or 0 while nobody has asked for it.
#[inline(always)]
pub fn cookie(sock: u64) -> u64 {
    member(sock, &LAYOUT.sock_cookie).unwrap_or(0)
}

/// Fills in addresses, ports and cookie of a TCP socket.
#[inline(always)]
pub fn place(sock: u64, conn: &mut Conn) {
    let raw: u16 = member(sock, &LAYOUT.sock_family).unwrap_or(0);
    conn.family = family::INET;
    if raw == AF_INET6 {
        into(sock, &LAYOUT.sock_local6, &raw mut conn.local, 0);
        into(sock, &LAYOUT.sock_peer6, &raw mut conn.peer, 0);
        let mapped = conn.peer[10] == 0xff && conn.peer[11] == 0xff && conn.peer[0] == 0 && conn.peer[1] == 0;
        conn.family = if mapped { family::INET } else { family::INET6 };
    }
    if conn.family == family::INET {
        // The IPv4 members hold v4-mapped addresses as well.
        conn.local = MAPPED;
        conn.peer = MAPPED;
        into(sock, &LAYOUT.sock_local, &raw mut conn.local, MAPPED_AT);
        into(sock, &LAYOUT.sock_peer, &raw mut conn.peer, MAPPED_AT);
    }
    conn.local_port = member(sock, &LAYOUT.sock_local_port).unwrap_or(0);
    conn.peer_port = u16::from_be(member(sock, &LAYOUT.sock_peer_port).unwrap_or(0));
    conn.known |= known::LOCAL | known::PEER;
    conn.cookie = cookie(sock);
    if conn.cookie != 0 {
        conn.known |= known::COOKIE;
    }
    conn.port_generation = 0;
}

/// Fills in the initial sequence numbers of an established TCP socket, by what it counts from: an end that connected has its
/// `SYN` among the acknowledged bytes. Nothing where the numbers change while they are read: without the socket's lock they may; nor
/// before the peer's number is known, when data may be on their way already (`TCP_FASTOPEN`).
#[inline(always)]
pub fn sequences(sock: u64, conn: &mut Conn) {
    let counted = || {
        let sent =
            member::<u32>(sock, &LAYOUT.tcp_unacknowledged)?.wrapping_sub(member(sock, &LAYOUT.tcp_acknowledged)?);
        let expected = member::<u32>(sock, &LAYOUT.tcp_expected).filter(|expected| *expected != 0)?;
        let received = expected.wrapping_sub(member(sock, &LAYOUT.tcp_received)?);
        Some((sent, received))
    };
    let (Some(first), Some(second)) = (counted(), counted()) else { return };
    if first.0 == second.0 && first.1 == second.1 {
        conn.sequences = [first.0, first.1.wrapping_sub(1)];
        conn.known |= known::SEQUENCES;
    }
}

/// The sequence number behind the last byte that was received by a call (`index` 0), or sent.
#[inline(always)]
pub fn position(sock: u64, index: usize) -> Option<u32> {
    member(sock, if index == 0 { &LAYOUT.tcp_copied } else { &LAYOUT.tcp_written })
}

/// An IPv4 address as a v4-mapped one, and where in it the address is.
const MAPPED: [u8; 16] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0];
const MAPPED_AT: usize = 12;

/// Reads an address to its place, from byte `at` of it on.
#[inline(always)]
fn into(sock: u64, offset: &'static u32, address: *mut [u8; 16], at: usize) {
    let offset = constant(offset);
    if offset == ABSENT {
        return;
    }
    // SAFETY: the read stays within the address; it may fail.
    let failed = unsafe {
        let place = address.cast::<u8>().add(at);
        bpf_probe_read_kernel(place.cast(), (16 - at) as u32, (sock + u64::from(offset)) as *const _) != 0
    };
    if failed {
        count(counter::KERNEL_FAULT, 1);
    }
}

/// What TCP knows of the path to a socket's peer.
pub struct Path {
    /// Smoothed round trip in microseconds.
    pub srtt_us: u32,
    /// Smallest round trip in microseconds.
    pub min_rtt_us: u32,
    /// Segments sent again.
    pub retransmits: u32,
    /// 1 where the rest is known.
    pub known: u8,
}

/// Nothing known.
pub const NO_PATH: Path = Path { srtt_us: 0, min_rtt_us: 0, retransmits: 0, known: 0 };

/// What TCP knows of the path to a socket's peer.
#[inline(always)]
pub fn path(sock: u64) -> Path {
    Path {
        srtt_us: member(sock, &LAYOUT.tcp_srtt).unwrap_or(0u32) >> 3,
        min_rtt_us: member(sock, &LAYOUT.tcp_min_rtt).unwrap_or(0),
        retransmits: member(sock, &LAYOUT.tcp_retransmits).unwrap_or(0),
        known: u8::from(constant(&LAYOUT.tcp_srtt) != ABSENT),
    }
}

/// Whether the current task is ending.
#[inline(always)]
pub fn is_exiting() -> bool {
    if constant(&LAYOUT.task_flags) == ABSENT {
        return false;
    }
    // SAFETY: a helper without pointers.
    let task = unsafe { bpf_get_current_task() };
    member::<u32>(task, &LAYOUT.task_flags).unwrap_or(0) & PF_EXITING != 0
}

/// Whether the current task is a thread of the kernel that works for an `io_uring`.
#[inline(always)]
pub fn is_io_worker() -> bool {
    if constant(&LAYOUT.task_flags) == ABSENT {
        return false;
    }
    // SAFETY: a helper without pointers.
    let task = unsafe { bpf_get_current_task() };
    member::<u32>(task, &LAYOUT.task_flags).unwrap_or(0) & PF_IO_WORKER != 0
}

/// Where the control messages of a `struct msghdr` are, and how many bytes of them; 0 for none.
#[inline(always)]
pub fn control(message: u64) -> (u64, u64) {
    let at = member(message, &LAYOUT.msg_control).unwrap_or(0);
    (at, member(message, &LAYOUT.msg_controllen).unwrap_or(0))
}

/// Where the bytes are that a call moved, by the `struct msghdr` as the call left it. `asked` is how many bytes the call
/// was asked to move: what is not left of them in the iterator is what it advanced by.
#[inline(always)]
pub fn source(message: u64, asked: u64) -> Source {
    let iterator = message + u64::from(constant(&LAYOUT.msg_iter));
    let kind = if constant(&LAYOUT.iter_kind_size) == 1 {
        member::<u8>(iterator, &LAYOUT.iter_kind).map(u32::from)
    } else {
        member::<u32>(iterator, &LAYOUT.iter_kind).map(|kind| kind & !1)
    };
    let (Some(kind), Some(offset), Some(left)) =
        (kind, member::<u64>(iterator, &LAYOUT.iter_offset), member::<u64>(iterator, &LAYOUT.iter_count))
    else {
        return Source::nowhere();
    };
    let advanced = asked.wrapping_sub(left);
    if constant(&LAYOUT.kind_buffer) != ABSENT && kind == constant(&LAYOUT.kind_buffer) {
        return match member::<u64>(iterator, &LAYOUT.iter_buffer) {
            Some(buffer) => Source::buffer(buffer.wrapping_add(offset).wrapping_sub(advanced)),
            None => Source::nowhere(),
        };
    }
    if kind == constant(&LAYOUT.kind_vector) {
        return match member::<u64>(iterator, &LAYOUT.iter_vector) {
            Some(vector) => Source::iterator(vector, offset, advanced),
            None => Source::nowhere(),
        };
    }
    // Pages of the kernel's own: `sendfile`, `splice`, sockets of the kernel itself.
    Source::nowhere()
}

/// Where the first bytes are in user memory that a call is about to move, by its `struct msghdr`, or 0. Global: it runs only
/// where they are asked for.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn kernel_lead(message: u64) -> u64 {
    let left = member::<u64>(message + u64::from(constant(&LAYOUT.msg_iter)), &LAYOUT.iter_count).unwrap_or(0);
    source(message, left).first().unwrap_or(0)
}
