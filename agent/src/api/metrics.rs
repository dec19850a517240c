//! `/metrics` in Prometheus' text format 0.0.4: durations per service, name and status class, calls per edge, and the
//! agent's own counters. The number of series is bounded: what comes later goes under [`OTHER`].

use std::fmt::Write as _;

use axum::{body::Body, extract::State};
use http::Response;
use rustc_hash::FxHashMap;

use super::{Shared, answer, lock};
use crate::span::{Kind, Span, Status, Value};

/// Series of durations at most, and edges.
const SERIES_MAX: usize = 1000;
/// The labels of what found no place.
const OTHER: &str = "(other)";
/// Upper bounds in seconds, as the semantic conventions advise for `http.server.request.duration`.
const BOUNDS: [f64; 14] = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];

/// A histogram.
#[derive(Clone, Debug, Default)]
struct Histogram {
    /// One for each bound; what is above the last is in `count` alone.
    buckets: [u64; BOUNDS.len()],
    count: u64,
    errors: u64,
    sum_s: f64,
}

/// The labels of a series: two names and a class of statuses.
type Key = (String, String, &'static str);

/// What is counted.
#[derive(Debug, Default)]
pub struct Metrics {
    servers: FxHashMap<Key, Histogram>,
    clients: FxHashMap<Key, Histogram>,
    edges: FxHashMap<Key, Histogram>,
}

impl Metrics {
    /// Counts a span.
    #[expect(clippy::cast_precision_loss, reason = "nanoseconds of a request are below 2^52")]
    pub fn add(&mut self, span: &Span) {
        let seconds = span.end_ns.saturating_sub(span.start_ns) as f64 / 1e9;
        let is_error = span.status == Status::Error;
        let all = if span.kind == Kind::Server { &mut self.servers } else { &mut self.clients };
        series(all, &span.resource.service, &span.name, class(span)).add(seconds, is_error);
        if span.kind == Kind::Client {
            let peer = text(span, "server.address").unwrap_or("(unknown)");
            series(&mut self.edges, &span.resource.service, peer, "").add(seconds, is_error);
        }
    }

    fn write(&self, out: &mut String) {
        for (all, name, labels, help) in [
            (
                &self.servers,
                "http_server_request_duration_seconds",
                ["service_name", "span_name"],
                "Duration of requests that services on this host answered.",
            ),
            (
                &self.clients,
                "http_client_request_duration_seconds",
                ["service_name", "span_name"],
                "Duration of requests that services on this host made.",
            ),
            (
                &self.edges,
                "netspan_edge_duration_seconds",
                ["caller", "callee"],
                "Duration of calls, by who calls whom.",
            ),
        ] {
            head(out, name, "histogram", help);
            let mut sorted: Vec<_> = all.iter().collect();
            sorted.sort_by_key(|(key, _)| *key);
            for (key, histogram) in &sorted {
                histogram.write(out, name, &label(labels, key));
            }
            let errors = format!("{}_errors_total", name.trim_end_matches("_duration_seconds"));
            head(out, &errors, "counter", "Of these, those that ended in an error.");
            for (key, histogram) in &sorted {
                sample(out, &errors, &label(labels, key), histogram.errors);
            }
        }
    }
}

/// The series with these labels; with too many, that of what found no place.
fn series<'a>(
    all: &'a mut FxHashMap<Key, Histogram>,
    one: &str,
    other: &str,
    class: &'static str,
) -> &'a mut Histogram {
    let mut key = (one.to_owned(), other.to_owned(), class);
    if all.len() >= SERIES_MAX && !all.contains_key(&key) {
        key = (OTHER.to_owned(), OTHER.to_owned(), class);
    }
    all.entry(key).or_default()
}

impl Histogram {
    fn add(&mut self, seconds: f64, is_error: bool) {
        if let Some(bucket) = BOUNDS.iter().position(|bound| seconds <= *bound) {
            self.buckets[bucket] += 1;
        }
        self.count += 1;
        self.errors += u64::from(is_error);
        self.sum_s += seconds;
    }

    fn write(&self, out: &mut String, name: &str, labels: &str) {
        let mut below = 0;
        for (bound, count) in BOUNDS.iter().zip(self.buckets) {
            below += count;
            sample(out, &format!("{name}_bucket"), &format!("{labels},le=\"{bound}\""), below);
        }
        sample(out, &format!("{name}_bucket"), &format!("{labels},le=\"+Inf\""), self.count);
        let _ = writeln!(out, "{name}_sum{{{labels}}} {}", self.sum_s);
        sample(out, &format!("{name}_count"), labels, self.count);
    }
}

