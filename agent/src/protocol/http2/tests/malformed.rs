//! What no side may send, and the bounds that hold whatever is sent.

use super::frames::*;
use super::*;
use crate::protocol::http2::{Counts, EARLY_MAX, HEAD_MAX, MALFORMED_MAX, STREAMS_MAX};

#[test]
fn a_frame_that_cannot_be_is_counted_and_frames_are_found_again() {
    let large = [&[0, 0x40, 1][..], &[0, 0, 0, 0, 0, 1]].concat();
    let frames = [
        data(0, 0, b"x"),
        data(2, 0, b"x"),
        frame(0, PADDED, 1, b""),
        get(2, "/"),
        get(0, "/"),
        frame(1, END_HEADERS | PRIORITY, 5, &[0; 4]),
        frame(2, 0, 1, &[0; 4]),
        frame(3, 0, 0, &[0; 4]),
        frame(3, 0, 1, &[0; 5]),
        frame(4, 0, 1, &[0; 6]),
        frame(4, 0, 0, &[0; 5]),
        frame(4, 1, 0, &[0; 6]),
        frame(5, END_HEADERS, 1, &[0; 8]),
        frame(6, 0, 0, &[0; 7]),
        frame(7, 0, 0, &[0; 4]),
        frame(8, 0, 0, &[0; 3]),
        frame(9, END_HEADERS, 1, b""),
        large,
    ];
    for bad in frames {
        let dialogue = Dialogue::server()
            .asks(&bad)
            .asks(&get(7, "/"))
            .answers(&response(7, END_STREAM, "200"))
            .gives(&["7 GET / -> 200 61/0 32/0"]);
        assert_eq!(
            dialogue.connection.counts(),
            Counts { malformed: 1, request_gaps: 1, ..Counts::default() },
            "{bad:?}"
        );
    }
}

#[test]
fn a_side_may_allow_larger_frames() {
    let large = data(1, END_STREAM, &vec![0; 20_000]);
    Dialogue::server()
        .answers(&settings(&[(5, 20_000)]))
        .asks(&[request(1, 0, "PUT", "/"), large].concat())
        .answers(&response(1, END_STREAM, "200"))
        .gives(&["1 PUT / -> 200 20070/20000 32/0"]);
}

#[test]
fn a_header_block_that_another_frame_interrupts_is_given_up() {
    let block = block(&[(":method", "GET"), (":path", "/1"), ("host", "h")]);
    for other in [get(3, "/3"), data(3, 0, b""), frame(9, END_HEADERS, 3, b"")] {
        let dialogue = Dialogue::server()
            .asks(&[frame(1, END_STREAM, 1, &block[..30]), other].concat())
            .asks(&get(5, "/5"))
            .answers(&[response(1, END_STREAM, "400"), response(5, END_STREAM, "200")].concat());
        let lines = dialogue.exchanges();
        assert!(lines[0].starts_with("1 GET /1 -> 400") && lines[0].ends_with("malformed"), "{lines:?}");
        assert_eq!(lines[1], "5 GET /5 -> 200 62/0 32/0");
        assert!(dialogue.connection.counts().malformed >= 1);
    }
}

#[test]
fn padding_that_is_longer_than_its_frame_flaws_the_block() {
    let padded = [&[200][..], &block(&[(":method", "GET"), (":path", "/1")])].concat();
    let dialogue = Dialogue::server()
        .asks(&[frame(1, END_HEADERS | END_STREAM | PADDED, 1, &padded), get(3, "/3")].concat())
        .answers(&[response(1, END_STREAM, "400"), response(3, END_STREAM, "200")].concat())
        .gives(&["1   -> 400 33/0 32/0 malformed", "3 GET /3 -> 200 62/0 32/0"]);
    assert_eq!(dialogue.connection.counts().malformed, 1);
}

#[test]
fn a_block_that_cannot_be_decoded_is_counted_and_used_as_far_as_it_goes() {
    let bytes = [block(&[(":method", "GET"), (":path", "/1")]), vec![0x80]].concat();
    let dialogue = Dialogue::server()
        .asks(&[frame(1, END_HEADERS | END_STREAM, 1, &bytes), get(3, "/3")].concat())
        .answers(&[response(1, END_STREAM, "400"), response(3, END_STREAM, "200")].concat())
        .gives(&["1 GET /1 -> 400 33/0 32/0 malformed", "3 GET /3 -> 200 62/0 32/0"]);
    assert_eq!(dialogue.connection.counts().header_errors, 1);
}

