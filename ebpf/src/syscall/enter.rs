//! Entries of system calls: each notes what the thread's call is about. Which hook calls it is not its concern.

use aya_ebpf::helpers::bpf_ktime_get_boot_ns;
use netspan_ebpf::{FdKey, close, direction, family, syscall};

use super::{Arguments, Thread, connection, current, how, lookup, op, thread};
use crate::{
    conn::{self, flag},
    context,
    maps::{FDS, FdEntry, PROCESSES, fd},
    user,
};

const MSG_OOB: u64 = 0x1;
const MSG_PEEK: u64 = 0x2;
const MSG_TRUNC: u64 = 0x20;
const MSG_ERRQUEUE: u64 = 0x2000;
const ECONNRESET: i32 = 104;
const SHUT_RD: u64 = 0;
const F_DUPFD: u64 = 0;
/// Level and options of kernel TLS (`linux/socket.h`, `linux/tls.h`).
const SOL_TLS: u32 = 282;
const TLS_TX: u32 = 1;
const TLS_RX: u32 = 2;
const F_DUPFD_CLOEXEC: u64 = 1030;

/// Notes a call that moves bytes.
#[inline(always)]
fn note(op: u8, fd: i32, address: u64, count: u32, flags: u8) {
    let (pid_tgid, tgid) = current();
    let Some(thread) = thread(pid_tgid) else { return };
    thread.op = op::NONE;
    (thread.key, thread.sock) = match lookup(tgid, fd) {
        Some(FdEntry { key: fd::IGNORED, .. }) => return,
        Some(FdEntry { key: fd::GONE | fd::UNKNOWN, .. }) | None => (0, 0),
        Some(FdEntry { key, sock }) => (key, sock),
    };
    remember(thread, op, fd, address, count, flags);
    if context::is_on() && (op::WRITE..=op::SENDMMSG).contains(&op) && thread.key != 0 {
        context::context_sending(thread.key, pid_tgid, enter_lead(u32::from(op), address));
    }
}

/// Where the first bytes are that a call sends, or 0. Global: it runs only where they are asked for.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn enter_lead(op: u32, address: u64) -> u64 {
    let vector = match op as u8 {
        op::WRITE => return address,
        op::WRITEV => address,
        // SAFETY: an integer; the third word of `struct msghdr` is the array of segments.
        op::SENDMSG | op::SENDMMSG => unsafe { user::read::<u64>(address + 16) }.unwrap_or(0),
        _ => 0,
    };
    // SAFETY: an integer; the first word of `struct iovec` is the base.
    if vector == 0 { 0 } else { unsafe { user::read::<u64>(vector) }.unwrap_or(0) }
}

/// Notes a call.
#[inline(always)]
fn remember(thread: &mut Thread, op: u8, fd: i32, address: u64, count: u32, flags: u8) {
    // When a receiving call was entered says when the thread began to wait, and no more.
    // SAFETY: a helper without pointers.
    thread.start_ns = if op <= op::RECVMMSG { 0 } else { unsafe { bpf_ktime_get_boot_ns() } };
    thread.op = op;
    thread.fd = fd;
    thread.address = address;
    thread.count = count;
    thread.flags = flags;
}

/// Bits of [`how`] for a receiving call's flags, or nothing where its bytes don't leave the socket's stream.
#[inline(always)]
fn receive_flags(flags: u64) -> Option<u8> {
    if flags & (MSG_PEEK | MSG_OOB | MSG_ERRQUEUE) != 0 {
        return None;
    }
    Some(if flags & MSG_TRUNC != 0 { how::SOCKET | how::NOWHERE } else { how::SOCKET })
}

