//! Address families, connections older than the agent, and clients that are gone before anyone can look at them.

use std::{collections::BTreeSet, process::Stdio, time::Duration};

use anyhow::{Context, Result, ensure};
use netspan_tests::{
    agent::Agent,
    apps::Kind,
    drive::{self, Ask, Talk},
    http::Connection,
    nginx::{self, Nginx},
    paths, ports,
    process::{Address, command_in},
    scenario::nothing_lost,
    scope::Scope,
    span::JsonSpan,
    truth::{Seen, same},
};

use crate::together;

/// Time for the last span of a few requests.
const SOON: Duration = Duration::from_secs(5);

fn hellos() -> Vec<Talk> {
    vec![Talk::InTurn(vec![Ask::get("/hello"), Ask::get("/file/1000"), Ask::get("/file/300000")]); 3]
}

fn nginx_is_seen_exactly(choose: impl Fn(&Nginx) -> Option<Address>) -> Result<Vec<JsonSpan>> {
    let _machine = together();
    let scope = Scope::new()?;
    let nginx = Nginx::start(&scope, 1)?;
    let address = choose(&nginx).context("the machine has no such address")?;
    let agent = Agent::watch(&scope)?;
    let driven = drive::run_in(&scope, &address, &hellos())?;
    agent.await_spans(2 * driven.seen.len(), SOON);
    let report = agent.stop()?;
    same(driven.seen.iter().cloned(), report.servers().map(JsonSpan::seen)).context("SERVER spans")?;
    same(driven.seen.iter().cloned(), report.clients().map(JsonSpan::seen)).context("CLIENT spans")?;
    nothing_lost(&report)?;
    Ok(report.spans)
}

#[test]
fn requests_over_ipv6_are_seen_with_their_addresses() -> Result<()> {
    for span in nginx_is_seen_exactly(|nginx| nginx.address6.clone())? {
        let peer = span.text("network.peer.address").or_else(|| span.text("server.address"));
        ensure!(peer == Some("::1"), "the peer is not ::1: {span:?}");
    }
    Ok(())
}

#[test]
fn requests_over_unix_sockets_are_seen() -> Result<()> {
    for span in nginx_is_seen_exactly(|nginx| Some(nginx.unix.clone()))? {
        ensure!(span.text("network.transport") == Some("unix"), "not over a Unix socket: {span:?}");
    }
    Ok(())
}

/// Asks, ends its side, and reads when the server has ended its own.
const HALF_CLOSED: &str = r#"
import socket, sys, time
connection = socket.create_connection((sys.argv[1], int(sys.argv[2])))
connection.sendall(b"GET /file/1000 HTTP/1.1\r\nHost: shop.test\r\nConnection: close\r\n\r\n")
connection.shutdown(socket.SHUT_WR)
time.sleep(0.3)
while connection.recv(65536):
    pass
"#;

#[test]
fn an_answer_that_is_read_after_both_sides_ended_is_seen() -> Result<()> {
    let _machine = together();
    let scope = Scope::new()?;
    let nginx = Nginx::start(&scope, 1)?;
    let Address::Tcp(address) = &nginx.address else { anyhow::bail!("not a TCP address") };
    let agent = Agent::watch(&scope)?;
    let mut client = command_in(&scope, paths::tool("python3", "python3")?);
    let client = client.args(["-c", HALF_CLOSED]).arg(address.ip().to_string()).arg(address.port().to_string());
    ensure!(client.status()?.success(), "the client failed");
    agent.await_spans(2, SOON);
    let report = agent.stop()?;
    let expected = || [Seen::new("GET", "/file/1000", 200, 1000)];
    same(expected(), report.servers().map(JsonSpan::seen)).context("SERVER spans")?;
    same(expected(), report.clients().map(JsonSpan::seen)).context("CLIENT spans")?;
    ensure!(report.spans.iter().all(|span| span.incomplete.is_none()), "incomplete: {:#?}", report.spans);
    nothing_lost(&report)
}

/// Requests on one connection, each slow to come, so that it lives long enough to be looked at.
const ON_ONE: usize = 20;

#[test]
fn both_ends_of_a_unix_socket_are_linked() -> Result<()> {
    let _machine = together();
    let scope = Scope::new()?;
    let nginx = Nginx::start(&scope, 1)?;
    let agent = Agent::watch(&scope)?;
    let talk = || Talk::InTurn(vec![Ask { parts: 20, ..Ask::get("/hello") }; ON_ONE]);
    let driven = drive::run_in(&scope, &nginx.unix, &[talk(), talk()])?;
    agent.await_spans(2 * driven.seen.len(), SOON);
    let report = agent.stop()?;
    let clients: BTreeSet<&str> = report.clients().map(|span| span.span_id.as_str()).collect();
    let parents: BTreeSet<&str> = report.servers().filter_map(JsonSpan::parent).collect();
    ensure!(clients.len() == 2 * ON_ONE, "{} CLIENT spans:\n{}", clients.len(), report.errors);
    ensure!(parents == clients, "{} of {} calls are a request's parent", parents.len(), clients.len());
    let method = |span: &JsonSpan| span.link.as_ref().is_some_and(|link| link.method == "socket");
    ensure!(report.servers().all(method), "another link than `socket`");
    Ok(())
}

