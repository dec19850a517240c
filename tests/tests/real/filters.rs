//! Filters: what they let through is whole, what they keep out is not there at all.

use std::{fs, time::Duration};

use anyhow::{Context as _, Result, ensure};
use netspan_tests::{
    agent::Agent,
    apps::{App, Kind},
    drive::{self, Ask, Talk},
    process::Address,
    scope::{Scope, kill},
    span::JsonSpan,
    truth::same,
    wait,
};
use rustix::process::Signal;

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
        let path = fs::read_link(format!("/proc/{}/exe", node.process.pid())).unwrap_or_default();
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

#[test]
fn a_container_lets_only_its_processes_through() -> Result<()> {
    let _machine = together();
    let scope = Scope::new()?;
    let id = "c0ffee01".repeat(8);
    let (inside, outside) = (scope.container(&id)?, scope.child("outside")?);
    let (node, other) = (Kind::Node.start(&inside)?, Kind::Node.start(&outside)?);
    let agent = Agent::watch_with(&scope, ["--container", &id[..12]])?;
    let talks = [Talk::InTurn(vec![Ask::get("/hello"), Ask::get("/bytes/7")])];
    drive::run(&other.address, &talks)?;
    let seen = drive::run(&node.address, &talks)?;
    agent.await_spans(seen.len(), SOON);
    let report = agent.stop()?;
    same(seen, report.spans.iter().map(JsonSpan::seen))?;
    let named = report.spans.iter().all(|span| span.pid == node.process.pid());
    ensure!(named, "another process: {:#?}", report.spans);
    Ok(())
}

#[test]
fn filters_change_while_the_agent_runs() -> Result<()> {
    let _machine = together();
    let scope = Scope::new()?;
    let (node, other) = (Kind::Node.start(&scope)?, Kind::GunicornSync.start(&scope)?);
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("netspan.toml");
    let only = |app: &App| fs::write(&file, format!("[filter]\nport = [{}]\n", port(app)));
    only(&node)?;
    let config = file.to_str().context("a path that is no text")?;
    let agent = Agent::watch_with(&scope, ["--config", config])?;
    let talks = |path| [Talk::InTurn(vec![Ask::get(path), Ask::get("/bytes/7")])];
    let mut seen = drive::run(&node.address, &talks("/hello"))?;
    drive::run(&other.address, &talks("/hello"))?;
    agent.await_spans(seen.len(), SOON);
    only(&other)?;
    kill(agent.pid(), Signal::HUP)?;
    wait::until("that the filters are read anew", SOON, || {
        Ok(agent.printed().contains("filters, routes, sampling and destinations were read anew").then_some(()))
    })?;
    drive::run(&node.address, &talks("/missing"))?;
    seen.extend(drive::run(&other.address, &talks("/missing"))?);
    agent.await_spans(seen.len(), SOON);
    // Nonsense leaves the filters as they are.
    fs::write(&file, "[filter]\nport = \"http\"\n")?;
    kill(agent.pid(), Signal::HUP)?;
    wait::until("that the agent refuses them", SOON, || {
        Ok(agent.printed().contains("the options stay as they are").then_some(()))
    })?;
    drive::run(&node.address, &talks("/missing"))?;
    seen.extend(drive::run(&other.address, &talks("/missing"))?);
    agent.await_spans(seen.len(), SOON);
    same(seen, agent.stop()?.spans.iter().map(JsonSpan::seen))
}
