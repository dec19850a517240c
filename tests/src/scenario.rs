//! Whole scenarios with the agent, for the tests on this kernel and for the guests of the virtual machines: they end
//! with an error that says what differs, or with what was measured.
#![forbid(unsafe_code)]

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::AtomicBool,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use serde::Serialize;

use crate::{
    agent::{Agent, Report},
    apps::Kind,
    drive::{self, Ask, Talk},
    load::{self, Plan},
    nginx::{Nginx, mixed},
    scope::Scope,
    span::JsonSpan,
    truth::{LogLine, Seen, same, within},
};

/// Values of query parameters that the clients send and that must appear nowhere.
pub const SECRET: &str = "hunter2";
/// Time for the agent's last span, after the last answer.
pub const LAST_SPAN: Duration = Duration::from_secs(20);
/// What a guest of `cargo xtask vm` is called.
const GUEST: &str = "netspan-vm";
/// Of how many spans one may be missing where the kernel skipped hooks.
const MISSED_OF: usize = 50;
/// By how much a span's duration may differ from the server's own.
const CLOSE_MS: f64 = 1.0;

/// What the mixed load on nginx gave.
#[derive(Clone, Debug, Serialize)]
pub struct Mixed {
    /// Requests, each of them a span.
    pub requests: usize,
    /// Seconds until the agent was ready.
    pub ready_s: f64,
    /// Share of the spans whose duration is within 1 ms of nginx's `$request_time`.
    pub within_1ms: f64,
    /// Span's duration less nginx's, in milliseconds: the 1st, 50th and 99th percentile. nginx takes both ends from a
    /// clock that stands still within a turn of its event loop, and cuts the difference to whole milliseconds.
    pub longer_ms: [f64; 3],
}

impl Mixed {
    /// Whether 99 % of the durations are within a millisecond of nginx's own.
    pub fn is_near(&self) -> bool {
        self.within_1ms >= 0.99
    }
}

/// Mixed requests to nginx over so many connections at once: the spans must be the same multiset of (method, path, status, body bytes)
/// as the access log and the clients say, none lost. `options` are more options of the agent.
///
/// With `may_miss`, where the kernel skipped runs of hooks and the agent says so (*Skipped programs* in ARCHITECTURE.md): no span is wrong,
/// next to none is missing or says that it is incomplete, and no more events are lost than runs were skipped.
pub fn nginx_mixed(requests: u32, concurrency: u32, may_miss: bool, options: &[String]) -> Result<Mixed> {
    let scope = Scope::new()?;
    let mut nginx = Nginx::start(&scope, 2)?;
    let agent = Agent::watch_with(&scope, options)?;
    let ready_s = agent.ready_in().as_secs_f64();
    let plan = Plan { seed: 1, concurrency, requests, rate: None };
    let seen = load::run(&nginx.address, plan, &AtomicBool::new(false), mixed)?;
    let log = nginx.log(seen.len())?;
    agent.await_spans(seen.len(), LAST_SPAN);
    let report = agent.stop()?;
    nginx.stop()?;
    log_agrees(&log, &seen).context("the access log and the clients differ")?;
    let skipped = report.figure("kernel.runs_missed:").filter(|_| may_miss).unwrap_or(0);
    let whole: Vec<_> = report.servers().filter(|span| skipped == 0 || span.incomplete.is_none()).collect();
    let wholes = whole.iter().map(|span| span.seen());
    let agree = if skipped > 0 {
        let asked = |seen: Seen| (seen.method, seen.path);
        within(seen.iter().cloned().map(asked), report.servers().map(JsonSpan::seen).map(asked))
            .and_then(|()| within(seen.iter().cloned(), wholes))
    } else {
        same(seen.iter().cloned(), wholes)
    };
    agree.with_context(|| format!("clients and spans differ; the agent printed:\n{}", report.errors))?;
    ensure!(report.clients().count() == 0, "nginx is no client here");
    if skipped > 0 {
        let (missing, lost) = (seen.len() - whole.len(), report.figure("lost").unwrap_or(u64::MAX));
        println!(
            "{skipped} runs of hooks were skipped; {missing} spans are missing or incomplete, {lost} events are counted as lost"
        );
        ensure!(
            missing <= seen.len() / MISSED_OF && lost <= skipped,
            "too many; the agent printed:\n{}",
            report.errors
        );
    } else {
        nothing_lost(&report)?;
    }
    no_secret(&report)?;
    let mut longer_ms = longer_ms(&log, &report, skipped > 0)?;
    longer_ms.sort_by(f64::total_cmp);
    let near = longer_ms.iter().filter(|longer| longer.abs() <= CLOSE_MS).count();
    let share = |part: usize| f64::from(u32::try_from(part).unwrap_or(u32::MAX)) / f64::from(requests);
    let percentile = |n: usize| longer_ms[(longer_ms.len() * n / 100).min(longer_ms.len() - 1)];
    Ok(Mixed { requests: seen.len(), ready_s, within_1ms: share(near), longer_ms: [1, 50, 99].map(percentile) })
}

