//! What export costs: `cargo bench -p netspan --bench export [-- SPANS]` (1,000,000 without).
//!
//! CPU time (user and system) of the exporting threads per span: encoding, queue, sending to a receiver in another process on
//! this host, which reads everything and answers at once. Spans have 18 attributes, as those of an HTTP server have, and
//! come as fast as they are taken, or at a rate.

#![expect(clippy::cast_precision_loss, reason = "figures for people")]

use std::{
    convert::Infallible,
    io::{BufRead as _, BufReader},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, Response, body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use netspan::{
    export::delivery::{
        self, Compression, Config, WhenFull,
        config::{FileTarget, Target},
        queue::disk,
    },
    span::{Kind, Resource, Span, SpanId, Status, TraceId, Value},
};
use rustix::time::{ClockId, clock_gettime};

const SPANS: u64 = 1_000_000;
/// Different spans: enough that none is in the processor's caches when its turn comes again.
const DIFFERENT: u64 = 50_000;
const SERVICES: u64 = 20;
const CONNECTIONS: u64 = 800;

/// What the spans of a connection share.
struct Connection {
    host: Arc<str>,
    peer: Arc<str>,
    local: Arc<str>,
    agent: Arc<str>,
}

impl Connection {
    fn new(n: u64) -> Self {
        Self {
            host: "shop.internal".into(),
            peer: format!("10.0.{}.{}", n % 4, n / 4).into(),
            local: "10.0.0.1".into(),
            agent: "Mozilla/5.0 (X11; Linux x86_64)".into(),
        }
    }
}

/// A number that looks random.
fn mixed(n: u64) -> u64 {
    let n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ (n >> 31)
}

/// A span as the linker makes it: what is the same in many spans is the program's own text, or shared by those of a connection.
fn span(n: u64, services: &[Arc<Resource>], connections: &[Connection]) -> Span {
    let dice = mixed(n);
    let text = |text: &'static str| Value::Text(text.into());
    let shared = |text: &Arc<str>| Value::Text(Arc::clone(text).into());
    let connection = &connections[(dice >> 3) as usize % connections.len()];
    let start_ns = 1_790_000_000_000_000_000 + n * 50_000;
    let number = |at: u32, below: u64| Value::Int((dice.rotate_right(at) % below).cast_signed());
    Span {
        trace_id: TraceId((u128::from(mixed(n + 7)) << 64 | u128::from(mixed(n + 1))).to_be_bytes()),
        span_id: SpanId(mixed(n + 3).to_be_bytes()),
        parent: (!n.is_multiple_of(5)).then(|| SpanId(mixed(n + 2).to_be_bytes())),
        parent_is_remote: false,
        trace_state: String::new(),
        kind: if n.is_multiple_of(2) { Kind::Server } else { Kind::Client },
        name: "GET".to_owned(),
        start_ns,
        end_ns: start_ns + dice % 10_000_000,
        status: if dice.is_multiple_of(100) { Status::Error } else { Status::Unset },
        resource: Arc::clone(&services[(dice >> 24) as usize % services.len()]),
        pid: 4000,
        tid: 4000 + (dice >> 24) as u32 % 200,
        incomplete: None,
        link: None,
        links: Vec::new(),
        attributes: vec![
            ("http.request.method".into(), text("GET")),
            ("url.path".into(), Value::Text(format!("/api/orders/{}", dice % 5000).into())),
            ("url.scheme".into(), text("http")),
            ("server.address".into(), shared(&connection.host)),
            ("server.port".into(), Value::Int(8080)),
            ("http.response.status_code".into(), Value::Int(200)),
            ("network.peer.address".into(), shared(&connection.peer)),
            ("network.peer.port".into(), number(33, 28_000)),
            ("network.local.address".into(), shared(&connection.local)),
            ("network.local.port".into(), Value::Int(8080)),
            ("network.transport".into(), text("tcp")),
            ("network.protocol.name".into(), text("http")),
            ("network.protocol.version".into(), text("1.1")),
            ("user_agent.original".into(), shared(&connection.agent)),
            ("http.response.body.size".into(), number(20, 10_000)),
            ("netspan.time.queue_wait".into(), number(11, 100_000)),
            ("netspan.time.app".into(), number(17, 5_000_000)),
            ("netspan.time.send".into(), number(23, 40_000)),
        ],
    }
}

fn spans() -> Vec<Arc<Span>> {
    let resource = |n: u64| {
        let attributes = vec![
            ("process.pid".into(), Value::Int(4000 + n.cast_signed())),
            ("process.executable.name".into(), Value::Text(format!("app-{n}").into())),
            ("container.id".into(), Value::Text(format!("{n:064x}").into())),
            ("host.name".into(), Value::Text("host".to_owned().into())),
        ];
        Arc::new(Resource { service: format!("service-{n}"), attributes })
    };
    let services: Vec<_> = (0..SERVICES).map(resource).collect();
    let connections: Vec<_> = (0..CONNECTIONS).map(Connection::new).collect();
    (0..DIFFERENT).map(|n| Arc::new(span(n, &services, &connections))).collect()
}

/// CPU time of the other threads: of the exporter's.
fn cpu_of_others() -> Duration {
    let read = |clock| {
        let used = clock_gettime(clock);
        Duration::new(used.tv_sec.cast_unsigned(), u32::try_from(used.tv_nsec).unwrap_or(0))
    };
    read(ClockId::ProcessCPUTime).saturating_sub(read(ClockId::ThreadCPUTime))
}

fn measure(name: &str, config: &Config, spans: &[Arc<Span>], count: u64, rate: Option<u64>) {
    let when_full = if rate.is_none() { WhenFull::HoldBack } else { WhenFull::DropOldest };
    let config = Config { when_full, ..config.clone() };
    let handle = delivery::start(&config).expect("starts");
    let sink = handle.sink();
    let (begun, before) = (Instant::now(), cpu_of_others());
    for n in 0..count {
        let span = Arc::clone(&spans[(n % DIFFERENT) as usize]);
        match rate {
            None => sink.give(span),
            Some(rate) => {
                // In bursts of a millisecond, as the pipeline lets spans go.
                let burst = rate / 1000;
                if n.is_multiple_of(burst) {
                    let due = Duration::from_millis(n / burst);
                    std::thread::sleep(due.saturating_sub(begun.elapsed()));
                }
                sink.offer(span);
            }
        }
    }
    handle.flush(Duration::from_secs(30));
    let (used, took) = (cpu_of_others().saturating_sub(before), begun.elapsed());
    let stats = handle.shutdown(Duration::from_secs(5));
    println!(
        "{name:<44} {:>6.3} µs/span  {:>5.0} bytes/span  {:>9.0} spans/s  {}",
        used.as_secs_f64() * 1e6 / stats.sent.max(1) as f64,
        stats.bytes as f64 / stats.sent.max(1) as f64,
        stats.sent as f64 / took.as_secs_f64(),
        if stats.sent == count { String::new() } else { stats.to_string() },
    );
}

/// The receiver: this program again.
struct Receiver {
    child: Child,
    port: String,
}

impl Receiver {
    fn start() -> Self {
        let own = std::env::current_exe().expect("this program");
        let mut child = Command::new(own).arg("receive").stdout(Stdio::piped()).spawn().expect("started");
        let mut port = String::new();
        BufReader::new(child.stdout.take().expect("piped")).read_line(&mut port).expect("its port");
        Self { child, port: port.trim().to_owned() }
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Takes all requests until it is killed.
fn receive() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        println!("{}", listener.local_addr().expect("an address").port());
        loop {
            let (socket, _) = listener.accept().await.expect("a connection");
            let answer = service_fn(|request: Request<Incoming>| async {
                let is_grpc = request.headers().get("content-type").is_some_and(|kind| kind == "application/grpc");
                let mut body = request.into_body();
                while let Some(Ok(_)) = body.frame().await {}
                let mut response =
                    Response::new(Full::new(if is_grpc { Bytes::from_static(&[0; 5]) } else { Bytes::new() }));
                if is_grpc {
                    // Status and message at once, which clients take as well.
                    response.headers_mut().insert("content-type", "application/grpc".parse().expect("a value"));
                    response.headers_mut().insert("grpc-status", "0".parse().expect("a value"));
                }
                Ok::<_, Infallible>(response)
            });
            tokio::spawn(async move {
                let _ = auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(socket), answer).await;
            });
        }
    });
}

