//! Whose records a function of rustls works on.
//!
//! A *half* is an encrypter or a decrypter: the keys of one direction, at their address. Records are numbered from 0 on, so
//! another half at the same address is told from the first by its number. A half's socket is the one that a record of its
//! own was sent to, or received from: the record's ciphertext is recognised, and nothing else counts. Both halves of a
//! socket are of its session.
//!
//! A *line* is halves of one direction, one after another. In TLS 1.3 a server's first answer may be the first record of
//! its half, and is read before it is sent; but its line is known by then, by the handshake. The next half of a line is the
//! one that a thread makes after the line's last one worked on what changes the keys: a `Finished` or a `KeyUpdate`
//! (RFC 8446 section 4). rustls does so at once, in one call (`into_traffic`, `into_traffic_with_client_finished_pending`,
//! `update_decrypter`, `update_encrypter_and_notify`), or it encrypts an alert. What a line encrypts before its first record
//! is sent is a session without a socket until then. What is decrypted by a half whose socket was not found is not read, and
//! counted.

use aya_ebpf::helpers::bpf_ktime_get_boot_ns;
use netspan_ebpf::{counter, direction, origin};

use crate::{
    conn::{Conn, get, ordinal},
    emit::count,
    maps::{HALVES, LINES, NEXT_HALVES, NextKey, RUSTLS_PROCESSES, SessionKey},
    tls::{carrier::bind, tls_make},
    walk::mode,
};

/// Bit of [`Conn::halves`]: the socket carries a session of rustls. Bit `n` below: the present half of direction `n` is tied
/// to the socket, and moved data.
pub const RUSTLS: u8 = 4;

/// Records of a line without a socket that are read.
const UNTIED_MAX: u64 = 64;

/// What names a half; a line is named by its first half.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct HalfName {
    /// Its address.
    pub pointer: u64,
    /// When it was first seen.
    pub born_ns: u64,
}

/// What names a socket.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct SocketName {
    /// Its key in the connection table, or 0 where it is not known.
    pub key: u64,
    /// The connection's id: a key may be used again.
    pub id: u64,
}

const NO_SOCKET: SocketName = SocketName { key: 0, id: 0 };

/// The keys of one direction of a session.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Half {
    /// Its line.
    pub line: HalfName,
    /// Number of the first record that was seen.
    pub first: u64,
    /// Number of the next record.
    pub next: u64,
    /// Its socket.
    pub socket: SocketName,
    /// Bytes of data that passed and were not read.
    pub missed: u64,
}

/// What is known of a line that sends while its halves have no socket.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Line {
    /// Its socket, as soon as it is known.
    pub socket: SocketName,
    /// Key of the session that was made before, or 0.
    pub session: u64,
    /// See [`Half::missed`].
    pub missed: u64,
}

/// The half at an address that is at a record.
#[inline(always)]
pub fn half_at(tgid: u32, pointer: u64, number: u64, sends: bool) -> Option<&'static mut Half> {
    let key = SessionKey::new(tgid, pointer);
    if let Some(half) = HALVES.get_ptr_mut(key) {
        // SAFETY: a map value, which one thread at a time works with, as with the half itself.
        let half = unsafe { &mut *half };
        if half.next == number && (half.socket.key == 0 || carrier(half.socket).is_some()) {
            return Some(half);
        }
    }
    // SAFETY: a helper without pointers.
    let born_ns = unsafe { bpf_ktime_get_boot_ns() };
    let line = HalfName { pointer, born_ns };
    let half = Half { line, first: number, next: number, socket: NO_SOCKET, missed: 0 };
    let begun = Line { socket: NO_SOCKET, session: 0, missed: 0 };
    let failed = sends && LINES.insert(line, begun, 0).is_err();
    if failed || HALVES.insert(key, half, 0).is_err() || RUSTLS_PROCESSES.insert(tgid, 1, 0).is_err() {
        count(counter::SESSION_FULL, 1);
    }
    // SAFETY: as above.
    HALVES.get_ptr_mut(key).map(|half| unsafe { &mut *half })
}

