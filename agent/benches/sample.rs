//! What routes and sampling cost, per span: `cargo bench -p netspan --bench sample [-- SPANS]` (1,000,000 without).
//!
//! Traces of a request, a call and the called request, of 20 services with 50 routes each, 5,000 spans per second of their own time.
//! CPU time of the one thread that they run on; the making of the spans is not counted.

#![expect(clippy::cast_precision_loss, reason = "figures for people")]

use std::{hint::black_box, sync::Arc, time::Duration};

use netspan::{
    route::Routes,
    sample::{Options, Sampler},
    span::{Attribute, Kind, Resource, Span, SpanId, Status, TraceId, Value},
};
use rustix::time::{ClockId, clock_gettime};

const SPANS: u64 = 1_000_000;
/// From one span to the next.
const STEP_NS: u64 = 200_000;
/// Spans that come at a time: a turn of the agent.
const TURN: u64 = 100;
const PER_TRACE: u64 = 3;

/// A number that looks random.
fn mixed(n: u64) -> u64 {
    let n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ (n >> 31)
}

fn span(n: u64, services: &[Arc<Resource>]) -> Span {
    let (trace, at) = (n / PER_TRACE, n % PER_TRACE);
    let dice = mixed(n);
    let is_error = mixed(trace).is_multiple_of(1000) && at == 2;
    let path = format!("/api/resource-{}/{}/items/{}", (dice >> 8) % 50, dice >> 50, dice >> 40 & 0xfff);
    let path = path.replace("resource-", "abcdefghij").replace(['0', '1', '2', '3'], "x");
    Span {
        trace_id: TraceId((u128::from(mixed(trace * 2 + 1)) << 64 | u128::from(mixed(trace * 2 + 2))).to_be_bytes()),
        span_id: SpanId((n + 1).to_be_bytes()),
        parent: (at > 0).then(|| SpanId(n.to_be_bytes())),
        parent_is_remote: false,
        trace_state: String::new(),
        kind: if at == 1 { Kind::Client } else { Kind::Server },
        name: "GET".to_owned(),
        start_ns: n * STEP_NS,
        end_ns: n * STEP_NS + 1_000_000 + (dice >> 20) % 9_000_000,
        status: if is_error { Status::Error } else { Status::Unset },
        resource: Arc::clone(&services[(dice >> 24) as usize % services.len()]),
        pid: 1,
        tid: 1,
        incomplete: None,
        link: None,
        links: Vec::new(),
        attributes: with_room([
            ("http.request.method".into(), Value::Text("GET".into())),
            ("url.path".into(), Value::Text(path.into())),
            ("url.scheme".into(), Value::Text("http".into())),
            ("server.address".into(), Value::Text("shop.example".into())),
            ("server.port".into(), Value::Int(8000)),
            ("user_agent.original".into(), Value::Text("curl/8.1".into())),
            ("http.response.status_code".into(), Value::Int(if is_error { 503 } else { 200 })),
            ("network.protocol.name".into(), Value::Text("http".into())),
            ("network.protocol.version".into(), Value::Text("1.1".into())),
            ("network.transport".into(), Value::Text("tcp".into())),
            ("network.peer.address".into(), Value::Text("10.0.0.7".into())),
            ("network.peer.port".into(), Value::Int(40_000)),
            ("http.request.body.size".into(), Value::Int(0)),
            ("http.response.body.size".into(), Value::Int(1234)),
        ]),
    }
}

/// As the linker makes lists of attributes.
fn with_room(attributes: impl IntoIterator<Item = Attribute>) -> Vec<Attribute> {
    let mut list = Vec::with_capacity(24);
    list.extend(attributes);
    list
}

fn cpu_ns() -> i64 {
    let used = clock_gettime(ClockId::ThreadCPUTime);
    used.tv_sec * 1_000_000_000 + used.tv_nsec
}

/// Nanoseconds of CPU per span that `take` uses, and what it says at the end.
fn measure<T>(
    name: &str,
    spans: u64,
    services: &[Arc<Resource>],
    mut state: T,
    mut take: impl FnMut(&mut T, u64, Vec<Span>),
) -> T {
    let mut used = 0;
    for turn in 0..spans / TURN {
        let made = (turn * TURN..(turn + 1) * TURN).map(|n| span(n, services)).collect();
        let before = cpu_ns();
        take(&mut state, turn * TURN * STEP_NS, made);
        used += cpu_ns() - before;
    }
    println!("{name:<58} {:>7.0} ns per span", used as f64 / spans as f64);
    state
}

fn main() {
    let spans = std::env::args().find_map(|argument| argument.parse().ok()).unwrap_or(SPANS);
    let services: Vec<_> =
        (0..20).map(|n| Arc::new(Resource { service: format!("service-{n}"), attributes: Vec::new() })).collect();
    let routes = measure("routes", spans, &services, Routes::default(), |routes, _, made| {
        for mut span in made {
            routes.name(&mut span);
            black_box(span);
        }
    });
    println!("  {:?}", routes.counts());
    measure("nothing but the spans' end", spans, &services, (), |(), _, made| {
        made.into_iter().map(Arc::new).for_each(|span| drop(black_box(span)));
    });
    let one_percent = Options { ratio: 0.01, ..Options::default() };
    for (name, options) in [
        ("chance 0.01, errors", Options { rare: 0, ..one_percent.clone() }),
        ("chance 0.01, errors, rare", one_percent.clone()),
        (
            "chance 0.01, errors, rare, slow, slow for its route, cap",
            Options {
                slow: Some(Duration::from_secs(2)),
                slow_factor: Some(1.5),
                cap: Some(10),
                ..one_percent.clone()
            },
        ),
        (
            "the same, and ten rules",
            Options {
                slow_factor: Some(1.5),
                cap: Some(10),
                rules: (0..10).map(|n| format!("service=none-{n} route=/x/* drop").parse().expect("a rule")).collect(),
                ..one_percent
            },
        ),
        (
            "a rule for single spans alone",
            Options { span_rules: vec!["kind=client 0.1".parse().expect("a rule")], ..Options::default() },
        ),
    ] {
        let sampler = measure(name, spans, &services, Sampler::new(options), |sampler, now_ns, made| {
            sampler.advance(now_ns);
            for span in made {
                sampler.push(Arc::new(span));
            }
            black_box(sampler.take());
        });
        let counts = sampler.counts();
        println!(
            "  kept {}, dropped {}, held {}, early {}",
            counts.kept(),
            counts.dropped(),
            counts.held,
            counts.early
        );
    }
}
