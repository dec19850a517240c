//! Traffic made up from seeds, whose truth is known.

#![expect(clippy::cast_precision_loss, clippy::float_cmp, reason = "numbers of spans are small, powers of two exact")]

use std::{collections::BTreeMap, time::Duration};

use super::*;
use crate::span::{Kind, Resource, SpanId, Status, sample};

const MS: u64 = 1_000_000;

/// A number that looks random.
fn mixed(n: u64) -> u64 {
    let n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ (n >> 31)
}

fn trace(n: u64) -> TraceId {
    TraceId((u128::from(mixed(n * 2 + 1)) << 64 | u128::from(mixed(n * 2 + 2))).to_be_bytes())
}

/// The `at`-th span of a trace: a chain of calls.
fn span(n: u64, at: u64, name: &str, resource: &Arc<Resource>) -> Span {
    Span {
        trace_id: trace(n),
        span_id: SpanId((n * 8 + at + 1).to_be_bytes()),
        parent: (at > 0).then(|| SpanId((n * 8 + at).to_be_bytes())),
        parent_is_remote: false,
        trace_state: String::new(),
        kind: if at.is_multiple_of(2) { Kind::Server } else { Kind::Client },
        name: name.to_owned(),
        start_ns: 0,
        end_ns: MS,
        status: Status::Unset,
        resource: Arc::clone(resource),
        incomplete: None,
        link: None,
        links: Vec::new(),
        attributes: Vec::new(),
        ..sample::server()
    }
}

fn shop() -> Arc<Resource> {
    Arc::new(Resource { service: "shop".to_owned(), attributes: Vec::new() })
}

fn options(ratio: f64) -> Options {
    Options { ratio, rare: 0, ..Options::default() }
}

fn rules(texts: &[&str]) -> Vec<Rule> {
    texts.iter().map(|text| text.parse().expect(text)).collect()
}

fn adjusted(span: &Span) -> f64 {
    let count = span.attributes.iter().find_map(|(name, value)| match value {
        Value::Float(count) if name == "netspan.sample.adjusted_count" => Some(*count),
        _ => None,
    });
    let count = count.expect("an adjusted count");
    // The state says the same.
    let told = Threshold::of_state(&span.trace_state).expect("a threshold").adjusted_count();
    assert!((told / count - 1.0).abs() < 1e-9, "{told} {count}");
    count
}

fn reason(span: &Span) -> String {
    let reason = span.attributes.iter().find(|(name, _)| name == "netspan.sample.reason");
    let Some((_, Value::Text(reason))) = reason else { panic!("no reason: {span:?}") };
    reason.to_string()
}

/// Everything that a sampler makes of spans that come a tenth of a millisecond apart.
fn sampled(options: Options, spans: impl IntoIterator<Item = Span>) -> (Vec<Arc<Span>>, Counts) {
    let (mut sampler, mut kept) = (Sampler::new(options), Vec::new());
    for (n, span) in (1_u64..).zip(spans) {
        sampler.advance(n * MS / 10);
        sampler.push(Arc::new(span));
        kept.append(&mut sampler.take());
    }
    sampler.finish();
    kept.append(&mut sampler.take());
    let counts = *sampler.counts();
    assert_eq!(counts.produced, counts.kept() + counts.dropped());
    assert_eq!((counts.held, counts.kept()), (0, kept.len() as u64));
    (kept, counts)
}

