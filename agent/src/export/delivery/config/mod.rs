//! Where and how to send: from the command line and the `OTEL_EXPORTER_OTLP_*` variables. It reads no variable itself and
//! opens nothing.
//!
//! Rules of the OpenTelemetry specification, "OpenTelemetry Protocol Exporter": a variable for traces wins over the
//! general one; an empty variable is an unset one. The command line wins over both.

mod endpoint;
mod signal;
mod variables;

use std::{fmt, path::PathBuf, time::Duration};

use http::{HeaderMap, Uri};
use thiserror::Error;

use self::{endpoint::Path, variables::Variables};
pub use self::{
    endpoint::{Path as EndpointPath, parse as parse_endpoint},
    signal::{Names, Signal},
    variables::{ENDPOINT, PROTOCOL, header},
};
use super::{
    compress::Compression,
    encode::{Bounds, Format},
    queue::disk,
};
use crate::span::Attribute;

/// How requests travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// OTLP/gRPC.
    Grpc,
    /// OTLP/HTTP with Protocol Buffers.
    Http,
    /// OTLP/HTTP with JSON.
    Json,
    /// Zipkin's JSON, version 2, over HTTP.
    Zipkin,
}

impl Protocol {
    /// How its requests are encoded.
    pub const fn format(self) -> Format {
        match self {
            Self::Grpc | Self::Http => Format::Otlp,
            Self::Json => Format::OtlpJson,
            Self::Zipkin => Format::Zipkin,
        }
    }

    /// The protocol of OTLP with a name of `OTEL_EXPORTER_OTLP_PROTOCOL`.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "grpc" => Some(Self::Grpc),
            "http/protobuf" => Some(Self::Http),
            "http/json" => Some(Self::Json),
            _ => None,
        }
    }
}

/// The names of the protocols of OTLP, for people.
pub const PROTOCOLS: &str = "grpc, http/protobuf or http/json";

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Grpc => "gRPC",
            Self::Http => "HTTP",
            Self::Json => "HTTP, JSON",
            Self::Zipkin => "Zipkin",
        })
    }
}

/// A destination's configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Its name: of its counters, and of its queue's directory.
    pub name: String,
    /// Where spans go.
    pub target: Target,
    /// How requests are compressed.
    pub compression: Compression,
    /// Attributes for every resource that does not have them.
    pub resource: Vec<Attribute>,
    /// What happens when the queue is full.
    pub when_full: WhenFull,
    /// The queue on the disk; without one spans wait in memory.
    pub queue: Option<disk::Config>,
    /// Bounds and times.
    pub limits: Limits,
}

/// Where spans go.
#[derive(Clone, Debug, PartialEq)]
pub enum Target {
    /// To an endpoint.
    Endpoint(Box<Endpoint>),
    /// To a file.
    File(FileTarget),
}

/// An endpoint, and how it is spoken to.
#[derive(Clone, Debug, PartialEq)]
pub struct Endpoint {
    /// The whole URI for HTTP; gRPC takes no notice of its path. `http` or `https`, without user or password.
    pub uri: Uri,
    /// What is sent there.
    pub signal: Signal,
    /// How requests travel.
    pub protocol: Protocol,
    /// Whether nobody said so: then gRPC and HTTP are both tried, until a request is taken.
    pub guessed: bool,
    /// Headers of every request; values are marked sensitive, so that nothing prints them.
    pub headers: HeaderMap,
    /// Longest time of one attempt.
    pub timeout: Duration,
    /// Files for `https`.
    pub tls: TlsFiles,
    /// Whether it is tried at once, with an empty request, so that a wrong one is told of before there are spans.
    pub greet: bool,
}

/// A file, and when the next one is begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileTarget {
    /// Its path.
    pub path: PathBuf,
    /// Bytes of a file at most, but for one batch that is larger.
    pub bytes: u64,
    /// Files at most, the one that is written to included.
    pub files: u32,
}

/// What happens when the queue is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenFull {
    /// The oldest spans are dropped, and counted.
    DropOldest,
    /// The input is held back: for a producer that may wait ([`Sink::give`](crate::export::Sink::give)).
    HoldBack,
}

/// PEM files for `https`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// Authorities to trust instead of the system's.
    pub authorities: Option<PathBuf>,
    /// Own certificate chain and its key.
    pub identity: Option<(PathBuf, PathBuf)>,
}

