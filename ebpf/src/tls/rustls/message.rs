//! Messages of rustls 0.23 in memory.
//!
//! The order of a structure's fields is the compiler's. What is here was taken from the machine code of rustls 0.23.46 by
//! rustc 1.95, in debug and in release builds. Each value that is read has to pass for what it is, or the record is left
//! alone and counted.

use netspan_ebpf::counter;

use crate::{emit::count, user};

/// Bytes of a record's head.
pub const HEAD: u32 = 5;
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
/// The type of application data in a record (RFC 8446 section 5.1).
const APPLICATION_DATA: u8 = 0x17;

/// Bytes of a handshake message's head: its type, and the length of what follows (RFC 8446 section 4).
const MESSAGE_HEAD: u64 = 4;
/// The head of a `Finished` with a hash of 32 or 48 bytes, and of a `KeyUpdate`, as little-endian numbers.
const FINISHED_32: u32 = u32::from_le_bytes([20, 0, 0, 32]);
const FINISHED_48: u32 = u32::from_le_bytes([20, 0, 0, 48]);
const KEY_UPDATE: u32 = u32::from_le_bytes([24, 0, 0, 1]);

/// `ProtocolVersion`: the place of the variant among `SSLv2`, `SSLv3`, `TLSv1_0`, `TLSv1_1`, `TLSv1_2`, `TLSv1_3`, three of
/// DTLS, `Unknown`.
mod version {
    pub const TLS12: u16 = 4;
    pub const TLS13: u16 = 5;
    pub const LAST: u16 = 9;
}

/// `ContentType`: the place of the variant among `ChangeCipherSpec`, `Alert`, `Handshake`, `ApplicationData`, `Heartbeat`,
/// `Unknown`.
pub struct Shape;

impl Shape {
    /// `Alert`
    pub const ALERT: u8 = 1;
    /// `Handshake`
    pub const HANDSHAKE: u8 = 2;
    /// `ApplicationData`
    pub const DATA: u8 = 3;
    const LAST: u8 = 5;
}

/// Something is not what it has to be.
#[inline(always)]
fn refuse<T>() -> Option<T> {
    count(counter::RECORD_UNREAD, 1);
    None
}

/// Words of user memory.
#[inline(always)]
fn words<const N: usize>(at: u64) -> Option<[u64; N]> {
    // SAFETY: integers.
    let words = unsafe { user::read(at) };
    if words.is_none() {
        count(counter::READ_FAULT, 1);
    }
    words
}

/// Whether a word may hold a `ContentType`, which has two bytes, and before or behind it a `ProtocolVersion`.
#[inline(always)]
fn is_kind(word: u64) -> bool {
    word as u8 <= Shape::LAST && (word >> 16) as u16 <= version::LAST
}

/// Plaintext.
pub struct Plain {
    /// One of [`Shape`].
    pub shape: u8,
    /// Where it is, or how many slices it is in.
    pub at: u64,
    /// How many bytes.
    pub len: u64,
    /// Where the slices are (a pointer and a length each), or 0.
    pub slices: u64,
    /// How many of their bytes come before it.
    pub skipped: u64,
}

impl Plain {
    /// An `OutboundPlainMessage`: where the first word is 0, a pointer and a length follow; else it is a pointer to slices,
    /// then their number, and the places among all their bytes where the message begins and ends. Then the kind.
    #[inline(always)]
    pub fn read(message: u64) -> Option<Self> {
        let [slices, at, third, fourth, kind] = words::<5>(message)?;
        let shape = kind as u8;
        let (skipped, len) = if slices == 0 { (0, third) } else { (third, fourth.wrapping_sub(third)) };
        let is_placed = if slices == 0 {
            len == 0 || at >= POINTER_MIN
        } else {
            slices >= POINTER_MIN && at <= CHUNKS_MAX && skipped >> 32 == 0
        };
        // Data goes as of TLS 1.2, whatever the version.
        let is_data = shape != Shape::DATA || (kind >> 16) as u16 == version::TLS12;
        if !is_kind(kind) || len > PLAIN_MAX || !is_placed || !is_data {
            return refuse();
        }
        Some(Self { shape, at, len, slices, skipped })
    }

    /// An `InboundPlainMessage` behind the tag of a `Result`: a pointer into the ciphertext's memory and a length, then the
    /// kind. In TLS 1.3 the byte behind the plaintext is its type (RFC 8446 section 5.2). Nothing for an error.
    #[inline(always)]
    pub fn decrypted(result: u64, cipher: u64, cipher_len: u64) -> Option<Self> {
        let [_, at, len, kind] = words::<4>(result)?;
        let before = at.wrapping_sub(cipher);
        // An error holds no such thing: the connection is over then.
        if before > cipher_len || len > PLAIN_MAX || before + len >= cipher_len {
            return None;
        }
        let (shape, version) = (kind as u8, (kind >> 16) as u16);
        if !is_kind(kind) || version != version::TLS12 && version != version::TLS13 {
            return refuse();
        }
        if shape == Shape::DATA && version == version::TLS13 {
            // SAFETY: an integer.
            let inner = unsafe { user::read::<u8>(at + len) };
            if inner != Some(APPLICATION_DATA) {
                return refuse();
            }
        }
        Some(Self { shape, at, len, slices: 0, skipped: 0 })
    }
}

/// Ciphertext.
pub struct Cipher {
    /// Where it is.
    pub at: u64,
    /// How many bytes.
    pub len: u64,
}

impl Cipher {
    /// An `InboundOpaqueMessage`: a pointer and a length, then the kind.
    #[inline(always)]
    pub fn read(message: u64) -> Option<Self> {
        let [at, len, kind] = words::<3>(message)?;
        if at < POINTER_MIN || len > CIPHER_MAX || !is_kind(kind) {
            return refuse();
        }
        Some(Self { at, len })
    }
}

/// An `OutboundOpaqueMessage` behind the tag of a `Result`: a vector with room for the record's head, then the record's
/// payload. Gives where the payload is, and how many bytes; `plain` is the plaintext's length.
#[inline(always)]
pub fn encrypted(result: u64, plain: u64) -> Option<(u64, u32)> {
    let [_, first, second, third] = words::<4>(result)?;
    // Pointer, length and capacity in the compiler's order; only the pointer is large.
    let (pointer, one, other) = if first >= POINTER_MIN {
        (first, second, third)
    } else if second >= POINTER_MIN {
        (second, first, third)
    } else {
        (third, first, second)
    };
    let len = if one < other { one } else { other };
    let added = len.wrapping_sub(u64::from(HEAD)).wrapping_sub(plain);
    let is_large = pointer >= POINTER_MIN && one < POINTER_MIN && other < POINTER_MIN;
    if !is_large || !ADDED.contains(&added) {
        return refuse();
    }
    Some((pointer + u64::from(HEAD), len as u32 - HEAD))
}

/// Whether a record is a handshake's that ends with a message after which keys change.
#[inline(always)]
pub fn changes_keys(plain: &Plain) -> bool {
    let Plain { shape, at, len, slices, .. } = *plain;
    let ends_with = |head: u32| {
        let size = MESSAGE_HEAD + u64::from(head >> 24);
        // SAFETY: an integer.
        len >= size && unsafe { user::read::<u32>(at + len - size) } == Some(head)
    };
    if shape != Shape::HANDSHAKE || slices != 0 {
        return false;
    }
    ends_with(FINISHED_32) || ends_with(FINISHED_48) || len == MESSAGE_HEAD + 1 && ends_with(KEY_UPDATE)
}
