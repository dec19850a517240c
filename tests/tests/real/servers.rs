//! Servers of many kinds and a client that speaks in every way: what the client did and got must be the SERVER spans of
//! the server, and the client's own CLIENT spans, no more and no less.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, TcpListener, TcpStream},
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use netspan_tests::{
    agent::{Agent, Report},
    apps::{Kind, talks},
    drive::{self, Ask, Driven, Talk},
    scenario::{LAST_SPAN, no_secret, nothing_lost},
    scope::Scope,
    span::JsonSpan,
    truth::same,
};

use crate::together;

fn spans_are_what_happened(kind: Kind) -> Result<()> {
    let _machine = together();
    let scope = Scope::new()?;
    let app = kind.start(&scope)?;
    // A server's first answer may come long after it listens.
    drive::run(&app.address, &[Talk::InTurn(vec![Ask { close: true, ..Ask::get("/hello") }])])?;
    let agent = Agent::watch(&scope)?;
    let driven = drive::run_in(&scope, &app.address, &talks(app.abilities))?;
    agent.await_spans(2 * driven.seen.len(), LAST_SPAN);
    let processes = app.process.scope().processes();
    let report = agent.stop()?;
    let incomplete = || report.spans.iter().filter(|span| span.incomplete.is_some()).collect::<Vec<_>>();
    let context = || format!("the agent printed:\n{}\nincomplete spans: {:#?}", report.errors, incomplete());
    same(driven.seen.iter().cloned(), report.servers().map(JsonSpan::seen))
        .context("client and SERVER spans differ")
        .with_context(context)?;
    same(driven.seen.iter().cloned(), report.clients().map(JsonSpan::seen))
        .context("client and CLIENT spans differ")
        .with_context(context)?;
    for span in &report.spans {
        let expected = if span.is_client() { span.pid == driven.pid } else { processes.contains(&span.pid) };
        ensure!(expected, "a span of another process: {span:?}");
        ensure!(span.incomplete.is_none(), "an incomplete span: {span:?}");
        ensure!(span.start_ns < span.end_ns, "a span without duration: {span:?}");
    }
    both_ends_are_linked(&report).with_context(context)?;
    no_secret(&report)?;
    nothing_lost(&report)
}

/// Each SERVER span's parent is the CLIENT span of the same exchange, by the connection they share.
fn both_ends_are_linked(report: &Report) -> Result<()> {
    let clients: BTreeMap<&str, &JsonSpan> = report.clients().map(|span| (span.span_id.as_str(), span)).collect();
    for server in report.servers() {
        let beside = || report.spans.iter().filter(|span| port(span) == port(server)).collect::<Vec<_>>();
        let parent = server.parent().with_context(|| {
            format!("a SERVER span without parent: {server:?}\nof its connection:\n{:#?}", beside())
        })?;
        let client = clients.get(parent).with_context(|| format!("a parent that is no CLIENT span: {server:?}"))?;
        ensure!(client.trace_id == server.trace_id, "two traces: {client:?}, {server:?}");
        ensure!(client.seen() == server.seen(), "not the same exchange: {client:?}, {server:?}");
        let link = server.link.as_ref().with_context(|| format!("a parent without method: {server:?}"))?;
        ensure!(link.method == "socket" && link.confidence >= 1.0, "not linked by the connection: {server:?}");
    }
    Ok(())
}

/// The client's port, which both ends of a connection tell.
fn port(span: &JsonSpan) -> Option<&serde_json::Value> {
    span.attributes.get(if span.is_client() { "network.local.port" } else { "client.port" })
}

/// A server that forks a program for each request: its connections end when it closes them, though a child might have
/// them, and what the kernel then uses their sockets' memory for (here connections of another process, which nobody asked
/// about) is not taken for them.
#[test]
fn connections_of_a_server_that_forks_end_and_stay_what_they_are() -> Result<()> {
    const REQUESTS: usize = 60;
    let _machine = together();
    let scope = Scope::new()?;
    let app = Kind::ApachePrefork.start(&scope)?;
    let agent = Agent::watch(&scope)?;
    let is_over = AtomicBool::new(false);
    let driven = std::thread::scope(|threads| {
        let others = threads.spawn(|| connect_again_and_again(&is_over));
        let asks = (0..REQUESTS).map(|_| Talk::InTurn(vec![Ask { close: true, ..Ask::get("/hello") }]));
        let driven = drive::run_in(&scope, &app.address, &asks.collect::<Vec<_>>());
        is_over.store(true, Ordering::Relaxed);
        others.join().expect("the other thread does not panic")?;
        driven
    })?;
    agent.await_spans(2 * driven.seen.len(), LAST_SPAN);
    // The server closes after its client has.
    std::thread::sleep(Duration::from_millis(1500));
    let report = agent.stop()?;
    same(driven.seen.iter().cloned(), report.servers().map(JsonSpan::seen)).context("SERVER spans")?;
    both_ends_are_linked(&report)?;
    let closed = report.figure("conn.closed:");
    ensure!(closed >= Some(2 * REQUESTS as u64), "{closed:?} of {} connections have ended", 2 * REQUESTS);
    nothing_lost(&report)
}

