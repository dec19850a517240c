//! What the store costs and how fast it answers: `cargo bench -p netspan --bench store [-- SPANS]` (10,000,000 without).
//!
//! Spans of 20 services with 10 attributes each, several spans to a trace. Prints the rate at which one thread takes them,
//! bytes per span, and for each kind of question the median and the 95th percentile of its answers' times.

#![expect(clippy::cast_precision_loss, reason = "figures for people")]

use netspan::{
    control::SpanFilter,
    span::{Kind, Resource, Span, SpanId, Status, TraceId, Value},
    store::{self, GroupBy, Query, Reader},
};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

const SPANS: u64 = 10_000_000;
const PER_TRACE: u64 = 5;
const ROUNDS: u64 = 40;

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

fn filter(words: &[(&str, &str)]) -> SpanFilter {
    let mut filter = SpanFilter::default();
    for (word, text) in words {
        filter.set(word, text).expect("a rule");
    }
    filter
}

fn measure(name: &str, mut ask: impl FnMut(u64) -> usize) {
    let mut found = 0;
    let mut times: Vec<_> = (0..ROUNDS)
        .map(|round| {
            let begun = Instant::now();
            found += ask(round);
            begun.elapsed()
        })
        .collect();
    times.sort();
    let at = |percent: u64| times[(ROUNDS * percent / 100).min(ROUNDS - 1) as usize].as_secs_f64() * 1e3;
    println!("{name:<46} p50 {:>8.2} ms  p95 {:>8.2} ms  (found {} each)", at(50), at(95), found as u64 / ROUNDS);
}

/// CPU time of the other threads: of the store's.
fn cpu_of_others() -> Duration {
    let read = |clock| {
        let used = rustix::time::clock_gettime(clock);
        Duration::new(used.tv_sec.cast_unsigned(), u32::try_from(used.tv_nsec).unwrap_or(0))
    };
    read(rustix::time::ClockId::ProcessCPUTime).saturating_sub(read(rustix::time::ClockId::ThreadCPUTime))
}

fn rss_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
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
    let from_ns = store::unix_ns() - count * 50_000;
    let dir = tempfile::tempdir().expect("a directory");
    let config = store::Config { dir: dir.path().to_owned(), bytes: 8 << 30, age: Duration::from_hours(24) };
    let store = store::start(config).expect("a thread");

    let sink = store.sink();
    let (begun, cpu_before) = (Instant::now(), cpu_of_others());
    for n in 0..count {
        let span = Arc::new(span(n, from_ns, &services));
        sink.give(span);
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
    ask(&store.reader(), count, from_ns);
    println!("peak memory of this process: {} MiB; {stats}", rss_mib());
}

fn ask(reader: &Reader, count: u64, from_ns: u64) {
    let search = |query: &Query| reader.search(query, 100).expect("an answer").spans.len();
    let spread = |round: u64| from_ns + mixed(round) % (count * 50_000);
    measure("trace by id", |round| {
        let id = trace_id(mixed(round) % (count / PER_TRACE));
        reader.traces(&[id]).expect("an answer").values().map(Vec::len).sum()
    });
    measure("trace by id that is not there", |round| {
        reader.traces(&[TraceId(u128::from(round + 1).to_be_bytes())]).expect("an answer").len()
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
        ("search: nothing fits", &[("service", "service-3"), ("name", "POST"), ("status", "404")]),
    ] {
        measure(name, |_| search(&Query { filter: filter(words), ..Query::default() }));
    }
    measure("search: attribute with its value", |round| {
        let path = format!("url.path=/api/orders/{}", mixed(round) % 5000);
        search(&Query { filter: filter(&[("attribute", &path)]), ..Query::default() })
    });
    measure("search: time", |round| {
        let from = spread(round);
        search(&Query { from_ns: Some(from), to_ns: Some(from + 1_000_000_000), ..Query::default() })
    });
    measure("search: service in a time", |round| {
        let from = spread(round);
        let filter = filter(&[("service", "service-5")]);
        search(&Query { filter, from_ns: Some(from), to_ns: Some(from + 60_000_000_000) })
    });
    measure("stat by service, a minute", |round| {
        let from = spread(round);
        let query = Query { from_ns: Some(from), to_ns: Some(from + 60_000_000_000), ..Query::default() };
        reader.groups(&query, GroupBy::Service).expect("an answer").len()
    });
    let begun = Instant::now();
    reader.groups(&Query::default(), GroupBy::Service).expect("an answer");
    println!("stat by service over everything: {:.0} ms", begun.elapsed().as_secs_f64() * 1e3);
}