/// Acts on the entry of a system call: `which` is one of [`syscall`], `arguments` are its arguments.
#[inline(always)]
pub fn enter(which: u8, arguments: &impl Arguments) {
    let at = |n| arguments.get(n);
    let fd = at(0) as i32;
    match which {
        // read(fd, buffer, size)
        syscall::READ => note(op::READ, fd, at(1), 0, 0),
        // readv(fd, iovec, count)
        syscall::READV => note(op::READV, fd, at(1), at(2) as u32, 0),
        // recvfrom(fd, buffer, size, flags, ..)
        syscall::RECVFROM => {
            if let Some(flags) = receive_flags(at(3)) {
                note(op::READ, fd, at(1), 0, flags);
            }
        }
        // recvmsg(fd, msghdr, flags)
        syscall::RECVMSG => {
            if let Some(flags) = receive_flags(at(2)) {
                note(op::RECVMSG, fd, at(1), 0, flags);
            }
        }
        // recvmmsg(fd, mmsghdr, count, flags, timeout)
        syscall::RECVMMSG => {
            if let Some(flags) = receive_flags(at(3)) {
                note(op::RECVMMSG, fd, at(1), at(2) as u32, flags);
            }
        }
        // write(fd, buffer, size)
        syscall::WRITE => note(op::WRITE, fd, at(1), 0, 0),
        // writev(fd, iovec, count)
        syscall::WRITEV => note(op::WRITEV, fd, at(1), at(2) as u32, 0),
        // sendto(fd, buffer, size, flags, ..)
        syscall::SENDTO => {
            if at(3) & MSG_OOB == 0 {
                note(op::WRITE, fd, at(1), 0, how::SOCKET);
            }
        }
        // sendmsg(fd, msghdr, flags)
        syscall::SENDMSG => {
            if at(2) & MSG_OOB == 0 {
                note(op::SENDMSG, fd, at(1), 0, how::SOCKET);
            }
        }
        // sendmmsg(fd, mmsghdr, count, flags)
        syscall::SENDMMSG => note(op::SENDMMSG, fd, at(1), at(2) as u32, how::SOCKET),
        // sendfile(out, in, offset, count)
        syscall::SENDFILE => note(op::SENDFILE, fd, 0, 0, 0),
        // splice(in, offset, out, offset, size, flags): one end is a pipe, the other may be a socket.
        syscall::SPLICE => splice(fd, at(2) as i32),
        // connect(fd, address, size), accept(fd, address, size)
        syscall::CONNECT | syscall::ACCEPT => {
            if let Some(thread) = thread(current().0) {
                (thread.key, thread.sock) = (0, 0);
                remember(thread, if which == syscall::CONNECT { op::CONNECT } else { op::ACCEPT }, fd, at(1), 0, 0);
            }
        }
        // dup(fd)
        syscall::DUP => note_dup(fd),
        // dup2(fd, new), dup3(fd, new, flags): what `new` stood for is closed.
        syscall::DUP2 => {
            let new = at(1) as i32;
            if fd != new && thread(current().0).is_some() {
                close_fd(new);
            }
            note_dup(fd);
        }
        // fcntl(fd, command, ..)
        syscall::FCNTL => {
            if at(1) == F_DUPFD || at(1) == F_DUPFD_CLOEXEC {
                note_dup(fd);
            }
        }
        // shutdown(fd, how)
        syscall::SHUTDOWN => {
            if at(1) != SHUT_RD {
                shut(fd);
            }
        }
        // close(fd): the descriptor is free in any case, so the entry goes before the number can be used again.
        syscall::CLOSE => {
            let (pid_tgid, tgid) = current();
            // SAFETY: the value is not kept.
            if thread(pid_tgid).is_some() && (unsafe { FDS.get(FdKey { tgid, fd }) }.is_some() || inherits(tgid)) {
                close_fd(fd);
            }
        }
        syscall::CLOSE_RANGE => close_range(fd.cast_unsigned(), at(1) as u32),
        // setsockopt(fd, level, option, value, size)
        syscall::SETSOCKOPT => {
            if at(1) as u32 == SOL_TLS {
                match at(2) as u32 {
                    TLS_TX => note(op::TLS_KEY, fd, 0, u32::from(direction::OUT), 0),
                    TLS_RX => note(op::TLS_KEY, fd, 0, u32::from(direction::IN), 0),
                    _ => {}
                }
            }
        }
        // What goes through such a ring is not seen by this family.
        syscall::IO_URING_SETUP => {
            let (pid_tgid, _) = current();
            if thread(pid_tgid).is_some() {
                super::process::tell(netspan_ebpf::kind::IO_URING, pid_tgid);
            }
        }
        _ => {}
    }
}

