//! Returns of system calls: what was moved is walked over; connections begin.

use aya_ebpf::helpers::{bpf_ktime_get_boot_ns, generated::bpf_probe_read_user};
use netspan_ebpf::{EventHead, FdKey, LookEvent, close, counter, direction, family, kind, known, origin, role};

use super::{Thread, call, current, how, op};
use crate::{
    conn::{self, Conn, flag},
    emit::{SHARED, count, send},
    filter::ports_pass,
    maps::{FDS, fd},
    tls, user,
    walk::{Moved, Source, may_begin, walk},
};

const AF_UNIX: u16 = 1;
const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;
const EAGAIN: i64 = 11;
const EINTR: i64 = 4;
const ECONNRESET: i64 = 104;
const EPIPE: i64 = 32;
const ETIMEDOUT: i64 = 110;

/// `struct msghdr` of the 64-bit ABI, as far as it is read.
#[repr(C)]
#[derive(Clone, Copy)]
struct Message {
    name: u64,
    name_len: u64,
    iov: u64,
    iov_len: u64,
}

/// Where in `struct mmsghdr` the number of bytes is.
const MMSG_LEN: u64 = 56;

/// Acts on the return of the system call that the current thread is in, if its entry was noted.
#[inline(always)]
pub fn leave(result: i64) {
    let (pid_tgid, tgid) = current();
    let Some(call) = call(pid_tgid) else { return };
    let op = core::mem::replace(&mut call.op, op::NONE);
    match op {
        op::CONNECT if result == 0 && call.key == 0 => connected(call, tgid),
        op::ACCEPT if result >= 0 => accepted(call, tgid, result as i32),
        op::DUP if result >= 0 => duplicated(call, tgid, result as i32),
        op::TLS_KEY if result == 0 => {
            if let Some(conn) = conn::get(call.key) {
                tls::begin_ktls(conn, call.count);
            }
        }
        op::CONNECT | op::ACCEPT | op::DUP | op::TLS_KEY => {}
        _ if result > 0 => moved(call, op, result, pid_tgid, tgid),
        _ if result != -EAGAIN && result != -EINTR && call.key != 0 => over(call.key, op, result, pid_tgid),
        _ => {}
    }
}

/// Whether a call receives.
#[inline(always)]
fn receives(op: u8) -> bool {
    op <= op::RECVMMSG
}

/// A call moved bytes (or, for `*mmsg`, messages).
#[inline(always)]
fn moved(call: &Thread, op: u8, result: i64, pid_tgid: u64, tgid: u32) {
    let mut key = call.key;
    let conn = if let Some(conn) = if key == 0 { None } else { conn::get(key) } {
        conn
    } else {
        if key != 0 {
            // It gave way to others: what of its message was seen so far is lost.
            count(counter::CONN_FULL, 1);
        }
        let Some((new, conn)) = found(call, op, result, tgid, pid_tgid) else { return };
        key = new;
        conn
    };
    let is_message = op == op::RECVMSG || op == op::SENDMSG;
    if !ports_pass(conn) || conn.ktls != 0 && is_message && tls::ktls_control(call.address) != 0 {
        return;
    }
    conn.tgid = tgid;
    let towards = if receives(op) || op == op::SPLICE && call.count != 0 { direction::IN } else { direction::OUT };
    let mut arrived_ns = 0;
    if towards == direction::IN {
        arrived_ns = core::mem::take(&mut conn.arrived_ns);
    }
    let mut moved =
        Moved { key, direction: towards, len: result as u32, start_ns: call.start_ns, arrived_ns, pid_tgid };
    let source = match op {
        _ if call.flags & how::NOWHERE != 0 => Source::nowhere(),
        op::SENDFILE | op::SPLICE => Source::nowhere(),
        op::READV | op::WRITEV => Source::vector(call.address, call.count),
        op::RECVMSG | op::SENDMSG | op::RECVMMSG | op::SENDMMSG => match message(call.address) {
            Some(message) => Source::vector(message.iov, message.iov_len as u32),
            None => Source::nowhere(),
        },
        _ => Source::buffer(call.address),
    };
    if op == op::RECVMMSG || op == op::SENDMMSG {
        // Only the first message of such a call is looked at: nobody sends a stream that way.
        if result > 1 {
            count(counter::CALL_CUT, 1);
        }
        // SAFETY: a read of user memory into a local of that size; it may fail.
        let read = unsafe {
            let at = (call.address + MMSG_LEN) as *const _;
            bpf_probe_read_user(core::ptr::from_mut(&mut moved.len).cast(), 4, at)
        };
        if read != 0 {
            count(counter::READ_FAULT, 1);
            return;
        }
    }
    walk(&moved, conn, &source);
}

