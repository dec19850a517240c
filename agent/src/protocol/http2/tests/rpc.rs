//! Calls of gRPC.

use super::frames::*;
use super::*;
use crate::{
    protocol::{Rpc, http2::grpc_code},
    span::redact::{Query, Redaction},
};
use std::sync::Arc;

fn call(stream: u32) -> Vec<u8> {
    let fields = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/shop.Cart/Add"),
        (":authority", "h"),
        ("te", "trailers"),
        ("content-type", "application/grpc+proto"),
        ("grpc-timeout", "250m"),
    ];
    headers(stream, 0, &fields)
}

fn answer(stream: u32) -> Vec<u8> {
    headers(stream, 0, &[(":status", "200"), ("content-type", "application/grpc+proto")])
}

fn trailers(stream: u32, status: &str) -> Vec<u8> {
    headers(stream, END_STREAM, &[("grpc-status", status), ("grpc-message", "no%20such%20cart")])
}

fn rpc(dialogue: &Dialogue) -> Rpc {
    (**dialogue.finished()[0].rpc.as_ref().unwrap()).clone()
}

fn code(dialogue: &Dialogue) -> Option<u32> {
    grpc_code(dialogue.finished()[0])
}

#[test]
fn a_unary_call_has_one_message_each_way() {
    let dialogue = Dialogue::server()
        .asks(&[call(1), data(1, END_STREAM, &message(b"apple"))].concat())
        .answers(&answer(1))
        .answers(&[data(1, 0, &message(b"")), trailers(1, "0")].concat());
    let Rpc { status, message, timeout_ns, sent_messages, received_messages, first_message, cancelled } =
        rpc(&dialogue);
    assert_eq!((status, timeout_ns, cancelled), (Some(0), Some(250_000_000), false));
    assert_eq!((sent_messages, received_messages), (Some(1), Some(1)));
    assert_eq!(first_message.map(|stamp| stamp.start_ns), Some(40));
    assert_eq!(message, None, "it is free text, which nobody asked for");
    let exchange = dialogue.finished()[0];
    assert_eq!(exchange.sent.unwrap().size.body, 10);
    let heads = [&exchange.request.as_ref().unwrap().headers, &exchange.response.as_ref().unwrap().headers];
    assert!(heads.into_iter().flatten().all(|(name, _)| !name.starts_with(b"grpc-")));
}

#[test]
fn the_message_of_an_error_is_kept_only_where_it_is_asked_for() {
    let redaction = Arc::new(Redaction::new(&["grpc-message"], Query::Mask).unwrap());
    let dialogue = Dialogue::new(Config { redaction, ..Config::new(Observer::Server) })
        .asks(&[preface(), call(1)].concat())
        .answers(&[settings(&[]), answer(1), trailers(1, "5")].concat())
        .asks(&data(1, END_STREAM, b""));
    assert_eq!(rpc(&dialogue).message.as_deref(), Some(&b"no such cart"[..]));
    assert_eq!(rpc(&dialogue).status, Some(5));
}

#[test]
fn messages_of_streams_are_counted_however_frames_and_calls_split_them() {
    let body: Vec<u8> = [&b"one"[..], b"", &[7; 300], b"four"].into_iter().flat_map(message).collect();
    for at in 0..body.len() {
        let (first, rest) = body.split_at(at);
        let frames = [data(1, 0, first), data(1, END_STREAM, rest)].concat();
        let (half, other) = frames.split_at(frames.len() / 2);
        let dialogue = Dialogue::server()
            .asks(&[call(1), frames.clone()].concat())
            .answers(&[&answer(1), half].concat())
            .answers(other);
        assert_eq!((rpc(&dialogue).sent_messages, rpc(&dialogue).received_messages), (Some(4), Some(4)), "at {at}");
    }
}

