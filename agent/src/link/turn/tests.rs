use super::*;

/// Steps of one process; a microsecond passes between two.
struct Play {
    turns: Turns,
    now_ns: u64,
}

fn key(conn: u64, ordinal: u64) -> Key {
    Key { conn, ordinal }
}

impl Play {
    /// After the time in which nothing is claimed.
    fn new() -> Self {
        let mut play = Self { turns: Turns::default(), now_ns: 1 };
        let first = key(u64::MAX, 0);
        play.did(1, Did::Sent(first));
        play.did(1, Did::Learned(first));
        play.now_ns += WATCHED_NS;
        play
    }

    fn did(&mut self, tid: u32, did: Did) {
        self.now_ns += 1000;
        self.turns.step(self.now_ns, tid, did);
    }

    fn told(&mut self, call: Key) -> Guess {
        self.turns.advance(self.now_ns + 1);
        self.turns.told(&call)
    }
}

fn sure(request: Key) -> Guess {
    Guess { request: Some(request), is_sure: true }
}

#[test]
fn a_proxy_with_many_requests_open_calls_for_the_one_it_read_last() {
    let mut play = Play::new();
    for n in 0..50 {
        play.did(1, Did::Read(key(n, 0)));
        play.did(1, Did::Sent(key(100 + n, 0)));
        assert_eq!(play.told(key(100 + n, 0)), sure(key(n, 0)));
    }
}

#[test]
fn a_request_goes_on_when_its_answer_is_read_and_others_wait() {
    let mut play = Play::new();
    for n in 0..2 {
        play.did(1, Did::Read(key(n, 0)));
        play.did(1, Did::Sent(key(10 + n, 0)));
    }
    // The second one's answer comes first, and in two parts: the call follows the first of them.
    play.did(1, Did::Received(11));
    play.did(1, Did::Sent(key(20, 0)));
    assert_eq!(play.told(key(20, 0)), sure(key(1, 0)));
    play.did(1, Did::Received(11));
    play.did(1, Did::Learned(key(11, 0)));
    play.did(1, Did::Received(10));
    play.did(1, Did::Learned(key(10, 0)));
    play.did(1, Did::Sent(key(21, 0)));
    assert_eq!(play.told(key(21, 0)), sure(key(0, 0)));
}

#[test]
fn a_request_of_whose_answer_more_is_to_come_waits_for_it_once_another_is_served() {
    let mut play = Play::new();
    play.did(1, Did::Read(key(0, 0)));
    play.did(1, Did::Sent(key(10, 0)));
    play.did(1, Did::Received(10));
    play.did(1, Did::Read(key(1, 0)));
    play.did(1, Did::Sent(key(11, 0)));
    assert_eq!(play.told(key(11, 0)), sure(key(1, 0)));
    // The rest comes: its request goes on.
    play.did(1, Did::Received(10));
    play.did(1, Did::Learned(key(10, 0)));
    play.did(1, Did::Sent(key(12, 0)));
    assert_eq!(play.told(key(12, 0)), sure(key(0, 0)));
    // The whole answer, and then nothing that is seen: the other one may call, too.
    play.did(1, Did::Received(12));
    play.did(1, Did::Learned(key(12, 0)));
    play.did(1, Did::Read(key(2, 0)));
    play.did(1, Did::Sent(key(13, 0)));
    assert!(!play.told(key(13, 0)).is_sure);
}

#[test]
fn nothing_is_claimed_while_another_request_waits_for_what_is_not_seen() {
    let mut play = Play::new();
    play.did(1, Did::Read(key(0, 0)));
    play.did(1, Did::Read(key(1, 0)));
    play.did(1, Did::Sent(key(10, 0)));
    assert!(!play.told(key(10, 0)).is_sure, "it may be the first one's");
    // Nor afterwards, until both are answered: nobody knows which of them the answer is for.
    play.did(1, Did::Learned(key(10, 0)));
    play.did(1, Did::Sent(key(11, 0)));
    assert!(!play.told(key(11, 0)).is_sure);
    play.did(1, Did::Learned(key(11, 0)));
    play.did(1, Did::Answered(key(0, 0)));
    play.did(1, Did::Answered(key(1, 0)));
    play.did(1, Did::Read(key(0, 1)));
    play.did(1, Did::Sent(key(10, 1)));
    assert_eq!(play.told(key(10, 1)), sure(key(0, 1)));
}

