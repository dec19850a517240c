//! Heads in pieces: wherever a head is split, between two calls or between two looks at one call, the framing holds.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use netspan_tests::{
    agent::Agent,
    apps::Kind,
    drive::{self, Ask, Body, Talk},
    scenario::nothing_lost,
    scope::Scope,
    span::JsonSpan,
    truth::same,
};

use crate::together;

fn are_seen_exactly(kind: Kind, asks: Vec<Ask>) -> Result<()> {
    let _machine = together();
    let scope = Scope::new()?;
    let app = kind.start(&scope)?;
    let agent = Agent::watch(&scope)?;
    // A wrong framing shows in the next request of the connection.
    let driven = drive::run_in(&scope, &app.address, &[Talk::InTurn(asks)])?;
    agent.await_spans(2 * driven.seen.len(), Duration::from_secs(10));
    let report = agent.stop()?;
    same(driven.seen.iter().cloned(), report.servers().map(JsonSpan::seen)).context("SERVER spans")?;
    same(driven.seen.iter().cloned(), report.clients().map(JsonSpan::seen)).context("CLIENT spans")?;
    let incomplete: Vec<&JsonSpan> = report.spans.iter().filter(|span| span.incomplete.is_some()).collect();
    ensure!(incomplete.is_empty(), "{} are incomplete, the first is {:?}", incomplete.len(), incomplete[0]);
    nothing_lost(&report)
}

fn chunked() -> Ask {
    Ask { body: Body::Chunked { total: 20, per_chunk: 7 }, ..Ask::new("POST", "/echo") }
}

/// The request with its head cut before each byte.
fn cut_everywhere(ask: &Ask) -> Vec<Ask> {
    (1..ask.head().len()).map(|cut| Ask { cut, ..ask.clone() }).collect()
}

#[test]
fn a_head_with_a_length_may_be_cut_anywhere() -> Result<()> {
    are_seen_exactly(Kind::Node, cut_everywhere(&Ask::post("/echo", 3000)))
}

#[test]
fn a_head_of_a_chunked_request_may_be_cut_anywhere() -> Result<()> {
    are_seen_exactly(Kind::Node, cut_everywhere(&chunked()))
}

#[test]
fn a_head_may_come_in_many_small_pieces() -> Result<()> {
    let pieces = (10..40).map(|parts| Ask { parts, ..Ask::post("/echo", 50) });
    are_seen_exactly(Kind::Go, pieces.chain((10..40).map(|parts| Ask { parts, ..chunked() })).collect())
}

#[test]
fn the_framing_headers_of_a_long_head_may_lie_anywhere() -> Result<()> {
    // The framing header comes after the padding: it moves over the bounds of what is copied at once.
    let around = (3960..4110).step_by(3).chain((8050..8200).step_by(3));
    let asks = around.flat_map(|padding| [Ask { padding, ..Ask::post("/echo", 50) }, Ask { padding, ..chunked() }]);
    are_seen_exactly(Kind::Go, asks.collect())
}

#[test]
fn the_bytes_of_a_requests_body_are_counted() -> Result<()> {
    let _machine = together();
    let scope = Scope::new()?;
    let app = Kind::Node.start(&scope)?;
    let agent = Agent::watch(&scope)?;
    let sizes = [0, 1, 1000, 70_000];
    let chunked = |total| Ask { body: Body::Chunked { total, per_chunk: 999 }, ..Ask::new("POST", "/echo") };
    let asks = sizes.iter().flat_map(|&size| [Ask::post("/echo", size), chunked(size)]).collect();
    let driven = drive::run_in(&scope, &app.address, &[Talk::InTurn(asks)])?;
    agent.await_spans(2 * driven.seen.len(), Duration::from_secs(10));
    let report = agent.stop()?;
    let expected = || sizes.iter().flat_map(|&size| [size as u64; 2]);
    let counted = |span: &JsonSpan| span.number("http.request.body.size").unwrap_or(0);
    same(expected(), report.servers().map(counted)).context("SERVER spans")?;
    same(expected(), report.clients().map(counted)).context("CLIENT spans")
}

#[test]
fn an_answer_of_many_small_chunks_is_counted_exactly() -> Result<()> {
    // The Node program writes them at once; each is a chunk of 1000 bytes.
    are_seen_exactly(Kind::Node, [1, 1000, 5000, 9000, 15_000].map(|n| Ask::get(&format!("/chunked/{n}"))).to_vec())
}
