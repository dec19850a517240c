//! Random loads of programs of several concurrency styles, with the truth in the paths: what share of the links that are
//! made is wrong, and what share of the calls is linked.

use crate::{
    dialogue::{End, Play},
    golden::attribute,
};
use netspan::span::{Kind, Span};
use std::{collections::HashMap, sync::Arc};

/// Pseudo-random numbers that repeat with their seed (xorshift).
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }
}

/// How a program uses its threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Style {
    /// Each request has a thread of its own.
    Threads,
    /// One thread has all requests.
    Loop,
    /// A task that waited goes on on any thread, about every second time on its old one.
    Moving,
}

/// One of the requests that a program works on at a time.
struct Slot {
    front: End,
    back: End,
    tid: u32,
    /// Serial number of the request, once it is read.
    request: Option<usize>,
    calls_left: usize,
    is_calling: bool,
}

/// Plays `requests` requests of which up to `concurrency` are open at a time, each with up to three calls in sequence.
fn load(style: Style, concurrency: usize, requests: usize, seed: u64) -> Vec<Arc<Span>> {
    let (mut play, mut dice) = (Play::new(), Dice(seed));
    let app = play.process(20, "app");
    let mut slots: Vec<Slot> = (0..concurrency)
        .map(|n| Slot {
            front: play.accept(app),
            back: play.connect(app),
            tid: if style == Style::Loop { 20 } else { 21 + n as u32 },
            request: None,
            calls_left: 0,
            is_calling: false,
        })
        .collect();
    let mut begun = 0;
    while begun < requests || slots.iter().any(|slot| slot.request.is_some()) {
        let slot = &mut slots[dice.below(concurrency)];
        let waited = slot.request.is_none() || slot.is_calling;
        if style == Style::Moving && waited && dice.below(2) == 0 {
            slot.tid = 21 + dice.below(concurrency) as u32;
        }
        match (slot.request, slot.is_calling) {
            (None, _) if begun == requests => {}
            (None, _) => {
                slot.request = Some(begun);
                slot.calls_left = dice.below(4);
                play.hear(slot.front, slot.tid, &format!("/{begun}"));
                begun += 1;
            }
            (Some(request), false) if slot.calls_left > 0 => {
                slot.calls_left -= 1;
                slot.is_calling = true;
                play.ask(slot.back, slot.tid, &format!("/{request}/call"));
            }
            (Some(_), true) => {
                slot.is_calling = false;
                play.learn(slot.back, slot.tid);
            }
            (Some(_), false) => {
                slot.request = None;
                play.answer(slot.front, slot.tid);
            }
        }
    }
    play.spans()
}

/// Calls, those that got a parent, and those that got a wrong one.
#[derive(Clone, Copy, Debug, Default)]
struct Score {
    calls: usize,
    linked: usize,
    wrong: usize,
}

impl Score {
    fn add(&mut self, spans: &[Arc<Span>]) {
        let by_id: HashMap<_, _> = spans.iter().map(|span| (span.span_id, span)).collect();
        for call in spans.iter().filter(|span| span.kind == Kind::Client) {
            self.calls += 1;
            let Some(parent) = call.parent.map(|id| by_id[&id]) else { continue };
            self.linked += 1;
            let path = attribute(parent, "url.path").unwrap();
            let is_right = attribute(call, "url.full").unwrap().ends_with(&format!("{path}/call"));
            self.wrong += usize::from(!is_right);
            assert!(parent.start_ns <= call.start_ns && call.end_ns <= parent.end_ns, "a child lies within its parent");
        }
    }

    fn of(style: Style, concurrency: usize) -> Self {
        let mut score = Self::default();
        for seed in 1..=5 {
            score.add(&load(style, concurrency, 200, seed * 7919));
        }
        score
    }
}

#[test]
fn one_request_at_a_time_links_every_call_whatever_the_style() {
    for style in [Style::Threads, Style::Loop, Style::Moving] {
        let score = Score::of(style, 1);
        assert_eq!((score.linked, score.wrong), (score.calls, 0), "{style:?}");
    }
}

#[test]
fn a_thread_per_request_links_nearly_every_call_and_none_wrongly() {
    for concurrency in [4, 16, 64] {
        let score = Score::of(Style::Threads, concurrency);
        assert_eq!(score.wrong, 0, "{concurrency}: {score:?}");
        assert!(score.linked * 100 >= score.calls * 98, "{concurrency}: {score:?}");
    }
}

#[test]
fn an_event_loop_links_no_call_wrongly() {
    for concurrency in [2, 4, 16, 64] {
        let score = Score::of(Style::Loop, concurrency);
        assert_eq!(score.wrong, 0, "{concurrency}: {score:?}");
    }
}

#[test]
fn a_runtime_that_moves_tasks_has_at_most_one_link_in_a_hundred_wrong() {
    for concurrency in [2, 4, 16, 64] {
        let score = Score::of(Style::Moving, concurrency);
        assert!(score.wrong * 100 <= score.linked, "{concurrency}: {score:?}");
    }
}
