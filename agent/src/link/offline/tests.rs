//! Small files of spans, with what is odd about them.

use super::*;

struct Line(&'static str, &'static str, &'static str, u64, u64, &'static str);

fn text(lines: &[Line]) -> String {
    let line = |Line(id, kind, process, start, end, peer): &Line| {
        let peer = if peer.is_empty() { String::new() } else { format!(r#", "peer_span_id": "{peer}""#) };
        format!(
            r#"{{"span_id": "{id}", "kind": "{kind}", "service": "s", "process": "{process}", "name": "n", "start_ns": {start}, "end_ns": {end}{peer}}}"#
        )
    };
    lines.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// The parent, method and confidence of each line.
fn linked(text: &str, min_confidence: f64) -> (Vec<serde_json::Value>, Counts) {
    let linked = Linked::new(text.as_bytes(), min_confidence, 1);
    let mut out = Vec::new();
    linked.write(&mut out).expect("memory");
    let lines = String::from_utf8(out).expect("text");
    let line = |line: &str| serde_json::from_str(line).unwrap_or(serde_json::Value::Null);
    (lines.lines().map(line).collect(), linked.counts)
}

fn parents(lines: &[serde_json::Value]) -> Vec<Option<&str>> {
    lines.iter().map(|line| line["parent_span_id"].as_str()).collect()
}

#[test]
fn both_ends_of_an_exchange_and_the_only_open_request_are_linked() {
    let text = text(&[
        Line("a", "server", "p", 0, 100_000, ""),
        Line("b", "client", "p", 10_000, 90_000, "c"),
        Line("c", "server", "q", 20_000, 80_000, "b"),
    ]);
    let (lines, counts) = linked(&text, 0.0);
    assert_eq!(parents(&lines), [None, Some("a"), Some("b")]);
    assert_eq!(
        (lines[1]["link_method"].as_str(), lines[2]["link_method"].as_str()),
        (Some("exclusive"), Some("socket"))
    );
    assert_eq!(lines[2]["link_confidence"].as_f64(), Some(1.0));
    assert!(lines[0]["link_method"].is_null() && lines[0]["link_confidence"].is_null());
    assert_eq!(counts.linked, [1, 1, 0]);
}

#[test]
fn ends_that_cannot_be_are_not_joined() {
    for (odd, missing, contradicted) in [
        (Line("b", "client", "p", 10, 90, "nobody"), 1, 0),
        (Line("b", "server", "p", 10, 90, "c"), 0, 1),
        (Line("b", "client", "p", 30, 90, "c"), 0, 1),
    ] {
        let (lines, counts) = linked(&text(&[odd, Line("c", "server", "q", 20, 80, "")]), 0.0);
        assert_eq!((counts.peer_missing, counts.peer_contradicted), (missing, contradicted));
        assert_eq!(parents(&lines), [None, None]);
    }
    let claimed_twice = text(&[
        Line("a", "client", "p", 0, 90, "c"),
        Line("b", "client", "p", 1, 90, "c"),
        Line("c", "server", "q", 20, 80, "a"),
    ]);
    let (lines, counts) = linked(&claimed_twice, 0.0);
    assert_eq!((parents(&lines), counts.peer_contradicted), (vec![None, None, Some("a")], 1));
}

#[test]
fn a_process_that_calls_itself_makes_no_cycle() {
    // The request at the other end of a call begins in the same instant and ends later.
    let text = text(&[
        Line("call", "client", "p", 1000, 5000, "request"),
        Line("request", "server", "p", 1000, 9000, "call"),
        Line("other", "client", "p", 1000, 5000, "third"),
        Line("third", "server", "p", 1000, 9000, "other"),
    ]);
    let (lines, _) = linked(&text, 0.0);
    for start in 0..lines.len() {
        let mut at = lines[start]["span_id"].as_str();
        let mut steps = 0;
        while let Some(id) = at {
            at = lines.iter().find(|line| line["span_id"] == id).and_then(|line| line["parent_span_id"].as_str());
            steps += 1;
            assert!(steps <= lines.len(), "a cycle");
        }
    }
}

#[test]
fn a_call_after_the_answer_follows_from_it() {
    let text = text(&[
        Line("a", "server", "p", 0, 100_000, ""),
        Line("b", "client", "p", 150_000, 200_000, ""),
        Line("c", "client", "p", 9_000_000_000, 9_000_100_000, ""),
    ]);
    let (lines, counts) = linked(&text, 0.0);
    assert_eq!(parents(&lines), [None, None, None]);
    assert_eq!(lines[1]["links"][0]["span_id"], "a");
    assert_eq!(lines[1]["links"][0]["link_method"], "follows_from");
    assert!(lines[2].get("links").is_none());
    assert_eq!((counts.alone, counts.follows), (2, 1));
}

#[test]
fn ids_seen_before_and_clocks_set_back_leave_the_rest_as_it_is() {
    let text = text(&[
        Line("a", "server", "p", 0, 100_000, ""),
        Line("a", "server", "p", 5000, 95_000, ""),
        Line("x", "server", "p", 95_000, 5000, ""),
        Line("b", "client", "p", 10_000, 90_000, ""),
    ]);
    let (lines, counts) = linked(&text, 0.0);
    assert_eq!(parents(&lines), [None, None, None, Some("a")]);
    assert_eq!((counts.duplicate, counts.backwards), (1, 1));
}

#[test]
fn a_child_may_outlive_its_parent_but_not_begin_before_it() {
    let text = text(&[
        Line("early", "client", "p", 5000, 90_000, ""),
        Line("a", "server", "p", 10_000, 100_000, ""),
        Line("late", "client", "p", 50_000, 190_000, ""),
    ]);
    let (lines, counts) = linked(&text, 0.0);
    assert_eq!(parents(&lines), [None, None, Some("a")]);
    assert_eq!(counts.outlived, 1);
}

#[test]
fn lines_are_put_out_as_they_were_and_ours_replace_what_they_said() {
    let text = concat!(
        "{\"span_id\": \"a\", \"kind\": \"server\", \"process\": \"p\", \"name\": \"\\u00e9\", \"start_ns\": 0, \"end_ns\": 9, \"own\": [1]}\n",
        "no span\n",
        "{\"span_id\":\"b\",\"kind\":\"client\",\"process\":\"p\",\"start_ns\":1,\"end_ns\":2,\"parent_span_id\":\"forged\"}\r\n",
    );
    let (lines, counts) = linked(text, 1.1);
    assert_eq!((lines[0]["own"][0].as_u64(), lines[0]["name"].as_str()), (Some(1), Some("é")));
    assert!(lines[1].is_null() && lines[2]["parent_span_id"].is_null());
    assert_eq!((counts.unreadable, counts.unsure), (1, 1));
}

#[test]
fn windows_are_linked_as_one_whole_would_be() {
    let spans = WINDOW_MAX as u64 + 500;
    let pair = |n: u64| {
        let start = n * 1_000_000;
        // Each request is open while the next begins.
        let (end, call, call_end) = (start + 1_500_000, start + 100_000 + n % 7 * 1000, start + 1_400_000);
        format!(
            r#"{{"span_id":"s{n}","kind":"server","process":"p","name":"n","start_ns":{start},"end_ns":{end}}}
{{"span_id":"c{n}","kind":"client","process":"p","name":"m","start_ns":{call},"end_ns":{call_end}}}
"#
        )
    };
    let lines: String = (0..spans).map(pair).collect();
    let (lines, counts) = linked(&lines, 0.95);
    let right = lines.iter().filter(|line| {
        let (id, parent) = (line["span_id"].as_str().unwrap_or(""), line["parent_span_id"].as_str().unwrap_or("-"));
        id.starts_with('c') && id.get(1..) == parent.get(1..)
    });
    assert!(right.count() as u64 >= spans * 99 / 100, "{counts:?}");
    assert!(counts.inference.windows >= 2);
}
