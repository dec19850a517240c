//! Metrics on their way to a receiver.

use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::{
    collector::metrics::v1::{ExportMetricsPartialSuccess, ExportMetricsServiceRequest, ExportMetricsServiceResponse},
    metrics::v1::metric::Data,
};
use prost::Message as _;

use super::{
    super::{Compression, Config, Protocol, metrics::*},
    PATIENCE, config, endpoint,
    receiver::{Answer, METRICS_METHOD, Received, Receiver},
};
use crate::{metrics::Shared, span::sample};

/// An interval after which a test would have given up.
const NEVER: Duration = Duration::from_hours(1);

fn counted() -> Shared {
    let metrics = Shared::default();
    metrics.lock().expect("sound").add(&sample::server());
    metrics
}

fn for_metrics(receiver: &Receiver, protocol: Protocol) -> Config {
    config(receiver, protocol).for_metrics().expect("they can go there")
}

/// The requests that a message counts.
fn requests(received: &Received) -> u64 {
    let message: ExportMetricsServiceRequest = match received.headers["content-type"].to_str().expect("text") {
        "application/json" => serde_json::from_slice(&received.body).expect("a message in JSON"),
        _ => ExportMetricsServiceRequest::decode(received.body.clone()).expect("a message"),
    };
    let scopes = message.resource_metrics.iter().flat_map(|resource| &resource.scope_metrics);
    let histograms = scopes.flat_map(|scope| &scope.metrics).filter_map(|metric| match &metric.data {
        Some(Data::Histogram(histogram)) => Some(&histogram.data_points),
        _ => None,
    });
    histograms.flatten().map(|point| point.count).sum()
}

fn await_that(handle: &Handle, is_so: impl Fn(&Stats) -> bool) {
    let (watch, until) = (handle.watch(), Instant::now() + PATIENCE);
    while !is_so(&watch()) && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn metrics_arrive_by_each_protocol_with_headers_and_compression() {
    for (protocol, path, kind) in [
        (Protocol::Grpc, METRICS_METHOD, "application/grpc"),
        (Protocol::Http, "/v1/metrics", "application/x-protobuf"),
        (Protocol::Json, "/v1/metrics", "application/json"),
    ] {
        let receiver = Receiver::start(move |_| Answer::ok(protocol == Protocol::Grpc));
        let mut config = for_metrics(&receiver, protocol);
        config.compression = Compression::Gzip;
        endpoint(&mut config).headers.insert("x-tenant", "me".parse().expect("a value"));
        let metrics = counted();
        let handle = start(&config, INTERVAL_MIN, std::sync::Arc::clone(&metrics)).expect("starts");
        let first = receiver.next();
        await_that(&handle, |stats| stats.sent > 0);
        metrics.lock().expect("sound").add(&sample::server());
        let stats = handle.shutdown(PATIENCE);
        let last = receiver.rest().pop().expect("one at the end");
        for received in [&first, &last] {
            assert_eq!(
                (received.path.as_str(), &received.headers["content-type"]),
                (path, &kind.parse().expect("one"))
            );
            assert_eq!(received.headers["x-tenant"], "me");
        }
        assert_eq!((requests(&first), requests(&last)), (1, 2), "cumulative");
        assert!(stats.sent >= 2 && stats.points == stats.sent && stats.failed == 0, "{stats}");
    }
}

#[test]
fn a_failure_is_tried_again_and_what_never_arrives_is_counted() {
    let unavailable = || Answer::Http(503, Vec::new(), bytes::Bytes::new());
    let receiver = Receiver::start(move |n| if n < 2 { unavailable() } else { Answer::ok(false) });
    let handle = start(&for_metrics(&receiver, Protocol::Http), NEVER, counted()).expect("starts");
    let stats = handle.shutdown(PATIENCE);
    assert_eq!((stats.sent, stats.retried, stats.failed), (1, 2, 0), "{stats}");

    let receiver = Receiver::start(move |_| unavailable());
    let handle = start(&for_metrics(&receiver, Protocol::Http), NEVER, counted()).expect("starts");
    let begun = Instant::now();
    let stats = handle.shutdown(Duration::from_millis(300));
    assert!(begun.elapsed() < PATIENCE && stats.retried > 1, "{stats}");
    assert_eq!((stats.sent, stats.failed), (0, 1), "{stats}");
}

#[test]
fn a_receiver_of_spans_only_is_not_asked_each_time() {
    let not_found = || Answer::Http(404, Vec::new(), bytes::Bytes::new());
    for guessed in [true, false] {
        let receiver = Receiver::start(move |_| not_found());
        let mut config = for_metrics(&receiver, Protocol::Http);
        endpoint(&mut config).guessed = guessed;
        let handle = start(&config, INTERVAL_MIN, counted()).expect("starts");
        await_that(&handle, |stats| stats.skipped > 0);
        let stats = handle.shutdown(PATIENCE);
        assert_eq!((stats.refused, stats.sent), (1, 0), "{stats}");
        assert!(stats.skipped > 0, "{stats}");
        assert_eq!(receiver.rest().len(), 1 + usize::from(guessed), "a guess is tried in both protocols");
    }
}

#[test]
fn rejected_points_are_counted_in_each_protocol() {
    let partial = ExportMetricsPartialSuccess { rejected_data_points: 1, error_message: "late".to_owned() };
    let encoded = ExportMetricsServiceResponse { partial_success: Some(partial) }.encode_to_vec();
    let json = br#"{"partialSuccess":{"rejectedDataPoints":"1","errorMessage":"late"}}"#;
    let kind = |kind| vec![("content-type", kind)];
    for (protocol, answer) in [
        (Protocol::Grpc, Answer::Grpc(0, "", None, encoded.clone())),
        (Protocol::Http, Answer::Http(200, kind("application/x-protobuf"), encoded.into())),
        (Protocol::Json, Answer::Http(200, kind("application/json"), json.to_vec().into())),
    ] {
        let receiver = Receiver::start(move |_| answer.clone());
        let handle = start(&for_metrics(&receiver, protocol), NEVER, counted()).expect("starts");
        let stats = handle.shutdown(PATIENCE);
        assert_eq!((stats.sent, stats.points, stats.rejected_points), (1, 0, 1), "{protocol}: {stats}");
    }
}

#[test]
fn nothing_is_sent_while_nothing_is_counted_or_when_there_is_no_time() {
    let receiver = Receiver::start(|_| Answer::ok(false));
    let handle = start(&for_metrics(&receiver, Protocol::Http), NEVER, Shared::default()).expect("starts");
    assert_eq!(handle.shutdown(PATIENCE), Stats::default());
    drop(start(&for_metrics(&receiver, Protocol::Http), NEVER, counted()).expect("starts"));
    assert!(receiver.rest().is_empty());
}
