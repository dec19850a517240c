//! A span and its resource as OTLP's `Span` and `Resource` messages.
//!
//! Field numbers are those of `opentelemetry/proto/trace/v1/trace.proto` and `common/v1/common.proto`.

use std::borrow::Cow;

use super::wire::{Wire, field_len};
use crate::span::{Attribute, Kind, Link, Method, Resource, Span, SpanLink, Status, Value};

/// Schema of the attribute names (`schema_url`).
pub const SCHEMA_URL: &str = "https://opentelemetry.io/schemas/1.44.0";
/// Name of the instrumentation scope.
pub const SCOPE_NAME: &str = env!("CARGO_PKG_NAME");
/// Version of the instrumentation scope.
pub const SCOPE_VERSION: &str = env!("CARGO_PKG_VERSION");

/// W3C trace flag: sampled. What is exported is.
pub const SAMPLED: u32 = 1;
/// `SPAN_FLAGS_CONTEXT_HAS_IS_REMOTE_MASK`
const HAS_IS_REMOTE: u32 = 1 << 8;
/// `SPAN_FLAGS_CONTEXT_IS_REMOTE_MASK`
const IS_REMOTE: u32 = 1 << 9;

/// Appends the fields of a `Span` message to `out`.
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
    let mut wire = Wire(out);
    wire.bytes(1, &trace_id.0);
    wire.bytes(2, &span_id.0);
    if !trace_state.is_empty() {
        wire.bytes(3, trace_state.as_bytes());
    }
    if let Some(parent) = parent {
        wire.bytes(4, &parent.0);
    }
    wire.bytes(5, name.as_bytes());
    wire.varint(6, kind_number(*kind));
    wire.fixed64(7, *start_ns);
    wire.fixed64(8, *end_ns);
    for (name, value) in span.shown_attributes() {
        attribute(&mut wire, 9, name, &value);
    }
    for link in links {
        wire.message(13, |wire| reference(wire, link));
    }
    match status {
        Status::Unset => {}
        Status::Error => wire.message(15, |status| status.varint(3, 2)),
    }
    wire.fixed32(16, flags(*parent_is_remote, *link));
}

/// Appends the fields of a `Resource` message to `out`.
pub fn resource(out: &mut Vec<u8>, resource: &Resource, common: &[Attribute]) {
    let mut wire = Wire(out);
    for (name, value) in resource_attributes(resource, common) {
        attribute(&mut wire, 1, name, &value);
    }
}

/// A resource's attributes: the process's own, then those of `common` that it does not have.
pub fn resource_attributes<'r>(
    resource: &'r Resource,
    common: &'r [Attribute],
) -> impl Iterator<Item = (&'r str, Cow<'r, Value>)> {
    let Resource { service, attributes } = resource;
    let own = move |name: &str| name == "service.name" || attributes.iter().any(|(own, _)| own == name);
    let all = attributes.iter().chain(common.iter().filter(move |(name, _)| !own(name)));
    let service = ("service.name", Cow::Owned(Value::Text(service.clone().into())));
    [service].into_iter().chain(all.map(|(name, value)| (name.as_ref(), Cow::Borrowed(value))))
}

/// Most bytes that keys and lengths around a part take (a key of one byte, a length of up to five).
const FRAME: usize = 6;
/// Most bytes that a group takes beside its resource and its spans.
pub const OVERHEAD: usize = SCOPE_NAME.len() + SCOPE_VERSION.len() + 2 * SCHEMA_URL.len() + 8 * FRAME;

/// Appends a `resource_spans` field to `out`: an encoded resource, and the `spans` fields of its `ScopeSpans`. Lengths are
/// known before: the spans are copied once.
pub fn group(out: &mut Vec<u8>, resource: &[u8], spans: &[u8]) {
    let (mut before, mut after) = (Vec::new(), Vec::new());
    Wire(&mut before).message(1, |scope| {
        scope.bytes(1, SCOPE_NAME.as_bytes());
        scope.bytes(2, SCOPE_VERSION.as_bytes());
    });
    Wire(&mut after).bytes(3, SCHEMA_URL.as_bytes());
    let scope_spans = before.len() + spans.len() + after.len();
    let resource_spans = field_len(resource.len()) + field_len(scope_spans) + after.len();
    let mut wire = Wire(out);
    wire.begin(1, resource_spans);
    wire.bytes(1, resource);
    wire.begin(2, scope_spans);
    for part in [&before, spans, &after, &after] {
        wire.0.extend_from_slice(part);
    }
}

/// The number of a kind (`SpanKind`).
pub const fn kind_number(kind: Kind) -> u64 {
    match kind {
        Kind::Server => 2,
        Kind::Client => 3,
    }
}

/// A parent is remote, in OpenTelemetry's sense, when the context came from another process: by header, or seen by
/// ourselves through the socket.
pub fn flags(parent_is_remote: bool, link: Option<Link>) -> u32 {
    let remote = parent_is_remote || link.is_some_and(|link| link.method == Method::Socket);
    SAMPLED | HAS_IS_REMOTE | if remote { IS_REMOTE } else { 0 }
}

fn reference(wire: &mut Wire<'_>, link: &SpanLink) {
    let SpanLink { trace_id, span_id, attributes } = link;
    wire.bytes(1, &trace_id.0);
    wire.bytes(2, &span_id.0);
    for (name, value) in attributes {
        attribute(wire, 4, name, value);
    }
    // Whether the other span is remote is not known.
    wire.fixed32(6, SAMPLED);
}

fn attribute(wire: &mut Wire<'_>, field: u32, name: &str, value: &Value) {
    wire.message(field, |pair| {
        pair.bytes(1, name.as_bytes());
        pair.message(2, |any| any_value(any, value));
    });
}