/// Mixed requests to nginx while the agent sees the whole host: every request is one SERVER span of nginx and one CLIENT
/// span of this process, the one the parent of the other, and nothing is lost. Gives the number of requests.
///
/// # Errors
/// Also outside of a guest of `cargo xtask vm`: what else runs on a machine is none of a test's business.
pub fn host_wide(requests: u32, concurrency: u32, options: &[String]) -> Result<usize> {
    let machine = rustix::system::uname().nodename().to_string_lossy().into_owned();
    ensure!(machine == GUEST, "the whole host is looked at in a virtual machine only: cargo xtask vm");
    let scope = Scope::new()?;
    let mut nginx = Nginx::start(&scope, 2)?;
    let mut command = Agent::command()?;
    command.args(["watch", "--json"]).args(options);
    let agent = Agent::start(command)?;
    let plan = Plan { seed: 1, concurrency, requests, rate: None };
    let seen = load::run(&nginx.address, plan, &AtomicBool::new(false), mixed)?;
    agent.await_spans(2 * seen.len(), LAST_SPAN);
    let report = agent.stop()?;
    nginx.stop()?;
    let own = std::process::id();
    let clients: Vec<&JsonSpan> = report.clients().filter(|span| span.pid == own).collect();
    let servers: Vec<&JsonSpan> = report.servers().filter(|span| span.service == "nginx").collect();
    let printed = || format!("the agent printed:\n{}", report.errors);
    same(seen.iter().cloned(), servers.iter().map(|span| span.seen())).with_context(printed).context("SERVER spans")?;
    same(seen.iter().cloned(), clients.iter().map(|span| span.seen())).with_context(printed).context("CLIENT spans")?;
    let calls: BTreeSet<&str> = clients.iter().map(|span| span.span_id.as_str()).collect();
    let answered: BTreeSet<&str> = servers.iter().filter_map(|span| span.parent()).collect();
    let orphan = servers.iter().find(|span| span.parent().is_none());
    let port = orphan.and_then(|orphan| orphan.client_port());
    let asked: Vec<_> = clients.iter().filter(|span| span.client_port().is_none_or(|own| Some(own) == port)).collect();
    ensure!(
        calls == answered,
        "{} of {} calls have a child; without parent is {orphan:?}, of that port or none {asked:?}; the agent printed:\n{}",
        answered.intersection(&calls).count(),
        calls.len(),
        report.errors
    );
    nothing_lost(&report)?;
    no_secret(&report)?;
    Ok(seen.len())
}

