//! Joining late, and what can be told from then on.

use super::*;

/// An update of the table's size to 0 and one to 4096.
const EMPTIED: &[u8] = &[0x20, 0x3f, 0xe1, 0x1f];

fn late() -> Decoder {
    Decoder::new(Start::Middle)
}

#[test]
fn an_index_behind_the_known_entries_is_unknown() {
    let mut decoder = late();
    assert_eq!(text(&mut decoder, b"\x82\xbe\x40\x01a\x01b\xbe\xbf"), ":method: GET\n?: ?\na: b\na: b\n?: ?");
    assert_eq!(decoder.counts(), Counts { unknown: 2, ..Counts::default() });
    assert_eq!(decode(&mut decoder, b"\xbf").0, [(None, Err(Missing::Unknown(Unknown::Unseen)))]);
}

#[test]
fn a_literal_with_an_unknown_name_is_dropped_but_counts_as_an_entry() {
    let mut decoder = late();
    assert_eq!(text(&mut decoder, b"\x40\x01a\x01b\x7f\x00\x03xyz\xbe\xbf\xc0"), "a: b\n?: <3>\n?: <3>\na: b\n?: ?");
    // Neither indexed: with a name of an unknown entry (0x0f, 0x31: index 64), and of one with an unknown name.
    assert_eq!(text(&mut decoder, b"\x0f\x31\x01v\x0f\x2f\x02vw"), "?: <1>\n?: <2>");
    assert_eq!(text(&mut decoder, b"\xbe\xbf"), "?: <3>\na: b");
}

#[test]
fn a_name_that_is_passed_on_from_an_unseen_entry_stays_unknown_until_it_is_spelled() {
    // The entry before the last one always gives the name, and each block makes one like it.
    let mut decoder = late();
    for _ in 0..200 {
        assert_eq!(text(&mut decoder, b"\x7f\x00\x02vw\x44\x02/p"), "?: <2>\n:path: /p");
    }
    assert_eq!(text(&mut decoder, b"\x40\x01a\x02vw\x7e\x02xy"), "a: vw\na: xy");
}

#[test]
fn a_size_update_to_nothing_makes_the_table_exact() {
    let mut decoder = late();
    assert_eq!(decode(&mut decoder, EMPTIED).1, Ok(()));
    assert_eq!(decode(&mut decoder, b"\xbe").1, Err(Error::IndexBeyond(62)));
    // The error made it unknown again.
    assert_eq!(text(&mut decoder, b"\xbe"), "?: ?");
}

#[test]
fn a_full_table_of_known_size_has_nothing_unknown() {
    // 100 bytes, entries of 34: the third leaves no room for another, the second leaves 32.
    let size = [0x3f, 0x45];
    for (entries, behind) in [(1, "?: ?"), (2, "?: ?"), (3, "")] {
        let mut decoder = late();
        decode(&mut decoder, &size).1.unwrap();
        for _ in 0..entries {
            decode(&mut decoder, b"\x40\x01a\x01b").1.unwrap();
        }
        let index = 0x80 + 62 + if entries == 3 { 2 } else { entries };
        assert_eq!(text(&mut decoder, &[index]), behind, "{entries} entries");
    }
}

#[test]
fn a_smaller_table_that_drops_an_entry_has_nothing_unknown() {
    let mut decoder = late();
    decode(&mut decoder, b"\x40\x01a\x01b\x40\x01c\x01d").1.unwrap();
    // To 67 bytes: one of the two stays, though there is room for 33 more.
    assert_eq!(text(&mut decoder, b"\x3f\x24\xbe"), "c: d");
    assert_eq!(decode(&mut decoder, b"\xbf").1, Err(Error::IndexBeyond(63)));
}

#[test]
fn an_index_that_no_table_of_known_size_has_is_an_error() {
    let mut decoder = late();
    // 64 bytes: two entries at most.
    assert_eq!(text(&mut decoder, b"\x3f\x21\xbe\xbf"), "?: ?\n?: ?");
    assert_eq!(decode(&mut decoder, b"\xc0").1, Err(Error::IndexBeyond(64)));
    // Of unknown size: any.
    assert_eq!(text(&mut decoder, b"\xff\xff\xff\xff\xff\x0e"), "?: ?");
}

#[test]
fn a_gap_makes_all_unknown_but_what_comes_after_it() {
    let mut decoder = Decoder::new(Start::Beginning);
    assert_eq!(text(&mut decoder, b"\x40\x01a\x01b\xbe"), "a: b\na: b");
    decoder.note_gap();
    assert_eq!(text(&mut decoder, b"\xbe\x40\x01c\x01d\xbe\xbf"), "?: ?\nc: d\nc: d\n?: ?");
}

#[test]
fn all_is_known_once_the_table_has_turned_over() {
    let mut encoder = httlib_hpack::Encoder::default();
    let mut decoder = late();
    let flags = 0x10 | 0x1 | 0x2 | 0x4;
    let mut unknown = Vec::new();
    for n in 0..400 {
        let mut block = Vec::new();
        for (name, value) in
            [(":path", format!("/{n}")), ("user-agent", "x".into()), (&format!("x-{}", n % 50), "y".into())]
        {
            encoder.encode((name.as_bytes().to_vec(), value.into_bytes(), flags), &mut block).unwrap();
        }
        // The first 100 blocks are not seen.
        if n >= 100 {
            let (fields, result) = decode(&mut decoder, &block);
            assert_eq!(result, Ok(()));
            unknown.push(fields.iter().any(|(name, value)| name.is_none() || value.is_err()));
        }
    }
    assert!(unknown[..10].contains(&true), "the test shows nothing");
    assert!(!unknown[120..].contains(&true), "{unknown:?}");
}

#[test]
fn a_block_that_was_cut_gives_the_fields_before_the_cut() {
    let mut decoder = Decoder::new(Start::Beginning);
    let (fields, result) = decode(&mut decoder, b"\x82\x40\x01a\x05bcd");
    assert_eq!((lines(&fields).as_str(), result), (":method: GET", Err(Error::Truncated)));
    assert_eq!(text(&mut decoder, b"\x84\xbe"), ":path: /\n?: ?");
}
