//! What users install: manifests and chart, unit, Debian package, SBOM. They are checked as what reads them would, and the agent
//! is started with exactly what they grant it, on a cgroup of its own.
#![forbid(unsafe_code)]

mod container;
mod manifests;
mod package;

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::Mutex,
};

use anyhow::{Context, Result, ensure};
use netspan_tests::{
    agent::Agent,
    paths, ports,
    process::{Address, Process, command_in},
    scope::Scope,
    span::JsonSpan,
    wait,
};

/// One agent at a time.
static AGENT: Mutex<()> = Mutex::new(());

/// Time for spans to be in a file.
const SPANS: std::time::Duration = std::time::Duration::from_secs(20);

/// The directory with all that is deployed.
fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../agent/deploy")
}

/// Runs a program, and gives what it printed.
fn output(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("cannot run {command:?}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?} ended with {}:\n{said}", output.status);
    String::from_utf8(output.stdout).context("no text")
}

/// Some requests within a scope, by programs without TLS or anything else.
fn ask(scope: &Scope, directory: &Path) -> Result<usize> {
    let address = Address::local(ports::free()?);
    let python = paths::tool("python3", "python3")?;
    let _server = Process::start(scope, directory, "http", python, |command| {
        command.args(["-m", "http.server", "--bind", "127.0.0.1", &address.to_string().replace("127.0.0.1:", "")])
    })?
    .listening(&address)?;
    for n in 0..3 {
        let url = format!("http://{address}/?n={n}");
        output(command_in(scope, paths::tool("curl", "curl")?).args([
            "--noproxy",
            "*",
            "--silent",
            "--output",
            "/dev/null",
            &url,
        ]))?;
    }
    Ok(3)
}

/// Starts an agent, and looks whether what happens in the scope comes to the file that it exports to.
fn sees(agent: Command, scope: &Scope, directory: &Path, file: &Path) -> Result<Agent> {
    let agent = Agent::start(agent)?;
    let asked = ask(scope, directory)?;
    let seen = || {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        let spans = text.lines().filter_map(|line| JsonSpan::parse(line).ok());
        Ok((spans.filter(JsonSpan::is_server).count() >= asked).then_some(()))
    };
    wait::until("that the requests are in the file", SPANS, seen)
        .with_context(|| format!("it printed:\n{}", agent.printed()))?;
    Ok(agent)
}
