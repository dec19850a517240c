//! Which socket a session goes over. Three kinds of evidence, each of them exact:
//!
//! - the library uses the socket while the thread is in a call about the session;
//! - the bytes that a call sends begin as those that the library encrypted for the session (memory BIOs; for rustls,
//!   which has no descriptor either, see `rustls`);
//! - the session holds the descriptor (Go, see `golang`).
//!
//! In each case the socket's bytes must be records of TLS, and a socket has one session.

use netspan_ebpf::{counter, direction, known, origin};

use super::{layer, rustls};
use crate::{
    conn::{Conn, flag, get},
    emit::count,
    maps::{CIPHERTEXTS, CiphertextKey, TLS_CALLS},
    scratch::{Scratch, cell_at},
    user,
    walk::{Moved, load_lead},
};

/// Sending calls of a socket after which its session is not looked for any more; and calls after which none of rustls is.
const TRIES_MAX: u8 = 200;
/// Bytes of ciphertext that are looked at.
pub const LOOK: usize = 48;
/// Bytes of them by which it is recognised: those of its first record that has something to tell, at most.
const PRINT: usize = 40;
/// Bytes of a record that changes ciphers, which may stand before that one.
const CHANGE: usize = 6;
/// Bytes that a record's payload has at least: shorter ones (a change of ciphers) are the same on all connections.
const PAYLOAD_MIN: u32 = 16;

/// Whether bytes begin a record of TLS (RFC 8446 section 5.1, RFC 5246 section 6.2.1).
#[inline(always)]
pub fn is_record(lead: u64) -> bool {
    let [kind, major, minor, high, ..] = lead.to_le_bytes();
    (0x14..=0x17).contains(&kind) && major == 3 && minor <= 4 && high <= 0x48
}

/// Whether a call on a socket that carries TLS has to be looked at: its session is not known, or waits for its data.
#[inline(always)]
pub fn wants_carrier(moved: &Moved, conn: &mut Conn) -> bool {
    match conn.tls {
        layer::CARRIES => {
            if moved.arrived_ns != 0 {
                match get(conn.other) {
                    Some(session) if session.tgid == (moved.pid_tgid >> 32) as u32 => {
                        if session.arrived_ns == 0 {
                            session.arrived_ns = moved.arrived_ns;
                        }
                    }
                    // A child goes on with its parent's session, or the session gave way to others.
                    _ if conn.tries < TRIES_MAX => return true,
                    _ => {}
                }
            }
            is_carrier(conn, moved.direction)
        }
        _ => is_carrier(conn, moved.direction),
    }
}

/// Whether bytes that are moved on a socket have to be looked at: they are TLS of which it is not known whose it is.
#[inline(always)]
pub fn is_carrier(conn: &Conn, direction: u8) -> bool {
    let may_be_rustls = match conn.tls {
        layer::CARRIER if conn.tries < TRIES_MAX => return true,
        layer::CARRIES => conn.halves & rustls::RUSTLS != 0 && conn.halves & 1 << (direction & 1) == 0,
        layer::CARRIER => true,
        // Joined late, it may have been in the middle of a record, which is as long as several calls of rustls.
        layer::NONE => conn.origin == origin::FOUND,
        _ => false,
    };
    may_be_rustls && conn.looks < TRIES_MAX && rustls::uses_rustls(conn.tgid)
}

/// Looks for the session of the socket whose call is entered in a cell. Global: the verifier checks it once per program.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn carried(slot: u32) -> u32 {
    let Some(Scratch { work, .. }) = cell_at(slot) else { return 0 };
    let (key, pid_tgid, direction) = (work.key(), work.pid_tgid(), work.direction());
    if !load_lead(work, LOOK as u32) {
        return 0;
    }
    let Some(conn) = get(key) else { return 0 };
    let tgid = (pid_tgid >> 32) as u32;
    // A library may read a record's head alone: five bytes.
    let is_record = is_record(u64::from_le_bytes(*work.lead::<8>()));
    // SAFETY: the values are copied at once.
    unsafe {
        if is_record && conn.halves & rustls::RUSTLS == 0 {
            if let Some(call) = TLS_CALLS.get(pid_tgid).copied()
                && call.session != 0
            {
                bind(call.session, key, conn);
                return 0;
            }
            if direction == u32::from(direction::OUT)
                && let Some(print) = print(work.lead::<LOOK>(), work.loaded())
                && let Some(&session) = CIPHERTEXTS.get(CiphertextKey::new(tgid, print))
            {
                bind(session, key, conn);
                return 0;
            }
        }
    }
    if is_record && direction == u32::from(direction::OUT) && conn.tries < TRIES_MAX {
        conn.tries += 1;
    }
    if conn.looks < TRIES_MAX && rustls::uses_rustls(tgid) {
        conn.looks += 1;
        rustls::rustls_records(slot);
    }
    0
}

