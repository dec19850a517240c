//! The exporter against receivers on real sockets.

mod adversity;
mod delivery;
mod disk;
mod faults;
mod formats;
mod metrics;
mod receiver;
mod tls;

use std::{sync::Arc, time::Duration};

use self::receiver::Receiver;
use super::{Config, Handle, Protocol, Stats, config::Endpoint};
use crate::span::{Span, SpanId, sample};

/// Longest time that a test waits for the exporter.
const PATIENCE: Duration = Duration::from_secs(20);
const BOTH: [Protocol; 2] = [Protocol::Grpc, Protocol::Http];

/// A configuration for a receiver, in a hurry.
fn config(receiver: &Receiver, protocol: Protocol) -> Config {
    hurried(&format!("http://{}", receiver.address), protocol)
}

/// The endpoint of a configuration.
fn endpoint(config: &mut Config) -> &mut Endpoint {
    config.endpoint_mut().expect("an endpoint")
}

fn hurried(url: &str, protocol: Protocol) -> Config {
    let name = match protocol {
        Protocol::Grpc => "grpc",
        Protocol::Json => "http/json",
        _ => "http/protobuf",
    };
    let variable = |key: &str| (key == "OTEL_EXPORTER_OTLP_PROTOCOL").then(|| name.to_owned());
    let mut config = Config::resolve(Some(url), variable).expect("valid").expect("an endpoint");
    endpoint(&mut config).greet = false;
    config.limits.batch_age = Duration::from_millis(300);
    config.limits.backoff_first = Duration::from_millis(1);
    config.limits.backoff_most = Duration::from_millis(20);
    config
}

/// Gives the exporter spans whose ids are the numbers of `range`.
fn offer(handle: &Handle, range: std::ops::RangeInclusive<u64>) {
    let sink = handle.sink();
    for id in range {
        sink.offer(Arc::new(Span { span_id: SpanId(id.to_be_bytes()), ..sample::server() }));
    }
}

fn assert_balanced(stats: &Stats) {
    assert_eq!(
        stats.produced + stats.recovered,
        stats.sent + stats.rejected + stats.dropped.total() + stats.queued,
        "{stats}"
    );
}

/// Ids of spans as numbers.
fn ids<'a>(spans: impl IntoIterator<Item = &'a opentelemetry_proto::tonic::trace::v1::Span>) -> Vec<u64> {
    let id = |span: &opentelemetry_proto::tonic::trace::v1::Span| {
        u64::from_be_bytes(span.span_id.as_slice().try_into().expect("8 bytes"))
    };
    spans.into_iter().map(id).collect()
}