fn any_value(wire: &mut Wire<'_>, value: &Value) {
    match value {
        Value::Text(text) => wire.bytes(1, text.as_bytes()),
        Value::Bool(truth) => wire.varint(2, u64::from(*truth)),
        Value::Int(number) => wire.varint(3, number.cast_unsigned()),
        Value::Float(number) => wire.double(4, *number),
        Value::List(texts) => wire.message(5, |list| {
            for text in texts {
                list.message(1, |any| any.bytes(1, text.as_bytes()));
            }
        }),
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::{
        common::v1::{AnyValue, KeyValue, any_value::Value as Any},
        resource::v1 as resource_v1,
        trace::v1 as trace_v1,
    };
    use prost::Message as _;

    use super::*;
    use crate::span::sample;

    fn decoded(of: &Span) -> trace_v1::Span {
        let mut out = Vec::new();
        span(&mut out, of);
        let decoded = trace_v1::Span::decode(out.as_slice()).expect("prost reads a span");
        assert_eq!(decoded.encode_to_vec(), out, "nothing that prost does not know, and all in its order");
        decoded
    }

    fn find<'a>(attributes: &'a [KeyValue], name: &str) -> Option<&'a Any> {
        let mut found = attributes.iter().filter(|pair| pair.key == name);
        let first = found.next()?.value.as_ref()?.value.as_ref();
        assert!(found.next().is_none(), "{name} is there twice");
        first
    }

    #[test]
    fn every_field_of_a_span_arrives() {
        let sent = sample::server();
        let got = decoded(&sent);
        assert_eq!(got.trace_id, sent.trace_id.0);
        assert_eq!(got.span_id, sent.span_id.0);
        assert_eq!(got.parent_span_id, sent.parent.expect("has a parent").0);
        assert_eq!(got.trace_state, sent.trace_state);
        assert_eq!(got.name, "GET");
        assert_eq!(got.kind, trace_v1::span::SpanKind::Server as i32);
        assert_eq!((got.start_time_unix_nano, got.end_time_unix_nano), (sent.start_ns, sent.end_ns));
        assert_eq!(got.status.as_ref().expect("a status").code, trace_v1::status::StatusCode::Error as i32);
        assert_eq!(got.links[0].span_id, sent.links[0].span_id.0);
        assert_eq!(find(&got.links[0].attributes, "netspan.link.confidence"), Some(&Any::DoubleValue(0.83)));
    }

    #[test]
    fn attributes_keep_their_types_and_the_fields_become_attributes() {
        let got = decoded(&sample::server()).attributes;
        let text = |text: &str| Any::StringValue(text.to_owned());
        assert_eq!(find(&got, "http.response.status_code"), Some(&Any::IntValue(503)));
        assert_eq!(find(&got, "url.path"), Some(&text("/a\"b")));
        assert_eq!(find(&got, "netspan.truth"), Some(&Any::BoolValue(true)));
        assert_eq!(find(&got, "thread.id"), Some(&Any::IntValue(4712)));
        assert_eq!(find(&got, "netspan.link.method"), Some(&text("socket")));
        assert_eq!(find(&got, "netspan.link.confidence"), Some(&Any::DoubleValue(1.0)));
        assert_eq!(find(&got, "netspan.incomplete"), Some(&text("reset")));
        let Some(Any::ArrayValue(list)) = find(&got, "http.request.header.accept") else { panic!("no list") };
        assert_eq!(list.values, ["a", "b"].map(|one| AnyValue { value: Some(text(one)) }));
    }

    #[test]
    fn a_negative_integer_survives() {
        let mut span = sample::root();
        span.attributes = vec![("x".into(), Value::Int(-5))];
        assert_eq!(find(&decoded(&span).attributes, "x"), Some(&Any::IntValue(-5)));
    }

    #[test]
    fn what_a_root_lacks_is_absent() {
        let got = decoded(&sample::root());
        assert!(got.parent_span_id.is_empty() && got.trace_state.is_empty() && got.links.is_empty());
        assert_eq!(got.status, None);
        assert_eq!(got.kind, trace_v1::span::SpanKind::Client as i32);
        assert_eq!(find(&got.attributes, "netspan.link.method"), None);
        assert_eq!(find(&got.attributes, "netspan.incomplete"), None);
    }

    #[test]
    fn flags_say_whether_the_parent_is_in_another_process() {
        let link = |method| Some(Link { method, confidence: 1.0 });
        let flags_of = |remote, link| decoded(&Span { parent_is_remote: remote, link, ..sample::root() }).flags;
        assert_eq!(flags_of(false, None), 0x101);
        assert_eq!(flags_of(false, link(Method::Thread)), 0x101);
        assert_eq!(flags_of(false, link(Method::Socket)), 0x301);
        assert_eq!(flags_of(true, link(Method::Header)), 0x301);
    }

    #[test]
    fn a_resource_wins_over_the_common_attributes() {
        let mut out = Vec::new();
        let common = vec![
            ("process.pid".into(), Value::Int(1)),
            ("service.name".into(), Value::Text("x".into())),
            ("deployment.environment.name".into(), Value::Text("test".into())),
        ];
        resource(&mut out, &sample::server().resource, &common);
        let got = resource_v1::Resource::decode(out.as_slice()).expect("prost reads a resource").attributes;
        assert_eq!(find(&got, "service.name"), Some(&Any::StringValue("shop".to_owned())));
        assert_eq!(find(&got, "process.pid"), Some(&Any::IntValue(4711)));
        assert_eq!(find(&got, "deployment.environment.name"), Some(&Any::StringValue("test".to_owned())));
    }
}
