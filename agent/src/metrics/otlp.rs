//! Metrics as OTLP: messages `ExportMetricsServiceRequest`, with cumulative sums from the first thing counted on.

use opentelemetry_proto::tonic::{
    collector::metrics::v1::ExportMetricsServiceRequest,
    common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value},
    metrics::v1::{
        self as proto, AggregationTemporality, HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics,
        ScopeMetrics, exemplar, metric, number_data_point,
    },
    resource::v1::Resource,
};
use prost::Message as _;

use super::{Attributes, BOUNDS, Exemplar, Histogram, Key, Label, Metrics, REQUESTS, Series};
use crate::span::Attribute;

/// Schema of the names.
pub const SCHEMA_URL: &str = "https://opentelemetry.io/schemas/1.44.0";
/// Bytes from which on a message is closed: as JSON it has some three times as many, and receivers take 4 MiB at a time.
pub const MESSAGE_BYTES: usize = 1 << 20;
/// Points of one metric of one service that stand together, at most; one has up to 2 kB.
pub const POINTS_MAX: usize = 400;

impl Metrics {
    /// All metrics at a moment (nanoseconds since the Unix epoch), as messages that can be sent each by itself. `common` are
    /// attributes for each resource that does not have them.
    pub fn messages(&self, now_ns: u64, common: &[Attribute]) -> Vec<ExportMetricsServiceRequest> {
        let times = (self.start_ns.unwrap_or(now_ns).min(now_ns), now_ns);
        let mut out = Messages { metrics: self, common, open: Vec::new(), bytes: 0, done: Vec::new() };
        for (definition, series) in REQUESTS.iter().zip(&self.requests) {
            out.histograms(times, (definition.name, "s", definition.description), series);
        }
        for (named, series) in self.connections.histograms() {
            out.histograms(times, named, series);
        }
        for (named, series) in self.connections.counters() {
            out.counters(times, named, series);
        }
        out.close();
        out.done
    }
}

/// Messages in the making.
struct Messages<'a> {
    metrics: &'a Metrics,
    common: &'a [Attribute],
    open: Vec<ResourceMetrics>,
    bytes: usize,
    done: Vec<ExportMetricsServiceRequest>,
}

type Named = (&'static str, &'static str, &'static str);

impl Messages<'_> {
    fn histograms(&mut self, times: (u64, u64), named: Named, series: &Series<Histogram>) {
        for of_service in pieces(&series.sorted()) {
            let data_points =
                of_service.iter().map(|(key, histogram)| histogram_point(times, key, histogram)).collect();
            let aggregation_temporality = AggregationTemporality::Cumulative.into();
            let data = metric::Data::Histogram(proto::Histogram { data_points, aggregation_temporality });
            self.add(of_service, named, data);
        }
    }

    fn counters(&mut self, times: (u64, u64), named: Named, series: &Series<u64>) {
        for of_service in pieces(&series.sorted()) {
            let data_points = of_service.iter().map(|(key, count)| number_point(times, key, **count)).collect();
            let aggregation_temporality = AggregationTemporality::Cumulative.into();
            let data = metric::Data::Sum(proto::Sum { data_points, aggregation_temporality, is_monotonic: true });
            self.add(of_service, named, data);
        }
    }

    fn add<T>(&mut self, of_service: &[(&Key, T)], (name, unit, description): Named, data: metric::Data) {
        let service = of_service.first().map_or("", |(key, _)| key.service.as_str());
        let metric = Metric {
            name: name.to_owned(),
            description: description.to_owned(),
            unit: unit.to_owned(),
            data: Some(data),
            ..Metric::default()
        };
        let own = (!service.is_empty()).then(|| pair("service.name", &Label::Text(service.to_owned())));
        let host = &self.metrics.host;
        let is_new = |(name, _): &&Attribute| name != "service.name" && !host.iter().any(|(own, _)| own == name);
        let host = host.iter().chain(self.common.iter().filter(is_new));
        let host = host.map(|(name, value)| pair(name, &value.into()));
        let scope = InstrumentationScope {
            name: env!("CARGO_PKG_NAME").to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            ..InstrumentationScope::default()
        };
        let made = ResourceMetrics {
            resource: Some(Resource { attributes: own.into_iter().chain(host).collect(), ..Resource::default() }),
            scope_metrics: vec![ScopeMetrics {
                scope: Some(scope),
                metrics: vec![metric],
                schema_url: SCHEMA_URL.to_owned(),
            }],
            schema_url: SCHEMA_URL.to_owned(),
        };
        let bytes = made.encoded_len();
        if self.bytes + bytes > MESSAGE_BYTES {
            self.close();
        }
        self.bytes += bytes;
        self.open.push(made);
    }

    fn close(&mut self) {
        let resource_metrics = std::mem::take(&mut self.open);
        self.bytes = 0;
        if !resource_metrics.is_empty() {
            self.done.push(ExportMetricsServiceRequest { resource_metrics });
        }
    }
}

