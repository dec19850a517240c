//! HTTP/2 and gRPC between two processes of the host, from events to spans.

use crate::{
    dialogue::{End, Play},
    golden::attribute,
    recorded::{recorded, replayed},
};
use netspan::{
    protocol::detect::HTTP2_PREFACE,
    span::{Kind, Method, Span, Status},
};
use std::sync::Arc;

const CLIENT: u32 = 10;
const SERVER: u32 = 20;
pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;
/// An empty frame SETTINGS.
pub const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];

/// Two processes and a connection between them.
struct Talk {
    play: Play,
    client: (End, u32),
    server: (End, u32),
}

impl Talk {
    fn new(is_found: bool) -> Self {
        let mut play = Play::new();
        play.process(CLIENT, "client");
        play.process(SERVER, "server");
        let (client, server) = if is_found { play.found_pair(CLIENT, SERVER) } else { play.pair(CLIENT, SERVER) };
        Self { play, client: (client, CLIENT), server: (server, SERVER) }
    }

    fn ask(&mut self, frames: &[&[u8]]) {
        self.play.carry(self.client, self.server, &frames.concat());
    }

    fn answer(&mut self, frames: &[&[u8]]) {
        self.play.carry(self.server, self.client, &frames.concat());
    }

    fn spans(mut self) -> Vec<Arc<Span>> {
        self.play.close(self.client.0);
        self.play.close(self.server.0);
        let (replay, _) = replayed(&self.play, &recorded(&self.play));
        assert_eq!(replay, self.play.run(0.95), "a replay of its recording gives the same");
        self.play.spans()
    }
}

pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// HEADERS of literal fields without indexing.
fn headers(stream: u32, flags: u8, fields: &[(&str, &str)]) -> Vec<u8> {
    let text = |text: &str| [&[text.len() as u8], text.as_bytes()].concat();
    let block: Vec<u8> = fields.iter().flat_map(|(name, value)| [vec![0], text(name), text(value)].concat()).collect();
    frame(1, flags | END_HEADERS, stream, &block)
}

fn get(stream: u32, path: &str) -> Vec<u8> {
    let fields = [(":method", "GET"), (":scheme", "https"), (":authority", "shop.example"), (":path", path)];
    headers(stream, END_STREAM, &fields)
}

fn status(stream: u32, flags: u8, status: &str) -> Vec<u8> {
    headers(stream, flags, &[(":status", status)])
}

fn of(spans: &[Arc<Span>], kind: Kind) -> Vec<&Span> {
    spans.iter().filter(|span| span.kind == kind).map(|span| &**span).collect()
}

/// Each server's span is the child of the client's span with the same status.
fn assert_linked(spans: &[Arc<Span>]) {
    let clients = of(spans, Kind::Client);
    for server in of(spans, Kind::Server) {
        let same = |client: &&&Span| {
            attribute(client, "http.response.status_code") == attribute(server, "http.response.status_code")
        };
        let client = clients.iter().find(same).expect("a client's span");
        assert_eq!(server.parent, Some(client.span_id));
        assert_eq!(server.link.map(|link| link.method), Some(Method::Socket));
    }
}

#[test]
fn streams_of_one_line_are_linked_by_their_ids() {
    let mut talk = Talk::new(false);
    talk.ask(&[HTTP2_PREFACE, SETTINGS]);
    talk.answer(&[SETTINGS]);
    talk.ask(&[&get(1, "/same?a=b"), &get(3, "/same?a=b")]);
    talk.answer(&[&status(3, END_STREAM, "203")]);
    talk.answer(&[&status(1, END_STREAM, "201")]);
    let spans = talk.spans();
    assert_eq!((of(&spans, Kind::Client).len(), of(&spans, Kind::Server).len()), (2, 2));
    assert_linked(&spans);
    let (client, server) = (of(&spans, Kind::Client)[0], of(&spans, Kind::Server)[0]);
    assert_eq!((client.name.as_str(), client.status, client.incomplete), ("GET", Status::Unset, None));
    for (span, name, expected) in [
        (client, "url.full", "https://shop.example:8000/same?a=REDACTED"),
        (client, "network.protocol.version", "2"),
        (server, "url.scheme", "https"),
        (server, "url.path", "/same"),
        (server, "server.address", "shop.example"),
    ] {
        assert_eq!(attribute(span, name).as_deref(), Some(expected), "{name}");
    }
}

#[test]
fn a_stream_that_its_client_resets_before_the_server_reads_of_it_is_linked() {
    let mut talk = Talk::new(false);
    talk.ask(&[HTTP2_PREFACE, SETTINGS]);
    talk.answer(&[SETTINGS]);
    let (asked, reset) = (get(1, "/given-up"), frame(3, 0, 1, &[0, 0, 0, 8]));
    let ((client, sender), (server, receiver)) = (talk.client, talk.server);
    for frames in [&asked, &reset] {
        talk.play.send(client, sender, std::str::from_utf8(frames).expect("no byte above 127"), 0);
    }
    let both = [asked, reset].concat();
    talk.play.receive(server, receiver, std::str::from_utf8(&both).expect("no byte above 127"), 0);
    let spans = talk.spans();
    assert_eq!((of(&spans, Kind::Client).len(), of(&spans, Kind::Server).len()), (1, 1));
    assert_linked(&spans);
}

