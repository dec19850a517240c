//! Against an encoder that is not ours: from the beginning every field is known; from anywhere else, and after gaps, what is
//! known is right.

use super::random::{Random, seeds};
use super::traffic::{Block, SECRET, Traffic};
use super::*;

/// Seeds of a quick round.
const ROUNDS: u64 = 150;

/// Checks what came of a block against the truth, and returns how many fields are not known.
fn never_wrong(seed: u64, block: &Block, fields: &[Owned]) -> usize {
    assert_eq!(block.fields.len(), fields.len(), "seed {seed}");
    let mut unknown = 0;
    for ((name, value), (seen, kept)) in block.fields.iter().zip(fields) {
        assert!(seen.as_ref().is_none_or(|seen| seen == name), "seed {seed}: {seen:?} is {name:?}");
        let named = seen.is_some();
        let secret = SECRET.contains(&&name[..]);
        match kept {
            Ok(kept) => assert!(named && !secret && kept == value, "seed {seed}: {name:?}"),
            Err(Missing::Dropped(length)) => {
                assert!(!named || secret || name.len() > NAME_MAX, "seed {seed}: {name:?}");
                assert_eq!(*length as usize, value.len(), "seed {seed}: {name:?}");
            }
            Err(Missing::Unknown(_)) => assert!(!named, "seed {seed}"),
        }
        unknown += usize::from(!named && name.len() <= NAME_MAX);
    }
    unknown
}

fn start(start: Start, limit: u32) -> Decoder {
    let mut decoder = Decoder::new(start);
    decoder.set_limit(limit);
    decoder
}

fn step(seed: u64, decoder: &mut Decoder, block: &Block) -> usize {
    let (fields, result) = decode_without(decoder, &SECRET, &block.bytes);
    assert_eq!(result, Ok(()), "seed {seed}");
    never_wrong(seed, block, &fields)
}

fn traffic(seed: u64) -> (Random, u32, Vec<Block>) {
    let mut random = Random::new(seed);
    let mut traffic = Traffic::new(&mut random);
    let blocks = (0..=random.below(40)).map(|_| traffic.block(&mut random)).collect();
    (random, traffic.limit, blocks)
}

fn no_secrets(seed: u64, decoder: &Decoder) {
    assert_eq!(memchr::memmem::find(decoder.table.kept().0, b"SECRET"), None, "seed {seed}: a secret is kept");
}

#[test]
fn from_the_beginning_every_field_is_known() {
    for seed in seeds(ROUNDS) {
        let (_, limit, blocks) = traffic(seed);
        let mut decoder = start(Start::Beginning, limit);
        for block in &blocks {
            let unknown = step(seed, &mut decoder, block);
            assert!(unknown == 0 || decoder.counts().evicted > 0, "seed {seed}");
            no_secrets(seed, &decoder);
        }
        assert!(decoder.counts().evicted == 0 || limit > TABLE_MAX, "seed {seed}");
    }
}

#[test]
fn from_any_block_nothing_is_wrong() {
    for seed in seeds(ROUNDS / 5) {
        let (_, limit, blocks) = traffic(seed);
        for first in 0..blocks.len() {
            let mut decoder = start(Start::Middle, limit);
            for block in &blocks[first..] {
                step(seed, &mut decoder, block);
            }
            no_secrets(seed, &decoder);
        }
    }
}

#[test]
fn after_gaps_and_errors_nothing_is_wrong() {
    for seed in seeds(4 * ROUNDS) {
        let (mut random, limit, blocks) = traffic(seed);
        let mut decoder = start(random.pick(&[Start::Beginning, Start::Middle]), limit);
        let mut lost = false;
        for block in &blocks {
            if random.once_in(6) {
                lost = true;
                continue;
            }
            if std::mem::take(&mut lost) {
                decoder.note_gap();
            }
            if random.once_in(10) && !block.bytes.is_empty() {
                // The block as such is gone, and an error stands in its place.
                assert!(decode(&mut decoder, b"\x80").1.is_err());
                continue;
            }
            step(seed, &mut decoder, block);
        }
    }
}
