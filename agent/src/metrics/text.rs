//! Metrics as text: Prometheus' format 0.0.4, or `OpenMetrics` 1.0 with exemplars.

use std::fmt::Write as _;

use super::{BOUNDS, Exemplar, Histogram, Key, Label, Metrics, REQUESTS, Series};

/// Form of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Prometheus' text format 0.0.4.
    Classic,
    /// `OpenMetrics` 1.0.
    Open,
}

impl Format {
    /// The one that a request's `Accept` asks for.
    pub fn of_accept(accept: &str) -> Self {
        let asks = |part: &str| {
            let mut fields = part.split(';').map(str::trim);
            fields.next().is_some_and(|kind| kind.eq_ignore_ascii_case("application/openmetrics-text"))
                && !fields.any(|field| field == "q=0")
        };
        if accept.split(',').any(asks) { Self::Open } else { Self::Classic }
    }

    /// The content type.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Classic => "text/plain; version=0.0.4; charset=utf-8",
            Self::Open => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }

    /// The lines that begin a family. A counter's name is given without `_total`.
    pub fn head(self, out: &mut String, name: &str, kind: &str, help: &str) {
        let suffix = if self == Self::Classic && kind == "counter" { "_total" } else { "" };
        let _ = writeln!(out, "# HELP {name}{suffix} {help}\n# TYPE {name}{suffix} {kind}");
    }

    fn bound(self, bound: f64) -> String {
        match self {
            Self::Classic => bound.to_string(),
            Self::Open => format!("{bound:?}"),
        }
    }
}

/// A line of a family.
pub fn sample(out: &mut String, name: &str, labels: &str, value: u64) {
    let _ = writeln!(out, "{name}{{{labels}}} {value}");
}

/// A label's value: backslash, quote and line end are escaped.
pub fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

impl Metrics {
    /// Writes all of them. The caller ends the text.
    pub fn write(&self, out: &mut String, format: Format) {
        for (definition, series) in REQUESTS.iter().zip(&self.requests) {
            histograms(out, format, (definition.name, definition.description), series, "service_name");
        }
        let edges = ("netspan.edge.duration", "Duration of calls, by who calls whom.");
        histograms(out, format, edges, &self.edges, "caller");
        for ((name, _, help), series) in self.connections.histograms() {
            histograms(out, format, (name, help), series, "service_name");
        }
        for ((name, unit, help), series) in self.connections.counters() {
            let unit = if unit == "By" { "_bytes" } else { "" };
            let name = format!("{}{unit}", underscored(name));
            format.head(out, &name, "counter", help);
            for (key, count) in series.sorted() {
                sample(out, &format!("{name}_total"), &labels(key, "service_name"), *count);
            }
        }
        format.head(
            out,
            "netspan_metrics_overflow",
            "counter",
            "Spans and connections that found no series of their own.",
        );
        let _ = writeln!(out, "netspan_metrics_overflow_total {}", self.overflow());
    }
}

fn histograms(out: &mut String, format: Format, (name, help): (&str, &str), series: &Series<Histogram>, service: &str) {
    let name = format!("{}_seconds", underscored(name));
    format.head(out, &name, "histogram", help);
    for (key, histogram) in series.sorted() {
        let labels = labels(key, service);
        let mut below = 0;
        for (at, count) in histogram.buckets.iter().enumerate() {
            below += count;
            let bound = BOUNDS.get(at).map_or_else(|| "+Inf".to_owned(), |bound| format.bound(*bound));
            let _ = write!(out, "{name}_bucket{{{labels},le=\"{bound}\"}} {below}");
            match histogram.exemplars.get(at) {
                Some(Some(exemplar)) if format == Format::Open => write_exemplar(out, exemplar),
                _ => out.push('\n'),
            }
        }
        let _ = writeln!(out, "{name}_sum{{{labels}}} {}", histogram.sum_s);
        sample(out, &format!("{name}_count"), &labels, histogram.count());
    }
}

fn write_exemplar(out: &mut String, exemplar: &Exemplar) {
    let Exemplar { trace_id, span_id, seconds, end_ns } = exemplar;
    let (s, ms) = (end_ns / 1_000_000_000, end_ns / 1_000_000 % 1000);
    let _ = writeln!(out, " # {{trace_id=\"{trace_id}\",span_id=\"{span_id}\"}} {seconds} {s}.{ms:03}");
}

fn labels(key: &Key, service: &str) -> String {
    let mut labels = format!("{service}=\"{}\"", escaped(&key.service));
    for (name, value) in &key.attributes {
        let name = underscored(name);
        let _ = match value {
            Label::Text(text) => write!(labels, ",{name}=\"{}\"", escaped(text)),
            Label::Int(number) => write!(labels, ",{name}=\"{number}\""),
            Label::Bool(truth) => write!(labels, ",{name}=\"{truth}\""),
        };
    }
    labels
}

/// OpenTelemetry's name as one of Prometheus.
fn underscored(name: &str) -> String {
    name.replace('.', "_")
}
