//! Libraries of TLS that come and go in unusual ways: replaced on disk under a process, loaded late, inherited by children.
//! The spans are exact all the same.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use netspan_tests::{
    agent::{Agent, Report},
    certificate::Certificate,
    paths, ports,
    process::{Address, Process},
    python,
    scenario::{LAST_SPAN, nothing_lost},
    scope::Scope,
    span::JsonSpan,
    truth::same,
    web::{Client, Exchange, Plan, Request, Server, Version, Wire},
};

/// An HTTPS server in Python.
pub struct Https {
    process: Process,
    address: Address,
    certificate: Certificate,
    directory: tempfile::TempDir,
}

impl Https {
    /// Starts it; with `libraries` the dynamic linker looks there first.
    pub fn start(scope: &Scope, mode: &str, libraries: Option<&Path>) -> Result<Self> {
        let (certificate, directory) = (Certificate::new()?, tempfile::tempdir()?);
        let port = ports::free()?;
        let address = Address::local(port);
        let process = Process::start(scope, directory.path(), mode, python::program("python")?, |command| {
            let program = paths::apps().join("python/tls.py");
            command.arg(program).args([mode, &port.to_string()]).arg(certificate.chain()).arg(certificate.key());
            if let Some(libraries) = libraries {
                command.env("LD_LIBRARY_PATH", libraries);
            }
            command.arg(directory.path().join("now"))
        })?;
        let process = process.listening(&address)?;
        Ok(Self { process, address, certificate, directory })
    }

    /// Lets it load the library.
    fn load(&self) -> Result<()> {
        fs::write(self.directory.path().join("now"), "").context("the server cannot be told")
    }

    /// Some requests over connections of their own.
    pub fn ask(&self, scope: &Scope, connections: usize) -> Result<Vec<Exchange>> {
        let Address::Tcp(address) = self.address else { anyhow::bail!("it speaks TCP") };
        let plan = Plan {
            address,
            version: Version::H1,
            authority: Some(self.certificate.authority()),
            in_flight: 1,
            connections: (0..connections).map(requests).collect(),
            gate: None,
        };
        let driven = Client::Hyper.send(scope, &plan);
        Ok(driven.with_context(|| format!("the server printed: {}", self.process.printed()))?.exchanges)
    }
}

fn requests(connection: usize) -> Vec<Request> {
    let request = |n| Request { method: "GET".into(), path: format!("/hello/0/c{connection}-{n}"), body: 0 };
    (0..4).map(request).collect()
}

/// The servers' spans are what was asked for, on the connections on which it was asked.
fn are_exact(asked: &[Exchange], report: &Report) -> Result<()> {
    let key = |exchange: &Exchange| {
        (exchange.method.clone(), exchange.path.clone(), exchange.status, Some(u64::from(exchange.port)))
    };
    let seen = |span: &JsonSpan| {
        (span.method().to_owned(), span.path().to_owned(), span.status().unwrap_or(0), span.peer_port())
    };
    same(asked.iter().map(key), report.servers().map(seen))
        .with_context(|| format!("it printed:\n{}", report.errors))?;
    for span in report.servers() {
        ensure!(span.incomplete.is_none(), "an incomplete span: {span:?}");
        ensure!(span.text("url.scheme") == Some("https"), "not of TLS: {span:?}");
    }
    nothing_lost(report)
}

fn mode_is_seen_exactly(mode: &str) -> Result<()> {
    let _machine = crate::alone();
    let scope = Scope::new()?;
    let server = Https::start(&scope, mode, None)?;
    let agent = Agent::watch(&scope)?;
    let asked = server.ask(&scope, 4)?;
    agent.await_spans(asked.len(), LAST_SPAN);
    are_exact(&asked, &agent.stop()?)
}

#[test]
fn a_plain_server_is_seen_exactly() -> Result<()> {
    mode_is_seen_exactly("plain")
}

/// What the README names is all that it needs.
#[test]
fn an_agent_with_three_capabilities_sees_it_exactly() -> Result<()> {
    let _machine = crate::alone();
    let scope = Scope::new()?;
    let server = Https::start(&scope, "plain", None)?;
    let three = "--bounding-set=-all,+bpf,+perfmon,+sys_ptrace";
    let mut command = Agent::command_by_setpriv(&paths::agent()?, &[three])?;
    command.args(["watch", "--json", "--cgroup"]).arg(scope.name()?);
    let agent = Agent::start(command)?;
    let asked = server.ask(&scope, 4)?;
    agent.await_spans(asked.len(), LAST_SPAN);
    are_exact(&asked, &agent.stop()?)
}

