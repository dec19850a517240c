//! rustls 0.23, by what no build inlines because it is called through a table: the functions behind `dyn MessageEncrypter`
//! and `dyn MessageDecrypter`. Each sees every record of its direction once, with the record's number.
//!
//! A *half* is one of these: the keys of one direction, at their address. Numbers begin with 0 and rise by one; so
//! another half at the same address is told from the first by its number. A half's socket is the one that a record of
//! its own was sent to, or received from: the record's ciphertext is recognised, and nothing else counts. Both halves of
//! a socket are of its session.
//!
//! A *line* is the halves that send, one after another. In TLS 1.3 a server's first answer may be the first record of its
//! half, and is read before it is sent; but its line is known by then, by the handshake. The next half of a line is the one
//! that a thread makes after it encrypted what changes the keys: a `Finished` or a `KeyUpdate` (RFC 8446 section 4). rustls
//! does so at once, in one call (`into_traffic`, `into_traffic_with_client_finished_pending`, `set_encrypter`), or it
//! encrypts an alert. What a line encrypts before its first record is sent is a session without a socket until then. What
//! is decrypted by a half whose socket was not found is not read, and counted.
//!
//! The order of a structure's fields is the compiler's. What is here was taken from the machine code of rustls 0.23.46 by
//! rustc 1.95, in debug and in release builds; each value that is read has to pass for what it is, or the record is left
//! alone and counted. Registers are those of the System V order on x86-64: a place for the result, the half, the message,
//! the record's number.

use aya_ebpf::{
    helpers::{bpf_get_current_pid_tgid, bpf_ktime_get_boot_ns},
    macros::{uprobe, uretprobe},
    programs::{ProbeContext, RetProbeContext},
};
use netspan_ebpf::{counter, direction, origin};

use super::{
    carrier::{PRINT, bind, is_record, print},
    current, plaintext, tls_make,
};
use crate::{
    conn::{self, Conn, get, ordinal},
    emit::count,
    maps::{CiphertextKey, ENCRYPTED, HALVES, LINES, NEXT_HALVES, RECEIVED, RUSTLS_CALLS, RUSTLS_PROCESSES, SessionKey},
    scratch::{Scratch, cell_at},
    user,
    walk::{Source, load_lead, mode, walk_pass},
};

/// Bytes of a record's head.
const HEAD: u32 = 5;
/// Records of one call that are looked at.
const RECORDS_MAX: u32 = 16;
/// Bytes of a record's plaintext at most (RFC 8446 section 5.1).
const PLAIN_MAX: u64 = 1 << 14;
/// Bytes of a record's ciphertext at most (RFC 5246 section 6.2.3).
const CIPHER_MAX: u64 = PLAIN_MAX + 2048;
/// Bytes that a cipher adds to a record's plaintext: a tag of 16; in TLS 1.3 the type, in TLS 1.2 a nonce of up to 8. One
/// that pads adds more, and is not recognised.
const ADDED: core::ops::RangeInclusive<u64> = 16..=24;
/// Chunks of one message at most.
const CHUNKS_MAX: u64 = 1024;
/// No memory of a process lies below, and no length is above.
const POINTER_MIN: u64 = 1 << 16;

/// Bytes of a handshake message's head: its type, and the length of what follows (RFC 8446 section 4).
const MESSAGE_HEAD: u64 = 4;
/// The head of a `Finished` with a hash of 32 or 48 bytes, and of a `KeyUpdate`, as little-endian numbers.
const FINISHED_32: u32 = u32::from_le_bytes([20, 0, 0, 32]);
const FINISHED_48: u32 = u32::from_le_bytes([20, 0, 0, 48]);
const KEY_UPDATE: u32 = u32::from_le_bytes([24, 0, 0, 1]);

/// `ContentType` in memory: the place of the variant among `ChangeCipherSpec`, `Alert`, `Handshake`, `ApplicationData`,
/// `Heartbeat`, `Unknown`.
mod content {
    pub const HANDSHAKE: u8 = 2;
    pub const DATA: u8 = 3;
    pub const LAST: u8 = 5;
}

/// `ProtocolVersion` in memory, likewise: `SSLv2`, `SSLv3`, `TLSv1_0`, `TLSv1_1`, `TLSv1_2`, `TLSv1_3`, three of DTLS,
/// `Unknown`.
mod version {
    pub const TLS12: u16 = 4;
    pub const TLS13: u16 = 5;
    pub const LAST: u16 = 9;
}

