//! Requests whose headers lie about their parents, and clocks and orders that can't be: there is never a circle in a trace, nothing
//! panics, and what is left out is counted.

use std::{collections::HashMap, sync::Arc};

use crate::{
    dialogue::{Play, STEP_NS, get},
    golden::{forest, only},
};
use netspan::{
    capture::{count::Account, event::Event},
    span::{Kind, Method, Span, SpanId, TraceId},
};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";

fn traceparent(span: SpanId) -> String {
    format!("traceparent: 00-{TRACE}-{}-01\r\n", hex(&span.0))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

/// Each chain of parents ends, and each id is had once.
fn assert_sound(spans: &[Arc<Span>]) {
    let by_id: HashMap<(TraceId, SpanId), &Arc<Span>> =
        spans.iter().map(|span| ((span.trace_id, span.span_id), span)).collect();
    assert_eq!(by_id.len(), spans.len(), "no id twice");
    for span in spans {
        let mut at = span.parent;
        for _ in 0..=spans.len() {
            at = at.and_then(|id| by_id.get(&(span.trace_id, id))).and_then(|above| above.parent);
        }
        assert_eq!(at, None, "a circle: {span:#?}");
    }
    for (child, parent) in spans.iter().filter_map(|span| {
        let parent = by_id.get(&(span.trace_id, span.parent?))?;
        Some((span, *parent))
    }) {
        let method = child.link.expect("a parent has a method").method;
        if !matches!(method, Method::Header | Method::TcpOption) {
            assert!(child.start_ns >= parent.start_ns, "{} before its parent by {method:?}", child.name);
        }
    }
}

fn account(play: &Play) -> Account {
    let mut account = Account::default();
    play.finished(0.95).account(&mut account);
    account
}

/// Which of the spans is named.
type Claim<'a> = &'a dyn Fn(&[Arc<Span>]) -> SpanId;

/// A request of this caller goes through two services; what the caller is told to claim depends on what ids a first go shows.
fn through_two(claims: Option<Claim<'_>>) -> Play {
    let play = |headers: &str| {
        let mut play = Play::new();
        let (front, back) = (play.process(10, "front"), play.process(20, "back"));
        let outside = play.accept(front);
        let (out, at_back) = play.pair(front, back);
        play.receive(outside, 10, &get("/in", headers), 0);
        play.ask(out, 10, "/down");
        play.hear(at_back, 20, "/down");
        play.answer(at_back, 20);
        play.learn(out, 10);
        play.answer(outside, 10);
        play
    };
    let first = play("");
    match claims {
        Some(claims) => play(&traceparent(claims(&first.spans()))),
        None => first,
    }
}

#[test]
fn a_request_that_names_a_span_below_itself_is_a_root() {
    let claims: [Claim<'_>; 3] = [
        &|spans| only(spans, Kind::Server, "front").span_id,
        &|spans| only(spans, Kind::Client, "front").span_id,
        &|spans| only(spans, Kind::Server, "back").span_id,
    ];
    for claim in claims {
        let play = through_two(Some(claim));
        let spans = play.spans();
        assert_sound(&spans);
        let text = forest(&spans);
        assert_eq!(
            text,
            "SERVER front GET /in\n  CLIENT front GET http://shop.example:8000/down [thread]\n    \
             SERVER back GET /down [socket]\n"
        );
        assert_eq!(account(&play).get("link", "circular"), 1);
    }
    assert_eq!(account(&through_two(None)).get("link", "circular"), 0);
}

#[test]
fn of_two_requests_that_name_each_other_one_is_a_root() {
    let play = |claims: [SpanId; 2]| {
        let mut play = Play::new();
        let (one, two) = (play.process(10, "one"), play.process(20, "two"));
        let (at_one, at_two) = (play.accept(one), play.accept(two));
        play.receive(at_one, 10, &get("/1", &traceparent(claims[0])), 0);
        play.receive(at_two, 20, &get("/2", &traceparent(claims[1])), 0);
        play.answer(at_one, 10);
        play.answer(at_two, 20);
        play
    };
    let honest = play([SpanId([1; 8]), SpanId([2; 8])]);
    assert_eq!(account(&honest).get("link", "circular"), 0);
    let spans = honest.spans();
    let id = |service| only(&spans, Kind::Server, service).span_id;
    let forged = play([id("two"), id("one")]);
    assert_sound(&forged.spans());
    assert_eq!(forged.spans().iter().filter(|span| span.parent.is_none()).count(), 1);
    assert_eq!(account(&forged).get("link", "circular"), 1);
}

#[test]
fn a_long_request_that_names_its_own_call_keeps_the_call_and_loses_its_claim() {
    let play = |headers: &str| {
        let mut play = Play::new();
        let app = play.process(10, "app");
        let (front, back) = (play.accept(app), play.connect(app));
        play.receive(front, 10, &get("/long", headers), 0);
        play.ask(back, 10, "/down");
        play.learn(back, 10);
        // The call's span is let go long before the request's.
        play.now += 2 * netspan::link::HOLD_NS;
        play.answer(front, 10);
        play
    };
    let own = only(&play("").run(0.95), Kind::Client, "app").span_id;
    let forged = play(&traceparent(own));
    let spans = forged.run(0.95);
    assert_sound(&spans);
    assert_eq!(only(&spans, Kind::Client, "app").link.map(|link| link.method), Some(Method::Thread));
}

#[test]
fn a_forged_id_of_another_live_span_ties_no_more_than_the_span_that_claims_it() {
    let play = |headers: &str| {
        let mut play = Play::new();
        let (app, other) = (play.process(10, "app"), play.process(20, "other"));
        let (front, back) = (play.accept(app), play.connect(app));
        let at_other = play.accept(other);
        play.hear(front, 10, "/in");
        play.ask(back, 10, "/down");
        play.receive(at_other, 20, &get("/forged", headers), 0);
        play.answer(at_other, 20);
        play.learn(back, 10);
        play.answer(front, 10);
        play
    };
    let live = only(&play("").spans(), Kind::Client, "app").span_id;
    let spans = play(&traceparent(live)).spans();
    assert_sound(&spans);
    let (forged, call) = (only(&spans, Kind::Server, "other"), only(&spans, Kind::Client, "app"));
    assert_eq!((forged.parent, hex(&forged.trace_id.0).as_str()), (Some(live), TRACE));
    assert_ne!(forged.trace_id, call.trace_id, "the live span's trace has nothing of it");
    assert_eq!(call.link.map(|link| link.method), Some(Method::Thread));
}

#[test]
fn client_and_server_may_share_a_span_id_as_b3_has_it() {
    let b3 = format!("x-b3-traceid: {TRACE}\r\nx-b3-spanid: {CALLER}\r\nx-b3-parentspanid: b7ad6b7169203331\r\n");
    let mut play = Play::new();
    let (front, back) = (play.process(10, "front"), play.process(20, "back"));
    let outside = play.accept(front);
    let (out, at_back) = play.pair(front, back);
    play.hear(outside, 10, "/in");
    // The tracer of the one makes the span, that of the other goes on with it.
    play.carry((out, 10), (at_back, 20), get("/down", &b3).as_bytes());
    play.answer(at_back, 20);
    play.learn(out, 10);
    play.answer(outside, 10);
    let spans = play.spans();
    assert_sound(&spans);
    let (call, server) = (only(&spans, Kind::Client, "front"), only(&spans, Kind::Server, "back"));
    assert_eq!(call.parent.map(|id| hex(&id.0)).as_deref(), Some(CALLER));
    assert_eq!((server.parent, server.link.unwrap().method), (Some(call.span_id), Method::Socket));
    assert_eq!(hex(&server.trace_id.0), TRACE);
}

#[test]
fn malformed_contexts_are_no_contexts() {
    let zeros = "0".repeat(32);
    for lines in [
        format!("traceparent: 00-{zeros}-{CALLER}-01\r\n"),
        format!("traceparent: 00-{TRACE}-{CALLER}\r\n"),
        format!("traceparent: 00-{TRACE}-{CALLER}-01\r\ntraceparent: 00-{TRACE}-{CALLER}-01\r\n"),
        format!("traceparent: {}\r\n", "f".repeat(5000)),
        format!("traceparent: ff-{TRACE}-{CALLER}-01\r\nb3: {TRACE}-{}\r\n", "0".repeat(16)),
        "traceparent: \u{e9}\u{e9}\u{e9}\r\ntracestate: =,=,\r\n".to_owned(),
        format!("b3: {TRACE}\r\nx-b3-traceid: {TRACE}\r\n"),
    ] {
        let mut play = Play::new();
        let app = play.process(10, "app");
        let front = play.accept(app);
        play.receive(front, 10, &get("/in", &lines), 0);
        play.answer(front, 10);
        let spans = play.spans();
        assert_eq!(spans.len(), 1, "{lines}");
        assert_eq!((spans[0].parent, &*spans[0].trace_state), (None, ""), "{lines}");
    }
}

/// Some services that call each other, some of them with contexts that name spans of this very play.
fn tangle(ids: &[SpanId]) -> Play {
    let mut play = Play::new();
    let services = [(10, "a"), (20, "b"), (30, "c")].map(|(tgid, name)| play.process(tgid, name));
    let fronts = services.map(|tgid| play.accept(tgid));
    let pairs = [(0, 1), (1, 2), (0, 2)].map(|(from, to)| play.pair(services[from], services[to]));
    for round in 0..30 {
        let claim = |n: usize| ids.get((7 * round + n) % ids.len().max(1)).map_or(String::new(), |id| traceparent(*id));
        play.receive(fronts[0], 10, &get("/in", &claim(0)), 0);
        play.carry((pairs[0].0, 10), (pairs[0].1, 20), get("/ab", &claim(1)).as_bytes());
        play.carry((pairs[1].0, 20), (pairs[1].1, 30), get("/bc", &claim(2)).as_bytes());
        play.receive(fronts[2], 31, &get("/other", &claim(3)), 0);
        play.answer(pairs[1].1, 30);
        play.learn(pairs[1].0, 20);
        play.answer(pairs[0].1, 20);
        play.learn(pairs[0].0, 10);
        play.answer(fronts[2], 31);
        play.carry((pairs[2].0, 10), (pairs[2].1, 30), get("/ac", &claim(4)).as_bytes());
        play.answer(fronts[0], 10);
        // This one ends after its request.
        play.answer(pairs[2].1, 30);
        play.learn(pairs[2].0, 10);
    }
    play
}

#[test]
fn whatever_spans_claim_of_each_other_there_is_no_circle() {
    let mut ids: Vec<SpanId> = tangle(&[]).spans().iter().map(|span| span.span_id).collect();
    ids.sort_unstable();
    let play = tangle(&ids);
    let spans = play.run(0.95);
    assert_eq!(spans.len(), tangle(&[]).spans().len());
    assert_sound(&spans);
    assert!(account(&play).get("link", "circular") > 0, "some of the claims close a circle");
}

/// The events in an order of their own, some of them with clocks that were set.
fn shuffled(play: &Play, seed: u64, shift_ns: &dyn Fn(u64) -> i64) -> Vec<Vec<u8>> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state >> 33
    };
    let mut records: Vec<Vec<u8>> = play.records().to_vec();
    for place in (1..records.len()).rev() {
        // Not further than what rings and CPUs do, but for a few.
        let far = if next() % 50 == 0 { 1000 } else { 8 };
        let other = place.saturating_sub((next() % far) as usize);
        records.swap(place, other);
    }
    for record in &mut records {
        let by = shift_ns(next());
        let moved = |ns: u64| ns.saturating_add_signed(by);
        let mut event = Event::decode(record).expect("an event");
        match &mut event {
            Event::Data(event, _) => {
                (event.head.time_ns, event.start_ns) = (moved(event.head.time_ns), moved(event.start_ns));
            }
            Event::Conn(event) => event.head.time_ns = moved(event.head.time_ns),
            Event::Close(event) => event.head.time_ns = moved(event.head.time_ns),
            _ => {}
        }
        let mut shifted = Vec::new();
        event.encode(&mut shifted);
        *record = shifted;
    }
    records
}

