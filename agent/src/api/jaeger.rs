//! Jaeger's query API (the one that its UI and Grafana speak): `/api/services`, `/api/operations`, `/api/traces`,
//! `/api/dependencies`. Times are in microseconds there, and an answer is `{"data": ..., "errors": ...}`.

use std::time::Duration;

use axum::{
    body::Body,
    extract::{Path, Query as Pairs, State},
    response::IntoResponse,
};
use http::Response;
use rustc_hash::FxHashMap;
use serde_json::{Value as Json, json};

use super::{
    Shared,
    answer::{self, Failure, ask},
    params::{self, get, number_of},
    v1,
};
use crate::{
    control::{nanoseconds, parse_duration},
    span::{Span, Status, Value},
    store::{Query, TRACE_SPANS_MAX, unix_ns},
};

/// Traces where no limit is given, as Jaeger's query service has it.
const LIMIT: usize = 100;

type Words = Pairs<params::Pairs>;

/// An error in Jaeger's form.
pub(super) struct Wrong(Failure);

impl From<Failure> for Wrong {
    fn from(failure: Failure) -> Self {
        Self(failure)
    }
}

impl IntoResponse for Wrong {
    fn into_response(self) -> Response<Body> {
        let Failure { status, why } = self.0;
        let errors = json!([{ "code": status.as_u16(), "msg": why }]);
        let mut response =
            answer::json(&json!({ "data": null, "total": 0, "limit": 0, "offset": 0, "errors": errors }));
        *response.status_mut() = status;
        response
    }
}

type Answer = Result<Response<Body>, Wrong>;

fn data(items: Vec<Json>) -> Response<Body> {
    let total = items.len();
    let items = Json::from(items);
    answer::json(&json!({ "data": items, "total": total, "limit": 0, "offset": 0, "errors": null }))
}

/// `GET /api/services`
pub(super) async fn services(State(state): State<Shared>) -> Answer {
    Ok(data(v1::service_names(&state).await?.into_iter().map(Json::from).collect()))
}

/// `GET /api/services/{service}/operations`: Grafana does not escape a slash in the name.
pub(super) async fn operations_of(State(state): State<Shared>, Path(rest): Path<String>) -> Answer {
    let service = rest.strip_suffix("/operations").ok_or_else(|| Failure::missing("there is nothing here"))?;
    Ok(data(v1::names(&state, service).await?.into_iter().map(Json::from).collect()))
}

/// `GET /api/operations`
pub(super) async fn operations(State(state): State<Shared>, Pairs(pairs): Words) -> Answer {
    let service = get(&pairs, "service").ok_or_else(|| Failure::bad("parameter 'service' is required"))?;
    let wanted = get(&pairs, "spanKind");
    let mut query = Query::default();
    query.filter.services.push(service.to_owned());
    let operations = ask(&state, move |reader| reader.operations(&query)).await?;
    let named = operations.into_iter().map(|(name, kind)| (name, v1::kind_name(kind)));
    let fit = named.filter(|(_, kind)| wanted.is_none_or(|wanted| wanted == *kind));
    Ok(data(fit.map(|(name, kind)| json!({ "name": name, "spanKind": kind })).collect()))
}

/// `GET /api/traces`
pub(super) async fn traces(State(state): State<Shared>, Pairs(pairs): Words) -> Answer {
    let ids: Vec<_> = pairs.iter().filter(|(name, _)| name == "traceID").collect();
    if !ids.is_empty() {
        let ids: Vec<_> =
            ids.iter().take(v1::TRACES_MAX).map(|(_, id)| params::trace_id(id)).collect::<Result<_, _>>()?;
        let wanted = ids.clone();
        let mut found = ask(&state, move |reader| reader.traces(&wanted)).await?;
        let is_whole = found.is_whole;
        return Ok(data(ids.iter().filter_map(|id| Some(trace_of(&found.by_id.remove(id)?, is_whole))).collect()));
    }
    let limit = number_of(&pairs, "limit")?.unwrap_or(LIMIT);
    let newest = v1::newest_traces(&state, query(&pairs)?, limit).await?;
    Ok(data(newest.traces.iter().map(|spans| trace_of(spans, true)).collect()))
}

