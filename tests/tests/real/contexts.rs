//! What programs publish in their memory for whoever looks: OpenTelemetry's process context, which names them.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use netspan_tests::{
    agent::Agent,
    c::{self, Slot},
    drive::{self, Ask, Talk},
    ports,
    process::{Address, Process},
    scope::Scope,
    span::JsonSpan,
};
use serde_json::Value;

/// Time for a span to come.
const BOUND: Duration = Duration::from_secs(10);
/// How long after a look in vain the next one follows.
const NEXT_LOOK: Duration = Duration::from_millis(1100);

fn ask(address: &Address, path: &str) -> Result<()> {
    let seen = drive::run(address, &[Talk::InTurn(vec![Ask { close: true, ..Ask::get(path) }])])?;
    ensure!(seen.iter().all(|seen| seen.status == Some(200)), "{seen:?}");
    Ok(())
}

/// The server's span of a path.
fn served(agent: &Agent, path: &str) -> Result<JsonSpan> {
    ensure!(agent.await_span(BOUND, |span| span.is_server() && span.path() == path), "no span of {path}");
    agent.spans()?.into_iter().find(|span| span.is_server() && span.path() == path).context("a span that was seen")
}

fn is_named_by_what_it_publishes(variable: Option<(&str, &str)>) -> Result<()> {
    let _machine = crate::together();
    let (scope, directory) = (Scope::new()?, tempfile::tempdir()?);
    let (program, _) = c::context(directory.path(), Slot::Program)?;
    let address = Address::local(ports::free()?);
    let Address::Tcp(socket) = &address else { unreachable!("of TCP") };
    let process = Process::start(&scope, directory.path(), "server", program, |command| {
        command.env("OTEL_SERVICE_NAME", "declared").envs(variable).arg(socket.port().to_string()).arg("0")
    })?;
    let process = process.listening(&address)?;
    let agent = Agent::watch(&scope)?;
    ask(&address, "/before")?;
    ensure!(served(&agent, "/before")?.service == "declared", "it has published nothing yet");
    ask(&address, "/publish/cart")?;
    std::thread::sleep(NEXT_LOOK);
    // The look that this one lets begin may end after it.
    ask(&address, "/meanwhile")?;
    served(&agent, "/meanwhile")?;
    ask(&address, "/after")?;
    let span = served(&agent, "/after")?;
    ensure!(span.service == "cart", "{span:?}\n{}", agent.printed());

    let doctor = Agent::command()?.args(["doctor", "--json", "--cgroup", &scope.name()?]).output()?;
    let told: Value = serde_json::from_slice(&doctor.stdout).context("netspan doctor prints no JSON")?;
    let told = told["processes"].as_array().into_iter().flatten().find(|one| one["pid"] == process.pid());
    let told = told.with_context(|| format!("the doctor does not know {}", process.pid()))?;
    ensure!(told["service"] == "cart" && told["service_from"] == "process_context", "{told:#}");
    let report = agent.stop()?;
    ensure!(!report.lines.iter().any(|line| line.contains("hunter2")), "what is not on the list came out");
    let instance = report.lines.iter().any(|line| line.contains("/after") && line.contains("one-of-a-kind"));
    ensure!(instance || !report.lines.iter().any(|line| line.contains("service.instance.id")), "{:?}", report.lines);
    Ok(())
}

#[test]
fn a_process_is_named_by_the_context_that_it_publishes_in_a_memfd() -> Result<()> {
    is_named_by_what_it_publishes(None)
}

#[test]
fn a_process_is_named_by_the_context_that_it_publishes_in_anonymous_memory() -> Result<()> {
    is_named_by_what_it_publishes(Some(("ANONYMOUS", "1")))
}
