//! Hostile input: whatever comes, the decoder does not panic, gives no more fields than bytes, and keeps within its
//! bounds.

use super::random::{Random, seeds};
use super::traffic::Traffic;
use super::*;

/// Seeds of a quick round; each is a connection of [`BLOCKS`] blocks.
const ROUNDS: u64 = 300;
const BLOCKS: usize = 20;

fn raw(random: &mut Random) -> Vec<u8> {
    let length = random.pick(&[0, 1, 2, 3, 5, 8, 20, 100, 300]);
    let mut bytes = random.bytes(length);
    // Steer to short strings and to the dynamic table.
    for byte in &mut bytes {
        match random.below(4) {
            0 => *byte &= 0x87,
            1 => *byte = random.pick(&[0x40, 0xbe, 0xbf, 0x7e, 0x20, 0x3f, 0xff, 0x82, 0x80, 0x00, 0x10]),
            _ => {}
        }
    }
    bytes
}

fn mutated(random: &mut Random, traffic: &mut Traffic) -> Vec<u8> {
    let mut bytes = traffic.block(random).bytes;
    if bytes.is_empty() {
        return bytes;
    }
    for _ in 0..random.below(4) {
        let at = random.below(bytes.len());
        match random.below(4) {
            0 => bytes[at] = random.next() as u8,
            1 => bytes[at] ^= 1 << random.below(8),
            2 => bytes.truncate(at + 1),
            _ => {
                let end = at + random.below((bytes.len() - at).min(40));
                bytes.extend_from_within(at..end);
            }
        }
    }
    bytes
}

fn round(seed: u64, raw_only: bool) {
    let random = &mut Random::new(seed);
    let traffic = &mut Traffic::new(random);
    let mut decoder = Decoder::new(random.pick(&[Start::Beginning, Start::Middle]));
    if random.once_in(2) {
        decoder.set_limit(random.pick(&[0, 8192, u32::MAX]));
    }
    for _ in 0..BLOCKS {
        let mut block = if raw_only { raw(random) } else { mutated(random, traffic) };
        let mut texts = Vec::new();
        let mut fields = 0;
        let kept = random.below(3);
        let result = decoder.decode(
            &block,
            |name| name.len() % 3 != kept,
            |field| {
                fields += 1;
                texts.extend(field.literal);
            },
        );
        assert!(fields <= block.len(), "seed {seed}");
        assert!(decoder.table.kept().1 <= TABLE_MAX, "seed {seed}");
        assert!(decoder.kept_bytes() <= 10 * TABLE_MAX as usize, "seed {seed}: {}", decoder.kept_bytes());
        for literal in texts {
            assert_eq!(mask::whole(&mut block, &literal.value), Ok(()), "seed {seed}");
        }
        if result.is_err() && random.once_in(2) {
            decoder = Decoder::new(Start::Beginning);
        }
    }
}

#[test]
fn fuzz_raw_blocks() {
    seeds(ROUNDS).for_each(|seed| round(seed, true));
}

#[test]
fn fuzz_mutated_blocks() {
    seeds(ROUNDS).for_each(|seed| round(seed, false));
}
