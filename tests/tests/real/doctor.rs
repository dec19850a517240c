//! What `netspan doctor` says of real processes.

use anyhow::{Context, Result, ensure};
use netspan_tests::{
    agent::Agent,
    rpc::Peer,
    scope::Scope,
    web::{Server, Version, Wire},
};
use serde_json::Value;

const TLS: Wire = Wire { version: Version::H1, tls: true };

/// The processes of a scope, as the doctor describes them.
fn processes(scope: &Scope) -> Result<Vec<Value>> {
    let output = Agent::command()?.args(["doctor", "--json", "--cgroup", &scope.name()?]).output()?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "netspan doctor failed: {errors}");
    let told: Value = serde_json::from_slice(&output.stdout).context("netspan doctor prints no JSON")?;
    let processes = told["processes"].as_array().with_context(|| format!("no processes in {told}"))?;
    ensure!(!processes.is_empty(), "no process was found; it printed: {errors}");
    Ok(processes.clone())
}

/// The only TLS library of a process.
fn only_library(process: &Value) -> Result<&Value> {
    let libraries = process["tls"].as_array().with_context(|| format!("no libraries in {process}"))?;
    ensure!(libraries.len() == 1, "one library was expected: {process:#}");
    Ok(&libraries[0])
}

/// All processes of a server have this one library, it is hooked, and they have no blind spot.
fn is_hooked(server: Server, library: &str, file: &str) -> Result<()> {
    let _machine = crate::together();
    let scope = Scope::new()?;
    let _running = server.start(&scope, TLS)?;
    for process in processes(&scope)? {
        let found = only_library(&process)?;
        let path = found["path"].as_str().unwrap_or("");
        ensure!(found["library"] == library && path.contains(file), "{library} in {file} was expected: {found:#}");
        ensure!(found["version"].is_string() && found["found_by"].is_string(), "it is not described: {found:#}");
        ensure!(found["attached"].as_u64() > Some(0) && found["reason"].is_null(), "it is not hooked: {found:#}");
        ensure!(process["not_seen"] == serde_json::json!([]), "what is seen is no blind spot: {process:#}");
    }
    Ok(())
}

#[test]
fn the_openssl_of_nginx_is_hooked() -> Result<()> {
    is_hooked(Server::Nginx, "OpenSSL", "libssl.so")
}

#[test]
fn the_openssl_of_node_is_hooked() -> Result<()> {
    is_hooked(Server::Node, "OpenSSL", "")
}

#[test]
fn the_stripped_boringssl_of_grpcio_is_a_blind_spot_with_its_reason() -> Result<()> {
    let _machine = crate::together();
    let scope = Scope::new()?;
    let running = Peer::Grpcio.start(&scope, true)?;
    let processes = processes(&scope)?;
    let process = processes.iter().find(|process| process["pid"] == running.process.pid());
    let process = process.with_context(|| format!("the server is missing: {processes:#?}"))?;
    let libraries = process["tls"].as_array().context("no libraries")?;
    let found = libraries.iter().find(|found| found["path"].as_str().is_some_and(|path| path.contains("cygrpc")));
    let found = found.with_context(|| format!("cygrpc is missing: {process:#}"))?;
    ensure!(found["library"] == "BoringSSL" && found["attached"] == 0, "{found:#}");
    ensure!(found["reason"].as_str().is_some_and(|reason| reason.contains("stripped")), "{found:#}");
    let spots = process["not_seen"].as_array().context("no blind spots")?;
    let is_named = |spot: &Value| spot.as_str().is_some_and(|spot| spot.contains("BoringSSL in cygrpc"));
    ensure!(spots.iter().any(is_named), "the blind spot is not named: {process:#}");
    Ok(())
}

#[test]
fn the_text_has_one_line_for_each_library() -> Result<()> {
    let _machine = crate::together();
    let scope = Scope::new()?;
    let _running = Server::Nginx.start(&scope, TLS)?;
    let count = processes(&scope)?.len();
    let output = Agent::command()?.args(["doctor", "--cgroup", &scope.name()?]).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let lines: Vec<&str> = text.lines().filter(|line| line.contains("TLS: ")).collect();
    ensure!(lines.len() == count, "{count} processes, but: {text}");
    let is_told = |line: &&str| line.contains("OpenSSL in libssl.so") && line.contains("places hooked, found by");
    ensure!(lines.iter().all(is_told), "{text}");
    Ok(())
}
