//! What becomes of spans when the receiver is down, slow, full or wrong.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener},
    time::{Duration, Instant},
};

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTracePartialSuccess, ExportTraceServiceResponse};
use prost::Message as _;

use super::{
    super::{Protocol, WhenFull, start},
    BOTH, PATIENCE, assert_balanced, config, endpoint, hurried, ids, offer,
    receiver::{Answer, Receiver},
};

/// An address where nobody listens (its listener has just gone).
fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("an address")
}

#[test]
fn a_collector_that_comes_late_gets_everything() {
    for protocol in BOTH {
        let address = nobody();
        let handle = start(&hurried(&format!("http://{address}"), protocol)).expect("starts");
        offer(&handle, 1..=5);
        assert!(!handle.flush(Duration::from_millis(100)));
        let stats = handle.stats();
        assert!(stats.retried > 0 && stats.queued == 5, "{stats}");
        let receiver = Receiver::on(address, None, move |_| Answer::ok(protocol == Protocol::Grpc));
        assert!(handle.flush(PATIENCE));
        assert_eq!(ids(receiver.next().spans()), [1, 2, 3, 4, 5]);
        assert_eq!(handle.stats().sent, 5);
    }
}

#[test]
fn a_collector_that_goes_away_and_comes_back_gets_everything_in_order() {
    let receiver = Receiver::start(|_| Answer::ok(true));
    let address = receiver.address;
    let mut config = config(&receiver, Protocol::Grpc);
    config.limits.batch.spans = 2;
    let handle = start(&config).expect("starts");
    offer(&handle, 1..=2);
    assert!(handle.flush(PATIENCE));
    drop(receiver);
    offer(&handle, 3..=8);
    assert!(!handle.flush(Duration::from_millis(50)));
    let receiver = Receiver::on(address, None, |_| Answer::ok(true));
    let stats = handle.shutdown(PATIENCE);
    assert_eq!((stats.sent, stats.dropped.total()), (8, 0), "{stats}");
    let mut all: Vec<_> = receiver.rest().iter().flat_map(|request| ids(request.spans())).collect();
    all.sort_unstable();
    assert_eq!(all, [3, 4, 5, 6, 7, 8]);
}

#[test]
fn what_the_protocol_lets_try_again_is_tried_again() {
    for protocol in BOTH {
        let grpc = protocol == Protocol::Grpc;
        let receiver = Receiver::start(move |n| match n {
            0 if grpc => Answer::Grpc(14, "restarting", None, Vec::new()),
            0 => Answer::Http(503, Vec::new(), Bytes::new()),
            _ => Answer::ok(grpc),
        });
        let handle = start(&config(&receiver, protocol)).expect("starts");
        offer(&handle, 1..=3);
        let stats = handle.shutdown(PATIENCE);
        assert_eq!((stats.sent, stats.retried, receiver.rest().len()), (3, 1, 2), "{stats}");
    }
}

#[test]
fn the_delay_that_the_receiver_asks_for_is_kept() {
    // RetryInfo of one second: google.rpc.Status { code: 8, details: [RetryInfo { retry_delay: 1 s }] }.
    let info = b"\x08\x08\x1a\x30\x0a\x28type.googleapis.com/google.rpc.RetryInfo\x12\x04\x0a\x02\x08\x01";
    for protocol in BOTH {
        let grpc = protocol == Protocol::Grpc;
        let details = base64(info);
        let receiver = Receiver::start(move |n| match n {
            0 if grpc => Answer::Grpc(8, "full", Some(details.clone()), Vec::new()),
            0 => Answer::Http(429, vec![("retry-after", "1")], Bytes::new()),
            _ => Answer::ok(grpc),
        });
        let handle = start(&config(&receiver, protocol)).expect("starts");
        offer(&handle, 1..=1);
        let (first, second) = (receiver.next(), receiver.next());
        let delay = second.at - first.at;
        assert!(delay > Duration::from_millis(900), "{protocol}: {delay:?}");
        assert_eq!(handle.shutdown(PATIENCE).sent, 1);
    }
}

