//! Losses, provoked: they are counted, and what is built over a gap says so.

use std::{sync::atomic::AtomicBool, thread::sleep, time::Duration};

use anyhow::{Context, Result, ensure};
use netspan_tests::{
    agent::Agent,
    drive::Ask,
    http::Connection,
    load::{self, Plan},
    nginx::{Nginx, mixed},
    scope::{Scope, kill},
    span::JsonSpan,
    truth::within,
    wait,
};
use rustix::process::Signal;

use crate::alone;

/// Requests while nobody empties the rings: many times what fits.
const REQUESTS: u32 = 60_000;
/// Time for the last span of a few requests.
const SOON: Duration = Duration::from_secs(10);
/// Nothing tells a client that the server has read half of a head.
const BETWEEN_HALVES: Duration = Duration::from_millis(2);

#[test]
fn full_rings_lose_events_that_are_counted_and_no_span_tells_what_did_not_happen() -> Result<()> {
    let _machine = alone();
    let scope = Scope::new()?;
    let nginx = Nginx::start(&scope, 2)?;
    let agent = Agent::watch(&scope)?;
    let go = AtomicBool::new(false);
    let plan = |seed, requests| Plan { seed, concurrency: 8, requests, rate: None };
    let mut seen = load::run(&nginx.address, plan(1, 100), &go, mixed)?;
    // An agent that stands still: the rings fill up.
    kill(agent.pid(), Signal::STOP)?;
    seen.extend(load::run(&nginx.address, plan(2, REQUESTS), &go, mixed)?);
    kill(agent.pid(), Signal::CONT)?;
    // The rings are still full: what comes now may be lost too, until the agent has caught up.
    wait::until("that what comes after the gap is seen", Duration::from_mins(1), || {
        seen.extend(load::run(&nginx.address, plan(3, 8), &go, |_| Ask::get("/hello/after"))?);
        Ok(agent.await_span(Duration::from_millis(500), |span| span.path() == "/hello/after").then_some(()))
    })?;
    let report = agent.stop()?;
    let figure = |name| report.figure(name).with_context(|| format!("no figure `{name}` in:\n{}", report.errors));
    let (attempted, delivered, lost) = (figure("attempted")?, figure("delivered")?, figure("lost")?);
    ensure!(lost > 0, "nothing was lost of {attempted}: more requests are needed to fill the rings");
    ensure!(attempted == delivered + lost, "{attempted} attempted, {delivered} delivered, {lost} lost");
    let whole = report.servers().filter(|span| span.incomplete.is_none());
    within(seen, whole.map(JsonSpan::seen)).context("spans that claim to be whole tell what did not happen")
}

/// Connections that the agent may know, and those that there are.
const KNOWN: usize = 512;
const OPEN: usize = 800;

#[test]
fn a_full_connection_table_loses_what_is_counted_and_no_span_tells_what_did_not_happen() -> Result<()> {
    let _machine = alone();
    let scope = Scope::new()?;
    let nginx = Nginx::start(&scope, 1)?;
    let agent = Agent::watch_with(&scope, ["--connections", &KNOWN.to_string()])?;
    let ask = Ask::get("/hello");
    let head = ask.head();
    let (first, second) = head.as_bytes().split_at(head.len() / 2);
    let mut connections = (0..OPEN).map(|_| Connection::open(&nginx.address)).collect::<Result<Vec<_>>>()?;
    // By the time that a head goes on, its connection has given way to those after it.
    for connection in &mut connections {
        connection.write(first)?;
        sleep(BETWEEN_HALVES);
    }
    let mut seen = Vec::new();
    for connection in &mut connections {
        connection.write(second)?;
        seen.push(ask.seen(&connection.answer(&ask.method)?));
    }
    drop(connections);
    let after = Ask::get("/hello/after");
    let mut connection = Connection::open(&nginx.address)?;
    connection.write(&after.bytes())?;
    seen.push(after.seen(&connection.answer(&after.method)?));
    let came = agent.await_span(SOON, |span| span.path() == "/hello/after");
    let report = agent.stop()?;
    ensure!(came, "a connection is not seen though others have ended:\n{}", report.errors);
    let figure = |name| report.figure(name).with_context(|| format!("no figure `{name}` in:\n{}", report.errors));
    let (attempted, delivered, lost) = (figure("attempted")?, figure("delivered")?, figure("lost")?);
    ensure!(lost > 0, "none lost, though {OPEN} connections were open and {KNOWN} fit");
    ensure!(attempted == delivered + lost, "{attempted} attempted, {delivered} delivered, {lost} lost");
    ensure!(report.errors.contains("kernel.connections_full: "), "no reason for the loss in:\n{}", report.errors);
    let whole = report.servers().filter(|span| span.incomplete.is_none());
    within(seen, whole.map(JsonSpan::seen)).context("spans that claim to be whole tell what did not happen")
}
