//! What arrives when all is well.

use super::{
    super::{Compression, Protocol, start},
    BOTH, PATIENCE, assert_balanced, config, endpoint, ids, offer,
    receiver::{Answer, Receiver},
};

#[test]
fn spans_arrive_by_grpc_and_by_http() {
    for protocol in BOTH {
        let receiver = Receiver::start(move |_| Answer::ok(protocol == Protocol::Grpc));
        let handle = start(&config(&receiver, protocol)).expect("starts");
        offer(&handle, 1..=3);
        let got = receiver.next();
        let (path, kind) = match protocol {
            Protocol::Grpc => ("/opentelemetry.proto.collector.trace.v1.TraceService/Export", "application/grpc"),
            _ => ("/v1/traces", "application/x-protobuf"),
        };
        assert_eq!((got.path.as_str(), &got.headers["content-type"]), (path, &kind.parse().expect("a value")));
        assert!(got.headers["user-agent"].to_str().expect("text").starts_with("netspan/"));
        let stats = handle.shutdown(PATIENCE);
        let mut all = ids(got.spans());
        receiver.rest().iter().for_each(|more| all.extend(ids(more.spans())));
        assert_eq!(all, [1, 2, 3]);
        assert_eq!((stats.produced, stats.sent, stats.queued), (3, 3, 0));
        assert_balanced(&stats);
    }
}

#[test]
fn a_receiver_of_either_protocol_is_found_out_by_itself() {
    for (protocol, greet) in
        [(Protocol::Grpc, true), (Protocol::Grpc, false), (Protocol::Http, true), (Protocol::Http, false)]
    {
        let grpc = protocol == Protocol::Grpc;
        let receiver = Receiver::of_one_version(grpc, move |_| Answer::ok(grpc));
        for likely in BOTH {
            let mut config = config(&receiver, likely);
            (endpoint(&mut config).guessed, endpoint(&mut config).greet) = (true, greet);
            let handle = start(&config).expect("starts");
            offer(&handle, 1..=3);
            let stats = handle.shutdown(PATIENCE);
            assert_eq!((stats.sent, stats.dropped.total()), (3, 0), "{protocol}, {likely} first: {stats}");
        }
    }
}

#[test]
fn a_receiver_of_neither_protocol_is_told_of_and_its_refusal_is_believed() {
    let receiver = Receiver::start(|_| Answer::Http(404, Vec::new(), bytes::Bytes::new()));
    let mut config = config(&receiver, Protocol::Http);
    endpoint(&mut config).guessed = true;
    let handle = start(&config).expect("starts");
    offer(&handle, 1..=3);
    let stats = handle.shutdown(PATIENCE);
    assert_eq!((stats.dropped.refused, stats.retried), (3, 1), "{stats}");
}

#[test]
fn an_endpoint_is_greeted_before_there_are_spans_and_its_answer_counts_for_nothing() {
    for protocol in BOTH {
        let grpc = protocol == Protocol::Grpc;
        let receiver = Receiver::start(move |n| match n {
            0 if grpc => Answer::Grpc(3, "no spans", None, Vec::new()),
            0 => Answer::Http(400, Vec::new(), bytes::Bytes::new()),
            _ => Answer::ok(grpc),
        });
        let mut config = config(&receiver, protocol);
        endpoint(&mut config).greet = true;
        let handle = start(&config).expect("starts");
        assert_eq!(receiver.next().spans().len(), 0);
        assert_eq!(handle.stats(), super::Stats::default());
        offer(&handle, 1..=3);
        let stats = handle.shutdown(PATIENCE);
        assert_eq!((stats.sent, stats.requests, stats.dropped.total()), (3, 1, 0), "{stats}");
    }
}

#[test]
fn headers_and_compression_are_as_configured() {
    let compressions = [(Compression::Gzip, "gzip"), (Compression::Zstd, "zstd")];
    for (protocol, (compression, name)) in BOTH.into_iter().flat_map(|one| compressions.map(|other| (one, other))) {
        let receiver = Receiver::start(move |_| Answer::ok(protocol == Protocol::Grpc));
        let mut config = config(&receiver, protocol);
        config.compression = compression;
        endpoint(&mut config).headers.insert("x-tenant", "blue".parse().expect("a value"));
        let handle = start(&config).expect("starts");
        offer(&handle, 1..=50);
        assert!(handle.flush(PATIENCE));
        let got = receiver.next();
        let encoding = if protocol == Protocol::Grpc { "grpc-encoding" } else { "content-encoding" };
        assert_eq!(
            (&got.headers["x-tenant"], &got.headers[encoding]),
            (&"blue".parse().expect("a value"), &name.parse().expect("a value"))
        );
        assert_eq!(handle.stats().sent, 50);
    }
}

#[test]
fn a_flush_waits_for_what_was_offered_before_it() {
    let receiver = Receiver::start(|_| Answer::ok(true));
    let mut config = config(&receiver, Protocol::Grpc);
    config.limits.batch_age = PATIENCE;
    config.limits.batch.spans = 7;
    let handle = start(&config).expect("starts");
    assert!(handle.flush(PATIENCE), "nothing to do is done at once");
    offer(&handle, 1..=1000);
    assert!(handle.flush(PATIENCE));
    let stats = handle.stats();
    assert_eq!((stats.sent, stats.queued, stats.requests), (1000, 0, 143));
    let mut all: Vec<_> = receiver.rest().iter().flat_map(|request| ids(request.spans())).collect();
    all.sort_unstable();
    assert_eq!(all, (1..=1000).collect::<Vec<_>>());
}