#[test]
fn messages_that_lack_what_they_must_have_are_malformed() {
    Dialogue::server()
        .asks(&headers(1, END_STREAM, &[(":method", "GET")]))
        .answers(&headers(1, END_STREAM, &[(":status", "2000")]))
        .gives(&["1 GET  -> 0 22/0 23/0 malformed"]);
    Dialogue::server()
        .asks(&get(1, "/"))
        .answers(&data(1, END_STREAM, b"no head"))
        .gives(&["1 GET / -> ? 61/0 16/7 malformed"]);
}

#[test]
fn a_header_block_longer_than_is_kept_is_used_as_far_as_it_goes() {
    let long = "x".repeat(3 * HEAD_MAX);
    let block = block(&[(":method", "GET"), (":path", "/1"), ("x-long", &long), ("host", "unseen")]);
    let mut chunks = block.chunks(16_000);
    let mut asked = frame(1, END_STREAM, 1, chunks.next().unwrap());
    for chunk in chunks {
        asked.extend(frame(9, 0, 1, chunk));
    }
    asked.extend(frame(9, END_HEADERS, 1, b""));
    let mut dialogue = Dialogue::server();
    for part in asked.chunks(1000) {
        dialogue = dialogue.asks(part);
        assert!(dialogue.connection.kept_bytes() <= 2 * HEAD_MAX);
    }
    let dialogue = dialogue.answers(&response(1, END_STREAM, "431"));
    let line = dialogue.exchanges().remove(0);
    assert!(line.starts_with("1 GET /1 -> 431") && line.ends_with("head_too_long"), "{line}");
    assert_eq!(dialogue.connection.counts().head_too_long, 1);
    assert!(dialogue.connection.kept_bytes() < 1000);
}

#[test]
fn short_blocks_cannot_make_long_heads() {
    let entry = indexed("x-request-id", &"v".repeat(4000));
    let block = [block(&[(":method", "GET"), (":path", "/1")]), entry, vec![NEWEST; 10_000]].concat();
    let dialogue = Dialogue::server()
        .asks(&frame(1, END_HEADERS | END_STREAM, 1, &block))
        .answers(&response(1, END_STREAM, "200"));
    let headers = &dialogue.finished()[0].request.as_ref().unwrap().headers;
    assert!(headers.iter().map(|(_, value)| value.len()).sum::<usize>() <= 2 * HEAD_MAX);
    assert!(dialogue.connection.counts().cut > 9000);
}

#[test]
fn ten_thousand_open_streams_are_bounded() {
    let mut dialogue = Dialogue::server();
    for n in 0..10_000 {
        dialogue = dialogue.asks(&request(2 * n + 1, 0, "POST", "/"));
        assert!(dialogue.connection.open() <= STREAMS_MAX);
    }
    let full = 10_000 - STREAMS_MAX;
    assert_eq!(dialogue.connection.counts().streams_full, full as u64);
    assert_eq!(dialogue.exchanges().len(), full);
    assert_eq!(dialogue.exchanges()[0], "1 POST / -> ? 62/0 - unobserved");
    let dialogue = dialogue.end(None, End::Closed);
    assert_eq!((dialogue.exchanges().len(), dialogue.connection.open()), (10_000, 0));
}

#[test]
fn responses_without_requests_are_bounded() {
    let mut dialogue = Dialogue::server();
    for n in 0..1000 {
        dialogue = dialogue.answers(&response(2 * n + 1, 0, "200"));
    }
    let over = 1000 - EARLY_MAX as u64;
    assert_eq!((dialogue.connection.counts().early_full, dialogue.connection.counts().unpaired), (over, over));
    let dialogue = dialogue.asks(&get(5001, "/")).answers(&response(5001, END_STREAM, "200"));
    assert_eq!(dialogue.connection.counts().unpaired, 1000);
    dialogue.gives(&["5001 GET / -> 200 61/0 32/0"]);
}

#[test]
fn a_connection_that_is_evidently_not_http2_is_given_up() {
    let mut dialogue = Dialogue::server();
    for _ in 0..=MALFORMED_MAX {
        dialogue = dialogue.asks(&get(1, "/")).asks(&data(0, 0, b"bad"));
    }
    assert_eq!(dialogue.exchanges(), ["1 GET / -> ? 61/0 - unobserved", "opaque"]);
}
