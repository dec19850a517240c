//! The watch against an API server: a real one of TLS and HTTP/1.1, whose answers each test writes itself, byte by byte where it matters.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::{
        Arc,
        mpsc::{Receiver, channel},
    },
    time::{Duration, Instant},
};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, SanType};
use rustls::{ServerConfig, ServerConnection, StreamOwned, pki_types::PrivateKeyDer};
use serde_json::{Value as Json, json};
use tempfile::TempDir;

use super::*;

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// An API server, and the files of a service account.
struct Server {
    directory: TempDir,
    cluster: Cluster,
    asked: Receiver<Asked>,
}

/// A request, to be answered.
struct Asked {
    path: String,
    token: String,
    stream: StreamOwned<ServerConnection, TcpStream>,
}

/// A watch that goes on. Dropping it cuts the connection.
struct Events(StreamOwned<ServerConnection, TcpStream>);

impl Server {
    fn start() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let (authority, config) = identity();
        fs::write(directory.path().join("ca.crt"), authority).expect("a file");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let (sender, asked) = channel();
        std::thread::spawn(move || {
            for socket in listener.incoming() {
                let (socket, config, sender) = (socket.expect("a connection"), Arc::clone(&config), sender.clone());
                std::thread::spawn(move || {
                    socket.set_read_timeout(Some(PATIENCE)).expect("a time-out");
                    let tls = ServerConnection::new(config).expect("TLS");
                    if let Some(asked) = Asked::read(StreamOwned::new(tls, socket)) {
                        let _ = sender.send(asked);
                    }
                });
            }
        });
        let server = Self {
            cluster: Cluster {
                url: format!("https://{address}"),
                token: directory.path().join("token"),
                authority: directory.path().join("ca.crt"),
                node: "node-a".to_owned(),
                wanted: Wanted::default(),
            },
            directory,
            asked,
        };
        server.set_token("token-one");
        server
    }

    fn set_token(&self, token: &str) {
        fs::write(self.directory.path().join("token"), format!("{token}\n")).expect("a file");
    }

    fn watch(&self) -> Watch {
        Watch::start(self.cluster.clone()).expect("a thread")
    }

    fn next(&self) -> Asked {
        self.asked.recv_timeout(PATIENCE).expect("a request")
    }

    /// Answers a list that is asked for with these pods, and the watch after it.
    fn list(&self, version: &str, pods: &[Json]) -> Events {
        let asked = self.next();
        assert!(asked.is_list(), "{}", asked.path);
        asked.answer(200, &page(version, None, pods).to_string());
        self.watched(version)
    }

    /// Takes the watch from a version.
    fn watched(&self, version: &str) -> Events {
        let asked = self.next();
        assert!(asked.path.contains(&format!("&resourceVersion={version}&")), "{}", asked.path);
        asked.events()
    }
}

impl Asked {
    fn read(mut stream: StreamOwned<ServerConnection, TcpStream>) -> Option<Self> {
        let (mut head, mut byte) = (Vec::new(), [0]);
        while !head.ends_with(b"\r\n\r\n") {
            stream.read_exact(&mut byte).ok()?;
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).expect("text");
        let path = head.strip_prefix("GET ")?.split(' ').next()?.to_owned();
        let token = head.lines().find_map(|line| line.strip_prefix("authorization: Bearer ")).unwrap_or_default();
        Some(Self { path, token: token.to_owned(), stream })
    }

    fn is_list(&self) -> bool {
        self.path.starts_with("/api/v1/pods?fieldSelector=spec.nodeName%3Dnode-a&limit=")
    }

    fn answer(self, status: u16, body: &str) {
        self.answer_with(status, "", body);
    }

    fn answer_with(mut self, status: u16, headers: &str, body: &str) {
        let length = body.len();
        let head = format!(
            "HTTP/1.1 {status} x\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n{headers}connection: close\r\n\r\n"
        );
        let _ = self.stream.write_all(head.as_bytes()).and_then(|()| self.stream.write_all(body.as_bytes()));
        self.stream.conn.send_close_notify();
        let _ = self.stream.flush();
    }

    fn events(mut self) -> Events {
        assert!(self.path.contains("&watch=true&allowWatchBookmarks=true&"), "{}", self.path);
        let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
        self.stream.write_all(head.as_bytes()).expect("written");
        Events(self.stream)
    }
}