/// A server whose bytes all move through `io_uring`: only the `socket` family sees into it. The spans must be exactly
/// what the client did. `options` are more options of the agent.
pub fn uring(options: &[String]) -> Result<usize> {
    let scope = Scope::new()?;
    let app = Kind::Uring.start(&scope)?;
    let agent = Agent::watch_with(&scope, options)?;
    let asks = vec![Ask::get("/hello"), Ask::new("HEAD", "/hello"), Ask::get("/bytes/70000"), Ask::get("/missing")];
    let talks = [Talk::InTurn(asks.clone()), Talk::InTurn(asks.clone()), Talk::Pipelined(asks)];
    let driven = drive::run_in(&scope, &app.address, &talks)?;
    agent.await_spans(2 * driven.seen.len(), LAST_SPAN);
    let report = agent.stop()?;
    same(driven.seen.iter().cloned(), report.servers().map(JsonSpan::seen))
        .context("client and SERVER spans differ")?;
    same(driven.seen.iter().cloned(), report.clients().map(JsonSpan::seen))
        .context("client and CLIENT spans differ")?;
    nothing_lost(&report)?;
    Ok(driven.seen.len())
}

/// The access log against what clients saw. nginx counts the heads of chunks as body, so bodies that came in chunks are
/// compared by the clients' figure alone.
pub fn log_agrees(log: &[LogLine], seen: &[Seen]) -> Result<()> {
    let chunked: BTreeSet<String> = log.iter().filter(|line| line.chunked()).map(|line| line.seen().path).collect();
    let bare = |seen: Seen| if chunked.contains(&seen.path) { Seen { body: 0, ..seen } } else { seen };
    same(log.iter().map(|line| bare(line.seen())), seen.iter().cloned().map(bare))
}

/// The summary says that nothing was lost, and that everything that was attempted was delivered.
pub fn nothing_lost(report: &Report) -> Result<()> {
    let figure = |name| report.figure(name).with_context(|| format!("no figure `{name}` in:\n{}", report.errors));
    let (attempted, delivered, lost) = (figure("attempted")?, figure("delivered")?, figure("lost")?);
    ensure!(lost == 0, "{lost} events were lost:\n{}", report.errors);
    ensure!(attempted == delivered, "{attempted} attempted, {delivered} delivered:\n{}", report.errors);
    Ok(())
}

/// What clients sent as the value of a query parameter is in no line of the agent's output.
pub fn no_secret(report: &Report) -> Result<()> {
    let leak = report.lines.iter().map(String::as_str).chain(report.errors.lines()).find(|line| line.contains(SECRET));
    ensure!(leak.is_none(), "a query value leaked: {}", leak.unwrap_or_default());
    Ok(())
}

/// By how many milliseconds each line's span is longer. The n-th request of a port is the n-th span of it, but for those that `may_miss`.
fn longer_ms(log: &[LogLine], report: &Report, may_miss: bool) -> Result<Vec<f64>> {
    let mut spans: BTreeMap<u64, Vec<&JsonSpan>> = BTreeMap::new();
    for span in report.servers() {
        let port = span.peer_port().with_context(|| format!("a span without the client's port: {span:?}"))?;
        spans.entry(port).or_default().push(span);
    }
    for of_port in spans.values_mut() {
        of_port.sort_by_key(|span| span.start_ns);
    }
    let mut lines: BTreeMap<u64, Vec<&LogLine>> = BTreeMap::new();
    for line in log {
        lines.entry(line.port.parse().context("a log line without port")?).or_default().push(line);
    }
    let mut longer = Vec::with_capacity(log.len());
    for (port, lines) in &lines {
        let mut spans = spans.remove(port).unwrap_or_default().into_iter().peekable();
        for line in lines {
            let Some(span) = spans.next_if(|span| line.seen().path == span.path()) else {
                ensure!(may_miss, "port {port}: {line:?} is not {:?}", spans.peek());
                continue;
            };
            longer.push((Duration::from_nanos(span.duration_ns()).as_secs_f64() - line.time) * 1000.0);
        }
        ensure!(spans.peek().is_none(), "port {port}: there is no line for {:?}", spans.peek());
    }
    Ok(longer)
}