#[test]
fn a_batch_refused_for_good_is_counted_and_not_sent_again() {
    for protocol in BOTH {
        let grpc = protocol == Protocol::Grpc;
        let receiver = Receiver::start(move |n| match n {
            0 if grpc => Answer::Grpc(16, "who are you?", None, Vec::new()),
            0 => Answer::Http(401, Vec::new(), Bytes::new()),
            _ => Answer::ok(grpc),
        });
        let handle = start(&config(&receiver, protocol)).expect("starts");
        offer(&handle, 1..=3);
        assert!(handle.flush(PATIENCE));
        offer(&handle, 4..=5);
        let stats = handle.shutdown(PATIENCE);
        assert_eq!((stats.sent, stats.dropped.refused, stats.retried, receiver.rest().len()), (2, 3, 0, 2), "{stats}");
        assert_balanced(&stats);
    }
}

#[test]
fn rejected_spans_of_a_partial_success_are_counted_and_not_sent_again() {
    for protocol in BOTH {
        let partial = |rejected_spans| {
            let partial = ExportTracePartialSuccess { rejected_spans, error_message: "too old".to_owned() };
            ExportTraceServiceResponse { partial_success: Some(partial) }.encode_to_vec()
        };
        let receiver = Receiver::start(move |n| {
            // The second answer claims more than there was.
            let body = partial(if n == 0 { 2 } else { 1000 });
            match protocol {
                Protocol::Grpc => Answer::Grpc(0, "", None, body),
                _ => Answer::Http(200, vec![("content-type", "application/x-protobuf")], body.into()),
            }
        });
        let handle = start(&config(&receiver, protocol)).expect("starts");
        offer(&handle, 1..=5);
        assert!(handle.flush(PATIENCE));
        offer(&handle, 6..=7);
        let stats = handle.shutdown(PATIENCE);
        assert_eq!((stats.sent, stats.rejected, stats.retried, receiver.rest().len()), (3, 4, 0, 2), "{stats}");
        assert_balanced(&stats);
    }
}

#[test]
fn a_receiver_that_says_nothing_is_asked_again_after_the_time_out() {
    for protocol in BOTH {
        let receiver = Receiver::start(move |n| match n {
            0 => Answer::Silence,
            _ => Answer::ok(protocol == Protocol::Grpc),
        });
        let mut config = config(&receiver, protocol);
        endpoint(&mut config).timeout = Duration::from_millis(100);
        let handle = start(&config).expect("starts");
        offer(&handle, 1..=3);
        let stats = handle.shutdown(PATIENCE);
        assert_eq!((stats.sent, stats.retried), (3, 1), "{stats}");
    }
}

#[test]
fn an_odd_answer_of_a_success_is_a_success() {
    let odd = || Bytes::from_static(b"\xff\xfe not a message");
    for protocol in BOTH {
        let receiver = Receiver::start(move |_| match protocol {
            Protocol::Grpc => Answer::Grpc(0, "", None, odd().to_vec()),
            _ => Answer::Http(202, vec![("content-type", "application/x-protobuf")], odd()),
        });
        let handle = start(&config(&receiver, protocol)).expect("starts");
        offer(&handle, 1..=3);
        let stats = handle.shutdown(PATIENCE);
        assert_eq!((stats.sent, stats.retried), (3, 0), "{stats}");
    }
}

#[test]
fn a_peer_that_speaks_something_else_costs_nothing_but_retries() {
    for protocol in BOTH {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let peer = std::thread::spawn(move || {
            for _ in 0..3 {
                let (mut socket, _) = listener.accept().expect("a connection");
                // It may have gone already.
                let _ = socket.read(&mut [0; 100]);
                let _ = socket.write_all(b"220 mail.example ESMTP\r\n");
            }
        });
        let handle = start(&hurried(&format!("http://{address}"), protocol)).expect("starts");
        offer(&handle, 1..=3);
        peer.join().expect("three attempts came");
        let stats = handle.shutdown(Duration::from_millis(100));
        assert!(stats.retried >= 2, "{stats}");
        assert_eq!((stats.sent, stats.dropped.shutdown), (0, 3), "{stats}");
    }
}

