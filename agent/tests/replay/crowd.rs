//! A process that holds more requests than any ordinary one: what is kept has a bound, each step stays cheap, and what is not linked
//! has a reason.

use std::time::{Duration, Instant};

use crate::{dialogue::Play, golden::forest};
use netspan::{
    capture::{count::Account, event::Event},
    span::Method,
};

/// Requests that are open at once.
const OPEN: u32 = 100_000;
/// Calls that are made meanwhile.
const CALLS: u32 = 5_000;
/// Far more than it takes on a busy machine, and far less than if each call went through all open requests.
const PATIENCE: Duration = Duration::from_mins(3);

/// Plays it with room for all connections: the pipeline's account and its spans.
fn run(play: &Play) -> (Account, Vec<std::sync::Arc<netspan::span::Span>>) {
    let mut pipeline = play.pipeline_for(0.95, 2 * OPEN as usize);
    let begun = Instant::now();
    for record in play.records() {
        pipeline.advance(Event::decode(record).expect("an event").head().time_ns);
        pipeline.record(record).expect("an event");
    }
    pipeline.finish();
    assert!(begun.elapsed() < PATIENCE, "{:?}", begun.elapsed());
    let mut account = Account::default();
    pipeline.account(&mut account);
    (account, pipeline.take())
}

#[test]
fn calls_of_an_event_loop_with_a_hundred_thousand_open_requests_have_a_reason_each() {
    let mut play = Play::new();
    let app = play.process(20, "app");
    let fronts: Vec<_> = (0..OPEN).map(|_| play.accept(app)).collect();
    let back = play.connect(app);
    for front in &fronts {
        play.hear(*front, 20, "/poll");
    }
    for _ in 0..CALLS {
        play.ask(back, 20, "/down");
        play.learn(back, 20);
    }
    for front in &fronts {
        play.answer(*front, 20);
    }
    let (account, spans) = run(&play);
    assert_eq!(spans.len() as u32, OPEN + CALLS);
    assert!(spans.iter().all(|span| span.parent.is_none()));
    let reasons: u64 = netspan::link::Why::ALL.iter().map(|why| account.get("unlinked", why.name())).sum();
    assert_eq!(reasons, u64::from(CALLS));
    assert_eq!(account.get("unlinked", "no_request"), 0);
}

#[test]
fn a_thread_with_one_request_is_linked_though_a_hundred_thousand_others_are_open() {
    let mut play = Play::new();
    let app = play.process(20, "app");
    let fronts: Vec<_> = (0..OPEN).map(|_| play.accept(app)).collect();
    let (front, back) = (play.accept(app), play.connect(app));
    for (tid, front) in (1000..).zip(&fronts) {
        play.hear(*front, tid, "/poll");
    }
    for _ in 0..CALLS {
        play.hear(front, 21, "/quick");
        play.ask(back, 21, "/down");
        play.learn(back, 21);
        play.answer(front, 21);
    }
    let (account, spans) = run(&play);
    let threads = spans.iter().filter(|span| span.link.is_some_and(|link| link.method == Method::Thread)).count();
    let least = CALLS as usize - netspan::link::STEADY_MIN as usize;
    assert!(threads >= least, "{threads}: {}", forest(&spans[..20]));
    assert_eq!(account.get("link", "thread"), threads as u64);
}