/// Bits of [`Conn::halves`].
pub mod half {
    /// The present half that receives is tied to the socket, and brought data: 1 << `direction::IN`.
    #[expect(dead_code, reason = "it is computed from the direction")]
    pub const IN: u8 = 1;
    /// The present half that sends, likewise.
    #[expect(dead_code, reason = "it is computed from the direction")]
    pub const OUT: u8 = 2;
    /// The socket carries a session of rustls.
    pub const RUSTLS: u8 = 4;
}

/// The keys of one direction of a session.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Half {
    /// Its line; where it receives, itself.
    pub line: HalfName,
    /// Number of the first record that was seen.
    pub first: u64,
    /// Number of the next record.
    pub next: u64,
    /// Its socket.
    pub socket: SocketName,
    /// Non-zero: data passed that was not read.
    pub missed: u64,
}

/// What is known of a line while its halves have no socket.
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

/// What names a socket.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct SocketName {
    /// Its key in the connection table, or 0 where it is not known.
    pub key: u64,
    /// The connection's id: a key may be used again.
    pub id: u64,
}

/// What names a half; a line is named by its first half.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct HalfName {
    /// Its address.
    pub pointer: u64,
    /// When it was first seen.
    pub born_ns: u64,
}

/// A call that a thread is in.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct RustlsCall {
    /// The half that decrypts, or the line that encrypts.
    pub half: HalfName,
    /// Where the result will be.
    pub result: u64,
    /// The ciphertext, or 0 where the call encrypts.
    pub at: u64,
    /// Bytes of it; where the call encrypts, of the plaintext.
    pub len: u64,
    /// The record's number.
    pub number: u64,
}

/// An argument.
#[inline(always)]
fn arg(ctx: &ProbeContext, n: usize) -> u64 {
    ctx.arg::<u64>(n).unwrap_or(0)
}

/// `ContentType` and `ProtocolVersion` as they are next to each other in a message, if they pass for that.
#[inline(always)]
fn kind(word: u64) -> Option<(u8, u16)> {
    let (content, version) = (word as u8, (word >> 16) as u16);
    if content > content::LAST || version > version::LAST { None } else { Some((content, version)) }
}

/// Something is not what it has to be.
#[inline(always)]
fn refuse() {
    count(counter::RECORD_UNREAD, 1);
}

const NO_SOCKET: SocketName = SocketName { key: 0, id: 0 };

/// The half at an address that is at a record.
#[inline(always)]
fn half_at(tgid: u32, pointer: u64, number: u64, sends: bool) -> Option<&'static mut Half> {
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

/// The socket's connection.
#[inline(always)]
fn carrier(socket: SocketName) -> Option<&'static mut Conn> {
    let conn = get(socket.key)?;
    if conn.id == socket.id { Some(conn) } else { None }
}

/// The half of that name, which receives.
#[inline(always)]
fn named(tgid: u32, name: HalfName) -> Option<&'static mut Half> {
    // SAFETY: as in `half_at`.
    let half = HALVES.get_ptr_mut(SessionKey::new(tgid, name.pointer)).map(|half| unsafe { &mut *half })?;
    if half.line.born_ns == name.born_ns { Some(half) } else { None }
}

/// The line of that name, if a half of it may have no socket yet.
#[inline(always)]
fn line_of(name: HalfName) -> Option<&'static mut Line> {
    // SAFETY: as in `half_at`.
    LINES.get_ptr_mut(name).map(|line| unsafe { &mut *line })
}

/// The session of a half's socket. A half that sends has one before its socket is known.
#[inline(always)]
fn session_of(tgid: u32, half: &mut Half, towards: u8) -> Option<(u64, &'static mut Conn)> {
    let bit = 1 << towards;
    if half.socket.key == 0 {
        if towards == direction::IN {
            return None;
        }
        let line = line_of(half.line)?;
        if line.session == 0 || get(line.session).is_none() {
            line.session = make(tgid, half, true);
        }
        return get(line.session).map(|session| (line.session, session));
    }
    let carrier = carrier(half.socket)?;
    if carrier.other == 0 || get(carrier.other).is_none() {
        let key = make(tgid, half, carrier.origin != origin::FOUND);
        bind(key, half.socket.key, carrier);
    }
    if carrier.halves & bit == 0 {
        carrier.halves |= bit;
        carrier.tries = 0;
        carrier.ways[usize::from(towards & 1)].left = 0;
    }
    let key = carrier.other;
    let session = get(key)?;
    if half.missed != 0 {
        // The next event's ordinal tells that something is missing.
        half.missed = 0;
        ordinal(session, usize::from(towards));
        session.ways[usize::from(towards & 1)].mode = mode::START;
    }
    Some((key, session))
}

