//! Bytes that the kernel encrypts or decrypted: a call on the socket moved plaintext of the session that it carries.

use super::{Work, frame::NONE, step::walk_on};
use crate::{
    conn::{class, get},
    scratch::{Scratch, cell_at},
    tls::{CIPHERTEXT, ktls_carrier},
};

/// Walks over the bytes of the call that is entered in a cell as those of the socket's session. Says whether that is all:
/// else they are ciphertext.
#[inline(always)]
pub fn walk_session(slot: u32) -> bool {
    match ktls_enter(slot) {
        CALL_IS_CIPHERTEXT => false,
        CALL_IS_PLAINTEXT => {
            walk_on(slot);
            true
        }
        _ => true,
    }
}

const CALL_IS_NOTHING: u32 = 0;
const CALL_IS_PLAINTEXT: u32 = 1;
const CALL_IS_CIPHERTEXT: u32 = 2;

/// Enters the session in the place of its socket. Global: the verifier checks it once per program.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn ktls_enter(slot: u32) -> u32 {
    let Some(Scratch { work, .. }) = cell_at(slot) else { return CALL_IS_NOTHING };
    let in_memory = u32::from(work.segment != 0 || work.iov_left != 0);
    let session = ktls_carrier(work.key, work.direction, work.pid_tgid, in_memory);
    if session == CIPHERTEXT {
        return CALL_IS_CIPHERTEXT;
    }
    let Some(conn) = get(session) else { return CALL_IS_NOTHING };
    let index = (work.direction & 1) as usize;
    let pos = conn.ways[index].pos;
    conn.ways[index].pos = pos + u64::from(work.total);
    if conn.class == class::OPAQUE {
        return CALL_IS_NOTHING;
    }
    begin(work, session, pos);
    work.turned = u32::from(conn.turned >> index & 1);
    conn.turned &= !(1 << index);
    work.way.set(&conn.ways[index]);
    CALL_IS_PLAINTEXT
}

#[inline(always)]
fn begin(work: &mut Work, session: u64, pos: u64) {
    work.key = session;
    work.event.pos = pos;
    work.pending = 0;
    work.piece = NONE;
    work.filled = 0;
    work.prefixes = 0;
}
