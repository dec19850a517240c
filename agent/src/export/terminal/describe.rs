//! What to say of a span, from its attributes: request, status, peer, link. It draws nothing.

use std::fmt::Write as _;

use super::{clean::clean, look::Paint};
use crate::span::{Kind, Link, Span, Status, Value};

/// The arrow of a kind: into the process, or out of it.
pub const fn arrow(kind: Kind) -> &'static str {
    match kind {
        Kind::Server => "◀",
        Kind::Client => "▶",
    }
}

/// The service's name.
pub fn service(span: &Span) -> String {
    if span.resource.service.is_empty() { "?".to_owned() } else { clean(&span.resource.service).into_owned() }
}

/// Method and path, else the name of the span.
pub fn request(span: &Span) -> String {
    let method = text(span, "http.request.method_original").or_else(|| text(span, "http.request.method"));
    let (Some(method), Some(path)) = (method, path(span)) else { return clean(&span.name).into_owned() };
    format!("{} {}", clean(method), clean(&path))
}

/// The path with its query: of `url.path` and `url.query`, else of `url.full`.
fn path(span: &Span) -> Option<String> {
    if let Some(path) = text(span, "url.path") {
        return Some(text(span, "url.query").map_or_else(|| path.to_owned(), |query| format!("{path}?{query}")));
    }
    let full = text(span, "url.full")?;
    let rest = full.split_once("://").map_or(full, |(_, rest)| rest);
    Some(rest.find(['/', '?']).map_or("/", |at| &rest[at..]).to_owned())
}

/// The status code, or `---` where there was no answer.
pub fn status(span: &Span) -> String {
    match (number(span, "http.response.status_code"), text(span, "rpc.response.status_code")) {
        (Some(code), _) => code.to_string(),
        (None, Some(code)) => clean(code).into_owned(),
        (None, None) => "---".to_owned(),
    }
}

/// The paint of the status.
pub fn status_paint(span: &Span) -> Paint {
    match (span.status, number(span, "http.response.status_code")) {
        (Status::Error, _) | (_, Some(500..)) => Paint::Error,
        (_, Some(300..500)) => Paint::Notice,
        (_, Some(_)) => Paint::Good,
        (_, None) => Paint::Warning,
    }
}

/// The other end: the name that a client asked for, else the address; with the port.
pub fn peer(span: &Span) -> String {
    let named = match span.kind {
        Kind::Client => pair(span, "server.address", "server.port"),
        Kind::Server => None,
    };
    let peer = named.or_else(|| pair(span, "network.peer.address", "network.peer.port"));
    match (peer, text(span, "network.transport")) {
        (Some(peer), _) => peer,
        (None, Some("unix")) => "unix socket".to_owned(),
        (None, _) => String::new(),
    }
}

fn pair(span: &Span, address: &str, port: &str) -> Option<String> {
    let address = clean(text(span, address)?);
    Some(match number(span, port) {
        Some(port) if address.contains(':') => format!("[{address}]:{port}"),
        Some(port) => format!("{address}:{port}"),
        None => address.into_owned(),
    })
}

/// How the parent was found: the method, and how sure that is unless it is certain.
pub fn link(link: Link) -> String {
    let mut said = link.method.name().to_owned();
    if link.confidence < 1.0 {
        write!(said, " {}", percent(link.confidence)).expect("text takes all writes");
    }
    said
}

/// A confidence in whole percent, never rounded up to certainty.
pub fn percent(confidence: f64) -> String {
    format!("{}%", (confidence.clamp(0.0, 1.0) * 100.0).floor())
}

/// The mark of a span that is not the whole truth.
pub fn mark(span: &Span) -> Option<String> {
    span.incomplete.map(|reason| format!("!{reason}"))
}

/// The text of an attribute.
pub fn text<'a>(span: &'a Span, name: &str) -> Option<&'a str> {
    match value(span, name)? {
        Value::Text(text) => Some(text),
        _ => None,
    }
}

/// The integer of an attribute.
pub fn number(span: &Span, name: &str) -> Option<i64> {
    match value(span, name)? {
        Value::Int(number) => Some(*number),
        _ => None,
    }
}

fn value<'a>(span: &'a Span, name: &str) -> Option<&'a Value> {
    span.attributes.iter().find(|(key, _)| key == name).map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::span::{Method, sample};

    fn with(kind: Kind, attributes: &[(&'static str, &'static str)]) -> Span {
        let attributes = attributes.iter().map(|&(name, text)| match text.parse() {
            Ok(number) => (name.into(), Value::Int(number)),
            Err(_) => (name.into(), Value::Text(text.into())),
        });
        Span { kind, attributes: attributes.collect(), ..sample::root() }
    }

    #[test]
    fn a_request_is_its_method_and_path() {
        let said = |attributes: &[_]| request(&with(Kind::Server, attributes));
        let get = ("http.request.method", "GET");
        assert_eq!(said(&[get, ("url.path", "/a"), ("url.query", "b=*")]), "GET /a?b=*");
        assert_eq!(said(&[get, ("url.full", "http://h:80/a?b")]), "GET /a?b");
        assert_eq!(said(&[get, ("url.full", "http://h:80")]), "GET /");
        assert_eq!(
            said(&[("http.request.method", "_OTHER"), ("http.request.method_original", "BREW"), ("url.path", "/\x1b")]),
            "BREW /\\u{1b}"
        );
        assert_eq!(said(&[get]), "GET");
    }

    #[test]
    fn a_peer_is_named_as_the_client_named_it() {
        let server = [("server.address", "db"), ("server.port", "80")];
        let network = [("network.peer.address", "::1"), ("network.peer.port", "5")];
        assert_eq!(peer(&with(Kind::Client, &[server, network].concat())), "db:80");
        assert_eq!(peer(&with(Kind::Server, &[server, network].concat())), "[::1]:5");
        assert_eq!(peer(&with(Kind::Server, &[("network.transport", "unix")])), "unix socket");
        assert_eq!(peer(&with(Kind::Server, &[])), "");
    }

    #[test]
    fn a_link_is_never_shown_surer_than_it_is() {
        assert_eq!(link(Link { method: Method::Socket, confidence: 1.0 }), "socket");
        assert_eq!(link(Link { method: Method::Exclusive, confidence: 0.999 }), "exclusive 99%");
    }

    #[test]
    fn a_span_without_an_answer_shows_no_status() {
        let span = with(Kind::Client, &[]);
        assert_eq!((status(&span).as_str(), status_paint(&span)), ("---", Paint::Warning));
        let failed = with(Kind::Client, &[("http.response.status_code", "404")]);
        assert_eq!(status_paint(&failed), Paint::Notice);
        assert_eq!(status_paint(&Span { status: Status::Error, ..failed }), Paint::Error);
    }
}
