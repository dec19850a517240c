use super::super::turn::{Did, Turns};
use super::*;

const READER: u32 = 1;

/// A process with a thread that reads and others that work; a microsecond passes between two steps.
struct Play {
    turns: Turns,
    now_ns: u64,
    next: u64,
}

fn key(conn: u64) -> Key {
    Key { conn, ordinal: 0 }
}

impl Play {
    /// Two workers have shown that they work on one request at a time.
    fn new() -> Self {
        let mut play = Self { turns: Turns::default(), now_ns: 1, next: 1000 };
        play.rounds(u64::from(BLOCKING_MIN));
        play
    }

    /// And their helpers have shown that they end with their request.
    fn helped() -> Self {
        let mut play = Self::new();
        for n in 0..HELPED_MIN {
            play.helped_round([100 + n * 2, 101 + n * 2]);
        }
        play
    }

    fn rounds(&mut self, count: u64) {
        for _ in 0..count {
            let requests = [self.reads(), self.reads()];
            let calls = [self.sends(10), self.sends(11)];
            for (n, tid) in [10, 11].into_iter().enumerate() {
                self.learns(tid, calls[n]);
                self.answers(tid, requests[n]);
            }
        }
    }

    fn did(&mut self, tid: u32, did: Did) {
        self.now_ns += 1000;
        self.turns.step(self.now_ns, tid, did);
    }

    fn new_key(&mut self) -> Key {
        self.next += 1;
        key(self.next)
    }

    fn reads(&mut self) -> Key {
        let request = self.new_key();
        self.did(READER, Did::Read(request));
        request
    }

    fn sends(&mut self, tid: u32) -> Key {
        let call = self.new_key();
        self.did(tid, Did::Sent(call));
        call
    }

    fn learns(&mut self, tid: u32, call: Key) {
        self.did(tid, Did::Learned(call));
    }

    /// A call that blocks its thread.
    fn calls(&mut self, tid: u32) -> Key {
        let call = self.sends(tid);
        self.learns(tid, call);
        call
    }

    fn answers(&mut self, tid: u32, request: Key) {
        self.did(tid, Did::Answered(request));
    }

    fn makes(&mut self, tid: u32, made: u32) {
        self.did(tid, Did::Made(made));
    }

    /// Two requests at once, each with a call of the worker and one of a thread that it makes. Gives who answered which, by the
    /// helpers' calls.
    fn helped_round(&mut self, helpers: [u32; 2]) -> [(Key, Key); 2] {
        let requests = [self.reads(), self.reads()];
        for (tid, helper) in (10..).zip(helpers) {
            self.makes(tid, helper);
        }
        let calls = helpers.map(|helper| self.sends(helper));
        for ((tid, helper), call) in (10..).zip(helpers).zip(calls) {
            let own = self.sends(tid);
            self.learns(helper, call);
            self.learns(tid, own);
        }
        self.answers(10, requests[0]);
        self.answers(11, requests[1]);
        [(calls[0], requests[0]), (calls[1], requests[1])]
    }

    fn told(&mut self, call: Key) -> Option<Key> {
        self.turns.advance(self.now_ns + 1);
        self.turns.workers.told(&call)
    }
}

#[test]
fn calls_are_of_the_request_that_their_thread_answers_next() {
    let mut play = Play::new();
    let [first, second] = [play.reads(), play.reads()];
    let [of_second, of_first] = [play.sends(10), play.sends(11)];
    play.learns(11, of_first);
    play.learns(10, of_second);
    let again = play.sends(10);
    assert_eq!(play.told(again), None, "it is not answered yet");
    play.learns(10, again);
    play.answers(10, second);
    play.answers(11, first);
    assert_eq!([of_first, of_second, again].map(|call| play.told(call)), [first, second, second].map(Some));
}

#[test]
fn nothing_is_told_of_a_call_before_its_request_was_read() {
    let mut play = Play::new();
    let other = play.reads();
    let call = play.calls(10);
    let request = play.reads();
    play.answers(10, request);
    assert_eq!(play.told(call), None);
    play.answers(11, other);
    assert_eq!(play.told(call), None);
}

#[test]
fn nothing_is_told_until_calls_have_shown_to_block() {
    let mut play = Play { turns: Turns::default(), now_ns: 1, next: 1000 };
    // The first answer of a worker only shows that it is one.
    play.rounds(u64::from(BLOCKING_MIN / 2));
    let [first, second] = [play.reads(), play.reads()];
    let call = play.calls(10);
    play.answers(10, second);
    play.answers(11, first);
    assert_eq!(play.told(call), None);
    play.rounds(1);
    let [first, second] = [play.reads(), play.reads()];
    let call = play.calls(10);
    play.answers(10, second);
    assert_eq!(play.told(call), Some(second));
    play.answers(11, first);
}