#[test]
fn a_prefix_is_enough_to_count_a_message_and_without_it_nobody_counts() {
    let frame = data(1, END_STREAM, &[message(&[0; 500]), message(&[0; 20])].concat());
    let seen = [Chunk::Copied(&frame[..14]), Chunk::Skipped(500), Chunk::Copied(&frame[514..519]), Chunk::Skipped(20)];
    let dialogue =
        Dialogue::server().asks(&call(1)).call(Flow::Requests, &seen).answers(&[answer(1), trailers(1, "0")].concat());
    assert_eq!(rpc(&dialogue).sent_messages, Some(2));

    let unseen = [Chunk::Copied(&frame[..14]), Chunk::Skipped(525)];
    let dialogue = Dialogue::server()
        .asks(&call(1))
        .call(Flow::Requests, &unseen)
        .answers(&[answer(1), trailers(1, "0")].concat());
    assert_eq!((rpc(&dialogue).sent_messages, rpc(&dialogue).received_messages), (None, Some(0)));
}

#[test]
fn a_response_may_be_trailers_only() {
    let only =
        headers(1, END_STREAM, &[(":status", "200"), ("content-type", "application/grpc"), ("grpc-status", "12")]);
    let dialogue = Dialogue::server().asks(&[call(1), data(1, END_STREAM, b"")].concat()).answers(&only);
    assert_eq!((rpc(&dialogue).status, rpc(&dialogue).first_message, code(&dialogue)), (Some(12), None, Some(12)));
}

#[test]
fn a_cancelled_call_says_so() {
    let dialogue = Dialogue::server().asks(&call(1)).answers(&answer(1)).asks(&reset(1, 8));
    assert!(rpc(&dialogue).cancelled);
    assert_eq!((rpc(&dialogue).status, code(&dialogue)), (None, Some(1)));
}

#[test]
fn what_a_reset_or_an_http_status_stands_for() {
    for (reset_code, expected) in
        [(0, 13), (1, 13), (2, 13), (3, 13), (5, 2), (7, 14), (8, 1), (9, 13), (11, 8), (12, 7), (13, 2)]
    {
        let dialogue = Dialogue::server().asks(&call(1)).answers(&reset(1, reset_code));
        assert_eq!(code(&dialogue), Some(expected), "{reset_code}");
    }
    for (status, expected) in [("200", 2), ("400", 13), ("401", 16), ("403", 7), ("404", 12), ("503", 14), ("500", 2)] {
        let dialogue = Dialogue::server().asks(&[call(1), data(1, END_STREAM, b"")].concat());
        let dialogue = dialogue.answers(&response(1, END_STREAM, status));
        assert_eq!(code(&dialogue), Some(expected), "{status}");
    }
    let closed = Dialogue::server().asks(&call(1)).end(None, End::Closed);
    assert_eq!(code(&closed), None);
}

#[test]
fn a_status_tells_grpc_where_the_content_type_is_not_known() {
    let unknown = frame(1, END_HEADERS, 9, &[&block(&[(":status", "200")])[..], &[NEWEST + 5]].concat());
    let dialogue = Dialogue::joined_late()
        .asks(&request(9, END_STREAM, "POST", "/a.B/C"))
        .answers(&[unknown, data(9, 0, &message(b"x")), trailers(9, "0")].concat());
    assert_eq!((rpc(&dialogue).received_messages, code(&dialogue)), (Some(1), Some(0)));
    assert_eq!(dialogue.finished()[0].incomplete, None);
    // A call of gRPC-Web has the same trailers, and is none of gRPC.
    let web =
        headers(1, END_STREAM, &[(":status", "200"), ("content-type", "application/grpc-web"), ("grpc-status", "0")]);
    let dialogue = Dialogue::server().asks(&get(1, "/a.B/C")).answers(&web);
    assert_eq!(dialogue.finished()[0].rpc, None);
}

#[test]
fn the_response_alone_may_tell_that_it_is_grpc() {
    let dialogue = Dialogue::server()
        .asks(&request(1, END_STREAM, "POST", "/a.B/C"))
        .answers(&[answer(1), data(1, 0, &message(b"x")), trailers(1, "14")].concat());
    assert_eq!((rpc(&dialogue).received_messages, code(&dialogue)), (Some(1), Some(14)));
    let plain = Dialogue::server().asks(&get(1, "/")).answers(&response(1, END_STREAM, "200"));
    assert_eq!((&plain.finished()[0].rpc, code(&plain)), (&None, None));
}
