//! Zipkin's read API, version 2, for its UI and Grafana. Times are in microseconds, those of a search in milliseconds.

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
    span::{Kind, Span, zipkin},
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
    spans.iter().map(zipkin::span).collect::<Vec<_>>().into()
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
        assert_eq!(query.filter.names, ["get", "GET"]);
        assert_eq!(query.filter.attributes, [("url.path".to_owned(), "/a".to_owned())]);
        assert_eq!(query.filter.statuses.len(), 1);
    }
}
