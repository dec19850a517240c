//! Zipkin's read API, version 2, for its UI and Grafana. Times are in microseconds, those of a search in milliseconds.

use std::collections::BTreeSet;

use axum::{
    body::Body,
    extract::{Path, Query as Pairs, State},
};
use http::Response;
use serde_json::{Value as Json, json};

use super::{
    Shared,
    answer::{self, Answer, Failure, ask},
    jaeger::period,
    params::{self, get, number_of},
    v1,
};
use crate::{
    control::SpanFilter,
    span::{Kind, Span, zipkin},
    store::{GroupBy, Query, QueryError, Reader},
};

/// Traces where no limit is given, as Zipkin has it.
const LIMIT: usize = 10;
/// Tags of few values, which a search form can offer.
const KEYS: [&str; 2] = ["http.request.method", "http.response.status_code"];

type Words = Pairs<params::Pairs>;

/// `GET /api/v2/services`
pub(super) async fn services(State(state): State<Shared>) -> Answer {
    Ok(names_of(v1::service_names(&state).await?))
}

/// `GET /api/v2/spans`
pub(super) async fn names(State(state): State<Shared>, Pairs(pairs): Words) -> Answer {
    let service = get(&pairs, "serviceName").ok_or_else(|| Failure::bad("serviceName is missing"))?;
    let mut query = Query::default();
    query.filter.services.push(service.to_owned());
    let names = ask(&state, move |reader| reader.operations(&in_own_case(reader, query)?)).await?;
    Ok(names_of(names.into_iter().map(|(name, _)| name)))
}

/// `GET /api/v2/remoteServices`
pub(super) async fn remote_services(State(state): State<Shared>, Pairs(pairs): Words) -> Answer {
    let service = get(&pairs, "serviceName").ok_or_else(|| Failure::bad("serviceName is missing"))?;
    let mut query = Query::default();
    query.filter.services.push(service.to_owned());
    query.filter.kinds.push(Kind::Client);
    let groups = ask(&state, move |reader| reader.groups(&in_own_case(reader, query)?, GroupBy::Peer)).await?;
    Ok(names_of(groups.into_iter().map(|group| group.name).filter(|name| GroupBy::names(name))))
}

/// Names, in lower case as all are there, each once.
fn names_of(names: impl IntoIterator<Item = String>) -> Response<Body> {
    let names: BTreeSet<_> = names.into_iter().map(|name| name.to_lowercase()).collect();
    answer::json(&names.into_iter().collect::<Vec<_>>().into())
}

/// A query whose names are written as they are stored: those asked for are in lower case.
fn in_own_case(reader: &Reader, mut query: Query) -> Result<Query, QueryError> {
    if !query.filter.services.is_empty() {
        own_case(&mut query.filter.services, reader.services()?);
    }
    if !query.filter.peers.is_empty() {
        let all = Query { from_ns: query.from_ns, to_ns: query.to_ns, ..Query::default() };
        let known = reader.groups(&all, GroupBy::Peer)?;
        own_case(&mut query.filter.peers, known.into_iter().map(|group| group.name));
    }
    if !query.filter.names.is_empty() {
        let filter = SpanFilter { services: query.filter.services.clone(), ..SpanFilter::default() };
        let all = Query { filter, from_ns: query.from_ns, to_ns: query.to_ns };
        own_case(&mut query.filter.names, reader.operations(&all)?.into_iter().map(|(name, _)| name));
    }
    Ok(query)
}

/// Replaces names by those that are the same but for their case; what is not known stays, and finds nothing.
fn own_case(names: &mut Vec<String>, known: impl IntoIterator<Item = String>) {
    let lower: Vec<_> = names.iter().map(|name| name.to_lowercase()).collect();
    let own: Vec<_> = known.into_iter().filter(|name| lower.contains(&name.to_lowercase())).collect();
    if !own.is_empty() {
        *names = own;
    }
}

/// `GET /api/v2/autocompleteKeys`
pub(super) async fn keys() -> Response<Body> {
    answer::json(&json!(KEYS))
}

/// `GET /api/v2/autocompleteValues`
pub(super) async fn values(State(state): State<Shared>, Pairs(pairs): Words) -> Answer {
    let key = get(&pairs, "key").ok_or_else(|| Failure::bad("key is missing"))?;
    let Some(key) = KEYS.into_iter().find(|own| *own == key) else { return Ok(answer::json(&json!([]))) };
    Ok(answer::json(&json!(ask(&state, move |reader| reader.values(key)).await?)))
}

/// `GET /api/v2/traces`
pub(super) async fn traces(State(state): State<Shared>, Pairs(pairs): Words) -> Answer {
    let limit = number_of(&pairs, "limit")?.unwrap_or(LIMIT);
    let query = query(&pairs)?;
    let query = ask(&state, move |reader| in_own_case(reader, query)).await?;
    let newest = v1::newest_traces(&state, query, limit).await?;
    Ok(answer::json(&newest.traces.iter().map(|spans| with_root(trace_of(spans))).collect::<Vec<_>>().into()))
}

