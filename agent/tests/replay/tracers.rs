//! A program that has a tracer of its own: the trace that it begins, and what it exports.

use crate::{
    dialogue::{Play, get},
    golden::{forest, only},
};
use netspan::{
    capture::count::Account,
    span::{Kind, Method},
};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

fn account(play: &Play) -> Account {
    let mut account = Account::default();
    play.finished(0.95).account(&mut account);
    account
}

/// `front` calls `app`, whose tracer makes a span for its call of `back`. `outside` is what the first request carries.
fn chain(outside: &str) -> Play {
    let mut play = Play::new();
    let (front, app, back) = (play.process(10, "front"), play.process(20, "app"), play.process(30, "back"));
    let at_front = play.accept(front);
    let (to_app, at_app) = play.pair(front, app);
    let (to_back, at_back) = play.pair(app, back);
    play.receive(at_front, 10, &get("/in", outside), 0);
    play.carry((to_app, 10), (at_app, 20), get("/app", "").as_bytes());
    let own = format!("traceparent: 00-{TRACE}-{CALLER}-01\r\n");
    play.carry((to_back, 20), (at_back, 30), get("/back", &own).as_bytes());
    play.answer(at_back, 30);
    play.learn(to_back, 20);
    play.answer(at_app, 20);
    play.learn(to_app, 10);
    play.answer(at_front, 10);
    play
}

#[test]
fn the_trace_that_a_tracer_begins_in_the_middle_is_that_of_all_that_caused_it() {
    let play = chain("");
    let spans = play.spans();
    assert_eq!(spans.len(), 5);
    for span in &spans {
        assert_eq!(hex(&span.trace_id.0), TRACE, "{}", span.name);
    }
    assert_eq!(only(&spans, Kind::Server, "front").parent, None);
    let (call, server) = (only(&spans, Kind::Client, "app"), only(&spans, Kind::Server, "app"));
    assert_eq!(call.parent.map(|id| hex(&id.0)).as_deref(), Some(CALLER));
    assert_eq!((call.link.unwrap().method, call.parent_is_remote), (Method::Header, true));
    assert_eq!(server.parent, Some(only(&spans, Kind::Client, "front").span_id));
    assert_eq!(only(&spans, Kind::Server, "back").parent, Some(call.span_id));
    assert_eq!(account(&play).get("link", "adopted"), 1);
}

#[test]
fn a_request_that_came_with_a_context_stays_in_its_trace() {
    let other = "0af7651916cd43dd8448eb211c80319c";
    let play = chain(&format!("traceparent: 00-{other}-b7ad6b7169203331-01\r\n"));
    let spans = play.spans();
    for (kind, service, trace) in [
        (Kind::Server, "front", other),
        (Kind::Client, "front", other),
        (Kind::Server, "app", other),
        (Kind::Client, "app", TRACE),
        (Kind::Server, "back", TRACE),
    ] {
        assert_eq!(hex(&only(&spans, kind, service).trace_id.0), trace, "{service}");
    }
    assert_eq!(account(&play).get("link", "adopted"), 0);
}

/// A program reads a request, and exports telemetry before it answers, on the same thread.
fn export(inbound: &str, outbound: &str) -> Play {
    let post = |target: &str| format!("POST {target} HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 10\r\n\r\n");
    let mut play = Play::new();
    let app = play.process(20, "app");
    let (front, collector) = (play.accept(app), play.connect(app));
    play.receive(front, 20, &post(inbound), 10);
    play.send(collector, 20, &post(outbound), 10);
    play.learn(collector, 20);
    play.answer(front, 20);
    play
}

#[test]
fn what_a_program_exports_of_itself_is_no_child_of_a_request() {
    for target in ["/v1/traces", "/opentelemetry.proto.collector.trace.v1.TraceService/Export", "/api/v2/spans"] {
        let play = export("/buy", target);
        assert!(play.spans().iter().all(|span| span.parent.is_none()), "{}", forest(&play.spans()));
        assert_eq!(account(&play).get("unlinked", "export"), 1, "{target}");
    }
    assert_eq!(account(&export("/buy", "/orders")).get("link", "thread"), 1);
}

#[test]
fn a_gateway_of_telemetry_has_its_calls_below_its_requests() {
    let play = export("/v1/traces", "/gateway/v1/traces");
    assert_eq!(account(&play).get("link", "thread"), 1, "{}", forest(&play.spans()));
}
