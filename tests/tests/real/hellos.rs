//! What TLS says in the clear when a session begins is on the session's spans: version, protocol and server's name.

use std::{path::Path, process::Command};

use anyhow::{Context, Result, ensure};
use netspan_tests::{
    agent::Agent,
    paths,
    process::command_in,
    scenario::{LAST_SPAN, nothing_lost},
    scope::Scope,
    span::JsonSpan,
    web::{Server, Version, Wire},
};

/// What spans say of the session, in this order.
const TOLD: [&str; 4] = ["tls.protocol.name", "tls.protocol.version", "tls.next_protocol", "netspan.tls.server_name"];

fn run(command: &mut Command) -> Result<()> {
    let output = command.output()?;
    ensure!(output.status.success(), "{command:?} failed: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// Asks for `path` of `host` by one version of HTTP and one of TLS.
fn curl(scope: &Scope, authority: &Path, (http, tls): (&str, &str), url: &str) -> Result<()> {
    let mut command = command_in(scope, paths::tool("curl", "curl")?);
    command.args(["--disable", "--silent", "--show-error", "--noproxy", "*", "--ipv4", "--output", "/dev/null"]);
    command.args([&format!("--http{http}"), &format!("--tlsv{tls}"), "--tls-max", tls]);
    run(command.arg("--cacert").arg(authority).arg(url))
}

#[test]
fn spans_of_nginx_and_curl_say_version_protocol_and_name() -> Result<()> {
    let _machine = crate::alone();
    let scope = Scope::new()?;
    let nginx = Server::Nginx.start(&scope, Wire { version: Version::H2, tls: true })?;
    let plan = nginx.plan(Vec::new(), 1)?;
    let authority = plan.authority.context("a server of TLS has an authority")?;
    let agent = Agent::watch(&scope)?;
    let mut asked = Vec::new();
    for host in ["localhost", "127.0.0.1"] {
        for tls in ["1.2", "1.3"] {
            for (http, protocol) in [("1.1", "http/1.1"), ("2", "h2")] {
                let path = format!("/hello/0/{host}-{tls}-{http}");
                let url = format!("https://{host}:{}{path}", plan.address.port());
                curl(&scope, &authority, (http, tls), &url)?;
                // TLS 1.3 encrypts the protocol; an address is no name (RFC 6066, section 3).
                let told =
                    [Some("tls"), Some(tls), (tls == "1.2").then_some(protocol), (host == "localhost").then_some(host)];
                asked.push((path, told));
            }
        }
    }
    agent.await_spans(2 * asked.len(), LAST_SPAN);
    let report = agent.stop()?;
    ensure!(report.spans.len() == 2 * asked.len(), "{} spans: {}", report.spans.len(), report.errors);
    for (path, told) in &asked {
        for span in report.spans.iter().filter(|span| span.path() == path) {
            ensure!(TOLD.map(|name| span.text(name)) == *told, "{told:?} was expected: {span:?}");
        }
        let kinds = [JsonSpan::is_server, JsonSpan::is_client];
        ensure!(kinds.iter().all(|is| report.spans.iter().any(|span| is(span) && span.path() == path)), "{path}");
    }
    nothing_lost(&report)
}

#[test]
fn spans_without_tls_say_nothing_of_it() -> Result<()> {
    let _machine = crate::together();
    let scope = Scope::new()?;
    let nginx = Server::Nginx.start(&scope, Wire { version: Version::H1, tls: false })?;
    let agent = Agent::watch(&scope)?;
    let mut command = command_in(&scope, paths::tool("curl", "curl")?);
    run(command
        .args(["--disable", "--silent", "--output", "/dev/null"])
        .arg(format!("http://{}/hello/0/x", nginx.address)))?;
    agent.await_spans(2, LAST_SPAN);
    let report = agent.stop()?;
    ensure!(report.spans.len() == 2, "{:?}", report.spans);
    for span in &report.spans {
        ensure!(!span.attributes.keys().any(|name| name.starts_with("tls.")), "{span:?}");
    }
    Ok(())
}

#[test]
fn a_recording_replays_what_hellos_said() -> Result<()> {
    let _machine = crate::alone();
    let scope = Scope::new()?;
    let nginx = Server::Nginx.start(&scope, Wire { version: Version::H2, tls: true })?;
    let plan = nginx.plan(Vec::new(), 1)?;
    let authority = plan.authority.context("a server of TLS has an authority")?;
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("recording");
    let mut command = Agent::command()?;
    let agent = Agent::start({
        command.arg("record").arg(&file).args(["--cgroup", &scope.name()?]);
        command
    })?;
    curl(&scope, &authority, ("2", "1.2"), &format!("https://localhost:{}/hello/0/x", plan.address.port()))?;
    agent.stop()?;
    let output = Agent::command()?.arg("replay").arg(&file).arg("--json").output()?;
    let spans: Vec<JsonSpan> =
        String::from_utf8_lossy(&output.stdout).lines().map(JsonSpan::parse).collect::<Result<_>>()?;
    ensure!(spans.len() == 2, "{spans:?}: {}", String::from_utf8_lossy(&output.stderr));
    for span in &spans {
        let told = [Some("tls"), Some("1.2"), Some("h2"), Some("localhost")];
        ensure!(TOLD.map(|name| span.text(name)) == told, "{span:?}");
    }
    Ok(())
}
