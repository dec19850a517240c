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

/// Masks those bytes of a string which `keep` does not let pass, of a string that is written down in parts: `cuts` are the
/// places in the block where a part ends, in order, and the block may end within the string. The same bytes in front of a
/// cut give the same masked ones, whatever comes behind it. Of a symbol that a cut goes through, the bits in front of the
/// cut stay.
///
/// # Errors
/// As those of [`part`]: then all is overwritten that comes after the last good symbol.
pub fn in_parts(
    block: &mut [u8],
    text: &Text,
    cuts: &[usize],
    keep: impl FnMut(usize, u8) -> bool,
) -> Result<(), Error> {
    let is_whole = text.range.end <= block.len();
    let bytes = block.get_mut(text.range.start..).ok_or(Error::Truncated)?;
    let length = text.range.len().min(bytes.len());
    let bytes = bytes.get_mut(..length).ok_or(Error::Truncated)?;
    if !text.huffman {
        plain(bytes, keep);
        return Ok(());
    }
    let cuts: Vec<usize> = cuts.iter().filter_map(|cut| cut.checked_sub(text.range.start)).map(|at| at * 8).collect();
    coded_in_parts(bytes, is_whole, &cuts, keep)
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

/// `cuts` are in bits. What is written goes to the place of what was read, bit by bit.
fn coded_in_parts(
    bytes: &mut [u8],
    is_whole: bool,
    cuts: &[usize],
    mut keep: impl FnMut(usize, u8) -> bool,
) -> Result<(), Error> {
    let original = bytes.to_vec();
    let mut read = Bits::default();
    let mut run = Run::default();
    let (mut bit, mut at) = (0, 0);
    let read = loop {
        read.refill(&original);
        let symbol = match read.symbol() {
            Ok(Some(symbol)) => symbol,
            Ok(None) => break Ok(()),
            // The part ends within a symbol.
            Err(_) if !is_whole && bytes.len() * 8 - bit < LONGEST => break Ok(()),
            Err(why) => break Err(why),
        };
        let (code, length) = huffman::code(symbol);
        let end = bit + length as usize;
        if cuts.contains(&bit) {
            run.write(bytes, bit);
        }
        let through = cuts.iter().rev().find(|&&cut| bit < cut && cut < end);
        match (keep(at, symbol), through) {
            (true, _) => run.write(bytes, bit),
            (false, None) => run.add(length),
            (false, Some(cut)) => {
                run.write(bytes, bit);
                put(bytes, bit, lowest(code, length, end - cut), length);
            }
        }
        (bit, at) = (end, at + 1);
    };
    run.write(bytes, bit);
    if read.is_err() {
        for bit in bit..bytes.len() * 8 {
            put(bytes, bit, 1, 1);
        }
    }
    read
}

/// Symbols that are masked and not written yet.
#[derive(Default)]
struct Run {
    counts: [u32; LONGEST + 1],
    bits: usize,
}

impl Run {
    fn add(&mut self, length: u32) {
        if let Some(count) = self.counts.get_mut(length as usize) {
            *count += 1;
            self.bits += length as usize;
        }
    }

    /// Writes the run, which ends before this bit.
    fn write(&mut self, bytes: &mut [u8], end: usize) {
        let Self { counts, bits } = std::mem::take(self);
        let mut bit = end - bits;
        for (count, symbol) in counts.into_iter().zip(SYMBOLS) {
            for _ in 0..count {
                let (code, length) = huffman::code(symbol);
                put(bytes, bit, code, length);
                bit += length as usize;
            }
        }
    }
}

/// The lowest code of this length that differs in the last `free` bits only.
fn lowest(code: u32, length: u32, free: usize) -> u32 {
    let codes = (0..=255).map(huffman::code);
    codes
        .filter(|(other, n)| *n == length && other >> free == code >> free)
        .map(|(other, _)| other)
        .min()
        .unwrap_or(code)
}

/// Writes the low `length` bits of `code` from a bit on.
fn put(bytes: &mut [u8], bit: usize, code: u32, length: u32) {
    for n in 0..length {
        let at = bit + n as usize;
        if let Some(byte) = bytes.get_mut(at / 8) {
            let mask = 0x80 >> (at % 8);
            let set = code >> (length - 1 - n) & 1 != 0;
            *byte = if set { *byte | mask } else { *byte & !mask };
        }
    }
}