/// Connects to a listener of its own and hangs up, for at most a minute.
fn connect_again_and_again(is_over: &AtomicBool) -> Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let begun = Instant::now();
    while !is_over.load(Ordering::Relaxed) && begun.elapsed() < Duration::from_mins(1) {
        // The end that hangs up first keeps its port for a minute: here the one that has no port of its own.
        let client = TcpStream::connect(listener.local_addr()?)?;
        drop(listener.accept()?);
        drop(client);
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// Requests whose client does not wait: the CLIENT span says that there was no answer, the SERVER span is there.
fn aborted_requests_are_seen(kind: Kind) -> Result<()> {
    let _machine = together();
    let scope = Scope::new()?;
    let app = kind.start(&scope)?;
    drive::run(&app.address, &[Talk::InTurn(vec![Ask { close: true, ..Ask::get("/hello") }])])?;
    let agent = Agent::watch(&scope)?;
    let aborted: Vec<Talk> = (0..5).map(|_| Talk::Aborted(Ask::get("/slow/200"))).collect();
    let Driven { seen, .. } = drive::run_in(&scope, &app.address, &aborted)?;
    // One answered request afterwards: the server has not been upset.
    let after = drive::run_in(&scope, &app.address, &[Talk::InTurn(vec![Ask { close: true, ..Ask::get("/hello") }])])?;
    agent.await_spans(2 * (seen.len() + after.seen.len()), Duration::from_secs(5));
    let report = agent.stop()?;
    same(
        seen.iter().chain(&after.seen).map(|seen| (&seen.method[..], &seen.path[..])),
        report.servers().map(|span| (span.method(), span.path())),
    )
    .context("SERVER spans")?;
    same(seen.iter().chain(&after.seen).cloned(), report.clients().map(JsonSpan::seen)).context("CLIENT spans")?;
    for span in report.clients().filter(|span| span.path() == "/slow/200") {
        ensure!(span.incomplete.as_deref() == Some("closed"), "the client closed the connection: {span:?}");
    }
    nothing_lost(&report)
}

macro_rules! servers {
    ($($kind:ident: $whole:ident, $aborted:ident;)*) => {
        $(#[test]
        fn $whole() -> Result<()> {
            spans_are_what_happened(Kind::$kind)
        }

        #[test]
        fn $aborted() -> Result<()> {
            aborted_requests_are_seen(Kind::$kind)
        })*
    };
}

servers! {
    ApacheEvent: apache_with_threads_is_seen_exactly, apache_with_threads_aborted_requests_are_seen;
    ApachePrefork: apache_with_processes_is_seen_exactly, apache_with_processes_aborted_requests_are_seen;
    GunicornSync: gunicorn_sync_is_seen_exactly, gunicorn_sync_aborted_requests_are_seen;
    GunicornThreads: gunicorn_with_threads_is_seen_exactly, gunicorn_with_threads_aborted_requests_are_seen;
    UvicornH11: uvicorn_with_h11_is_seen_exactly, uvicorn_with_h11_aborted_requests_are_seen;
    UvicornTools: uvicorn_with_httptools_is_seen_exactly, uvicorn_with_httptools_aborted_requests_are_seen;
    Node: node_is_seen_exactly, node_aborted_requests_are_seen;
    Go: go_is_seen_exactly, go_aborted_requests_are_seen;
    Java: java_is_seen_exactly, java_aborted_requests_are_seen;
    Axum: axum_is_seen_exactly, axum_aborted_requests_are_seen;
}

#[test]
fn gunicorn_on_a_unix_socket_is_seen_exactly() -> Result<()> {
    let _machine = together();
    let scope = Scope::new()?;
    let app = Kind::GunicornUnix.start(&scope)?;
    drive::run(&app.address, &[Talk::InTurn(vec![Ask { close: true, ..Ask::get("/hello") }])])?;
    let agent = Agent::watch(&scope)?;
    let driven = drive::run_in(&scope, &app.address, &talks(app.abilities))?;
    agent.await_spans(2 * driven.seen.len(), LAST_SPAN);
    let report = agent.stop()?;
    same(driven.seen.iter().cloned(), report.servers().map(JsonSpan::seen)).context("SERVER spans")?;
    same(driven.seen.iter().cloned(), report.clients().map(JsonSpan::seen)).context("CLIENT spans")?;
    nothing_lost(&report)
}