/// Remembers what was encrypted for a session, until it is known which socket carries it.
#[inline(always)]
pub fn ciphertext(pid_tgid: u64, session: u64, data: u64, len: u32) {
    let Some(conn) = get(session) else { return };
    if conn.other != 0 || len < PAYLOAD_MIN {
        return;
    }
    // SAFETY: integers. What lies behind the data is not used.
    let Some(bytes) = (unsafe { user::read_up_to::<LOOK>(data, len) }) else { return };
    if let Some(print) = print(&bytes, len)
        && CIPHERTEXTS.insert(CiphertextKey::new((pid_tgid >> 32) as u32, print), session, 0).is_err()
    {
        count(counter::SESSION_FULL, 1);
    }
}

/// A number that stands for the first record of ciphertext, by its length and its payload: what follows it in a buffer
/// does not matter.
#[inline(always)]
pub fn print(bytes: &[u8; LOOK], len: u32) -> Option<u64> {
    let changes = bytes[0] == 0x14 && bytes[3] == 0 && bytes[4] == 1;
    // `first_chunk` of what is left: both are long enough.
    let (bytes, len): (&[u8; PRINT], u32) = if changes {
        (bytes[CHANGE..].first_chunk()?, len.saturating_sub(CHANGE as u32))
    } else {
        (bytes.first_chunk()?, len)
    };
    let size = u32::from_be_bytes([0, 0, bytes[3], bytes[4]]);
    if bytes[0] < 0x14 || bytes[0] > 0x17 || bytes[1] != 3 || size < PAYLOAD_MIN || len < 5 + PAYLOAD_MIN {
        return None;
    }
    let mut print = 0u64;
    let mut word = 0;
    while word < PRINT / 8 {
        let end = word as u32 * 8 + 8;
        if end > 5 + size {
            break;
        }
        if end > len {
            return None;
        }
        let at = word * 8;
        let part = u64::from_le_bytes([
            bytes[at],
            bytes[at + 1],
            bytes[at + 2],
            bytes[at + 3],
            bytes[at + 4],
            bytes[at + 5],
            bytes[at + 6],
            bytes[at + 7],
        ]);
        let part = if word == 0 { part >> 24 } else { part };
        print = (print ^ part).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        print ^= print >> 29;
        word += 1;
    }
    Some(print)
}

/// Ties a session to the socket that carries it.
#[inline(always)]
pub fn bind(session: u64, socket: u64, carrier: &mut Conn) {
    let Some(conn) = get(session) else { return };
    if conn.tls != layer::SESSION || carrier.tls == layer::SESSION {
        return;
    }
    carrier.tls = layer::CARRIES;
    carrier.other = session;
    conn.other = socket;
    adopt(conn, carrier);
}

/// A session goes by the addresses of its socket.
#[inline(always)]
fn adopt(conn: &mut Conn, carrier: &Conn) {
    conn.local = carrier.local;
    conn.peer = carrier.peer;
    conn.local_port = carrier.local_port;
    conn.peer_port = carrier.peer_port;
    conn.family = carrier.family;
    conn.netns = carrier.netns;
    conn.cookie = carrier.cookie;
    conn.fd = carrier.fd;
    conn.listen_fd = carrier.listen_fd;
    conn.syn_ns = carrier.syn_ns;
    conn.established_ns = carrier.established_ns;
    conn.accepted_ns = carrier.accepted_ns;
    conn.over = carrier.id;
    conn.sequences = carrier.sequences;
    if carrier.role != netspan_ebpf::role::UNKNOWN {
        conn.role = carrier.role;
    }
    conn.known = carrier.known | known::SOCKET;
    conn.port_generation = 0;
    conn.flags |= flag::CHANGED;
}

/// Takes over what became known of the socket since.
#[inline(always)]
pub fn refresh(conn: &mut Conn) {
    const ALL: u8 = known::LOCAL | known::PEER | known::COOKIE;
    if conn.other != 0
        && conn.known & ALL != ALL
        && let Some(carrier) = get(conn.other)
        && (carrier.known != conn.known || carrier.local_port != conn.local_port)
        && carrier.id == conn.over
    {
        adopt(conn, carrier);
    }
}
