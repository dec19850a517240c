//! Replies of Zipkin's read API against the rules of its published schema (openzipkin/zipkin-api, `zipkin2-api.yaml`): which
//! fields there are, of which types and forms. The checks are strict: a field that the schema does not know is an error.

use std::net::{Ipv4Addr, Ipv6Addr};

use netspan::span::{Span, SpanId, Value};
use serde_json::{Map, Value as Json, json};

use super::{served, shop};

type Checked = Result<(), String>;

/// What a value has to be.
type Rule = fn(&Json) -> Checked;

/// An object with these fields and no others; the first `required` ones have to be there.
fn object(value: &Json, required: usize, fields: &[(&str, Rule)]) -> Checked {
    let found = value.as_object().ok_or(format!("no object: {value}"))?;
    for (name, own) in found {
        let (_, rule) = fields.iter().find(|(known, _)| known == name).ok_or(format!("unknown field {name}"))?;
        rule(own).map_err(|error| format!("{name}: {error}"))?;
    }
    match fields[..required].iter().find(|(name, _)| !found.contains_key(*name)) {
        Some((name, _)) => Err(format!("{name} is missing: {value}")),
        None => Ok(()),
    }
}

fn list(value: &Json, rule: Rule) -> Checked {
    value.as_array().ok_or(format!("no list: {value}"))?.iter().try_for_each(rule)
}

fn string(value: &Json) -> Checked {
    value.as_str().map(drop).ok_or(format!("no text: {value}"))
}

fn strings(value: &Json) -> Checked {
    list(value, string)
}

fn lower_case(value: &Json) -> Checked {
    let text = value.as_str().ok_or(format!("no text: {value}"))?;
    if text == text.to_lowercase() { Ok(()) } else { Err(format!("not in lower case: {text}")) }
}

fn lower_cases(value: &Json) -> Checked {
    list(value, lower_case)
}

fn truth(value: &Json) -> Checked {
    value.as_bool().map(drop).ok_or(format!("neither true nor false: {value}"))
}

/// `integer` in the schema's format `int64`; all that there are count or tell times.
fn integer(value: &Json) -> Checked {
    value.as_i64().filter(|number| *number >= 0).map(drop).ok_or(format!("no number: {value}"))
}

/// Absent rather than zero: "durations of less than one are rounded up", "please don't set to zero".
fn positive(value: &Json) -> Checked {
    value.as_i64().filter(|number| *number > 0).map(drop).ok_or(format!("not positive: {value}"))
}

fn hexadecimal(value: &Json, lengths: &[usize]) -> Checked {
    let text = value.as_str().unwrap_or_default();
    let is_hexadecimal = text.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
    if is_hexadecimal && lengths.contains(&text.len()) { Ok(()) } else { Err(format!("no id: {value}")) }
}

fn span_id(value: &Json) -> Checked {
    hexadecimal(value, &[16])
}

fn trace_id(value: &Json) -> Checked {
    hexadecimal(value, &[16, 32])
}

fn kind(value: &Json) -> Checked {
    let known = ["CLIENT", "SERVER", "PRODUCER", "CONSUMER"];
    value.as_str().filter(|kind| known.contains(kind)).map(drop).ok_or(format!("no kind: {value}"))
}

fn tags(value: &Json) -> Checked {
    value.as_object().ok_or(format!("no object: {value}"))?.values().try_for_each(string)
}

fn ipv4(value: &Json) -> Checked {
    value.as_str().and_then(|text| text.parse::<Ipv4Addr>().ok()).map(drop).ok_or(format!("no IPv4: {value}"))
}

fn ipv6(value: &Json) -> Checked {
    value.as_str().and_then(|text| text.parse::<Ipv6Addr>().ok()).map(drop).ok_or(format!("no IPv6: {value}"))
}

fn endpoint(value: &Json) -> Checked {
    object(value, 0, &[("serviceName", lower_case), ("ipv4", ipv4), ("ipv6", ipv6), ("port", positive)])
}

fn annotations(value: &Json) -> Checked {
    list(value, |value| object(value, 2, &[("timestamp", integer), ("value", string)]))
}

fn span(value: &Json) -> Checked {
    let fields: [(&str, Rule); 13] = [
        ("traceId", trace_id),
        ("id", span_id),
        ("parentId", span_id),
        ("name", lower_case),
        ("kind", kind),
        ("timestamp", positive),
        ("duration", positive),
        ("debug", truth),
        ("shared", truth),
        ("localEndpoint", endpoint),
        ("remoteEndpoint", endpoint),
        ("annotations", annotations),
        ("tags", tags),
    ];
    object(value, 2, &fields)
}