#[test]
fn of_everything_at_one_percent_all_errors_and_slow_ones_are_kept_and_sums_are_within_two_percent() {
    // Standard deviation of the estimate: sqrt(0.99 / (0.01 * 2.4 million)) = 0.64 %, so that 2 % are three of them.
    const TRACES: u64 = 2_400_000;
    let resource = shop();
    let (is_error, is_slow) = (|n: u64| mixed(n).is_multiple_of(2000), |n: u64| mixed(n) % 2000 == 1);
    let made = (0..TRACES).map(|n| {
        let mut one = span(n, 0, if n.is_multiple_of(4) { "GET /a" } else { "GET /b" }, &resource);
        if is_error(n) {
            one.status = Status::Error;
        }
        if is_slow(n) {
            one.end_ns = 3000 * MS;
        }
        one
    });
    let options = Options { slow: Some(Duration::from_secs(2)), delay: Duration::from_millis(10), ..options(0.009) };
    let (kept, counts) = sampled(options, made);
    let count = |reason: Kept| counts.kept[reason as usize];
    assert_eq!(count(Kept::Error), (0..TRACES).filter(|n| is_error(*n)).count() as u64);
    assert_eq!(count(Kept::Slow), (0..TRACES).filter(|n| is_slow(*n)).count() as u64);
    let volume = kept.len() as f64 / TRACES as f64;
    assert!((0.0095..0.0105).contains(&volume), "{volume}");
    let sum = |name: &str| kept.iter().filter(|span| span.name == name).map(|span| adjusted(span)).sum::<f64>();
    for (estimate, truth) in [
        (sum("GET /a") + sum("GET /b"), TRACES as f64),
        (sum("GET /b"), TRACES as f64 * 0.75),
        (
            kept.iter().filter(|span| span.status == Status::Error).map(|span| adjusted(span)).sum(),
            count(Kept::Error) as f64,
        ),
    ] {
        let off = estimate / truth - 1.0;
        assert!(off.abs() < 0.02, "{estimate} of {truth}");
    }
}

#[test]
fn with_caps_rules_and_rare_routes_estimates_stay_unbiased() {
    const TRACES: u64 = 600_000;
    let resource = shop();
    let name = |n: u64| match mixed(n) % 10_000 {
        0..=4 => "GET /seldom",
        5..=999 => "GET /some",
        1000..=1999 => "GET /ruled",
        _ => "GET /often",
    };
    let mut truth = BTreeMap::<&str, f64>::new();
    (0..TRACES).for_each(|n| *truth.entry(name(n)).or_default() += 1.0);
    let options = Options {
        cap: Some(40),
        rare: 2,
        rules: rules(&["name=GET*/ruled 0.5"]),
        delay: Duration::from_millis(10),
        ..options(0.1)
    };
    let (kept, counts) = sampled(options, (0..TRACES).map(|n| span(n, 0, name(n), &resource)));
    assert!(counts.dropped[Dropped::Cap as usize] > 1000 && counts.kept[Kept::RareRoute as usize] >= 6, "{counts:?}");
    let mut estimates = BTreeMap::<String, (f64, u64)>::new();
    for span in &kept {
        let (sum, number) = estimates.entry(span.name.clone()).or_default();
        *sum += adjusted(span);
        *number += 1;
    }
    for (name, truth) in truth {
        let (estimate, number) = estimates[name];
        // Three standard deviations of so many of their kind.
        let bound = 3.0 / (number as f64).sqrt();
        let off = estimate / truth - 1.0;
        assert!(off.abs() < bound, "{name}: {estimate} of {truth}, {number} kept");
    }
}

#[test]
fn whole_traces_are_kept_or_dropped_late_spans_too() {
    let resource = shop();
    let mut sampler = Sampler::new(options(0.3));
    let mut kept = BTreeMap::<TraceId, u64>::new();
    for n in 0..5000 {
        sampler.advance(n * MS);
        for at in 0..3 {
            sampler.push(Arc::new(span(n, at, "GET", &resource)));
        }
        // The fourth one comes long after the decision.
        if n >= 4000 {
            sampler.push(Arc::new(span(n - 4000, 3, "GET", &resource)));
        }
        sampler.take().iter().for_each(|span| *kept.entry(span.trace_id).or_default() += 1);
    }
    assert_eq!(sampler.counts().late, 1000);
    sampler.finish();
    sampler.take().iter().for_each(|span| *kept.entry(span.trace_id).or_default() += 1);
    assert!((1350..1650).contains(&kept.len()), "{}", kept.len());
    for n in 0..5000 {
        let expected = if n < 1000 { 4 } else { 3 };
        assert!(kept.get(&trace(n)).is_none_or(|spans| *spans == expected), "{n}: {:?}", kept.get(&trace(n)));
    }
}

