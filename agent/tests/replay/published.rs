//! Calls whose threads published which trace and span they were at (OpenTelemetry's thread context).

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

/// The server's span and the client's, each the only one.
fn both(spans: &[Arc<Span>]) -> (&Span, &Span) {
    let of_kind = |kind| spans.iter().find(|span| span.kind == kind).expect("one of each kind");
    assert_eq!(spans.len(), 2);
    (of_kind(Kind::Server), of_kind(Kind::Client))
}

fn method(span: &Span) -> Option<Method> {
    span.link.map(|link| link.method)
}

#[test]
fn a_call_is_the_child_of_what_its_thread_published_and_its_request_joins_that_trace() {
    let (mut play, front, back) = middle();
    play.hear(front, 20, "/");
    play.ask(back, 20, "/call");
    play.publishes(back, 7, 8);
    play.learn(back, 20);
    play.answer(front, 20);
    let spans = play.run(0.95);
    let (server, client) = both(&spans);
    assert_eq!((client.trace_id, client.parent), (TraceId([7; 16]), Some(SpanId([8; 8]))));
    assert_eq!(client.link.map(|link| (link.method, link.confidence)), Some((Method::ThreadContext, 1.0)));
    assert!(!client.parent_is_remote, "the span is of the same process");
    assert_eq!((server.trace_id, server.parent), (TraceId([7; 16]), None));
    assert!(client.links.iter().any(|link| link.span_id == server.span_id), "the request is told of: {client:?}");
}

#[test]
fn it_comes_before_what_the_calls_headers_say_which_is_told_of() {
    let (mut play, front, back) = middle();
    play.hear(front, 20, "/");
    play.send(back, 20, &get("/call", HEADER), 0);
    play.publishes(back, 7, 8);
    play.learn(back, 20);
    play.answer(front, 20);
    let spans = play.run(0.95);
    let (_, client) = both(&spans);
    assert_eq!((client.trace_id, client.parent), (TraceId([7; 16]), Some(SpanId([8; 8]))));
    assert_eq!(method(client), Some(Method::ThreadContext));
    assert!(client.links.iter().any(|link| link.trace_id == OF_HEADER), "{:?}", client.links);
}

#[test]
fn a_request_that_came_with_a_context_stays_in_its_trace() {
    let (mut play, front, back) = middle();
    play.receive(front, 20, &get("/", HEADER), 0);
    play.ask(back, 20, "/call");
    play.publishes(back, 7, 8);
    play.learn(back, 20);
    play.answer(front, 20);
    let spans = play.run(0.95);
    let (server, client) = both(&spans);
    assert_eq!((server.trace_id, client.trace_id), (OF_HEADER, TraceId([7; 16])));
}

#[test]
fn it_is_for_the_request_whose_head_begins_in_that_call_whole_or_not() {
    let (mut play, front, back) = middle();
    play.hear(front, 20, "/");
    let head = get("/call", "");
    let (first, rest) = head.split_at(9);
    play.send(back, 20, first, 0);
    play.publishes(back, 7, 8);
    play.send(back, 20, rest, 0);
    play.learn(back, 20);
    play.ask(back, 20, "/next");
    play.learn(back, 20);
    play.answer(front, 20);
    let spans = play.run(0.95);
    let calls: Vec<_> = spans.iter().filter(|span| span.kind == Kind::Client).collect();
    let methods: Vec<_> = calls.iter().map(|span| method(span)).collect();
    assert_eq!(methods, [Some(Method::ThreadContext), Some(Method::Thread)], "the next call has none of its own");
}

#[test]
fn ids_of_zeros_are_no_context_and_neither_is_that_of_another_call() {
    for (trace, span, is_late) in [(0, 8, false), (7, 0, false), (7, 8, true)] {
        let (mut play, front, back) = middle();
        play.hear(front, 20, "/");
        play.ask(back, 20, "/call");
        if is_late {
            play.learn(back, 20);
        }
        play.publishes(back, trace, span);
        if !is_late {
            play.learn(back, 20);
        }
        play.answer(front, 20);
        let spans = play.run(0.95);
        let (server, client) = both(&spans);
        assert_eq!((method(client), client.parent), (Some(Method::Thread), Some(server.span_id)));
    }
}