/// Reads a `struct msghdr`.
#[inline(always)]
fn message(address: u64) -> Option<Message> {
    // SAFETY: integers.
    let message = unsafe { user::read(address) };
    if message.is_none() {
        count(counter::READ_FAULT, 1);
    }
    message
}

/// Calls on a descriptor of which nothing is known until the agent is asked to look at it.
const LOOK_AFTER: u64 = 8;

/// The first message of a descriptor of which nothing is known: if it is the beginning of one of ours, it becomes a
/// connection. Received TCP data was tied to its socket before the call returned (see `socket`).
#[inline(always)]
fn found(call: &Thread, op: u8, result: i64, tgid: u32, pid_tgid: u64) -> Option<(u64, &'static mut Conn)> {
    // A message of ours does not begin with fewer bytes, but for what a person types.
    // Within a call of a TLS library it is what the kernel encrypts, of a connection older than the agent: the library
    // tells it.
    if result >= 8 && lead(call, op).is_some_and(|lead| may_begin(lead, result as u32)) && tls::calling(pid_tgid) == 0 {
        let (key, conn) = conn::create(tgid, call.fd, role::UNKNOWN, family::UNKNOWN, origin::FOUND)?;
        conn::tie(tgid, call.fd, key, 0);
        return Some((key, conn));
    }
    let key = FdKey { tgid, fd: call.fd };
    if let Some(entry) = FDS.get_ptr_mut(key) {
        // SAFETY: a map value.
        let entry = unsafe { &mut *entry };
        if entry.key == fd::UNKNOWN {
            entry.sock += 1;
            if entry.sock == LOOK_AFTER {
                look(call.fd, pid_tgid);
            }
            return None;
        }
    }
    conn::tie(tgid, call.fd, fd::UNKNOWN, 1);
    None
}

/// Asks the agent to look at a descriptor.
#[inline(always)]
fn look(fd: i32, pid_tgid: u64) {
    // SAFETY: a helper without pointers.
    let time_ns = unsafe { bpf_ktime_get_boot_ns() };
    let head = EventHead {
        time_ns,
        conn: 0,
        seq: 0,
        tgid: (pid_tgid >> 32) as u32,
        tid: pid_tgid as u32,
        kind: kind::LOOK,
        ..EventHead::default()
    };
    let event = LookEvent { head, fd, pad: 0 };
    // SAFETY: a local of that size.
    unsafe { send(SHARED, pid_tgid >> 32, core::ptr::from_ref(&event).cast(), size_of::<LookEvent>(), false) };
}

/// The first eight bytes that a call moved.
#[inline(always)]
fn lead(call: &Thread, op: u8) -> Option<u64> {
    let mut at = match op {
        op::READ | op::WRITE | op::READV | op::WRITEV => call.address,
        op::RECVMSG | op::SENDMSG => message(call.address)?.iov,
        _ => return None,
    };
    let mut word = 0u64;
    // SAFETY: reads of user memory into a local of that size; they may fail.
    unsafe {
        if op != op::READ && op != op::WRITE {
            if bpf_probe_read_user(core::ptr::from_mut(&mut word).cast(), 8, at as *const _) != 0 {
                return None;
            }
            at = word;
        }
        if bpf_probe_read_user(core::ptr::from_mut(&mut word).cast(), 8, at as *const _) != 0 {
            return None;
        }
    }
    Some(word)
}