#[test]
fn an_error_deep_in_a_trace_keeps_all_of_it() {
    let resource = shop();
    let mut spans: Vec<Span> =
        (0..1000).flat_map(|n| (0..4).map(move |at| (n, at))).map(|(n, at)| span(n, at, "GET", &resource)).collect();
    spans[4 * 500 + 3].status = Status::Error;
    let (kept, counts) = sampled(options(0.0), spans.clone());
    assert_eq!(kept.len(), 4);
    assert!(
        kept.iter().all(|span| span.trace_id == trace(500) && reason(span) == "error" && span.trace_state == "ot=th:0")
    );
    assert_eq!((counts.kept[Kept::Error as usize], counts.dropped[Dropped::Chance as usize]), (4, 3996));
    let (kept, _) = sampled(Options { errors: false, ..options(0.0) }, spans);
    assert!(kept.is_empty());
}

#[test]
fn a_request_is_slow_by_what_its_own_route_takes() {
    let resource = shop();
    let slow_at = |n: u64| n > 3000 && n.is_multiple_of(500);
    let made = (0..6000_u64).map(|n| {
        let is_report = n.is_multiple_of(2);
        let mut one = span(n, 0, if is_report { "GET /report" } else { "GET /item" }, &resource);
        one.end_ns = if is_report { 900 * MS } else { MS + mixed(n) % MS };
        if slow_at(n) || slow_at(n + 1) {
            one.end_ns *= 6;
        }
        one
    });
    let (kept, _) = sampled(Options { slow_factor: Some(2.0), ..options(0.0) }, made);
    let numbers: Vec<_> = kept.iter().map(|span| (u64::from_be_bytes(span.span_id.0) - 1) / 8).collect();
    assert_eq!(numbers, (0..6000).filter(|n| slow_at(*n) || slow_at(n + 1)).collect::<Vec<_>>());
    assert!(kept.iter().all(|span| reason(span) == "slow_route"));
}

#[test]
fn rare_routes_and_rare_ways_are_kept_once_in_a_while() {
    let (shop, cart) = (shop(), Arc::new(Resource { service: "cart".to_owned(), attributes: Vec::new() }));
    let made = (0..2000).flat_map(|n| {
        let first = span(n, 0, if n == 700 { "GET /seldom" } else { "GET /often" }, &shop);
        // Each is common by itself, but only once comes the cart's after the shop's directly.
        let second = if n == 900 { span(n, 1, "GET", &cart) } else { span(n, 1, "GET", &shop) };
        [first, second]
    });
    let (kept, counts) = sampled(Options { rare: 1, ..options(0.0) }, made);
    let numbers: Vec<_> = kept.iter().map(|span| (u64::from_be_bytes(span.span_id.0) - 1) / 8).collect();
    assert_eq!(numbers, [0, 0, 700, 700, 900, 900]);
    assert_eq!((counts.kept[Kept::RareRoute as usize], counts.kept[Kept::RarePath as usize]), (4, 2));
    // Where every trace is another one, there is an end to that.
    let strange = (0..10_000).map(|n| span(n, 0, &format!("GET /{n}"), &shop));
    let (kept, _) = sampled(Options { rare: 1, ..options(0.0) }, strange);
    assert!(kept.len() <= 3 * RARE_PER_S as usize, "{}", kept.len());
}

