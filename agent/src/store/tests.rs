mod adversity;
mod cells;

use std::{fs, sync::Arc, time::Duration};

use super::*;
use crate::{
    control::SpanFilter,
    span::{Kind, Resource, Span, SpanId, Status, TraceId, Value, sample},
};

const PATIENCE: Duration = Duration::from_mins(1);

fn config(dir: &std::path::Path) -> Config {
    Config { dir: dir.to_owned(), bytes: 64 << 20, age: Duration::from_hours(24) }
}

/// The n-th request: a call by `web` and its other end at `shop-0` to `shop-2`, in a trace of their own.
fn call(n: u64) -> [Span; 2] {
    let now_ns = unix_ns();
    let resource = |service: String| Arc::new(Resource { service, ..(*sample::server().resource).clone() });
    let status = if n % 10 == 9 { 503 } else { 200 };
    let client = Span {
        trace_id: TraceId((u128::from(n) + 1).to_be_bytes()),
        span_id: SpanId((2 * n + 1).to_be_bytes()),
        start_ns: now_ns,
        end_ns: now_ns + (n + 1) * 1_000_000,
        resource: resource("web".into()),
        attributes: vec![
            ("url.full".into(), Value::Text(format!("http://shop/items/{n}").into())),
            ("server.address".into(), Value::Text("shop".into())),
            ("http.response.status_code".into(), Value::Int(status)),
        ],
        ..sample::root()
    };
    let server = Span {
        span_id: SpanId((2 * n + 2).to_be_bytes()),
        parent: Some(client.span_id),
        kind: Kind::Server,
        resource: resource(format!("shop-{}", n % 3)),
        status: if status < 500 { Status::Unset } else { Status::Error },
        attributes: vec![
            ("url.path".into(), Value::Text(format!("/items/{n}").into())),
            ("client.address".into(), Value::Text("192.0.2.1".into())),
            ("http.response.status_code".into(), Value::Int(status)),
            ("http.response.body.size".into(), Value::Int(100)),
        ],
        ..client.clone()
    };
    [client, server]
}

fn fill(store: &Handle, calls: std::ops::Range<u64>) -> Vec<Span> {
    let spans: Vec<_> = calls.flat_map(call).collect();
    for span in &spans {
        store.sink().give(Arc::new(span.clone()));
    }
    assert!(store.flush(PATIENCE));
    spans
}

fn query(words: &[(&str, &str)]) -> Query {
    let mut filter = SpanFilter::default();
    for (word, text) in words {
        filter.set(word, text).expect("a rule");
    }
    Query { filter, ..Query::default() }
}

#[test]
fn what_was_stored_is_found_as_it_was_also_by_the_next_start() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut spans = Vec::new();
    for round in 0..3 {
        let store = start(config(dir.path())).expect("a thread");
        spans.extend(fill(&store, round * 100..round * 100 + 100));
        let wanted: Vec<_> = spans.iter().map(|span| span.trace_id).collect();
        let traces = store.reader().traces(&wanted).expect("an answer");
        assert!(traces.is_whole && traces.by_id.len() == spans.len() / 2);
        for pair in spans.chunks(2) {
            let found = &traces.by_id[&pair[0].trace_id];
            assert!(found.len() == 2 && pair.iter().all(|span| found.contains(span)));
        }
        let stats = store.shutdown();
        assert_eq!((stats.offered, stats.stored, stats.waiting, stats.partitions), (200, 200, 0, 1), "{stats}");
    }
}

#[test]
fn a_search_gives_what_the_filter_shows_newest_first() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = start(config(dir.path())).expect("a thread");
    let mut spans = fill(&store, 0..50);
    spans.extend(fill(&store, 50..120));
    for words in [
        &[][..],
        &[("service", "shop-1")],
        &[("service", "shop-*"), ("status", "5xx")],
        &[("status", "error")],
        &[("path", "/items/7")],
        &[("path", "/items/*7")],
        &[("path", "/items")],
        &[("path", "/items/")],
        &[("path", "/it*"), ("status", "503")],
        &[("path", "/items/nowhere")],
        &[("path", "*/nowhere")],
        &[("path", "*/7"), ("status", "2xx")],
        &[("path", "*ems/?")],
        &[("path", "/items/7/below")],
        &[("path", "/items/7"), ("path", "/items/9")],
        &[("path", "/items/7"), ("attribute", "http.response.status_code=503")],
        &[("service", "web"), ("path", "/items/3"), ("kind", "client")],
        &[("kind", "client"), ("peer", "shop")],
        &[("duration", "100ms"), ("max_duration", "110ms")],
        &[("attribute", "http.response.status_code=503")],
        &[("attribute", "url.path=/items/11")],
        &[("process", "python*"), ("pid", "4711")],
        &[("pid", "1")],
        &[("attribute", "url.path=/nowhere")],
        &[("name", "GET"), ("port", "80")],
    ] {
        let query = query(words);
        let expected: Vec<_> = spans.iter().filter(|span| query.filter.shows(span)).collect();
        let found = store.reader().search(&query, 1000).expect("an answer");
        assert_eq!(found.spans.len(), expected.len(), "{words:?}");
        assert!(found.spans.iter().all(|span| expected.contains(&span)), "{words:?}");
        assert!(found.spans.windows(2).all(|pair| pair[0].start_ns >= pair[1].start_ns) && !found.has_more);
        let few = store.reader().search(&query, 3).expect("an answer");
        let starts = |spans: &[Span]| spans.iter().take(3).map(|span| span.start_ns).collect::<Vec<_>>();
        assert_eq!(starts(&few.spans), starts(&found.spans), "{words:?}");
        assert_eq!(few.has_more, expected.len() > 3, "{words:?}");
    }
    let middle = spans[100].start_ns;
    for (from_ns, to_ns) in [(Some(middle), None), (None, Some(middle)), (Some(middle), Some(middle + 1))] {
        let query = Query { from_ns, to_ns, ..Query::default() };
        let is_within = |span: &&Span| {
            from_ns.is_none_or(|from| span.start_ns >= from) && to_ns.is_none_or(|to| span.start_ns < to)
        };
        let found = store.reader().search(&query, 1000).expect("an answer").spans.len();
        assert_eq!(found, spans.iter().filter(is_within).count());
    }
}

