//! A Bloom filter in blocks of 256 bits (Putze, Sanders, Singler: cache-efficient Bloom filters): it says of a thing that
//! it is surely not in a block of spans, or that it may be. About 10 bits per thing, one in a hundred answers is wrong.

/// Bytes of one block of bits.
const BLOCK: usize = 32;
/// Bits per thing where one answer in a hundred may be wrong.
pub const BITS: usize = 10;
/// Bits per thing where one in 600 may be: for filters that are asked for hundreds of things at a time.
pub const BITS_MANY: usize = 16;
/// Odd numbers that choose one bit in each of the eight words (as in Parquet's split-block filters).
const SALT: [u32; 8] =
    [0x47b6_137b, 0x4497_4d91, 0x8824_ad5b, 0xa2b7_289d, 0x7054_95c7, 0x2df1_424b, 0x9efc_4947, 0x5c6b_fb31];

/// The hash of a thing that a filter may hold: of bytes in a name space (FNV-1a, then mixed). It is stored: it must never
/// change.
pub fn hash(space: &[u8], bytes: &[u8]) -> u64 {
    let all = space.iter().chain(&[0]).chain(bytes);
    let hash = all
        .fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3));
    let mixed = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    mixed ^ (mixed >> 33)
}

/// A filter of these hashes, with so many bits for each.
pub fn build(hashes: &[u64], bits: usize) -> Vec<u8> {
    let blocks = (hashes.len() * bits).div_ceil(BLOCK * 8).max(1);
    let mut bits = vec![0; blocks * BLOCK];
    for &hash in hashes {
        let at = place(hash, blocks) * BLOCK;
        for (word, bit) in words(hash).enumerate() {
            bits[at + word * 4 + (bit / 8) as usize] |= 1 << (bit % 8);
        }
    }
    bits
}

/// Whether a filter may hold this hash.
pub fn may_hold(bits: &[u8], hash: u64) -> bool {
    let blocks = bits.len() / BLOCK;
    let Some(block) = bits.chunks_exact(BLOCK).nth(place(hash, blocks)) else { return true };
    words(hash).enumerate().all(|(word, bit)| block[word * 4 + (bit / 8) as usize] & (1 << (bit % 8)) != 0)
}

fn place(hash: u64, blocks: usize) -> usize {
    (((hash >> 32) * blocks as u64) >> 32) as usize
}

fn words(hash: u64) -> impl Iterator<Item = u32> {
    SALT.into_iter().map(move |salt| (hash as u32).wrapping_mul(salt) >> 27)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_in_is_found_and_little_else() {
        let number = |n: u64| hash(b"n", &n.to_le_bytes());
        for (bits, wrong_max) in [(BITS, 2500), (BITS_MANY, 400)] {
            let filter = build(&(0..8192).map(number).collect::<Vec<_>>(), bits);
            assert!((0..8192).all(|n| may_hold(&filter, number(n))));
            let wrong = (8192..108_192).filter(|&n| may_hold(&filter, number(n))).count();
            assert!(wrong < wrong_max, "{wrong} of 100,000 with {bits} bits");
        }
    }

    #[test]
    fn an_empty_filter_holds_nothing_and_a_cut_one_rules_nothing_out() {
        assert!(!may_hold(&build(&[], BITS), hash(b"", b"x")));
        assert!(may_hold(&[], 1));
    }
}
