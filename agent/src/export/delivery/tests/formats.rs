//! The other formats: OTLP's JSON, Zipkin, lines in a file.

use serde_json::Value as Json;

use super::{
    super::{
        Config, Protocol,
        config::{FileTarget, Target},
        start,
    },
    PATIENCE, assert_balanced, config, endpoint, ids, offer,
    receiver::{Answer, Receiver},
};
use crate::span::json;

#[test]
fn what_a_reader_of_otlps_json_gets_is_what_a_reader_of_its_protocol_buffers_gets() {
    let of = |protocol| {
        let receiver = Receiver::start(|_| Answer::ok(false));
        let handle = start(&config(&receiver, protocol)).expect("starts");
        offer(&handle, 1..=20);
        assert_eq!(handle.shutdown(PATIENCE).sent, 20);
        let got = receiver.next();
        (got.headers["content-type"].clone(), got.path.clone(), got.message)
    };
    let (kind, path, by_json) = of(Protocol::Json);
    assert_eq!((kind.to_str().expect("text"), path.as_str()), ("application/json", "/v1/traces"));
    let (_, _, by_protobuf) = of(Protocol::Http);
    assert_eq!(by_json, by_protobuf);
}

#[test]
fn zipkin_gets_a_list_of_its_spans() {
    let receiver = Receiver::start(|_| Answer::Http(202, Vec::new(), bytes::Bytes::new()));
    let mut config = config(&receiver, Protocol::Http);
    let endpoint = endpoint(&mut config);
    endpoint.protocol = Protocol::Zipkin;
    endpoint.uri = format!("http://{}/api/v2/spans", receiver.address).parse().expect("a URI");
    let handle = start(&config).expect("starts");
    offer(&handle, 1..=5);
    assert_eq!(handle.shutdown(PATIENCE).sent, 5);
    let got = receiver.next();
    assert_eq!(
        (got.path.as_str(), &got.headers["content-type"]),
        ("/api/v2/spans", &"application/json".parse().expect("one"))
    );
    let spans: Vec<Json> = serde_json::from_slice(&got.body).expect("a list");
    let ids: Vec<_> = spans.iter().map(|span| span["id"].as_str().expect("text").to_owned()).collect();
    assert_eq!(ids, (1..=5).map(|id| format!("{id:016x}")).collect::<Vec<_>>());
}

#[test]
fn a_file_gets_whole_lines_and_is_followed_by_the_next() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("spans.jsonl");
    let target = FileTarget { path: path.clone(), bytes: 20_000, files: 3 };
    let mut config = Config::new("file", Target::File(target), Vec::new());
    config.limits.batch.spans = 10;
    let handle = start(&config).expect("starts");
    offer(&handle, 1..=100);
    let stats = handle.shutdown(PATIENCE);
    assert_eq!((stats.sent, stats.dropped.total()), (100, 0), "{stats}");
    assert_balanced(&stats);
    let read = |name: &str| std::fs::read_to_string(dir.path().join(name)).unwrap_or_default();
    let all = ["spans.jsonl.2", "spans.jsonl.1", "spans.jsonl"].map(read);
    assert!(all.iter().all(|file| !file.is_empty() && file.len() <= 20_000 && file.ends_with('\n')));
    let last: Vec<_> =
        all.concat().lines().map(|line| json::read(line.as_bytes()).expect("a span").span_id.0[7]).collect();
    assert_eq!(last.last(), Some(&100));
    assert!(last.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{last:?}");
}

#[test]
fn several_destinations_do_not_wait_for_each_other() {
    let (good, bad) = (Receiver::start(|_| Answer::ok(false)), Receiver::start(|_| Answer::Silence));
    let handles = [&good, &bad].map(|receiver| start(&config(receiver, Protocol::Http)).expect("starts"));
    for handle in &handles {
        offer(handle, 1..=5);
    }
    assert!(handles[0].flush(PATIENCE));
    assert_eq!(ids(good.next().spans()), [1, 2, 3, 4, 5]);
    bad.next();
    let [good, bad] = handles.map(|handle| handle.shutdown(std::time::Duration::ZERO));
    assert_eq!((good.sent, bad.sent, bad.dropped.shutdown), (5, 0, 5));
}