#[test]
fn names_are_those_of_what_is_stored() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = start(config(dir.path())).expect("a thread");
    assert!(store.reader().services().expect("an answer").is_empty());
    fill(&store, 0..50);
    fill(&store, 50..60);
    let reader = store.reader();
    assert_eq!(reader.services().expect("an answer"), ["shop-0", "shop-1", "shop-2", "web"]);
    let get = || "GET".to_owned();
    for (words, expected) in [
        (&[][..], vec![(get(), Kind::Client), (get(), Kind::Server)]),
        (&[("service", "web")], vec![(get(), Kind::Client)]),
        (&[("service", "shop-*"), ("path", "/items/7")], vec![(get(), Kind::Server)]),
        (&[("service", "web"), ("kind", "server")], Vec::new()),
    ] {
        assert_eq!(reader.operations(&query(words)).expect("an answer"), expected, "{words:?}");
    }
}

#[test]
fn a_trace_is_found_though_its_blocks_were_asked_before_and_put_together_since() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = start(config(dir.path())).expect("a thread");
    let reader = store.reader();
    // Blocks large enough for their filters to be kept, and small ones that are replaced meanwhile.
    for round in 0..6_u64 {
        fill(&store, round * 3000..round * 3000 + 3000);
        for n in [0, 2999] {
            let id = TraceId((u128::from(round * 3000 + n) + 1).to_be_bytes());
            assert_eq!(reader.trace(id).expect("an answer").map(|trace| trace.spans.len()), Some(2), "{round} {n}");
        }
    }
    let all: Vec<_> = (0..18_000_u128).map(|n| TraceId((n + 1).to_be_bytes())).collect();
    let found = reader.traces(&all).expect("an answer");
    assert_eq!((found.by_id.len(), found.is_whole), (18_000, true));
    let spans: usize = found.by_id.values().map(Vec::len).sum();
    assert_eq!(spans, 36_000);
}

#[test]
fn a_grid_has_every_span_once_and_narrows_as_a_search_does() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = start(config(dir.path())).expect("a thread");
    let spans = fill(&store, 0..120);
    for words in [&[][..], &[("service", "shop-1")], &[("status", "5xx"), ("kind", "server")], &[("path", "/nowhere")]]
    {
        let query = query(words);
        let expected = spans.iter().filter(|span| query.filter.shows(span)).count() as u64;
        let heat = store.reader().heat(&query, 7).expect("an answer");
        assert_eq!((heat.total.count, heat.columns.len(), heat.cells.len()), (expected, 7, 7 * HEAT_ROWS), "{words:?}");
        assert_eq!(heat.cells.iter().map(|cell| u64::from(cell.count)).sum::<u64>(), expected);
        assert_eq!(heat.columns.iter().map(|column| column.count).sum::<u64>(), expected);
    }
    let last = spans.iter().map(|span| span.start_ns).max().expect("spans");
    let heat = store.reader().heat(&Query { from_ns: Some(last), ..Query::default() }, 3).expect("an answer");
    assert!(heat.from_ns == last && heat.to_ns > last && heat.total.count == 2);
}

#[test]
fn ways_are_those_of_whole_traces_though_one_of_their_spans_was_asked_for() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = start(config(dir.path())).expect("a thread");
    fill(&store, 0..60);
    let paths = store.reader().paths(&query(&[("kind", "server"), ("status", "5xx")])).expect("an answer");
    assert_eq!((paths.traces, paths.spans, paths.is_whole), (6, 12, true));
    // Each call is one node with both its ends; requests for different items are one kind.
    let mut ways: Vec<_> = paths
        .nodes
        .iter()
        .map(|node| (node.service.as_str(), node.label.as_str(), node.parent, node.count, node.errors))
        .collect();
    ways.sort_unstable();
    assert_eq!(ways, ["shop-0", "shop-1", "shop-2"].map(|service| (service, "GET /items/*", None, 2, 2)));
    assert!(store.reader().paths(&query(&[("service", "none")])).expect("an answer").nodes.is_empty());
}

