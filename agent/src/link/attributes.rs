//! Attributes of an HTTP span by the semantic conventions (schema 1.44), name and status. It shows only what the
//! allow-list let through, and claims nothing that was not seen.

use super::{
    rpc,
    target::Target,
    texts::{Place, Texts},
    tls,
};
use crate::{
    conn::{Family, Socket},
    protocol::{Exchange, Incomplete, Request, Version, http2},
    span::{Attribute, Kind, Text, Value, redact::is_listed},
};
use bytes::Bytes;
use std::{
    borrow::Cow,
    net::{IpAddr, Ipv6Addr},
    sync::Arc,
};

/// Methods that the semantic conventions know: RFC 9110, PATCH (RFC 5789) and QUERY.
const METHODS: [&str; 10] = ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "QUERY"];

/// Attributes that a span usually has, at most.
const USUAL: usize = 24;

/// A list of attributes in the making.
pub(super) struct List(pub(super) Vec<Attribute>);

impl List {
    pub(super) fn text(&mut self, name: &'static str, value: impl Into<Text>) {
        self.0.push((name.into(), Value::Text(value.into())));
    }
    pub(super) fn int(&mut self, name: &'static str, value: impl Into<i64>) {
        self.0.push((name.into(), Value::Int(value.into())));
    }
    fn end(&mut self, address: &'static str, port: &'static str, end: Option<&Place>) {
        if let Some((ip, number)) = end {
            self.text(address, Arc::clone(ip));
            self.int(port, *number);
        }
    }
}

/// The span's name: the method, for want of a route; of a call of gRPC its method.
pub(super) fn name(exchange: &Exchange) -> String {
    if let Some(name) = rpc::name(exchange) {
        return name;
    }
    exchange.request.as_ref().and_then(known_method).unwrap_or("HTTP").to_owned()
}

/// The value of `error.type`, if the span's status is an error: a client's from 400, a server's from 500, and an exchange
/// that ended without its answer. A call of gRPC is judged by its own status where that is known.
pub(super) fn error_type(kind: Kind, exchange: &Exchange) -> Option<Text> {
    if let Some(code) = http2::grpc_code(exchange) {
        return rpc::is_error(kind, code).then(|| rpc::code_name(code));
    }
    let from = if kind == Kind::Client { 400 } else { 500 };
    if let Some(status) = exchange.response.as_ref().map(|response| response.status).filter(|status| *status >= from) {
        return Some(status.to_string().into());
    }
    match (exchange.incomplete, exchange.reset) {
        (Some(Incomplete::Reset), Some(code)) => {
            Some(http2::reset_name(code).map_or_else(|| code.to_string().into(), Into::into))
        }
        (Some(why @ (Incomplete::Reset | Incomplete::Closed | Incomplete::Exited | Incomplete::Refused)), _) => {
            Some(why.name().into())
        }
        _ => None,
    }
}

/// Everything about the request, the response and the connection.
pub(super) fn http(kind: Kind, exchange: &Exchange, socket: &Socket, texts: &mut Texts) -> Vec<Attribute> {
    let mut list = List(Vec::with_capacity(USUAL));
    if let Some(request) = &exchange.request {
        method(&mut list, request);
        destination(&mut list, kind, request, socket, texts);
        if let Some(agent) = header(request, b"user-agent") {
            list.text("user_agent.original", texts.agent.shared(&agent));
        }
    }
    if let Some(response) = exchange.response.as_ref().filter(|response| response.status != 0) {
        list.int("http.response.status_code", response.status);
    }
    if let Some(version) =
        exchange.response.as_ref().map(|head| head.version).or(exchange.request.as_ref().map(|head| head.version))
    {
        list.text("network.protocol.name", "http");
        list.text(
            "network.protocol.version",
            match version {
                Version::Http10 => "1.0",
                Version::Http11 => "1.1",
                Version::Http2 => "2",
            },
        );
    }
    for (name, transfer) in [("http.request.body.size", exchange.sent), ("http.response.body.size", exchange.answered)]
    {
        if let Some(transfer) = transfer.filter(|_| exchange.incomplete.is_none()) {
            list.int(name, i64::try_from(transfer.size.body).unwrap_or(i64::MAX));
        }
    }
    rpc::attributes(&mut list, exchange);
    network(&mut list, kind, exchange, socket, texts);
    tls::attributes(&mut list, socket);
    captured(&mut list, "http.request.header.", exchange.request.as_ref().map(|head| &head.headers));
    captured(&mut list, "http.response.header.", exchange.response.as_ref().map(|head| &head.headers));
    list.0
}

/// The headers that were asked for: what is kept of a head beyond the allow-list. Repeated ones make one list.
fn captured(list: &mut List, prefix: &str, headers: Option<&Vec<(Bytes, Bytes)>>) {
    for (name, value) in headers.into_iter().flatten() {
        if is_listed(name) {
            continue;
        }
        let name = format!("{prefix}{}", lossy(name));
        match list.0.iter_mut().find(|(key, _)| *key == name) {
            Some((_, Value::List(values))) => values.push(lossy(value).into_owned()),
            _ => list.0.push((name.into(), Value::List(vec![lossy(value).into_owned()]))),
        }
    }
}

fn method(list: &mut List, request: &Request) {
    if request.method.is_empty() {
        return;
    }
    list.text("http.request.method", known_method(request).unwrap_or("_OTHER"));
    if known_method(request).is_none() {
        list.text("http.request.method_original", lossy(&request.method).into_owned());
    }
}

