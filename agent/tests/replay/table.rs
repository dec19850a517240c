//! The connection table by itself: how connections end, and what falls out.

use crate::dialogue::{OK, Play, STEP_NS, get};
use netspan::{
    capture::event::Event,
    conn::{Closed, DEFAULT_CAPACITY, Report, Role, Table, Tcp},
    protocol::{End, Incomplete, Notice},
};
use netspan_ebpf::close;
use std::sync::Arc;

fn fed(play: &Play, capacity: usize) -> (Table, Vec<Report>) {
    let (mut table, mut reports) = (Table::new(capacity, Arc::default()), Vec::new());
    for record in play.records() {
        table.event(&Event::decode(record).unwrap(), &mut reports);
    }
    (table, reports)
}

fn closed(reports: &[Report]) -> Vec<&Closed> {
    reports.iter().filter_map(|report| if let Report::Closed(closed) = report { Some(closed) } else { None }).collect()
}

#[test]
fn a_closed_connection_tells_its_times_its_bytes_and_who_ended_it() {
    let mut play = Play::new();
    let front = play.accept(20);
    let begun = play.now;
    play.hear(front, 20, "/1");
    play.answer(front, 20);
    play.end(front, close::PEER_END, 0);
    let over = play.now;
    play.measured(front, Tcp { srtt_us: 50, min_rtt_us: 40, retransmits: 1 });
    let (table, reports) = fed(&play, DEFAULT_CAPACITY);
    let [closed] = closed(&reports)[..] else { panic!("{reports:?}") };
    assert_eq!((closed.end, closed.peer_ended, closed.at_ns), (End::Closed, true, over));
    assert_eq!(closed.lifetime_ns, over - begun);
    assert_eq!((closed.bytes_in, closed.bytes_out), (get("/1", "").len() as u64, OK.len() as u64 + 10));
    assert_eq!(closed.tcp, Some(Tcp { srtt_us: 50, min_rtt_us: 40, retransmits: 1 }));
    assert_eq!((closed.socket.role, closed.socket.accept_wait_ns()), (Role::Server, Some(200)));
    assert!(table.is_empty());
}

#[test]
fn a_full_table_lets_the_quietest_connection_go_and_says_so() {
    let mut play = Play::new();
    let (first, second) = (play.accept(20), play.accept(20));
    play.hear(second, 20, "/2");
    play.hear(first, 20, "/1");
    play.accept(20);
    let (table, reports) = fed(&play, 2);
    assert_eq!((table.len(), table.counts().evicted), (2, 1));
    let [closed] = closed(&reports)[..] else { panic!("{reports:?}") };
    assert_eq!((closed.socket.id, closed.end), (second.0, End::Unobserved));
    let finished = reports.iter().find_map(|report| match report {
        Report::Notice { conn, notice: Notice::Finished(exchange), .. } => Some((*conn, exchange.incomplete)),
        _ => None,
    });
    assert_eq!(finished, Some((second.0, Some(Incomplete::Unobserved))));
}

#[test]
fn the_close_of_a_connection_that_broke_tells_nothing_new() {
    // A second close is of a connection that nobody knows: its events count as lost.
    for (closes, is_lost) in [(1, false), (2, true)] {
        let mut play = Play::new();
        let back = play.connect(20);
        play.ask(back, 20, "/1");
        play.end(back, close::ERROR, 104);
        (0..closes).for_each(|_| play.close(back));
        let (table, reports) = fed(&play, DEFAULT_CAPACITY);
        assert_eq!(closed(&reports).first().map(|closed| closed.end), Some(End::Error(104)));
        assert_eq!(table.counts().events_lost > 0, is_lost, "{closes} closes");
    }
}

#[test]
fn a_connection_that_broke_may_be_shut_down_before_it_is_closed() {
    let mut play = Play::new();
    let back = play.connect(20);
    play.ask(back, 20, "/1");
    for how in [close::ERROR, close::SHUT_WRITE] {
        play.end(back, how, 32);
    }
    play.close(back);
    let (table, reports) = fed(&play, DEFAULT_CAPACITY);
    assert_eq!((closed(&reports).len(), table.len(), table.counts().events_lost), (1, 0, 0));
}

#[test]
fn lost_events_are_counted_by_the_gaps_they_leave() {
    let mut play = Play::new();
    let front = play.accept(20);
    play.hear(front, 20, "/1");
    play.send_lost(front, 20, "0123456789");
    play.send_lost(front, 20, "0123456789");
    play.close(front);
    let (table, reports) = fed(&play, DEFAULT_CAPACITY);
    assert_eq!((table.counts().events_lost, table.counts().bytes_lost), (2, 20));
    assert!(reports.iter().any(|report| matches!(report, Report::Lost { tgid: 20, .. })));
}

#[test]
fn a_connection_of_another_protocol_is_counted_once_and_left_alone() {
    let mut play = Play::new();
    let front = play.accept(20);
    for _ in 0..5 {
        play.receive(front, 20, "*1\r\n$4\r\nPING\r\n", 0);
    }
    let (table, reports) = fed(&play, DEFAULT_CAPACITY);
    assert_eq!((table.counts().opaque, table.counts().http2), (1, 0));
    assert!(!reports.iter().any(|report| matches!(report, Report::Notice { .. })));
}

#[test]
fn a_silent_connection_is_forgotten_after_its_time() {
    let mut play = Play::new();
    play.accept(20);
    let (mut table, mut reports) = fed(&play, DEFAULT_CAPACITY);
    table.expire(play.now + netspan::conn::IDLE_NS - STEP_NS, &mut reports);
    assert_eq!(table.len(), 1);
    table.expire(play.now + 2 * netspan::conn::IDLE_NS, &mut reports);
    assert_eq!((table.len(), table.counts().idle), (0, 1));
}
