//! The head of a record: what it holds, and two checksums, one of the head and one of the body. Pure.
//!
//! | bytes | what |
//! |---|---|
//! | 4 | [`MARK`] |
//! | 8 | ordinal of the record in its queue |
//! | 8 | when its first span came, milliseconds since the Unix epoch |
//! | 4 | spans |
//! | 4 | bytes of the body |
//! | 1, 1, 2 | format, compression, zero |
//! | 4 | CRC32C of the body |
//! | 4 | CRC32C of all before |
//!
//! All numbers are little-endian. The body follows, ready to send.
#![forbid(unsafe_code)]

use crate::export::delivery::{compress::Compression, encode::Format};

/// Bytes of a head.
pub const HEAD: usize = 40;
/// What a head begins with; a search for the next record looks for it.
pub const MARK: [u8; 4] = *b"nsR1";
/// Bytes of a body at most. A request is smaller; a larger number is damage.
pub const BODY_MAX: u32 = 64 << 20;

/// What the head of a record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Ordinal of the record in its queue, from 1, without gaps.
    pub ordinal: u64,
    /// When its first span came, milliseconds since the Unix epoch.
    pub time_ms: u64,
    /// Spans in it.
    pub spans: u32,
    /// Bytes of the body.
    pub length: u32,
    /// How the body is encoded.
    pub format: Format,
    /// How it is compressed.
    pub compression: Compression,
    /// CRC32C of the body.
    pub checksum: u32,
}

impl Head {
    /// The head as it is stored.
    pub fn bytes(&self) -> [u8; HEAD] {
        let mut out = [0; HEAD];
        let parts: [&[u8]; 8] = [
            &MARK,
            &self.ordinal.to_le_bytes(),
            &self.time_ms.to_le_bytes(),
            &self.spans.to_le_bytes(),
            &self.length.to_le_bytes(),
            &[self.format.code(), self.compression.code(), 0, 0],
            &self.checksum.to_le_bytes(),
            &[],
        ];
        let mut at = 0;
        for part in parts {
            out[at..at + part.len()].copy_from_slice(part);
            at += part.len();
        }
        let checksum = crc32c::crc32c(&out[..at]);
        out[at..].copy_from_slice(&checksum.to_le_bytes());
        out
    }

    /// Reads a head; absent when these bytes are none.
    pub fn parse(bytes: &[u8; HEAD]) -> Option<Self> {
        let (said, checksum) = bytes.split_last_chunk::<4>()?;
        let (mark, rest) = said.split_first_chunk::<4>()?;
        if *mark != MARK || crc32c::crc32c(said) != u32::from_le_bytes(*checksum) {
            return None;
        }
        let (ordinal, rest) = rest.split_first_chunk::<8>()?;
        let (time_ms, rest) = rest.split_first_chunk::<8>()?;
        let (spans, rest) = rest.split_first_chunk::<4>()?;
        let (length, rest) = rest.split_first_chunk::<4>()?;
        let ([format, compression, _, _], rest) = rest.split_first_chunk::<4>()?;
        let (checksum, _) = rest.split_first_chunk::<4>()?;
        let length = u32::from_le_bytes(*length);
        if length > BODY_MAX {
            return None;
        }
        Some(Self {
            ordinal: u64::from_le_bytes(*ordinal),
            time_ms: u64::from_le_bytes(*time_ms),
            spans: u32::from_le_bytes(*spans),
            length,
            format: Format::of_code(*format)?,
            compression: Compression::of_code(*compression)?,
            checksum: u32::from_le_bytes(*checksum),
        })
    }

    /// Bytes of the whole record.
    pub const fn record_len(&self) -> u64 {
        HEAD as u64 + self.length as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head() -> Head {
        Head {
            ordinal: 7,
            time_ms: 1_735_689_600_123,
            spans: 2048,
            length: 70_000,
            format: Format::OtlpJson,
            compression: Compression::Zstd,
            checksum: 0xdead_beef,
        }
    }

    #[test]
    fn a_head_is_read_as_it_was_written() {
        assert_eq!(Head::parse(&head().bytes()), Some(head()));
    }

    #[test]
    fn one_wrong_bit_anywhere_is_noticed() {
        for bit in 0..HEAD * 8 {
            let mut bytes = head().bytes();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Head::parse(&bytes), None, "bit {bit}");
        }
    }

    #[test]
    fn zeros_and_impossible_lengths_are_no_head() {
        assert_eq!(Head::parse(&[0; HEAD]), None);
        assert_eq!(Head::parse(&Head { length: BODY_MAX + 1, ..head() }.bytes()), None);
    }

    #[test]
    fn the_checksum_is_crc32c() {
        // The check value of the algorithm's catalogue entry.
        assert_eq!(crc32c::crc32c(b"123456789"), 0xe306_9283);
    }
}
