//! Malformed blocks.

use super::*;

/// What comes of a block at the beginning of a connection.
fn error(block: &[u8]) -> Option<Error> {
    let mut decoder = Decoder::new(Start::Beginning);
    let result = decode(&mut decoder, block).1;
    if result.is_err() {
        // As after a gap.
        assert_eq!(text(&mut decoder, b"\xbe"), "?: ?");
    }
    result.err()
}

#[test]
fn malformed_blocks_are_refused() {
    let cases: &[(&[u8], Option<Error>)] = &[
        (b"", None),
        (b"\x80", Some(Error::IndexZero)),
        (b"\xbe", Some(Error::IndexBeyond(62))),
        (b"\xff\x00", Some(Error::IndexBeyond(127))),
        (b"\x7e\x01a", Some(Error::IndexBeyond(62))),
        (b"\xff", Some(Error::Truncated)),
        (b"\xff\x80\x80", Some(Error::Truncated)),
        (b"\x3f\x80\x00", None),
        (b"\x3f\x80\x80\x80\x80\x00", None),
        (b"\x3f\x80\x80\x80\x80\x80\x00", Some(Error::IntegerTooLarge)),
        (b"\xff\xff\xff\xff\xff\x0f", Some(Error::IntegerTooLarge)),
        (b"\xff\x80\xff\xff\xff\x0f", Some(Error::IndexBeyond(u32::MAX))),
        (b"\xff\x81\xff\xff\xff\x0f", Some(Error::IntegerTooLarge)),
        (b"\x40", Some(Error::Truncated)),
        (b"\x40\x01", Some(Error::Truncated)),
        (b"\x40\x01a", Some(Error::Truncated)),
        (b"\x40\x01a\x01", Some(Error::Truncated)),
        (b"\x40\x01a\x7f\xff\xff\xff\xff\x0f", Some(Error::IntegerTooLarge)),
        (b"\x40\x01a\x7f\x80\xff\xff\xff\x0f", Some(Error::Truncated)),
        (b"\x40\x00\x00", None),
        (b"\x40\x01a\x81\x1f", None),
        (b"\x40\x01a\x80", None),
        // Padding: a zero, eight ones, the end-of-string symbol, a code that is cut off.
        (b"\x40\x01a\x81\x18", Some(Error::Huffman)),
        (b"\x40\x01a\x81\xff", Some(Error::Huffman)),
        (b"\x40\x01a\x82\x1f\xff", Some(Error::Huffman)),
        (b"\x40\x01a\x84\xff\xff\xff\xff", Some(Error::Huffman)),
        (b"\x40\x01a\x85\x1f\xff\xff\xff\xff", Some(Error::Huffman)),
        (b"\x40\x01a\x82\xff\xf0", Some(Error::Huffman)),
        (b"\x40\x81\x18\x00", Some(Error::Huffman)),
        // Sizes: up to the limit, at the beginning of a block.
        (b"\x3f\xe1\x1f", None),
        (b"\x3f\xe2\x1f", Some(Error::SizeAboveLimit { size: 4097, limit: 4096 })),
        (b"\x20\x3f\xe1\x1f\x82", None),
        (b"\x82\x20", Some(Error::SizeUpdateLate)),
        (b"\x40\x01a\x01b\x3f\xe1\x1f", Some(Error::SizeUpdateLate)),
    ];
    for (block, expected) in cases {
        assert_eq!(error(block), *expected, "{block:02x?}");
    }
}

#[test]
fn a_secret_that_is_malformed_is_an_error_too() {
    for value in [&b"\x81\x18"[..], b"\x84\xff\xff\xff\xff"] {
        let mut decoder = Decoder::new(Start::Beginning);
        let result = decode_without(&mut decoder, &[b"a"], &[b"\x40\x01a", value].concat()).1;
        assert_eq!(result, Err(Error::Huffman));
    }
}

#[test]
fn the_largest_limit_so_far_holds() {
    let update = |size: &[u8], limits: &[u32], start| {
        let mut decoder = Decoder::new(start);
        for limit in limits {
            decoder.set_limit(*limit);
        }
        decode(&mut decoder, size).1
    };
    let size_8192 = b"\x3f\xe1\x3f";
    let refused = Err(Error::SizeAboveLimit { size: 8192, limit: 8191 });
    assert_eq!(update(size_8192, &[8191], Start::Beginning), refused);
    assert_eq!(update(size_8192, &[8192], Start::Beginning), Ok(()));
    assert_eq!(update(size_8192, &[8192, 0], Start::Beginning), Ok(()));
    assert_eq!(update(size_8192, &[0], Start::Middle), Ok(()));
}
