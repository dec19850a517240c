//! An event loop whose requests wait for timers and for two servers, so that little but statistics tells whose a call is: what
//! `netspan-lab links-live --style node-timers` does, without its noise.

use crate::{
    feed::Feed,
    programs::{BEGIN_NS, Dice, WATCHED_NS, end},
};
use netspan::conn::Role;
use std::{cmp::Reverse, collections::BinaryHeap};

/// What a turn of the loop takes.
const TURN_NS: u64 = 60_000;
/// Bounds of a pause, and of the time between an answer and the next request.
const PAUSE_NS: (u64, u64) = (2_000_000, 8_000_000);
const REST_NS: u64 = 4_000_000;
const TID: u32 = 10;
/// In one turn of so many the loop stands still.
const STALLS: u64 = 300;

/// What a request does at a time.
#[derive(Clone, Copy)]
enum Step {
    Pause,
    Calls(&'static [(usize, &'static str)]),
}

/// What is asked for, as often as it is here, and the steps of each.
const ROUTES: [(&str, &[Step]); 6] = [
    ("/timer", TIMER),
    ("/timer", TIMER),
    ("/sequence", SEQUENCE),
    ("/sequence", SEQUENCE),
    ("/parallel", &[Step::Calls(&[(0, "/a"), (1, "/b")]), Step::Calls(&[(0, "/c")])]),
    ("/none", &[]),
];
const TIMER: &[Step] = &[Step::Pause, Step::Calls(&[(0, "/a")]), Step::Pause, Step::Calls(&[(1, "/b")])];
const SEQUENCE: &[Step] = &[Step::Calls(&[(0, "/a")]), Step::Calls(&[(1, "/b")])];

/// A client, and what its request is at.
struct Slot {
    front: u64,
    port: u16,
    began_ns: u64,
    steps: &'static [Step],
    /// Calls without an answer.
    open: usize,
    is_open: bool,
}

/// What happens next: a slot goes on, or the answer to its call by this connection comes.
type Event = Reverse<(u64, usize, Option<(usize, u64, u16)>)>;

struct Loop {
    feed: Feed,
    dice: Dice,
    slots: Vec<Slot>,
    /// Idle connections to each server, and how many there are in all.
    idle: [Vec<(u64, u16)>; 2],
    opened: u16,
    due: BinaryHeap<Event>,
    now_ns: u64,
    delay_ns: u64,
    stall_ns: u64,
}

/// So many requests open at a time, `requests` in all, and stalls of up to `stall_ns`.
pub fn timers(open: u16, requests: u64, stall_ns: u64) -> Feed {
    let mut feed = Feed::default();
    let slot = |n: u16| {
        let port = 20_000 + n;
        let front = feed.open(BEGIN_NS, TID, Role::Server, (end(1, 80), end(2, port)));
        Slot { front, port, began_ns: 0, steps: &[], open: 0, is_open: false }
    };
    let slots: Vec<Slot> = (0..open).map(slot).collect();
    let mut dice = Dice(23 + u64::from(open));
    let due = (0..slots.len()).map(|n| Reverse((BEGIN_NS + WATCHED_NS + dice.below(REST_NS), n, None))).collect();
    let delay_ns = u64::from(open).max(8) * 1_000_000;
    let mut program =
        Loop { feed, dice, slots, idle: [Vec::new(), Vec::new()], opened: 0, due, now_ns: 0, delay_ns, stall_ns };
    // The process is watched from its first call on.
    program.call(0, 0, "/first", BEGIN_NS + 100_000);
    program.run(requests);
    program.feed
}

impl Loop {
    fn run(&mut self, requests: u64) {
        let mut begun = 0;
        while let Some(Reverse((at_ns, n, answer))) = self.due.pop() {
            self.now_ns = at_ns.max(self.now_ns) + TURN_NS / 2 + self.dice.below(TURN_NS);
            if self.stall_ns > 0 && self.dice.below(STALLS) == 0 {
                self.now_ns += self.dice.below(self.stall_ns);
            }
            if let Some((server, conn, port)) = answer {
                self.feed.answer(conn, self.now_ns, TID);
                self.idle[server].push((conn, port));
                self.slots[n].open -= 1;
                if self.slots[n].open > 0 {
                    continue;
                }
            }
            if !self.slots[n].is_open {
                if begun == requests {
                    continue;
                }
                begun += 1;
                let (path, steps) = ROUTES[self.dice.below(ROUTES.len() as u64) as usize];
                let slot = &mut self.slots[n];
                (slot.began_ns, slot.steps, slot.is_open) = (self.now_ns, steps, true);
                self.feed.ask(slot.front, self.now_ns, TID, path);
            }
            self.go_on(n);
        }
    }

    fn go_on(&mut self, n: usize) {
        let Some((step, rest)) = self.slots[n].steps.split_first() else {
            self.now_ns += 10_000;
            self.feed.answer(self.slots[n].front, self.now_ns, TID);
            self.slots[n].is_open = false;
            self.due.push(Reverse((self.now_ns + self.dice.below(REST_NS), n, None)));
            return;
        };
        self.slots[n].steps = rest;
        match step {
            Step::Pause => {
                let pause_ns = PAUSE_NS.0 + self.dice.below(PAUSE_NS.1 - PAUSE_NS.0);
                self.due.push(Reverse((self.now_ns + pause_ns, n, None)));
            }
            Step::Calls(calls) => {
                for (server, path) in *calls {
                    self.now_ns += 20_000;
                    self.call(n, *server, path, self.now_ns);
                }
            }
        }
    }

    fn call(&mut self, n: usize, server: usize, path: &'static str, at_ns: u64) {
        let (conn, port) = self.idle[server].pop().unwrap_or_else(|| {
            self.opened += 1;
            let (own, port) = (end(1, 30_000 + self.opened), 8081 + server as u16);
            (self.feed.open(at_ns - 10_000, TID, Role::Client, (own, end(3, port))), 30_000 + self.opened)
        });
        self.feed.ask(conn, at_ns, TID, path);
        if path == "/first" {
            self.feed.answer(conn, at_ns + 100_000, TID);
            return;
        }
        self.feed.belongs((port, at_ns), (self.slots[n].port, self.slots[n].began_ns));
        self.slots[n].open += 1;
        let delay_ns = self.dice.exponential(self.delay_ns);
        self.due.push(Reverse((at_ns + delay_ns, n, Some((server, conn, port)))));
    }
}
