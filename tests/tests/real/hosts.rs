//! Several hosts, each with an agent of its own: network namespaces, joined by pairs of virtual Ethernet devices. What the agents
//! say together is one trace where requests carry it in a TCP option, and traces apart where they do not.

use std::{path::PathBuf, process::Output, time::Duration};

use anyhow::{Context, Result, ensure};
use netspan_tests::{
    agent::{Agent, Report},
    certificate::Certificate,
    hosts::Hosts,
    paths,
    process::{Process, command_in},
    scope::Scope,
    span::JsonSpan,
    translated, wait,
};

/// Time for servers to begin, and for spans to come.
const BOUND: Duration = Duration::from_secs(30);
/// Requests of a test.
const REQUESTS: usize = 5;
/// Where each server listens.
const PORT: u16 = 8080;

/// What is tried.
#[derive(Clone, Copy, Debug, Default)]
struct Plan {
    /// Options of each host's agent.
    options: [&'static [&'static str]; 3],
    tls: bool,
}

const TELL: &[&str] = &["--propagate", "tcp-option"];

/// Requests to the first of three hosts, each of which asks the next. Gives what each agent said.
fn relayed(plan: Plan) -> Result<Vec<Report>> {
    let hosts = Hosts::new(3)?;
    let certificate = plan.tls.then(Certificate::new).transpose()?;
    let directory = tempfile::tempdir()?;
    let scope = Scope::new()?;
    let scopes = (0..3).map(|number| scope.child(&format!("host{number}"))).collect::<Result<Vec<_>>>()?;
    let agents = scopes.iter().zip(plan.options).map(|(scope, options)| Agent::watch_with(scope, options));
    // Before the servers: who listened before offers nothing.
    let agents = agents.collect::<Result<Vec<_>>>()?;
    let scheme = if plan.tls { "https" } else { "http" };
    let mut servers = Vec::new();
    for number in (0..3).rev() {
        let next = match number {
            2 => "-".to_owned(),
            _ => format!("{scheme}://{}:{PORT}", Hosts::address(number + 1)),
        };
        let name = format!("relay{number}");
        servers.push(Process::start(&scopes[number], directory.path(), &name, "ip", |command| {
            command.args(["netns", "exec", hosts.name(number), "python3"]).arg(app());
            command.args([&Hosts::address(number), &PORT.to_string(), &next]);
            match &certificate {
                Some(files) => command.arg(files.chain()).arg(files.key()).arg(files.authority()),
                None => command,
            }
        })?);
    }
    // In a scope that nobody watches.
    let client = scope.child("client")?;
    for number in (0..3).rev() {
        let answered = || Ok(curl(&client, &hosts, number, scheme, "/ready", 1)?.status.success().then_some(()));
        wait::until(&format!("that host {number} answers"), BOUND, answered)?;
    }
    let output = curl(&client, &hosts, 0, scheme, "/asked", REQUESTS)?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success() && text == "via via end".repeat(REQUESTS), "{output:?}");
    for (agent, count) in agents.iter().zip([2, 2, 1]) {
        let asked = || Ok((asked(&agent.spans()?).count() == count * REQUESTS).then_some(()));
        wait::until("the spans of a host", BOUND, asked).with_context(|| agent.printed())?;
    }
    client.clear()?;
    agents.into_iter().map(Agent::stop).collect()
}

fn app() -> PathBuf {
    paths::apps().join("python/relay.py")
}

/// Asks a host, from within, on one connection.
fn curl(scope: &Scope, hosts: &Hosts, number: usize, scheme: &str, path: &str, times: usize) -> Result<Output> {
    let mut command = command_in(scope, "ip");
    command.args(["netns", "exec", hosts.name(number), "curl", "--silent", "--insecure", "--max-time", "10"]);
    command.args(vec![format!("{scheme}://{}:{PORT}{path}", Hosts::address(number)); times]);
    Ok(command.output()?)
}

/// The spans of the requests that count.
fn asked(spans: &[JsonSpan]) -> impl Iterator<Item = &JsonSpan> {
    spans.iter().filter(|span| span.path() == "/asked")
}

