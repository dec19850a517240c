//! The first record of a flow while its bytes come in, in whatever pieces.

use netspan_ebpf::HELLO_MAX;

/// Bytes of a record's head (RFC 8446, section 5.1).
const HEAD: usize = 5;

/// The first record of a flow, of which [`HELLO_MAX`] bytes are kept at most.
#[derive(Debug, Default)]
pub struct Beginning {
    bytes: Vec<u8>,
    is_over: bool,
}

impl Beginning {
    /// Takes bytes that stand at `at` in the flow. Returns whether they were taken: they must follow those before.
    pub fn push(&mut self, at: u64, bytes: &[u8]) -> bool {
        let follows = !self.is_over && at == self.bytes.len() as u64 && self.bytes.len() + bytes.len() <= HELLO_MAX;
        if follows {
            self.bytes.extend_from_slice(bytes);
        }
        follows
    }

    /// The flow so far.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether no more of it will come: the record, or what is kept of it, is whole.
    pub fn is_whole(&self) -> bool {
        let Some(&[.., high, low]) = self.bytes.first_chunk::<HEAD>() else { return false };
        self.bytes.len() >= HELLO_MAX.min(HEAD + usize::from(u16::from_be_bytes([high, low])))
    }

    /// Whether [`end`](Self::end) was called.
    pub const fn is_over(&self) -> bool {
        self.is_over
    }

    /// Forgets the bytes, and takes no more.
    pub fn end(&mut self) {
        *self = Self { bytes: Vec::new(), is_over: true };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_whole_with_its_last_byte_in_whatever_pieces_it_comes() {
        let record = b"\x16\x03\x01\x00\x04abcd";
        for size in 1..=record.len() {
            let mut beginning = Beginning::default();
            for (n, piece) in record.chunks(size).enumerate() {
                assert!(!beginning.is_whole());
                assert!(beginning.push((n * size) as u64, piece), "pieces of {size}");
            }
            assert!(beginning.is_whole() && beginning.bytes() == record, "pieces of {size}");
        }
    }

    #[test]
    fn a_record_longer_than_the_bound_is_whole_with_the_bound() {
        let mut beginning = Beginning::default();
        assert!(beginning.push(0, b"\x16\x03\x01\x40\x00"));
        assert!(beginning.push(5, &[0; HELLO_MAX - 6]) && !beginning.is_whole());
        assert!(!beginning.push(HELLO_MAX as u64 - 1, &[0; 2]), "more than the bound");
        assert!(beginning.push(HELLO_MAX as u64 - 1, &[0]) && beginning.is_whole());
    }

    #[test]
    fn what_does_not_follow_is_not_taken() {
        let mut beginning = Beginning::default();
        assert!(!beginning.push(1, b"a"), "before it a byte is missing");
        assert!(beginning.push(0, b"ab"));
        for at in [0, 1, 3, u64::MAX] {
            assert!(!beginning.push(at, b"c"), "at {at}");
        }
        beginning.end();
        assert!(!beginning.push(0, b"ab") && beginning.bytes().is_empty() && beginning.is_over());
    }
}