/// Scheme of the request; none if it should name one and what it names is not known.
fn scheme<'a>(request: &'a Request, target: &'a Target<'_>, socket: &Socket) -> Option<Cow<'a, str>> {
    let named = target.scheme.as_deref().map(Cow::Borrowed);
    let named = named.or_else(|| request.scheme.as_ref().map(lossy));
    let must_name = request.version == Version::Http2 && request.method.as_ref() != b"CONNECT";
    let assumed = if socket.tls { "https" } else { "http" };
    named.or_else(|| (!must_name).then_some(Cow::Borrowed(assumed)))
}

/// The scheme as text of a span; the usual ones are the program's own.
fn scheme_text(scheme: &str) -> Text {
    match scheme {
        "http" => "http".into(),
        "https" => "https".into(),
        other => other.to_owned().into(),
    }
}

/// Port of a scheme where neither the request nor the socket tells one.
fn default_port(scheme: Option<&str>) -> u16 {
    if scheme == Some("https") { 443 } else { 80 }
}

/// Where the request goes: `url.*` and `server.*`.
fn destination(list: &mut List, kind: Kind, request: &Request, socket: &Socket, texts: &mut Texts) {
    let target = Target::of(request);
    let scheme = scheme(request, &target, socket);
    let (host, port) = target.host_and_port();
    let end = if kind == Kind::Client { &texts.peer } else { &texts.local };
    let port = port.or(end.as_ref().map(|(_, port)| *port)).unwrap_or(default_port(scheme.as_deref()));
    let address = match (host, end) {
        (Some(host), _) => Some(texts.host.shared(host)),
        (None, Some((ip, _))) => Some(Arc::clone(ip).into()),
        (None, None) => None,
    };
    let has_target = !request.target.is_empty();
    if kind == Kind::Client {
        if let Some(scheme) = scheme.filter(|_| has_target) {
            list.text("url.full", full(&scheme, address.as_deref(), port, &target));
        }
    } else {
        if has_target {
            list.text("url.path", target.path.clone().into_owned());
        }
        if let Some(query) = &target.query {
            list.text("url.query", query.clone().into_owned());
        }
        if let Some(scheme) = scheme {
            list.text("url.scheme", scheme_text(&scheme));
        }
    }
    if let Some(address) = address {
        list.text("server.address", address);
        list.int("server.port", port);
    }
}

fn full(scheme: &str, address: Option<&str>, port: u16, target: &Target<'_>) -> String {
    let address = address.unwrap_or("localhost");
    let is_default = matches!(scheme, "http" | "https") && port == default_port(Some(scheme));
    let path = if target.path == "*" { "" } else { target.path.as_ref() };
    let query = target.query.as_deref();
    let mut url = String::with_capacity(scheme.len() + address.len() + path.len() + query.map_or(0, str::len) + 12);
    url.extend([scheme, "://"]);
    // Only an address of IPv6 has a colon.
    if address.contains(':') && address.parse::<Ipv6Addr>().is_ok() {
        url.extend(["[", address, "]"]);
    } else {
        url.push_str(address);
    }
    if !is_default {
        url.extend([":", &port.to_string()]);
    }
    url.push_str(path);
    if let Some(query) = query {
        url.extend(["?", query]);
    }
    url
}

/// The connection: `network.*`, and `client.*` for servers.
fn network(list: &mut List, kind: Kind, exchange: &Exchange, socket: &Socket, texts: &Texts) {
    match socket.family {
        Family::Unix => list.text("network.transport", "unix"),
        Family::Inet | Family::Inet6 => list.text("network.transport", "tcp"),
        Family::Unknown | Family::Other => {}
    }
    if let Some(connection) = &texts.connection {
        list.text("netspan.connection.id", Arc::clone(connection));
    }
    let is_counted = texts.connection.is_some() && socket.from_beginning();
    let number = exchange.stream().or_else(|| is_counted.then_some(exchange.ordinal));
    if let Some(number) = number.and_then(|number| i64::try_from(number).ok()) {
        list.int("netspan.connection.request", number);
    }
    list.end("network.peer.address", "network.peer.port", texts.peer.as_ref());
    list.end("network.local.address", "network.local.port", texts.local.as_ref());
    if kind == Kind::Server {
        let forwarded = exchange.request.as_ref().and_then(forwarded_for);
        match forwarded {
            Some(client) => list.text("client.address", client),
            None => list.end("client.address", "client.port", texts.peer.as_ref()),
        }
    }
}

/// The original client, where a proxy names it by a plain address (the first of `x-forwarded-for`).
fn forwarded_for(request: &Request) -> Option<String> {
    let list = header(request, b"x-forwarded-for")?;
    let first = list.split(',').next()?.trim();
    first.parse::<IpAddr>().ok().map(|address| address.to_canonical().to_string())
}

fn known_method(request: &Request) -> Option<&'static str> {
    METHODS.into_iter().find(|method| method.as_bytes() == request.method.as_ref())
}

fn header<'a>(request: &'a Request, name: &[u8]) -> Option<Cow<'a, str>> {
    request.headers.iter().find(|(key, _)| key.as_ref() == name).map(|(_, value)| lossy(value))
}

fn lossy(bytes: &Bytes) -> Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}