#[test]
fn calls_at_once_are_the_same_requests_and_a_later_one_of_a_waiting_request_is_not_sure() {
    let mut play = Play::new();
    play.did(1, Did::Read(key(0, 0)));
    play.did(1, Did::Sent(key(10, 0)));
    play.did(1, Did::Sent(key(11, 0)));
    assert_eq!(play.told(key(11, 0)), sure(key(0, 0)));
    play.now_ns += 2 * TOGETHER_NS;
    play.did(1, Did::Sent(key(12, 0)));
    assert!(!play.told(key(12, 0)).is_sure, "a timer, of whatever");
}

#[test]
fn the_only_idle_request_calls_whichever_thread_it_is_on() {
    let mut play = Play::new();
    play.did(1, Did::Read(key(0, 0)));
    play.did(2, Did::Sent(key(10, 0)));
    play.did(1, Did::Read(key(1, 0)));
    play.did(3, Did::Sent(key(11, 0)));
    assert_eq!(play.told(key(10, 0)), sure(key(0, 0)));
    assert_eq!(play.told(key(11, 0)), sure(key(1, 0)));
}

#[test]
fn a_connection_that_a_timer_opens_says_nothing_of_who_uses_those_that_it_opens() {
    let mut play = Play::new();
    for n in 0..5 {
        play.did(1, Did::Read(key(n, 0)));
        play.did(1, Did::Sent(key(100 + n, 0)));
        play.now_ns += 2 * TOGETHER_NS;
        play.did(0, Did::Connected(200 + n));
        play.did(1, Did::Sent(key(200 + n, 0)));
    }
    for n in 0..u64::from(CONNECTS_MIN) {
        play.did(1, Did::Read(key(300 + n, 0)));
        play.did(0, Did::Connected(400 + n));
        play.did(1, Did::Sent(key(400 + n, 0)));
    }
    play.told(key(0, 0));
    assert!(play.turns.opens_for_itself());
}

#[test]
fn who_opens_a_connection_uses_it_once_that_was_seen_often_enough() {
    let mut play = Play::new();
    for n in 0..u64::from(CONNECTS_MIN) {
        play.did(1, Did::Read(key(n, 0)));
        play.did(0, Did::Connected(1000 + n));
        play.did(1, Did::Sent(key(1000 + n, 0)));
    }
    // Two that connect at once: the first to be connected is not the one that was read last.
    play.did(1, Did::Read(key(500, 0)));
    play.did(0, Did::Connected(2000));
    play.did(1, Did::Read(key(501, 0)));
    play.did(0, Did::Connected(2001));
    play.did(1, Did::Sent(key(2000, 0)));
    play.did(1, Did::Sent(key(2001, 0)));
    assert_eq!(play.told(key(2000, 0)), sure(key(500, 0)));
    assert_eq!(play.told(key(2001, 0)), sure(key(501, 0)));
}

#[test]
fn steps_count_in_the_order_of_their_stamps() {
    let mut play = Play::new();
    let now_ns = play.now_ns;
    play.turns.step(now_ns + 4000, 1, Did::Sent(key(11, 0)));
    play.turns.step(now_ns + 2000, 1, Did::Sent(key(10, 0)));
    play.turns.step(now_ns + 3000, 1, Did::Read(key(1, 0)));
    play.turns.step(now_ns + 1000, 1, Did::Read(key(0, 0)));
    assert!(play.turns.advance(now_ns + 4000), "the last one is not due");
    assert_eq!(play.turns.told(&key(10, 0)), sure(key(0, 0)));
    assert_eq!(play.turns.told(&key(11, 0)), Guess::default());
    play.turns.advance(now_ns + 4001);
    assert_eq!(play.turns.told(&key(11, 0)), sure(key(1, 0)));
}

#[test]
fn after_a_loss_and_in_the_first_second_nothing_is_claimed() {
    let mut play = Play::new();
    play.turns.advance(play.now_ns);
    play.turns.forget(play.now_ns);
    play.did(1, Did::Read(key(0, 0)));
    play.did(1, Did::Sent(key(10, 0)));
    assert_eq!(play.told(key(10, 0)), Guess { request: Some(key(0, 0)), is_sure: false });
}

#[test]
fn what_is_kept_is_bounded() {
    let mut turns = Turns::default();
    turns.step(0, 1, Did::Connected(1));
    for n in 0..3 * STEPS_MAX as u64 {
        turns.step(n, 1, Did::Read(key(n, 0)));
    }
    assert!(!turns.steps.is_empty() && turns.steps.len() <= STEPS_MAX);
    turns.advance(u64::MAX);
    assert!(turns.requests.len() <= STEPS_MAX);
}