/// A trace: spans of one trace id.
fn trace(value: &Json) -> Checked {
    list(value, span)?;
    let ids: Vec<_> = value.as_array().into_iter().flatten().map(|span| &span["traceId"]).collect();
    if ids.windows(2).all(|pair| pair[0] == pair[1]) { Ok(()) } else { Err("spans of several traces".to_owned()) }
}

fn traces(value: &Json) -> Checked {
    list(value, trace)
}

fn dependencies(value: &Json) -> Checked {
    let link = |value: &Json| {
        let fields: [(&str, Rule); 4] =
            [("parent", lower_case), ("child", lower_case), ("callCount", positive), ("errorCount", integer)];
        object(value, 3, &fields)
    };
    list(value, link)
}

/// The dialogue's spans, and what else a span may be: a name and a service with capitals, a Unix socket, no duration.
fn spans() -> Vec<std::sync::Arc<Span>> {
    let mut spans = shop();
    let mut odd = Span::clone(&spans[0]);
    odd.span_id = SpanId([7; 8]);
    "PUT /Orders/{id}".clone_into(&mut odd.name);
    odd.resource = std::sync::Arc::new(netspan::span::Resource {
        service: "Back Office".to_owned(),
        ..netspan::span::Resource::clone(&odd.resource)
    });
    odd.end_ns = odd.start_ns;
    odd.attributes.retain(|(name, _)| !name.starts_with("network."));
    odd.attributes.push(("network.peer.address".into(), Value::Text("/run/app.sock".into())));
    odd.attributes.push(("network.peer.port".into(), Value::Int(0)));
    odd.attributes.push(("network.local.address".into(), Value::Text("::ffff:192.0.2.1".into())));
    spans.push(odd.into());
    spans
}

#[test]
fn every_reply_of_zipkins_read_api_keeps_to_its_schema() {
    let (served, spans) = (served(None), spans());
    served.fill(&spans);
    let id = spans[0].trace_id;
    for (path, least, rule) in [
        ("services", 3, lower_cases as Rule),
        ("spans?serviceName=app", 1, lower_cases),
        ("spans?serviceName=back%20office", 1, lower_cases),
        ("remoteServices?serviceName=nginx", 1, lower_cases),
        ("autocompleteKeys", 0, strings),
        ("autocompleteValues?key=environment", 0, strings),
        ("traces", 3, traces),
        ("traces?serviceName=back%20office", 1, traces),
        ("traces?serviceName=back%20office&spanName=put%20/orders/%7Bid%7D", 1, traces),
        ("traces?serviceName=app&spanName=get%20/cart&limit=2&endTs=99999999999999&lookback=99999999999999", 2, traces),
        ("traces?minDuration=1&maxDuration=999999999&annotationQuery=http.response.status_code%3D200", 3, traces),
        (&format!("trace/{id}"), 3, trace),
        (&format!("traceMany?traceIds={id},0000000000000001"), 1, traces),
        ("dependencies?endTs=99999999999999", 1, dependencies),
    ] {
        let reply = served.json(&format!("/api/v2/{path}"));
        rule(&reply).unwrap_or_else(|error| panic!("{path}: {error}"));
        assert!(reply.as_array().unwrap().len() >= least, "{path}: {reply}");
    }
    for (path, expected) in [
        ("trace/00000000000000aa", 404),
        ("trace/x", 400),
        ("spans", 400),
        ("traces?limit=x", 400),
        ("traces?minDuration=1ms", 400),
        ("traceMany", 400),
        ("dependencies", 400),
    ] {
        assert_eq!(served.ask(&format!("/api/v2/{path}")).0, expected, "{path}");
    }
}

#[test]
fn a_span_that_breaks_a_rule_of_the_schema_is_told() {
    let good = json!({ "traceId": "00000000000000000000000000000001", "id": "0000000000000001", "tags": { "a": "b" } });
    assert_eq!(span(&good), Ok(()));
    for (name, value) in [
        ("traceId", json!("1")),
        ("id", json!("000000000000000A")),
        ("parentId", json!(null)),
        ("name", json!("GET")),
        ("kind", json!("INTERNAL")),
        ("timestamp", json!(0)),
        ("duration", json!(1.5)),
        ("tags", json!({ "a": 1 })),
        ("localEndpoint", json!({ "ipv4": "/run/x" })),
        ("remoteEndpoint", json!({ "port": 0 })),
        ("links", json!([])),
    ] {
        let mut bad: Map<_, _> = good.as_object().unwrap().clone();
        bad.insert(name.to_owned(), value);
        assert!(span(&bad.into()).is_err(), "{name}");
    }
    assert!(span(&json!({ "id": "0000000000000001" })).is_err(), "an id of the trace has to be there");
}