#[test]
fn figures_are_right_and_percentiles_within_one_percent() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = start(config(dir.path())).expect("a thread");
    fill(&store, 0..200);
    fill(&store, 200..300);
    let reader = store.reader();
    let servers = query(&[("kind", "server")]);
    let groups = reader.groups(&servers, GroupBy::Service).expect("an answer");
    assert_eq!(groups.iter().map(|group| group.name.as_str()).collect::<Vec<_>>(), ["shop-0", "shop-1", "shop-2"]);
    for group in &groups {
        assert_eq!((group.totals.count, group.totals.errors, group.totals.bytes), (100, 10, 10_000));
    }
    let all = &reader.groups(&servers, GroupBy::Process).expect("an answer")[0];
    assert_eq!(all.name, "python3:4711");
    for percent in [50, 90, 99] {
        // Durations are 1 ms to 300 ms.
        let exact = f64::from(percent) / 100.0 * 299.0 + 1.0;
        let found = all.totals.quantile_ns(f64::from(percent) / 100.0).expect("spans") / 1e6;
        assert!((found - exact).abs() <= 0.01 * exact + 1.0, "p{percent}: {found} for {exact}");
    }
    let by_path = reader.groups(&servers, GroupBy::Path).expect("an answer");
    assert_eq!(by_path.iter().map(|group| group.name.as_str()).collect::<Vec<_>>(), ["GET /items/*"]);
    let by_status = reader.groups(&servers, GroupBy::Status).expect("an answer");
    assert_eq!(
        by_status.iter().map(|group| (group.name.as_str(), group.totals.count)).collect::<Vec<_>>(),
        [("200", 270), ("503", 30)]
    );
    let (edges, is_whole) = reader.edges(&Query::default()).expect("an answer");
    assert!(is_whole);
    let edges: Vec<_> =
        edges.iter().map(|edge| (edge.caller.as_str(), edge.callee.as_str(), edge.totals.count)).collect();
    assert_eq!(edges, [("web", "shop-0", 100), ("web", "shop-1", 100), ("web", "shop-2", 100)]);
    let (alone, _) = reader.edges(&servers).expect("an answer");
    assert!(alone.iter().all(|edge| edge.caller == "192.0.2.1" && !edge.caller_seen && edge.callee_seen));
}

#[test]
fn a_damaged_partition_is_put_aside_and_the_store_goes_on() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = start(config(dir.path())).expect("a thread");
    fill(&store, 0..500);
    store.shutdown();
    let path = &directory::entries(dir.path()).expect("readable")[0].path;
    let whole = fs::read(path).expect("readable");
    for (from, what) in [(0, "head"), (20_000, "pages")] {
        let mut broken = whole.clone();
        broken[from..].iter_mut().for_each(|byte| *byte ^= 0x5a);
        fs::write(path, &broken).expect("writable");
        let store = start(config(dir.path())).expect("a thread");
        fill(&store, 500..510);
        // Where the file could still be opened, a reader meets the damage.
        store.reader().search(&Query::default(), 5000).expect("an answer");
        assert!(store.flush(PATIENCE));
        fill(&store, 510..520);
        let found = store.reader().search(&Query::default(), 5000).expect("an answer").spans.len();
        let stats = store.shutdown();
        assert_eq!(stats.partitions_damaged, 1, "{what}: {stats}");
        assert!(found >= 20, "{what}: {found}");
        assert!(
            dir.path()
                .read_dir()
                .expect("readable")
                .any(|file| { file.expect("an entry").file_name().to_string_lossy().ends_with(".damaged") })
        );
        for entry in dir.path().read_dir().expect("readable") {
            fs::remove_file(entry.expect("an entry").path()).expect("removable");
        }
    }
}

#[test]
fn a_directory_that_cannot_be_made_costs_spans_and_nothing_else() {
    let dir = tempfile::tempdir().expect("a directory");
    fs::write(dir.path().join("file"), "").expect("a file");
    let store = start(config(&dir.path().join("file/store"))).expect("a thread");
    fill(&store, 0..5);
    assert!(store.reader().search(&Query::default(), 10).is_err());
    let stats = store.shutdown();
    assert_eq!((stats.offered, stats.dropped_failed, stats.stored), (10, 10, 0), "{stats}");
}

#[test]
fn the_bound_of_bytes_is_kept_and_the_newest_stay() {
    let dir = tempfile::tempdir().expect("a directory");
    let config = Config { bytes: 4 << 20, ..config(dir.path()) };
    let store = start(config.clone()).expect("a thread");
    for round in 0..20 {
        fill(&store, round * 5000..round * 5000 + 5000);
        let stats = store.stats();
        assert!(stats.bytes <= config.bytes, "{stats}");
    }
    let newest = store.reader().search(&Query::default(), 1).expect("an answer");
    let stats = store.shutdown();
    assert_eq!(stats.stored, 200_000);
    assert!(stats.partitions_expired > 0, "{stats}");
    assert_eq!(newest.spans[0].trace_id, TraceId(100_000_u128.to_be_bytes()));
}
