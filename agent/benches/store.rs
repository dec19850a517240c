//! What the store costs and how fast it answers: `cargo bench -p netspan --bench store [-- SPANS]` (10,000,000 without).
//!
//! Spans of 20 services with 10 attributes each, several spans to a trace, in a store of the default size. Prints the rate at
//! which one thread takes them, bytes per span, and for each kind of question the median and the 95th percentile of its answers'
//! times. It fails where a goal is missed, unless the machine is known to be busy (`NETSPAN_BENCH_BUSY`). A directory named by
//! `NETSPAN_BENCH_STORE` is filled once and asked again by later runs.

#![expect(clippy::cast_precision_loss, reason = "figures for people")]

use netspan::{
    control::SpanFilter,
    span::{Kind, Resource, Span, SpanId, Status, TraceId, Value},
    store::{self, GroupBy, Query, Reader},
};
use rustix::time::ClockId;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

const SPANS: u64 = 10_000_000;
const PER_TRACE: u64 = 5;
const ROUNDS: u64 = 40;
/// Rounds of a question about everything.
const ROUNDS_OF_ALL: u64 = 7;
/// Spans that one core has to take in a second.
const GOAL_RATE: f64 = 20_000.0;
/// The 95th percentile of a search.
const GOAL_SEARCH: Duration = Duration::from_millis(300);
/// The 95th percentile of a trace by its id.
const GOAL_TRACE: Duration = Duration::from_millis(20);

/// A number that looks random.
fn mixed(n: u64) -> u64 {
    let n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ (n >> 31)
}

fn trace_id(trace: u64) -> TraceId {
    TraceId((u128::from(mixed(trace + 7)) << 64 | u128::from(mixed(trace + 1))).to_be_bytes())
}

fn span(n: u64, from_ns: u64, services: &[Arc<Resource>]) -> Span {
    let dice = mixed(n);
    let is_error = dice.is_multiple_of(100);
    let text = |text: String| Value::Text(text.into());
    let start_ns = from_ns + n * 50_000 + dice % 40_000;
    // Skewed as durations are, from 0.1 ms to 10 s.
    let duration_ns = 100_000 << (dice >> 40).trailing_zeros().min(16);
    let path =
        format!("/api/{}/{}", ["items", "orders", "users", "carts"][(dice >> 8) as usize % 4], (dice >> 16) % 5000);
    Span {
        trace_id: trace_id(n / PER_TRACE),
        span_id: SpanId(mixed(n + 3).to_be_bytes()),
        parent: (!n.is_multiple_of(PER_TRACE)).then(|| SpanId(mixed(n + 2).to_be_bytes())),
        parent_is_remote: false,
        trace_state: String::new(),
        kind: if n.is_multiple_of(2) { Kind::Server } else { Kind::Client },
        name: ["GET", "POST", "PUT"][(dice >> 4) as usize % 3].to_owned(),
        start_ns,
        end_ns: start_ns + duration_ns,
        status: if is_error { Status::Error } else { Status::Unset },
        resource: Arc::clone(&services[(dice >> 24) as usize % services.len()]),
        pid: 4000 + (dice >> 24) as u32 % 20,
        tid: 4000 + (dice >> 24) as u32 % 200,
        incomplete: None,
        link: None,
        links: Vec::new(),
        attributes: vec![
            ("http.request.method".into(), Value::Text("GET".into())),
            ("url.path".into(), text(path)),
            ("url.scheme".into(), Value::Text("http".into())),
            ("server.address".into(), text(format!("host-{}", dice % 20))),
            ("server.port".into(), Value::Int(8000 + (dice % 20).cast_signed())),
            ("http.response.status_code".into(), Value::Int(if is_error { 503 } else { 200 })),
            ("network.peer.address".into(), text(format!("10.0.{}.{}", dice % 4, (dice >> 3) % 200))),
            ("network.peer.port".into(), Value::Int(32_768 + (dice >> 33).cast_signed() % 28_000)),
            ("http.response.body.size".into(), Value::Int((dice >> 20).cast_signed() % 10_000)),
            ("user_agent.original".into(), Value::Text("curl/8.1".into())),
        ],
    }
}

