//! What Grafana's data sources for Jaeger and Zipkin ask, request by request, and the replies as they read them. Fields are those that
//! `pkg/tsdb/jaeger`, `pkg/tsdb/zipkin` and the data sources' older versions in the browser (before Grafana 12) use; types are Go's.

use serde_json::{Value as Json, json};

use super::{Served, served, shop};

fn filled() -> Served {
    let served = served(None);
    served.fill(&shop());
    served
}

/// A field, and what its value has to be.
type Field = (&'static str, fn(&Json) -> bool);

/// An object with all of these fields, and none of another type.
fn has(json: &Json, fields: &[Field]) {
    for (name, is) in fields {
        assert!(json.get(*name).is_some_and(is), "{name} in {json}");
    }
}

fn is_list_or_null(json: &Json) -> bool {
    json.is_array() || json.is_null()
}

fn is_key_value(json: &Json) -> bool {
    has(json, &[("key", Json::is_string), ("type", Json::is_string), ("value", |value| !value.is_null())]);
    true
}

/// A trace as `TraceResponse` of the data source is decoded from.
fn is_jaeger_trace(trace: &Json) {
    has(trace, &[("traceID", Json::is_string), ("processes", Json::is_object), ("warnings", is_list_or_null)]);
    for process in trace["processes"].as_object().expect("processes").values() {
        has(process, &[("serviceName", Json::is_string), ("tags", Json::is_array)]);
        assert!(process["tags"].as_array().expect("tags").iter().all(is_key_value));
    }
    for span in trace["spans"].as_array().expect("spans") {
        has(
            span,
            &[
                ("traceID", Json::is_string),
                ("spanID", Json::is_string),
                ("processID", Json::is_string),
                ("operationName", Json::is_string),
                ("startTime", Json::is_i64),
                ("duration", Json::is_i64),
                ("logs", Json::is_array),
                ("references", Json::is_array),
                ("tags", Json::is_array),
                ("warnings", is_list_or_null),
                ("flags", Json::is_i64),
            ],
        );
        assert!(trace["processes"].get(span["processID"].as_str().expect("a text")).is_some(), "{span}");
        assert!(span["tags"].as_array().expect("tags").iter().all(is_key_value));
        for reference in span["references"].as_array().expect("references") {
            has(
                reference,
                &[
                    ("refType", |kind| kind == "CHILD_OF" || kind == "FOLLOWS_FROM"),
                    ("spanID", Json::is_string),
                    ("traceID", Json::is_string),
                ],
            );
        }
    }
}

impl Served {
    /// The data of a reply in Jaeger's envelope.
    fn jaeger(&self, path: &str) -> Vec<Json> {
        let mut reply = self.json(path);
        has(
            &reply,
            &[("errors", Json::is_null), ("limit", Json::is_i64), ("offset", Json::is_i64), ("total", Json::is_i64)],
        );
        let Json::Array(data) = reply["data"].take() else { panic!("{path}: {reply}") };
        data
    }
}

#[test]
fn jaegers_lists_are_those_of_the_query_editor() {
    let served = filled();
    assert_eq!(served.jaeger("/api/services"), ["app", "nginx"]);
    assert_eq!(served.jaeger("/api/services/app/operations"), ["GET /cart"]);
    assert!(served.jaeger("/api/services/nobody/operations").is_empty());
    // A name with a slash, as Go's `url.JoinPath` leaves it and as a browser escapes it.
    for path in ["/api/services/shop/cart/operations", "/api/services/shop%2Fcart/operations"] {
        assert!(served.jaeger(path).is_empty(), "{path}");
    }
    assert_eq!(served.ask("/api/services/app/else").0, 404);
    let operations = served.jaeger("/api/operations?service=nginx&spanKind=client");
    assert_eq!(operations, [json!({ "name": "GET", "spanKind": "client" })]);
    assert_eq!(served.jaeger("/api/operations?service=nginx").len(), 2);
}

#[test]
fn jaegers_search_takes_every_parameter() {
    let (served, spans) = (filled(), shop());
    let trace = spans[0].trace_id.to_string();
    let us = |ns: u64| ns / 1000;
    let first = us(spans.iter().map(|span| span.start_ns).min().expect("spans"));
    let last = us(spans.iter().map(|span| span.end_ns).max().expect("spans")) + 1;
    let found = |rest: &str| {
        let traces = served.jaeger(&format!("/api/traces?service=nginx{rest}"));
        traces.iter().for_each(is_jaeger_trace);
        traces.len()
    };
    let tags = |tags: &str| format!("&tags={}", tags.replace('"', "%22").replace('{', "%7B").replace('}', "%7D"));
    for (rest, expected) in [
        (String::new(), 3),
        ("&limit=2".to_owned(), 2),
        // The browser's request, and the one of the plugin in Go.
        (format!("&limit=20&lookback=custom&start={first}&end={last}"), 3),
        (format!("&start={first}&end={last}&limit=20&operation=GET"), 3),
        (format!("&start={last}&end={}", last + 1), 0),
        ("&operation=All".to_owned(), 3),
        ("&operation=nothing".to_owned(), 0),
        ("&minDuration=1ns&maxDuration=1h".to_owned(), 3),
        ("&minDuration=1m30s".to_owned(), 0),
        ("&minDuration=1.5h".to_owned(), 0),
        ("&maxDuration=0.001us".to_owned(), 0),
        (tags(r#"{"url.path":"/shop/1"}"#), 1),
        (tags(r#"{"http.response.status_code":"200","span.kind":"server"}"#), 3),
        (tags(r#"{"http.response.status_code":200}"#), 3),
        (tags(r#"{"error":"true"}"#), 0),
        (tags(r#"{"error":"false"}"#), 3),
        (tags(r#"{"netspan.link.method":"header"}"#), 0),
        ("&tag=url.path:/shop/1&tag=error:false".to_owned(), 1),
        ("&lookback=1h".to_owned(), 0),
        (format!("&lookback=1h&end={last}"), 3),
    ] {
        assert_eq!(found(&rest), expected, "{rest}");
    }
    let one = served.jaeger(&format!("/api/traces?traceID={trace}&traceID=ffff"));
    assert_eq!((one.len(), &one[0]["traceID"]), (1, &Json::from(trace.as_str())));
    for (rest, expected) in [
        ("", 400),
        ("service=nginx&limit=x", 400),
        ("service=nginx&start=x", 400),
        ("service=nginx&minDuration=5", 400),
        ("service=nginx&minDuration=2s&maxDuration=1s", 400),
        ("service=nginx&tags=x", 400),
        ("service=nginx&tag=x", 400),
        ("traceID=nothing", 400),
    ] {
        let (status, body) = served.ask(&format!("/api/traces?{rest}"));
        let reply: Json = serde_json::from_str(&body).expect("JSON");
        assert_eq!((status, &reply["errors"][0]["code"], reply["data"].is_null()), (expected, &expected.into(), true));
        assert!(reply["errors"][0]["msg"].is_string(), "{body}");
    }
}

#[test]
fn jaegers_trace_is_found_whatever_times_are_asked_for_with_it() {
    let (served, spans) = (filled(), shop());
    let trace = spans[0].trace_id.to_string();
    // With `traceIdTimeParams` Grafana sends its range: in milliseconds or microseconds, by version.
    for rest in
        ["", "?start=1735689600000&end=1735689600001", "?start=1735689600000000&end=1735689600000001", "?raw=true"]
    {
        let found = served.jaeger(&format!("/api/traces/{trace}{rest}"));
        assert_eq!((found.len(), found[0]["spans"].as_array().expect("spans").len()), (1, 3), "{rest}");
        is_jaeger_trace(&found[0]);
    }
    // The plugin takes the first of `data` unless the status says otherwise.
    for (id, expected) in [("ffffffffffffffff", 404), ("nothing", 400), ("%2e%2e", 400)] {
        let (status, body) = served.ask(&format!("/api/traces/{id}"));
        let reply: Json = serde_json::from_str(&body).expect("JSON");
        assert_eq!((status, &reply["errors"][0]["code"]), (expected, &expected.into()), "{id}: {body}");
    }
}

#[test]
fn jaegers_dependencies_are_a_list_of_counted_calls() {
    let (served, spans) = (filled(), shop());
    let end = spans.iter().map(|span| span.end_ns).max().expect("spans") / 1_000_000 + 1;
    let expected = json!({ "parent": "nginx", "child": "app", "callCount": 3 });
    for rest in [format!("?endTs={end}&lookback=3600000"), format!("?endTs={end}"), String::new()] {
        assert_eq!(served.jaeger(&format!("/api/dependencies{rest}")), std::slice::from_ref(&expected), "{rest}");
    }
    assert!(served.jaeger(&format!("/api/dependencies?endTs={}&lookback=1", end - 60_000)).is_empty());
    assert_eq!(served.ask("/api/dependencies?endTs=x").0, 400);
}

#[test]
fn zipkins_cascade_from_services_to_a_trace_works() {
    let (served, spans) = (filled(), shop());
    // Services, a service's spans, the traces with one, each named by its root; then one of these.
    assert_eq!(served.json("/api/v2/services"), json!(["app", "nginx"]));
    assert_eq!(served.json("/api/v2/spans?serviceName=app"), json!(["get /cart"]));
    let end = spans.iter().map(|span| span.end_ns).max().expect("spans") / 1_000_000 + 1;
    let traces = served.json(&format!("/api/v2/traces?serviceName=app&spanName=get%20/cart&endTs={end}"));
    let traces = traces.as_array().expect("traces");
    assert_eq!(traces.len(), 3);
    for trace in traces {
        let root = trace.as_array().expect("spans").iter().find(|span| span.get("parentId").is_none()).expect("a root");
        has(root, &[("name", Json::is_string), ("duration", Json::is_i64), ("traceId", Json::is_string)]);
    }
    let id = traces[0][0]["traceId"].as_str().expect("an id");
    assert_eq!(served.json(&format!("/api/v2/trace/{id}")).as_array().expect("spans").len(), 3);
    for (path, expected) in [
        ("/api/v2/trace/ffff", 404),
        ("/api/v2/trace/nothing", 400),
        ("/api/v2/spans", 400),
        ("/api/v2/traces?limit=x", 400),
        ("/api/v2/traceMany", 400),
        ("/api/v2/dependencies", 400),
    ] {
        assert_eq!(served.ask(path).0, expected, "{path}");
    }
}

#[test]
fn zipkins_search_takes_every_parameter() {
    let (served, spans) = (filled(), shop());
    let trace = spans[0].trace_id.to_string();
    let end = spans.iter().map(|span| span.end_ns).max().expect("spans") / 1_000_000 + 1;
    for (rest, expected) in [
        ("", 3),
        ("&limit=1", 1),
        ("&lookback=86400000", 3),
        ("&serviceName=nginx&spanName=all", 3),
        ("&serviceName=NGINX&remoteServiceName=nobody", 0),
        ("&minDuration=1&maxDuration=9000000", 3),
        ("&minDuration=9000000", 0),
        ("&annotationQuery=error", 0),
        ("&annotationQuery=url.path%3D/shop/1", 1),
        // By its name alone: whatever its value, and none that has not got it.
        ("&annotationQuery=url.path", 3),
        ("&annotationQuery=rpc.method", 0),
        ("&annotationQuery=url.path%20and%20http.response.status_code%3D200", 3),
        ("&annotationQuery=netspan.link.method", 3),
    ] {
        let found = served.json(&format!("/api/v2/traces?endTs={end}{rest}"));
        assert_eq!(found.as_array().expect("traces").len(), expected, "{rest}");
    }
    let many = served.json(&format!("/api/v2/traceMany?traceIds={trace},ffff"));
    assert_eq!(many.as_array().expect("traces").len(), 1);
    let calls = served.json(&format!("/api/v2/dependencies?endTs={end}&lookback=3600000"));
    assert_eq!(calls, json!([{ "parent": "nginx", "child": "app", "callCount": 3, "errorCount": 0 }]));
    assert!(served.json("/api/v2/remoteServices?serviceName=nginx").is_array());
    assert_eq!(served.json("/api/v2/autocompleteKeys"), json!(["http.request.method", "http.response.status_code"]));
    assert_eq!(served.json("/api/v2/autocompleteValues?key=http.request.method"), json!(["GET"]));
    assert_eq!(served.json("/api/v2/autocompleteValues?key=nothing"), json!([]));
}
