//! The Huffman code (RFC 7541, appendix B). It is canonical: codes of one length follow each other in the order of their
//! symbols, and begin where the shorter ones end. So the lengths are the whole code.

/// Bits of the longest code.
pub(super) const LONGEST: usize = 30;
/// Bits that [`FAST`] looks at.
pub(super) const FAST_BITS: u32 = 12;

/// Bits of the code of each symbol.
pub(super) static LENGTHS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28,
    28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12,
    10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, 15, 5, 6,
    5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22,
    22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22, 21, 20,
    22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28,
    27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28,
    27, 27, 27, 27, 27, 26, 30,
];

/// The codes of one length: the first of them, how many there are, and where their symbols begin in [`SYMBOLS`].
#[derive(Clone, Copy)]
pub(super) struct Group {
    pub(super) first: u32,
    pub(super) count: u32,
    pub(super) begin: u32,
}

/// All symbols in the order of their codes.
pub(super) static SYMBOLS: [u16; 257] = {
    let mut symbols = [0; 257];
    let mut filled = 0;
    let mut length = 1;
    while length <= LONGEST {
        let mut symbol = 0;
        while symbol < LENGTHS.len() {
            if LENGTHS[symbol] as usize == length {
                symbols[filled] = symbol as u16;
                filled += 1;
            }
            symbol += 1;
        }
        length += 1;
    }
    symbols
};

/// The codes by their length in bits.
pub(super) static GROUPS: [Group; LONGEST + 1] = {
    let mut groups = [Group { first: 0, count: 0, begin: 0 }; LONGEST + 1];
    let mut symbol = 0;
    while symbol < LENGTHS.len() {
        groups[LENGTHS[symbol] as usize].count += 1;
        symbol += 1;
    }
    let mut length = 1;
    while length <= LONGEST {
        let shorter = groups[length - 1];
        groups[length].first = (shorter.first + shorter.count) << 1;
        groups[length].begin = shorter.begin + shorter.count;
        length += 1;
    }
    groups
};

/// The code of each symbol, in the low bits.
pub(super) static CODES: [u32; 257] = {
    let mut codes = [0; 257];
    let mut n = 0;
    while n < SYMBOLS.len() {
        let symbol = SYMBOLS[n] as usize;
        let group = GROUPS[LENGTHS[symbol] as usize];
        codes[symbol] = group.first + n as u32 - group.begin;
        n += 1;
    }
    codes
};

/// What the next bits of a string are: one or two symbols. `bits` is 0 where a longer code begins.
#[derive(Clone, Copy)]
pub(super) struct Step {
    pub(super) symbols: [u8; 2],
    pub(super) count: u8,
    pub(super) bits: u8,
}

/// The step for each run of [`FAST_BITS`] bits.
pub(super) static FAST: [Step; 1 << FAST_BITS] = {
    let mut fast = [Step { symbols: [0; 2], count: 0, bits: 0 }; 1 << FAST_BITS];
    let mut n = 0;
    while n < SYMBOLS.len() {
        let first = SYMBOLS[n] as usize;
        let length = LENGTHS[first] as u32;
        if length > FAST_BITS {
            break;
        }
        let start = CODES[first] << (FAST_BITS - length);
        let one = Step { symbols: [first as u8, 0], count: 1, bits: length as u8 };
        fill(&mut fast, start, FAST_BITS - length, one);
        let mut m = 0;
        while LENGTHS[SYMBOLS[m] as usize] as u32 + length <= FAST_BITS {
            let second = SYMBOLS[m] as usize;
            let both = length + LENGTHS[second] as u32;
            let two = Step { symbols: [first as u8, second as u8], count: 2, bits: both as u8 };
            fill(&mut fast, start + (CODES[second] << (FAST_BITS - both)), FAST_BITS - both, two);
            m += 1;
        }
        n += 1;
    }
    fast
};

const fn fill(fast: &mut [Step; 1 << FAST_BITS], start: u32, free: u32, step: Step) {
    let mut at = start;
    while at < start + (1 << free) {
        fast[at as usize] = step;
        at += 1;
    }
}
