//! Filters: what they let through is whole, what they keep out is not there at all.

use std::time::Duration;

use anyhow::{Result, ensure};
use netspan_tests::{
    agent::Agent,
    apps::{App, Kind},
    drive::{self, Ask, Talk},
    process::Address,
    scope::Scope,
    span::JsonSpan,
    truth::same,
};

use crate::together;

/// Time for the last span of a few requests.
const SOON: Duration = Duration::from_secs(5);

/// A Node server and a gunicorn with workers; the same requests go to both, and only the ones to the Node server may be
/// seen with these options.
fn only_node_is_seen(options: impl FnOnce(&App, &App) -> Vec<String>) -> Result<()> {
    let _machine = together();
    let scope = Scope::new()?;
    let (node, other) = (Kind::Node.start(&scope)?, Kind::GunicornSync.start(&scope)?);
    let agent = Agent::watch_with(&scope, options(&node, &other))?;
    let talks = [Talk::InTurn(vec![Ask::get("/hello"), Ask::get("/bytes/7"), Ask::post("/echo", 9)])];
    drive::run(&other.address, &talks)?;
    let seen = drive::run(&node.address, &talks)?;
    agent.await_spans(seen.len(), SOON);
    let report = agent.stop()?;
    same(seen, report.spans.iter().map(JsonSpan::seen))?;
    ensure!(report.spans.iter().all(|span| span.pid == node.process.pid()), "another process: {:#?}", report.spans);
    Ok(())
}

fn port(app: &App) -> String {
    match &app.address {
        Address::Tcp(address) => address.port().to_string(),
        Address::Unix(_) => String::new(),
    }
}

fn words<const N: usize>(words: [&str; N]) -> Vec<String> {
    words.map(str::to_owned).to_vec()
}

#[test]
fn a_process_id_lets_only_that_process_through() -> Result<()> {
    only_node_is_seen(|node, _| words(["--pid", &node.process.pid().to_string()]))
}

#[test]
fn an_excluded_process_id_keeps_its_children_out_too() -> Result<()> {
    only_node_is_seen(|_, other| words(["--exclude-pid", &other.process.pid().to_string()]))
}

#[test]
fn a_command_name_lets_only_that_command_through() -> Result<()> {
    only_node_is_seen(|_, _| words(["--comm", "node"]))
}

#[test]
fn an_excluded_command_name_keeps_that_command_out() -> Result<()> {
    only_node_is_seen(|_, _| words(["--exclude-comm", "gunicorn"]))
}

#[test]
fn an_executable_lets_only_its_processes_through() -> Result<()> {
    only_node_is_seen(|node, _| {
        let path = std::fs::read_link(format!("/proc/{}/exe", node.process.pid())).unwrap_or_default();
        words(["--exe", &path.to_string_lossy()])
    })
}

#[test]
fn a_port_lets_only_its_connections_through() -> Result<()> {
    only_node_is_seen(|node, _| words(["--port", &port(node)]))
}

#[test]
fn an_excluded_port_keeps_its_connections_out() -> Result<()> {
    only_node_is_seen(|_, other| words(["--exclude-port", &port(other)]))
}

#[test]
fn what_is_outside_the_cgroup_is_not_seen() -> Result<()> {
    let _machine = together();
    let (inside, outside) = (Scope::new()?, Scope::new()?);
    let (node, other) = (Kind::Node.start(&inside)?, Kind::Node.start(&outside)?);
    let agent = Agent::watch(&inside)?;
    let talks = [Talk::InTurn(vec![Ask::get("/hello"), Ask::get("/bytes/7")])];
    drive::run(&other.address, &talks)?;
    let seen = drive::run(&node.address, &talks)?;
    agent.await_spans(seen.len(), SOON);
    same(seen, agent.stop()?.spans.iter().map(JsonSpan::seen))
}
