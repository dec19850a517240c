//! A span as Zipkin's JSON, version 2: for its read API and for export to it. Times are in microseconds.

use std::net::IpAddr;

use serde_json::{Map, Value as Json, json};

use super::{Kind, Span, Status, Value, json::kind_name};

/// A span as Zipkin's schema has it.
pub fn span(span: &Span) -> Json {
    let mut tags: Map<String, Json> =
        span.shown_attributes().map(|(name, value)| (name.to_owned(), text(&value).into())).collect();
    if span.status == Status::Error {
        let what = tags.get("error.type").cloned().unwrap_or_else(|| "true".into());
        tags.insert("error".to_owned(), what);
    }
    // The schema wants at least one microsecond.
    let duration = (span.end_ns.saturating_sub(span.start_ns) / 1000).max(1);
    let mut json = json!({
        "traceId": span.trace_id.to_string(),
        "id": span.span_id.to_string(),
        "kind": kind_name(span.kind),
        "name": span.name.to_lowercase(),
        "timestamp": (span.start_ns / 1000).max(1),
        "duration": duration,
        "localEndpoint": endpoint(span, "network.local", Some(&span.resource.service)),
        "tags": tags,
    });
    if let Some(parent) = span.parent {
        json["parentId"] = parent.to_string().into();
    }
    let called = if span.kind == Kind::Client { value(span, "server.address").map(text) } else { None };
    let remote = endpoint(span, "network.peer", called.as_deref());
    if remote.as_object().is_some_and(|fields| !fields.is_empty()) {
        json["remoteEndpoint"] = remote;
    }
    json
}

/// An end of a connection: `of` is what its attributes begin with.
fn endpoint(span: &Span, of: &str, service: Option<&str>) -> Json {
    let mut fields = Map::new();
    if let Some(service) = service {
        fields.insert("serviceName".to_owned(), service.to_lowercase().into());
    }
    // A Unix socket has a path, which has no place there.
    if let Some(Value::Text(address)) = value(span, &format!("{of}.address"))
        && let Ok(parsed) = address.parse::<IpAddr>()
    {
        let family = if parsed.is_ipv6() { "ipv6" } else { "ipv4" };
        fields.insert(family.to_owned(), address.as_ref().into());
    }
    if let Some(Value::Int(port @ 1..)) = value(span, &format!("{of}.port")) {
        fields.insert("port".to_owned(), (*port).into());
    }
    fields.into()
}

fn value<'a>(span: &'a Span, name: &str) -> Option<&'a Value> {
    span.attributes.iter().find(|(key, _)| key == name).map(|(_, value)| value)
}

fn text(value: &Value) -> String {
    match value {
        Value::Text(text) => text.to_string(),
        Value::Int(number) => number.to_string(),
        Value::Float(number) => number.to_string(),
        Value::Bool(truth) => truth.to_string(),
        Value::List(texts) => texts.join(","),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::span::sample;

    #[test]
    fn a_span_has_the_fields_of_the_schema_and_their_types() {
        let mut span = sample::server();
        span.attributes.push(("network.peer.address".into(), Value::Text("::1".into())));
        span.attributes.push(("network.peer.port".into(), Value::Int(9)));
        let json = super::span(&span);
        assert_eq!(json["traceId"], "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!((&json["kind"], &json["name"]), (&json!("SERVER"), &json!("get")));
        assert_eq!(json["localEndpoint"], json!({ "serviceName": "shop" }));
        assert_eq!(json["remoteEndpoint"], json!({ "ipv6": "::1", "port": 9 }));
        assert_eq!((&json["timestamp"], &json["duration"]), (&json!(1_735_689_600_123_456_u64), &json!(12_400)));
        let tags = json["tags"].as_object().expect("an object");
        assert!(tags.values().all(Json::is_string));
        assert_eq!((&tags["error"], &tags["http.response.status_code"]), (&json!("true"), &json!("503")));
        assert!(super::span(&sample::root()).get("parentId").is_none());
        span.attributes.retain(|(name, _)| !name.starts_with("network.peer"));
        span.attributes.push(("network.peer.address".into(), Value::Text("/run/shop.sock".into())));
        span.attributes.push(("network.peer.port".into(), Value::Int(0)));
        assert!(super::span(&span).get("remoteEndpoint").is_none(), "a path is no address, and no port is none");
    }
}
