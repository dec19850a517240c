//! Descriptors that are doubled, inherited and passed on, and every call that moves bytes: the exchanges are the same.

use std::{path::Path, time::Duration};

use anyhow::{Context, Result, ensure};
use netspan_tests::{
    agent::{Agent, Report},
    drive::{self, Ask, Talk},
    paths, ports,
    process::{Address, Process},
    scenario::nothing_lost,
    scope::Scope,
    span::JsonSpan,
    truth::{Seen, same},
};

use crate::together;

/// Time for the last span of a few requests.
const SOON: Duration = Duration::from_secs(5);

fn server(scope: &Scope, directory: &Path, mode: &str, address: &Address) -> Result<Process> {
    let Address::Tcp(socket) = address else { anyhow::bail!("these servers speak TCP") };
    Process::start(scope, directory, mode, paths::tool("python3", "python3")?, |command| {
        let program = paths::apps().join("python/descriptors.py");
        command.arg(program).args([mode, &socket.port().to_string(), &socket.ip().to_string()])
    })?
    .listening(address)
}

/// Looks at the server in that mode while a client does the talks; gives what the client saw and what the agent said.
fn watch(mode: &str, talks: &[Talk]) -> Result<(Vec<Seen>, Report)> {
    let _machine = together();
    let scope = Scope::new()?;
    let directory = tempfile::tempdir()?;
    let address = Address::local(ports::free()?);
    let _server = server(&scope, directory.path(), mode, &address)?;
    let agent = Agent::watch(&scope)?;
    let seen = drive::run(&address, talks)?;
    agent.await_spans(seen.len(), SOON);
    Ok((seen, agent.stop()?))
}

fn is_seen_exactly(mode: &str, talks: &[Talk]) -> Result<()> {
    let (seen, report) = watch(mode, talks)?;
    same(seen, report.servers().map(JsonSpan::seen)).with_context(|| format!("it printed:\n{}", report.errors))?;
    ensure!(report.clients().count() == 0, "there is no client in the scope: {:#?}", report.spans);
    for span in &report.spans {
        ensure!(span.incomplete.is_none(), "an incomplete span: {span:?}");
    }
    nothing_lost(&report)
}

/// Three connections of four requests each.
fn hellos() -> Vec<Talk> {
    vec![Talk::InTurn(vec![Ask::get("/hello"); 4]); 3]
}

macro_rules! modes {
    ($($name:ident: $mode:literal,)*) => {
        $(#[test]
        fn $name() -> Result<()> {
            is_seen_exactly($mode, &hellos())
        })*
    };
}

modes! {
    a_plain_server_is_seen_exactly: "plain",
    a_connection_doubled_by_dup_is_one_connection: "dup",
    a_connection_moved_by_dup2_is_one_connection: "dup2",
    a_connection_doubled_by_fcntl_is_one_connection: "fcntl",
    a_connection_that_a_child_inherits_is_one_connection: "fork",
    a_connection_that_survives_exec_is_one_connection: "inetd",
    a_connection_passed_to_another_process_is_seen_there: "passed",
    connections_of_forked_workers_are_seen: "prefork",
}

#[test]
fn every_call_that_moves_bytes_counts() -> Result<()> {
    let asks: Vec<Ask> = ["send", "write", "writev", "sendto", "sendmsg", "sendfile", "splice"]
        .iter()
        .flat_map(|writer| [0, 10, 5000, 100_000].map(|length| Ask::get(&format!("/calls/{writer}/{length}"))))
        .collect();
    is_seen_exactly("calls", &[Talk::InTurn(asks.clone()), Talk::InTurn(asks)])
}

#[test]
fn every_call_that_reads_takes_a_split_head() -> Result<()> {
    let asks: Vec<Ask> = (0..14).map(|parts| Ask { parts, ..Ask::get("/hello") }).collect();
    is_seen_exactly("calls", &[Talk::InTurn(asks)])
}

#[test]
fn a_body_sent_while_the_next_request_comes_is_no_message() -> Result<()> {
    let asks = ["GET", "HEAD", "GET", "GET", "HEAD", "HEAD", "GET", "HEAD"].map(|method| Ask::new(method, "/hello"));
    let asks = asks.into_iter().chain([Ask::post("/echo", 23), Ask::get("/hello"), Ask::get("/last")]);
    is_seen_exactly("meanwhile", &vec![Talk::Pipelined(asks.collect()); 3])
}

#[test]
fn a_forked_child_that_answers_is_named_as_the_process() -> Result<()> {
    let (_, report) = watch("fork", &hellos())?;
    let mut pids: Vec<u32> = report.servers().map(|span| span.pid).collect();
    pids.dedup();
    ensure!(pids.len() == 3, "each connection has a process of its own: {pids:?}");
    Ok(())
}

#[test]
fn a_mapped_address_is_the_same_as_the_plain_one() -> Result<()> {
    let _machine = together();
    let scope = Scope::new()?;
    let directory = tempfile::tempdir()?;
    let port = ports::free()?;
    // An IPv6 socket that listens on IPv4's loopback address.
    let mapped = Address::Tcp(format!("[::ffff:127.0.0.1]:{port}").parse()?);
    let _server = server(&scope, directory.path(), "plain", &mapped)?;
    let agent = Agent::watch(&scope)?;
    let driven = drive::run_in(&scope, &Address::local(port), &hellos())?;
    agent.await_spans(2 * driven.seen.len(), SOON);
    let report = agent.stop()?;
    same(driven.seen.iter().cloned(), report.servers().map(JsonSpan::seen)).context("SERVER spans")?;
    same(driven.seen.iter().cloned(), report.clients().map(JsonSpan::seen)).context("CLIENT spans")?;
    for span in report.servers() {
        let link = span.link.as_ref().with_context(|| format!("both ends are here: {span:?}"))?;
        ensure!(link.method == "socket", "{span:?}");
        let peer = span.text("network.peer.address").or_else(|| span.text("client.address"));
        ensure!(peer == Some("127.0.0.1"), "the peer is not 127.0.0.1: {span:?}");
    }
    Ok(())
}
