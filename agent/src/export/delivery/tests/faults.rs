//! Faults of receivers that are worth a test of their own: resets, dates to wait for, small caps, large spans.

use std::{
    net::TcpListener,
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;

use super::{
    super::{Protocol, start},
    BOTH, PATIENCE, assert_balanced, config, endpoint, hurried, ids, offer,
    receiver::{Answer, Receiver},
};
use crate::span::{Span, SpanId, Value, sample};

#[test]
fn a_date_to_wait_for_is_waited_for() {
    // Of whole seconds: between one and two from now.
    let date = jiff::Timestamp::try_from(SystemTime::now() + Duration::from_secs(2)).expect("in range");
    let date: &'static str =
        jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&date).expect("a date").leak();
    for protocol in [Protocol::Http, Protocol::Json] {
        let receiver = Receiver::start(move |n| match n {
            0 => Answer::Http(503, vec![("retry-after", date)], Bytes::new()),
            _ => Answer::ok(false),
        });
        let begun = SystemTime::now();
        let handle = start(&config(&receiver, protocol)).expect("starts");
        offer(&handle, 1..=1);
        let stats = handle.shutdown(PATIENCE);
        assert_eq!((stats.sent, stats.retried), (1, 1), "{stats}");
        if protocol == Protocol::Http {
            let waited = begun.elapsed().expect("no step back");
            assert!(waited > Duration::from_millis(600), "{waited:?}");
        }
    }
}

#[test]
fn a_connection_that_is_reset_costs_nothing_but_retries() {
    for protocol in BOTH {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let handle = start(&hurried(&format!("http://{address}"), protocol)).expect("starts");
        offer(&handle, 1..=3);
        for _ in 0..3 {
            let (socket, _) = listener.accept().expect("a connection");
            // Closing without lingering resets.
            rustix::net::sockopt::set_socket_linger(&socket, Some(Duration::ZERO)).expect("set");
        }
        drop(listener);
        let receiver = Receiver::on(address, None, move |_| Answer::ok(protocol == Protocol::Grpc));
        let stats = handle.shutdown(PATIENCE);
        assert!(stats.retried >= 3, "{stats}");
        assert_eq!((stats.sent, ids(receiver.next().spans())), (3, vec![1, 2, 3]), "{stats}");
    }
}

#[test]
fn many_failures_open_the_breaker_once_and_an_answer_closes_it() {
    let receiver = Receiver::start(|n| match n {
        0..8 => Answer::Http(502, Vec::new(), Bytes::new()),
        _ => Answer::ok(false),
    });
    let mut config = config(&receiver, Protocol::Http);
    config.limits.batch.spans = 1;
    let handle = start(&config).expect("starts");
    offer(&handle, 1..=3);
    let stats = handle.shutdown(PATIENCE);
    assert_eq!((stats.sent, stats.breaks), (3, 1), "{stats}");
}

#[test]
fn large_spans_are_split_below_four_mebibytes_and_all_arrive() {
    const CAP: usize = 4 << 20;
    for protocol in BOTH {
        let receiver = Receiver::start(move |_| Answer::ok(protocol == Protocol::Grpc));
        let mut config = config(&receiver, protocol);
        config.limits.queue.bytes = 64 << 20;
        let handle = start(&config).expect("starts");
        let sink = handle.sink();
        for id in 1..=40_u64 {
            // The last one is larger than any receiver takes.
            let length = if id == 40 { CAP } else { 300_000 };
            let attributes = vec![("url.query".into(), Value::Text("x".repeat(length).into()))];
            sink.offer(Arc::new(Span { span_id: SpanId(id.to_be_bytes()), attributes, ..sample::root() }));
        }
        let stats = handle.shutdown(PATIENCE);
        assert_eq!((stats.sent, stats.dropped.oversized), (39, 1), "{stats}");
        assert_balanced(&stats);
        let got = receiver.rest();
        assert!(got.len() >= 12 && got.iter().all(|request| request.body.len() < CAP));
    }
}

