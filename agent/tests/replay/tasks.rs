//! Programs on asyncio: one thread holds all requests, and which task sends is all that tells whose a call is.

use crate::{
    dialogue::{End, Play, get},
    golden::attribute,
};
use netspan::{
    capture::count::Account,
    span::{Kind, Method, Span},
};
use netspan_ebpf::TaskId;
use std::{collections::HashMap, sync::Arc};

const REQUESTS: usize = 40;
const THREAD: u32 = 20;

/// A program with that many requests open at once, each on a connection of its own, as are their calls.
struct Program {
    play: Play,
    ends: Vec<(End, End)>,
    /// Tasks that serve the connections.
    servers: Vec<TaskId>,
}

impl Program {
    fn new() -> Self {
        let mut play = Play::new();
        let app = play.process(20, "app");
        let ends: Vec<_> = (0..REQUESTS).map(|_| (play.accept(app), play.connect(app))).collect();
        let servers = (0..REQUESTS).map(|n| made(&mut play, 0x1000 + n as u64 * 16)).collect();
        Self { play, ends, servers }
    }

    fn hear(&mut self, round: usize) {
        for (n, (front, _)) in self.ends.iter().enumerate() {
            self.play.hear(*front, THREAD, &format!("/{n}-{round}"));
        }
    }

    /// A request's call is sent by such tasks.
    fn call(&mut self, n: usize, round: usize, tasks: &[TaskId]) {
        let back = self.ends[n].1;
        self.play.task(back, tasks);
        self.play.ask(back, THREAD, &format!("/{n}-{round}/call"));
    }

    fn learn(&mut self, n: usize) {
        self.play.learn(self.ends[n].1, THREAD);
    }

    /// A request is answered by such tasks.
    fn answer(&mut self, n: usize, tasks: &[TaskId]) {
        let front = self.ends[n].0;
        if !tasks.is_empty() {
            self.play.task(front, tasks);
        }
        self.play.answer(front, THREAD);
    }

    /// All requests of a round are answered, in another order than they came in.
    fn answer_all(&mut self) {
        for n in 0..REQUESTS {
            let n = n * 7 % REQUESTS;
            self.answer(n, &[self.servers[n]]);
        }
    }
}

/// A task that is made now.
fn made(play: &mut Play, address: u64) -> TaskId {
    TaskId { address, made_ns: play.tick() }
}

/// What became of calls: right parents by `task`, wrong ones, right requests that a call follows from, wrong ones.
#[derive(Debug, Default, PartialEq, Eq)]
struct Score {
    right: usize,
    wrong: usize,
    follows: usize,
    follows_wrong: usize,
}

fn score(spans: &[Arc<Span>]) -> Score {
    let by_id: HashMap<_, _> = spans.iter().map(|span| (span.span_id, span)).collect();
    let mut score = Score::default();
    for call in spans.iter().filter(|span| span.kind == Kind::Client) {
        let url = attribute(call, "url.full").unwrap();
        let is_right =
            |above: &Span| attribute(above, "url.path").is_some_and(|path| url.ends_with(&format!("{path}/call")));
        if let Some(parent) = call.parent.and_then(|id| by_id.get(&id)) {
            let link = call.link.unwrap();
            let is_so = is_right(parent) && link.method == Method::Task && link.confidence >= 1.0;
            let count = if is_so { &mut score.right } else { &mut score.wrong };
            *count += 1;
        }
        for above in call.links.iter().filter_map(|link| by_id.get(&link.span_id)) {
            let count = if is_right(above) { &mut score.follows } else { &mut score.follows_wrong };
            *count += 1;
        }
    }
    score
}

#[test]
fn what_a_requests_task_sends_is_linked_also_before_it_is_known_whose_task_it_is() {
    let mut program = Program::new();
    for round in 0..3 {
        program.hear(round);
        for n in 0..REQUESTS {
            let n = n * 11 % REQUESTS;
            program.call(n, round, &[program.servers[n]]);
        }
        (0..REQUESTS).for_each(|n| program.learn(n));
        program.answer_all();
    }
    assert_eq!(score(&program.play.spans()), Score { right: 3 * REQUESTS, ..Score::default() });
}

#[test]
fn what_tasks_send_that_it_made_belongs_to_the_request_that_it_was_at_then() {
    let mut program = Program::new();
    let mut left = Vec::new();
    for round in 0..2 {
        program.hear(round);
        for n in 0..REQUESTS {
            let child = made(&mut program.play, 0x9000 + n as u64 * 16);
            let grandchild = made(&mut program.play, 0xa000 + n as u64 * 16);
            if round == 0 && n % 2 == 0 {
                left.push((n, child));
            } else {
                program.call(n, round, &[grandchild, child, program.servers[n]]);
                program.learn(n);
            }
        }
        if round == 1 {
            // Made by the request before, at the same addresses as those that came since.
            for (n, child) in &left {
                program.call(*n, 0, &[*child, program.servers[*n]]);
                program.learn(*n);
            }
        }
        program.answer_all();
    }
    let expected = Score { right: 3 * REQUESTS / 2, follows: REQUESTS / 2, ..Score::default() };
    assert_eq!(score(&program.play.spans()), expected);
}