/// Each server's span on one host is the child of the client's on the host before, by the option, and all five of a request are
/// one trace.
fn is_one_trace(reports: &[Report]) -> Result<()> {
    let all: Vec<&JsonSpan> = reports.iter().flat_map(|report| asked(&report.spans)).collect();
    ensure!(all.len() == 5 * REQUESTS, "{} spans", all.len());
    let parent = |span: &JsonSpan| all.iter().copied().find(|other| Some(&*other.span_id) == span.parent());
    for leaf in asked(&reports[2].spans) {
        let (mut at, mut kinds) = (leaf, vec![leaf.method().to_owned()]);
        let mut methods = vec![link(leaf)];
        while let Some(above) = parent(at) {
            ensure!(above.trace_id == leaf.trace_id, "{above:?} and {leaf:?} are in two traces");
            // A server's span ends when its call has returned, by when the client may have read the answer.
            ensure!((above.start_ns..=above.end_ns).contains(&at.start_ns), "{at:?} does not begin within {above:?}");
            at = above;
            kinds.push(at.kind.clone());
            methods.push(link(at));
        }
        ensure!(methods.len() == 5, "{methods:?} of {all:#?}");
        ensure!(methods[0] == "tcp-option" && methods[2] == "tcp-option" && methods[4].is_empty(), "{methods:?}");
    }
    let traces: std::collections::BTreeSet<_> = all.iter().map(|span| &span.trace_id).collect();
    ensure!(traces.len() == REQUESTS, "{} traces of {REQUESTS} requests", traces.len());
    Ok(())
}

/// The method of a span's link.
fn link(span: &JsonSpan) -> &str {
    span.link.as_ref().map_or("", |link| &link.method)
}

/// A counter of a host's kernel side.
fn counter(report: &Report, name: &str) -> u64 {
    report.figure(&format!("kernel.{name}:")).unwrap_or(0)
}

#[test]
fn a_request_over_three_hosts_is_one_trace() -> Result<()> {
    let _machine = crate::together();
    let reports = relayed(Plan { options: [TELL; 3], tls: false })?;
    is_one_trace(&reports)?;
    for (host, (sent, received)) in [(1, 0), (1, 1), (0, 1)].into_iter().enumerate() {
        let found = (counter(&reports[host], "options_sent"), counter(&reports[host], "options_received"));
        let least = (sent * REQUESTS as u64, received * REQUESTS as u64);
        ensure!(found.0 >= least.0 && found.1 >= least.1, "host {host}: sent and received {found:?}");
        ensure!(sent != 0 || found.0 == 0, "host {host} asks nobody, and sent {}", found.0);
    }
    Ok(())
}

#[test]
fn a_request_over_three_hosts_is_one_trace_under_tls() -> Result<()> {
    let _machine = crate::together();
    is_one_trace(&relayed(Plan { options: [TELL; 3], tls: true })?)
}

#[test]
fn a_peer_that_does_not_answer_the_offer_is_told_nothing() -> Result<()> {
    let _machine = crate::together();
    let reports = relayed(Plan { options: [TELL, &[], TELL], tls: false })?;
    ensure!(counter(&reports[0], "options_sent") == 0, "{}", reports[0].errors);
    ensure!(counter(&reports[0], "options_no_peer") > 0, "{}", reports[0].errors);
    ensure!(counter(&reports[2], "options_received") == 0, "{}", reports[2].errors);
    let methods: Vec<&str> = reports.iter().flat_map(|report| asked(&report.spans)).map(link).collect();
    ensure!(methods.len() == 5 * REQUESTS && !methods.contains(&"tcp-option"), "{methods:?}");
    Ok(())
}

/// Without sequence numbers it is the kernel's account of translations that tells.
#[test]
fn both_ends_of_a_connection_are_joined_though_addresses_are_translated_between_them() -> Result<()> {
    let _machine = crate::together();
    let seen = translated::run(&[])?;
    ensure!(seen.fresh > 0 && seen.late > 0, "{seen:?}");
    Ok(())
}
