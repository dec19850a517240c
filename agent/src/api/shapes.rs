//! What the web UI draws of many spans: durations over time, and the ways that requests take.

use axum::extract::{Query as Pairs, State};
use serde_json::{Value as Json, json};

use super::{
    Shared,
    answer::{self, Answer, ask},
    params::{self, Params},
    v1::{figures, seconds},
};
use crate::store::{HEAT_COLUMNS, HEAT_ROWS, Heat, Node};

type Words = Pairs<params::Pairs>;

/// `GET /v1/heat`
pub(super) async fn heat(State(state): State<Shared>, Pairs(pairs): Words) -> Answer {
    let params = Params::read(pairs)?;
    let columns = params.take("columns").map(|text| params::number("columns", text)).transpose()?;
    let columns = columns.unwrap_or(HEAT_COLUMNS);
    let heat = ask(&state, move |reader| reader.heat(&params.query, columns)).await?;
    let seconds = seconds(heat.to_ns - heat.from_ns);
    let rows: Vec<f64> = (0..=HEAT_ROWS).map(Heat::row_ns).collect();
    let cells = heat.cells.iter().enumerate().filter(|(_, cell)| cell.count > 0);
    let cells: Vec<Json> =
        cells.map(|(at, cell)| json!([at / HEAT_ROWS, at % HEAT_ROWS, cell.count, cell.errors])).collect();
    let columns = heat
        .columns
        .iter()
        .map(|column| json!([column.count, column.errors, column.quantile_ns(0.5), column.quantile_ns(0.99)]));
    let columns: Vec<Json> = columns.collect();
    Ok(answer::json(&json!({
        "from_ns": heat.from_ns,
        "to_ns": heat.to_ns,
        "rows_ns": rows,
        "columns": columns,
        "cells": cells,
        "total": figures("", &heat.total, seconds),
    })))
}

/// `GET /v1/paths`
pub(super) async fn paths(State(state): State<Shared>, Pairs(pairs): Words) -> Answer {
    let params = Params::read(pairs)?;
    let paths = ask(&state, move |reader| reader.paths(&params.query)).await?;
    let nodes: Vec<Json> = paths.nodes.iter().map(node).collect();
    Ok(answer::json(&json!({
        "traces": paths.traces,
        "spans": paths.spans,
        "is_whole": paths.is_whole,
        "nodes": nodes,
    })))
}

fn node(node: &Node) -> Json {
    let Node { parent, service, label, is_server, count, errors, sum_ns, self_ns, network_ns, critical_ns, .. } = node;
    json!({
        "parent": parent,
        "service": service,
        "name": label,
        "callee_seen": is_server,
        "count": count,
        "errors": errors,
        "sum_ns": sum_ns,
        "self_ns": self_ns,
        "network_ns": network_ns,
        "critical_ns": critical_ns,
        "first_ns": node.first_ns,
        "last_ns": node.last_ns,
    })
}
