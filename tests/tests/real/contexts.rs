//! What programs publish in their memory for whoever looks: OpenTelemetry's process context, which names them, and thread context, which
//! says of each call whose child it is.

use std::{collections::BTreeMap, fs, path::Path, sync::atomic::AtomicBool, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use netspan_tests::{
    agent::Agent,
    c::{self, Slot},
    drive::{self, Ask, Talk},
    load::{self, Plan},
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
    // Kernels without CONFIG_ANON_VMA_NAME have no names of anonymous memory.
    let is_named = fs::read_to_string(format!("/proc/{}/maps", process.pid()))?.contains("OTEL_CTX");
    ensure!(is_named || variable.is_some(), "a memfd has a name on every kernel");
    let expected = if is_named { ("cart", "process_context") } else { ("declared", "declared") };
    std::thread::sleep(NEXT_LOOK);
    // The look that this one lets begin may end after it.
    ask(&address, "/meanwhile")?;
    served(&agent, "/meanwhile")?;
    ask(&address, "/after")?;
    let span = served(&agent, "/after")?;
    ensure!(span.service == expected.0, "{span:?}\n{}", agent.printed());

    let doctor = Agent::command()?.args(["doctor", "--json", "--cgroup", &scope.name()?]).output()?;
    let told: Value = serde_json::from_slice(&doctor.stdout).context("netspan doctor prints no JSON")?;
    let told = told["processes"].as_array().into_iter().flatten().find(|one| one["pid"] == process.pid());
    let told = told.with_context(|| format!("the doctor does not know {}", process.pid()))?;
    ensure!(told["service"] == expected.0 && told["service_from"] == expected.1, "{told:#}");
    let report = agent.stop()?;
    ensure!(!report.lines.iter().any(|line| line.contains("hunter2")), "what is not on the list came out");
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

/// Requests at once, and in all.
const AT_ONCE: u32 = 4;
const REQUESTS: u32 = 120;
/// Requests that may be left out of their calls' trace: those before it is known how the program works.
const LEARNED: usize = 20;
/// Requests before it has to be known where threads publish.
const FIRST_MAX: usize = 50;
/// Time for the last spans.
const SETTLE: Duration = Duration::from_millis(1500);

fn start(scope: &Scope, directory: &Path, name: &str, slot: Slot, next: u16) -> Result<(Process, Address, u16)> {
    let own = directory.join(name);
    fs::create_dir(&own)?;
    let (program, library) = c::context(&own, slot)?;
    let port = ports::free()?;
    let process = Process::start(scope, directory, name, program, |command| {
        command.env("PUBLISH", name).arg(port.to_string()).arg(next.to_string()).args(library)
    })?;
    let address = Address::local(port);
    Ok((process.listening(&address)?, address, port))
}

/// Makes a request, and says whether its first call hangs by what its thread published.
fn is_known(agent: &Agent, address: &Address, number: usize) -> Result<bool> {
    let path = format!("/first/{number}");
    ask(address, &path)?;
    let call = format!("{path}/0");
    let is_it = |span: &JsonSpan| span.is_client() && span.path() == call;
    ensure!(agent.await_span(BOUND, is_it), "no span of {call}");
    let spans = agent.spans()?;
    let link = spans.iter().find(|span| is_it(span)).and_then(|span| span.link.as_ref());
    Ok(link.is_some_and(|link| link.method == "thread-context"))
}

/// Each call of a program whose threads publish what they are at is the child of just that, and in its trace.
fn calls_are_children_of_what_their_threads_publish(slot: Slot) -> Result<()> {
    let _machine = crate::together();
    let (scope, directory) = (Scope::new()?, tempfile::tempdir()?);
    let (_behind, _, next) = start(&scope, directory.path(), "behind", Slot::Program, 0)?;
    let (front, address, _) = start(&scope, directory.path(), "front", slot, next)?;
    let agent = Agent::watch(&scope)?;
    // What a process publishes is looked for when it is first seen, beside its first requests.
    let known =
        (0..FIRST_MAX).map(|number| is_known(&agent, &address, number)).find(|known| !matches!(known, Ok(false)));
    ensure!(known.transpose()? == Some(true), "no call hangs by what its thread published\n{}", agent.printed());
    let plan = Plan { seed: 5, concurrency: AT_ONCE, requests: REQUESTS, rate: None };
    let seen = load::run(&address, plan, &AtomicBool::new(false), |dice| Ask::get(&format!("/buy/{}", dice.roll())))?;
    ensure!(seen.iter().all(|seen| seen.status == Some(200)), "{seen:?}");
    ask(&address, "/stale/1")?;
    std::thread::sleep(SETTLE);
    let report = agent.stop()?;
    let told = || format!("{}\n{}", report.errors, report.lines.join("\n"));

    let calls: Vec<&JsonSpan> = report.clients().filter(|span| span.pid == front.pid()).collect();
    let by_path: BTreeMap<&str, &JsonSpan> = calls.iter().map(|span| (span.path(), *span)).collect();
    let mut traces = BTreeMap::new();
    let mut compared = 0;
    for line in c::printed(directory.path(), "front").iter().filter(|line| line.starts_with("/buy/")) {
        let [path, trace, span] = line.split(' ').collect::<Vec<_>>()[..] else { bail!("printed: {line}") };
        let call = by_path.get(path).with_context(|| format!("no span of {path}\n{}", told()))?;
        let link = call.link.as_ref().map(|link| (link.method.as_str(), link.confidence));
        ensure!(link == Some(("thread-context", 1.0)), "{path} hangs by {link:?}\n{}", told());
        ensure!(call.trace_id == trace && call.parent() == Some(span), "{line}: {call:?}");
        traces.insert(path.rsplit_once('/').context("a number")?.0.to_owned(), trace.to_owned());
        compared += 1;
    }
    ensure!(compared == 2 * REQUESTS, "{compared} calls were printed");

    // The requests that the calls were made for are in the trace that the program began.
    let servers: Vec<_> = report.servers().filter(|span| span.pid == front.pid()).collect();
    let adopted = servers.iter().filter(|span| traces.get(span.path()) == Some(&span.trace_id)).count();
    ensure!(adopted + LEARNED >= REQUESTS as usize, "{adopted} requests are in the trace of their calls\n{}", told());

    // A record that is not valid, or of no trace, is none.
    let stale: Vec<_> = calls.iter().filter(|span| span.path().starts_with("/stale/")).collect();
    ensure!(stale.len() == 2, "{stale:?}");
    for call in stale {
        let method = call.link.as_ref().map(|link| link.method.as_str());
        ensure!(method != Some("thread-context"), "{call:?}");
        let above = servers.iter().find(|span| span.path() == "/stale/1").context("no span of the request")?;
        ensure!(call.parent().is_none_or(|parent| parent == above.span_id), "{call:?}");
    }
    Ok(())
}

#[test]
fn calls_are_children_of_what_their_threads_publish_by_the_programs_own_variable() -> Result<()> {
    calls_are_children_of_what_their_threads_publish(Slot::Program)
}

#[test]
fn calls_are_children_of_what_their_threads_publish_by_a_library() -> Result<()> {
    calls_are_children_of_what_their_threads_publish(Slot::Linked("gnu"))
}

#[test]
fn calls_are_children_of_what_their_threads_publish_by_a_library_with_descriptors() -> Result<()> {
    calls_are_children_of_what_their_threads_publish(Slot::Linked("gnu2"))
}

#[test]
fn calls_are_children_of_what_their_threads_publish_by_a_library_that_is_loaded_later() -> Result<()> {
    calls_are_children_of_what_their_threads_publish(Slot::Loaded("gnu"))
}

#[test]
fn calls_are_children_of_what_their_threads_publish_by_a_library_with_descriptors_that_is_loaded_later() -> Result<()> {
    calls_are_children_of_what_their_threads_publish(Slot::Loaded("gnu2"))
}
