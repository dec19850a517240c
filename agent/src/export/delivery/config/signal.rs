//! What is sent to an endpoint of OTLP: each signal has its own path, its own method of gRPC and its own variables.

use super::Path;

/// A signal of OTLP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Spans.
    Traces,
    /// Metrics.
    Metrics,
}

impl Signal {
    /// Its path over HTTP (OTLP specification, "OTLP/HTTP Request"), where the endpoint is a base.
    pub const fn path(self) -> &'static str {
        match self {
            Self::Traces => "/v1/traces",
            Self::Metrics => "/v1/metrics",
        }
    }

    /// Its method of gRPC, as a path.
    pub const fn method(self) -> &'static str {
        match self {
            Self::Traces => "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
            Self::Metrics => "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
        }
    }

    /// Where it goes, given where spans go: there for gRPC, and for HTTP beside a path that ends as that of spans. Absent where a
    /// path of somebody's own does not tell.
    pub(super) fn beside(self, spans: &http::Uri) -> Option<http::Uri> {
        let base = spans.path().strip_suffix(Self::Traces.path())?;
        let query = spans.query().map_or_else(String::new, |query| format!("?{query}"));
        let mut parts = spans.clone().into_parts();
        parts.path_and_query = Some(format!("{base}{}{query}", self.path()).parse().ok()?);
        http::Uri::from_parts(parts).ok()
    }

    /// What to do with the path of an endpoint of a variable: the general one is a base, the signal's own is the whole.
    pub(super) const fn of_variable(self, is_general: bool) -> Path {
        if is_general { Path::Append(self.path()) } else { Path::AsIs }
    }
}

/// The variables of a setting: that of a signal wins over the general one.
#[derive(Clone, Copy, Debug)]
pub struct Names {
    pub(super) traces: &'static str,
    pub(super) metrics: &'static str,
    pub(super) general: &'static str,
}

impl Names {
    /// The variables of a signal, the one that wins first.
    pub const fn of(self, signal: Signal) -> [&'static str; 2] {
        match signal {
            Signal::Traces => [self.traces, self.general],
            Signal::Metrics => [self.metrics, self.general],
        }
    }
}