#[test]
fn an_address_that_is_used_again_is_another_task() {
    let mut program = Program::new();
    for round in 0..4 {
        program.hear(round);
        // A task for each request: each at the address that another connection's had the round before.
        let tasks: Vec<_> =
            (0..REQUESTS).map(|n| made(&mut program.play, 0x1000 + ((n + round * 3) % REQUESTS) as u64 * 16)).collect();
        for (n, task) in tasks.iter().enumerate() {
            program.call(n, round, &[*task]);
            program.learn(n);
        }
        for n in 0..REQUESTS {
            let n = n * 7 % REQUESTS;
            program.answer(n, &[tasks[n]]);
        }
    }
    assert_eq!(score(&program.play.spans()), Score { right: 4 * REQUESTS, ..Score::default() });
}

#[test]
fn a_request_that_a_child_answers_is_served_by_the_task_that_was_made_for_it() {
    let mut program = Program::new();
    program.hear(0);
    let tasks: Vec<_> = (0..REQUESTS).map(|n| made(&mut program.play, 0x9000 + n as u64 * 16)).collect();
    for (n, task) in tasks.iter().enumerate() {
        program.call(n, 0, &[*task, program.servers[0]]);
        program.learn(n);
    }
    // They have one task in common, which was there before all requests.
    for (n, task) in tasks.iter().enumerate() {
        let sender = made(&mut program.play, 0xa000 + n as u64 * 16);
        program.answer(n, &[sender, *task, program.servers[0]]);
    }
    assert_eq!(score(&program.play.spans()), Score { right: REQUESTS, ..Score::default() });
}

#[test]
fn a_task_that_answers_for_all_tells_of_none() {
    let mut program = Program::new();
    program.hear(0);
    // Older than all connections.
    let writer = TaskId { address: 0x9000, made_ns: 1 };
    for n in 0..REQUESTS {
        program.call(n, 0, &[writer]);
        program.learn(n);
    }
    for n in 0..REQUESTS {
        program.answer(n, &[writer]);
    }
    let score = score(&program.play.spans());
    assert!(score.right + score.wrong <= 1 && score.follows == 0, "{score:?}");
}

#[test]
fn a_call_after_the_answer_follows_from_it() {
    let mut program = Program::new();
    program.hear(0);
    // Requests are remembered of a process that makes calls.
    program.call(1, 0, &[program.servers[1]]);
    program.learn(1);
    program.answer_all();
    program.hear(1);
    for n in [2, 3, 4] {
        let task = TaskId { made_ns: program.servers[n].made_ns, ..program.servers[n] };
        let child = TaskId { address: 0x9000 + n as u64 * 16, made_ns: task.made_ns + 1 };
        // Made before anything was read: nobody's.
        program.call(n, 1, &[child, task]);
        program.learn(n);
    }
    let spans = {
        program.answer_all();
        program.play.spans()
    };
    assert_eq!(score(&spans), Score { right: 1, ..Score::default() });

    let mut program = Program::new();
    program.hear(0);
    let tasks: Vec<_> = (0..REQUESTS).map(|n| made(&mut program.play, 0x9000 + n as u64 * 16)).collect();
    program.call(0, 0, &[tasks[0]]);
    program.learn(0);
    for (n, task) in tasks.iter().enumerate() {
        program.answer(n, &[*task]);
    }
    program.hear(1);
    for (n, task) in tasks.iter().enumerate() {
        program.call(n, 0, &[*task]);
        program.learn(n);
    }
    // Another task for each.
    for n in 0..REQUESTS {
        let task = made(&mut program.play, 0xa000 + n as u64 * 16);
        program.answer(n, &[task]);
    }
    assert_eq!(score(&program.play.spans()), Score { right: 1, follows: REQUESTS, ..Score::default() });
}

#[test]
fn calls_of_a_program_that_answers_without_tasks_do_not_wait() {
    let mut program = Program::new();
    for round in 0..3 {
        program.hear(round);
        for n in 0..REQUESTS {
            program.call(n, round, &[program.servers[n]]);
            program.learn(n);
        }
        for n in 0..REQUESTS {
            program.answer(n, &[]);
        }
    }
    let spans = program.play.spans();
    assert_eq!(spans.len(), 6 * REQUESTS);
    let score = score(&spans);
    assert_eq!((score.right, score.follows, score.follows_wrong), (0, 0, 0), "{score:?}");
}

#[test]
fn a_request_id_that_tells_of_another_request_is_a_contradiction() {
    let id = |n: usize| format!("X-Request-ID: 3f2504e0-4f89-41d3-9a0c-0305e82c{n:04x}\r\n");
    let mut program = Program::new();
    for (n, (front, _)) in program.ends.iter().enumerate() {
        program.play.receive(*front, THREAD, &get(&format!("/{n}-0"), &id(n)), 0);
    }
    for (n, (_, back)) in program.ends.iter().enumerate() {
        program.play.task(*back, &[program.servers[n]]);
        program.play.send(*back, THREAD, &get(&format!("/{n}-0/call"), &id(n ^ 1)), 0);
        program.play.learn(*back, THREAD);
    }
    program.answer_all();
    let found = score(&program.play.spans());
    assert_eq!((found.right, found.follows), (0, 0), "{found:?}");
    let mut account = Account::default();
    program.play.finished(0.95).account(&mut account);
    assert!(account.get("link", "contradicted") > 0);
}