/// Bounds and times of the exporter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Spans that wait for encoding.
    pub input: usize,
    /// One request.
    pub batch: Bounds,
    /// Longest time that a span waits for its batch to fill.
    pub batch_age: Duration,
    /// Batches that wait in memory for being sent.
    pub queue: Bounds,
    /// Requests under way at once, while the collector answers.
    pub in_flight: usize,
    /// Most of the delay after the first failure.
    pub backoff_first: Duration,
    /// Most of the delay after any failure.
    pub backoff_most: Duration,
    /// A batch older than this is not tried again; of a queue on the disk it is the age cap.
    pub retry_age: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            input: 8192,
            // Receivers often cap a request at 4 MiB.
            batch: Bounds { spans: 2048, bytes: 1 << 20 },
            batch_age: Duration::from_secs(1),
            queue: Bounds { spans: 65_536, bytes: 8 << 20 },
            in_flight: 4,
            backoff_first: Duration::from_secs(1),
            backoff_most: Duration::from_secs(30),
            retry_age: Duration::from_mins(10),
        }
    }
}

/// Why the exporter can't be configured so.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ConfigError {
    /// The endpoint is no usable URL.
    #[error(
        "{origin} {value:?} is no OTLP endpoint: {reason}; write it as http://HOST:4317 (gRPC) or http://HOST:4318 (HTTP)"
    )]
    Endpoint {
        /// Where the value is from.
        origin: &'static str,
        /// The value, without user, password and query.
        value: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A variable's value is not one of those that it may have.
    #[error("{name} is {value:?}; it can be {allowed}")]
    Value {
        /// The variable.
        name: &'static str,
        /// Its value.
        value: String,
        /// What it may be.
        allowed: &'static str,
    },
    /// A variable's list is malformed. Its values may be secrets, and are not shown.
    #[error("{name}: entry {entry} {reason}; write key=value,key=value with %XX for special characters")]
    List {
        /// The variable.
        name: &'static str,
        /// Ordinal of the entry, from 1.
        entry: usize,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// One of two variables that belong together is missing.
    #[error("{name} is set and {other} is not; set both or none")]
    Pair {
        /// The variable that is set.
        name: &'static str,
        /// The variable that is not.
        other: &'static str,
    },
}

impl Config {
    /// The configuration by the command line's endpoint (`url`), else by the variables that `variable` reads. Absent when
    /// neither names an endpoint.
    ///
    /// The protocol is the variable's; without one the likely one is tried first (gRPC on port 4317, else HTTP), then the
    /// other. An `--otlp` URL without a path means `/v1/traces`, as `OTEL_EXPORTER_OTLP_ENDPOINT` does.
    pub fn resolve(url: Option<&str>, variable: impl Fn(&str) -> Option<String>) -> Result<Option<Self>, ConfigError> {
        let env = Variables(&variable, Signal::Traces);
        let Some((origin, value, path)) = endpoint_of(&env, url) else { return Ok(None) };
        let (uri, likely) = endpoint::parse(origin, &value, path)?;
        Self::at(&env, uri, likely).map(Some)
    }

    /// The configuration for metrics, by the same: absent when neither names an endpoint for them, or `OTEL_METRICS_EXPORTER` does
    /// not have `otlp`.
    ///
    /// Metrics go where spans go, as they do from OpenTelemetry's own libraries; by HTTP to `/v1/metrics`, beside `/v1/traces`. Where
    /// `url` has another path, only `OTEL_EXPORTER_OTLP_METRICS_ENDPOINT` tells.
    pub fn resolve_metrics(
        url: Option<&str>,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Option<Self>, ConfigError> {
        let env = Variables(&variable, Signal::Metrics);
        if !env.wants_metrics() {
            return Ok(None);
        }
        let mut found = None;
        if let Some(url) = url {
            let (uri, likely) = endpoint::parse("--otlp", url, Path::IfNone(Signal::Traces.path()))?;
            let is_grpc = env.protocol()?.unwrap_or(likely) == Protocol::Grpc;
            let uri = Signal::Metrics.beside(&uri).or(Some(uri).filter(|_| is_grpc));
            found = uri.map(|uri| (uri, likely));
        }
        if found.is_none()
            && let Some((origin, value, path)) = endpoint_of(&env, None)
            && (url.is_none() || path == Path::AsIs)
        {
            found = Some(endpoint::parse(origin, &value, path)?);
        }
        found.map(|(uri, likely)| Self::at(&env, uri, likely)).transpose()
    }

    /// The configuration for an endpoint, with the rest by the variables.
    fn at<F: Fn(&str) -> Option<String>>(
        env: &Variables<'_, F>,
        uri: Uri,
        likely: Protocol,
    ) -> Result<Self, ConfigError> {
        let said = env.protocol()?;
        let endpoint = Endpoint {
            uri,
            signal: env.1,
            protocol: said.unwrap_or(likely),
            guessed: said.is_none(),
            headers: env.headers()?,
            timeout: env.timeout()?,
            tls: env.tls()?,
            greet: true,
        };
        let mut config = Self::new("otlp", Target::Endpoint(Box::new(endpoint)), env.resource()?);
        config.compression = env.compression()?;
        Ok(config)
    }

    /// How often metrics are sent, by the standard variable, if that is said.
    pub fn metrics_interval(variable: impl Fn(&str) -> Option<String>) -> Result<Option<Duration>, ConfigError> {
        Variables(&variable, Signal::Metrics).interval()
    }

    /// The temporality of metrics that the standard variable asks for, where it is not the one that there is (`cumulative`).
    pub fn other_temporality(variable: impl Fn(&str) -> Option<String>) -> Option<String> {
        Variables(&variable, Signal::Metrics).other_temporality()
    }

    /// A configuration with defaults for all but the target.
    pub fn new(name: &str, target: Target, resource: Vec<Attribute>) -> Self {
        Self {
            name: name.to_owned(),
            target,
            compression: Compression::None,
            resource,
            when_full: WhenFull::DropOldest,
            queue: None,
            limits: Limits::default(),
        }
    }

    /// Attributes for every resource, by the `OTEL_RESOURCE_ATTRIBUTES` that `variable` reads.
    pub fn resource(variable: impl Fn(&str) -> Option<String>) -> Result<Vec<Attribute>, ConfigError> {
        Variables(&variable, Signal::Traces).resource()
    }

    /// How spans are encoded.
    pub fn format(&self) -> Format {
        match &self.target {
            Target::Endpoint(endpoint) => endpoint.protocol.format(),
            Target::File(_) => Format::Lines,
        }
    }

    /// Whether the target is tried at once.
    pub fn greets(&self) -> bool {
        match &self.target {
            Target::Endpoint(endpoint) => endpoint.greet,
            Target::File(_) => true,
        }
    }

    /// The same for metrics, if they can go there; absent for a file, for Zipkin, and where a path of somebody's own does not
    /// tell.
    pub fn for_metrics(&self) -> Option<Self> {
        let Target::Endpoint(endpoint) = &self.target else { return None };
        let uri = match endpoint.protocol {
            Protocol::Grpc => endpoint.uri.clone(),
            Protocol::Http | Protocol::Json => Signal::Metrics.beside(&endpoint.uri)?,
            Protocol::Zipkin => return None,
        };
        let endpoint = Endpoint { uri, signal: Signal::Metrics, ..(**endpoint).clone() };
        Some(Self { target: Target::Endpoint(Box::new(endpoint)), queue: None, ..self.clone() })
    }

    /// The endpoint, if that is the target.
    pub fn endpoint_mut(&mut self) -> Option<&mut Endpoint> {
        match &mut self.target {
            Target::Endpoint(endpoint) => Some(endpoint),
            Target::File(_) => None,
        }
    }

    /// A configuration for `endpoint` with defaults for the rest.
    pub fn to(url: &str) -> Result<Self, ConfigError> {
        let unset = |_: &str| None;
        Self::resolve(Some(url), unset).map(|config| config.expect("an endpoint was given"))
    }

    /// The target for people: an endpoint without its query, which may hold a secret.
    pub fn shown(&self) -> String {
        match &self.target {
            Target::Endpoint(endpoint) => {
                let Endpoint { uri, protocol, .. } = &**endpoint;
                let path = if *protocol == Protocol::Grpc { "" } else { uri.path() };
                format!(
                    "{}://{}{path}",
                    uri.scheme_str().unwrap_or_default(),
                    uri.authority().map_or("", |a| a.as_str())
                )
            }
            Target::File(file) => file.path.display().to_string(),
        }
    }
}

/// Where an endpoint is from, what it is, and what to do with its path.
fn endpoint_of<F: Fn(&str) -> Option<String>>(
    env: &Variables<'_, F>,
    url: Option<&str>,
) -> Option<(&'static str, String, Path)> {
    if let Some(url) = url {
        return Some(("--otlp", url.to_owned(), Path::IfNone(env.1.path())));
    }
    let (name, value) = env.first(&ENDPOINT.of(env.1))?;
    Some((name, value, env.1.of_variable(name == ENDPOINT.general)))
}
