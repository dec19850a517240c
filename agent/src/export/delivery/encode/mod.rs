//! Spans as the bytes of a request, in each format that is spoken.
#![forbid(unsafe_code)]

mod batch;
mod otlp;
mod otlp_json;
mod wire;

use self::wire::{Wire, field_len};
pub use self::{
    batch::{Batch, Batcher, Bounds, Oversized, unix_ms},
    otlp::SCHEMA_URL,
};
use crate::span::{Attribute, Resource, Span, json, zipkin};

/// How requests are encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// OTLP as Protocol Buffers (`ExportTraceServiceRequest`).
    Otlp,
    /// OTLP as JSON.
    OtlpJson,
    /// Zipkin's JSON, version 2.
    Zipkin,
    /// One span to a line, as `netspan watch --json` writes it.
    Lines,
}

impl Format {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Otlp, Self::OtlpJson, Self::Zipkin, Self::Lines];

    /// Its name: of a queue's directory.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Otlp => "otlp",
            Self::OtlpJson => "otlp-json",
            Self::Zipkin => "zipkin",
            Self::Lines => "lines",
        }
    }

    /// What stands for it on the disk.
    pub const fn code(self) -> u8 {
        match self {
            Self::Otlp => 1,
            Self::OtlpJson => 2,
            Self::Zipkin => 3,
            Self::Lines => 4,
        }
    }

    /// What a code on the disk stands for.
    pub fn of_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.code() == code)
    }

    /// The value of `content-type`, over HTTP.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Otlp => "application/x-protobuf",
            Self::OtlpJson | Self::Zipkin => "application/json",
            Self::Lines => "application/x-ndjson",
        }
    }

    /// Whether spans stand under their processes.
    const fn is_grouped(self) -> bool {
        matches!(self, Self::Otlp | Self::OtlpJson)
    }

    /// Appends a span to `out`.
    fn span(self, out: &mut Vec<u8>, span: &Span) {
        match self {
            Self::Otlp => otlp::span(out, span),
            Self::OtlpJson => otlp_json::span(out, span),
            Self::Zipkin => out.extend_from_slice(zipkin::span(span).to_string().as_bytes()),
            Self::Lines => json::write(out, span),
        }
    }

    /// Appends a process to `out`; `common` are attributes that it gets where it does not have them.
    fn resource(self, out: &mut Vec<u8>, resource: &Resource, common: &[Attribute]) {
        match self {
            Self::Otlp => otlp::resource(out, resource, common),
            Self::OtlpJson => otlp_json::resource(out, resource, common),
            Self::Zipkin | Self::Lines => {}
        }
    }

    /// Most bytes that an encoded span of this length takes among others.
    const fn span_len(self, length: usize) -> usize {
        match self {
            Self::Otlp => field_len(length),
            Self::OtlpJson | Self::Zipkin | Self::Lines => length + 1,
        }
    }

    /// Appends an encoded span to those of its group.
    fn add(self, spans: &mut Vec<u8>, encoded: &[u8]) {
        match self {
            Self::Otlp => Wire(spans).bytes(2, encoded),
            Self::OtlpJson | Self::Zipkin => {
                if !spans.is_empty() {
                    spans.push(b',');
                }
                spans.extend_from_slice(encoded);
            }
            Self::Lines => spans.extend_from_slice(encoded),
        }
    }

    /// Most bytes that a group takes beside its process and its spans, and what is around all groups.
    const fn overhead(self) -> usize {
        match self {
            Self::Otlp => otlp::OVERHEAD,
            Self::OtlpJson => otlp_json::OVERHEAD,
            Self::Zipkin => 2,
            Self::Lines => 0,
        }
    }

    /// Appends what comes before all groups.
    fn begin(self, out: &mut Vec<u8>) {
        match self {
            Self::Otlp | Self::Lines => {}
            Self::OtlpJson => out.extend_from_slice(otlp_json::BEGIN),
            Self::Zipkin => out.push(b'['),
        }
    }

    /// Appends a group: an encoded process and its joined spans.
    fn group(self, out: &mut Vec<u8>, is_first: bool, resource: &[u8], spans: &[u8]) {
        match self {
            Self::Otlp => otlp::group(out, resource, spans),
            Self::OtlpJson => otlp_json::group(out, is_first, resource, spans),
            Self::Zipkin | Self::Lines => out.extend_from_slice(spans),
        }
    }

    /// Appends what comes after all groups.
    fn end(self, out: &mut Vec<u8>) {
        match self {
            Self::Otlp | Self::Lines => {}
            Self::OtlpJson => out.extend_from_slice(otlp_json::END),
            Self::Zipkin => out.push(b']'),
        }
    }

    /// A request without spans, to greet a receiver with.
    pub const fn empty(self) -> &'static [u8] {
        match self {
            Self::Otlp | Self::Lines => b"",
            Self::OtlpJson => b"{\"resourceSpans\":[]}",
            Self::Zipkin => b"[]",
        }
    }
}
