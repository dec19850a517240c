//! Our own API, as `openapi.json` describes it.

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
    params::{self, Params},
};
use crate::{
    control::glob,
    span::{Kind, Span, Status, TraceId, json as line},
    store::{GroupBy, Query, Reader, Totals, Trace, unix_ns},
};

/// Spans or traces where no limit is given.
const LIMIT: usize = 100;
/// Traces of one answer at most.
pub(super) const TRACES_MAX: usize = 500;

type Words = Pairs<params::Pairs>;

/// `GET /v1/openapi.json`
pub(super) async fn openapi() -> Response<Body> {
    answer::body("application/json", include_str!("openapi.json"))
}

/// Appends a span: the line of `netspan watch --json`, and its resource.
pub(super) fn put_span(out: &mut Vec<u8>, span: &Span) {
    line::write(out, span);
    // In the place of the last brace and the line's end.
    out.truncate(out.len() - 2);
    out.extend_from_slice(b",\"resource\":");
    line::write_attributes(out, &span.resource.attributes);
    out.push(b'}');
}

fn put_spans(out: &mut Vec<u8>, spans: &[Span]) {
    out.push(b'[');
    for (at, span) in spans.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        put_span(out, span);
    }
    out.push(b']');
}

/// A line for each span.
fn lines(spans: &[Span]) -> Response<Body> {
    let mut out = Vec::new();
    for span in spans {
        put_span(&mut out, span);
        out.push(b'\n');
    }
    answer::body("application/x-ndjson", out)
}

/// `GET /v1/spans`
pub(super) async fn spans(State(state): State<Shared>, Pairs(pairs): Words) -> Answer {
    let params = Params::read(pairs)?;
    let (query, limit) = (params.query.clone(), params.limit.unwrap_or(LIMIT));
    let found = ask(&state, move |reader| reader.search(&query, limit)).await?;
    if params.take("format") == Some("ndjson") {
        return Ok(lines(&found.spans));
    }
    let mut out = format!("{{\"has_more\":{},\"spans\":", found.has_more).into_bytes();
    put_spans(&mut out, &found.spans);
    out.push(b'}');
    Ok(answer::body("application/json", out))
}

/// Traces that were asked for.
pub(super) struct Newest {
    /// The newest first.
    pub(super) traces: Vec<Vec<Span>>,
    /// There are more, or more of these.
    pub(super) has_more: bool,
}

/// The newest traces with a span that a query asks for, each whole.
pub(super) async fn newest_traces(state: &Shared, query: Query, limit: usize) -> Result<Newest, Failure> {
    let limit = limit.clamp(1, TRACES_MAX);
    let find = move |reader: &Reader| {
        // Several spans of a trace may fit: more are asked for until there are enough traces.
        let mut spans = limit * 4;
        let (mut ids, has_more) = loop {
            let found = reader.search(&query, spans)?;
            let mut seen = BTreeSet::new();
            let ids: Vec<TraceId> =
                found.spans.iter().map(|span| span.trace_id).filter(|id| seen.insert(*id)).collect();
            if ids.len() >= limit || !found.has_more || spans >= crate::store::SEARCH_MAX {
                let has_more = found.has_more || ids.len() > limit;
                break (ids, has_more);
            }
            spans *= 8;
        };
        ids.truncate(limit);
        let mut found = reader.traces(&ids)?;
        let traces = ids.iter().filter_map(|id| found.by_id.remove(id)).collect();
        Ok(Newest { traces, has_more: has_more || !found.is_whole })
    };
    ask(state, find).await
}

/// `GET /v1/traces`
pub(super) async fn traces(State(state): State<Shared>, Pairs(pairs): Words) -> Answer {
    let params = Params::read(pairs)?;
    let newest = newest_traces(&state, params.query, params.limit.unwrap_or(LIMIT)).await?;
    let traces: Vec<_> = newest.traces.iter().filter_map(|spans| summary(spans)).collect();
    Ok(answer::json(&json!({ "has_more": newest.has_more, "traces": traces })))
}

/// What a list of traces says of one.
fn summary(spans: &[Span]) -> Option<Json> {
    let ids: BTreeSet<_> = spans.iter().map(|span| span.span_id).collect();
    let root = spans.iter().find(|span| span.parent.is_none_or(|parent| !ids.contains(&parent))).or(spans.first())?;
    let start_ns = spans.iter().map(|span| span.start_ns).min()?;
    let end_ns = spans.iter().map(|span| span.end_ns).max()?;
    let services: BTreeSet<_> = spans.iter().map(|span| span.resource.service.as_str()).collect();
    Some(json!({
        "trace_id": root.trace_id.to_string(),
        "service": root.resource.service,
        "name": root.name,
        "path": path(root),
        "start_ns": start_ns,
        "duration_ns": end_ns - start_ns,
        "spans": spans.len(),
        "errors": spans.iter().filter(|span| span.status == Status::Error).count(),
        "services": services,
    }))
}

fn path(span: &Span) -> Option<&str> {
    span.attributes.iter().find_map(|(name, value)| match value {
        crate::span::Value::Text(text) if name == "url.path" || name == "url.full" => Some(text.as_ref()),
        _ => None,
    })
}

/// `GET /v1/traces/{id}`
pub(super) async fn trace(State(state): State<Shared>, Path(id): Path<String>, Pairs(pairs): Words) -> Answer {
    let (id, params) = (params::trace_id(&id)?, Params::read(pairs)?);
    let found = ask(&state, move |reader| reader.trace(id)).await?;
    let Trace { spans, is_whole } = found.ok_or_else(|| Failure::missing("no span of this trace is stored"))?;
    if params.take("format") == Some("ndjson") {
        return Ok(lines(&spans));
    }
    let mut out = format!("{{\"trace_id\":\"{id}\",\"is_whole\":{is_whole},\"spans\":").into_bytes();
    put_spans(&mut out, &spans);
    out.push(b'}');
    Ok(answer::body("application/json", out))
}

