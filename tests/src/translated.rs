//! Connections whose addresses are translated on the way: a client asks an address that no server has, as that of a service of
//! Kubernetes is, and the server sees a port that the client does not have. Both ends are one connection all the same.
#![forbid(unsafe_code)]

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, Result, bail, ensure};

use crate::{
    agent::Agent, hosts::Hosts, paths, process::Process, scenario::nothing_lost, scope::Scope, span::JsonSpan, wait,
};

/// Where clients ask: `nft` sends it elsewhere.
const SERVICE: &str = "10.96.0.1";
/// The port there, and the server's own.
const PORTS: [&str; 2] = ["80", "8080"];
/// Clients of which the agent sees the beginning, and as many that are older than it.
const CLIENTS: usize = 3;
/// Requests of each that must be linked.
const EACH: usize = 10;
/// Time for all that: emulated machines are slow.
const BOUND: Duration = Duration::from_mins(4);

/// What was seen.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub struct Translated {
    /// Servers' spans under the client's span of the same request, of connections that the agent saw begin.
    pub fresh: usize,
    /// Of older ones.
    pub late: usize,
    /// Servers' spans without a parent: each may be the first of a connection that is older than the agent.
    pub alone: usize,
}

/// Asks through translations, and looks at the spans.
///
/// # Errors
/// When a server's span hangs under another request's, or too many under none.
pub fn run(options: &[String]) -> Result<Translated> {
    let hosts = Hosts::new(2)?;
    translate(&hosts)?;
    let scope = Scope::new()?;
    let directory = tempfile::tempdir()?;
    let python = |host: usize, name: &str, program: &str, arguments: &[&str]| {
        Process::start(&scope, directory.path(), name, "ip", |command| {
            let program = paths::apps().join("python").join(program);
            command.args(["netns", "exec", hosts.name(host), "python3"]).arg(program).args(arguments)
        })
    };
    let _server = python(1, "server", "relay.py", &[&Hosts::address(1), PORTS[1], "-"])?;
    let listening = || {
        let port = format!("sport = :{}", PORTS[1]);
        let grep = format!("ss --no-header --listening --numeric --tcp '{port}' | grep --quiet .");
        Ok(hosts.run(1, "sh", &["-c", &grep]).is_ok().then_some(()))
    };
    wait::until("that the server listens", BOUND, listening)?;
    let asker = |kind: &str, number: usize| {
        python(0, &format!("{kind}{number}"), "asker.py", &[SERVICE, PORTS[0], &format!("{kind}/{number}")])
    };
    let late = (0..CLIENTS).map(|number| asker("late", number)).collect::<Result<Vec<_>>>()?;
    let agent = Agent::watch_with(&scope, options)?;
    let fresh = (0..CLIENTS).map(|number| asker("fresh", number)).collect::<Result<Vec<_>>>()?;
    let mut linked = BTreeMap::new();
    let enough = agent.await_span(BOUND, |span| {
        if span.is_server() && span.parent().is_some() {
            *linked.entry(client(span.path())).or_insert(0) += 1;
        }
        linked.len() == 2 * CLIENTS && linked.values().all(|count| *count >= EACH)
    });
    if !enough {
        let clients = late.into_iter().chain(fresh).map(|mut client| (client.runs(), client.printed()));
        bail!(
            "not enough is linked after {BOUND:?}, by client: {linked:?}; whether clients run, and what they printed: {:?}; the last spans: \
             {:#?}; the agent printed: {}",
            clients.collect::<Vec<_>>(),
            agent.spans()?.iter().rev().take(2).collect::<Vec<_>>(),
            agent.printed()
        );
    }
    let report = agent.stop()?;
    nothing_lost(&report)?;
    judge(&report.spans).with_context(|| format!("the agent printed: {}", report.errors))
}

/// Has what the first host sends to the service go to the second host's server, from another port than the client's.
fn translate(hosts: &Hosts) -> Result<()> {
    let server = Hosts::address(1);
    hosts.run(0, "ip", &["route", "add", SERVICE, "via", &server])?;
    let rules = format!(
        "table ip service {{\n\
         chain output {{ type nat hook output priority -100; ip daddr {SERVICE} tcp dport {} dnat to {server}:{}; }}\n\
         chain postrouting {{ type nat hook postrouting priority 100; ip daddr {server} masquerade fully-random; }}\n\
         }}",
        PORTS[0], PORTS[1]
    );
    hosts.run(0, paths::tool("nft", "nftables")?.to_str().unwrap_or("nft"), &[&rules])
}

/// Which client asks for a path: all of it but the number.
fn client(path: &str) -> String {
    path.rsplit_once('/').map_or(path, |(client, _)| client).to_owned()
}

fn judge(spans: &[JsonSpan]) -> Result<Translated> {
    let clients: BTreeMap<&str, &JsonSpan> =
        spans.iter().filter(|span| span.is_client()).map(|span| (&*span.span_id, span)).collect();
    let mut seen = Translated { fresh: 0, late: 0, alone: 0 };
    for server in spans.iter().filter(|span| span.is_server()) {
        let Some(parent) = server.parent() else {
            ensure!(
                server.path().starts_with("/late/"),
                "no parent, and nothing of it was missed: {server:?}; of its client: {:#?}",
                spans
                    .iter()
                    .filter(|span| client(span.path()) == client(server.path()))
                    .rev()
                    .take(4)
                    .collect::<Vec<_>>()
            );
            seen.alone += 1;
            continue;
        };
        let client = clients.get(parent).with_context(|| format!("the parent is no client's span: {server:?}"))?;
        ensure!(client.path() == server.path(), "another request's: {client:?} above {server:?}");
        let method = server.link.as_ref().map_or("", |link| &link.method);
        ensure!(method == "socket" && client.trace_id == server.trace_id, "{server:?} under {client:?}");
        // This is about nothing unless the addresses are others.
        let ends = [client, server].map(|span| (span.text("network.peer.address"), span.number("network.peer.port")));
        ensure!(ends[0] == (Some(SERVICE), PORTS[0].parse().ok()), "{client:?}");
        ensure!(
            client.number("network.local.port") != ends[1].1,
            "the port was not translated: {client:?}, {server:?}"
        );
        if server.path().starts_with("/late/") {
            seen.late += 1;
        } else {
            seen.fresh += 1;
        }
        let names = [client, server]
            .map(|span| (span.text("netspan.connection.id"), span.number("netspan.connection.request")));
        ensure!(names[0] == names[1] || names[0].0.is_none(), "one connection has two names: {client:?}, {server:?}");
    }
    ensure!(seen.alone <= CLIENTS, "{seen:?}");
    Ok(seen)
}
