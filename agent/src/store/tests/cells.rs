//! What cells tell is what the spans tell.

use super::*;

/// Spans enough for blocks with cells, of several processes, names, kinds, statuses and codes.
fn varied() -> Vec<Span> {
    let vary = |(n, mut span): (usize, Span)| {
        if n.is_multiple_of(3) {
            span.attributes.push(("rpc.response.status_code".into(), Value::Text("UNAVAILABLE".into())));
        }
        if n.is_multiple_of(7) {
            span.attributes.retain(|(name, _)| name != "http.response.status_code");
        }
        if n.is_multiple_of(11) {
            span.attributes.push(("http.request.body.size".into(), Value::Int(-5)));
            span.attributes.push(("http.response.body.size".into(), Value::Int(n.cast_signed() as i64)));
        }
        if n.is_multiple_of(5) {
            span.attributes.retain(|(name, _)| !name.starts_with("url."));
        }
        span.pid = 1 + n as u32 % 4;
        ["GET", "POST /a"][n % 2].clone_into(&mut span.name);
        span.start_ns += n as u64 * 1_000_003;
        span.end_ns = span.start_ns + (n as u64 * 7919) % 5_000_000_000;
        span
    };
    (0..3000).flat_map(call).enumerate().map(vary).collect()
}

/// A store that has them.
fn filled() -> (tempfile::TempDir, Handle, Vec<Span>) {
    let dir = tempfile::tempdir().expect("a directory");
    let store = start(config(dir.path())).expect("a thread");
    let spans = varied();
    for span in &spans {
        store.sink().give(Arc::new(span.clone()));
    }
    assert!(store.flush(PATIENCE));
    (dir, store, spans)
}

/// The same question, such that each span is looked at: every span takes at least no time.
fn by_rows(query: &Query) -> Query {
    let mut query = query.clone();
    query.filter.set("duration", "0ns").expect("a rule");
    query
}

#[test]
fn figures_from_cells_are_those_of_the_spans() {
    let (dir, store, spans) = filled();
    let reader = store.reader();
    let file = &directory::entries(dir.path()).expect("readable")[0].path;
    let partition = partition::Partition::open(file).expect("a partition");
    let blocks = partition.blocks().expect("blocks");
    let has_cells = |block: &partition::Block| partition.part(block.id, block::CELLS).expect("readable").is_some();
    assert!(blocks.iter().any(has_cells), "no block has cells");
    drop(partition);
    let starts = spans.iter().map(|span| span.start_ns);
    let (first, last) = (starts.clone().min().expect("spans"), starts.max().expect("spans"));
    for words in [
        &[][..],
        &[("service", "shop-*")],
        &[("kind", "client"), ("status", "5xx")],
        &[("status", "error"), ("status", "404")],
        &[("status", "ok"), ("pid", "2"), ("name", "POST*")],
        &[("service", "nobody")],
    ] {
        for (from_ns, to_ns) in [(None, None), (Some(first), Some(last + 1)), (Some(first + 1_000_000_000), None)] {
            let query = Query { from_ns, to_ns, ..query(words) };
            for (name, by) in GroupBy::ALL {
                let figures = |query: &Query| {
                    let groups = reader.groups(query, by).expect("an answer");
                    let figures = groups.iter().map(|Group { name, totals }| {
                        let percentiles =
                            [0.0, 0.5, 0.99, 1.0].map(|share| totals.quantile_ns(share).map(f64::to_bits));
                        let times = (totals.first_ns, totals.last_ns, totals.sum_ns().to_bits());
                        (name.clone(), totals.count, totals.errors, totals.bytes, times, percentiles)
                    });
                    figures.collect::<Vec<_>>()
                };
                assert_eq!(figures(&query), figures(&by_rows(&query)), "{words:?} by {name} from {from_ns:?}");
            }
            for columns in [1, 3, 40] {
                let grid = |query: &Query| {
                    let heat = reader.heat(query, columns).expect("an answer");
                    let counts: Vec<_> = heat.columns.iter().map(|column| (column.count, column.errors)).collect();
                    (heat.cells, counts, heat.total.count, heat.total.bytes)
                };
                assert_eq!(grid(&query), grid(&by_rows(&query)), "{words:?} in {columns} columns from {from_ns:?}");
            }
            let operations = |query: &Query| reader.operations(query).expect("an answer");
            assert_eq!(operations(&query), operations(&by_rows(&query)), "{words:?} from {from_ns:?}");
        }
    }
}

#[test]
fn what_is_ruled_out_by_cells_is_not_there() {
    let (_dir, store, spans) = filled();
    for words in [
        &[("service", "shop-1"), ("status", "5xx"), ("duration", "4.9s")][..],
        &[("service", "web"), ("duration", "3s"), ("max_duration", "3.001s")],
        &[("kind", "server"), ("status", "error"), ("max_duration", "1us")],
        &[("name", "GET"), ("status", "404")],
        &[("pid", "3"), ("status", "ok"), ("max_duration", "0ns")],
        &[("status", "503"), ("duration", "4999ms")],
    ] {
        let query = query(words);
        let expected = spans.iter().filter(|span| query.filter.shows(span)).count();
        let found = store.reader().search(&query, SEARCH_MAX).expect("an answer").spans;
        assert_eq!(found.len(), expected, "{words:?}");
        assert!(found.iter().all(|span| query.filter.shows(span)));
    }
}
