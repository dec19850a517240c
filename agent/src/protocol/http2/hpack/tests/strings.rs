//! Huffman-coded strings, against an encoder that is not ours.

use super::random::{Random, seeds};
use super::*;

fn encoded(text: &[u8]) -> Vec<u8> {
    let mut block = Vec::new();
    httlib_hpack::Encoder::default().encode((b"".to_vec(), text.to_vec(), 0x2), &mut block).unwrap();
    // The literal, its empty name, and the value's length come before the value.
    let mut coded = Vec::new();
    let mut decoder = Decoder::new(Start::Beginning);
    let sink = |field: Field<'_>| coded = block[field.literal.unwrap().value.range].to_vec();
    decoder.decode(&block, |_| false, sink).unwrap();
    coded
}

fn round(text: &[u8]) {
    let coded = encoded(text);
    let mut out = b"before".to_vec();
    huffman::decode(&coded, &mut out).unwrap();
    assert_eq!(&out[6..], text);
    assert_eq!(huffman::measure(&coded), Ok(text.len()));
}

#[test]
fn every_symbol_is_decoded_at_every_bit() {
    for symbol in 0..=255 {
        for before in 0..8 {
            round(&[&vec![b'0'; before][..], &[symbol]].concat());
            round(&[&vec![b'0'; before][..], &[symbol, symbol, b'a', symbol]].concat());
        }
    }
}

#[test]
fn random_strings_are_decoded() {
    for seed in seeds(3000) {
        let random = &mut Random::new(seed);
        let length = random.below(80);
        let bytes = random.bytes(length);
        round(&bytes);
        round(&bytes.iter().map(|byte| b' ' + byte % 95).collect::<Vec<_>>());
    }
}

#[test]
fn a_string_that_fails_leaves_nothing() {
    let mut out = b"before".to_vec();
    assert_eq!(huffman::decode(b"\x1f\xff\xff\xff\xff", &mut out), Err(Error::Huffman));
    assert_eq!(out, b"before");
}
