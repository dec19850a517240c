//! What well-behaved sides say to each other.

use super::frames::*;
use super::*;
use crate::protocol::{Version, detect::HTTP2_PREFACE};

#[test]
fn a_request_and_its_response_are_one_exchange() {
    let dialogue = Dialogue::server()
        .asks(&get(1, "/a?k=secret"))
        .answers(&[response(1, 0, "200"), data(1, END_STREAM, b"hello")].concat())
        .gives(&["1 GET /a?k=REDACTED -> 200 71/0 46/5"]);
    let exchange = dialogue.finished()[0];
    let request = exchange.request.as_ref().unwrap();
    assert_eq!(request.version, Version::Http2);
    assert_eq!(request.scheme.as_deref(), Some(&b"http"[..]));
    assert_eq!(request.headers, [("host".into(), "h:1".into())]);
    assert_eq!(exchange.response.as_ref().unwrap().headers, [("server".into(), "x".into())]);
    assert_eq!((exchange.offset, dialogue.connection.open()), (None, 0));
}

#[test]
fn each_message_moves_from_its_first_byte_to_the_frame_that_ends_it() {
    let dialogue = Dialogue::server()
        .asks(&request(1, 0, "POST", "/a"))
        .asks(&data(1, 0, b"ab"))
        .asks(&data(1, END_STREAM, b""))
        .answers(&response(1, 0, "200")[..4])
        .answers(&response(1, 0, "200")[4..])
        .answers(&data(1, 0, b"hello"))
        .answers(&headers(1, END_STREAM, &[("x-checksum", "1")]));
    let exchange = dialogue.finished()[0];
    let times = |transfer: Option<crate::protocol::Transfer>| {
        transfer.map(|transfer| (transfer.first.start_ns, transfer.last.start_ns, transfer.size.body)).unwrap()
    };
    assert_eq!(times(exchange.sent), (20, 40, 2));
    assert_eq!(times(exchange.answered), (50, 80, 5));
    assert!(matches!(dialogue.out[0], Notice::Started { ordinal: 1, first, .. } if first.start_ns == 20));
}

#[test]
fn interim_responses_come_before_the_final_one() {
    Dialogue::server()
        .asks(&get(1, "/"))
        .answers(&headers(1, 0, &[(":status", "103"), ("link", "</x>")]))
        .answers(&response(1, END_STREAM, "204"))
        .gives(&["1 GET / -> 204 61/0 32/0 after 103"]);
}

#[test]
fn streams_interleave() {
    Dialogue::server()
        .asks(&[get(1, "/1"), request(3, 0, "POST", "/3"), get(5, "/5")].concat())
        .answers(&[response(5, 0, "205"), response(1, END_STREAM, "201"), data(5, END_STREAM, b"x")].concat())
        .asks(&data(3, END_STREAM, b"late"))
        .answers(&response(3, END_STREAM, "203"))
        .gives(&["1 GET /1 -> 201 62/0 32/0", "5 GET /5 -> 205 62/0 42/1", "3 POST /3 -> 203 76/4 32/0"]);
}

#[test]
fn a_hundred_streams_interleave() {
    let ids = || (0..100).map(|n| 2 * n + 1);
    let asked: Vec<u8> = ids().flat_map(|id| get(id, &format!("/{id}"))).collect();
    let heads: Vec<u8> = ids().rev().flat_map(|id| response(id, 0, "200")).collect();
    let rounds: Vec<u8> = (0..3).flat_map(|_| ids().flat_map(|id| data(id, 0, b"12345"))).collect();
    let ends: Vec<u8> = ids().flat_map(|id| data(id, END_STREAM, b"")).collect();
    let dialogue = Dialogue::server().asks(&asked).answers(&heads).answers(&rounds).answers(&ends);
    let lines: Vec<String> =
        ids().map(|id| format!("{id} GET /{id} -> 200 {}/0 83/15", get(id, &format!("/{id}")).len())).collect();
    assert_eq!(dialogue.exchanges(), lines);
}

