//! The OTLP exporter against a real receiver: what `rotel` says it received is what was sent.
#![forbid(unsafe_code)]

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use netspan::{
    export::delivery::{Config, start},
    span::{Kind, Link, Method, Resource, Span, SpanId, SpanLink, Status, TraceId, Value},
};
use netspan_tests::{
    agent::Agent,
    load::{self, Plan},
    rotel::{Rotel, spans},
    scope::Scope,
    shop::{Shop, checkout},
};

/// Spans that each test sends.
const SPANS: u64 = 3000;

fn span(id: u64, resource: &Arc<Resource>) -> Span {
    Span {
        trace_id: TraceId(0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736_u128.to_be_bytes()),
        span_id: SpanId(id.to_be_bytes()),
        parent: (id > 1).then_some(SpanId(1_u64.to_be_bytes())),
        parent_is_remote: false,
        trace_state: "vendor=1".to_owned(),
        kind: if id.is_multiple_of(2) { Kind::Client } else { Kind::Server },
        name: format!("GET /{id}"),
        start_ns: 1_735_689_600_000_000_000 + id,
        end_ns: 1_735_689_600_001_000_000 + id,
        status: if id.is_multiple_of(10) { Status::Error } else { Status::Unset },
        resource: Arc::clone(resource),
        pid: 42,
        tid: 43,
        incomplete: None,
        link: (id > 1).then_some(Link { method: Method::Thread, confidence: 1.0 }),
        links: vec![SpanLink {
            trace_id: TraceId([7; 16]),
            span_id: SpanId([9; 8]),
            attributes: vec![("netspan.link.confidence".into(), Value::Float(0.75))],
        }],
        attributes: vec![
            ("http.response.status_code".into(), Value::Int(200)),
            ("http.request.header.accept".into(), Value::List(vec!["text/html".to_owned()])),
        ],
    }
}

fn arrives(url: impl Fn(&Rotel) -> &str, gzip: bool) -> Result<()> {
    let scope = Scope::new()?;
    let directory = tempfile::tempdir()?;
    let rotel = Rotel::start(&scope, directory.path())?;
    // The protocol is found out.
    let url = url(&rotel);
    let variable = |name: &str| (gzip && name == "OTEL_EXPORTER_OTLP_COMPRESSION").then(|| "gzip".to_owned());
    let config = Config::resolve(Some(url), variable)?.expect("an endpoint was given");
    let handle = start(&config)?;
    let resource = Arc::new(Resource {
        service: "shop-under-test".to_owned(),
        attributes: vec![("process.pid".into(), Value::Int(42))],
    });
    for id in 1..=SPANS {
        handle.sink().offer(Arc::new(span(id, &resource)));
    }
    let stats = handle.shutdown(Duration::from_secs(20));
    ensure!((stats.sent, stats.produced, stats.retried) == (SPANS, SPANS, 0), "{stats}");
    let log = rotel.received(|log| spans(log).len() as u64 >= SPANS)?;
    let got: BTreeMap<_, _> = spans(&log).into_iter().map(|span| (span.name.clone(), span)).collect();
    ensure!(spans(&log).len() as u64 == SPANS, "a span came twice");
    for id in 1..=SPANS {
        ensure!(got.contains_key(&format!("GET /{id}")), "span {id} did not come: {:?}", got.keys());
    }
    for line in DETAILS {
        ensure!(log.contains(line), "{line:?} is missing in {}", &log[..log.len().min(5000)]);
    }
    Ok(())
}

/// What `rotel` says of one span, its process and its schema.
const DETAILS: [&str; 12] = [
    "service.name: Str(shop-under-test)",
    "process.pid: Int(42)",
    "telemetry.sdk.name: Str(netspan)",
    "ID             : 0000000000000002",
    "Parent ID      : 0000000000000001",
    "Kind           : SPAN_KIND_SERVER",
    "Kind           : SPAN_KIND_CLIENT",
    "TraceState     : vendor=1",
    "Start time: 1735689600000000002",
    "netspan.link.method: Str(thread)",
    "netspan.link.confidence: Double(0.75)",
    "http.request.header.accept: Slice(Str(text/html))",
];

#[test]
fn rotel_receives_every_span_once_by_grpc() -> Result<()> {
    arrives(|rotel| &rotel.grpc, false)
}

#[test]
fn rotel_receives_every_span_once_by_compressed_grpc() -> Result<()> {
    arrives(|rotel| &rotel.grpc, true)
}

