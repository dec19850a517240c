//! Zipkin's read API, version 2, for its UI and Grafana. Times are in microseconds, those of a search in milliseconds.

use axum::{
    body::Body,
    extract::{Path, Query as Pairs, State},
};
use http::Response;
use serde_json::{Map, Value as Json, json};

use super::{
    Shared,
    answer::{self, Answer, Failure, ask},
    jaeger::period,
    params::{self, get, number_of},
    v1,
};
use crate::{
    span::{Kind, Span, Status, Value},
    store::{GroupBy, Query},
};

/// Traces where no limit is given, as Zipkin has it.
const LIMIT: usize = 10;

type Words = Pairs<params::Pairs>;

/// `GET /api/v2/services`
pub(super) async fn services(State(state): State<Shared>) -> Answer {
    Ok(answer::json(&v1::service_names(&state).await?.into()))
}

/// `GET /api/v2/spans`
pub(super) async fn names(State(state): State<Shared>, Pairs(pairs): Words) -> Answer {
    let service = get(&pairs, "serviceName").ok_or_else(|| Failure::bad("serviceName is missing"))?;
    let names = v1::names(&state, service).await?;
    Ok(answer::json(&names.iter().map(|name| name.to_lowercase()).collect::<Vec<_>>().into()))
}

/// `GET /api/v2/remoteServices`
pub(super) async fn remote_services(State(state): State<Shared>, Pairs(pairs): Words) -> Answer {
    let service = get(&pairs, "serviceName").ok_or_else(|| Failure::bad("serviceName is missing"))?;
    let mut query = Query::default();
    query.filter.services.push(service.to_owned());
    query.filter.kinds.push(Kind::Client);
    let groups = ask(&state, move |reader| reader.groups(&query, GroupBy::Peer)).await?;
    let mut names: Vec<_> = groups.into_iter().map(|group| group.name).collect();
    names.sort();
    Ok(answer::json(&names.into()))
}

/// `GET /api/v2/autocompleteKeys` and `/api/v2/autocompleteValues`
pub(super) async fn nothing() -> Response<Body> {
    answer::json(&json!([]))
}

/// `GET /api/v2/traces`
pub(super) async fn traces(State(state): State<Shared>, Pairs(pairs): Words) -> Answer {
    let limit = number_of(&pairs, "limit")?.unwrap_or(LIMIT);
    let traces = v1::newest_traces(&state, query(&pairs)?, limit).await?;
    Ok(answer::json(&traces.iter().map(|spans| trace_of(spans)).collect::<Vec<_>>().into()))
}

fn query(pairs: &params::Pairs) -> Result<Query, Failure> {
    let mut query = period(pairs)?;
    query.filter.services.extend(get(pairs, "serviceName").map(str::to_owned));
    // Names are lower case there; ours are methods as a rule, or as the application wrote them.
    let name = get(pairs, "spanName").filter(|name| *name != "all");
    query.filter.names.extend(name.into_iter().flat_map(|name| [name.to_owned(), name.to_uppercase()]));
    query.filter.peers.extend(get(pairs, "remoteServiceName").map(str::to_owned));
    let micros = |word| Ok::<_, Failure>(number_of(pairs, word)?.map(std::time::Duration::from_micros));
    query.filter.min_duration = micros("minDuration")?;
    query.filter.max_duration = micros("maxDuration")?;
    for rule in get(pairs, "annotationQuery").into_iter().flat_map(|rules| rules.split(" and ")) {
        let (word, text) = match rule.trim() {
            "error" => ("status", "error"),
            rule => ("attribute", rule),
        };
        query.filter.set(word, text).map_err(|error| Failure::bad(format!("annotationQuery: {error}")))?;
    }
    Ok(query)
}

/// `GET /api/v2/trace/{id}`
pub(super) async fn trace(State(state): State<Shared>, Path(id): Path<String>) -> Answer {
    let id = params::trace_id(&id)?;
    let spans = ask(&state, move |reader| reader.trace(id)).await?;
    let spans = spans.ok_or_else(|| Failure::missing("trace not found"))?;
    Ok(answer::json(&trace_of(&spans)))
}

/// `GET /api/v2/traceMany`
pub(super) async fn many(State(state): State<Shared>, Pairs(pairs): Words) -> Answer {
    let ids = get(&pairs, "traceIds").ok_or_else(|| Failure::bad("traceIds is missing"))?;
    let ids: Vec<_> = ids.split(',').take(v1::TRACES_MAX).map(params::trace_id).collect::<Result<_, _>>()?;
    let wanted = ids.clone();
    let mut found = ask(&state, move |reader| reader.traces(&wanted)).await?;
    let traces: Vec<_> = ids.iter().filter_map(|id| Some(trace_of(&found.remove(id)?))).collect();
    Ok(answer::json(&traces.into()))
}

