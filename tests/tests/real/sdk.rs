//! A service in the middle of a chain that OpenTelemetry's SDK instruments: its spans, which it exports itself, and the agent's are in one
//! trace, each where it belongs. The services before and behind know nothing of traces.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::atomic::AtomicBool,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use netspan_tests::{
    agent::{Agent, Report},
    drive::Ask,
    load::{self, Plan},
    node, paths, ports,
    process::{Address, Process},
    python,
    rotel::{Logged, Rotel, spans},
    scope::Scope,
    span::JsonSpan,
};

/// Requests of most tests.
const REQUESTS: u32 = 60;
/// Requests where the agent has to learn how the programs work. It leaves some eighty out; three quarters on a machine that is very busy.
const MANY: u32 = 1000;
/// Requests that may be left out where several are made at once.
const LEARNED: usize = 20;
/// The same where an event loop connects anew for each call: so few are fewer than are learned from. None is wrong.
const ANY: usize = REQUESTS as usize;
/// Time for the last spans and exports.
const SETTLE: Duration = Duration::from_millis(1500);

/// What a test saw: the agent's spans, the SDK's, and the services' processes (`first`, `middle`, `last`).
struct Chain {
    report: Report,
    logged: Vec<Logged>,
    pids: [u32; 3],
    middle_port: u64,
}

/// What the service in the middle runs on; the others are Python's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Runtime {
    Python,
    Node,
}

impl Runtime {
    /// The program that runs the service's script.
    fn program(self) -> Result<PathBuf> {
        match self {
            Self::Python => python::sdk_program("python"),
            Self::Node => paths::tool("node", "nodejs"),
        }
    }

    fn script(self) -> PathBuf {
        paths::apps().join(match self {
            Self::Python => "sdk/chain.py",
            Self::Node => "sdk/chain.js",
        })
    }
}

