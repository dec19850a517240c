//! The collection: when traces are drawn, and that none is lost.

use jiff::tz::TimeZone;

use super::*;
use crate::{
    export::terminal::golden::{self, START_NS},
    span::Kind::Server,
};

const SECOND: u64 = 1_000_000_000;

fn waterfalls(bounds: Bounds) -> Waterfalls {
    Waterfalls::new(Look::plain(TimeZone::UTC), bounds)
}

fn traced(trace: u8, id: u64, parent: u64, to_us: u64) -> Arc<Span> {
    Arc::new(Span { trace_id: TraceId([trace; 16]), ..golden::span(id, parent, Server, "s", 0, to_us) })
}

/// First bytes of the ids of the traces in a drawing.
fn traces(out: &str) -> Vec<u8> {
    let id = |line: &str| u8::from_str_radix(line.strip_prefix("trace ")?.get(..2)?, 16).ok();
    out.lines().filter_map(id).collect()
}

#[test]
fn a_whole_trace_is_drawn_once_it_is_quiet() {
    let (mut all, mut out) = (waterfalls(Bounds::default()), String::new());
    for span in golden::shop() {
        all.push(&Arc::new(span), &mut out);
    }
    let end = START_NS + 52_400_000;
    all.tick(end + SECOND / 2 - 1, &mut out);
    assert_eq!(out, "");
    all.tick(end + SECOND / 2, &mut out);
    golden::check("trace-plain.txt", &out);
    assert_eq!(all.counters(), Counters { drawn: 1, ..Counters::default() });
}

#[test]
fn a_trace_without_a_root_or_a_parent_is_waited_for_longer_and_says_so() {
    let (mut all, mut out) = (waterfalls(Bounds::default()), String::new());
    all.push(&traced(1, 2, 1, 0), &mut out);
    all.push(&traced(2, 1, 0, 0), &mut out);
    all.push(&traced(2, 3, 2, 0), &mut out);
    all.tick(START_NS + 5 * SECOND - 1, &mut out);
    assert_eq!(out, "");
    all.tick(START_NS + 5 * SECOND, &mut out);
    assert_eq!(traces(&out), [1, 2]);
    assert!(out.contains("its root was not seen") && out.contains("some of its spans were not seen"), "{out}");
    assert_eq!(all.counters(), Counters { drawn: 2, partial: 2, ..Counters::default() });
}

#[test]
fn spans_alone_move_time_on() {
    let (mut all, mut out) = (waterfalls(Bounds::default()), String::new());
    all.push(&traced(1, 1, 0, 0), &mut out);
    all.push(&traced(2, 1, 0, 600_000), &mut out);
    assert_eq!(traces(&out), [1]);
    // An older span does not turn it back.
    all.push(&traced(3, 1, 0, 10), &mut out);
    all.tick(START_NS + SECOND + SECOND / 10, &mut out);
    assert_eq!(traces(&out), [1, 2, 3]);
}

#[test]
fn late_spans_are_drawn_as_such() {
    let (mut all, mut out) = (waterfalls(Bounds::default()), String::new());
    all.push(&traced(1, 1, 0, 0), &mut out);
    all.tick(START_NS + SECOND, &mut out);
    all.push(&traced(1, 2, 1, 0), &mut out);
    all.tick(START_NS + 2 * SECOND, &mut out);
    assert!(out.contains("came after the rest"), "{out}");
    assert_eq!(all.counters(), Counters { drawn: 2, partial: 1, late_spans: 1, left_out: 0 });
}

#[test]
fn a_trace_that_never_ends_is_drawn_at_last() {
    let bounds = Bounds { hold_ns: 2 * SECOND, ..Bounds::default() };
    let (mut all, mut out) = (waterfalls(bounds), String::new());
    (0..20).for_each(|n| all.push(&traced(1, n + 1, 0, n * 200_000), &mut out));
    assert_eq!(traces(&out), [1]);
}

#[test]
fn every_bound_holds_and_is_counted() {
    let bounds = Bounds { traces: 2, spans: 4, spans_per_trace: 2, remembered: 1, ..Bounds::default() };
    let (mut all, mut out) = (waterfalls(bounds), String::new());
    (1..=3).for_each(|id| all.push(&traced(1, id, 0, 0), &mut out));
    assert_eq!(all.counters().left_out, 1);
    (2..=3).for_each(|trace| all.push(&traced(trace, 1, 0, 0), &mut out));
    assert_eq!(traces(&out), [1], "three open traces are too many");
    assert!(out.contains("shown early") && out.contains("1 more of its spans"), "{out}");
    let bounds = Bounds { spans: 4, ..Bounds::default() };
    let (mut all, mut out) = (waterfalls(bounds), String::new());
    (1..=5).for_each(|trace| all.push(&traced(trace, 1, 0, 0), &mut out));
    assert_eq!(traces(&out), [1], "five spans are too many");
}

#[test]
fn at_the_end_all_is_drawn_in_the_order_of_arrival() {
    let (mut all, mut out) = (waterfalls(Bounds::default()), String::new());
    for trace in [9, 3, 7, 1] {
        all.push(&traced(trace, 1, 0, 0), &mut out);
    }
    all.finish(&mut out);
    assert_eq!(traces(&out), [9, 3, 7, 1]);
    assert_eq!(all.counters(), Counters { drawn: 4, ..Counters::default() });
}
#[test]
fn whatever_comes_each_span_is_drawn_or_counted() {
    let bounds = Bounds { traces: 5, spans: 40, spans_per_trace: 9, remembered: 3, ..Bounds::default() };
    for seed in 0..40_u64 {
        let mut random = golden::Random::new(seed);
        let (mut all, mut out) = (waterfalls(bounds), String::new());
        for _ in 0..300 {
            let (trace, id, parent) = (random.below(12) as u8 + 1, random.below(20) + 1, random.below(25));
            all.push(&traced(trace, id, parent, random.below(2_000_000)), &mut out);
        }
        all.finish(&mut out);
        let drawn = out.lines().filter(|line| line.starts_with("trace ")).filter_map(|line| {
            line.split("  ").find_map(|part| part.split_once(" span")?.0.trim().parse::<u64>().ok())
        });
        assert_eq!(drawn.sum::<u64>() + all.counters().left_out, 300, "seed {seed}:\n{out}");
        assert!(all.open.is_empty() && all.places.is_empty() && all.spans == 0 && all.drawn.len() <= 3);
    }
}
