//! Records of rustls, recognised on sockets by their ciphertext: what a line encrypts is looked for among what is sent,
//! what a half decrypts among what was received.

use netspan_ebpf::{counter, direction};

use super::{
    half::{Half, HalfName, RUSTLS, SocketName, carrier, line_of},
    message::HEAD,
};
use crate::{
    conn::get,
    emit::count,
    maps::{CONNS, CiphertextKey, ENCRYPTED, RECEIVED, RUSTLS_PROCESSES},
    scratch::{Scratch, cell_at},
    tls::carrier::{LOOK, bind, is_record, print},
    user,
    walk::{load_lead, walk_pass},
};

/// Records of one call that are looked at.
const RECORDS_MAX: u32 = 16;

/// Whether a process has used rustls. What it means for a socket is decided by ciphertext.
#[inline(always)]
pub fn uses_rustls(tgid: u32) -> bool {
    // SAFETY: nothing is kept.
    unsafe { RUSTLS_PROCESSES.get(tgid) }.is_some()
}

/// The number that stands for a record, by its payload.
#[inline(always)]
fn print_of(payload: u64, len: u32) -> Option<u64> {
    let [high, low] = (len as u16).to_be_bytes();
    // SAFETY: integers. The head, where there is one, was perhaps not filled in yet.
    let mut bytes = unsafe { user::read_up_to::<LOOK>(payload.wrapping_sub(u64::from(HEAD)), HEAD + len) }?;
    bytes[0] = 0x17;
    bytes[1] = 3;
    bytes[3] = high;
    bytes[4] = low;
    print(&bytes, HEAD + len)
}

/// Remembers what a line encrypted.
#[inline(always)]
pub fn remember(tgid: u32, line: HalfName, payload: u64, len: u32) {
    if let Some(print) = print_of(payload, len)
        && ENCRYPTED.insert(CiphertextKey::new(tgid, print), line, 0).is_err()
    {
        count(counter::SESSION_FULL, 1);
    }
}

/// Ties a half to the socket that what it decrypts was received from, if that is known; whatever its line says.
#[inline(always)]
pub fn received(tgid: u32, half: &mut Half, at: u64, len: u64) {
    let Some(print) = print_of(at, len as u32) else { return };
    let key = CiphertextKey::new(tgid, print);
    // SAFETY: the value is copied at once.
    let Some(socket) = (unsafe { RECEIVED.get(key) }).copied() else { return };
    let _ = RECEIVED.remove(key);
    if let Some(carrier) = carrier(socket) {
        half.socket = socket;
        carrier.halves |= RUSTLS;
    }
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
        let is_whole = left == 0 && work.goes_on() && load_lead(work, LOOK as u32) && work.loaded() >= HEAD;
        if !is_whole || !is_record(u64::from_le_bytes(*work.lead::<8>())) {
            break;
        }
        let bytes = work.lead::<LOOK>();
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
    if direction != u32::from(direction::OUT) {
        if RECEIVED.insert(record, SocketName { key: socket, id: carrier.id }, 0).is_err() {
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
    line.socket.key = socket;
    line.socket.id = carrier.id;
    carrier.halves |= RUSTLS;
    if line.session != 0 {
        if carrier.other == 0 {
            bind(line.session, socket, carrier);
        } else if carrier.other != line.session {
            // The socket has its session, by the half that receives: what was sent before is missing there.
            if let Some(session) = get(line.session) {
                line.missed = session.ways[1].pos;
                // It is tied to nothing yet.
                let _ = CONNS.remove(line.session);
            }
        }
        line.session = 0;
    }
    0
}