fn head(out: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

fn sample(out: &mut String, name: &str, labels: &str, value: u64) {
    let _ = writeln!(out, "{name}{{{labels}}} {value}");
}

fn label(names: [&str; 2], (one, other, class): &Key) -> String {
    let mut labels = format!("{}=\"{}\",{}=\"{}\"", names[0], escaped(one), names[1], escaped(other));
    if !class.is_empty() {
        let _ = write!(labels, ",status_class=\"{class}\"");
    }
    labels
}

/// A label's value: backslash, quote and line end are escaped.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// The class of the status code.
fn class(span: &Span) -> &'static str {
    let code = span.attributes.iter().find(|(name, _)| name == "http.response.status_code");
    match code {
        Some((_, Value::Int(100..200))) => "1xx",
        Some((_, Value::Int(200..300))) => "2xx",
        Some((_, Value::Int(300..400))) => "3xx",
        Some((_, Value::Int(400..500))) => "4xx",
        Some((_, Value::Int(500..600))) => "5xx",
        _ => "none",
    }
}

fn text<'a>(span: &'a Span, name: &str) -> Option<&'a str> {
    span.attributes.iter().find_map(|(key, value)| match value {
        Value::Text(text) if key == name => Some(text.as_ref()),
        _ => None,
    })
}

/// `GET /metrics`
pub(super) async fn page(State(state): State<Shared>) -> Response<Body> {
    let mut out = String::new();
    lock(&state.metrics).write(&mut out);
    let account = lock(&state.told.account).clone();
    head(&mut out, "netspan_events_total", "counter", "Events of the kernel side, by what became of them.");
    for (fate, number) in [("delivered", account.events.delivered), ("lost", account.events.lost)] {
        sample(&mut out, "netspan_events_total", &format!("fate=\"{fate}\""), number);
    }
    head(&mut out, "netspan_counter", "gauge", "The agent's own counters, by stage, as in its summary.");
    for (stage, counters) in &account.counters {
        for (name, number) in counters {
            sample(
                &mut out,
                "netspan_counter",
                &format!("stage=\"{}\",name=\"{}\"", escaped(stage), escaped(name)),
                *number,
            );
        }
    }
    for sink in lock(&state.told.sinks).iter() {
        for (name, number) in
            [("offered", sink.offered), ("dropped_full", sink.dropped_full), ("dropped_closed", sink.dropped_closed)]
        {
            sample(&mut out, "netspan_counter", &format!("stage=\"sink.{}\",name=\"{name}\"", sink.name), number);
        }
    }
    if let Some(store) = &state.store {
        for (name, number) in (store.stats)().named() {
            sample(&mut out, "netspan_counter", &format!("stage=\"store\",name=\"{name}\""), number);
        }
    }
    answer::body("text/plain; version=0.0.4; charset=utf-8", out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::span::sample as spans;

    #[test]
    fn a_histogram_is_cumulative_and_labels_are_escaped() {
        let mut metrics = Metrics::default();
        metrics.add(&Span { name: "a\"b\\".into(), ..spans::server() });
        let mut out = String::new();
        metrics.write(&mut out);
        let labels = r#"service_name="shop",span_name="a\"b\\",status_class="5xx""#;
        for line in [
            format!(r#"http_server_request_duration_seconds_bucket{{{labels},le="0.01"}} 0"#),
            format!(r#"http_server_request_duration_seconds_bucket{{{labels},le="0.025"}} 1"#),
            format!(r#"http_server_request_duration_seconds_bucket{{{labels},le="+Inf"}} 1"#),
            format!("http_server_request_duration_seconds_sum{{{labels}}} 0.0124"),
            format!("http_server_request_errors_total{{{labels}}} 1"),
        ] {
            assert!(out.lines().any(|own| own == line), "{line} in\n{out}");
        }
    }

    #[test]
    fn the_number_of_series_is_bounded() {
        let mut metrics = Metrics::default();
        for n in 0..SERIES_MAX + 500 {
            metrics.add(&Span { name: format!("GET /{n}"), ..spans::server() });
        }
        assert_eq!(metrics.servers.len(), SERIES_MAX + 1);
        assert_eq!(metrics.servers[&(OTHER.to_owned(), OTHER.to_owned(), "5xx")].count, 500);
    }
}
