//! What is exported, decoded by OpenTelemetry's own definitions in another language, and checked strictly: no field that these do not
//! know, ids of the right length, times that can be, sums that add up.

use std::{path::Path, time::Duration};

use anyhow::{Context as _, Result, ensure};
use netspan_tests::{
    agent::Agent,
    apps::{Kind, talks},
    drive, paths, ports,
    process::{Address, Process},
    python,
    scope::Scope,
    wait,
};
use serde_json::Value;

/// Time for what was exported to arrive.
const SOON: Duration = Duration::from_secs(30);

/// What the receiver says of each message.
fn told(file: &Path) -> Result<Vec<Value>> {
    wait::whole_lines(file).iter().map(|line| serde_json::from_str(line).with_context(|| line.clone())).collect()
}

/// How much came by a path.
fn count(told: &[Value], path: &str) -> u64 {
    told.iter().filter(|message| message["path"] == path).filter_map(|message| message["count"].as_u64()).sum()
}

fn is_strictly_right(compression: &str) -> Result<()> {
    let _machine = crate::together();
    let scope = Scope::new()?;
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("told");
    let port = ports::free()?;
    let receiver = scope.child("receiver")?;
    let script = paths::apps().join("python/otlp.py");
    let started = Process::start(&receiver, directory.path(), "otlp", python::program("python")?, |command| {
        command.arg(script).arg(port.to_string()).arg(&file)
    })?;
    let _receiver = started.listening(&Address::local(port))?;
    let seen = scope.child("seen")?;
    let node = Kind::Node.start(&seen)?;
    let mut command = Agent::command()?;
    command.args(["run", "--cgroup", &seen.name()?, "--otlp-metrics-interval", "1s"]);
    command.args(["--otlp", &format!("http://127.0.0.1:{port}/v1/traces"), "--otlp-protocol", "http/protobuf"]);
    command.env("OTEL_EXPORTER_OTLP_COMPRESSION", compression);
    let agent = Agent::start(command)?;
    let asked = drive::run(&node.address, &talks(node.abilities))?.len() as u64;
    wait::until("spans and metrics", SOON, || {
        let told = told(&file)?;
        Ok((count(&told, "/v1/traces") >= asked && count(&told, "/v1/metrics") > 0).then_some(()))
    })
    .with_context(|| agent.printed())?;
    agent.stop()?;
    let told = told(&file)?;
    let wrong: Vec<_> = told.iter().filter_map(|message| message["wrong"].as_array()).flatten().collect();
    ensure!(wrong.is_empty(), "{wrong:#?}");
    ensure!(count(&told, "/v1/traces") == asked, "{} spans of {asked}", count(&told, "/v1/traces"));
    Ok(())
}

#[test]
fn what_is_exported_is_right_by_opentelemetrys_own_definitions() -> Result<()> {
    is_strictly_right("none")
}

#[test]
fn what_is_exported_compressed_is_right_by_opentelemetrys_own_definitions() -> Result<()> {
    is_strictly_right("gzip")
}