/// `GET /api/v2/dependencies`
pub(super) async fn dependencies(State(state): State<Shared>, Pairs(pairs): Words) -> Answer {
    if get(&pairs, "endTs").is_none() {
        return Err(Failure::bad("endTs is missing"));
    }
    let calls = v1::calls(&state, period(&pairs)?).await?;
    let one = |(parent, child, calls, errors): (String, String, u64, u64)| json!({ "parent": parent, "child": child, "callCount": calls, "errorCount": errors });
    Ok(answer::json(&calls.into_iter().map(one).collect::<Vec<_>>().into()))
}

fn trace_of(spans: &[Span]) -> Json {
    spans.iter().map(span_of).collect::<Vec<_>>().into()
}

fn span_of(span: &Span) -> Json {
    let mut tags: Map<String, Json> =
        v1::attributes(span).into_iter().map(|(name, value)| (name, text(&value).into())).collect();
    if span.status == Status::Error {
        let what = tags.get("error.type").cloned().unwrap_or_else(|| "true".into());
        tags.insert("error".to_owned(), what);
    }
    // The schema wants at least one microsecond.
    let duration = (span.end_ns.saturating_sub(span.start_ns) / 1000).max(1);
    let mut json = json!({
        "traceId": span.trace_id.to_string(),
        "id": span.span_id.to_string(),
        "kind": v1::kind_name(span.kind).to_uppercase(),
        "name": span.name.to_lowercase(),
        "timestamp": (span.start_ns / 1000).max(1),
        "duration": duration,
        "localEndpoint": endpoint(span, "network.local", Some(&span.resource.service)),
        "tags": tags,
    });
    if let Some(parent) = span.parent {
        json["parentId"] = parent.to_string().into();
    }
    let called = if span.kind == Kind::Client { value(span, "server.address").map(text) } else { None };
    let remote = endpoint(span, "network.peer", called.as_deref());
    if remote.as_object().is_some_and(|fields| !fields.is_empty()) {
        json["remoteEndpoint"] = remote;
    }
    json
}

/// An end of a connection: `of` is what its attributes begin with.
fn endpoint(span: &Span, of: &str, service: Option<&str>) -> Json {
    let mut fields = Map::new();
    if let Some(service) = service {
        fields.insert("serviceName".to_owned(), service.to_lowercase().into());
    }
    if let Some(Value::Text(address)) = value(span, &format!("{of}.address")) {
        let family = if address.contains(':') { "ipv6" } else { "ipv4" };
        fields.insert(family.to_owned(), address.as_ref().into());
    }
    if let Some(Value::Int(port)) = value(span, &format!("{of}.port")) {
        fields.insert("port".to_owned(), (*port).into());
    }
    fields.into()
}

fn value<'a>(span: &'a Span, name: &str) -> Option<&'a Value> {
    span.attributes.iter().find(|(key, _)| key == name).map(|(_, value)| value)
}

fn text(value: &Value) -> String {
    match value {
        Value::Text(text) => text.to_string(),
        Value::Int(number) => number.to_string(),
        Value::Float(number) => number.to_string(),
        Value::Bool(truth) => truth.to_string(),
        Value::List(texts) => texts.join(","),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::span::sample;

    #[test]
    fn a_span_has_the_fields_of_the_schema_and_their_types() {
        let mut span = sample::server();
        span.attributes.push(("network.peer.address".into(), Value::Text("::1".into())));
        span.attributes.push(("network.peer.port".into(), Value::Int(9)));
        let json = span_of(&span);
        assert_eq!(json["traceId"], "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!((&json["kind"], &json["name"]), (&json!("SERVER"), &json!("get")));
        assert_eq!(json["localEndpoint"], json!({ "serviceName": "shop" }));
        assert_eq!(json["remoteEndpoint"], json!({ "ipv6": "::1", "port": 9 }));
        assert_eq!((&json["timestamp"], &json["duration"]), (&json!(1_735_689_600_123_456_u64), &json!(12_400)));
        let tags = json["tags"].as_object().expect("an object");
        assert!(tags.values().all(Json::is_string));
        assert_eq!((&tags["error"], &tags["http.response.status_code"]), (&json!("true"), &json!("503")));
        assert!(span_of(&sample::root()).get("parentId").is_none());
    }

    #[test]
    fn a_search_of_the_ui_becomes_a_query() {
        let words = [
            ("serviceName", "shop"),
            ("spanName", "get"),
            ("annotationQuery", "error and url.path=/a"),
            ("endTs", "5"),
            ("lookback", "3"),
        ];
        let pairs = words.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
        let query = query(&pairs).expect("a query");
        assert_eq!((query.from_ns, query.to_ns), (Some(2_000_000), Some(6_000_000)));
        assert_eq!(query.filter.names, ["get", "GET"]);
        assert_eq!(query.filter.attributes, [("url.path".to_owned(), "/a".to_owned())]);
        assert_eq!(query.filter.statuses.len(), 1);
    }
}
