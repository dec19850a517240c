//! Go programs: calls go over connections of a pool, whose own goroutines write them, on whatever thread; which goroutine asked
//! is all that tells whose they are.

use crate::{
    dialogue::{End, Play, get},
    golden::attribute,
};
use netspan::{
    capture::count::Account,
    span::{Kind, Method, Span},
};
use std::{collections::HashMap, sync::Arc};

const REQUESTS: usize = 60;

/// The goroutine that serves a connection.
fn server(n: usize) -> u64 {
    100 + n as u64
}

struct Program {
    play: Play,
    ends: Vec<(End, End)>,
}

impl Program {
    /// One that reads a request on each of its connections.
    fn new(headers: impl Fn(usize) -> String) -> Self {
        let mut play = Play::new();
        let app = play.process(20, "app");
        let ends: Vec<_> = (0..REQUESTS).map(|_| (play.accept(app), play.connect(app))).collect();
        for (n, (front, _)) in ends.iter().enumerate() {
            play.goroutine(*front, server(n), 1);
            play.receive(*front, 20 + n as u32 % 3, &get(&format!("/{n}"), &headers(n)), 0);
        }
        Self { play, ends }
    }

    /// Each request's call is asked for by a goroutine, given with the one that made it.
    fn calls(&mut self, goroutine: impl Fn(usize) -> (u64, u64), headers: impl Fn(usize) -> String) {
        for n in 0..REQUESTS {
            let n = n * 37 % REQUESTS;
            let (id, parent) = goroutine(n);
            self.play.goroutine(self.ends[n].1, id, parent);
            self.play.send(self.ends[n].1, 21, &get(&format!("/{n}/call"), &headers(n)), 0);
        }
    }

    fn answers(&mut self) {
        for (front, back) in &self.ends {
            self.play.learn(*back, 22);
            self.play.answer(*front, 20);
        }
    }
}

fn nothing(_: usize) -> String {
    String::new()
}

/// Calls with the right parent by `goroutine`, and with a wrong one.
fn score(spans: &[Arc<Span>]) -> (usize, usize) {
    let by_id: HashMap<_, _> = spans.iter().map(|span| (span.span_id, span)).collect();
    let (mut right, mut wrong) = (0, 0);
    for call in spans.iter().filter(|span| span.kind == Kind::Client) {
        let Some(parent) = call.parent.and_then(|id| by_id.get(&id)) else { continue };
        let path = attribute(parent, "url.path").unwrap();
        let is_right = attribute(call, "url.full").unwrap().ends_with(&format!("{path}/call"));
        let is_of = call.link.unwrap().method == Method::Goroutine;
        (right, wrong) = (right + usize::from(is_right && is_of), wrong + usize::from(!is_right));
    }
    (right, wrong)
}

#[test]
fn what_the_goroutine_of_a_request_asks_for_is_linked() {
    let mut program = Program::new(nothing);
    program.calls(|n| (server(n), 1), nothing);
    program.answers();
    let spans = program.play.spans();
    assert_eq!(score(&spans), (REQUESTS, 0));
    assert!(spans.iter().filter_map(|span| span.link).all(|link| link.confidence >= 1.0));
}

#[test]
fn what_goroutines_ask_for_that_it_made_is_linked_once_they_are_known_to_end_in_time() {
    let mut program = Program::new(nothing);
    program.calls(|n| (1000 + n as u64, server(n)), nothing);
    program.answers();
    let (right, wrong) = score(&program.play.spans());
    assert!(right > REQUESTS / 2 && wrong == 0, "{right} right, {wrong} wrong");
}

#[test]
fn goroutines_that_nobody_knows_link_nothing() {
    let mut program = Program::new(nothing);
    program.calls(|n| (1000 + n as u64, 2000 + n as u64), nothing);
    program.answers();
    assert_eq!(score(&program.play.spans()), (0, 0));
}

#[test]
fn a_call_after_the_answer_follows_from_it() {
    let mut program = Program::new(nothing);
    let (front, back) = program.ends[0];
    // Requests are remembered of a process that makes calls.
    program.play.ask(program.ends[1].1, 23, "/other");
    program.play.answer(front, 20);
    program.play.goroutine(back, server(0), 1);
    program.play.ask(back, 23, "/0/call");
    program.play.learn(back, 23);
    let spans = program.play.spans();
    let is_call = |span: &Span| attribute(span, "url.full").is_some_and(|url| url.ends_with("/0/call"));
    let call = spans.iter().find(|span| is_call(span)).unwrap();
    let request = spans.iter().find(|span| attribute(span, "url.path").as_deref() == Some("/0")).unwrap();
    assert_eq!((call.parent, call.links.len()), (None, 1));
    assert_eq!(call.links[0].span_id, request.span_id);
}

#[test]
fn what_is_left_over_is_not_taken_for_a_call_of_the_only_open_request() {
    let mut play = Play::new();
    let app = play.process(20, "app");
    let (front, other, back) = (play.accept(app), play.accept(app), play.connect(app));
    for (end, goroutine) in [(front, 100), (other, 101)] {
        play.goroutine(end, goroutine, 1);
        play.hear(end, 20, "/1");
    }
    play.answer(front, 20);
    play.goroutine(back, 1000, 100);
    play.ask(back, 21, "/late");
    play.learn(back, 21);
    play.answer(other, 20);
    let spans = play.spans();
    assert!(spans.iter().all(|span| span.kind == Kind::Server || span.parent.is_none()));
}

#[test]
fn a_lost_event_links_nothing_to_the_goroutine_before() {
    let mut program = Program::new(nothing);
    let (_, back) = program.ends[0];
    program.play.goroutine(back, server(0), 1);
    program.play.ask(back, 23, "/0/call");
    program.play.learn(back, 23);
    // Another request's call on the same connection, whose goroutine was not told.
    program.play.ask(back, 23, "/1/call");
    program.play.learn(back, 23);
    program.play.answer(program.ends[0].0, 20);
    program.play.answer(program.ends[1].0, 20);
    assert_eq!(score(&program.play.spans()), (1, 0));
}

#[test]
fn a_request_id_that_tells_of_another_request_is_a_contradiction() {
    let id = |n: usize| format!("X-Request-ID: 3f2504e0-4f89-41d3-9a0c-0305e82c{n:04x}\r\n");
    let mut program = Program::new(id);
    program.calls(|n| (server(n), 1), |n| id(n ^ 1));
    program.answers();
    assert_eq!(score(&program.play.spans()).1, 0);
    let mut account = Account::default();
    program.play.finished(0.95).account(&mut account);
    assert_eq!(account.get("link", "contradicted"), REQUESTS as u64);
}