#[test]
fn padding_is_on_the_wire_and_no_body() {
    let padded = [&[3][..], b"body", &[0; 3]].concat();
    let block = [&[2, 0, 0, 0, 0, 16][..], &block(&[(":status", "200")]), &[0; 2]].concat();
    Dialogue::server()
        .asks(&get(1, "/"))
        .answers(&frame(1, END_HEADERS | PADDED | PRIORITY, 1, &block))
        .answers(&data(1, PADDED, &padded))
        .answers(&data(1, PADDED | END_STREAM, &[0]))
        .gives(&["1 GET / -> 200 61/0 57/4"]);
}

#[test]
fn a_header_block_may_go_on_in_further_frames() {
    let block = block(&[(":method", "GET"), (":scheme", "http"), (":path", "/long"), (":authority", "h")]);
    let (first, rest) = block.split_at(7);
    let (second, third) = rest.split_at(20);
    Dialogue::server()
        .asks(&[frame(1, END_STREAM, 1, first), frame(9, 0, 1, second)].concat())
        .asks(&[frame(9, 0, 1, b""), frame(9, END_HEADERS, 1, third)].concat())
        .answers(&response(1, END_STREAM, "200"))
        .gives(&["1 GET /long -> 200 90/0 32/0"]);
}

#[test]
fn other_frames_are_passed_over() {
    let others = [
        frame(2, 0, 1, &[0; 5]),
        frame(6, 0, 0, &[0; 8]),
        frame(6, 1, 0, &[0; 8]),
        frame(8, 0, 0, &[0, 0, 0, 1]),
        frame(8, 0, 1, &[0, 0, 0, 1]),
        frame(4, 1, 0, &[]),
        frame(0x10, 0, 0, b"\0\0\0\x01u=1"),
        frame(0xfe, 0xff, 77, b"whatever"),
        frame(0xfe, 0, 0, b""),
    ]
    .concat();
    let dialogue = Dialogue::server()
        .asks(&[&others[..], &get(1, "/"), &others].concat())
        .answers(&[&others[..], &response(1, 0, "200"), &others, &data(1, END_STREAM, b"")].concat())
        .gives(&["1 GET / -> 200 61/0 41/0"]);
    assert_eq!(dialogue.connection.counts(), super::super::Counts::default());
}

#[test]
fn a_response_may_be_seen_before_its_request() {
    let dialogue = Dialogue::fresh()
        .answers(&[settings(&[]), response(1, 0, "200"), data(1, END_STREAM, b"ab")].concat())
        .gives(&[])
        .asks(&[preface(), get(1, "/")].concat())
        .gives(&["1 GET / -> 200 61/0 43/2"]);
    assert!(matches!(dialogue.out[0], Notice::Started { ordinal: 1, .. }));
}

#[test]
fn a_response_whose_request_cannot_come_any_more_is_dropped() {
    let dialogue = Dialogue::server().answers(&response(1, END_STREAM, "200")).asks(&get(3, "/")).gives(&[]);
    assert_eq!(dialogue.connection.counts().unpaired, 1);
    dialogue.answers(&response(3, END_STREAM, "200")).gives(&["3 GET / -> 200 61/0 32/0"]);
}

#[test]
fn pushed_streams_are_left_alone_but_their_blocks_fill_the_table() {
    let promise = [&2_u32.to_be_bytes()[..], &indexed(":status", "203"), &block(&[(":path", "/p")])].concat();
    let dialogue = Dialogue::server()
        .asks(&get(1, "/"))
        .answers(&frame(5, END_HEADERS, 1, &promise))
        .answers(&[response(2, 0, "200"), data(2, END_STREAM, b"pushed")].concat())
        // The entry that the promise inserted.
        .answers(&frame(1, END_HEADERS | END_STREAM, 1, &[NEWEST]))
        .gives(&["1 GET / -> 203 61/0 10/0"]);
    assert_eq!(dialogue.connection.counts().pushed, 1);
}