/// `GET /v1/services`
pub(super) async fn services(State(state): State<Shared>, Pairs(pairs): Words) -> Answer {
    let query = Params::read(pairs)?.query;
    let groups = ask(&state, move |reader| reader.groups(&query, GroupBy::Service)).await?;
    let services: Vec<_> =
        groups.iter().map(|group| json!({ "name": group.name, "spans": group.totals.count })).collect();
    Ok(answer::json(&json!({ "services": services })))
}

/// `GET /v1/stat`
pub(super) async fn stat(State(state): State<Shared>, Pairs(pairs): Words) -> Answer {
    let params = Params::read(pairs)?;
    let by = match params.take("group-by") {
        None => GroupBy::Service,
        Some(name) => GroupBy::named(name)
            .ok_or_else(|| Failure::bad("group-by is one of service, route, path, peer, status, process"))?,
    };
    let (query, limit) = (params.query.clone(), params.limit.unwrap_or(usize::MAX));
    let groups = ask(&state, move |reader| reader.groups(&query, by)).await?;
    // All groups' rates are over the same time: what was asked for, else from the first span to the last.
    let first_ns = groups.iter().map(|group| group.totals.first_ns).min().unwrap_or(0);
    let last_ns = groups.iter().map(|group| group.totals.last_ns).max().unwrap_or(0);
    let from_ns = params.query.from_ns.unwrap_or(first_ns);
    let to_ns = params.query.to_ns.unwrap_or(if params.query.from_ns.is_some() { unix_ns() } else { last_ns });
    let seconds = seconds(to_ns.saturating_sub(from_ns));
    let groups: Vec<_> = groups.iter().take(limit).map(|group| figures(&group.name, &group.totals, seconds)).collect();
    Ok(answer::json(&json!({ "seconds": seconds, "groups": groups })))
}

#[expect(clippy::cast_precision_loss, reason = "microseconds are exact enough")]
pub(super) fn seconds(ns: u64) -> f64 {
    (ns as f64 / 1e9).max(1e-6)
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
pub(super) fn figures(name: &str, totals: &Totals, seconds: f64) -> Json {
    let mut figures = json!({
        "name": name,
        "count": totals.count,
        "rate": totals.count as f64 / seconds,
        "errors": totals.errors,
        "error_share": totals.errors as f64 / totals.count.max(1) as f64,
        "bytes": totals.bytes,
        "mean_ns": totals.sum_ns() / totals.count.max(1) as f64,
    });
    for (key, share) in [("p50_ns", 0.5), ("p75_ns", 0.75), ("p90_ns", 0.9), ("p99_ns", 0.99), ("p999_ns", 0.999)] {
        figures[key] = totals.quantile_ns(share).into();
    }
    figures
}

/// `GET /v1/map`
pub(super) async fn map(State(state): State<Shared>, Pairs(pairs): Words) -> Answer {
    let mut query = Params::read(pairs)?.query;
    // A service's edges are those to it as well, of which the callers' ends are spans of others.
    let services = std::mem::take(&mut query.filter.services);
    let (mut edges, is_whole) = ask(&state, move |reader| reader.edges(&query)).await?;
    let is_asked_for = |name: &str| services.iter().any(|wanted| glob::matches(wanted, name));
    edges.retain(|edge| services.is_empty() || is_asked_for(&edge.caller) || is_asked_for(&edge.callee));
    let first_ns = edges.iter().map(|edge| edge.totals.first_ns).min().unwrap_or(0);
    let last_ns = edges.iter().map(|edge| edge.totals.last_ns).max().unwrap_or(0);
    let seconds = seconds(last_ns.saturating_sub(first_ns));
    let edge = |edge: &crate::store::Edge| {
        let mut json = figures("", &edge.totals, seconds);
        json["caller"] = edge.caller.as_str().into();
        json["callee"] = edge.callee.as_str().into();
        json["caller_seen"] = edge.caller_seen.into();
        json["callee_seen"] = edge.callee_seen.into();
        json.as_object_mut().map(|fields| fields.remove("name"));
        json
    };
    let edges: Vec<_> = edges.iter().map(edge).collect();
    Ok(answer::json(&json!({ "seconds": seconds, "is_whole": is_whole, "edges": edges })))
}

/// Spans of a kind as other tools call them.
pub(super) const fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Server => "server",
        Kind::Client => "client",
    }
}

/// The names of a service's spans, each once.
pub(super) async fn names(state: &Shared, service: &str) -> Result<BTreeSet<String>, Failure> {
    let mut query = Query::default();
    query.filter.services.push(service.to_owned());
    let operations = ask(state, move |reader| reader.operations(&query)).await?;
    Ok(operations.into_iter().map(|(name, _)| name).collect())
}

/// The names of services.
pub(super) async fn service_names(state: &Shared) -> Result<Vec<String>, Failure> {
    ask(state, Reader::services).await
}

/// Calls between services: caller, callee, calls, errors.
pub(super) async fn calls(state: &Shared, query: Query) -> Result<Vec<(String, String, u64, u64)>, Failure> {
    let (edges, _) = ask(state, move |reader| reader.edges(&query)).await?;
    let between = edges.into_iter().filter(|edge| edge.caller_seen && edge.callee_seen);
    Ok(between.map(|edge| (edge.caller, edge.callee, edge.totals.count, edge.totals.errors)).collect())
}
