//! Spans against the semantic conventions: names that there are (each is a constant of the conventions' own crate, which makes
//! a name that is none, or is deprecated, an error of the compiler), and the attributes that each kind of span must have.
//!
//! The crate is at schema 1.42; of what came since, spans have nothing.

use std::{collections::BTreeSet, sync::Arc};

use netspan::span::{Kind, Span, Status, Value};
use netspan_ebpf::close;
use opentelemetry_semantic_conventions::attribute as name;

use crate::{
    dialogue::{Play, get},
    golden::attribute,
    http2::calls,
};

/// Type of an attribute's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Text,
    Int,
}

/// Attributes that spans may have, beside `netspan.*` and `http.request.header.*`, `http.response.header.*`.
const KNOWN: &[(&str, Form)] = &[
    (name::CLIENT_ADDRESS, Form::Text),
    (name::CLIENT_PORT, Form::Int),
    (name::ERROR_TYPE, Form::Text),
    (name::HTTP_REQUEST_BODY_SIZE, Form::Int),
    (name::HTTP_REQUEST_METHOD, Form::Text),
    (name::HTTP_REQUEST_METHOD_ORIGINAL, Form::Text),
    (name::HTTP_RESPONSE_BODY_SIZE, Form::Int),
    (name::HTTP_RESPONSE_STATUS_CODE, Form::Int),
    (name::HTTP_ROUTE, Form::Text),
    (name::NETWORK_LOCAL_ADDRESS, Form::Text),
    (name::NETWORK_LOCAL_PORT, Form::Int),
    (name::NETWORK_PEER_ADDRESS, Form::Text),
    (name::NETWORK_PEER_PORT, Form::Int),
    (name::NETWORK_PROTOCOL_NAME, Form::Text),
    (name::NETWORK_PROTOCOL_VERSION, Form::Text),
    (name::NETWORK_TRANSPORT, Form::Text),
    (name::RPC_METHOD, Form::Text),
    (name::RPC_METHOD_ORIGINAL, Form::Text),
    (name::RPC_RESPONSE_STATUS_CODE, Form::Text),
    (name::RPC_SYSTEM_NAME, Form::Text),
    (name::SERVER_ADDRESS, Form::Text),
    (name::SERVER_PORT, Form::Int),
    (name::TLS_NEXT_PROTOCOL, Form::Text),
    (name::TLS_PROTOCOL_NAME, Form::Text),
    (name::TLS_PROTOCOL_VERSION, Form::Text),
    (name::URL_FULL, Form::Text),
    (name::URL_PATH, Form::Text),
    (name::URL_QUERY, Form::Text),
    (name::URL_SCHEME, Form::Text),
    (name::USER_AGENT_ORIGINAL, Form::Text),
];

/// What a kind of span must have, whatever happened.
fn required(span: &Span) -> &'static [&'static str] {
    match (span.kind, has(span, name::RPC_SYSTEM_NAME)) {
        (Kind::Server, false) => &[name::HTTP_REQUEST_METHOD, name::URL_PATH, name::URL_SCHEME],
        (Kind::Client, false) => &[name::HTTP_REQUEST_METHOD, name::SERVER_ADDRESS, name::SERVER_PORT, name::URL_FULL],
        (_, true) => &[name::RPC_SYSTEM_NAME, name::RPC_METHOD, name::SERVER_ADDRESS, name::SERVER_PORT],
    }
}

fn has(span: &Span, name: &str) -> bool {
    attribute(span, name).is_some()
}