#[test]
fn a_receiver_with_a_smaller_cap_refuses_for_good_and_it_is_counted() {
    for protocol in BOTH {
        let grpc = protocol == Protocol::Grpc;
        let receiver = Receiver::start(move |_| {
            if grpc {
                Answer::Grpc(8, "message larger than max", None, Vec::new())
            } else {
                Answer::Http(413, Vec::new(), Bytes::new())
            }
        });
        let handle = start(&config(&receiver, protocol)).expect("starts");
        offer(&handle, 1..=3);
        let stats = handle.shutdown(PATIENCE);
        assert_eq!((stats.dropped.refused, stats.retried), (3, 0), "{stats}");
    }
}

#[test]
fn a_wrong_content_type_of_a_success_is_a_success() {
    let receiver =
        Receiver::start(|_| Answer::Http(200, vec![("content-type", "text/html")], Bytes::from_static(b"<html>")));
    let handle = start(&config(&receiver, Protocol::Json)).expect("starts");
    offer(&handle, 1..=3);
    assert_eq!(handle.shutdown(PATIENCE).sent, 3);
}

#[test]
fn a_receiver_that_stops_in_the_middle_of_its_answer_is_asked_again() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    let mut config = hurried(&format!("http://{address}"), Protocol::Http);
    endpoint(&mut config).timeout = Duration::from_millis(300);
    let handle = start(&config).expect("starts");
    offer(&handle, 1..=3);
    let (mut socket, _) = listener.accept().expect("a connection");
    std::io::Write::write_all(&mut socket, b"HTTP/1.1 200 OK\r\ncontent-le").expect("written");
    drop(listener);
    let receiver = Receiver::on(address, None, |_| Answer::ok(false));
    let stats = handle.shutdown(PATIENCE);
    assert_eq!((stats.sent, receiver.next().spans().len()), (3, 3), "{stats}");
    assert!(stats.retried >= 1, "{stats}");
}

#[test]
fn a_proxy_without_a_receiver_behind_it_is_asked_again_as_late_as_it_says() {
    for (status, seconds) in [(503, "1"), (429, "1"), (502, ""), (504, "")] {
        let receiver = Receiver::start(move |n| {
            let mut headers = vec![("content-type", "text/html")];
            headers.extend((!seconds.is_empty()).then_some(("retry-after", seconds)));
            if n == 0 {
                Answer::Http(status, headers, Bytes::from_static(b"<html>none</html>"))
            } else {
                Answer::ok(true)
            }
        });
        let begun = SystemTime::now();
        let handle = start(&config(&receiver, Protocol::Grpc)).expect("starts");
        offer(&handle, 1..=3);
        let stats = handle.shutdown(PATIENCE);
        assert_eq!((stats.sent, stats.retried), (3, 1), "{status}: {stats}");
        let waited = begun.elapsed().expect("no step back");
        assert!(seconds.is_empty() || waited >= Duration::from_secs(1), "{status}: {waited:?}");
    }
}

#[test]
fn a_gateway_that_refuses_for_good_is_believed() {
    let receiver = Receiver::start(|_| {
        Answer::Http(403, vec![("content-type", "text/html")], Bytes::from_static(b"<html>no</html>"))
    });
    let handle = start(&config(&receiver, Protocol::Grpc)).expect("starts");
    offer(&handle, 1..=3);
    let stats = handle.shutdown(PATIENCE);
    assert_eq!((stats.dropped.refused, stats.retried), (3, 0), "{stats}");
}

#[test]
fn an_answer_of_grpc_that_breaks_off_is_asked_for_again() {
    let receiver = Receiver::start(|n| if n == 0 { Answer::Broken } else { Answer::ok(true) });
    let handle = start(&config(&receiver, Protocol::Grpc)).expect("starts");
    offer(&handle, 1..=3);
    let stats = handle.shutdown(PATIENCE);
    assert_eq!((stats.sent, stats.retried), (3, 1), "{stats}");
}
