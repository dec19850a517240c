//! Masked blocks decode to the same names and lengths.

use super::random::{Random, seeds};
use super::traffic::Traffic;
use super::*;

/// The literals of a block, with the name and the value of each.
fn literals(decoder: &mut Decoder, block: &[u8]) -> Vec<(Literal, Owned)> {
    let mut found = Vec::new();
    let sink = |field: Field<'_>| found.extend(field.literal.clone().map(|literal| (literal, owned(&field))));
    decoder.decode(block, |_| true, sink).unwrap();
    found
}

/// A block of one literal with this value, Huffman-coded or not.
fn block(value: &str, huffman: bool) -> Vec<u8> {
    let mut block = Vec::new();
    let flags = if huffman { 0x12 } else { 0x10 };
    httlib_hpack::Encoder::default().encode((b":path".to_vec(), value.as_bytes().to_vec(), flags), &mut block).unwrap();
    block
}

fn masked(value: &str, huffman: bool, keep: impl Fn(usize, u8) -> bool) -> String {
    let mut block = block(value, huffman);
    let length = block.len();
    let [(literal, _)] = &literals(&mut Decoder::new(Start::Beginning), &block)[..] else { panic!() };
    assert_eq!(literal.value.huffman, huffman);
    mask::part(&mut block, &literal.value, keep).unwrap();
    assert_eq!(block.len(), length);
    text(&mut Decoder::new(Start::Beginning), &block)
}

#[test]
fn a_masked_value_has_its_length_and_nothing_else() {
    for (value, plain, coded) in [
        ("", "", ""),
        ("hunter2", "xxxxxxx", "aaadddd"),
        ("2retnuh", "xxxxxxx", "aaadddd"),
        ("Kj&%", "xxxx", "dxxX"),
        ("<>{}|\\", "xxxxxx", "|>^``\\"),
    ] {
        assert_eq!(masked(value, false, |_, _| false), format!(":path: {plain}"));
        assert_eq!(masked(value, true, |_, _| false), format!(":path: {coded}"));
    }
}

#[test]
fn only_what_is_not_kept_is_masked() {
    let value = "/a/b?key=hunter2&z=9";
    let keep = |at: usize, byte: u8| {
        assert_eq!(value.as_bytes()[at], byte);
        !(9..16).contains(&at) && at < 19
    };
    assert_eq!(masked(value, false, keep), ":path: /a/b?key=xxxxxxx&z=x");
    assert_eq!(masked(value, true, keep), ":path: /a/b?key=aaadddd&z=d");
}

#[test]
fn no_mask_ends_a_line_or_parts_a_path() {
    for symbol in 0..=255 {
        let mut block = Vec::new();
        httlib_hpack::Encoder::default().encode((b"a".to_vec(), vec![symbol], 0x2), &mut block).unwrap();
        let (literal, _) = literals(&mut Decoder::new(Start::Beginning), &block).remove(0);
        mask::whole(&mut block, &literal.value).unwrap();
        let (_, (_, value)) = literals(&mut Decoder::new(Start::Beginning), &block).remove(0);
        let value = value.unwrap();
        assert!(!b"\r\n\0/?#&;=% ".contains(&value[0]), "{symbol} becomes {value:?}");
    }
}

#[test]
fn what_cannot_be_decoded_is_masked_and_stays_so() {
    let block = b"\x04\x84\x1f\xff\xff\xff\x82".to_vec();
    let value = Text { range: 2..6, huffman: true };
    let mut copy = block.clone();
    assert_eq!(mask::whole(&mut copy, &value), Err(Error::Huffman));
    assert_eq!(copy, b"\x04\x84\xff\xff\xff\xff\x82");
    assert_eq!(decode(&mut Decoder::new(Start::Beginning), &copy).1, Err(Error::Huffman));
    assert_eq!(mask::whole(&mut copy, &Text { range: 5..9, huffman: false }), Err(Error::Truncated));
    for length in 1..9 {
        let mut rest = vec![0; length];
        mask::undecodable(&mut rest);
        assert!(decode(&mut Decoder::new(Start::Middle), &rest).1.is_err());
    }
}

/// Whatever the traffic, from wherever it is seen: the masked blocks give the names, lengths and unknowns of the others.
#[test]
fn masked_traffic_decodes_like_the_original() {
    for seed in seeds(80) {
        let random = &mut Random::new(seed);
        let traffic = &mut Traffic::new(random);
        let late = random.once_in(2);
        let start = || {
            let mut decoder = Decoder::new(if late { Start::Middle } else { Start::Beginning });
            decoder.set_limit(1 << 20);
            decoder
        };
        for _ in 0..if late { 10 } else { 0 } {
            traffic.block(random);
        }
        let mut decoders = [start(), start()];
        for _ in 0..20 {
            let block = traffic.block(random).bytes;
            let mut copy = block.clone();
            let mut texts = Vec::new();
            let mut fields = Vec::new();
            let sink = |field: Field<'_>| {
                texts.extend(field.literal.clone().map(|literal| literal.value));
                fields.push(owned(&field));
            };
            decoders[0].decode(&block, |_| true, sink).unwrap();
            let every = 1 + random.below(4);
            for value in texts {
                mask::part(&mut copy, &value, |at, _| at % every == 1).unwrap();
            }
            let (masked, result) = decode(&mut decoders[1], &copy);
            assert_eq!(result, Ok(()), "seed {seed}");
            assert_eq!(masked.len(), fields.len(), "seed {seed}");
            for ((name, value), (masked_name, masked_value)) in fields.iter().zip(&masked) {
                assert_eq!(name, masked_name, "seed {seed}");
                match (value, masked_value) {
                    (Ok(value), Ok(masked)) => assert_eq!(value.len(), masked.len(), "seed {seed}"),
                    _ => assert_eq!(value, masked_value, "seed {seed}"),
                }
            }
            assert_eq!(decoders[0].table.size(), decoders[1].table.size(), "seed {seed}");
        }
    }
}
