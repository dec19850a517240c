//! Masks strings of header blocks in place, for recordings: the masked block decodes to the same names and to values of
//! the same length, so that the entries of the dynamic table keep their sizes.
//!
//! A masked run of a Huffman-coded string consists of fixed symbols whose codes have the lengths of those that stood
//! there, in the order of their length: of a run, its length and how many of its symbols have codes of which length can
//! still be told, but not in which order.
#![forbid(unsafe_code)]

use super::huffman::{self, Bits};
use super::{Error, Text};

/// What stands in the place of a masked byte of a string that is not Huffman-coded.
pub const FILL: u8 = b'x';

/// Bits of the longest code of a symbol.
const LONGEST: usize = 30;

/// A symbol for each length of a code; 0 where no code is of that length. Visible where there are visible ones, and none
/// that parts a path or a query.
const SYMBOLS: [u8; LONGEST + 1] = {
    let mut symbols = [0; LONGEST + 1];
    let mut symbol: u8 = 255;
    while symbol > 0 {
        symbols[huffman::code(symbol).1 as usize] = symbol;
        symbol -= 1;
    }
    let mut n = 0;
    while n < PREFERRED.len() {
        symbols[huffman::code(PREFERRED[n]).1 as usize] = PREFERRED[n];
        n += 1;
    }
    symbols
};

/// One symbol for each of the shorter lengths, and one that does not end a line among the longest.
const PREFERRED: &[u8] = b"adxX!|>~^`\x16";

/// Masks a whole string of `block`, as [`part`] does.
///
/// # Errors
/// Those of [`part`].
pub fn whole(block: &mut [u8], text: &Text) -> Result<(), Error> {
    part(block, text, |_, _| false)
}

/// Masks those bytes of a string of `block` which `keep` does not let pass. `keep` is asked for each decoded byte, with
/// its position in the decoded string, in order and once.
///
/// # Errors
/// Where the string is not one of the block, or is Huffman-coded and malformed: then all of it is overwritten so that a
/// decoder fails there too.
pub fn part(block: &mut [u8], text: &Text, keep: impl FnMut(usize, u8) -> bool) -> Result<(), Error> {
    let bytes = block.get_mut(text.range.clone()).ok_or(Error::Truncated)?;
    if !text.huffman {
        plain(bytes, keep);
        return Ok(());
    }
    let masked = coded(bytes, keep);
    if masked.is_err() {
        bytes.fill(0xff);
    }
    masked
}

/// Overwrites a part of a block that could not be decoded, so that a decoder fails there too.
pub fn undecodable(rest: &mut [u8]) {
    rest.fill(0xff);
}

fn plain(bytes: &mut [u8], mut keep: impl FnMut(usize, u8) -> bool) {
    for (at, byte) in bytes.iter_mut().enumerate() {
        if !keep(at, *byte) {
            *byte = FILL;
        }
    }
}

fn coded(bytes: &mut [u8], mut keep: impl FnMut(usize, u8) -> bool) -> Result<(), Error> {
    let mut read = Bits::default();
    let mut write = Writer::default();
    let mut at = 0;
    loop {
        read.refill(bytes);
        let Some(symbol) = read.symbol()? else { break };
        if keep(at, symbol) {
            write.run(bytes);
            write.symbol(bytes, symbol);
        } else {
            write.masked(symbol);
        }
        at += 1;
    }
    write.run(bytes);
    write.finish(bytes);
    Ok(())
}

/// Writes codes over those that were read: it is never ahead of the reader, and writes whole bytes only.
#[derive(Default)]
struct Writer {
    /// Codes of each length in the masked run that is not written yet.
    run: [u32; LONGEST + 1],
    /// Bits that do not fill a byte yet, in the low bits, and how many.
    pending: u64,
    count: u32,
    at: usize,
}

impl Writer {
    fn masked(&mut self, symbol: u8) {
        let (_, length) = huffman::code(symbol);
        if let Some(count) = self.run.get_mut(length as usize) {
            *count += 1;
        }
    }

    /// Writes the masked run.
    fn run(&mut self, bytes: &mut [u8]) {
        let run = std::mem::replace(&mut self.run, [0; LONGEST + 1]);
        for (count, symbol) in run.into_iter().zip(SYMBOLS) {
            for _ in 0..count {
                self.symbol(bytes, symbol);
            }
        }
    }

    fn symbol(&mut self, bytes: &mut [u8], symbol: u8) {
        let (code, length) = huffman::code(symbol);
        self.pending = self.pending << length | u64::from(code);
        self.count += length;
        while self.count >= 8 {
            self.count -= 8;
            self.put(bytes, (self.pending >> self.count) as u8);
        }
    }

    /// Fills the last byte with ones.
    fn finish(&mut self, bytes: &mut [u8]) {
        if self.count > 0 {
            self.put(bytes, (self.pending << (8 - self.count)) as u8 | 0xff >> self.count);
        }
    }

    fn put(&mut self, bytes: &mut [u8], byte: u8) {
        if let Some(place) = bytes.get_mut(self.at) {
            *place = byte;
            self.at += 1;
        }
    }
}