#[test]
fn workers_that_were_forked_with_the_library_are_seen_exactly() -> Result<()> {
    mode_is_seen_exactly("prefork")
}

#[test]
fn children_that_shake_hands_are_seen_exactly() -> Result<()> {
    mode_is_seen_exactly("fork")
}

#[test]
fn a_session_that_a_child_goes_on_with_is_seen_exactly() -> Result<()> {
    mode_is_seen_exactly("handed")
}

#[test]
fn a_library_that_is_loaded_late_is_seen_and_the_process_before_is_not_disturbed() -> Result<()> {
    let _machine = crate::alone();
    let scope = Scope::new()?;
    let server = Https::start(&scope, "late", None)?;
    let other = Https::start(&scope, "plain", None)?;
    let agent = Agent::watch(&scope)?;
    let mut asked = other.ask(&scope, 2)?;
    server.load()?;
    asked.extend(server.ask(&scope, 3)?);
    asked.extend(other.ask(&scope, 2)?);
    agent.await_spans(asked.len(), LAST_SPAN);
    are_exact(&asked, &agent.stop()?)
}

/// Servers that start under the agent and fork their workers.
fn workers_of_a_new_server_are_seen(server: Server) -> Result<()> {
    let _machine = crate::alone();
    let scope = Scope::new()?;
    let agent = Agent::watch(&scope)?;
    let running = server.start(&scope, Wire { version: Version::H1, tls: true })?;
    let plan = running.plan((0..4).map(requests).collect(), 1)?;
    let asked = Client::Hyper.send(&scope, &plan)?.exchanges;
    agent.await_spans(asked.len(), LAST_SPAN);
    are_exact(&asked, &agent.stop()?)
}

#[test]
fn workers_of_nginx_that_start_under_the_agent_are_seen_exactly() -> Result<()> {
    workers_of_a_new_server_are_seen(Server::Nginx)
}

#[test]
fn workers_of_gunicorn_that_start_under_the_agent_are_seen_exactly() -> Result<()> {
    workers_of_a_new_server_are_seen(Server::Gunicorn)
}

/// The files of OpenSSL that Python loads.
pub fn openssl() -> Result<Vec<PathBuf>> {
    let script =
        "import ssl; print(*{l.split()[-1] for l in open('/proc/self/maps') if '/libssl' in l or '/libcrypto' in l})";
    let output = Command::new(python::program("python")?).args(["-c", script]).output()?;
    let text = String::from_utf8(output.stdout)?;
    let files: Vec<PathBuf> = text.split_whitespace().map(PathBuf::from).collect();
    ensure!(files.len() == 2, "Python's OpenSSL is not libssl and libcrypto: {text}");
    Ok(files)
}

/// Puts copies into the directory, in the place of those that are there: new files, as a package manager does it.
pub fn install(files: &[PathBuf], directory: &Path) -> Result<()> {
    for file in files {
        let name = file.file_name().context("a file without name")?;
        let new = directory.join("new");
        fs::copy(file, &new)?;
        fs::rename(&new, directory.join(name))?;
    }
    Ok(())
}

#[test]
fn a_library_that_is_replaced_on_disk_is_seen_in_old_and_new_processes() -> Result<()> {
    let _machine = crate::alone();
    let (scope, directory) = (Scope::new()?, tempfile::tempdir()?);
    let files = openssl()?;
    install(&files, directory.path())?;
    let old = Https::start(&scope, "plain", Some(directory.path()))?;
    let agent = Agent::watch(&scope)?;
    let mut asked = old.ask(&scope, 2)?;
    // The client has a library of its own, too (rustls), whose programs are not loaded yet: the next file does not wait for them.
    install(&files, directory.path())?;
    asked.extend(old.ask(&scope, 2)?);
    let new = Https::start(&scope, "plain", Some(directory.path()))?;
    asked.extend(new.ask(&scope, 2)?);
    asked.extend(old.ask(&scope, 2)?);
    agent.await_spans(asked.len(), LAST_SPAN);
    are_exact(&asked, &agent.stop()?).context("the agent was there before")?;

    // One that starts now finds a file that has no name any more.
    let agent = Agent::watch(&scope)?;
    let mut asked = old.ask(&scope, 2)?;
    asked.extend(new.ask(&scope, 2)?);
    agent.await_spans(asked.len(), LAST_SPAN);
    are_exact(&asked, &agent.stop()?).context("the agent came later")
}