/// Runs the chain under a load.
fn run(middle: Runtime, processor: &str, concurrency: u32, requests: u32) -> Result<Chain> {
    let scope = Scope::new()?;
    let (directory, receiver_scope) = (tempfile::tempdir()?, Scope::new()?);
    let rotel = Rotel::start(&receiver_scope, directory.path())?;
    let modules = node::modules()?;
    let start = |runtime: Runtime, name: &str, next: Option<u16>, endpoint: Option<&str>| -> Result<(Process, u16)> {
        let port = ports::free()?;
        let process = Process::start(&scope, directory.path(), name, runtime.program()?, |command| {
            command.env("NODE_PATH", &modules);
            command.arg(runtime.script()).arg(name).arg(port.to_string()).args(next.map(|next| next.to_string()));
            command.env("PROCESSOR", processor);
            match endpoint {
                Some(endpoint) => command.env("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint),
                None => command.env_remove("OTEL_EXPORTER_OTLP_ENDPOINT"),
            }
        })?;
        Ok((process.listening(&Address::local(port))?, port))
    };
    let (last, last_port) = start(Runtime::Python, "last", None, None)?;
    let (middle, middle_port) = start(middle, "middle", Some(last_port), Some(&rotel.http))?;
    let (first, first_port) = start(Runtime::Python, "first", Some(middle_port), None)?;
    let agent = Agent::watch(&scope)?;
    let plan = Plan { seed: 3, concurrency, requests, rate: None };
    let seen = load::run(&Address::local(first_port), plan, &AtomicBool::new(false), |dice| {
        Ask::get(&format!("/buy/{}", dice.below(1 << 40)))
    })?;
    ensure!(seen.iter().all(|seen| seen.status == Some(200)), "{seen:?}; {}", middle.printed());
    // A server's and a client's of each.
    let log = rotel.received(|log| spans(log).len() >= 2 * requests as usize)?;
    std::thread::sleep(SETTLE);
    let report = agent.stop()?;
    let pids = [first.pid(), middle.pid(), last.pid()];
    Ok(Chain { report, logged: spans(&log), pids, middle_port: middle_port.into() })
}

impl Chain {
    fn of(&self, pid: usize, is_server: bool) -> impl Iterator<Item = &JsonSpan> {
        self.report.spans.iter().filter(move |span| span.pid == self.pids[pid] && span.is_server() == is_server)
    }

    fn parent(&self, span: &JsonSpan) -> Option<&JsonSpan> {
        let parent = span.parent()?;
        self.report.spans.iter().find(|other| other.span_id == parent && other.trace_id == span.trace_id)
    }

    /// The SDK's spans by trace, each as its server's span and its calls'.
    fn sdk(&self) -> BTreeMap<&str, (Vec<&Logged>, Vec<&Logged>)> {
        let mut traces = BTreeMap::<_, (Vec<_>, Vec<_>)>::new();
        for span in &self.logged {
            let (servers, calls) = traces.entry(span.trace.as_str()).or_default();
            if span.kind.ends_with("SERVER") { servers.push(span) } else { calls.push(span) }
        }
        traces
    }

    /// All spans of a request are in one trace, and exports in none. So many requests may be left out of that: what is made at once
    /// before the agent knows how the programs work.
    fn check(&self, left_out: usize) -> Result<()> {
        let context = || format!("{}\n{}", self.report.errors, self.report.lines.join("\n"));
        let is_export = |span: &&JsonSpan| span.path() == "/v1/traces";
        let (exports, calls): (Vec<_>, Vec<_>) = self.of(1, false).partition(is_export);
        ensure!(!exports.is_empty(), "no export was seen");
        for export in exports {
            ensure!(export.parent().is_none(), "an export has a parent: {export:?}");
        }
        let sdk = self.sdk();
        for call in &calls {
            let (_, own) =
                sdk.get(call.trace_id.as_str()).with_context(|| format!("in no trace of the SDK: {call:?}"))?;
            let method = call.link.as_ref().map(|link| link.method.as_str());
            ensure!(method == Some("header"), "a call of the SDK's process hangs by {method:?}");
            let above: Vec<_> = own.iter().filter(|span| Some(span.id.as_str()) == call.parent()).collect();
            ensure!(above.len() == 1, "not below one of the SDK's calls: {call:?}");
        }
        let parents: BTreeSet<_> = calls.iter().map(|call| call.parent()).collect();
        ensure!(parents.len() == calls.len(), "two calls below one span");
        // What is behind is below the agent's own span, not the SDK's.
        for server in self.of(2, true) {
            let above = self.parent(server).with_context(|| format!("no parent: {server:?}"))?;
            ensure!(above.pid == self.pids[1] && above.is_client(), "{server:?} below {above:?}");
        }
        // Each request has a number of its own, which is in the paths of all that is done for it.
        let mut paths = BTreeMap::<_, BTreeSet<_>>::new();
        for span in self.report.spans.iter().filter(|span| !is_export(span)) {
            paths.entry(span.trace_id.as_str()).or_default().insert(span.path());
        }
        let mixed = paths.iter().find(|(_, paths)| paths.len() > 1);
        ensure!(mixed.is_none(), "requests are mixed up: {mixed:?}");
        let mut whole = 0;
        for server in self.of(1, true) {
            ensure!(server.server_port() == Some(self.middle_port), "{server:?}");
            let above = self.parent(server).with_context(|| format!("no parent: {server:?}\n{}", context()))?;
            ensure!(above.pid == self.pids[0] && above.is_client(), "{server:?} below {above:?}");
            let Some((servers, own)) = sdk.get(server.trace_id.as_str()) else { continue };
            ensure!((servers.len(), own.len()) == (1, 1), "{servers:?} {own:?}");
            whole += 1;
        }
        let all = self.of(1, true).count();
        ensure!(whole + left_out >= all, "{whole} of {all} requests are in the SDK's trace\n{}", context());
        Ok(())
    }
}

/// A context that the first service does not hand on begins no trace of the SDK's: each of its requests has one of its own.
fn join_the_trace(middle: Runtime) -> Result<()> {
    let _machine = crate::together();
    let chain = run(middle, "batch", 1, REQUESTS)?;
    ensure!(chain.of(1, true).count() == REQUESTS as usize, "{}", chain.report.errors);
    chain.check(0)?;
    // The roots are the first service's requests, one to a trace, in the SDK's trace.
    let sdk = chain.sdk();
    let traces: BTreeSet<_> = chain.of(0, true).map(|root| root.trace_id.as_str()).collect();
    ensure!(traces.len() == REQUESTS as usize && traces.iter().all(|trace| sdk.contains_key(trace)), "{traces:?}");
    ensure!(chain.of(0, true).all(|root| root.parent().is_none()), "a root has a parent");
    Ok(())
}

#[test]
fn the_agents_spans_join_the_trace_that_an_sdk_begins() -> Result<()> {
    join_the_trace(Runtime::Python)
}

#[test]
fn the_agents_spans_join_the_trace_that_nodes_sdk_begins() -> Result<()> {
    join_the_trace(Runtime::Node)
}

#[test]
fn several_requests_at_once_are_not_mixed_up_by_an_sdk_in_the_chain() -> Result<()> {
    let _machine = crate::together();
    run(Runtime::Python, "batch", 4, REQUESTS)?.check(LEARNED)
}

#[test]
fn several_requests_at_once_are_not_mixed_up_by_nodes_sdk_in_the_chain() -> Result<()> {
    let _machine = crate::together();
    run(Runtime::Node, "batch", 4, MANY)?.check(MANY as usize / 4 * 3)
}

#[test]
fn an_sdk_that_exports_each_span_at_once_has_its_exports_below_no_request() -> Result<()> {
    let _machine = crate::together();
    run(Runtime::Python, "simple", 2, REQUESTS)?.check(LEARNED)
}

#[test]
fn nodes_sdk_that_exports_each_span_at_once_has_its_exports_below_no_request() -> Result<()> {
    let _machine = crate::together();
    run(Runtime::Node, "simple", 2, REQUESTS)?.check(ANY)
}
