//! Spans of dialogues, kept by the store and asked for over a real socket, as the tools of others ask.

mod exposition;
mod grafana;
mod zipkin;

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    sync::Arc,
    time::{Duration, Instant},
};

use netspan::{
    api,
    span::Span,
    store::{self, Config},
};
use serde_json::Value as Json;

use crate::dialogue::{Play, get};

const PATIENCE: Duration = Duration::from_secs(20);

/// A store and an API over it.
struct Served {
    _dir: tempfile::TempDir,
    store: store::Handle,
    api: api::Handle,
}

fn config(dir: &std::path::Path) -> Config {
    Config { dir: dir.to_owned(), bytes: 64 << 20, age: Duration::from_hours(24) }
}

fn served(token: Option<&str>) -> Served {
    let dir = tempfile::tempdir().unwrap();
    let store = store::start(config(dir.path())).unwrap();
    let stored = api::Stored { reader: store.reader(), stats: Box::new(store.watch()) };
    let listen = SocketAddr::from(([127, 0, 0, 1], 0));
    let api = api::start(&api::Config { listen, token: token.map(str::to_owned) }, Some(stored)).unwrap();
    Served { _dir: dir, store, api }
}

/// Three requests through nginx to an application, each in a trace of its own.
fn shop() -> Vec<Arc<Span>> {
    let mut play = Play::new();
    let (nginx, app) = (play.process(10, "nginx"), play.process(20, "app"));
    let outside = play.accept(nginx);
    let (back, front) = play.pair(nginx, app);
    for path in ["/shop/1", "/shop/2?key=hunter2", "/shop/<script>"] {
        play.receive(outside, 10, &get(path, "Cookie: hunter2\r\n"), 0);
        play.ask(back, 10, "/cart");
        play.hear(front, 20, "/cart");
        play.answer(front, 20);
        play.learn(back, 10);
        play.answer(outside, 10);
    }
    play.spans()
}