/// Makes a session; it is whole if its socket and the half were seen from their beginnings.
#[inline(always)]
fn make(tgid: u32, half: &Half, whole: bool) -> u64 {
    let whole = whole && half.first == 0 && half.missed == 0;
    tls_make(tgid, u32::from(if whole { origin::SESSION } else { origin::FOUND }), 0)
}

/// Keys may change with what is no data (RFC 8446 section 4.6.3): the next half's socket has to be found then.
#[inline(always)]
fn may_change(half: &Half, towards: u8) {
    if let Some(carrier) = carrier(half.socket) {
        carrier.halves &= !(1 << towards);
    }
}

/// Whether what a half encrypts ends with a message after which the keys change.
#[inline(always)]
fn changes_keys(plain: u64, len: u64) -> bool {
    let ends_with = |head: u32| {
        let size = MESSAGE_HEAD + u64::from(head >> 24);
        // SAFETY: an integer.
        len >= size && unsafe { user::read::<u32>(plain + len - size) } == Some(head)
    };
    ends_with(FINISHED_32) || ends_with(FINISHED_48) || len == MESSAGE_HEAD + 1 && ends_with(KEY_UPDATE)
}

/// The number that stands for a record, by its payload.
#[inline(always)]
fn print_of(payload: u64, len: u32) -> Option<u64> {
    let [high, low] = (len as u16).to_be_bytes();
    // SAFETY: integers. The head, where there is one, was perhaps not filled in yet.
    let mut bytes = unsafe { user::read_up_to::<PRINT>(payload.wrapping_sub(u64::from(HEAD)), HEAD + len) }?;
    bytes[0] = 0x17;
    bytes[1] = 3;
    bytes[3] = high;
    bytes[4] = low;
    print(&bytes, HEAD + len)
}

/// `encrypt(&mut self, OutboundPlainMessage, u64) -> Result<OutboundOpaqueMessage, Error>`
///
/// The message: where the first word is 0, a pointer and a length follow; else it is a pointer to slices, then their
/// number, and the places among all their bytes where the message begins and ends. Then the kind.
#[uprobe]
pub fn rustls_encrypt(ctx: ProbeContext) -> u32 {
    let Some((pid_tgid, tgid)) = current() else { return 0 };
    let (result, pointer, message, number) = (arg(&ctx, 0), arg(&ctx, 1), arg(&ctx, 2), arg(&ctx, 3));
    // SAFETY: integers.
    let Some([slices, second, third, fourth, last]) = (unsafe { user::read::<[u64; 5]>(message) }) else {
        count(counter::READ_FAULT, 1);
        return 0;
    };
    let is_single = slices == 0;
    let len = if is_single { third } else { fourth.wrapping_sub(third) };
    let Some((content, version)) = kind(last) else {
        refuse();
        return 0;
    };
    let is_data = content == content::DATA;
    if len > PLAIN_MAX
        || is_data && version != version::TLS12
        || !is_single && (slices < POINTER_MIN || second > CHUNKS_MAX || third > u64::from(u32::MAX))
    {
        refuse();
        return 0;
    }
    let Some(half) = half_at(tgid, pointer, number, true) else { return 0 };
    half.next = number.wrapping_add(1);
    if half.socket.key == 0
        && let Some(line) = line_of(half.line)
    {
        half.socket = line.socket;
        half.missed |= line.missed;
    }
    if half.socket.key == 0 {
        let call = RustlsCall { half: half.line, result, at: 0, len, number };
        if RUSTLS_CALLS.insert(pid_tgid, call, 0).is_err() {
            count(counter::CALL_FULL, 1);
        }
    }
    if !is_data {
        may_change(half, direction::OUT);
        if content == content::HANDSHAKE && is_single && changes_keys(second, len) {
            let next = Half { next: 0, ..*half };
            let _ = NEXT_HALVES.insert(pid_tgid, next, 0);
        } else {
            let _ = NEXT_HALVES.remove(pid_tgid);
        }
    } else if len != 0 {
        if let Some((key, session)) = session_of(tgid, half, direction::OUT) {
            // SAFETY: a helper without pointers.
            let now = unsafe { bpf_ktime_get_boot_ns() };
            let source = if is_single { Source::buffer(second) } else { Source::part(slices, second, third) };
            plaintext(key, session, direction::OUT, len as u32, now, &source);
        } else {
            half.missed = 1;
            count(counter::RECORD_UNTIED, 1);
        }
    }
    0
}

