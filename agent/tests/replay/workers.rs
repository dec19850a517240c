//! Programs in which one thread reads requests and others work on them: which of them calls tells whose a call is, once it answers.

use crate::{
    dialogue::{End, Play},
    golden::attribute,
};
use netspan::span::{Kind, Method, Span};
use std::{collections::HashMap, sync::Arc};

const READER: u32 = 20;
const WORKERS: usize = 6;

/// A program that has so many connections to it, and one of its own for each worker.
struct Program {
    play: Play,
    fronts: Vec<End>,
    backs: Vec<End>,
    rounds: usize,
}

fn worker(n: usize) -> u32 {
    READER + 1 + u32::try_from(n).unwrap()
}

impl Program {
    fn new() -> Self {
        let mut play = Play::new();
        let app = play.process(20, "app");
        let fronts = (0..WORKERS).map(|_| play.accept(app)).collect();
        let backs = (0..WORKERS).map(|_| play.connect(app)).collect();
        Self { play, fronts, backs, rounds: 0 }
    }

    fn hear(&mut self) {
        for n in 0..WORKERS {
            self.play.hear(self.fronts[n], READER, &format!("/{n}-{}", self.rounds));
        }
    }

    fn call(&mut self, n: usize, tid: u32) {
        self.play.ask(self.backs[n], tid, &format!("/{n}-{}/call", self.rounds));
    }

    /// Six requests are read, taken by workers in another order, and each makes two calls one after the other.
    fn round(&mut self) {
        self.hear();
        let of = |n: usize, rounds: usize| worker((n + rounds) % WORKERS);
        for n in (0..WORKERS).rev() {
            self.call(n, of(n, self.rounds));
        }
        for n in 0..WORKERS {
            let tid = of(n, self.rounds);
            self.play.learn(self.backs[n], tid);
            self.call(n, tid);
        }
        for n in 0..WORKERS {
            let n = n * 5 % WORKERS;
            let tid = of(n, self.rounds);
            self.play.learn(self.backs[n], tid);
            self.play.answer(self.fronts[n], tid);
        }
        self.rounds += 1;
    }
}

/// Calls with the right parent by `handoff`, with a wrong one, and with the right one by something else.
fn score(spans: &[Arc<Span>]) -> [usize; 3] {
    let by_id: HashMap<_, _> = spans.iter().map(|span| (span.span_id, span)).collect();
    let mut score = [0; 3];
    for call in spans.iter().filter(|span| span.kind == Kind::Client) {
        let url = attribute(call, "url.full").unwrap();
        let Some(parent) = call.parent.and_then(|id| by_id.get(&id)) else { continue };
        let is_right = attribute(parent, "url.path").is_some_and(|path| url.ends_with(&format!("{path}/call")));
        let method = call.link.map(|link| link.method);
        score[if !is_right {
            1
        } else if method == Some(Method::Handoff) {
            0
        } else {
            2
        }] += 1;
    }
    score
}

#[test]
fn a_workers_calls_are_of_the_request_that_it_answers() {
    let mut program = Program::new();
    (0..30).for_each(|_| program.round());
    let [right, wrong, _] = score(&program.play.spans());
    assert_eq!(wrong, 0);
    // Calls of the first rounds show that they block their threads.
    assert!(right >= 26 * WORKERS * 2, "{right}");
}

/// Each request is read, worked on and answered by one thread, which makes another one for a call; those are kept for later requests where
/// `is_pool` says so.
fn helped(is_pool: bool) -> [usize; 3] {
    let mut program = Program::new();
    let mut made = 1000;
    for _ in 0..30 {
        for n in 0..WORKERS {
            program.play.hear(program.fronts[n], worker(n), &format!("/{n}-{}", program.rounds));
        }
        for n in 0..WORKERS {
            let (helper, is_new) = if is_pool {
                (1000 + worker((n + program.rounds) % WORKERS), program.rounds == 0)
            } else {
                made += 1;
                (made, true)
            };
            if is_new {
                program.play.thread(READER, worker(n), helper);
            }
            program.call(n, helper);
            program.play.learn(program.backs[n], helper);
            program.call(n, worker(n));
        }
        for n in 0..WORKERS {
            program.play.learn(program.backs[n], worker(n));
            program.play.answer(program.fronts[n], worker(n));
        }
        program.rounds += 1;
    }
    let spans = program.play.spans();
    let by_thread = spans.iter().filter(|span| span.link.is_some_and(|link| link.method == Method::Thread));
    let [_, wrong, other] = score(&spans);
    [by_thread.filter(|span| span.kind == Kind::Client).count(), wrong, other]
}

#[test]
fn threads_that_a_requests_thread_makes_call_for_it() {
    let [by_thread, wrong, _] = helped(false);
    assert_eq!(wrong, 0);
    // All but those of the first rounds, which show what such threads do.
    assert!(by_thread >= 2 * 30 * WORKERS - 5 * WORKERS, "{by_thread}");
}

#[test]
fn threads_that_are_kept_for_others_tell_nothing() {
    let [by_thread, wrong, _] = helped(true);
    assert_eq!(wrong, 0);
    assert!(by_thread <= 30 * WORKERS, "{by_thread}: only the requests' own threads");
}

#[test]
fn where_tasks_wander_between_threads_no_worker_is_seen() {
    let mut program = Program::new();
    for round in 0..60 {
        program.hear();
        for n in 0..WORKERS {
            program.call(n, worker((n + round) % 2));
        }
        for n in 0..WORKERS {
            // Some by the thread that called, some by the other.
            program.play.learn(program.backs[n], worker((n * 7 + round) % 3 % 2));
            program.play.answer(program.fronts[(n + 1) % WORKERS], worker(round % 2));
        }
        program.rounds += 1;
    }
    assert_eq!(score(&program.play.spans())[..2], [0, 0]);
}