#[test]
fn a_preface_that_comes_in_parts_is_recognised() {
    let mut talk = Talk::new(false);
    let (first, rest) = HTTP2_PREFACE.split_at(7);
    talk.ask(&[first]);
    talk.ask(&[rest, SETTINGS, &get(1, "/a")]);
    talk.answer(&[SETTINGS, &status(1, END_STREAM, "200")]);
    let spans = talk.spans();
    assert_eq!(spans.len(), 2);
    assert_linked(&spans);
}

#[test]
fn a_server_may_greet_first() {
    let mut talk = Talk::new(false);
    talk.answer(&[SETTINGS]);
    talk.ask(&[HTTP2_PREFACE, SETTINGS, &get(1, "/")]);
    talk.answer(&[&status(1, END_STREAM, "200")]);
    let spans = talk.spans();
    assert_eq!(spans.len(), 2);
    assert_linked(&spans);
}

#[test]
fn a_connection_from_before_the_agent_is_recognised_by_its_frames() {
    let mut talk = Talk::new(true);
    talk.answer(&[b"payload of a frame that began before"]);
    talk.ask(&[&get(101, "/a")]);
    talk.answer(&[&status(101, END_STREAM, "200")]);
    let spans = talk.spans();
    assert_eq!(spans.len(), 2);
    assert_linked(&spans);
}

#[test]
fn a_long_stream_from_before_the_agent_does_not_hide_later_ones() {
    let mut talk = Talk::new(true);
    for _ in 0..40 {
        talk.ask(&[&frame(0, 0, 7, &[0, 0, 0, 0, 3, 1, 2, 3])]);
    }
    talk.ask(&[&get(9, "/a")]);
    talk.answer(&[&status(9, END_STREAM, "200")]);
    let spans = talk.spans();
    assert_eq!(spans.len(), 2);
    assert_linked(&spans);
}

#[test]
fn an_upgraded_request_is_answered_by_http2() {
    let mut talk = Talk::new(false);
    talk.ask(&[b"GET /old HTTP/1.1\r\nHost: h\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n"]);
    let switch = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n";
    talk.answer(&[switch, SETTINGS, &status(1, 0, "201")]);
    talk.ask(&[HTTP2_PREFACE, SETTINGS, &get(3, "/new")]);
    talk.answer(&[&frame(0, END_STREAM, 1, b"body"), &status(3, END_STREAM, "203")]);
    let spans = talk.spans();
    assert_eq!(spans.len(), 4, "{spans:#?}");
    assert_linked(&spans);
    let paths: Vec<_> = of(&spans, Kind::Server).iter().map(|span| attribute(span, "url.path")).collect();
    assert_eq!(paths, [Some("/old".to_owned()), Some("/new".to_owned())]);
    assert!(spans.iter().all(|span| span.incomplete.is_none()));
}

/// Both ends of a call of gRPC that finds nothing.
pub fn calls() -> Vec<Arc<Span>> {
    let mut talk = Talk::new(false);
    let call = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/shop.Cart/Add"),
        (":authority", "h"),
        ("content-type", "application/grpc"),
        ("grpc-timeout", "1S"),
    ];
    talk.ask(&[HTTP2_PREFACE, SETTINGS, &headers(1, 0, &call), &frame(0, END_STREAM, 1, &[0, 0, 0, 0, 1, 7])]);
    talk.answer(&[SETTINGS, &headers(1, 0, &[(":status", "200"), ("content-type", "application/grpc")])]);
    talk.answer(&[&frame(0, 0, 1, &[0; 10])]);
    talk.answer(&[&headers(1, END_STREAM, &[("grpc-status", "5"), ("grpc-message", "secret")])]);
    talk.spans()
}

#[test]
fn a_call_of_grpc_is_named_and_judged_by_its_own_terms() {
    let spans = calls();
    let (client, server) = (of(&spans, Kind::Client)[0], of(&spans, Kind::Server)[0]);
    for span in [client, server] {
        assert_eq!(span.name, "shop.Cart/Add");
        for (name, expected) in [
            ("rpc.system.name", "grpc"),
            ("rpc.method", "shop.Cart/Add"),
            ("rpc.response.status_code", "NOT_FOUND"),
            ("netspan.rpc.sent_messages", "1"),
            ("netspan.rpc.received_messages", "2"),
            ("netspan.rpc.deadline", "1000000000"),
        ] {
            assert_eq!(attribute(span, name).as_deref(), Some(expected), "{name}");
        }
        assert!(attribute(span, "netspan.time.first_message").is_some());
        assert!(!format!("{span:?}").contains("secret"));
    }
    assert_eq!((client.status, attribute(client, "error.type").as_deref()), (Status::Error, Some("NOT_FOUND")));
    assert_eq!((server.status, attribute(server, "error.type")), (Status::Unset, None));
}

#[test]
fn a_stream_that_was_reset_says_by_what() {
    let mut talk = Talk::new(false);
    talk.ask(&[HTTP2_PREFACE, SETTINGS, &get(1, "/")]);
    talk.answer(&[SETTINGS, &frame(3, 0, 1, &[0, 0, 0, 7])]);
    let spans = talk.spans();
    for span in &spans {
        assert_eq!((span.status, attribute(span, "error.type").as_deref()), (Status::Error, Some("refused_stream")));
        assert_eq!(span.incomplete, Some("reset"));
    }
    assert_eq!(spans.len(), 2);
}