/// What few spans are.
const RARE_PATH: &[(&str, &str)] =
    &[("path", "/api/carts/1*"), ("service", "service-3"), ("status", "5xx"), ("duration", "50ms")];

fn filter(words: &[(&str, &str)]) -> SpanFilter {
    let mut filter = SpanFilter::default();
    for (word, text) in words {
        filter.set(word, text).expect("a rule");
    }
    filter
}

/// Goals that were missed.
#[derive(Default)]
struct Missed(Vec<String>);

impl Missed {
    /// Measures a question, whose 95th percentile has a goal.
    fn measure(&mut self, name: &str, goal: Duration, ask: impl FnMut(u64) -> usize) {
        self.measure_rounds(ROUNDS, name, goal, ask);
    }

    fn measure_rounds(&mut self, rounds: u64, name: &str, goal: Duration, mut ask: impl FnMut(u64) -> usize) {
        let mut found = 0;
        let (mut times, mut used) = (Vec::new(), Vec::new());
        for round in 0..rounds {
            let (begun, before) = (Instant::now(), cpu(ClockId::ThreadCPUTime));
            found += ask(round);
            times.push(begun.elapsed());
            used.push(cpu(ClockId::ThreadCPUTime).saturating_sub(before));
        }
        let at = |times: &mut Vec<Duration>, percent: u64| {
            times.sort();
            times[(rounds * percent / 100).min(rounds - 1) as usize]
        };
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        let (p50, p95, used) = (at(&mut times, 50), at(&mut times, 95), at(&mut used, 95));
        println!(
            "{name:<46} p50 {:>8.2} ms  p95 {:>8.2} ms  of it CPU {:>8.2} ms  (found {} each)",
            ms(p50),
            ms(p95),
            ms(used),
            found as u64 / rounds
        );
        if p95 >= goal {
            self.0.push(format!("{name}: {:.1} ms instead of {:.0} ms", ms(p95), ms(goal)));
        }
    }
}

fn cpu(clock: ClockId) -> Duration {
    let used = rustix::time::clock_gettime(clock);
    Duration::new(used.tv_sec.cast_unsigned(), u32::try_from(used.tv_nsec).unwrap_or(0))
}

/// CPU time of the other threads: of the store's.
fn cpu_of_others() -> Duration {
    cpu(ClockId::ProcessCPUTime).saturating_sub(cpu(ClockId::ThreadCPUTime))
}

/// A field of the process's state that is a size: `VmHWM` is its memory at most, `VmRSS` at present.
fn memory_mib(field: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    line.and_then(|line| line.trim().split(' ').next()?.parse::<u64>().ok()).unwrap_or(0) / 1024
}

fn main() {
    let count = std::env::args().find_map(|argument| argument.parse().ok()).unwrap_or(SPANS);
    let resource = |n: usize| {
        let attributes = vec![
            ("process.executable.name".into(), Value::Text(format!("app-{n}").into())),
            ("container.id".into(), Value::Text(format!("{n:064x}").into())),
            ("host.name".into(), Value::Text("host".into())),
        ];
        Arc::new(Resource { service: format!("service-{n}"), attributes })
    };
    let services: Vec<_> = (0..20).map(resource).collect();
    let temporary = tempfile::tempdir().expect("a directory");
    let kept = std::env::var_os("NETSPAN_BENCH_STORE").map(std::path::PathBuf::from);
    let dir = kept.as_deref().unwrap_or(temporary.path()).to_owned();
    let is_there = dir.read_dir().is_ok_and(|mut files| files.next().is_some());
    let config = store::Config { dir, bytes: 1 << 30, age: Duration::from_hours(24) };
    let mut missed = Missed::default();
    if !is_there {
        fill(&config, count, &services, &mut missed);
    }
    open(config.clone());
    let store = store::start(config).expect("a thread");
    let reader = store.reader();
    let from_ns = reader.heat(&Query::default(), 1).expect("an answer").from_ns;
    ask(&reader, count, from_ns, &mut missed);
    ask_of_all(&reader, &mut missed);
    println!("memory: {} MiB, at most {} MiB", memory_mib("VmRSS"), memory_mib("VmHWM"));
    for goal in &missed.0 {
        println!("missed: {goal}");
    }
    assert!(missed.0.is_empty() || std::env::var_os("NETSPAN_BENCH_BUSY").is_some(), "goals were missed");
}