fn check(span: &Span) {
    let mut names = BTreeSet::new();
    for (name, value) in &span.attributes {
        assert!(names.insert(name), "{name} is there twice: {span:#?}");
        let own = ["netspan.", "http.request.header.", "http.response.header."];
        if own.iter().any(|prefix| name.starts_with(prefix)) {
            continue;
        }
        let form = KNOWN.iter().find(|(known, _)| known == name).map(|(_, form)| *form);
        let actual = match value {
            Value::Text(_) => Some(Form::Text),
            Value::Int(_) => Some(Form::Int),
            _ => None,
        };
        assert!(form.is_some() && form == actual, "{name}: {value:?}");
    }
    for name in required(span) {
        assert!(has(span, name), "{name} is missing: {span:#?}");
    }
    assert_eq!(span.status == Status::Error, has(span, name::ERROR_TYPE), "{span:#?}");
    assert_eq!(
        has(span, name::HTTP_REQUEST_METHOD_ORIGINAL),
        attribute(span, name::HTTP_REQUEST_METHOD).as_deref() == Some("_OTHER")
    );
    // Methods that the conventions do not know are `HTTP` in names.
    let method = attribute(span, name::HTTP_REQUEST_METHOD).unwrap_or_default().replace("_OTHER", "HTTP");
    let expected = match (attribute(span, name::RPC_METHOD), attribute(span, name::HTTP_ROUTE)) {
        (Some(rpc), _) => rpc,
        (None, Some(route)) => format!("{method} {route}"),
        (None, None) => method,
    };
    assert_eq!(span.name, expected);
    if let Some(route) = attribute(span, name::HTTP_ROUTE) {
        assert!(span.kind == Kind::Server && !route.contains(char::is_numeric) && !route.contains('?'), "{route}");
    }
}

/// Requests and answers of many kinds between two processes.
fn talk() -> Vec<Arc<Span>> {
    let mut play = Play::new();
    let (shop, cart) = (play.process(10, "shop"), play.process(20, "cart"));
    let (out, into) = play.pair(shop, cart);
    let mut say = |request: &str, response: &str| {
        play.carry((out, 10), (into, 20), request.as_bytes());
        play.carry((into, 20), (out, 10), response.as_bytes());
    };
    let ok = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    say(&get("/items/17?q=x", "User-Agent: test\r\n"), ok);
    say(&get("/items/18", "Traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n"), ok);
    say(&get("/nothing/19", ""), "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
    say(&get("/broken/20", ""), "HTTP/1.1 503 Sorry\r\nContent-Length: 0\r\n\r\n");
    say("BREW /pot/1 HTTP/1.1\r\nHost: shop.example\r\n\r\n", ok);
    say("OPTIONS * HTTP/1.1\r\nHost: shop.example\r\n\r\n", ok);
    say("POST http://other.example/form HTTP/1.0\r\nContent-Length: 3\r\nConnection: keep-alive\r\n\r\na=b", ok);
    // The last one is never answered.
    play.ask(out, 10, "/lost/21");
    play.hear(into, 20, "/lost/21");
    play.end(into, close::ERROR, 104);
    play.end(out, close::ERROR, 104);
    play.spans()
}

#[test]
fn spans_of_http_are_as_the_conventions_have_them() {
    let spans = talk();
    assert_eq!(spans.len(), 16);
    for span in &spans {
        check(span);
    }
    let of = |kind, path: &str| {
        let own = |span: &&Arc<Span>| {
            let url = attribute(span, if kind == Kind::Server { "url.path" } else { "url.full" });
            span.kind == kind && url.is_some_and(|url| url.ends_with(path))
        };
        spans.iter().find(own).expect(path)
    };
    for (path, name, server_fails, client_fails) in [
        ("/items/18", "GET /items/{id}", false, false),
        ("/nothing/19", "GET", false, true),
        ("/broken/20", "GET /broken/{id}", true, true),
        ("/pot/1", "HTTP /pot/{id}", false, false),
        ("/form", "POST /form", false, false),
        ("/lost/21", "GET", true, true),
    ] {
        let (server, client) = (of(Kind::Server, path), of(Kind::Client, path));
        assert_eq!(server.name, name);
        assert_eq!(
            (server.status == Status::Error, client.status == Status::Error),
            (server_fails, client_fails),
            "{path}"
        );
        assert_eq!(client.name, name.split(' ').next().unwrap_or_default(), "a client knows no route");
    }
    let sampled = |span: &Span| span.attributes.contains(&("netspan.context.sampled".into(), Value::Bool(true)));
    assert!(sampled(of(Kind::Server, "/items/18")) && !sampled(of(Kind::Server, "/items/17")));
}

#[test]
fn spans_of_grpc_are_as_the_conventions_have_them() {
    let spans = calls();
    assert!(spans.iter().filter(|span| has(span, name::RPC_SYSTEM_NAME)).count() >= 2);
    for span in &spans {
        check(span);
    }
}