/// A search as Jaeger's UI asks for it.
fn query(pairs: &params::Pairs) -> Result<Query, Failure> {
    let mut query = Query::default();
    let service = get(pairs, "service").ok_or_else(|| Failure::bad("parameter 'service' is required"))?;
    query.filter.services.push(service.to_owned());
    query
        .filter
        .names
        .extend(get(pairs, "operation").filter(|name| !name.eq_ignore_ascii_case("all")).map(str::to_owned));
    let micros = |word| Ok::<_, Failure>(number_of::<u64>(pairs, word)?.map(|us| us.saturating_mul(1000)));
    (query.from_ns, query.to_ns) = (micros("start")?, micros("end")?);
    // With `lookback=custom`, or as the UI asks, the times are given beside it.
    if query.from_ns.is_none()
        && let Some(back) = get(pairs, "lookback").and_then(go_duration)
    {
        query.from_ns = Some(query.to_ns.unwrap_or_else(unix_ns).saturating_sub(nanoseconds(back)));
    }
    let duration = |word| {
        get(pairs, word)
            .map(|text| go_duration(text).ok_or_else(|| Failure::bad(format!("{word}: not a duration"))))
            .transpose()
    };
    query.filter.min_duration = duration("minDuration")?;
    query.filter.max_duration = duration("maxDuration")?;
    let (shortest, longest) = (query.filter.min_duration, query.filter.max_duration);
    if longest.zip(shortest).is_some_and(|(longest, shortest)| longest < shortest) {
        return Err(Failure::bad("'maxDuration' should be greater than 'minDuration'"));
    }
    let mut tag = |name: &str, value: &str| {
        // What its spans and processes show as tags, and is no attribute of ours.
        let (word, text) = match (name, value) {
            ("error", "true") => ("status", "error"),
            ("error", "false") => ("status", "ok"),
            ("error", _) => return Err(Failure::bad("error is true or false")),
            ("span.kind", kind) => ("kind", kind),
            ("process.pid", pid) => ("pid", pid),
            ("process.executable.name", process) => ("process", process),
            ("container.id", id) => ("container", id),
            _ => ("attribute", &*format!("{name}={value}")),
        };
        query.filter.set(word, text).map_err(|error| Failure::bad(format!("{name}={value}: {error}")))
    };
    if let Some(tags) = get(pairs, "tags") {
        let tags: serde_json::Map<String, Json> =
            serde_json::from_str(tags).map_err(|_| Failure::bad("parameter 'tags' is no object of JSON"))?;
        for (name, value) in &tags {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            tag(name, &text)?;
        }
    }
    for (_, pair) in pairs.iter().filter(|(name, _)| name == "tag") {
        let (name, value) = pair.split_once(':').ok_or_else(|| Failure::bad("parameter 'tag' is no name:value"))?;
        tag(name, value)?;
    }
    Ok(query)
}

/// A duration as Go writes it, such as `1m2.5s`, or as the UI writes a time to look back, such as `2d`.
fn go_duration(text: &str) -> Option<Duration> {
    let (mut rest, mut sum) = (text.trim(), Duration::ZERO);
    while !rest.is_empty() {
        let unit_at = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let end = rest[unit_at..].find(|c: char| c.is_ascii_digit()).map_or(rest.len(), |at| unit_at + at);
        let (one, after) = rest.split_at(end);
        sum = sum.checked_add(parse_duration(one).ok()?)?;
        rest = after;
    }
    Some(sum)
}