fn fill(config: &store::Config, count: u64, services: &[Arc<Resource>], missed: &mut Missed) {
    let from_ns = store::unix_ns() - count * 50_000;
    let store = store::start(config.clone()).expect("a thread");
    let sink = store.sink();
    let (begun, cpu_before) = (Instant::now(), cpu_of_others());
    for n in 0..count {
        sink.give(Arc::new(span(n, from_ns, services)));
    }
    assert!(store.flush(Duration::from_mins(1)));
    let (wall, used) = (begun.elapsed(), cpu_of_others().saturating_sub(cpu_before));
    let stats = store.stats();
    println!("stored {} spans in {:.1} s, {} B each on disk", stats.stored, wall.as_secs_f64(), stats.bytes / count);
    println!(
        "the store's CPU time: {:.2} us per span, so one core takes {:.0} spans/s",
        used.as_secs_f64() * 1e6 / count as f64,
        count as f64 / used.as_secs_f64()
    );
    println!("memory at most: {} MiB; {stats}", memory_mib("VmHWM"));
    if (count as f64) < GOAL_RATE * used.as_secs_f64() {
        missed.0.push(format!("ingest: less than {GOAL_RATE} spans/s"));
    }
}

fn ask(reader: &Reader, count: u64, from_ns: u64, missed: &mut Missed) {
    let search = |query: &Query| reader.search(query, 100).expect("an answer").spans.len();
    let spread = |round: u64| from_ns + mixed(round) % (count * 50_000);
    missed.measure("trace by id", GOAL_TRACE, |round| {
        let id = trace_id(mixed(round) % (count / PER_TRACE));
        reader.traces(&[id]).expect("an answer").by_id.values().map(Vec::len).sum()
    });
    missed.measure("trace by id that is not there", GOAL_TRACE, |round| {
        reader.traces(&[TraceId(u128::from(round + 1).to_be_bytes())]).expect("an answer").by_id.len()
    });
    for (name, words) in [
        ("search: service", &[("service", "service-3")][..]),
        ("search: service and name", &[("service", "service-3"), ("name", "POST")]),
        ("search: status", &[("status", "5xx")]),
        ("search: duration (rare)", &[("duration", "6s")]),
        (
            "search: service, status, duration (rare)",
            &[("service", "service-3"), ("status", "5xx"), ("duration", "1s")],
        ),
        ("search: attribute that is not there", &[("attribute", "url.path=/nowhere")]),
        ("search: path", &[("path", "/api/items/17")]),
        ("search: path, all below", &[("path", "/api/users")]),
        ("search: path that is not there", &[("path", "/api/items/nowhere")]),
        ("search: path with wildcards", &[("path", "/api/*/4711")]),
        ("search: path with wildcards, not there", &[("path", "*/nowhere")]),
        ("search: text within a path, not there", &[("path", "*nowhere*")]),
        ("search: text within a path", &[("path", "*s/471*")]),
        ("search: peer that is not there", &[("peer", "10.9.*")]),
        ("search: path, service, status, duration", RARE_PATH),
        ("search: peer, kind, process", &[("peer", "10.0.3.17*"), ("kind", "server"), ("process", "app-5")]),
        ("search: service that is not there", &[("service", "nobody")]),
        ("search: nothing fits", &[("service", "service-3"), ("name", "POST"), ("status", "404")]),
    ] {
        missed.measure(name, GOAL_SEARCH, |_| search(&Query { filter: filter(words), ..Query::default() }));
    }
    missed.measure("search: attribute with its value", GOAL_SEARCH, |round| {
        let path = format!("url.path=/api/orders/{}", mixed(round) % 5000);
        search(&Query { filter: filter(&[("attribute", &path)]), ..Query::default() })
    });
    missed.measure("list of traces: the newest 100 of a service", GOAL_SEARCH, |_| {
        let query = Query { filter: filter(&[("service", "service-3")]), ..Query::default() };
        let spans = reader.search(&query, 400).expect("an answer").spans;
        let ids: std::collections::BTreeSet<TraceId> = spans.iter().map(|span| span.trace_id).take(100).collect();
        reader.traces(&ids.into_iter().collect::<Vec<_>>()).expect("an answer").by_id.len()
    });
    missed.measure("search: time", GOAL_SEARCH, |round| {
        let from = spread(round);
        search(&Query { from_ns: Some(from), to_ns: Some(from + 1_000_000_000), ..Query::default() })
    });
    missed.measure("search: service in a time", GOAL_SEARCH, |round| {
        let from = spread(round);
        let filter = filter(&[("service", "service-5")]);
        search(&Query { filter, from_ns: Some(from), to_ns: Some(from + 60_000_000_000) })
    });
    missed.measure("search: all of it, in a time", GOAL_SEARCH, |round| {
        let from = spread(round);
        let words = [
            ("service", "service-5"),
            ("name", "GET"),
            ("path", "/api/orders"),
            ("status", "2xx"),
            ("duration", "1ms"),
        ];
        search(&Query { filter: filter(&words), from_ns: Some(from), to_ns: Some(from + 60_000_000_000) })
    });
    let any = Duration::MAX;
    missed.measure("names of services", any, |_| reader.services().expect("an answer").len());
    missed.measure("operations of a service", any, |_| {
        reader
            .operations(&Query { filter: filter(&[("service", "service-7")]), ..Query::default() })
            .expect("an answer")
            .len()
    });
    missed.measure("stat by service, a minute", any, |round| {
        let from = spread(round);
        let query = Query { from_ns: Some(from), to_ns: Some(from + 60_000_000_000), ..Query::default() };
        reader.groups(&query, GroupBy::Service).expect("an answer").len()
    });
}

