//! Metrics of all spans, kept or not, and of connections: rates, errors and durations by the semantic conventions (schema 1.44),
//! for `/metrics` ([`text`]) and for OTLP ([`otlp`], [`otlp_json`]; [`crate::export::delivery::metrics`] sends them). It takes no
//! clock.
//!
//! | metric | attributes |
//! |---|---|
//! | `http.server.request.duration` | `http.request.method`, `url.scheme`, `http.route`, `http.response.status_code`, `error.type`, `network.protocol.version` |
//! | `http.client.request.duration` | `http.request.method`, `server.address`, `server.port`, `http.response.status_code`, `error.type`, `network.protocol.version` |
//! | `rpc.server.call.duration`, `rpc.client.call.duration` | `rpc.system.name`, `rpc.method`, `rpc.response.status_code`, `error.type`; of clients also `server.address`, `server.port` |
//! | `netspan.connection.*` | `netspan.connection.role`; of bytes also `network.io.direction` |
#![forbid(unsafe_code)]

mod connection;
mod counting;
mod histogram;
pub mod otlp;
pub mod otlp_json;
mod series;
mod text;

use std::sync::{Arc, Mutex};

pub(crate) use self::text::{escaped, sample};
pub use self::{
    counting::Counting,
    histogram::{BOUNDS, Exemplar, Histogram},
    series::{Attributes, Key, Label, OVERFLOW, SERIES_MAX, Series},
    text::Format,
};
use crate::span::{Attribute, Kind, Resource, Span};

/// Metrics that several threads fill and read.
pub type Shared = Arc<Mutex<Metrics>>;

/// Attributes of a resource that are the host's and not one process's.
const OF_HOST: [&str; 3] = ["host.name", "host.id", "os.type"];

/// A histogram of durations, in seconds.
#[derive(Clone, Copy, Debug)]
pub struct Definition {
    /// Its name in OpenTelemetry.
    pub name: &'static str,
    /// What it says.
    pub description: &'static str,
    /// The attributes of its series, in their order.
    pub attributes: &'static [&'static str],
}

/// The histograms of requests, in the order of [`Metrics::requests`].
pub const REQUESTS: [Definition; 4] = [
    Definition {
        name: "http.server.request.duration",
        description: "Duration of HTTP server requests.",
        attributes: &[
            "http.request.method",
            "url.scheme",
            "http.route",
            "http.response.status_code",
            "error.type",
            "network.protocol.version",
        ],
    },
    Definition {
        name: "http.client.request.duration",
        description: "Duration of HTTP client requests.",
        attributes: &[
            "http.request.method",
            "server.address",
            "server.port",
            "http.response.status_code",
            "error.type",
            "network.protocol.version",
        ],
    },
    Definition {
        name: "rpc.server.call.duration",
        description: "Duration of inbound RPCs.",
        attributes: &["rpc.system.name", "rpc.method", "rpc.response.status_code", "error.type"],
    },
    Definition {
        name: "rpc.client.call.duration",
        description: "Duration of outbound RPCs.",
        attributes: &[
            "rpc.system.name",
            "rpc.method",
            "server.address",
            "server.port",
            "rpc.response.status_code",
            "error.type",
        ],
    },
];

/// What is counted.
#[derive(Debug, Default)]
pub struct Metrics {
    requests: [Series<Histogram>; REQUESTS.len()],
    edges: Series<Histogram>,
    connections: connection::Connections,
    host: Vec<Attribute>,
    /// Spans counted.
    spans: u64,
    /// Nanoseconds since the Unix epoch at which the first thing counted began. It never changes: a sum with another beginning
    /// is another sum.
    start_ns: Option<u64>,
}

impl Metrics {
    /// Counts a span.
    pub fn add(&mut self, span: &Span) {
        self.learn(&span.resource, span.start_ns);
        self.spans += 1;
        let mut is_rpc = false;
        let mut names: [Option<&crate::span::Value>; ATTRIBUTES.len()] = [None; ATTRIBUTES.len()];
        for (name, value) in &span.attributes {
            if let Some(at) = ATTRIBUTES.iter().position(|known| known == name) {
                names[at] = Some(value);
                is_rpc |= name == "rpc.system.name";
            }
        }
        let at = usize::from(is_rpc) * 2 + usize::from(span.kind == Kind::Client);
        let value = |name: &str| names[ATTRIBUTES.iter().position(|known| *known == name)?];
        let attributes = REQUESTS[at].attributes.iter().filter_map(|name| Some((*name, value(name)?.into()))).collect();
        let seconds = seconds(span.end_ns.saturating_sub(span.start_ns));
        let (trace_id, span_id) = (span.trace_id, span.span_id);
        let exemplar = Some(Exemplar { trace_id, span_id, seconds, end_ns: span.end_ns });
        let service = &span.resource.service;
        if span.kind == Kind::Client {
            let peer = value("server.address").map_or_else(|| Label::Text("(unknown)".to_owned()), Label::from);
            let edge = Key { service: service.clone(), attributes: vec![("callee", peer)] };
            self.edges.of(edge).add(seconds, exemplar);
        }
        self.requests[at].of(Key { service: service.clone(), attributes }).add(seconds, exemplar);
    }

    /// Spans counted so far.
    pub const fn spans(&self) -> u64 {
        self.spans
    }

    /// What found no place, in all metrics together.
    pub fn overflow(&self) -> u64 {
        let requests: u64 = self.requests.iter().map(Series::overflow).sum();
        requests + self.edges.overflow() + self.connections.overflow()
    }

    fn learn(&mut self, resource: &Resource, start_ns: u64) {
        self.start_ns.get_or_insert(start_ns);
        if self.host.is_empty() {
            let of_host = |(name, _): &&Attribute| OF_HOST.contains(&name.as_ref());
            self.host = resource.attributes.iter().filter(of_host).cloned().collect();
        }
    }
}

/// All attributes of requests' series.
const ATTRIBUTES: [&str; 11] = [
    "http.request.method",
    "url.scheme",
    "http.route",
    "http.response.status_code",
    "error.type",
    "network.protocol.version",
    "server.address",
    "server.port",
    "rpc.system.name",
    "rpc.method",
    "rpc.response.status_code",
];

#[expect(clippy::cast_precision_loss, reason = "nanoseconds of a request are below 2^52")]
fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}

#[cfg(test)]
mod tests;