#[test]
fn connect_ends_with_the_answer_that_makes_the_tunnel() {
    let connect = headers(1, 0, &[(":method", "CONNECT"), (":authority", "x:443")]);
    let websocket = headers(
        3,
        0,
        &[
            (":method", "CONNECT"),
            (":protocol", "websocket"),
            (":scheme", "https"),
            (":path", "/chat"),
            (":authority", "h"),
        ],
    );
    Dialogue::server()
        .asks(&[&connect[..], &websocket].concat())
        .answers(&response(1, 0, "200"))
        .answers(&response(3, 0, "200"))
        .asks(&data(1, 0, b"tunnel"))
        .answers(&[data(1, 0, b"tunnel"), reset(3, 8)].concat())
        .gives(&["1 CONNECT x:443 -> 200 44/0 32/0 switched", "3 CONNECT /chat -> 200 89/0 32/0 switched"]);
}

#[test]
fn a_refused_connect_is_an_exchange_like_any_other() {
    let connect = headers(1, 0, &[(":method", "CONNECT"), (":authority", "x:443")]);
    Dialogue::server()
        .asks(&connect)
        .answers(&[response(1, 0, "403"), data(1, END_STREAM, b"no")].concat())
        .asks(&data(1, END_STREAM, b""))
        .gives(&["1 CONNECT x:443 -> 403 53/0 43/2"]);
}

#[test]
fn any_split_of_the_bytes_gives_the_same_exchanges() {
    let padded = [&[3][..], b"body", &[0; 3]].concat();
    let asked =
        [preface(), request(1, 0, "POST", "/a"), data(1, PADDED, &padded), get(3, "/b"), data(1, 1, b"z")].concat();
    let answered = [
        settings(&[(1, 100)]),
        response(3, 0, "200"),
        data(3, 0, b"x"),
        response(1, END_STREAM, "201"),
        headers(3, END_STREAM, &[("a", "b")]),
    ]
    .concat();
    let expected = ["1 POST /a -> 201 90/5 32/0", "3 GET /b -> 200 62/0 56/1"];
    for at in 0..=asked.len() {
        let dialogue = Dialogue::fresh().asks(&asked[..at]).asks(&asked[at..]);
        dialogue.answers(&answered).gives(&expected);
    }
    for at in 0..=answered.len() {
        let dialogue = Dialogue::fresh().asks(&asked);
        dialogue.answers(&answered[..at]).answers(&answered[at..]).gives(&expected);
    }
    let mut dialogue = Dialogue::fresh();
    for byte in &asked {
        dialogue = dialogue.asks(&[*byte]);
    }
    for byte in &answered {
        dialogue = dialogue.answers(&[*byte]);
    }
    dialogue.gives(&expected);
}

#[test]
fn payload_that_is_not_copied_is_counted() {
    let body = data(1, END_STREAM, &[0; 1000]);
    let chunks =
        [Chunk::Copied(&response(1, 0, "200")), Chunk::Copied(&body[..9]), Chunk::Skipped(600), Chunk::Cut(400)];
    Dialogue::server().asks(&get(1, "/")).call(Flow::Responses, &chunks).gives(&["1 GET / -> 200 61/0 1041/1000"]);
}

#[test]
fn what_does_not_begin_as_http2_is_not_looked_at() {
    Dialogue::fresh().asks(b"GET / HTTP/1.1\r\n\r\n").gives(&["opaque"]);
    Dialogue::fresh().asks(&HTTP2_PREFACE[..20]).asks(b"nonsense").gives(&["opaque"]);
    Dialogue::fresh().asks(&preface()).answers(b"HTTP/1.1 400 Bad Request\r\n\r\n").gives(&["opaque"]);
}