#[test]
fn callers_decide_only_where_they_are_respected() {
    let resource = shop();
    let called = |n: u64, sampled: Option<bool>, state: &str| {
        let mut one = span(n, 0, "GET", &resource);
        one.trace_state = state.to_owned();
        one.attributes.extend(sampled.map(|sampled| ("netspan.context.sampled".into(), Value::Bool(sampled))));
        one
    };
    let respect = |ratio| Options { incoming: Incoming::Respect, ..options(ratio) };
    let of = |options: Options, one: Span| sampled(options, [one]).0.pop();
    assert_eq!(of(respect(1.0), called(1, Some(false), "")), None);
    let kept = of(respect(0.0), called(1, Some(true), "")).expect("the caller keeps it");
    // Nobody knows how many it stands for.
    assert_eq!((reason(&kept).as_str(), kept.trace_state.as_str(), kept.attributes.len()), ("incoming", "", 2));
    let kept = of(respect(0.0), called(1, Some(true), "ot=rv:f0000000000000;th:c,a=b")).expect("the caller keeps it");
    assert_eq!((adjusted(&kept), kept.trace_state.as_str()), (4.0, "ot=th:c;rv:f0000000000000,a=b"));
    // By its own threshold it would have been dropped.
    let kept = of(respect(0.0), called(1, Some(true), "ot=rv:10000000000000;th:c")).expect("the caller keeps it");
    assert_eq!(kept.attributes.len(), 2);
    // Who says nothing is decided about by chance, and so is everybody who is overridden.
    assert_eq!(of(respect(0.0), called(1, None, "")), None);
    assert_eq!(of(options(0.0), called(1, Some(true), "")), None);
    assert!(of(Options { rules: rules(&["status=404 drop"]), ..options(1.0) }, called(1, Some(false), "")).is_some());
    let mut error = called(1, Some(false), "");
    error.status = Status::Error;
    assert_eq!(reason(&of(respect(0.0), error).expect("an error")), "error");
}

#[test]
fn the_first_rule_counts_and_a_header_asks_for_a_trace() {
    let resource = shop();
    let asking = |n: u64, value: &str| {
        let mut one = span(n, 0, "GET", &resource);
        one.attributes.push(("http.request.header.x-debug".into(), Value::List(vec![value.to_owned()])));
        one
    };
    let with =
        |texts: &[&str], ratio| Options { rules: rules(texts), header: Some("x-debug".to_owned()), ..options(ratio) };
    let of = |options: Options, one: Span| sampled(options, [one]).0.pop().map(|span| reason(&span));
    assert_eq!(of(with(&[], 0.0), asking(1, "1")).as_deref(), Some("header"));
    assert_eq!(of(with(&[], 0.0), asking(1, "0")), None);
    assert_eq!(of(with(&["service=shop drop"], 1.0), asking(1, "1")), None);
    assert_eq!(of(with(&["service=shop keep", "service=shop drop"], 0.0), asking(1, "")).as_deref(), Some("rule"));
    assert_eq!(of(with(&["service=cart drop", "name=GET 1"], 0.0), asking(1, "")).as_deref(), Some("chance"));
    // What is to be dropped is judged by the request itself, what is to be kept by all that it led to.
    let both = || [span(1, 0, "GET", &resource), span(1, 1, "GET /health", &resource)];
    assert_eq!(sampled(with(&["name=*/health drop"], 1.0), both()).0.len(), 2);
    assert_eq!(sampled(with(&["name=*/health keep"], 0.0), both()).0.len(), 2);
}