#[test]
fn a_connection_older_than_the_agent_is_seen_from_its_next_request() -> Result<()> {
    let _machine = together();
    let scope = Scope::new()?;
    let nginx = Nginx::start(&scope, 1)?;
    let mut old = Connection::open(&nginx.address)?;
    let ask = |connection: &mut Connection, target: &str| -> Result<Seen> {
        let ask = Ask::get(target);
        connection.write(&ask.bytes())?;
        Ok(ask.seen(&connection.answer("GET")?))
    };
    ask(&mut old, "/file/0")?;
    let agent = Agent::watch(&scope)?;
    let seen = ["/file/1", "/file/100", "/hello"].map(|target| ask(&mut old, target));
    let seen = seen.into_iter().collect::<Result<Vec<_>>>()?;
    agent.await_spans(seen.len(), SOON);
    let report = agent.stop()?;
    same(seen, report.spans.iter().map(JsonSpan::seen))?;
    ensure!(report.clients().count() == 0, "nginx is the server: {:#?}", report.spans);
    for span in report.servers() {
        ensure!(span.peer_port() == Some(old.port().into()), "not the client's port {}: {span:?}", old.port());
    }
    nothing_lost(&report)
}

#[test]
fn a_proxy_and_what_is_behind_its_old_unix_connections_are_seen() -> Result<()> {
    let _machine = together();
    let scope = Scope::new()?;
    let app = Kind::GunicornUnix.start(&scope)?;
    let directory = tempfile::tempdir()?;
    let address = Address::local(ports::free()?);
    let Address::Tcp(socket) = &address else { unreachable!("it is a port") };
    let configuration = format!(
        "{}http {{\n{}upstream app {{ server {}; keepalive 4; }}\nserver {{ listen {socket}; location / {{ \
         proxy_http_version 1.1; proxy_set_header Connection ''; proxy_pass http://app; }} }}\n}}\n",
        nginx::preamble(1),
        nginx::http_preamble(),
        app.address,
    );
    let proxy = nginx::start(&scope, directory.path(), &configuration, &address)?;
    let talks = [Talk::InTurn(vec![Ask::get("/hello"), Ask::get("/chunked/2500"), Ask::post("/echo", 2000)])];
    drive::run(&address, &talks)?;
    let agent = Agent::watch(&scope)?;
    let seen = drive::run(&address, &talks)?;
    agent.await_spans(3 * seen.len(), SOON);
    let of_proxy = proxy.scope().processes();
    let report = agent.stop()?;
    let (front, back): (Vec<&JsonSpan>, Vec<&JsonSpan>) =
        report.servers().partition(|span| of_proxy.contains(&span.pid));
    same(seen.iter().cloned(), front.into_iter().map(JsonSpan::seen)).context("SERVER spans of the proxy")?;
    same(seen.iter().cloned(), back.into_iter().map(JsonSpan::seen)).context("SERVER spans of the application")?;
    same(seen, report.clients().map(JsonSpan::seen)).context("CLIENT spans of the proxy")?;
    nothing_lost(&report)
}

#[test]
fn a_curl_that_is_gone_at_once_is_named_correctly() -> Result<()> {
    let _machine = together();
    let scope = Scope::new()?;
    let nginx = Nginx::start(&scope, 1)?;
    let agent = Agent::watch(&scope)?;
    let curl = paths::tool("curl", "curl")?;
    let mut pids = Vec::new();
    for _ in 0..10 {
        for unix in [false, true] {
            let mut command = command_in(&scope, &curl);
            command.args(["--silent", "--output", "/dev/null"]).stdout(Stdio::null());
            if let (true, Address::Unix(path)) = (unix, &nginx.unix) {
                command.arg("--unix-socket").arg(path);
            }
            let mut child = command.arg(format!("http://{}/hello", nginx.address)).spawn()?;
            pids.push(child.id());
            ensure!(child.wait()?.success(), "curl failed");
        }
    }
    agent.await_spans(2 * pids.len(), SOON);
    let report = agent.stop()?;
    same(pids, report.clients().map(|span| span.pid)).context("the CLIENT spans' processes")?;
    for span in report.clients() {
        ensure!(span.service == "curl", "{} instead of curl: {span:?}", span.service);
    }
    for span in report.servers() {
        ensure!(span.service == "nginx", "{} instead of nginx: {span:?}", span.service);
    }
    nothing_lost(&report)
}