/// A call on a connection returned 0 or an error: the peer ended its side, or the connection broke.
#[inline(always)]
fn over(key: u64, op: u8, result: i64, pid_tgid: u64) {
    let Some(conn) = conn::get(key).and_then(tls::speaker) else { return };
    if conn.flags & flag::ENDED != 0 {
        return;
    }
    if result == 0 && receives(op) {
        conn.flags |= flag::ENDED;
        conn::end(conn, close::PEER_END, 0, pid_tgid);
    } else if result == -ECONNRESET || result == -EPIPE || result == -ETIMEDOUT {
        conn.flags |= flag::ENDED;
        conn::end(conn, close::ERROR, -result as i32, pid_tgid);
    }
}

/// A `connect` succeeded. A TCP connection was made when its SYN was sent (see `socket`).
#[inline(always)]
fn connected(call: &Thread, tgid: u32) {
    if address_family(call.address) == AF_UNIX
        && let Some((key, conn)) = conn::create(tgid, call.fd, role::CLIENT, family::UNIX, origin::CONNECT)
    {
        // SAFETY: a helper without pointers.
        conn.established_ns = unsafe { bpf_ktime_get_boot_ns() };
        conn.syn_ns = call.start_ns;
        conn.known |= known::SOCKET;
        conn::tie(tgid, call.fd, key, 0);
    }
}

/// An `accept` succeeded.
#[inline(always)]
fn accepted(call: &Thread, tgid: u32, fd: i32) {
    let Some((key, conn)) = conn::create(tgid, fd, role::SERVER, family::UNKNOWN, origin::ACCEPT) else { return };
    // SAFETY: a helper without pointers.
    conn.accepted_ns = unsafe { bpf_ktime_get_boot_ns() };
    conn.listen_fd = call.fd;
    conn.known |= known::SOCKET;
    peer(conn, call.address);
    conn::tie(tgid, fd, key, 0);
}

/// The family of a `struct sockaddr` in user memory, or 0.
#[inline(always)]
fn address_family(address: u64) -> u16 {
    let mut family = 0u16;
    if address != 0 {
        // SAFETY: a read of user memory into a local of that size; it may fail.
        unsafe { bpf_probe_read_user(core::ptr::from_mut(&mut family).cast(), 2, address as *const _) };
    }
    family
}

/// Takes the peer's address from the `struct sockaddr` that `accept` filled in.
#[inline(always)]
fn peer(conn: &mut Conn, address: u64) {
    let mut raw = [0u8; 28];
    match address_family(address) {
        AF_UNIX => conn.family = family::UNIX,
        // SAFETY: reads of user memory into a local of that size; they may fail.
        AF_INET => unsafe {
            if bpf_probe_read_user(raw.as_mut_ptr().cast(), 8, address as *const _) == 0 {
                conn.peer[10] = 0xff;
                conn.peer[11] = 0xff;
                conn.peer[12] = raw[4];
                conn.peer[13] = raw[5];
                conn.peer[14] = raw[6];
                conn.peer[15] = raw[7];
                conn.peer_port = u16::from_be_bytes([raw[2], raw[3]]);
                conn.family = family::INET;
                conn.known |= known::PEER;
            }
        },
        // SAFETY: as above.
        AF_INET6 => unsafe {
            if bpf_probe_read_user(raw.as_mut_ptr().cast(), 28, address as *const _) == 0 {
                let mut n = 0;
                while n < 16 {
                    conn.peer[n] = raw[8 + n];
                    n += 1;
                }
                conn.peer_port = u16::from_be_bytes([raw[2], raw[3]]);
                conn.family = family::INET6;
                conn.known |= known::PEER;
            }
        },
        _ => {}
    }
}

/// A descriptor was duplicated.
#[inline(always)]
fn duplicated(call: &Thread, tgid: u32, fd: i32) {
    if fd != call.fd
        && let Some(conn) = conn::get(call.key)
    {
        conn.refs += 1;
        conn::tie(tgid, fd, call.key, call.sock);
    }
}
