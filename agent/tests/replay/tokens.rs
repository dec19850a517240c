//! Calls that carry a value of their request, in a program that gives no other sign of whose they are: one thread reads a hundred
//! requests, and makes their calls later, in an order of its own.

use crate::{
    dialogue::{Play, get},
    golden::attribute,
};
use netspan::{
    capture::count::Account,
    span::{Kind, Method, Span},
};
use std::{collections::HashMap, sync::Arc};

const REQUESTS: usize = 100;

fn uuid(n: usize) -> String {
    format!("3f2504e0-4f89-41d3-9a0c-0305e82c{n:04x}")
}

/// Requests and their calls, each with the path and the headers that it is given by the request's number.
fn play(request: impl Fn(usize) -> (String, String), call: impl Fn(usize) -> (String, String)) -> Vec<Arc<Span>> {
    let mut play = Play::new();
    let app = play.process(20, "app");
    let ends: Vec<_> = (0..REQUESTS).map(|_| (play.accept(app), play.connect(app))).collect();
    for (n, (front, _)) in ends.iter().enumerate() {
        let (path, headers) = request(n);
        play.receive(*front, 20, &get(&path, &headers), 0);
    }
    let order: Vec<usize> = (0..REQUESTS).map(|n| n * 37 % REQUESTS).collect();
    for n in &order {
        let (path, headers) = call(*n);
        play.send(ends[*n].1, 20, &get(&path, &headers), 0);
    }
    for n in &order {
        play.learn(ends[*n].1, 20);
        play.answer(ends[*n].0, 20);
    }
    play.spans()
}

/// Calls with the right parent by `token`, with a wrong one, and with any by another method. `/N` asks `/N/call`.
fn score(spans: &[Arc<Span>]) -> (usize, usize, usize) {
    let by_id: HashMap<_, _> = spans.iter().map(|span| (span.span_id, span)).collect();
    let (mut right, mut wrong, mut other) = (0, 0, 0);
    for call in spans.iter().filter(|span| span.kind == Kind::Client) {
        let Some(parent) = call.parent.and_then(|id| by_id.get(&id)) else { continue };
        let path = attribute(parent, "url.path").unwrap();
        if call.link.unwrap().method != Method::Token {
            other += 1;
        } else if attribute(call, "url.full").unwrap().ends_with(&format!("{path}/call")) {
            right += 1;
        } else {
            wrong += 1;
        }
    }
    (right, wrong, other)
}

fn named(name: &str, value: &str) -> String {
    format!("{name}: {value}\r\n")
}

#[test]
fn a_request_id_that_is_handed_on_links_every_call() {
    for (own, handed) in
        [("X-Request-ID", "x-request-id"), ("X-Correlation-ID", "X-Request-Id"), ("Request-Id", "X-Trace-Id")]
    {
        let spans = play(
            |n| (format!("/{n}"), named(own, &uuid(n))),
            |n| (format!("/{n}/call"), named(handed, &uuid(n).to_ascii_uppercase())),
        );
        assert_eq!(score(&spans), (REQUESTS, 0, 0), "{own}");
    }
}

#[test]
fn a_value_that_several_have_links_nothing() {
    type By = fn(usize) -> String;
    let rows: [(&str, By, By); 5] = [
        ("everybody sends the same", |_| uuid(1), |_| uuid(1)),
        ("each is sent twice", |n| uuid(n / 2), |n| uuid(n / 2)),
        ("a counter", |n| format!("{n}"), |n| format!("{n}")),
        ("the program makes its own", uuid, |n| uuid(n + 5000)),
        ("none is handed on", uuid, |_| String::new()),
    ];
    for (what, own, handed) in rows {
        let spans = play(
            |n| (format!("/{n}"), named("X-Request-ID", &own(n))),
            |n| (format!("/{n}/call"), named("X-Request-ID", &handed(n))),
        );
        assert_eq!(score(&spans), (0, 0, 0), "{what}");
    }
}

#[test]
fn credentials_link_nothing() {
    for name in ["Authorization", "Cookie", "X-Session-Id", "X-Api-Key"] {
        let headers = |n: usize| named(name, &uuid(n));
        let spans = play(|n| (format!("/{n}"), headers(n)), |n| (format!("/{n}/call"), headers(n)));
        assert_eq!(score(&spans), (0, 0, 0), "{name}");
    }
}

#[test]
fn ids_in_paths_link_calls_once_the_route_is_known_to_hand_them_on() {
    let spans = play(|n| (format!("/{}", uuid(n)), String::new()), |n| (format!("/{}/call", uuid(n)), String::new()));
    let (right, wrong, _) = score(&spans);
    assert!(right > REQUESTS / 2 && wrong == 0, "{right} right, {wrong} wrong");
    // Half of the calls are about other things.
    let spans = play(
        |n| (format!("/{}", uuid(n)), String::new()),
        |n| (format!("/{}/call", uuid(n + n % 2 * 5000)), String::new()),
    );
    assert_eq!(score(&spans).0, 0);
}

#[test]
fn a_call_after_the_answer_is_told_of_but_is_no_child() {
    let mut play = Play::new();
    let app = play.process(20, "app");
    let (front, other, back) = (play.accept(app), play.accept(app), play.connect(app));
    let id = |n| named("X-Request-ID", &uuid(n));
    // Requests are remembered of a process that makes calls.
    play.ask(back, 20, "/0/call");
    play.learn(back, 20);
    play.receive(front, 20, &get("/1", &id(1)), 0);
    play.receive(other, 20, &get("/2", &id(2)), 0);
    play.answer(front, 20);
    play.send(back, 20, &get("/1/call", &id(1)), 0);
    play.learn(back, 20);
    play.answer(other, 20);
    let spans = play.spans();
    let is_call = |span: &Span| attribute(span, "url.full").is_some_and(|url| url.ends_with("/1/call"));
    let call = spans.iter().find(|span| is_call(span)).unwrap();
    let request = spans.iter().find(|span| attribute(span, "url.path").as_deref() == Some("/1")).unwrap();
    assert_eq!((call.parent, call.links.len()), (None, 1));
    assert_eq!(call.links[0].span_id, request.span_id);
}

#[test]
fn a_thread_and_a_value_that_contradict_each_other_make_no_link() {
    let mut play = Play::new();
    let app = play.process(20, "app");
    let ends: Vec<_> = (0..2).map(|_| (play.accept(app), play.connect(app))).collect();
    let id = |n| named("X-Request-ID", &uuid(n));
    // Threads 20 and 21, each with one request at a time: the process is known to stay on its threads.
    let mut pair = |turn: usize, swap: usize| {
        let id = |n: usize| id(2 * turn + n);
        for (n, (front, _)) in ends.iter().enumerate() {
            play.receive(*front, 20 + n as u32, &get(&format!("/{n}"), &id(n)), 0);
        }
        for (n, (_, back)) in ends.iter().enumerate() {
            play.send(*back, 20 + n as u32, &get(&format!("/{n}/call"), &id(n ^ swap)), 0);
        }
        for (n, (front, back)) in ends.iter().enumerate() {
            play.learn(*back, 20 + n as u32);
            play.answer(*front, 20 + n as u32);
        }
        play.now += 2_000_000_000;
    };
    for turn in 0..10 {
        pair(turn, 0);
    }
    pair(10, 1);
    let mut account = Account::default();
    play.finished(0.95).account(&mut account);
    assert_eq!(account.get("link", "contradicted"), 2);
}
