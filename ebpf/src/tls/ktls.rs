//! Kernel TLS (`Documentation/networking/tls.rst`): after the hand-shake the process hands its keys to the kernel, and what
//! goes through the socket's calls is plaintext.
//!
//! A direction is known to be so by exact evidence only: the key was taken (`setsockopt`, family `syscall`), or the bytes
//! went through the kernel's functions of TLS (family `socket`). Whose bytes they are is decided call by call:
//!
//! - within a library's call about a session, the library's hooks tell them;
//! - of a session that a library holds, `sendfile` and `splice` alone are told here: what is in the process's memory the
//!   library may tell, now or later (it may have read ahead, or collected what it sends);
//! - where no library holds one, the connection gets a session of its own.
//!
//! Where the kernel has the keys of one direction only and no library is hooked, only half of what is said can be seen: it
//! is let go.

use netspan_ebpf::{direction, origin};

use super::{
    calling,
    carrier::{bind, refresh},
    layer, tls_make,
};
use crate::{
    conn::{self, Conn, class, conn_part},
    kernel,
    maps::CONNS,
    user,
};

/// Bit of [`Conn::ktls`]: the socket's session is no library's. Bits 0 and 1 are the directions that the kernel encrypts.
const OWN: u8 = 4;
/// Bit of [`Conn::ktls`]: one direction is ciphertext to us, so that there is no session.
const HALF: u8 = 8;

/// `application_data` among the types of records (RFC 8446 section 5.1).
const APPLICATION_DATA: u8 = 23;
/// Level of control messages of kernel TLS, and their types `TLS_SET_RECORD_TYPE` and `TLS_GET_RECORD_TYPE`.
const SOL_TLS: u32 = 282;
const RECORD_TYPES: [u32; 2] = [1, 2];
/// Where in `struct msghdr` of the 64-bit ABI the control messages' address is; their length follows.
const CONTROL: u64 = 32;
/// Bytes of a `struct cmsghdr`, and of one with a record's type, padded.
const CMSG_HEAD: u64 = 16;
const CMSG_SPACE: u64 = 24;

/// From now on the kernel encrypts a direction.
#[inline(always)]
pub fn begin_ktls(conn: &mut Conn, direction: u32) {
    conn.ktls |= 1 << (direction & 1);
    conn.class = class::OPAQUE;
    if conn.tls == layer::NONE {
        conn.tls = layer::CARRIER;
    }
}

/// The connection whose end a socket's end is: its session's, where that is no library's.
#[inline(always)]
pub fn speaker(conn: &'static mut Conn) -> Option<&'static mut Conn> {
    if conn.ktls & OWN == 0 { Some(conn) } else { conn::get(conn.other) }
}

/// What is to be done with bytes that a call moved on a socket with kernel TLS: the session whose plaintext they are, or one
/// of the values below. `in_memory`: they are in the process's memory. Global: the verifier checks it once per program.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn ktls_carrier(key: u64, direction: u32, pid_tgid: u64, in_memory: u32) -> u64 {
    let Some(carrier) = conn::get(key) else { return 0 };
    let session = calling(pid_tgid);
    if carrier.ktls >> (direction & 1) & 1 == 0 {
        if carrier.ktls & OWN != 0 && session == 0 {
            // Without a word: what its exchanges were is not known.
            let _ = CONNS.remove(carrier.other);
            carrier.other = 0;
            carrier.tls = layer::CARRIER;
            carrier.ktls = carrier.ktls & !OWN | HALF;
        }
        return CIPHERTEXT;
    }
    if session != 0 {
        if carrier.other != session {
            if carrier.ktls & OWN != 0 {
                carrier.ktls &= !OWN;
                conn_part(carrier.other, key);
            }
            bind(session, key, carrier);
        }
        return 0;
    }
    if carrier.ktls & HALF != 0 {
        return 0;
    }
    let tgid = (pid_tgid >> 32) as u32;
    if conn::get(carrier.other).is_none() {
        if carrier.other != 0 && carrier.ktls & OWN == 0 {
            // A library's, which gave way to others.
            return 0;
        }
        let origin = if carrier.origin == origin::FOUND { origin::FOUND } else { origin::SESSION };
        let made = tls_make(tgid, u32::from(origin), u32::from(carrier.role));
        if made == 0 {
            return 0;
        }
        bind(made, key, carrier);
        carrier.ktls |= OWN;
    } else if carrier.ktls & OWN == 0 && in_memory != 0 {
        return 0;
    }
    let Some(conn) = conn::get(carrier.other) else { return 0 };
    conn.tgid = tgid;
    refresh(conn);
    carrier.other
}

/// The bytes are ciphertext: no key is of this number.
pub const CIPHERTEXT: u64 = 1;

/// Whether the control messages of a `struct msghdr` in user memory say that the bytes are a record that is no data. Global,
/// for a stack of its own.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn ktls_control(message: u64) -> u32 {
    // SAFETY: integers.
    let Some([control, len]) = (unsafe { user::read::<[u64; 2]>(message + CONTROL) }) else { return 0 };
    if control == 0 || len <= CMSG_HEAD {
        return 0;
    }
    is_control(control)
}

/// The same of the kernel's own `struct msghdr` as a call left it: what is sent was copied to kernel memory, and what was
/// received stands in user memory before where the next one would.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn ktls_control_of(message: u64, direction: u32) -> u32 {
    let (control, len) = kernel::control(message);
    if control == 0 {
        return 0;
    }
    if direction == u32::from(direction::IN) {
        return is_control(control - CMSG_SPACE);
    }
    if len <= CMSG_HEAD {
        return 0;
    }
    let Some([_, kind, record]) = kernel::read::<[u64; 3]>(control) else { return 0 };
    u32::from(is_type(kind) && record as u8 != APPLICATION_DATA)
}

/// Whether a control message in user memory says so.
#[inline(always)]
fn is_control(control: u64) -> u32 {
    // SAFETY: integers.
    unsafe {
        let Some([_, kind]) = user::read::<[u64; 2]>(control) else { return 0 };
        if !is_type(kind) {
            return 0;
        }
        u32::from(user::read::<u8>(control + CMSG_HEAD).is_some_and(|record| record != APPLICATION_DATA))
    }
}

/// Whether level and type of a control message are those of a record's type.
#[inline(always)]
fn is_type(kind: u64) -> bool {
    kind as u32 == SOL_TLS && ((kind >> 32) as u32 == RECORD_TYPES[0] || (kind >> 32) as u32 == RECORD_TYPES[1])
}