/// `GET /api/traces/{id}`
pub(super) async fn trace(State(state): State<Shared>, Path(id): Path<String>) -> Answer {
    let id = params::trace_id(&id)?;
    let found = ask(&state, move |reader| reader.trace(id)).await?;
    let trace = found.ok_or_else(|| Failure::missing("trace not found"))?;
    Ok(data(vec![trace_of(&trace.spans, trace.is_whole)]))
}

/// `GET /api/dependencies`: times are in milliseconds.
pub(super) async fn dependencies(State(state): State<Shared>, Pairs(pairs): Words) -> Answer {
    let calls = v1::calls(&state, period(&pairs)?).await?;
    let one = |(parent, child, calls, _): (String, String, u64, u64)| json!({ "parent": parent, "child": child, "callCount": calls });
    Ok(data(calls.into_iter().map(one).collect()))
}

/// The time before `endTs` that `lookback` tells, both in milliseconds; Zipkin has the same words.
pub(super) fn period(pairs: &params::Pairs) -> Result<Query, Failure> {
    let end_ns = number_of::<u64>(pairs, "endTs")?.map_or_else(unix_ns, |ms| ms.saturating_mul(1_000_000));
    let lookback = number_of::<u64>(pairs, "lookback")?.map(|ms| ms.saturating_mul(1_000_000));
    // Spans of this millisecond are within.
    let to_ns = end_ns.saturating_add(1_000_000);
    Ok(Query { from_ns: lookback.map(|ns| end_ns.saturating_sub(ns)), to_ns: Some(to_ns), ..Query::default() })
}

/// A trace as Jaeger has it.
fn trace_of(spans: &[Span], is_whole: bool) -> Json {
    let mut processes = serde_json::Map::new();
    let mut known = FxHashMap::<(String, u32), String>::default();
    let spans_of: Vec<_> = spans
        .iter()
        .map(|span| {
            let next = format!("p{}", known.len() + 1);
            let id = known.entry((span.resource.service.clone(), span.pid)).or_insert_with(|| {
                let tags: Vec<_> = span.resource.attributes.iter().map(|(name, value)| tag(name, value)).collect();
                processes.insert(next.clone(), json!({ "serviceName": span.resource.service, "tags": tags }));
                next
            });
            span_of(span, id)
        })
        .collect();
    let warnings = (!is_whole).then(|| [format!("not all: an answer has some {TRACE_SPANS_MAX} spans at most")]);
    let id = spans.first().map(|span| span.trace_id.to_string());
    json!({ "traceID": id, "spans": spans_of, "processes": processes, "warnings": warnings })
}

fn span_of(span: &Span, process: &str) -> Json {
    let trace = span.trace_id.to_string();
    let mut references = Vec::new();
    if let Some(parent) = span.parent {
        references.push(json!({ "refType": "CHILD_OF", "traceID": trace, "spanID": parent.to_string() }));
    }
    for link in &span.links {
        let (trace, span) = (link.trace_id.to_string(), link.span_id.to_string());
        references.push(json!({ "refType": "FOLLOWS_FROM", "traceID": trace, "spanID": span }));
    }
    let mut tags: Vec<_> = span.shown_attributes().map(|(name, value)| tag(name, &value)).collect();
    tags.push(tag("span.kind", &Value::Text(v1::kind_name(span.kind).into())));
    if span.status == Status::Error {
        tags.push(tag("error", &Value::Bool(true)));
    }
    let warnings = span.incomplete.map(|reason| vec![format!("not the whole truth: {reason}")]);
    json!({
        "traceID": trace,
        "spanID": span.span_id.to_string(),
        "flags": 1,
        "operationName": span.name,
        "references": references,
        "startTime": span.start_ns / 1000,
        "duration": span.end_ns.saturating_sub(span.start_ns) / 1000,
        "tags": tags,
        "logs": [],
        "processID": process,
        "warnings": warnings,
    })
}

