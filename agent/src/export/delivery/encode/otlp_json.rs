//! A span and its resource as OTLP's JSON: ids in hexadecimal, enums as numbers, integers of 64 bits as texts.
//!
//! Source: OTLP specification, "JSON Protobuf Encoding". Names of fields are those of `trace.proto` in lowerCamelCase.

use super::otlp::{self, SCHEMA_URL, SCOPE_NAME, SCOPE_VERSION};
use crate::span::{Attribute, Resource, Span, SpanId, SpanLink, Status, TraceId, Value};

/// What comes before all groups.
pub const BEGIN: &[u8] = b"{\"resourceSpans\":[";
/// What comes after all groups.
pub const END: &[u8] = b"]}";
/// Most bytes that a group takes beside its resource and its spans, with what is around all groups: the fixed text of
/// [`group`] is shorter.
pub const OVERHEAD: usize = 160 + SCOPE_NAME.len() + SCOPE_VERSION.len() + 2 * SCHEMA_URL.len();

/// Appends a group: an encoded resource, and its spans with commas between them.
pub fn group(out: &mut Vec<u8>, is_first: bool, resource: &[u8], spans: &[u8]) {
    if !is_first {
        out.push(b',');
    }
    raw(out, "{\"resource\":");
    out.extend_from_slice(resource);
    raw(out, ",\"scopeSpans\":[{\"scope\":{\"name\":");
    text(out, SCOPE_NAME);
    raw(out, ",\"version\":");
    text(out, SCOPE_VERSION);
    raw(out, "},\"spans\":[");
    out.extend_from_slice(spans);
    raw(out, "],\"schemaUrl\":");
    text(out, SCHEMA_URL);
    raw(out, "}],\"schemaUrl\":");
    text(out, SCHEMA_URL);
    raw(out, "}");
}

/// Appends a resource.
pub fn resource(out: &mut Vec<u8>, resource: &Resource, common: &[Attribute]) {
    raw(out, "{\"attributes\":");
    list(out, otlp::resource_attributes(resource, common), |out, (name, value)| attribute(out, name, &value));
    raw(out, "}");
}

/// Appends a span.
pub fn span(out: &mut Vec<u8>, span: &Span) {
    // Destructured as a whole, so that a new field of the span is decided about here.
    let Span {
        trace_id,
        span_id,
        parent,
        parent_is_remote,
        trace_state,
        kind,
        name,
        start_ns,
        end_ns,
        status,
        resource: _,
        pid: _,
        // These are among the attributes.
        tid: _,
        incomplete: _,
        link,
        links,
        attributes: _,
    } = span;
    ids(out, *trace_id, *span_id);
    if !trace_state.is_empty() {
        raw(out, ",\"traceState\":");
        text(out, trace_state);
    }
    if let Some(parent) = parent {
        raw(out, ",\"parentSpanId\":\"");
        out.extend_from_slice(&parent.hex());
        raw(out, "\"");
    }
    raw(out, ",\"name\":");
    text(out, name);
    raw(out, ",\"kind\":");
    integer(out, otlp::kind_number(*kind));
    raw(out, ",\"startTimeUnixNano\":\"");
    integer(out, *start_ns);
    raw(out, "\",\"endTimeUnixNano\":\"");
    integer(out, *end_ns);
    raw(out, "\",\"attributes\":");
    list(out, span.shown_attributes(), |out, (name, value)| attribute(out, name, &value));
    if !links.is_empty() {
        raw(out, ",\"links\":");
        list(out, links, reference);
    }
    match status {
        Status::Unset => {}
        Status::Error => raw(out, ",\"status\":{\"code\":2}"),
    }
    flags(out, otlp::flags(*parent_is_remote, *link));
}

/// Appends how a span and a reference begin.
fn ids(out: &mut Vec<u8>, trace_id: TraceId, span_id: SpanId) {
    raw(out, "{\"traceId\":\"");
    out.extend_from_slice(&trace_id.hex());
    raw(out, "\",\"spanId\":\"");
    out.extend_from_slice(&span_id.hex());
    raw(out, "\"");
}

/// Appends how they end.
fn flags(out: &mut Vec<u8>, flags: u32) {
    raw(out, ",\"flags\":");
    integer(out, flags);
    raw(out, "}");
}

fn reference(out: &mut Vec<u8>, link: &SpanLink) {
    let SpanLink { trace_id, span_id, attributes } = link;
    ids(out, *trace_id, *span_id);
    raw(out, ",\"attributes\":");
    list(out, attributes, |out, (name, value)| attribute(out, name, value));
    flags(out, otlp::SAMPLED);
}

fn attribute(out: &mut Vec<u8>, name: &str, value: &Value) {
    raw(out, "{\"key\":");
    text(out, name);
    raw(out, ",\"value\":");
    any_value(out, value);
    raw(out, "}");
}

fn any_value(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Text(value) => string_value(out, value),
        Value::Bool(truth) => raw(out, if *truth { "{\"boolValue\":true}" } else { "{\"boolValue\":false}" }),
        Value::Int(number) => {
            raw(out, "{\"intValue\":\"");
            integer(out, *number);
            raw(out, "\"}");
        }
        Value::Float(number) => {
            raw(out, "{\"doubleValue\":");
            if number.is_finite() {
                serde_json::to_writer(&mut *out, number).expect("memory takes all writes");
            } else if number.is_nan() {
                raw(out, "\"NaN\"");
            } else {
                raw(out, if *number > 0.0 { "\"Infinity\"" } else { "\"-Infinity\"" });
            }
            raw(out, "}");
        }
        Value::List(texts) => {
            raw(out, "{\"arrayValue\":{\"values\":");
            list(out, texts, |out, text| string_value(out, text));
            raw(out, "}}");
        }
    }
}