impl Events {
    fn raw(&mut self, text: &str) {
        self.0.write_all(format!("{:x}\r\n{text}\r\n", text.len()).as_bytes()).expect("written");
        self.0.flush().expect("written");
    }

    fn tell(&mut self, kind: &str, object: &Json) {
        self.raw(&format!("{}\n", json!({ "type": kind, "object": object })));
    }

    fn bookmark(&mut self, version: &str) {
        self.tell("BOOKMARK", &json!({ "kind": "Pod", "metadata": { "resourceVersion": version } }));
    }

    fn end(mut self) {
        let _ = self.0.write_all(b"0\r\n\r\n");
        self.0.conn.send_close_notify();
        let _ = self.0.flush();
    }
}

/// An authority as PEM, and a server's configuration with a certificate that it signed.
fn identity() -> (String, Arc<ServerConfig>) {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().expect("a key");
    let authority = params.self_signed(&key).expect("an authority");
    let issuer = Issuer::new(params, key);
    let mut params = CertificateParams::new(Vec::new()).expect("no names");
    params.subject_alt_names.push(SanType::IpAddress([127, 0, 0, 1].into()));
    let key = KeyPair::generate().expect("a key");
    let signed = params.signed_by(&key, &issuer).expect("a certificate");
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![signed.der().clone()], PrivateKeyDer::Pkcs8(key.serialize_der().into()))
        .expect("an identity");
    (authority.pem(), Arc::new(config))
}

/// A pod named `name` with one container, whose id is the UID with a `c` before it.
fn pod(uid: &str, name: &str, version: &str) -> Json {
    json!({
        "metadata": { "uid": uid, "name": name, "namespace": "shop", "resourceVersion": version },
        "spec": { "nodeName": "node-a" },
        "status": { "phase": "Running", "containerStatuses": [{ "name": "app", "containerID": format!("containerd://c{uid}") }] },
    })
}

fn page(version: &str, rest: Option<&str>, pods: &[Json]) -> Json {
    json!({ "kind": "PodList", "metadata": { "resourceVersion": version, "continue": rest }, "items": pods })
}

/// What a container's service is called.
fn name(pods: &Pods, container: &str) -> Option<String> {
    Some(lock(&pods.0.table).find(Some(container), None)?.service)
}

fn count(pods: &Pods, name: &str) -> u64 {
    pods.counted().into_iter().find(|(key, _)| *key == name).expect("a counter").1
}