#[test]
fn spans_out_of_order_and_clocks_that_step_make_no_circle_and_lose_no_count() {
    let shifts: [&dyn Fn(u64) -> i64; 4] = [
        &|_| 0,
        &|number| if number % 10 == 0 { -50 * STEP_NS.cast_signed() } else { 0 },
        &|number| if number % 20 == 0 { 3_600_000_000_000 } else { 0 },
        &|number| if number % 20 == 0 { i64::MIN } else { 0 },
    ];
    let ids: Vec<SpanId> = tangle(&[]).spans().iter().map(|span| span.span_id).collect();
    let play = tangle(&ids);
    for (place, shift) in shifts.iter().enumerate() {
        for seed in 1..=10 {
            let mut pipeline = play.pipeline(0.95);
            let mut taken = Vec::new();
            for record in shuffled(&play, seed, shift) {
                let time_ns = Event::decode(&record).expect("an event").head().time_ns;
                pipeline.advance(time_ns.saturating_sub(10 * STEP_NS));
                pipeline.record(&record).expect("an event");
                taken.extend(pipeline.take());
            }
            pipeline.finish();
            taken.extend(pipeline.take());
            assert!(!taken.is_empty());
            assert_sound(&taken);
            let mut account = Account::default();
            pipeline.account(&mut account);
            let links = |name| account.get("link", name);
            assert_eq!(links("spans"), taken.len() as u64, "shift {place}, seed {seed}");
            assert!(links("finished") >= links("spans"));
            assert_eq!(links("finished"), links("spans") + links("refused"), "shift {place}, seed {seed}");
        }
    }
}

#[test]
fn a_connection_that_was_forgotten_and_goes_on_gives_no_id_twice() {
    let mut play = Play::new();
    let app = play.process(10, "app");
    let front = play.accept(app);
    for _ in 0..2 {
        for _ in 0..3 {
            play.hear(front, 10, "/in");
            play.answer(front, 10);
        }
        play.now += 2 * netspan::conn::IDLE_NS;
        // Time goes on by what others do.
        let other = play.accept(app);
        play.hear(other, 10, "/other");
        play.answer(other, 10);
    }
    let spans = play.run(0.95);
    assert_eq!(spans.len(), 8);
    assert_sound(&spans);
    let traces: std::collections::HashSet<_> = spans.iter().map(|span| span.trace_id).collect();
    assert_eq!(traces.len(), spans.len(), "each begins a trace of its own");
}