#[test]
fn rules_for_single_spans_leave_the_rest_of_a_trace() {
    let resource = shop();
    let made = || (0..40_000).flat_map(|n| [span(n, 0, "GET /a", &resource), span(n, 1, "GET", &resource)]);
    let unitary = Options { span_rules: rules(&["kind=client 0.25"]), ..options(1.0) };
    let (kept, counts) = sampled(unitary.clone(), made());
    let (servers, clients): (Vec<_>, Vec<_>) = kept.iter().partition(|span| span.kind == Kind::Server);
    assert_eq!(servers.len(), 40_000);
    assert!((9700..10_300).contains(&clients.len()) && clients.iter().all(|span| adjusted(span) == 4.0));
    assert_eq!(counts.dropped[Dropped::SpanRule as usize] + clients.len() as u64, 40_000);
    // Within a trace that chance keeps, the rarer one of both counts: they share the trace's randomness.
    let (kept, _) = sampled(Options { ratio: 0.5, delay: Duration::from_millis(1), ..unitary }, made());
    let sum = |kind| kept.iter().filter(|span| span.kind == kind).map(|span| adjusted(span)).sum::<f64>();
    for kind in [Kind::Server, Kind::Client] {
        assert!((sum(kind) / 40_000.0 - 1.0).abs() < 0.03, "{kind:?}: {}", sum(kind));
    }
    let (kept, _) = sampled(Options { span_rules: rules(&["kind=client drop"]), ..options(1.0) }, made().take(2));
    assert_eq!(kept.len(), 1);
}

#[test]
fn too_many_spans_are_decided_early_and_none_is_lost() {
    let resource = shop();
    let mut sampler = Sampler::new(options(0.5));
    let many = HELD_MAX as u64 + 1000;
    for n in 0..many {
        sampler.push(Arc::new(span(n, 0, "GET", &resource)));
    }
    let counts = *sampler.counts();
    assert_eq!((counts.early, counts.held), (1000, HELD_MAX as u64));
    // One endless trace, whose root never comes.
    let mut sampler = Sampler::new(options(0.0));
    for at in 1..many {
        sampler.push(Arc::new(Span { span_id: SpanId(at.to_be_bytes()), ..span(7, 1, "GET", &resource) }));
    }
    let counts = *sampler.counts();
    assert_eq!((counts.early, counts.rootless, counts.late), (1, 1, many - 2 - HELD_MAX as u64));
    assert_eq!(counts.produced, counts.dropped() + counts.held);
}

#[test]
fn a_trace_without_its_root_waits_longer_and_is_then_decided() {
    let resource = shop();
    let mut sampler = Sampler::new(options(0.0));
    sampler.push(Arc::new(span(1, 1, "GET", &resource)));
    sampler.advance(ROOTLESS_NS - 1);
    assert_eq!(sampler.counts().held, 1);
    sampler.push(Arc::new(span(1, 0, "GET", &resource)));
    sampler.advance(ROOTLESS_NS);
    assert_eq!((sampler.counts().held, sampler.counts().rootless), (2, 0));
    sampler.advance(ROOTLESS_NS + 1000 * MS);
    assert_eq!(sampler.counts().held, 0);
    sampler.push(Arc::new(span(2, 1, "GET", &resource)));
    sampler.advance(3 * ROOTLESS_NS);
    assert_eq!((sampler.counts().held, sampler.counts().rootless), (0, 1));
}

#[test]
fn the_same_spans_at_the_same_times_are_decided_alike() {
    let resource = shop();
    let made = || {
        (0..20_000).map(|n| {
            let mut one = span(n, 0, ["GET /a", "GET /b", "GET /c"][(mixed(n) % 3) as usize], &resource);
            one.end_ns = mixed(n) % (100 * MS);
            one
        })
    };
    let with = || Options { cap: Some(30), slow_factor: Some(1.5), rare: 3, ..options(0.2) };
    let (first, second) = (sampled(with(), made()), sampled(with(), made()));
    assert_eq!(first, second);
    assert!(!first.0.is_empty());
}

#[test]
fn options_that_change_let_go_what_waits() {
    let resource = shop();
    let mut sampler = Sampler::new(options(0.0));
    sampler.push(Arc::new(span(1, 0, "GET", &resource)));
    sampler.set(Options::default());
    assert!(!sampler.options().is_on());
    assert_eq!((sampler.counts().held, sampler.take().len()), (0, 1));
}