/// Questions about everything: those that a block's cells tell, and those for which all spans are looked at.
fn ask_of_all(reader: &Reader, missed: &mut Missed) {
    let any = Duration::MAX;
    let all = |words: &[(&str, &str)]| Query { filter: filter(words), ..Query::default() };
    let mut stat = |name: &str, by: GroupBy, words: &[(&str, &str)]| {
        let query = all(words);
        missed.measure_rounds(ROUNDS_OF_ALL, name, any, |_| reader.groups(&query, by).expect("an answer").len());
    };
    stat("all: stat by service", GroupBy::Service, &[]);
    stat("all: stat by route", GroupBy::Route, &[]);
    stat("all: stat by status", GroupBy::Status, &[]);
    stat("all: stat by process", GroupBy::Process, &[]);
    stat("all: stat by route of a service, errors", GroupBy::Route, &[("service", "service-3"), ("status", "5xx")]);
    stat("all: stat by service, slow ones", GroupBy::Service, &[("duration", "1ms")]);
    stat("all: stat by path", GroupBy::Path, &[]);
    stat("all: stat by peer", GroupBy::Peer, &[]);
    for (name, words) in [("all: heat map", &[][..]), ("all: heat map of a path", &[("path", "/api/users")])] {
        let query = all(words);
        missed.measure_rounds(ROUNDS_OF_ALL, name, any, |_| reader.heat(&query, 150).expect("an answer").columns.len());
    }
    missed.measure_rounds(ROUNDS_OF_ALL, "all: edges", any, |_| {
        reader.edges(&Query::default()).expect("an answer").0.len()
    });
    missed.measure_rounds(ROUNDS_OF_ALL, "all: paths", any, |_| {
        reader.paths(&Query::default()).expect("an answer").nodes.len()
    });
}

/// How long a start takes until the store takes spans and answers.
fn open(config: store::Config) {
    let begun = Instant::now();
    let store = store::start(config).expect("a thread");
    assert!(store.flush(Duration::from_mins(1)));
    let is_open = begun.elapsed();
    store.reader().search(&Query::default(), 1).expect("an answer");
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    println!(
        "opened after {:.1} ms, first answer after {:.1} ms; memory {} MiB",
        ms(is_open),
        ms(begun.elapsed()),
        memory_mib("VmRSS")
    );
}