fn string_value(out: &mut Vec<u8>, value: &str) {
    raw(out, "{\"stringValue\":");
    text(out, value);
    raw(out, "}");
}

fn list<T>(out: &mut Vec<u8>, items: impl IntoIterator<Item = T>, write: impl Fn(&mut Vec<u8>, T)) {
    out.push(b'[');
    for (index, item) in items.into_iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write(out, item);
    }
    out.push(b']');
}

/// Appends a text that needs no escaping.
fn raw(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(text.as_bytes());
}

/// Appends an integer's digits.
fn integer(out: &mut Vec<u8>, number: impl itoa::Integer) {
    raw(out, itoa::Buffer::new().format(number));
}

/// Appends a text in quotes. Nearly none needs escaping, and all bytes are looked at before one is written: so they are
/// looked at many at a time, and copied at once.
fn text(out: &mut Vec<u8>, text: &str) {
    let is_escaped = |byte: u8| byte < b' ' || byte == b'"' || byte == b'\\';
    if text.bytes().fold(false, |any, byte| any | is_escaped(byte)) {
        serde_json::to_writer(out, text).expect("memory takes all writes");
        return;
    }
    out.reserve(text.len() + 2);
    out.push(b'"');
    raw(out, text);
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::*;
    use crate::span::sample;

    fn json_of(of: &Span) -> Json {
        let mut out = Vec::new();
        span(&mut out, of);
        serde_json::from_slice(&out).expect("JSON")
    }

    fn value<'a>(span: &'a Json, name: &str) -> &'a Json {
        let attributes = span["attributes"].as_array().expect("attributes");
        let mut found = attributes.iter().filter(|pair| pair["key"] == name);
        let first = found.next().unwrap_or_else(|| panic!("no {name}"));
        assert!(found.next().is_none(), "{name} is there twice");
        &first["value"]
    }

    #[test]
    fn ids_are_hexadecimal_enums_are_numbers_and_long_integers_are_texts() {
        let got = json_of(&sample::server());
        assert_eq!(got["traceId"], "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(got["parentSpanId"], "b7ad6b7169203331");
        assert_eq!((&got["kind"], &got["flags"]), (&json!(2), &json!(0x301)));
        assert_eq!(got["startTimeUnixNano"], "1735689600123456789");
        assert_eq!(got["status"], json!({ "code": 2 }));
        assert_eq!(got["traceState"], "congo=t61rcWkgMzE");
        assert_eq!(got["links"][0]["spanId"], "b7ad6b7169203331");
        assert_eq!(value(&got, "http.response.status_code"), &json!({ "intValue": "503" }));
        assert_eq!(value(&got, "url.path"), &json!({ "stringValue": "/a\"b" }));
        assert_eq!(value(&got, "netspan.truth"), &json!({ "boolValue": true }));
        assert_eq!(value(&got, "netspan.link.confidence"), &json!({ "doubleValue": 1.0 }));
        assert_eq!(value(&got, "netspan.incomplete"), &json!({ "stringValue": "reset" }));
        let list = json!({ "arrayValue": { "values": [{ "stringValue": "a" }, { "stringValue": "b" }] } });
        assert_eq!(value(&got, "http.request.header.accept"), &list);
    }

    #[test]
    fn what_a_root_lacks_is_absent_and_odd_numbers_are_texts() {
        let odd = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY].map(|number| ("x".into(), Value::Float(number)));
        let got = json_of(&Span { attributes: odd.to_vec(), ..sample::root() });
        for field in ["parentSpanId", "traceState", "links", "status"] {
            assert_eq!(got.get(field), None, "{field}");
        }
        let shown: Vec<_> = (0..3).map(|n| got["attributes"][n]["value"]["doubleValue"].clone()).collect();
        assert_eq!(shown, ["NaN", "Infinity", "-Infinity"]);
    }

    #[test]
    fn a_group_says_process_scope_and_schema_and_is_never_longer_than_expected() {
        let (mut process, mut out) = (Vec::new(), BEGIN.to_vec());
        resource(&mut process, &sample::server().resource, &[("process.pid".into(), Value::Int(1))]);
        group(&mut out, true, &process, b"{}");
        out.extend_from_slice(END);
        assert!(out.len() <= process.len() + 2 + OVERHEAD, "{} {}", out.len(), process.len());
        let mut once = BEGIN.to_vec();
        group(&mut once, true, &process, b"{}");
        group(&mut once, false, &process, b"{},{}");
        once.extend_from_slice(END);
        let json: Json = serde_json::from_slice(&once).expect("JSON");
        let groups = json["resourceSpans"].as_array().expect("groups");
        assert_eq!(groups.len(), 2);
        assert_eq!(groups[0]["resource"]["attributes"][0]["value"]["stringValue"], "shop");
        assert_eq!(groups[0]["resource"]["attributes"].as_array().map(Vec::len), Some(3), "no attribute twice");
        assert_eq!(groups[1]["scopeSpans"][0]["spans"].as_array().map(Vec::len), Some(2));
        assert_eq!(groups[1]["scopeSpans"][0]["scope"]["name"], "netspan");
        assert_eq!(
            (&groups[1]["schemaUrl"], &groups[1]["scopeSpans"][0]["schemaUrl"]),
            (&json!(SCHEMA_URL), &json!(SCHEMA_URL))
        );
    }
}