fn main() {
    if std::env::args().nth(1).as_deref() == Some("receive") {
        return receive();
    }
    let count = std::env::args().find_map(|argument| argument.parse().ok()).unwrap_or(SPANS);
    let (receiver, spans) = (Receiver::start(), spans());
    let dir = tempfile::tempdir().expect("a directory");
    let to = |protocol: &str, compression, queue: Option<&str>| {
        let url = format!("http://127.0.0.1:{}", receiver.port);
        let variable = |name: &str| (name == "OTEL_EXPORTER_OTLP_PROTOCOL").then(|| protocol.to_owned());
        let mut config = Config::resolve(Some(&url), variable).expect("sound").expect("an endpoint");
        config.compression = compression;
        config.queue = queue.map(|name| on_disk(dir.path().join(name)));
        config
    };
    let none = Compression::None;
    for (name, config, rate) in [
        ("OTLP/gRPC, memory", to("grpc", none, None), None),
        ("OTLP/gRPC, disk", to("grpc", none, Some("a")), None),
        ("OTLP/gRPC, disk, 5,000 spans/s", to("grpc", none, Some("b")), Some(5000)),
        ("OTLP/gRPC, disk, 50,000 spans/s", to("grpc", none, Some("c")), Some(50_000)),
        ("OTLP/HTTP, disk", to("http/protobuf", none, Some("d")), None),
        ("OTLP/HTTP, disk, gzip", to("http/protobuf", Compression::Gzip, Some("e")), None),
        ("OTLP/HTTP, disk, zstd", to("http/protobuf", Compression::Zstd, Some("f")), None),
        ("OTLP/HTTP JSON, disk", to("http/json", none, Some("g")), None),
        ("lines to a file, memory", lines(dir.path().join("lines")), None),
    ] {
        let count = rate.map_or(count, |rate| count.min(rate * 20));
        measure(name, &config, &spans, count, rate);
    }
}

fn on_disk(dir: PathBuf) -> disk::Config {
    disk::Config { dir, bytes: 512 << 20, segment: disk::SEGMENT_BYTES }
}

fn lines(path: PathBuf) -> Config {
    Config::new("file", Target::File(FileTarget { path, bytes: 100 << 20, files: 3 }), Vec::new())
}
