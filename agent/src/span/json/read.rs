//! Reads a span back from the line that [`write`](super::write) made. What a line does not carry (the rest of the
//! resource, `tracestate`) is empty in the span; a parent is remote where the link's method says so.

use std::{borrow::Cow, fmt, sync::Arc};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use thiserror::Error;

use super::write::{kind_name, status_name};
use crate::{
    protocol::Incomplete,
    span::{Attribute, Kind, Link, Method, Resource, Span, SpanId, SpanLink, Status, TraceId, Value},
};

/// Why a line is no span.
#[derive(Debug, Error)]
pub enum ReadError {
    /// No JSON, a field is missing, or a field has another type.
    #[error("not a span in JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// An id is not lower-case hexadecimal of its length, or is all zeros.
    #[error("`{field}` is {value:?}, which is no id of {digits} hexadecimal digits that are not all zero")]
    Id {
        /// The field.
        field: &'static str,
        /// What it holds.
        value: String,
        /// How many digits it should have.
        digits: usize,
    },
    /// A name is not one of those that this version knows.
    #[error("`{field}` is {value:?}, which is none of {known}: was this written by another version of netspan?")]
    Name {
        /// The field.
        field: &'static str,
        /// What it holds.
        value: String,
        /// The names that it may hold.
        known: String,
    },
}

/// Reads one line (with or without its line end).
pub fn read(text: &[u8]) -> Result<Span, ReadError> {
    let row: Row<'_> = serde_json::from_slice(text)?;
    let link = row.link.as_ref().map(found).transpose()?;
    Ok(Span {
        trace_id: trace_id("trace_id", &row.trace_id)?,
        span_id: span_id("span_id", &row.span_id)?,
        parent: row.parent_span_id.map(|id| span_id("parent_span_id", &id)).transpose()?,
        parent_is_remote: link.is_some_and(|link| link.method == Method::Header),
        trace_state: String::new(),
        kind: named("kind", &row.kind, &[Kind::Server, Kind::Client], kind_name)?,
        name: row.name.into_owned(),
        start_ns: row.start_ns,
        end_ns: row.end_ns,
        status: named("status", &row.status, &[Status::Unset, Status::Error], status_name)?,
        resource: Arc::new(Resource { service: row.service.into_owned(), attributes: Vec::new() }),
        pid: row.pid,
        tid: row.tid,
        incomplete: row.incomplete.map(|name| incomplete(&name)).transpose()?,
        link,
        links: row.links.into_iter().map(reference).collect::<Result<_, _>>()?,
        attributes: row.attributes.0,
    })
}

#[derive(Deserialize)]
struct Row<'a> {
    #[serde(borrow)]
    trace_id: Cow<'a, str>,
    #[serde(borrow)]
    span_id: Cow<'a, str>,
    #[serde(borrow)]
    parent_span_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    name: Cow<'a, str>,
    start_ns: u64,
    end_ns: u64,
    #[serde(borrow)]
    status: Cow<'a, str>,
    #[serde(borrow)]
    service: Cow<'a, str>,
    pid: u32,
    tid: u32,
    #[serde(borrow)]
    incomplete: Option<Cow<'a, str>>,
    link: Option<LinkRow>,
    links: Vec<ReferenceRow>,
    attributes: Attributes,
}

#[derive(Deserialize)]
struct LinkRow {
    method: String,
    confidence: f64,
}

#[derive(Deserialize)]
struct ReferenceRow {
    trace_id: String,
    span_id: String,
    attributes: Attributes,
}

/// Attributes in the order of the line (a map type would sort them).
struct Attributes(Vec<Attribute>);

impl<'de> Deserialize<'de> for Attributes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(InOrder)
    }
}

struct InOrder;

impl<'de> Visitor<'de> for InOrder {
    type Value = Attributes;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of attributes")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Attributes, A::Error> {
        let mut attributes = Vec::new();
        while let Some((name, value)) = map.next_entry::<String, Scalar>()? {
            attributes.push((Cow::Owned(name), value.into()));
        }
        Ok(Attributes(attributes))
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Scalar {
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    List(Vec<String>),
}

impl From<Scalar> for Value {
    fn from(scalar: Scalar) -> Self {
        match scalar {
            Scalar::Bool(truth) => Self::Bool(truth),
            Scalar::Int(number) => Self::Int(number),
            Scalar::Float(number) => Self::Float(number),
            Scalar::Text(text) => Self::Text(text.into()),
            Scalar::List(texts) => Self::List(texts),
        }
    }
}

fn found(row: &LinkRow) -> Result<Link, ReadError> {
    Ok(Link { method: named("link.method", &row.method, &Method::ALL, Method::name)?, confidence: row.confidence })
}

fn reference(row: ReferenceRow) -> Result<SpanLink, ReadError> {
    Ok(SpanLink {
        trace_id: trace_id("links.trace_id", &row.trace_id)?,
        span_id: span_id("links.span_id", &row.span_id)?,
        attributes: row.attributes.0,
    })
}

fn incomplete(name: &str) -> Result<&'static str, ReadError> {
    named("incomplete", name, &Incomplete::ALL, Incomplete::name).map(Incomplete::name)
}

fn named<T: Copy>(
    field: &'static str,
    value: &str,
    all: &[T],
    name: impl Fn(T) -> &'static str,
) -> Result<T, ReadError> {
    all.iter().copied().find(|&one| name(one) == value).ok_or_else(|| ReadError::Name {
        field,
        value: value.to_owned(),
        known: all.iter().map(|&one| name(one)).collect::<Vec<_>>().join(", "),
    })
}

fn trace_id(field: &'static str, text: &str) -> Result<TraceId, ReadError> {
    id(field, text).map(TraceId)
}

fn span_id(field: &'static str, text: &str) -> Result<SpanId, ReadError> {
    id(field, text).map(SpanId)
}

fn id<const N: usize>(field: &'static str, text: &str) -> Result<[u8; N], ReadError> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let decode = || {
        let mut bytes = [0; N];
        let pairs = text.as_bytes().chunks_exact(2);
        if text.len() != 2 * N {
            return None;
        }
        for (byte, pair) in bytes.iter_mut().zip(pairs) {
            *byte = digit(pair[0])? << 4 | digit(pair[1])?;
        }
        bytes.iter().any(|&byte| byte != 0).then_some(bytes)
    };
    decode().ok_or_else(|| ReadError::Id { field, value: text.to_owned(), digits: 2 * N })
}