impl Served {
    fn fill(&self, spans: &[Arc<Span>]) {
        for span in spans {
            self.store.sink().give(Arc::clone(span));
            self.api.sink().give(Arc::clone(span));
        }
        assert!(self.store.flush(PATIENCE));
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.api.address()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// Head and body.
    fn response(&self, request: &str) -> (String, String) {
        let mut stream = self.connect();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(!answer.to_lowercase().contains("access-control-"), "{answer}");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a response");
        (head.to_owned(), body.to_owned())
    }

    /// Status and body.
    fn raw(&self, request: &str) -> (u16, String) {
        let (head, body) = self.response(request);
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        (status, body)
    }

    fn ask(&self, path: &str) -> (u16, String) {
        self.raw(&format!("GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.api.address()))
    }

    fn json(&self, path: &str) -> Json {
        let (status, body) = self.ask(path);
        assert_eq!(status, 200, "{path}: {body}");
        serde_json::from_str(&body).unwrap_or_else(|error| panic!("{path}: {error}: {body}"))
    }
}

#[test]
fn every_api_finds_the_spans_of_a_dialogue() {
    let (served, spans) = (served(None), shop());
    served.fill(&spans);
    assert_eq!(spans.len(), 9);
    let trace = spans[0].trace_id.to_string();

    let found = served.json("/v1/spans?service=nginx&kind=server");
    assert_eq!((found["spans"].as_array().unwrap().len(), &found["has_more"]), (3, &Json::from(false)));
    assert!(found["spans"][0]["resource"].is_object());
    assert_eq!(served.json("/v1/spans?path=/shop/1")["spans"][0]["trace_id"], trace);
    assert_eq!(served.json("/v1/spans?limit=2")["has_more"], true);
    assert_eq!(served.json("/v1/spans?attribute=url.path%3D/shop/%3Cscript%3E")["spans"].as_array().unwrap().len(), 1);
    assert_eq!(served.json(&format!("/v1/traces/{trace}"))["spans"].as_array().unwrap().len(), 3);
    let (_, lines) = served.ask(&format!("/v1/traces/{trace}?format=ndjson"));
    for line in lines.lines() {
        netspan::span::json::read(line.as_bytes()).expect("a span");
    }
    let traces = served.json("/v1/traces?service=app");
    assert_eq!(traces["traces"].as_array().unwrap().len(), 3);
    assert_eq!(traces["traces"][0]["services"], serde_json::json!(["app", "nginx"]));
    assert_eq!(served.json("/v1/services")["services"].as_array().unwrap().len(), 2);
    let stat = served.json("/v1/stat?group-by=service&kind=server");
    assert_eq!(stat["groups"][0]["count"], 3);
    assert!(stat["groups"][0]["p99_ns"].as_f64().unwrap() >= stat["groups"][0]["p50_ns"].as_f64().unwrap());
    let edges = served.json("/v1/map");
    let calls = |edge: &&Json| edge["caller"] == "nginx" && edge["callee"] == "app" && edge["count"] == 3;
    assert_eq!(edges["edges"].as_array().unwrap().iter().filter(calls).count(), 1, "{edges}");
    assert_eq!(served.json("/v1/health")["store"]["stored"], 9);
    assert_eq!(served.json("/v1/openapi.json")["openapi"], "3.1.0");

    assert_eq!(served.json("/api/services")["data"], serde_json::json!(["app", "nginx"]));
    assert_eq!(served.json("/api/services/app/operations")["data"], serde_json::json!(["GET /cart"]));
    assert_eq!(served.json("/api/operations?service=nginx")["total"], 2);
    let jaeger = served.json(
        "/api/traces?service=nginx&operation=GET%20/shop/%7Bid%7D&limit=2&tags=%7B%22url.path%22%3A%22/shop/1%22%7D",
    );
    assert_eq!((&jaeger["data"][0]["traceID"], &jaeger["total"]), (&trace.clone().into(), &1.into()));
    let one = served.json(&format!("/api/traces/{trace}"));
    assert_eq!(one["data"][0]["spans"].as_array().unwrap().len(), 3);
    assert_eq!(
        served.json("/api/dependencies?endTs=99999999999999")["data"][0],
        serde_json::json!({
            "parent": "nginx", "child": "app", "callCount": 3
        })
    );
    let (status, body) = served.ask("/api/traces/1234");
    assert!(status == 404 && body.contains(r#""msg":"trace not found""#), "{body}");

    assert_eq!(served.json("/api/v2/services"), serde_json::json!(["app", "nginx"]));
    assert_eq!(served.json("/api/v2/spans?serviceName=app"), serde_json::json!(["get /cart"]));
    let zipkin = served.json("/api/v2/traces?serviceName=app&limit=5&endTs=99999999999999");
    assert_eq!(zipkin.as_array().unwrap().len(), 3);
    assert_eq!(served.json(&format!("/api/v2/trace/{trace}")).as_array().unwrap().len(), 3);
    assert_eq!(served.json(&format!("/api/v2/traceMany?traceIds={trace},1"))[0][0]["traceId"], trace);

    let (_, everything) = served.ask("/v1/spans");
    assert!(!everything.contains("hunter2") && everything.contains("/shop/<script>"));
    let deadline = Instant::now() + PATIENCE;
    loop {
        let (_, metrics) = served.ask("/metrics");
        let line = r#"http_server_request_duration_seconds_count{service_name="app",http_request_method="GET",url_scheme="http",http_route="/cart",http_response_status_code="200",network_protocol_version="1.1"} 3"#;
        if metrics.lines().any(|own| own == line) {
            break;
        }
        assert!(Instant::now() < deadline, "{metrics}");
    }
}

#[test]
fn who_watches_live_gets_what_the_filter_shows() {
    let (served, spans) = (served(None), shop());
    let mut stream = served.connect();
    write!(stream, "GET /v1/live?service=app HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut lines = BufReader::new(stream).lines().map(Result::unwrap);
    // The first comment says that spans from now on are seen.
    lines.by_ref().find(|line| line.starts_with(':')).expect("a beginning");
    served.fill(&spans);
    for _ in 0..3 {
        let data = lines.by_ref().find_map(|line| Some(line.strip_prefix("data: ")?.to_owned())).expect("an event");
        assert_eq!(serde_json::from_str::<Json>(&data).unwrap()["service"], "app");
    }
}

#[test]
fn requests_that_must_not_be_answered_are_not() {
    let open = served(None);
    open.fill(&shop());
    let with = |headers: &str| open.raw(&format!("GET /v1/spans HTTP/1.1\r\nConnection: close\r\n{headers}\r\n\r\n")).0;
    for (headers, expected) in [
        ("Host: localhost", 200),
        ("Host: evil.example", 403),
        ("Host: localhost\r\nOrigin: http://evil.example", 403),
        ("Host: localhost\r\nSec-Fetch-Site: cross-site", 403),
        ("Host: localhost\r\nHost: evil.example", 400),
        ("X: y", 400),
    ] {
        assert_eq!(with(headers), expected, "{headers}");
    }
    for (path, expected) in [
        ("/../../etc/passwd", 404),
        ("/v1/traces/..%2f..%2fetc%2fpasswd", 400),
        ("/v1/spans?limit=-1", 400),
        ("/v1/spans?colour=red", 400),
        ("/nothing", 404),
    ] {
        assert_eq!(open.ask(path).0, expected, "{path}");
    }
    assert_eq!(
        open.raw("POST /v1/spans HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 0\r\n\r\n").0,
        405
    );

    let token = "0123456789abcdef";
    let closed = served(Some(token));
    assert_eq!(closed.ask("/v1/spans").0, 401);
    assert_eq!(closed.ask("/healthz").0, 200);
    let carrying = |token: &str| {
        format!("GET /v1/spans HTTP/1.1\r\nHost: node\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\r\n")
    };
    assert_eq!((closed.raw(&carrying(token)).0, closed.raw(&carrying("x")).0), (200, 401));

    let everywhere = api::Config { listen: SocketAddr::from(([0, 0, 0, 0], 0)), token: None };
    assert!(matches!(api::start(&everywhere, None), Err(api::StartError::NeedsToken(_))));
}

#[test]
fn a_huge_query_and_slow_clients_harm_nobody() {
    let served = served(None);
    served.fill(&shop());
    // More connections than there are places, which say nothing.
    let silent: Vec<_> = (0..70).map(|_| served.connect()).collect();
    let mut huge = served.connect();
    huge.set_write_timeout(Some(PATIENCE)).unwrap();
    drop(silent);
    let _ = huge.write_all(b"GET /v1/spans?path=/");
    let (chunk, mut sent) = (vec![b'a'; 1 << 20], 0);
    // It ends the connection long before the 100 MB are there.
    while sent < 100 && huge.write_all(&chunk).is_ok() {
        sent += 1;
    }
    assert!(sent < 50, "{sent} MB were taken");
    // One that sends its head by and by is cut off, while others are served.
    let mut slow = served.connect();
    slow.write_all(b"GET /v1/spans HTTP/1.1\r\nHost: local").unwrap();
    assert_eq!(served.ask("/v1/spans").0, 200);
    let begun = Instant::now();
    let mut rest = Vec::new();
    let _ = slow.read_to_end(&mut rest);
    assert!(begun.elapsed() < PATIENCE, "a slow client may stay");
}

#[test]
fn who_sends_a_head_byte_by_byte_is_cut_off() {
    let served = served(None);
    let mut slow = served.connect();
    let begun = Instant::now();
    // Each byte comes in time; it is the whole that takes too long.
    let is_cut_off = "GET /v1/spans?path=/".bytes().chain([b'a'; 1000]).any(|byte| {
        std::thread::sleep(Duration::from_millis(100));
        slow.write_all(&[byte]).is_err() || begun.elapsed() > PATIENCE
    });
    assert!(is_cut_off && begun.elapsed() < PATIENCE, "it may go on for ever");
    assert_eq!(served.ask("/healthz").0, 200);
}

#[test]
fn who_does_not_read_what_was_asked_for_is_given_up() {
    let (served, spans) = (served(None), shop());
    // An answer that no buffers between the two ends can hold.
    let many: Vec<_> = spans.iter().cycle().take(20_000).cloned().collect();
    served.fill(&many);
    let mut lazy = served.connect();
    rustix::net::sockopt::set_socket_recv_buffer_size(&lazy, 4096).unwrap();
    lazy.write_all(b"GET /v1/spans?limit=10000 HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    std::thread::sleep(Duration::from_secs(45));
    assert_eq!(served.ask("/healthz").0, 200);
    let (mut head, mut taken) = ([0; 4096], 0_usize);
    let length = loop {
        let read = lazy.read(&mut head[taken..]).unwrap();
        taken += read;
        let text = String::from_utf8_lossy(&head[..taken]).to_lowercase();
        if let Some((before, body)) = text.split_once("\r\n\r\n") {
            let length = before.lines().find_map(|line| line.strip_prefix("content-length: ")).expect("a length");
            taken = body.len();
            break length.parse::<usize>().unwrap();
        }
    };
    let mut rest = Vec::new();
    let ended = lazy.read_to_end(&mut rest);
    let taken = taken + rest.len();
    assert!(taken < length, "all {length} bytes were kept for it ({ended:?})");
}

/// Directory for the child of [`killed_at_any_moment_the_store_lacks_at_most_the_last_second`].
const DIRECTORY: &str = "NETSPAN_TEST_KILLED_STORE";

#[test]
#[ignore = "the child process of another test"]
fn stores_until_it_is_killed() {
    let Some(dir) = std::env::var_os(DIRECTORY) else { return };
    let (store, spans) = (store::start(config(dir.as_ref())).unwrap(), shop());
    let span = Arc::clone(&spans[0]);
    for n in 1_u64.. {
        store.sink().give(Arc::clone(&span));
        // 20,000 a second.
        if n.is_multiple_of(100) {
            println!("offered {n} stored {}", store.stats().stored);
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

#[test]
fn killed_at_any_moment_the_store_lacks_at_most_the_last_second() {
    let kills: u32 = std::env::var("NETSPAN_TEST_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(5);
    let dir = tempfile::tempdir().unwrap();
    let (mut before, mut late, mut most_lost) = (0, 0, Duration::ZERO);
    for round in 0..kills {
        let mut child = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "served::stores_until_it_is_killed", "--nocapture"])
            .env(DIRECTORY, dir.path())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        // It lives between one and two seconds.
        let until = Duration::from_millis(1100 + u64::from(round) * 173 % 900);
        let (mut offered, mut begun, mut claimed) = (Vec::new(), None, 0);
        for line in lines.map_while(Result::ok) {
            let Some((n, stored)) = line.strip_prefix("offered ").and_then(|line| line.split_once(" stored ")) else {
                continue;
            };
            let (n, stored) = (n.parse::<u64>().unwrap(), stored.parse::<u64>().unwrap());
            claimed = stored;
            let begun = *begun.get_or_insert_with(Instant::now);
            offered.push((Instant::now(), n));
            if begun.elapsed() > until {
                break;
            }
        }
        let killed = Instant::now();
        child.kill().unwrap();
        child.wait().unwrap();
        let due = offered.iter().rev().find(|(at, _)| killed - *at >= Duration::from_secs(1)).map_or(0, |(_, n)| *n);
        let store = store::start(config(dir.path())).unwrap();
        assert!(store.flush(PATIENCE));
        let groups = store.reader().groups(&store::Query::default(), store::GroupBy::Service).unwrap();
        let found = groups.iter().map(|group| group.totals.count).sum::<u64>();
        assert!(due > 0 && found >= before + claimed, "round {round}: {found} found of {before} + {claimed} stored");
        late += u32::from(found < before + due);
        // The oldest span that is not there was offered between these two moments.
        let lost_since = offered.iter().find(|(_, n)| before + n > found).map_or(killed, |(at, _)| *at);
        most_lost = most_lost.max(killed - lost_since);
        assert_eq!(store.shutdown().partitions_damaged, 0);
        before = found;
    }
    println!("{kills} kills: at most the last {most_lost:?} were lost, more than a second {late} times");
    // On a machine whose disk is kept busy by others, a commit may come late now and then.
    assert!(late <= 1 + kills / 10, "in {late} of {kills} rounds more than the last second was lost");
}

#[test]
fn a_full_disk_is_counted_and_stalls_nobody() {
    use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
    let dir = tempfile::tempdir().unwrap();
    let options = c"size=3m";
    if let Err(error) = mount("tmpfs", dir.path(), "tmpfs", MountFlags::empty(), options) {
        eprintln!("skipped: no file system can be mounted here: {error}");
        return;
    }
    let store = store::start(config(&dir.path().join("store"))).unwrap();
    let spans = shop();
    let (mut longest, begun) = (Duration::ZERO, Instant::now());
    let mut random = 1_u64;
    for n in 0..150_000_usize {
        let mut span = Span::clone(&spans[n % spans.len()]);
        for byte in span.trace_id.0.iter_mut().chain(&mut span.span_id.0) {
            random = random.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
            *byte = (random >> 56) as u8;
        }
        let span = Arc::new(span);
        let offered = Instant::now();
        store.sink().offer(span);
        longest = longest.max(offered.elapsed());
        if n % 100 == 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
        // What a machine that is busy with others can't store in time would be dropped for that, and never fill the disk.
        while n % 1000 == 0 && store.stats().waiting > 5000 && begun.elapsed() < 2 * PATIENCE {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    assert!(store.flush(PATIENCE));
    let stats = store.stats();
    assert!(stats.dropped_disk_full > 0 && stats.stored > 0 && stats.waiting == 0, "{stats}");
    assert!(longest < Duration::from_millis(100) && begun.elapsed() < 3 * PATIENCE, "{longest:?}");
    assert!(!store.reader().search(&store::Query::default(), 10).unwrap().spans.is_empty());
    assert_eq!(stats.partitions_damaged, 0);
    store.shutdown();
    unmount(dir.path(), UnmountFlags::DETACH).unwrap();
}