/// `Tls13AeadAlgorithm::encrypter(..) -> Box<dyn MessageEncrypter>` returned a half.
#[uretprobe]
pub fn rustls_encrypter(ctx: RetProbeContext) -> u32 {
    let Some((pid_tgid, tgid)) = current() else { return 0 };
    let key = SessionKey::new(tgid, ctx.ret::<u64>());
    // SAFETY: the value is copied at once.
    if let Some(half) = unsafe { NEXT_HALVES.get(pid_tgid) }.copied() {
        let _ = NEXT_HALVES.remove(pid_tgid);
        if HALVES.insert(key, half, 0).is_err() {
            count(counter::SESSION_FULL, 1);
        }
    } else {
        let _ = HALVES.remove(key);
    }
    0
}

/// The return of `encrypt`. A vector follows the result's tag: the record, with room for its head.
#[uretprobe]
pub fn rustls_encrypted(_ctx: RetProbeContext) -> u32 {
    let pid_tgid = bpf_get_current_pid_tgid();
    let tgid = (pid_tgid >> 32) as u32;
    // SAFETY: the value is copied at once.
    let Some(call) = (unsafe { RUSTLS_CALLS.get(pid_tgid) }).copied() else { return 0 };
    if call.at != 0 {
        return 0;
    }
    let _ = RUSTLS_CALLS.remove(pid_tgid);
    // SAFETY: integers.
    let Some([_, first, second, third]) = (unsafe { user::read::<[u64; 4]>(call.result) }) else {
        count(counter::READ_FAULT, 1);
        return 0;
    };
    // Pointer, length and capacity, in an order that is the compiler's; only the pointer is large.
    let (pointer, one, other) = if first >= POINTER_MIN {
        (first, second, third)
    } else if second >= POINTER_MIN {
        (second, first, third)
    } else {
        (third, first, second)
    };
    let len = if one < other { one } else { other };
    let added = len.wrapping_sub(u64::from(HEAD)).wrapping_sub(call.len);
    if pointer < POINTER_MIN || one >= POINTER_MIN || other >= POINTER_MIN || !ADDED.contains(&added) {
        refuse();
        return 0;
    }
    if let Some(print) = print_of(pointer + u64::from(HEAD), len as u32 - HEAD)
        && ENCRYPTED.insert(CiphertextKey::new(tgid, print), call.half, 0).is_err()
    {
        count(counter::SESSION_FULL, 1);
    }
    0
}

/// `decrypt(&mut self, InboundOpaqueMessage, u64) -> Result<InboundPlainMessage, Error>`
///
/// The message: a pointer and a length, then the kind.
#[uprobe]
pub fn rustls_decrypt(ctx: ProbeContext) -> u32 {
    let Some((pid_tgid, tgid)) = current() else { return 0 };
    let (result, pointer, message, number) = (arg(&ctx, 0), arg(&ctx, 1), arg(&ctx, 2), arg(&ctx, 3));
    // SAFETY: integers.
    let Some([at, len, last]) = (unsafe { user::read::<[u64; 3]>(message) }) else {
        count(counter::READ_FAULT, 1);
        return 0;
    };
    if at < POINTER_MIN || len > CIPHER_MAX || kind(last).is_none() {
        refuse();
        return 0;
    }
    let Some(half) = half_at(tgid, pointer, number, false) else { return 0 };
    if half.socket.key == 0
        && let Some(print) = print_of(at, len as u32)
    {
        let key = CiphertextKey::new(tgid, print);
        // SAFETY: the value is copied at once.
        if let Some(&socket) = unsafe { RECEIVED.get(key) }
            && let Some(carrier) = carrier(socket)
        {
            let _ = RECEIVED.remove(key);
            half.socket = socket;
            carrier.halves |= half::RUSTLS;
        }
    }
    let call = RustlsCall { half: half.line, result, at, len, number };
    if RUSTLS_CALLS.insert(pid_tgid, call, 0).is_err() {
        count(counter::CALL_FULL, 1);
    }
    0
}

