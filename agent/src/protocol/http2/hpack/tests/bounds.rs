//! What is kept, and how much of it.

use super::*;

/// A literal that is inserted, its strings not Huffman-coded.
fn literal(name: &[u8], value: &[u8]) -> Vec<u8> {
    let mut block = vec![0x40];
    for text in [name, value] {
        let length = text.len();
        if length < 127 {
            block.push(length as u8);
        } else {
            let rest = length - 127;
            block.extend([0x7f, rest as u8 | 0x80, (rest >> 7) as u8 | 0x80, (rest >> 14) as u8]);
        }
        block.extend_from_slice(text);
    }
    block
}

#[test]
fn values_are_not_kept_without_leave() {
    let mut decoder = Decoder::new(Start::Beginning);
    let block = [literal(b"cookie", b"SECRET"), b"\xbe\x7e\x06SECRET\xbf\xbe\x04\x01/\x82".to_vec()].concat();
    let (fields, result) = decode_without(&mut decoder, &[b"cookie", b":method"], &block);
    assert_eq!(result, Ok(()));
    let expected = "cookie: <6>\ncookie: <6>\ncookie: <6>\ncookie: <6>\ncookie: <6>\n:path: /\n:method: <3>";
    assert_eq!(lines(&fields), expected);
    assert_eq!(decoder.table.kept().0, b"cookiecookie");
}

#[test]
fn long_names_are_not_kept() {
    let mut decoder = Decoder::new(Start::Beginning);
    for (length, kept) in [(NAME_MAX, true), (NAME_MAX + 1, false)] {
        let name = "n".repeat(length);
        let block = [literal(name.as_bytes(), b"value"), b"\xbe\x7e\x01w\xbf\xbe".to_vec()].concat();
        let expected = if kept {
            format!("{name}: value\n{name}: value\n{name}: w\n{name}: value\n{name}: w")
        } else {
            "?: <5>\n?: <5>\n?: <1>\n?: <5>\n?: <1>".into()
        };
        assert_eq!(text(&mut decoder, &block), expected);
        assert_eq!(decoder.counts().long_names, u64::from(!kept));
    }
    // Their sizes are right all the same.
    assert_eq!(decoder.table.size(), 4 * 32 + 2 * 256 + 2 * 257 + 2 * (5 + 1));
}

#[test]
fn a_table_above_the_bound_loses_its_oldest_entries() {
    let mut decoder = Decoder::new(Start::Beginning);
    decoder.set_limit(1 << 20);
    decode(&mut decoder, b"\x3f\xe1\xff\x3f").1.unwrap();
    // Each entry takes 32 + 1 + 8159 = 8192 bytes.
    for n in 0..12 {
        decode(&mut decoder, &literal(&[b'a' + n], &[b'v'; 8159])).1.unwrap();
    }
    assert_eq!((decoder.table.size(), decoder.counts().evicted), (TABLE_MAX, 4));
    let (fields, result) = decode(&mut decoder, &[0x80 + 62, 0x80 + 69, 0x80 + 70, 0x80 + 73]);
    assert_eq!(result, Ok(()));
    let names: Vec<_> = fields.iter().map(|(name, _)| name.as_deref()).collect();
    assert_eq!(names, [Some(&b"l"[..]), Some(b"e"), None, None]);
    assert_eq!(fields[2].1, Err(Missing::Unknown(Unknown::Evicted)));
    // One that is larger than the bound is not kept at all, and what is behind it has lost its place.
    decode(&mut decoder, &literal(b"z", &vec![b'v'; 100_000])).1.unwrap();
    assert_eq!(decode(&mut decoder, &[0x80 + 62]).0, [(None, Err(Missing::Unknown(Unknown::Evicted)))]);
}

#[test]
fn an_entry_above_the_bound_is_unknown_and_one_above_the_table_is_not_there() {
    // Of 100,000 bytes: an entry of 80,000 is in the encoder's table, one of 200,000 is not, and empties it.
    for (length, counted, behind) in [(80_000, 1, None), (200_000, 0, Some(Error::IndexBeyond(62)))] {
        let mut decoder = Decoder::new(Start::Beginning);
        decoder.set_limit(100_000);
        decode(&mut decoder, b"\x3f\x81\x8d\x06").1.unwrap();
        let (fields, result) = decode(&mut decoder, &literal(b"z", &vec![b'v'; length]));
        assert_eq!((fields[0].1.as_ref().map(Vec::len), result), (Ok(length), Ok(())));
        assert_eq!(decoder.counts().evicted, counted);
        assert_eq!(decode(&mut decoder, b"\xbe").1.err(), behind);
    }
}

#[test]
fn an_entry_that_is_larger_than_the_table_empties_it() {
    let mut decoder = Decoder::new(Start::Beginning);
    decode(&mut decoder, &literal(b"a", b"b")).1.unwrap();
    assert_eq!(decode(&mut decoder, &literal(b"c", &[b'v'; 4064])).1, Ok(()));
    assert_eq!((decoder.table.size(), decoder.counts().evicted), (0, 0));
    assert_eq!(decode(&mut decoder, b"\xbe").1, Err(Error::IndexBeyond(62)));
}

#[test]
fn memory_is_bounded_and_given_back() {
    let mut decoder = Decoder::new(Start::Middle);
    assert_eq!(decoder.kept_bytes(), 0);
    for n in 0..50_000_u32 {
        let length = [0, 5, 40, 900][n as usize % 4];
        decode(&mut decoder, &literal(b"x", &vec![b'v'; length])).1.unwrap();
        assert!(decoder.kept_bytes() <= 6 * TABLE_MAX as usize, "{}", decoder.kept_bytes());
    }
    decode(&mut decoder, &literal(b"x", &vec![b'v'; 2_000_000])).1.unwrap();
    decode(&mut decoder, b"\x40\x01a\x01b").1.unwrap();
    assert!(decoder.kept_bytes() <= 6 * TABLE_MAX as usize, "{}", decoder.kept_bytes());
    decoder.note_gap();
    decode(&mut decoder, b"\x40\x01a\x01b").1.unwrap();
    assert!(decoder.kept_bytes() <= 64 * 1024, "{}", decoder.kept_bytes());
}
