//! Requests that came with a TCP option in which the caller's host told the caller's span.

use crate::dialogue::{End, Play, get};
use netspan::span::{Kind, Method, Span, SpanId, TraceId};
use std::sync::Arc;

const HEADER: &str = "traceparent: 00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01\r\n";
const OF_HEADER: TraceId = TraceId(0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c_u128.to_be_bytes());

/// A server, a connection of it from another host, and one of its own to a third.
fn middle() -> (Play, End, End) {
    let mut play = Play::new();
    let app = play.process(20, "app");
    let (front, back) = (play.accept(app), play.connect(app));
    (play, front, back)
}

fn serve(play: &mut Play, front: End, back: End, headers: &str) {
    play.receive(front, 20, &get("/", headers), 0);
    play.ask(back, 20, "/call");
    play.learn(back, 20);
    play.answer(front, 20);
}

fn of_kind(spans: &[Arc<Span>], kind: Kind) -> Vec<&Arc<Span>> {
    spans.iter().filter(|span| span.kind == kind).collect()
}

#[test]
fn a_request_is_the_child_of_the_span_that_its_callers_host_told_and_so_is_its_call() {
    for is_before in [true, false] {
        let (mut play, front, back) = middle();
        if is_before {
            play.told(front, 0, 7, 8);
            serve(&mut play, front, back, "");
        } else {
            play.hear(front, 20, "/");
            play.told(front, 0, 7, 8);
            play.ask(back, 20, "/call");
            play.learn(back, 20);
            play.answer(front, 20);
        }
        let spans = play.run(0.95);
        let (server, client) = (of_kind(&spans, Kind::Server)[0], of_kind(&spans, Kind::Client)[0]);
        assert_eq!((server.trace_id, server.parent), (TraceId([7; 16]), Some(SpanId([8; 8]))), "before: {is_before}");
        assert_eq!(server.link.map(|link| (link.method, link.confidence)), Some((Method::TcpOption, 1.0)));
        assert!(server.parent_is_remote);
        assert_eq!((client.trace_id, client.parent), (TraceId([7; 16]), Some(server.span_id)));
    }
}

#[test]
fn the_trace_is_that_of_the_headers_and_the_caller_the_span_that_lies_between() {
    let (mut play, front, back) = middle();
    play.told(front, 0, 7, 8);
    serve(&mut play, front, back, HEADER);
    let spans = play.run(0.95);
    let server = of_kind(&spans, Kind::Server)[0];
    assert_eq!((server.trace_id, server.parent), (OF_HEADER, Some(SpanId([8; 8]))));
    assert_eq!(server.link.map(|link| link.method), Some(Method::TcpOption));
    assert!(server.links.is_empty(), "{:?}", server.links);
}

#[test]
fn each_request_of_a_connection_has_what_was_told_of_it_and_no_other() {
    let (mut play, front, back) = middle();
    for ordinal in 0..4 {
        if ordinal % 2 == 0 {
            play.told(front, ordinal, 10 + ordinal as u8, 20 + ordinal as u8);
        }
        serve(&mut play, front, back, "");
    }
    let spans = play.run(0.95);
    let parents: Vec<_> = of_kind(&spans, Kind::Server).iter().map(|span| span.parent).collect();
    assert_eq!(parents, [Some(SpanId([20; 8])), None, Some(SpanId([22; 8])), None]);
}

#[test]
fn ids_of_zeros_are_no_context() {
    for (trace, span) in [(0, 8), (7, 0)] {
        let (mut play, front, back) = middle();
        play.told(front, 0, trace, span);
        serve(&mut play, front, back, "");
        assert!(of_kind(&play.run(0.95), Kind::Server)[0].parent.is_none());
    }
}

#[test]
fn the_callers_own_span_on_this_host_comes_before_what_was_told() {
    let mut play = Play::new();
    let (caller, app) = (play.process(10, "caller"), play.process(20, "app"));
    let (near, far) = play.pair(caller, app);
    play.ask(near, 10, "/");
    play.told(far, 0, 7, 8);
    play.hear(far, 20, "/");
    play.answer(far, 20);
    play.learn(near, 10);
    let spans = play.run(0.95);
    let (server, client) = (of_kind(&spans, Kind::Server)[0], of_kind(&spans, Kind::Client)[0]);
    assert_eq!((server.trace_id, server.parent), (client.trace_id, Some(client.span_id)));
    assert_eq!(server.link.map(|link| link.method), Some(Method::Socket));
}