/// The series of one service each, and not too many of them.
fn pieces<'s, T>(sorted: &'s [(&'s Key, T)]) -> impl Iterator<Item = &'s [(&'s Key, T)]> {
    sorted.chunk_by(|(a, _), (b, _)| a.service == b.service).flat_map(|of_service| of_service.chunks(POINTS_MAX))
}

/// Points in a message.
pub fn points(message: &ExportMetricsServiceRequest) -> u64 {
    let scopes = message.resource_metrics.iter().flat_map(|resource| &resource.scope_metrics);
    let points = scopes.flat_map(|scope| &scope.metrics).map(|metric| match &metric.data {
        Some(metric::Data::Histogram(histogram)) => histogram.data_points.len(),
        Some(metric::Data::Sum(sum)) => sum.data_points.len(),
        _ => 0,
    });
    points.sum::<usize>() as u64
}

fn histogram_point((start, now): (u64, u64), key: &Key, histogram: &Histogram) -> HistogramDataPoint {
    HistogramDataPoint {
        attributes: pairs(&key.attributes),
        start_time_unix_nano: start,
        time_unix_nano: now,
        count: histogram.count(),
        sum: Some(histogram.sum_s),
        bucket_counts: histogram.buckets.to_vec(),
        explicit_bounds: BOUNDS.to_vec(),
        exemplars: histogram.exemplars.iter().flatten().map(exemplar).collect(),
        ..HistogramDataPoint::default()
    }
}

fn number_point((start, now): (u64, u64), key: &Key, count: u64) -> NumberDataPoint {
    NumberDataPoint {
        attributes: pairs(&key.attributes),
        start_time_unix_nano: start,
        time_unix_nano: now,
        value: Some(number_data_point::Value::AsInt(i64::try_from(count).unwrap_or(i64::MAX))),
        ..NumberDataPoint::default()
    }
}

fn exemplar(exemplar: &Exemplar) -> proto::Exemplar {
    let Exemplar { trace_id, span_id, seconds, end_ns } = exemplar;
    proto::Exemplar {
        time_unix_nano: *end_ns,
        span_id: span_id.0.to_vec(),
        trace_id: trace_id.0.to_vec(),
        value: Some(exemplar::Value::AsDouble(*seconds)),
        ..proto::Exemplar::default()
    }
}

fn pairs(attributes: &Attributes) -> Vec<KeyValue> {
    attributes.iter().map(|(name, value)| pair(name, value)).collect()
}

fn pair(name: &str, value: &Label) -> KeyValue {
    let value = match value {
        Label::Text(text) => any_value::Value::StringValue(text.clone()),
        Label::Int(number) => any_value::Value::IntValue(*number),
        Label::Bool(truth) => any_value::Value::BoolValue(*truth),
    };
    KeyValue { key: name.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}
