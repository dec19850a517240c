//! Integers and the bounds of strings of a header block (RFC 7541, section 5).

use super::Error;
use std::ops::Range;

/// A string of a header block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    /// Its bytes in the block, without the length before them.
    pub range: Range<usize>,
    /// Whether it is Huffman-coded.
    pub huffman: bool,
}

/// A header block, and how far it has been read.
pub(super) struct Input<'a> {
    block: &'a [u8],
    at: usize,
}

impl<'a> Input<'a> {
    /// The block from this place on.
    pub(super) fn at(block: &'a [u8], at: usize) -> Self {
        Self { block, at }
    }

    pub(super) fn position(&self) -> usize {
        self.at
    }

    /// The next byte, which begins a representation.
    pub(super) fn next(&mut self) -> Option<u8> {
        let byte = *self.block.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    /// The integer that begins with the low `prefix` bits of `first` (section 5.1).
    pub(super) fn integer(&mut self, first: u8, prefix: u32) -> Result<u32, Error> {
        let full = (1 << prefix) - 1;
        let low = u32::from(first) & full;
        if low < full { Ok(low) } else { self.longer(full) }
    }

    fn longer(&mut self, prefix: u32) -> Result<u32, Error> {
        let mut sum = u64::from(prefix);
        for shift in [0, 7, 14, 21, 28] {
            let byte = self.next().ok_or(Error::Truncated)?;
            sum += u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return u32::try_from(sum).map_err(|_| Error::IntegerTooLarge);
            }
        }
        Err(Error::IntegerTooLarge)
    }

    /// The bounds of the string that comes next (section 5.2).
    pub(super) fn text(&mut self) -> Result<Text, Error> {
        let text = self.text_begun()?;
        if text.range.end > self.block.len() { Err(Error::Truncated) } else { Ok(text) }
    }

    /// The same of a string that may go on behind the end of the block.
    pub(super) fn text_begun(&mut self) -> Result<Text, Error> {
        let first = self.next().ok_or(Error::Truncated)?;
        let length = self.integer(first, 7)? as usize;
        let range = self.at..self.at.checked_add(length).ok_or(Error::Truncated)?;
        self.at = range.end;
        Ok(Text { range, huffman: first >= 0x80 })
    }

    /// The bytes of a string of this block.
    pub(super) fn bytes(&self, text: &Text) -> &'a [u8] {
        self.block.get(text.range.clone()).unwrap_or_default()
    }
}