#[test]
fn a_full_queue_drops_the_oldest_spans_and_the_producer_never_waits() {
    let receiver = Receiver::start(move |n| if n == 0 { Answer::Silence } else { Answer::ok(false) });
    let mut config = config(&receiver, Protocol::Http);
    config.limits.batch.spans = 10;
    config.limits.queue.spans = 50;
    config.limits.in_flight = 1;
    endpoint(&mut config).timeout = Duration::from_millis(500);
    let handle = start(&config).expect("starts");
    offer(&handle, 1..=10);
    assert_eq!(ids(receiver.next().spans()).len(), 10);
    offer(&handle, 11..=210);
    let stats = handle.shutdown(PATIENCE);
    assert_eq!((stats.produced, stats.sent, stats.dropped.full, stats.queued), (210, 50, 160, 0), "{stats}");
    let last = receiver.rest().iter().flat_map(|request| ids(request.spans())).max();
    assert_eq!(last, Some(210), "the newest spans are the ones that are kept");
}

#[test]
fn an_exporter_that_holds_back_loses_nothing_however_slow_the_receiver() {
    let receiver = Receiver::start(|n| match n % 3 {
        0 => Answer::Http(503, Vec::new(), Bytes::new()),
        _ => Answer::ok(false),
    });
    let mut config = config(&receiver, Protocol::Http);
    config.when_full = WhenFull::HoldBack;
    config.limits.input = 10;
    config.limits.batch.spans = 10;
    config.limits.queue.spans = 20;
    let handle = start(&config).expect("starts");
    let sink = handle.sink();
    for _ in 0..500 {
        sink.give(std::sync::Arc::new(crate::span::sample::root()));
    }
    let stats = handle.shutdown(PATIENCE);
    assert_eq!((stats.sent, stats.dropped.total()), (500, 0), "{stats}");
    assert!(stats.retried > 0, "{stats}");
}

#[test]
fn a_full_input_counts_and_does_not_block() {
    let receiver = Receiver::start(|_| Answer::Silence);
    let mut config = config(&receiver, Protocol::Http);
    config.limits.input = 16;
    config.limits.queue.spans = 16;
    let handle = start(&config).expect("starts");
    offer(&handle, 1..=100_000);
    let stats = handle.shutdown(Duration::ZERO);
    assert!(stats.dropped.full > 0, "{stats}");
    assert_eq!((stats.produced, stats.queued), (100_000, 0));
    assert_balanced(&stats);
}

#[test]
fn a_batch_that_is_too_old_is_given_up() {
    let mut config = hurried(&format!("http://{}", nobody()), Protocol::Grpc);
    config.limits.retry_age = Duration::from_millis(50);
    let handle = start(&config).expect("starts");
    offer(&handle, 1..=3);
    assert!(handle.flush(PATIENCE), "it is settled, by being dropped");
    assert_eq!(handle.stats().dropped.age, 3);
}

#[test]
fn shut_down_keeps_its_deadline_and_counts_what_it_leaves() {
    let receiver = Receiver::start(|_| Answer::Silence);
    let handle = start(&config(&receiver, Protocol::Http)).expect("starts");
    let sink = handle.sink();
    offer(&handle, 1..=3);
    receiver.next();
    offer(&handle, 4..=4);
    let begun = Instant::now();
    let stats = handle.shutdown(Duration::from_millis(200));
    assert!(begun.elapsed() < Duration::from_secs(5));
    assert_eq!((stats.produced, stats.dropped.shutdown, stats.queued), (4, 4, 0), "{stats}");
    sink.offer(std::sync::Arc::new(crate::span::sample::root()));
    assert_eq!(sink.stats().dropped_closed, 1);
}

#[test]
fn shut_down_does_not_wait_for_a_delay_that_ends_too_late() {
    let receiver = Receiver::start(|_| Answer::Http(503, vec![("retry-after", "100")], Bytes::new()));
    let handle = start(&config(&receiver, Protocol::Http)).expect("starts");
    offer(&handle, 1..=3);
    receiver.next();
    let begun = Instant::now();
    let stats = handle.shutdown(PATIENCE);
    assert!(begun.elapsed() < PATIENCE / 2, "{:?}", begun.elapsed());
    assert_eq!(stats.dropped.shutdown, 3, "{stats}");
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let sextets = |chunk: &[u8]| {
        let bits = chunk.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        (0..=chunk.len()).map(move |n| char::from(DIGITS[(bits >> (18 - 6 * n) & 63) as usize]))
    };
    bytes.chunks(3).flat_map(sextets).collect()
}