fn query(pairs: &params::Pairs) -> Result<Query, Failure> {
    let mut query = period(pairs)?;
    query.filter.services.extend(get(pairs, "serviceName").map(str::to_owned));
    query.filter.names.extend(get(pairs, "spanName").filter(|name| *name != "all").map(str::to_owned));
    query.filter.peers.extend(get(pairs, "remoteServiceName").map(str::to_owned));
    let micros = |word| Ok::<_, Failure>(number_of(pairs, word)?.map(std::time::Duration::from_micros));
    query.filter.min_duration = micros("minDuration")?;
    query.filter.max_duration = micros("maxDuration")?;
    for rule in get(pairs, "annotationQuery").into_iter().flat_map(|rules| rules.split(" and ")) {
        let (word, text) = match rule.trim() {
            "" => continue,
            "error" | "error=true" => ("status", "error"),
            // A name alone is asked for as a tag, whatever its value.
            rule => ("attribute", rule),
        };
        query.filter.set(word, text).map_err(|error| Failure::bad(format!("annotationQuery: {error}")))?;
    }
    Ok(query)
}

/// `GET /api/v2/trace/{id}`
pub(super) async fn trace(State(state): State<Shared>, Path(id): Path<String>) -> Answer {
    let id = params::trace_id(&id)?;
    let found = ask(&state, move |reader| reader.trace(id)).await?;
    let trace = found.ok_or_else(|| Failure::missing("trace not found"))?;
    Ok(answer::json(&trace_of(&trace.spans)))
}

/// `GET /api/v2/traceMany`
pub(super) async fn many(State(state): State<Shared>, Pairs(pairs): Words) -> Answer {
    let ids = get(&pairs, "traceIds").ok_or_else(|| Failure::bad("traceIds is missing"))?;
    let ids: Vec<_> = ids.split(',').take(v1::TRACES_MAX).map(params::trace_id).collect::<Result<_, _>>()?;
    let wanted = ids.clone();
    let mut found = ask(&state, move |reader| reader.traces(&wanted)).await?;
    let traces: Vec<_> = ids.iter().filter_map(|id| Some(trace_of(&found.by_id.remove(id)?))).collect();
    Ok(answer::json(&traces.into()))
}

/// `GET /api/v2/dependencies`
pub(super) async fn dependencies(State(state): State<Shared>, Pairs(pairs): Words) -> Answer {
    if get(&pairs, "endTs").is_none() {
        return Err(Failure::bad("endTs is missing"));
    }
    let calls = v1::calls(&state, period(&pairs)?).await?;
    let one = |(parent, child, calls, errors): (String, String, u64, u64)| json!({ "parent": parent.to_lowercase(), "child": child.to_lowercase(), "callCount": calls, "errorCount": errors });
    Ok(answer::json(&calls.into_iter().map(one).collect::<Vec<_>>().into()))
}

fn trace_of(spans: &[Span]) -> Json {
    spans.iter().map(zipkin::span).collect::<Vec<_>>().into()
}

/// A trace of a list: where none of its spans is without a parent, because the request came from elsewhere, the first whose parent is
/// not stored stands for the root. Grafana's data source names a trace by its root, and fails for all where one has none.
fn with_root(mut trace: Json) -> Json {
    let Some(spans) = trace.as_array_mut() else { return trace };
    if spans.iter().all(|span| span.get("parentId").is_some()) {
        let ids: BTreeSet<String> = spans.iter().filter_map(|span| Some(span["id"].as_str()?.to_owned())).collect();
        let is_first = |span: &&mut Json| span["parentId"].as_str().is_none_or(|parent| !ids.contains(parent));
        if let Some(fields) = spans.iter_mut().find(is_first).and_then(Json::as_object_mut) {
            fields.remove("parentId");
        }
    }
    trace
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert_eq!(query.filter.names, ["get"]);
        assert_eq!(query.filter.attributes, [("url.path".to_owned(), "/a".to_owned())]);
        assert_eq!(query.filter.statuses.len(), 1);
    }

    #[test]
    fn a_tag_is_asked_for_by_its_name_or_with_its_value() {
        let query = |rules: &str| query(&vec![("annotationQuery".to_owned(), rules.to_owned())]).expect("a query");
        let filter = query("rpc.method and http.request.method=GET and error and ").filter;
        assert_eq!(filter.has, ["rpc.method"]);
        assert_eq!(filter.attributes, [("http.request.method".to_owned(), "GET".to_owned())]);
        assert_eq!(filter.statuses, [crate::control::StatusRange::Error]);
    }

    #[test]
    fn a_trace_of_a_list_has_one_root() {
        let span = |id: &str, parent: Option<&str>| match parent {
            Some(parent) => json!({ "id": id, "parentId": parent }),
            None => json!({ "id": id }),
        };
        for (trace, roots) in [
            (vec![span("1", None), span("2", Some("1"))], &["1"][..]),
            (vec![span("2", Some("1")), span("1", Some("9")), span("3", Some("8"))], &["1"]),
            // A circle has none.
            (vec![span("1", Some("2")), span("2", Some("1"))], &[]),
            (Vec::new(), &[]),
        ] {
            let shown = with_root(trace.into());
            let all = shown.as_array().expect("spans").iter();
            let found: Vec<_> = all.filter(|span| span.get("parentId").is_none()).map(|span| &span["id"]).collect();
            assert_eq!(found, roots);
        }
    }

    #[test]
    fn names_are_asked_for_as_they_are_stored() {
        for (asked, expected) in [("get /a", &["GET /A", "Get /a"][..]), ("get /c", &["get /c"])] {
            let mut names = vec![asked.to_owned()];
            own_case(&mut names, ["GET /A", "Get /a", "GET /ab"].map(str::to_owned));
            assert_eq!(names, expected);
        }
    }
}