#[test]
fn rotel_receives_every_span_once_by_http() -> Result<()> {
    arrives(|rotel| &rotel.http, false)
}

#[test]
fn rotel_receives_every_span_once_by_compressed_http() -> Result<()> {
    arrives(|rotel| &rotel.http, true)
}

/// Orders that the shop gets.
const ORDERS: u32 = 40;
/// Spans of each: nginx and Flask each twice, Flask's second call, Node, axum.
const SPANS_OF_AN_ORDER: usize = 7;

/// Runs the agent on the shop with `netspan run`, and looks at what rotel got.
fn the_shop_arrives(url: impl Fn(&Rotel) -> &str, protocol: &str) -> Result<()> {
    let scope = Scope::new()?;
    let directory = tempfile::tempdir()?;
    let rotel = Rotel::start(&scope, directory.path())?;
    let shop = Shop::open(|_| {})?;
    let mut command = Agent::command()?;
    command.args(["run", "--cgroup"]).arg(shop.scope().name()?);
    command.args(["--otlp", url(&rotel), "--otlp-protocol", protocol]);
    // At the end alone: sums are counted once.
    command.args(["--otlp-metrics-interval", "1440m"]);
    let agent = Agent::start(command)?;
    // One at a time: nginx holds several requests on one thread, and no other evidence tells them apart yet.
    let plan = Plan { seed: 5, concurrency: 1, requests: ORDERS, rate: None };
    load::run(shop.address(), plan, &AtomicBool::new(false), |dice| checkout(dice.below(40), 1))?;
    let wanted = ORDERS as usize * SPANS_OF_AN_ORDER;
    let log = rotel.received(|log| spans(log).len() >= wanted)?;
    let report = agent.stop()?;
    ensure!(report.figure("sent") == Some(wanted as u64), "{}", report.errors);
    the_metrics_arrived(&rotel).context(report.errors)?;

    let mut traces = BTreeMap::<_, Vec<_>>::new();
    for span in spans(&log) {
        traces.entry(span.trace.clone()).or_default().push(span);
    }
    ensure!(traces.len() == ORDERS as usize, "{} traces of {ORDERS} orders", traces.len());
    for trace in traces.values() {
        let services: BTreeSet<_> = trace.iter().map(|span| span.service.as_str()).collect();
        ensure!(services.len() == 4 && services.contains("nginx"), "services of an order: {services:?}");
        let ids: BTreeSet<_> = trace.iter().map(|span| span.id.as_str()).collect();
        let (roots, children): (Vec<_>, Vec<_>) = trace.iter().partition(|span| span.parent.is_empty());
        ensure!(roots.len() == 1 && roots[0].service == "nginx", "roots of an order: {roots:?}");
        let orphan = children.iter().find(|span| !ids.contains(span.parent.as_str()));
        ensure!(orphan.is_none(), "no parent in its trace: {orphan:?}");
    }
    Ok(())
}

/// What rotel got when the agent ended: sums over all orders, of requests and of connections.
fn the_metrics_arrived(rotel: &Rotel) -> Result<()> {
    let log = rotel.received(|log| log.contains("netspan.connection.io"))?;
    let mut counts = BTreeMap::<String, u64>::new();
    let mut name = String::new();
    for line in log.lines().map(str::trim) {
        if let Some(found) = line.strip_prefix("-> Name: ") {
            found.clone_into(&mut name);
        }
        if let Some(count) = line.strip_prefix("Count: ") {
            *counts.entry(name.clone()).or_default() += count.parse::<u64>()?;
        }
    }
    let orders = u64::from(ORDERS);
    for (name, of_each) in [("http.server.request.duration", 4), ("http.client.request.duration", 3)] {
        ensure!(counts.get(name) == Some(&(orders * of_each)), "{name}: {counts:?}");
    }
    ensure!(counts.contains_key("netspan.connection.duration"), "{counts:?}");
    for line in ["-> telemetry.sdk.name: Str(netspan)", "-> AggregationTemporality: AGGREGATION_TEMPORALITY_CUMULATIVE"]
    {
        ensure!(log.contains(line), "no {line}");
    }
    Ok(())
}

#[test]
fn the_shops_traces_arrive_whole_by_grpc() -> Result<()> {
    the_shop_arrives(|rotel| &rotel.grpc, "grpc").context("gRPC")
}

#[test]
fn the_shops_traces_arrive_whole_by_http() -> Result<()> {
    the_shop_arrives(|rotel| &rotel.http, "http/protobuf").context("HTTP")
}
