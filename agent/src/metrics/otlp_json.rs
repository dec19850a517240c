//! Metrics as OTLP's JSON: ids in hexadecimal, enums as numbers, integers of 64 bits as texts.
//!
//! Source: OTLP specification, "JSON Protobuf Encoding". Names of fields are those of `metrics.proto` in lowerCamelCase. What
//! [`otlp`](super::otlp) never sets is not written.

use opentelemetry_proto::tonic::{
    collector::metrics::v1::ExportMetricsServiceRequest,
    common::v1::{KeyValue, any_value::Value as Any},
    metrics::v1::{
        Exemplar, HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics, exemplar, metric::Data,
        number_data_point,
    },
};
use serde_json::{Value, json};

/// A message.
pub fn encode(message: &ExportMetricsServiceRequest) -> Vec<u8> {
    json!({ "resourceMetrics": all(&message.resource_metrics, resource) }).to_string().into_bytes()
}

fn all<T>(of: &[T], one: impl Fn(&T) -> Value) -> Value {
    of.iter().map(one).collect()
}

fn resource(of: &ResourceMetrics) -> Value {
    let attributes = of.resource.as_ref().map_or(&[][..], |resource| &resource.attributes);
    let scopes = all(&of.scope_metrics, |scope| {
        let named = scope.scope.as_ref().map(|scope| json!({ "name": scope.name, "version": scope.version }));
        json!({ "scope": named, "metrics": all(&scope.metrics, metric), "schemaUrl": scope.schema_url })
    });
    json!({
        "resource": { "attributes": all(attributes, pair) }, "scopeMetrics": scopes, "schemaUrl": of.schema_url,
    })
}

fn metric(of: &Metric) -> Value {
    let mut made = json!({ "name": of.name, "description": of.description, "unit": of.unit });
    match &of.data {
        Some(Data::Histogram(data)) => {
            made["histogram"] = json!({
                "dataPoints": all(&data.data_points, histogram_point),
                "aggregationTemporality": data.aggregation_temporality,
            });
        }
        Some(Data::Sum(data)) => {
            made["sum"] = json!({
                "dataPoints": all(&data.data_points, number_point),
                "aggregationTemporality": data.aggregation_temporality,
                "isMonotonic": data.is_monotonic,
            });
        }
        _ => {}
    }
    made
}

fn histogram_point(of: &HistogramDataPoint) -> Value {
    json!({
        "attributes": all(&of.attributes, pair),
        "startTimeUnixNano": of.start_time_unix_nano.to_string(),
        "timeUnixNano": of.time_unix_nano.to_string(),
        "count": of.count.to_string(),
        "sum": of.sum,
        "bucketCounts": all(&of.bucket_counts, |count| count.to_string().into()),
        "explicitBounds": of.explicit_bounds,
        "exemplars": all(&of.exemplars, exemplar),
    })
}

fn number_point(of: &NumberDataPoint) -> Value {
    let mut made = json!({
        "attributes": all(&of.attributes, pair),
        "startTimeUnixNano": of.start_time_unix_nano.to_string(),
        "timeUnixNano": of.time_unix_nano.to_string(),
    });
    match of.value {
        Some(number_data_point::Value::AsInt(number)) => made["asInt"] = number.to_string().into(),
        Some(number_data_point::Value::AsDouble(number)) => made["asDouble"] = number.into(),
        None => {}
    }
    made
}

fn exemplar(of: &Exemplar) -> Value {
    let mut made = json!({
        "timeUnixNano": of.time_unix_nano.to_string(), "spanId": hex(&of.span_id), "traceId": hex(&of.trace_id),
    });
    match of.value {
        Some(exemplar::Value::AsInt(number)) => made["asInt"] = number.to_string().into(),
        Some(exemplar::Value::AsDouble(number)) => made["asDouble"] = number.into(),
        None => {}
    }
    made
}

fn pair(of: &KeyValue) -> Value {
    let value = match of.value.as_ref().and_then(|value| value.value.as_ref()) {
        Some(Any::StringValue(text)) => json!({ "stringValue": text }),
        Some(Any::IntValue(number)) => json!({ "intValue": number.to_string() }),
        Some(Any::BoolValue(truth)) => json!({ "boolValue": truth }),
        _ => json!({}),
    };
    json!({ "key": of.key, "value": value })
}

fn hex(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.filter_map(|digit| char::from_digit(digit.into(), 16)).collect()
}