/// The half at that address, of the line that began then.
#[inline(always)]
pub fn named(tgid: u32, name: HalfName) -> Option<&'static mut Half> {
    // SAFETY: as in `half_at`.
    let half = HALVES.get_ptr_mut(SessionKey::new(tgid, name.pointer)).map(|half| unsafe { &mut *half })?;
    if half.line.born_ns == name.born_ns { Some(half) } else { None }
}

/// The line of that name, if a half of it may have no socket yet.
#[inline(always)]
pub fn line_of(name: HalfName) -> Option<&'static mut Line> {
    // SAFETY: as in `half_at`.
    LINES.get_ptr_mut(name).map(|line| unsafe { &mut *line })
}

/// The socket's connection.
#[inline(always)]
pub fn carrier(socket: SocketName) -> Option<&'static mut Conn> {
    let conn = get(socket.key)?;
    if conn.id == socket.id { Some(conn) } else { None }
}

/// A half that sends goes by what is known of its line.
#[inline(always)]
pub fn adopt(half: &mut Half) {
    if half.socket.key == 0
        && let Some(line) = line_of(half.line)
    {
        half.socket = line.socket;
        half.missed += core::mem::take(&mut line.missed);
    }
}

/// Keys may change with what is no data (RFC 8446 section 4.6.3): the next half's socket has to be found then.
#[inline(always)]
pub fn may_change(half: &Half, towards: u8) {
    if let Some(carrier) = carrier(half.socket) {
        carrier.halves &= !(1 << (towards & 1));
    }
}

/// The thread will make the next half of this one's line.
#[inline(always)]
pub fn expect_next(pid_tgid: u64, towards: u8, half: &Half) {
    let next = Half { next: 0, ..*half };
    let _ = NEXT_HALVES.insert(NextKey::new(pid_tgid, towards), next, 0);
}

/// What the thread makes next will be the first half of a line.
#[inline(always)]
pub fn expect_first(pid_tgid: u64, towards: u8) {
    let _ = NEXT_HALVES.remove(NextKey::new(pid_tgid, towards));
}

/// A half was made.
#[inline(always)]
pub fn made(pid_tgid: u64, towards: u8, tgid: u32, pointer: u64) {
    let (key, next) = (SessionKey::new(tgid, pointer), NextKey::new(pid_tgid, towards));
    // SAFETY: the value is copied at once.
    let Some(half) = (unsafe { NEXT_HALVES.get(next) }).copied() else {
        let _ = HALVES.remove(key);
        return;
    };
    let _ = NEXT_HALVES.remove(next);
    if HALVES.insert(key, half, 0).is_err() {
        count(counter::SESSION_FULL, 1);
    }
}

/// Key of the session of a half's socket. A half that sends has one before its socket is known.
#[inline(always)]
pub fn session_of(tgid: u32, half: &mut Half, towards: u8) -> Option<u64> {
    let bit = 1 << (towards & 1);
    if half.socket.key == 0 {
        if towards == direction::IN || half.next.wrapping_sub(half.first) > UNTIED_MAX {
            return None;
        }
        let line = line_of(half.line)?;
        if line.session == 0 || get(line.session).is_none() {
            line.session = make(tgid, half, true);
        }
        return if line.session == 0 { None } else { Some(line.session) };
    }
    let carrier = carrier(half.socket)?;
    if carrier.other == 0 || get(carrier.other).is_none() {
        let key = make(tgid, half, carrier.origin != origin::FOUND);
        bind(key, half.socket.key, carrier);
    }
    if carrier.halves & bit == 0 {
        carrier.halves |= bit;
        carrier.looks = 0;
        carrier.ways[usize::from(towards & 1)].left = 0;
    }
    let session = get(carrier.other)?;
    if half.missed != 0 {
        // The next event's ordinal tells that something is missing, and its position how much.
        ordinal(session, usize::from(towards));
        let way = &mut session.ways[usize::from(towards & 1)];
        way.pos += core::mem::take(&mut half.missed);
        way.mode = mode::START;
    }
    Some(carrier.other)
}

/// Makes a session; it is whole if its socket and the half were seen from their beginnings.
#[inline(always)]
fn make(tgid: u32, half: &Half, whole: bool) -> u64 {
    let whole = whole && half.first == 0 && half.missed == 0;
    tls_make(tgid, u32::from(if whole { origin::SESSION } else { origin::FOUND }), 0)
}
