//! Ids as lower-case hexadecimal text, and nothing else.

use std::fmt;

use super::{SpanId, TraceId};

const DIGITS: &[u8; 16] = b"0123456789abcdef";

impl TraceId {
    /// Its digits.
    pub fn hex(self) -> [u8; 32] {
        digits(&self.0)
    }
}

impl SpanId {
    /// Its digits.
    pub fn hex(self) -> [u8; 16] {
        digits(&self.0)
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show(&self.hex(), f)
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show(&self.hex(), f)
    }
}

fn digits<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut text = [0; N];
    for (pair, byte) in text.chunks_exact_mut(2).zip(bytes) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
    text
}

fn show(digits: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.pad(std::str::from_utf8(digits).expect("hexadecimal digits are text"))
}
