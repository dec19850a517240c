//! Metrics of known spans, read back.

use opentelemetry_proto::tonic::{
    collector::metrics::v1::ExportMetricsServiceRequest,
    metrics::v1::{Metric, metric::Data},
};
use opentelemetry_semantic_conventions::metric as names;
use prost::Message as _;

use super::*;
use crate::{
    conn::{Closed, Role, Socket, Tcp},
    protocol::End,
    span::{Span, Value, sample},
};

const NOW: u64 = 2_000_000_000_000_000_000;

fn with(kind: Kind, attributes: &[(&'static str, &'static str)]) -> Span {
    let attributes = attributes.iter().map(|&(name, text)| match text.parse() {
        Ok(number) => (name.into(), Value::Int(number)),
        Err(_) => (name.into(), Value::Text(text.into())),
    });
    Span { kind, attributes: attributes.collect(), ..sample::server() }
}

fn metrics() -> Metrics {
    let mut metrics = Metrics::default();
    let get = ("http.request.method", "GET");
    let route = ("http.route", "/a\"{id}");
    metrics.add(&with(Kind::Server, &[get, ("url.scheme", "http"), route, ("http.response.status_code", "200")]));
    metrics.add(&with(Kind::Client, &[get, ("server.address", "db"), ("server.port", "80"), ("error.type", "reset")]));
    let rpc = [("rpc.system.name", "grpc"), ("rpc.method", "p.S/M"), ("rpc.response.status_code", "OK")];
    metrics.add(&with(Kind::Server, &rpc));
    metrics.add(&with(Kind::Client, &rpc));
    metrics
}

fn closed(role: Role, tls: bool) -> Closed {
    let socket = Socket { role, tls, syn_ns: 1000, established_ns: 3_001_000, ..Socket::default() };
    Closed {
        socket: Arc::new(socket),
        at_ns: 9_000_000_000,
        end: End::Closed,
        peer_ended: false,
        lifetime_ns: 8_000_000_000,
        bytes_in: 10,
        bytes_out: 20,
        tcp: Some(Tcp { srtt_us: 500, min_rtt_us: 300, retransmits: 2 }),
    }
}

fn written(metrics: &Metrics, format: Format) -> String {
    let mut out = String::new();
    metrics.write(&mut out, format);
    out
}

fn decoded(messages: &[ExportMetricsServiceRequest]) -> Vec<Metric> {
    let resources = messages.iter().cloned().flat_map(|request| request.resource_metrics);
    resources.flat_map(|resource| resource.scope_metrics).flat_map(|scope| scope.metrics).collect()
}