/// Waits until something is so.
fn until(what: &str, is_so: impl Fn() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < end, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn pods_are_listed_page_by_page_and_watched_from_there() {
    let server = Server::start();
    let watch = server.watch();
    let pods = watch.pods();
    let asked = server.next();
    assert_eq!((asked.path.ends_with("&limit=100"), asked.token.as_str()), (true, "token-one"));
    asked.answer(200, &page("10", Some("a+b/="), &[pod("1", "cart", "3")]).to_string());
    let asked = server.next();
    assert!(asked.path.ends_with("&limit=100&continue=a%2Bb%2F%3D"), "{}", asked.path);
    assert_eq!(name(&pods, "c1"), None, "half a list is none");
    asked.answer(200, &page("10", None, &[pod("2", "orders", "4")]).to_string());
    let mut events = server.watched("10");
    pods.wait(PATIENCE);
    assert_eq!((name(&pods, "c1").as_deref(), name(&pods, "c2").as_deref()), (Some("cart"), Some("orders")));

    let before = pods.generation();
    events.tell("ADDED", &pod("3", "stock", "11"));
    until("a pod that is new", || name(&pods, "c3").is_some());
    assert!(pods.generation() > before);
    let before = pods.generation();
    events.tell("MODIFIED", &pod("3", "stock", "12"));
    until("the event", || count(&pods, "events") == 2);
    assert_eq!(pods.generation(), before, "nothing that is kept has changed");
    events.tell("DELETED", &pod("1", "cart", "13"));
    until("a pod that is gone", || name(&pods, "c1").is_none());
    events.bookmark("20");
    until("the bookmark", || count(&pods, "bookmarks") == 1);
    assert_eq!((pods.state(), count(&pods, "watching"), count(&pods, "pods")), (State::Watching, 1, 2));
    events.end();
    let _events = server.watched("20");
    assert_eq!((count(&pods, "lists"), count(&pods, "pages"), count(&pods, "failed")), (1, 2, 0));
}

#[test]
fn a_name_that_is_used_again_is_another_pods() {
    let server = Server::start();
    let watch = server.watch();
    let pods = watch.pods();
    let mut events = server.list("1", &[pod("1", "db-0", "1")]);
    events.tell("DELETED", &pod("1", "db-0", "2"));
    events.tell("ADDED", &pod("2", "db-0", "3"));
    until("the new pod", || name(&pods, "c2").is_some());
    assert_eq!(name(&pods, "c1"), None);
    let found = pods.find(Some("c2"), None).expect("not busy").expect("known");
    assert_eq!(found.get("k8s.pod.uid"), Some("2"));
}

#[test]
fn what_the_api_server_has_forgotten_is_listed_anew() {
    let server = Server::start();
    let watch = server.watch();
    let pods = watch.pods();
    let mut events = server.list("1", &[pod("1", "cart", "1")]);
    let gone = json!({ "kind": "Status", "status": "Failure", "code": 410, "reason": "Expired", "message": "too old" });
    events.tell("ERROR", &gone);
    let mut events = server.list("50", &[pod("2", "orders", "40")]);
    until("the new list", || name(&pods, "c2").is_some());
    assert_eq!(name(&pods, "c1"), None, "it went while nobody looked");
    events.bookmark("60");
    until("the bookmark", || count(&pods, "bookmarks") == 1);
    events.end();
    let asked = server.next();
    assert!(asked.path.contains("resourceVersion=60&"), "{}", asked.path);
    asked.answer(410, &gone.to_string());
    let _events = server.list("70", &[]);
    until("the new list", || count(&pods, "pods") == 0 && pods.state() == State::Watching);
    assert_eq!((count(&pods, "gone"), count(&pods, "lists")), (2, 3));
}

#[test]
fn a_version_that_the_api_server_never_gets_to_know_is_given_up() {
    let server = Server::start();
    let watch = server.watch();
    let pods = watch.pods();
    let mut events = server.list("1000", &[pod("1", "cart", "1")]);
    events.tell(
        "ERROR",
        &json!({ "kind": "Status", "status": "Failure", "code": 504, "message": "Too large resource version" }),
    );
    let mut watches = 1;
    let asked = loop {
        let asked = server.next();
        if asked.is_list() {
            break asked;
        }
        watches += 1;
        asked.answer(504, r#"{"code":504,"message":"Too large resource version"}"#);
    };
    assert_eq!(watches, 4);
    asked.answer(200, &page("7", None, &[pod("2", "orders", "2")]).to_string());
    let _events = server.watched("7");
    until("the new list", || name(&pods, "c2").is_some() && pods.state() == State::Watching);
}

#[test]
fn a_token_that_was_replaced_is_read_again() {
    let server = Server::start();
    let watch = server.watch();
    let pods = watch.pods();
    let asked = server.next();
    assert_eq!(asked.token, "token-one");
    asked.answer(401, r#"{"kind":"Status","code":401,"message":"Unauthorized"}"#);
    pods.wait(PATIENCE);
    until("the refusal", || matches!(pods.state(), State::Refused(_)));
    let why = pods.to_json()["reason"].to_string();
    assert!(why.contains("HTTP 401: Unauthorized") && !why.contains("token-one"), "{why}");
    server.set_token("token-two");
    let asked = server.next();
    assert_eq!(asked.token, "token-two");
    asked.answer(200, &page("1", None, &[pod("1", "cart", "1")]).to_string());
    let _events = server.watched("1");
    until("the pods", || pods.state() == State::Watching);
    assert_eq!((count(&pods, "refused"), count(&pods, "failed")), (1, 1));
}

#[test]
fn a_right_that_is_missing_is_told_with_what_to_do() {
    let server = Server::start();
    let watch = server.watch();
    let pods = watch.pods();
    let words = "pods is forbidden: User \\\"system:serviceaccount:netspan:netspan\\\" cannot list resource\\u001b[31m";
    server.next().answer(403, &format!(r#"{{"kind":"Status","code":403,"message":"{words}"}}"#));
    pods.wait(PATIENCE);
    let why = pods.to_json()["reason"].as_str().expect("a reason").to_owned();
    assert!(why.contains("cannot list resource") && why.contains("ClusterRole with list and watch"), "{why}");
    assert!(!why.contains(char::is_control), "{why:?}");
    assert_eq!(pods.find(Some("c1"), None), Ok(None), "who asks is answered all the same");
    let _events = server.list("1", &[pod("1", "cart", "1")]);
    until("the pods", || pods.state() == State::Watching && name(&pods, "c1").is_some());
}

#[test]
fn a_connection_cut_within_an_object_is_taken_up_where_it_was() {
    let server = Server::start();
    let watch = server.watch();
    let pods = watch.pods();
    let mut events = server.list("1", &[pod("1", "cart", "1")]);
    events.tell("ADDED", &pod("2", "orders", "5"));
    until("the first pod", || name(&pods, "c2").is_some());
    let text = json!({ "type": "ADDED", "object": pod("3", "stock", "6") }).to_string();
    events.raw(&text[..text.len() / 2]);
    drop(events);
    let mut events = server.watched("5");
    assert_eq!(name(&pods, "c3"), None);
    events.tell("ADDED", &pod("3", "stock", "6"));
    until("the pod", || name(&pods, "c3").is_some());
    assert_eq!((count(&pods, "lists"), count(&pods, "failed"), count(&pods, "garbled")), (1, 1, 0));
    assert_eq!(pods.state(), State::Watching);
}

#[test]
fn garbage_is_counted_and_listed_over() {
    let server = Server::start();
    let watch = server.watch();
    let pods = watch.pods();
    server.next().answer(200, "{\"items\": [hunter2");
    until("the failure", || matches!(pods.state(), State::Failing(_)));
    let why = pods.to_json()["reason"].to_string();
    assert!(why.contains("can't be read") && !why.contains("hunter2"), "{why}");
    let mut events = server.list("1", &[pod("1", "cart", "1"), json!({ "metadata": { "name": "no-uid" } })]);
    until("the pods", || name(&pods, "c1").is_some());
    assert_eq!(count(&pods, "garbled"), 1);
    events.raw("\n\u{fffd}\u{0}garbage}\n");
    let mut events = server.list("9", &[pod("2", "orders", "8")]);
    until("the new list", || name(&pods, "c2").is_some());
    events.tell("SURPRISE", &pod("3", "stock", "10"));
    events.tell("ADDED", &json!({ "metadata": { "name": "no-uid", "resourceVersion": "11" } }));
    events.bookmark("12");
    until("the bookmark", || count(&pods, "bookmarks") == 1);
    assert_eq!((name(&pods, "c3"), count(&pods, "garbled"), count(&pods, "lists")), (None, 3, 2));
}

#[test]
fn an_event_that_is_too_long_is_left_out_and_the_next_is_not() {
    let server = Server::start();
    let watch = server.watch();
    let pods = watch.pods();
    let mut events = server.list("1", &[]);
    let mut huge = pod("1", "huge", "2");
    huge["metadata"]["annotations"] = json!({ "x": "y".repeat(watcher::EVENT_MAX) });
    events.tell("ADDED", &huge);
    events.tell("ADDED", &pod("2", "cart", "3"));
    until("the next pod", || name(&pods, "c2").is_some());
    assert_eq!((name(&pods, "c1"), count(&pods, "oversized"), count(&pods, "lists")), (None, 1, 1));
}

#[test]
fn pods_that_are_too_long_together_are_listed_one_by_one() {
    let server = Server::start();
    let watch = server.watch();
    let pods = watch.pods();
    server.next().answer(200, &"x".repeat(client::PAGE_MAX + 1));
    let asked = server.next();
    assert!(asked.path.ends_with("&limit=1"), "{}", asked.path);
    asked.answer(200, &page("1", Some("more"), &[pod("1", "cart", "1")]).to_string());
    let asked = server.next();
    assert!(asked.path.ends_with("&limit=1&continue=more"), "{}", asked.path);
    asked.answer(200, &page("1", None, &[]).to_string());
    let _events = server.watched("1");
    until("the pod", || name(&pods, "c1").is_some());
    assert_eq!(count(&pods, "failed"), 0);
}

#[test]
fn thousands_of_pods_are_bounded_and_counted() {
    const PODS: usize = 5000;
    let server = Server::start();
    let watch = server.watch();
    let pods = watch.pods();
    for n in 0..PODS / 100 {
        let all: Vec<_> = (0..100).map(|i| pod(&format!("{}", n * 100 + i), "cart", "1")).collect();
        let rest = (n + 1 < PODS / 100).then_some("more");
        server.next().answer(200, &page("1", rest, &all).to_string());
    }
    let mut events = server.watched("1");
    until("the list", || count(&pods, "lists") == 1);
    let held = (count(&pods, "pods"), count(&pods, "containers"), count(&pods, "pods_cut"));
    assert_eq!(held, (PODS_MAX as u64, PODS_MAX as u64, (PODS - PODS_MAX) as u64));
    events.tell("ADDED", &pod("new", "orders", "2"));
    until("the pod is counted", || count(&pods, "pods_cut") == (PODS - PODS_MAX) as u64 + 1);
    events.tell("DELETED", &pod("7", "cart", "3"));
    events.tell("MODIFIED", &pod("new", "orders", "4"));
    until("there is room", || name(&pods, "cnew").is_some());
}

#[test]
fn a_server_that_does_not_answer_holds_nobody_up() {
    let server = Server::start();
    let watch = server.watch();
    let pods = watch.pods();
    let _silent = server.next();
    let begun = Instant::now();
    assert_eq!((pods.find(Some("c1"), Some("u")), pods.state()), (Ok(None), State::Starting));
    pods.wait(Duration::from_millis(50));
    drop(watch);
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}

#[test]
fn a_list_that_trickles_in_is_waited_for_and_a_watch_that_says_nothing_is_one() {
    let server = Server::start();
    let watch = server.watch();
    let pods = watch.pods();
    let mut asked = server.next();
    let body = page("1", None, &[pod("1", "cart", "1")]).to_string();
    let text = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len());
    for piece in text.as_bytes().chunks(16) {
        asked.stream.write_all(piece).expect("written");
        std::thread::sleep(Duration::from_millis(5));
    }
    let _silent = server.watched("1");
    until("the watch", || pods.state() == State::Watching);
    assert_eq!(name(&pods, "c1").as_deref(), Some("cart"));
}

#[test]
fn a_server_that_ends_every_watch_at_once_is_not_asked_without_end() {
    let server = Server::start();
    let watch = server.watch();
    server.list("1", &[]).end();
    let (mut asked, end) = (0, Instant::now() + Duration::from_secs(2));
    while Instant::now() < end {
        if let Ok(one) = server.asked.recv_timeout(Duration::from_millis(100)) {
            one.events().end();
            asked += 1;
        }
    }
    // Delays of at most 0.5, 1, 2, 4 s on average half of that: some requests, not hundreds.
    assert!((1..20).contains(&asked), "{asked}");
    drop(watch);
}

#[test]
fn a_server_that_is_busy_is_left_alone_as_long_as_it_asks() {
    let server = Server::start();
    let watch = server.watch();
    server.next().answer_with(429, "retry-after: 2\r\n", r#"{"code":429,"message":"too many requests"}"#);
    let begun = Instant::now();
    let asked = server.next();
    assert!(begun.elapsed() >= Duration::from_millis(1900), "{:?}", begun.elapsed());
    drop((asked, watch));
}

#[test]
fn a_server_that_the_authority_does_not_vouch_for_gets_no_token() {
    let server = Server::start();
    fs::write(server.directory.path().join("ca.crt"), identity().0).expect("a file");
    let watch = server.watch();
    let pods = watch.pods();
    pods.wait(PATIENCE);
    let why = pods.to_json()["reason"].to_string();
    assert!(why.contains("certificate"), "{why}");
    assert!(server.asked.try_recv().is_err(), "nothing was asked");
}

#[test]
fn files_that_are_missing_are_named_and_looked_for_again() {
    let server = Server::start();
    let token = server.directory.path().join("token");
    fs::remove_file(&token).expect("removed");
    let watch = server.watch();
    let pods = watch.pods();
    pods.wait(PATIENCE);
    let why = pods.to_json()["reason"].as_str().expect("a reason").to_owned();
    assert!(why.starts_with(&token.display().to_string()), "{why}");
    server.set_token("token-two");
    assert_eq!(server.next().token, "token-two");
}

#[test]
fn the_doctor_lists_once() {
    let server = Server::start();
    let cluster = server.cluster.clone();
    let looking = std::thread::spawn(move || look(&cluster, PATIENCE).expect("a runtime"));
    server.next().answer(200, &page("1", None, &[pod("1", "cart", "1")]).to_string());
    let pods = looking.join().expect("sound");
    assert_eq!((pods.state(), name(&pods, "c1").as_deref()), (State::Watching, Some("cart")));
    assert_eq!(look(&server.cluster, Duration::from_millis(50)).expect("a runtime").state().name(), "failing");
}
