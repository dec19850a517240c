//! Programs that hold many requests on one thread, for long enough to be known: what is told by the order of reads and sends,
//! and what only statistics can tell.

use crate::{
    dialogue::{End, Play},
    golden::attribute,
};
use netspan::{
    link::Why,
    span::{Kind, Method, Span},
};
use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

/// Longer than a process is only watched.
const WATCHED_NS: u64 = 2_000_000_000;

struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

/// What a thread does next, and when.
#[derive(Clone, Copy, Debug)]
enum Next {
    Ask,
    Call,
    Learn,
}

/// A loop with so many slots, each with one request at a time, that makes one call `delay_ns` after it read it, in the order
/// in which things are due.
fn play(slots: usize, requests: usize, delay_ns: u64, seed: u64) -> Play {
    let (mut play, mut dice) = (Play::new(), Dice(seed));
    let app = play.process(20, "app");
    let ends: Vec<(End, End)> = (0..slots).map(|_| (play.accept(app), play.connect(app))).collect();
    play.hear(ends[0].0, 20, "/first");
    play.answer(ends[0].0, 20);
    play.now += WATCHED_NS;
    let mut queue: VecDeque<(u64, usize, Next, usize)> =
        (0..slots).map(|slot| (play.now + dice.below(4_000_000), slot, Next::Ask, 0)).collect();
    let mut begun = 0;
    while let Some(at) = (0..queue.len()).min_by_key(|at| queue[*at].0) {
        let (due_ns, slot, next, request) = queue.remove(at).unwrap();
        play.now = play.now.max(due_ns);
        let (front, back) = ends[slot];
        match next {
            Next::Ask if begun < requests => {
                play.hear(front, 20, &format!("/{begun}"));
                if delay_ns == 0 {
                    play.ask(back, 20, &format!("/{begun}/call"));
                    queue.push_back((play.now + 1_000_000 + dice.below(4_000_000), slot, Next::Learn, begun));
                } else {
                    queue.push_back((play.now + delay_ns + dice.below(delay_ns / 10), slot, Next::Call, begun));
                }
                begun += 1;
            }
            Next::Ask => {}
            Next::Call => {
                play.ask(back, 20, &format!("/{request}/call"));
                queue.push_back((play.now + 1_000_000 + dice.below(4_000_000), slot, Next::Learn, request));
            }
            Next::Learn => {
                play.learn(back, 20);
                play.answer(front, 20);
                queue.push_back((play.now + dice.below(2_000_000), slot, Next::Ask, 0));
            }
        }
    }
    play
}

/// Calls, those with the right parent, and those with a wrong one; only by this method.
fn score(spans: &[Arc<Span>], method: Method) -> (usize, usize, usize) {
    let by_id: HashMap<_, _> = spans.iter().map(|span| (span.span_id, span)).collect();
    let (mut calls, mut right, mut wrong) = (0, 0, 0);
    for call in spans.iter().filter(|span| span.kind == Kind::Client) {
        calls += 1;
        let Some(parent) = call.parent.map(|id| by_id[&id]) else { continue };
        let path = attribute(parent, "url.path").unwrap();
        let is_right = attribute(call, "url.full").unwrap().ends_with(&format!("{path}/call"));
        let is_of = call.link.is_some_and(|link| link.method == method);
        right += usize::from(is_right && is_of);
        wrong += usize::from(!is_right);
        assert!(parent.start_ns <= call.start_ns && call.end_ns <= parent.end_ns, "a child lies within its parent");
    }
    (calls, right, wrong)
}

#[test]
fn a_loop_that_calls_at_once_is_linked_by_turn_however_many_requests_are_open() {
    for slots in [4, 16, 64] {
        let (calls, right, wrong) = score(&play(slots, 1000, 0, 7).spans(), Method::Turn);
        assert_eq!(wrong, 0, "{slots}");
        assert!(right * 100 >= calls * 90, "{slots}: {right} of {calls}");
    }
}

#[test]
fn a_loop_that_calls_after_a_while_is_linked_by_statistics_and_rarely_wrongly() {
    for slots in [4, 16] {
        let play = play(slots, 6000, 3_000_000, 11);
        let spans = play.run(0.95);
        assert_eq!(spans, play.run(0.95), "a replay gives the same");
        let (calls, right, wrong) = score(&spans, Method::Inferred);
        assert!(wrong * 100 <= right, "{slots}: {wrong} of {right} are wrong");
        assert!(right * 10 >= calls, "{slots}: {right} of {calls}");
    }
}

#[test]
fn every_call_without_a_parent_is_told_with_the_reason() {
    let mut alone = Play::new();
    let app = alone.process(20, "app");
    let back = alone.connect(app);
    alone.ask(back, 20, "/health");
    alone.learn(back, 20);
    let table: [(Play, &[Why]); 3] = [
        (alone, &[Why::NoRequest]),
        (play(16, 200, 3_000_000, 11), &[Why::Learning]),
        (play(64, 6000, 3_000_000, 11), &[Why::Learning, Why::Work, Why::Crowded]),
    ];
    for (play, expected) in table {
        let mut pipeline = play.finished(0.95);
        let spans = pipeline.take();
        let calls = spans.iter().filter(|span| span.kind == Kind::Client).count() as u64;
        let [(20, tally)] = &pipeline.links()[..] else { panic!("one process") };
        assert_eq!((tally.calls.spans(), tally.requests.spans()), (calls, spans.len() as u64 - calls));
        assert_eq!(tally.why.iter().sum::<u64>(), tally.calls.roots);
        let roots = spans.iter().filter(|span| span.parent.is_none() && span.kind == Kind::Client).count() as u64;
        assert_eq!(tally.calls.roots, roots);
        let reasons = tally.reasons();
        let main: u64 = reasons.iter().filter(|(why, _)| expected.contains(why)).map(|(_, count)| count).sum();
        assert!(main * 10 >= roots * 9, "{reasons:?}");
        assert_eq!(tally.resource.as_ref().unwrap().service, "app");
    }
}