fn tag(name: &str, value: &Value) -> Json {
    let (kind, value) = match value {
        Value::Text(text) => ("string", Json::from(text.as_ref())),
        Value::Int(number) => ("int64", Json::from(*number)),
        Value::Float(number) => ("float64", Json::from(*number)),
        Value::Bool(truth) => ("bool", Json::from(*truth)),
        Value::List(texts) => ("string", Json::from(texts.join(", "))),
    };
    json!({ "key": name, "type": kind, "value": value })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::span::{Kind, sample};

    fn pairs(words: &[(&str, &str)]) -> params::Pairs {
        words.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
    }

    #[test]
    fn durations_are_read_as_go_writes_them() {
        for (text, ms) in [
            ("1.2s", 1200),
            ("100ms", 100),
            ("1m30s", 90_000),
            ("2h", 7_200_000),
            ("1h1m", 3_660_000),
            ("1.5h", 5_400_000),
            ("2d", 172_800_000),
        ] {
            assert_eq!(go_duration(text), Some(Duration::from_millis(ms)), "{text}");
        }
        for text in ["1", "x", "1s2", "99999999999999999999h", "-1h", "custom"] {
            assert_eq!(go_duration(text), None, "{text}");
        }
    }

    #[test]
    fn a_search_of_the_ui_becomes_a_query() {
        let tags = r#"{"http.response.status_code":"503","error":"true","span.kind":"server","process.pid":"7"}"#;
        let words = [
            ("service", "shop"),
            ("operation", "GET"),
            ("tags", tags),
            ("tag", "a:b:c"),
            ("minDuration", "1.5ms"),
            ("start", "1000"),
            ("end", "2000"),
        ];
        let query = query(&pairs(&words)).expect("a query");
        assert_eq!((query.from_ns, query.to_ns), (Some(1_000_000), Some(2_000_000)));
        assert_eq!(query.filter.names, ["GET"]);
        assert_eq!(query.filter.min_duration, Some(Duration::from_micros(1500)));
        let attributes = [("http.response.status_code", "503"), ("a", "b:c")];
        assert_eq!(query.filter.attributes, attributes.map(|(name, value)| (name.to_owned(), value.to_owned())));
        assert_eq!(query.filter.statuses, [crate::control::StatusRange::Error]);
        assert_eq!((query.filter.kinds.as_slice(), query.filter.pids.as_slice()), (&[Kind::Server][..], &[7][..]));
        assert!(super::query(&pairs(&[("operation", "GET")])).is_err());
        for tags in ["[1]", r#"{"error":"maybe"}"#, r#"{"span.kind":"internal"}"#] {
            assert!(super::query(&pairs(&[("service", "a"), ("tags", tags)])).is_err(), "{tags}");
        }
    }

    #[test]
    fn a_trace_has_what_the_ui_reads() {
        let trace = trace_of(&[sample::server()], true);
        let span = &trace["spans"][0];
        assert_eq!(span["traceID"], "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(
            span["references"][0],
            json!({
                "refType": "CHILD_OF", "traceID": "4bf92f3577b34da6a3ce929d0e0e4736", "spanID": "b7ad6b7169203331"
            })
        );
        assert_eq!(span["references"][1]["refType"], "FOLLOWS_FROM");
        assert_eq!((&span["startTime"], &span["duration"]), (&json!(1_735_689_600_123_456_u64), &json!(12_400)));
        let tag = |name: &str| span["tags"].as_array().unwrap().iter().find(|tag| tag["key"] == name).cloned();
        assert_eq!(
            tag("http.response.status_code"),
            Some(json!({ "key": "http.response.status_code", "type": "int64", "value": 503 }))
        );
        assert_eq!(tag("error").unwrap()["value"], true);
        assert_eq!(tag("span.kind").unwrap()["value"], "server");
        assert_eq!(trace["processes"][span["processID"].as_str().unwrap()]["serviceName"], "shop");
        assert_eq!((&trace["warnings"], trace_of(&[], false)["warnings"].is_array()), (&Json::Null, true));
    }
}
