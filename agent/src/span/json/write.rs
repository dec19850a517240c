//! Writes a span as one line of JSON, without a copy of it. It writes nothing that is not in the span.

use serde::{
    Serialize, Serializer,
    ser::{SerializeMap, SerializeSeq, SerializeStruct},
};

use crate::span::{Attribute, Kind, Link, Span, SpanLink, Status, Value};

/// Appends `span` to `out` as one line of JSON, with its line end.
///
/// # Panics
/// Never: writing into memory does not fail, and every key is text.
pub fn write(out: &mut Vec<u8>, span: &Span) {
    serde_json::to_writer(&mut *out, &Line(span)).expect("a span is always representable in JSON");
    out.push(b'\n');
}

/// Appends attributes to `out` as one object of JSON.
///
/// # Panics
/// Never, as [`write`].
pub fn write_attributes(out: &mut Vec<u8>, attributes: &[Attribute]) {
    serde_json::to_writer(out, &Attributes(attributes)).expect("attributes are always representable in JSON");
}

struct Line<'a>(&'a Span);

impl Serialize for Line<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // Destructured as a whole, so that a new field of the span is decided about here.
        let Span {
            trace_id,
            span_id,
            parent,
            parent_is_remote: _,
            trace_state: _,
            kind,
            name,
            start_ns,
            end_ns,
            status,
            resource,
            pid,
            tid,
            incomplete,
            link,
            links,
            attributes,
        } = self.0;
        let mut line = serializer.serialize_struct("Span", 15)?;
        line.serialize_field("trace_id", &Hex(trace_id))?;
        line.serialize_field("span_id", &Hex(span_id))?;
        line.serialize_field("parent_span_id", &parent.map(Hex))?;
        line.serialize_field("kind", kind_name(*kind))?;
        line.serialize_field("name", name)?;
        line.serialize_field("start_ns", start_ns)?;
        line.serialize_field("end_ns", end_ns)?;
        line.serialize_field("status", status_name(*status))?;
        line.serialize_field("service", &resource.service)?;
        line.serialize_field("pid", pid)?;
        line.serialize_field("tid", tid)?;
        line.serialize_field("incomplete", incomplete)?;
        line.serialize_field("link", &link.map(Found))?;
        line.serialize_field("links", &Links(links))?;
        line.serialize_field("attributes", &Attributes(attributes))?;
        line.end()
    }
}

pub(in crate::span) const fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Server => "SERVER",
        Kind::Client => "CLIENT",
    }
}

pub(super) const fn status_name(status: Status) -> &'static str {
    match status {
        Status::Unset => "UNSET",
        Status::Error => "ERROR",
    }
}

/// An id as its hexadecimal text.
struct Hex<T>(T);

impl<T: std::fmt::Display> Serialize for Hex<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

struct Found(Link);

impl Serialize for Found {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Link { method, confidence } = self.0;
        let mut found = serializer.serialize_struct("Link", 2)?;
        found.serialize_field("method", method.name())?;
        found.serialize_field("confidence", &confidence)?;
        found.end()
    }
}

struct Links<'a>(&'a [SpanLink]);

impl Serialize for Links<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut links = serializer.serialize_seq(Some(self.0.len()))?;
        for link in self.0 {
            links.serialize_element(&Reference(link))?;
        }
        links.end()
    }
}

struct Reference<'a>(&'a SpanLink);

impl Serialize for Reference<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let SpanLink { trace_id, span_id, attributes } = self.0;
        let mut reference = serializer.serialize_struct("SpanLink", 3)?;
        reference.serialize_field("trace_id", &Hex(trace_id))?;
        reference.serialize_field("span_id", &Hex(span_id))?;
        reference.serialize_field("attributes", &Attributes(attributes))?;
        reference.end()
    }
}

struct Attributes<'a>(&'a [Attribute]);

impl Serialize for Attributes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in self.0 {
            map.serialize_entry(name, &Scalar(value))?;
        }
        map.end()
    }
}

struct Scalar<'a>(&'a Value);

impl Serialize for Scalar<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Text(text) => serializer.serialize_str(text),
            Value::Int(number) => serializer.serialize_i64(*number),
            Value::Float(number) if number.is_finite() => serializer.serialize_f64(*number),
            Value::Float(number) => serializer.collect_str(number),
            Value::Bool(truth) => serializer.serialize_bool(*truth),
            Value::List(texts) => texts.serialize(serializer),
        }
    }
}