#[test]
fn nothing_is_told_any_more_once_threads_do_other_things_meanwhile() {
    let other_things: [fn(&mut Play, Key); 4] = [
        // Its answer is read by another thread.
        |play, call| play.learns(11, call),
        |play, call| {
            let request = play.new_key();
            play.did(10, Did::Read(request));
            play.learns(10, call);
        },
        |play, call| {
            let other = play.sends(10);
            play.learns(10, call);
            play.learns(10, other);
        },
        |play, call| {
            let request = play.reads();
            play.answers(10, request);
            play.learns(10, call);
        },
    ];
    for other in other_things {
        let mut play = Play::new();
        let [first, second] = [play.reads(), play.reads()];
        let call = play.sends(10);
        other(&mut play, call);
        play.answers(10, second);
        play.answers(11, first);
        assert_eq!(play.told(call), None);
        let [first, second] = [play.reads(), play.reads()];
        let call = play.calls(10);
        play.answers(10, second);
        assert_eq!(play.told(call), None, "one in {SHARE} is too many");
        play.answers(11, first);
    }
}

#[test]
fn a_call_that_is_broken_off_counts_for_nothing_and_is_told_of() {
    let mut play = Play::new();
    let [first, second] = [play.reads(), play.reads()];
    let call = play.sends(10);
    play.learns(0, call);
    let again = play.calls(10);
    play.answers(10, second);
    assert_eq!([call, again].map(|call| play.told(call)), [Some(second); 2]);
    play.answers(11, first);
}

#[test]
fn nothing_is_told_where_workers_call_for_nobody() {
    let mut play = Play::new();
    for _ in 0..2 {
        play.calls(10);
        play.rounds(1);
    }
    let [first, second] = [play.reads(), play.reads()];
    let call = play.calls(10);
    play.answers(10, second);
    assert_eq!(play.told(call), None);
    play.answers(11, first);
}

#[test]
fn what_was_lost_is_not_filled_in() {
    let mut play = Play::new();
    let [first, second] = [play.reads(), play.reads()];
    let call = play.calls(10);
    assert_eq!(play.told(call), None);
    play.turns.forget(play.now_ns);
    play.answers(10, second);
    assert_eq!(play.told(call), None);
    play.answers(11, first);
}

#[test]
fn what_threads_call_that_a_worker_made_is_of_its_request() {
    let mut play = Play::helped();
    // The ids are used again.
    for (call, request) in play.helped_round([100, 101]) {
        assert_eq!(play.told(call), Some(request));
    }
    let [first, second] = [play.reads(), play.reads()];
    play.makes(10, 300);
    // It helps the worker, too.
    play.makes(300, 301);
    let call = play.sends(301);
    assert_eq!(play.told(call), None);
    assert_eq!(play.turns.workers.maker(&call).map(|maker| maker.tid), Some(10));
    play.learns(301, call);
    play.answers(11, first);
    play.answers(10, second);
    assert_eq!(play.told(call), Some(second));
}

#[test]
fn what_kept_threads_call_later_is_of_nobody_and_ends_the_trust_in_all() {
    let mut play = Play::helped();
    let [first, second] = [play.reads(), play.reads()];
    let call = play.calls(100);
    assert_eq!(play.told(call), None);
    play.answers(10, first);
    play.answers(11, second);
    assert_eq!(play.told(call), None);
    for (call, _) in play.helped_round([300, 301]) {
        assert_eq!(play.told(call), None);
    }
}

#[test]
fn a_worker_that_was_made_lately_is_no_helper() {
    let mut play = Play::helped();
    play.makes(READER, 12);
    let [first, second] = [play.reads(), play.reads()];
    play.calls(12);
    play.answers(12, first);
    play.answers(10, second);
    for (call, request) in play.helped_round([300, 301]) {
        assert_eq!(play.told(call), Some(request));
    }
}

#[test]
fn threads_that_come_and_go_are_remembered_to_a_bound() {
    let mut play = Play::new();
    for made in 0..3 * u32::try_from(MADE_MAX).unwrap() {
        play.makes(READER, 1000 + made);
        let call = play.sends(1000 + made);
        play.learns(1000 + made, call);
    }
    play.turns.advance(play.now_ns + 1);
    let workers = &play.turns.workers;
    assert!(workers.threads.len() <= MADE_MAX + 3 && workers.made.len() <= MADE_MAX, "{}", workers.threads.len());
    assert!(workers.threads[&READER].helpers.len() <= HELPERS_MAX);
}
