//! Decodes and measures Huffman-coded strings (RFC 7541, section 5.2): two symbols of the common ones per look-up.

mod code;

use super::Error;
use code::{CODES, FAST, FAST_BITS, GROUPS, LENGTHS, LONGEST, SYMBOLS};

/// Appends the decoded string to `out`.
pub(super) fn decode(text: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
    let begin = out.len();
    // The shortest code has 5 bits; a look-up writes two bytes even if it gives one.
    out.resize(begin + text.len() * 8 / 5 + 2, 0);
    let mut end = begin;
    let decoded = each(text, |symbols, count| {
        if let Some(place) = out.get_mut(end..end + 2) {
            place.copy_from_slice(&symbols);
        }
        end += count;
    });
    out.truncate(if decoded.is_ok() { end } else { begin });
    decoded
}

/// Bytes of the decoded string.
pub(super) fn measure(text: &[u8]) -> Result<usize, Error> {
    let mut length = 0;
    each(text, |_, count| length += count)?;
    Ok(length)
}

/// Gives the symbols of a string, one or two at a time, with their number.
#[inline]
fn each(text: &[u8], mut give: impl FnMut([u8; 2], usize)) -> Result<(), Error> {
    let mut bits = Bits::default();
    loop {
        bits.refill(text);
        if bits.count < FAST_BITS {
            break;
        }
        while bits.count >= FAST_BITS {
            let step = bits.fast();
            if step.bits == 0 {
                bits.refill(text);
                match bits.symbol()? {
                    Some(symbol) => give([symbol, 0], 1),
                    None => return Ok(()),
                }
            } else {
                bits.skip(u32::from(step.bits));
                give(step.symbols, usize::from(step.count));
            }
        }
    }
    while let Some(symbol) = bits.symbol()? {
        give([symbol, 0], 1);
    }
    Ok(())
}

/// The bits of a string that come next. It does not borrow the string, so that [`mask`](super::mask) can write behind it.
#[derive(Default)]
pub(super) struct Bits {
    /// The next bits, from the highest on.
    window: u64,
    /// How many bits of `window` count. The rest are zeros, or already what comes next: to set those again changes nothing.
    count: u32,
    /// Bytes taken from the string; the last of them may be in `window` in part.
    at: usize,
}

impl Bits {
    /// Takes more bits of `text`: 56 at least, or all that are left.
    #[inline]
    pub(super) fn refill(&mut self, text: &[u8]) {
        if let Some(next) = text.get(self.at..).and_then(<[u8]>::first_chunk) {
            self.window |= u64::from_be_bytes(*next) >> self.count;
            let bytes = (63 - self.count) / 8;
            self.at += bytes as usize;
            self.count += bytes * 8;
            return;
        }
        while let (true, Some(byte)) = (self.count <= 56, text.get(self.at)) {
            self.window |= u64::from(*byte) << (56 - self.count);
            self.count += 8;
            self.at += 1;
        }
    }

    #[inline]
    fn fast(&self) -> code::Step {
        FAST[(self.window >> (64 - FAST_BITS)) as usize]
    }

    #[inline]
    fn skip(&mut self, bits: u32) {
        self.window <<= bits;
        self.count -= bits;
    }

    /// The next symbol, or nothing where the string ends in order. [`refill`](Self::refill) goes before it.
    pub(super) fn symbol(&mut self) -> Result<Option<u8>, Error> {
        for (length, group) in (0..=LONGEST as u32).zip(&GROUPS).skip(5) {
            if length > self.count {
                break;
            }
            let nth = (self.window >> (64 - length)) as u32;
            let nth = nth.wrapping_sub(group.first);
            if nth < group.count {
                self.skip(length);
                let symbol = SYMBOLS[(group.begin + nth) as usize];
                return u8::try_from(symbol).map(Some).map_err(|_| Error::Huffman);
            }
        }
        let ones = self.window.leading_ones() >= self.count;
        if self.count < 8 && ones { Ok(None) } else { Err(Error::Huffman) }
    }
}

/// Code of a symbol and its length in bits.
pub(super) const fn code(symbol: u8) -> (u32, u32) {
    (CODES[symbol as usize], LENGTHS[symbol as usize] as u32)
}