/// The return of `decrypt`. After the result's tag: a pointer into the ciphertext's memory and a length, then the kind.
/// In TLS 1.3 the byte behind the plaintext is its type.
#[uretprobe]
pub fn rustls_decrypted(_ctx: RetProbeContext) -> u32 {
    let pid_tgid = bpf_get_current_pid_tgid();
    let tgid = (pid_tgid >> 32) as u32;
    // SAFETY: the value is copied at once.
    let Some(call) = (unsafe { RUSTLS_CALLS.get(pid_tgid) }).copied() else { return 0 };
    if call.at == 0 {
        return 0;
    }
    let _ = RUSTLS_CALLS.remove(pid_tgid);
    // SAFETY: integers.
    let Some([_, at, len, last]) = (unsafe { user::read::<[u64; 4]>(call.result) }) else {
        count(counter::READ_FAULT, 1);
        return 0;
    };
    let Some(half) = named(tgid, call.half) else { return 0 };
    let before = at.wrapping_sub(call.at);
    // An error holds no such thing: the connection is over then.
    if before > call.len || len > PLAIN_MAX || before + len >= call.len {
        return 0;
    }
    let Some((content, version)) = kind(last) else {
        refuse();
        return 0;
    };
    half.next = call.number.wrapping_add(1);
    if content != content::DATA {
        may_change(half, direction::IN);
        return 0;
    }
    // SAFETY: an integer.
    let inner = if version == version::TLS13 { unsafe { user::read::<u8>(at + len) } } else { Some(0x17) };
    if inner != Some(0x17) || version != version::TLS12 && version != version::TLS13 {
        refuse();
        return 0;
    }
    if len == 0 {
        return 0;
    }
    if let Some((key, session)) = session_of(tgid, half, direction::IN) {
        plaintext(key, session, direction::IN, len as u32, 0, &Source::buffer(at));
    } else {
        half.missed = 1;
        count(counter::RECORD_UNTIED, 1);
    }
    0
}

/// Looks for records of rustls among the bytes of a call that is entered in a cell.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn rustls_records(slot: u32) -> u32 {
    let Some(Scratch { work, .. }) = cell_at(slot) else { return 0 };
    let (key, direction, tgid) = (work.key(), work.direction() & 1, (work.pid_tgid() >> 32) as u32);
    let Some(conn) = get(key) else { return 0 };
    // What is left of a record whose beginning an earlier call moved.
    let mut left = conn.ways[direction as usize].left as u32;
    let mut n = 0;
    while n < RECORDS_MAX {
        left = walk_pass(slot, left);
        let Some(Scratch { work, .. }) = cell_at(slot) else { return 0 };
        let is_whole = left == 0 && work.goes_on() && load_lead(work, PRINT as u32) && work.loaded() >= HEAD;
        if !is_whole || !is_record(u64::from_le_bytes(*work.lead::<8>())) {
            break;
        }
        let bytes = work.lead::<PRINT>();
        left = HEAD + u32::from_be_bytes([0, 0, bytes[3], bytes[4]]);
        if let Some(print) = print(bytes, work.loaded()) {
            rustls_record(tgid, print, key, direction);
        }
        n += 1;
    }
    conn.ways[direction as usize].left = u64::from(left);
    0
}

/// A record was sent to a socket, or received from it. Global: the verifier checks it once per program.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn rustls_record(tgid: u32, print: u64, socket: u64, direction: u32) -> u32 {
    let record = CiphertextKey::new(tgid, print);
    let Some(carrier) = get(socket) else { return 0 };
    let socket = SocketName { key: socket, id: carrier.id };
    if direction != u32::from(direction::OUT) {
        if RECEIVED.insert(record, socket, 0).is_err() {
            count(counter::SESSION_FULL, 1);
        }
        return 0;
    }
    // SAFETY: the value is copied at once.
    let Some(name) = (unsafe { ENCRYPTED.get(record) }).copied() else { return 0 };
    let _ = ENCRYPTED.remove(record);
    let Some(line) = line_of(name) else { return 0 };
    if line.socket.key != 0 {
        return 0;
    }
    line.socket = socket;
    carrier.halves |= half::RUSTLS;
    if line.session != 0 {
        if carrier.other == 0 {
            bind(line.session, socket.key, carrier);
        } else if carrier.other != line.session {
            // The socket has its session, by the half that receives: what was sent before is missing there.
            line.missed = 1;
            if let Some(session) = get(line.session) {
                conn::forget(line.session, session);
            }
        }
        line.session = 0;
    }
    0
}

/// Whether a process has used rustls.
#[inline(always)]
pub fn is_used(tgid: u32) -> bool {
    // SAFETY: nothing is kept.
    unsafe { RUSTLS_PROCESSES.get(tgid) }.is_some()
}
