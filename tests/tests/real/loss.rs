//! Losses, provoked: they are counted, and what is built over a gap says so.

use std::{sync::atomic::AtomicBool, time::Duration};

use anyhow::{Context, Result, ensure};
use netspan_tests::{
    agent::Agent,
    drive::Ask,
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