#[test]
fn the_text_has_cumulative_buckets_and_escaped_labels() {
    let out = written(&metrics(), Format::Classic);
    let labels = r#"service_name="shop",http_request_method="GET",url_scheme="http",http_route="/a\"{id}",http_response_status_code="200""#;
    for line in [
        format!(r#"http_server_request_duration_seconds_bucket{{{labels},le="0.01"}} 0"#),
        format!(r#"http_server_request_duration_seconds_bucket{{{labels},le="0.025"}} 1"#),
        format!(r#"http_server_request_duration_seconds_bucket{{{labels},le="+Inf"}} 1"#),
        format!("http_server_request_duration_seconds_sum{{{labels}}} 0.0124"),
        r#"netspan_edge_duration_seconds_count{caller="shop",callee="db"} 1"#.to_owned(),
        r#"rpc_client_call_duration_seconds_count{service_name="shop",rpc_system_name="grpc",rpc_method="p.S/M",rpc_response_status_code="OK"} 1"#.to_owned(),
        "# TYPE netspan_metrics_overflow_total counter".to_owned(),
    ] {
        assert!(out.lines().any(|own| own == line), "{line} in\n{out}");
    }
    assert!(!out.contains("trace_id"));
}

#[test]
fn openmetrics_has_exemplars_and_its_own_names() {
    let out = written(&metrics(), Format::Open);
    let exemplar = "le=\"0.025\"} 1 # {trace_id=\"4bf92f3577b34da6a3ce929d0e0e4736\",span_id=\"00f067aa0ba902b7\"} 0.0124 1735689600.135";
    assert!(out.contains(exemplar), "{out}");
    assert!(out.contains("le=\"1.0\"") && !out.contains("le=\"1\""));
    assert!(out.contains("# TYPE netspan_metrics_overflow counter\nnetspan_metrics_overflow_total 0\n"));
    for (accept, expected) in [
        ("application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5", Format::Open),
        ("text/plain", Format::Classic),
        ("*/*", Format::Classic),
        ("application/openmetrics-text; q=0", Format::Classic),
        ("", Format::Classic),
    ] {
        assert_eq!(Format::of_accept(accept), expected, "{accept}");
    }
}

#[test]
fn otlp_has_the_same_under_the_conventions_names() {
    let mut metrics = metrics();
    metrics.add_connection(&closed(Role::Client, false), &sample::server().resource, 0);
    let all = decoded(&metrics.messages(NOW, &[]));
    let named: Vec<&str> = all.iter().map(|metric| metric.name.as_str()).collect();
    assert_eq!(
        named[..4],
        [
            names::HTTP_SERVER_REQUEST_DURATION,
            names::HTTP_CLIENT_REQUEST_DURATION,
            names::RPC_SERVER_CALL_DURATION,
            names::RPC_CLIENT_CALL_DURATION
        ]
    );
    assert!(named[4..].iter().all(|name| name.starts_with("netspan.connection.")));
    let Some(Data::Histogram(histogram)) = &all[0].data else { panic!("no histogram") };
    let point = &histogram.data_points[0];
    assert_eq!((all[0].unit.as_str(), histogram.aggregation_temporality, point.count), ("s", 2, 1));
    assert_eq!((point.bucket_counts.len(), point.explicit_bounds.len()), (15, 14));
    assert_eq!(point.bucket_counts.iter().sum::<u64>(), 1);
    assert!(point.start_time_unix_nano > 0 && point.start_time_unix_nano < point.time_unix_nano);
    assert_eq!(point.exemplars[0].trace_id, sample::server().trace_id.0);
    let keys: Vec<_> = point.attributes.iter().map(|pair| pair.key.as_str()).collect();
    assert_eq!(keys, ["http.request.method", "url.scheme", "http.route", "http.response.status_code"]);
}

#[test]
fn json_says_the_same_as_protocol_buffers() {
    let mut metrics = metrics();
    metrics.add_connection(&closed(Role::Client, false), &sample::server().resource, 0);
    for message in metrics.messages(NOW, &[]) {
        let read: ExportMetricsServiceRequest =
            serde_json::from_slice(&otlp_json::encode(&message)).expect("JSON as receivers read it");
        assert_eq!(read, message);
    }
}

#[test]
fn a_resource_gets_the_common_attributes_that_it_does_not_have() {
    let text = |text: &'static str| Value::Text(text.into());
    let common =
        [("service.name".into(), text("agent")), ("host.name".into(), text("other")), ("zone".into(), text("a"))];
    let message = metrics().messages(NOW, &common).remove(0);
    let resource = message.resource_metrics[0].resource.clone().expect("a resource");
    let keys: Vec<_> = resource.attributes.iter().map(|pair| pair.key.as_str()).collect();
    assert_eq!(keys.iter().filter(|key| **key == "service.name").count(), 1);
    assert_eq!(keys.iter().filter(|key| **key == "host.name").count(), 1);
    assert_eq!(keys.last(), Some(&"zone"));
}

#[test]
fn sums_keep_their_beginning_when_something_older_is_counted_later() {
    let mut metrics = metrics();
    let start = |metrics: &Metrics| match &decoded(&metrics.messages(NOW, &[]))[0].data {
        Some(Data::Histogram(histogram)) => histogram.data_points[0].start_time_unix_nano,
        _ => 0,
    };
    let before = start(&metrics);
    metrics.add(&Span { start_ns: 1, ..with(Kind::Server, &[]) });
    assert_eq!((start(&metrics), before), (before, sample::server().start_ns));
}

#[test]
fn a_connection_is_counted_once_and_what_is_not_known_is_left_out() {
    let (mut metrics, resource) = (Metrics::default(), sample::server().resource);
    metrics.add_connection(&closed(Role::Client, false), &resource, 0);
    metrics.add_connection(&closed(Role::Client, true), &resource, 0);
    metrics.add_connection(&Closed { tcp: None, ..closed(Role::Server, false) }, &resource, 0);
    let out = written(&metrics, Format::Classic);
    for line in [
        r#"netspan_connection_connect_duration_seconds_sum{service_name="shop",netspan_connection_role="client"} 0.003"#,
        r#"netspan_connection_duration_seconds_count{service_name="shop",netspan_connection_role="server"} 1"#,
        r#"netspan_connection_round_trip_seconds_sum{service_name="shop",netspan_connection_role="client"} 0.0003"#,
        r#"netspan_connection_retransmits_total{service_name="shop",netspan_connection_role="client"} 2"#,
        r#"netspan_connection_io_bytes_total{service_name="shop",netspan_connection_role="client",network_io_direction="transmit"} 20"#,
    ] {
        assert!(out.lines().any(|own| own == line), "{line} in\n{out}");
    }
    assert_eq!(out.matches("connect_duration_seconds_count").count(), 1);
}

#[test]
fn many_series_are_several_messages_each_of_which_a_receiver_takes() {
    let mut metrics = Metrics::default();
    for n in 0..SERIES_MAX {
        let mut span = with(Kind::Server, &[("http.request.method", "GET"), ("url.scheme", "http")]);
        span.attributes.push(("http.route".into(), Value::Text(format!("/{n}/{}", "x".repeat(200)).into())));
        metrics.add(&span);
        span.kind = Kind::Client;
        span.attributes.push(("server.address".into(), Value::Text(format!("host-{n}").into())));
        metrics.add(&span);
    }
    let messages = metrics.messages(NOW, &[]);
    assert!(messages.len() > 1 && messages.iter().all(|one| one.encoded_len() < 4 << 20), "{}", messages.len());
    assert!(messages.iter().all(|one| otlp_json::encode(one).len() < 4 << 20));
    assert_eq!(messages.iter().map(otlp::points).sum::<u64>(), 2 * SERIES_MAX as u64);
    let points = decoded(&messages).into_iter().map(|metric| match metric.data {
        Some(Data::Histogram(histogram)) => histogram.data_points.len(),
        _ => 0,
    });
    assert_eq!(points.sum::<usize>(), 2 * SERIES_MAX);
}

#[test]
fn the_tables_name_each_attribute_once() {
    for name in REQUESTS.iter().flat_map(|definition| definition.attributes) {
        assert!(ATTRIBUTES.contains(name), "{name}");
    }
}
