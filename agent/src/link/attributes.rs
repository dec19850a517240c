//! Attributes of an HTTP span by the semantic conventions (schema 1.44), name and status. It shows only what the
//! allow-list let through, and claims nothing that was not seen.

use super::{rpc, target::Target, tls};
use crate::{
    conn::{Family, Socket},
    protocol::{Exchange, Incomplete, Request, Version, http2},
    span::{Attribute, Kind, Value, redact::ALLOWED},
};
use bytes::Bytes;
use std::{
    borrow::Cow,
    net::{IpAddr, SocketAddr},
};

/// Methods that the semantic conventions know: RFC 9110, PATCH (RFC 5789) and QUERY.
const METHODS: [&str; 10] = ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "QUERY"];
pub(super) type Text = Cow<'static, str>;

/// A list of attributes in the making.
pub(super) struct List(pub(super) Vec<Attribute>);

impl List {
    pub(super) fn text(&mut self, name: &'static str, value: impl Into<Text>) {
        self.0.push((name.into(), Value::Text(value.into())));
    }
    pub(super) fn int(&mut self, name: &'static str, value: impl Into<i64>) {
        self.0.push((name.into(), Value::Int(value.into())));
    }
    fn end(&mut self, address: &'static str, port: &'static str, end: Option<SocketAddr>) {
        if let Some(end) = end {
            self.text(address, end.ip().to_string());
            self.int(port, end.port());
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
pub(super) fn http(kind: Kind, exchange: &Exchange, socket: &Socket) -> Vec<Attribute> {
    let mut list = List(Vec::with_capacity(24));
    if let Some(request) = &exchange.request {
        method(&mut list, request);
        destination(&mut list, kind, request, socket);
        if let Some(agent) = header(request, b"user-agent") {
            list.text("user_agent.original", agent);
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
    network(&mut list, kind, exchange, socket);
    tls::attributes(&mut list, socket);
    captured(&mut list, "http.request.header.", exchange.request.as_ref().map(|head| &head.headers));
    captured(&mut list, "http.response.header.", exchange.response.as_ref().map(|head| &head.headers));
    list.0
}

/// The headers that were asked for: what is kept of a head beyond the allow-list. Repeated ones make one list.
fn captured(list: &mut List, prefix: &str, headers: Option<&Vec<(Bytes, Bytes)>>) {
    for (name, value) in headers.into_iter().flatten() {
        let name = String::from_utf8_lossy(name);
        if ALLOWED.contains(&name.as_ref()) {
            continue;
        }
        let name = format!("{prefix}{name}");
        match list.0.iter_mut().find(|(key, _)| *key == name) {
            Some((_, Value::List(values))) => values.push(lossy(value)),
            _ => list.0.push((name.into(), Value::List(vec![lossy(value)]))),
        }
    }
}

fn method(list: &mut List, request: &Request) {
    if request.method.is_empty() {
        return;
    }
    list.text("http.request.method", known_method(request).unwrap_or("_OTHER"));
    if known_method(request).is_none() {
        list.text("http.request.method_original", lossy(&request.method));
    }
}

/// Scheme of the request; none if it should name one and what it names is not known.
fn scheme(request: &Request, target: &Target<'_>, socket: &Socket) -> Option<String> {
    let named = target.scheme.as_deref().map(str::to_owned);
    let named = named.or_else(|| request.scheme.as_ref().map(lossy));
    let must_name = request.version == Version::Http2 && request.method.as_ref() != b"CONNECT";
    let assumed = if socket.tls { "https" } else { "http" };
    named.or_else(|| (!must_name).then(|| assumed.to_owned()))
}

/// Port of a scheme where neither the request nor the socket tells one.
fn default_port(scheme: Option<&str>) -> u16 {
    if scheme == Some("https") { 443 } else { 80 }
}

/// Where the request goes: `url.*` and `server.*`.
fn destination(list: &mut List, kind: Kind, request: &Request, socket: &Socket) {
    let target = Target::of(request);
    let scheme = scheme(request, &target, socket);
    let (host, port) = target.host_and_port();
    let end = if kind == Kind::Client { socket.peer } else { socket.local };
    let address = host.map(str::to_owned).or(end.map(|end| end.ip().to_string()));
    let port = port.or(end.map(|end| end.port())).unwrap_or(default_port(scheme.as_deref()));
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
            list.text("url.scheme", scheme);
        }
    }
    if let Some(address) = address {
        list.text("server.address", address);
        list.int("server.port", port);
    }
}

fn full(scheme: &str, address: Option<&str>, port: u16, target: &Target<'_>) -> String {
    let address = address.unwrap_or("localhost");
    let address = if address.parse::<IpAddr>().is_ok_and(|address| address.is_ipv6()) {
        format!("[{address}]")
    } else {
        address.to_owned()
    };
    let is_default = matches!(scheme, "http" | "https") && port == default_port(Some(scheme));
    let port = if is_default { String::new() } else { format!(":{port}") };
    let query = target.query.as_deref().map_or(String::new(), |query| format!("?{query}"));
    let path = if target.path == "*" { "" } else { target.path.as_ref() };
    format!("{scheme}://{address}{port}{path}{query}")
}

/// The connection: `network.*`, and `client.*` for servers.
fn network(list: &mut List, kind: Kind, exchange: &Exchange, socket: &Socket) {
    match socket.family {
        Family::Unix => list.text("network.transport", "unix"),
        Family::Inet | Family::Inet6 => list.text("network.transport", "tcp"),
        Family::Unknown | Family::Other => {}
    }
    list.end("network.peer.address", "network.peer.port", socket.peer);
    list.end("network.local.address", "network.local.port", socket.local);
    if kind == Kind::Server {
        let forwarded = exchange.request.as_ref().and_then(forwarded_for);
        match (forwarded, socket.peer) {
            (Some(client), _) => list.text("client.address", client),
            (None, peer) => list.end("client.address", "client.port", peer),
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

fn header(request: &Request, name: &[u8]) -> Option<String> {
    request.headers.iter().find(|(key, _)| key.as_ref() == name).map(|(_, value)| lossy(value))
}

fn lossy(bytes: &Bytes) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