/// Notes a `splice`: it is of the connection at either end.
#[inline(always)]
fn splice(from: i32, to: i32) {
    let tgid = current().1;
    let fd = if lookup(tgid, from).is_some_and(|entry| entry.key > fd::LAST) { from } else { to };
    note(op::SPLICE, fd, 0, u32::from(fd == from), 0);
}

/// The process shuts its sending side down.
#[inline(always)]
fn shut(fd: i32) {
    let (pid_tgid, tgid) = current();
    if thread(pid_tgid).is_some()
        && let Some((_, conn)) = connection(tgid, fd)
        && conn.flags & flag::SHUT == 0
    {
        conn.flags |= flag::SHUT;
        conn::end(conn, close::SHUT_WRITE, 0, pid_tgid);
    }
}

/// `close_range(first, last, flags)`: looks at no more than 64 descriptors; later ones are found stale at their next use.
#[inline(always)]
fn close_range(first: u32, last: u32) {
    if thread(current().0).is_none() {
        return;
    }
    let mut n = 0;
    while n < 64 {
        let fd = first.wrapping_add(n);
        if fd > last {
            break;
        }
        close_fd(fd.cast_signed());
        n += 1;
    }
}

/// Notes a call that makes a second descriptor, if the first stands for a connection.
#[inline(always)]
fn note_dup(fd: i32) {
    let (pid_tgid, tgid) = current();
    let Some(thread) = thread(pid_tgid) else { return };
    thread.op = op::NONE;
    if let Some(FdEntry { key, sock }) = lookup(tgid, fd)
        && key > fd::LAST
    {
        (thread.key, thread.sock) = (key, sock);
        remember(thread, op::DUP, fd, 0, 0, 0);
    }
}

/// Whether a process has descriptors from the one that forked it.
#[inline(always)]
fn inherits(tgid: u32) -> bool {
    // SAFETY: the value is copied at once.
    unsafe { PROCESSES.get(tgid) }.is_some_and(|process| process.heir_of != 0)
}

/// A descriptor is given up: a global function, for loops over many.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn close_fd(fd: i32) -> u32 {
    let (pid_tgid, tgid) = current();
    // SAFETY: the values are copied at once.
    let (process, entry) = unsafe { (PROCESSES.get(tgid).copied(), FDS.get(FdKey { tgid, fd }).copied()) };
    let Some(entry) = entry else {
        // The parent's entry must not be inherited any more.
        if let Some(process) = process
            && process.heir_of != 0
            // SAFETY: the value is copied at once.
            && unsafe { FDS.get(FdKey { tgid: process.heir_of, fd }) }.is_some_and(|entry| entry.key > fd::LAST)
        {
            conn::tie(tgid, fd, fd::GONE, 0);
        }
        return 0;
    };
    let _ = FDS.remove(FdKey { tgid, fd });
    if entry.key > fd::LAST && process.is_some_and(|process| process.heir_of != 0) {
        conn::tie(tgid, fd, fd::GONE, 0);
    }
    if let Some(conn) = conn::get(entry.key) {
        conn.refs = conn.refs.saturating_sub(1);
        // A child may still have it, if there is anything left of it.
        let inherited =
            process.is_some_and(|process| process.forked != 0) && conn.flags & (flag::RESET | flag::DONE) == 0;
        if conn.refs == 0 && !inherited {
            if conn.flags & flag::RESET != 0 {
                conn::end(conn, close::ERROR, ECONNRESET, pid_tgid);
                conn::forget(entry.key, conn);
            } else if conn.sock != 0 && conn.family != family::UNIX && conn.flags & flag::DONE == 0 {
                // TCP tells its end itself, at the change of the socket's state.
                conn.flags |= flag::CLOSING;
            } else {
                conn::end(conn, close::CLOSED, 0, pid_tgid);
                conn::forget(entry.key, conn);
            }
        }
    }
    0
}
