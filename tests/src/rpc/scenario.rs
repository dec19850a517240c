//! A client and a server of gRPC with the agent beside them: the spans of both ends must be exactly the calls that the
//! client made.
#![forbid(unsafe_code)]

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, Result, ensure};

use super::{Called, Outcome, Peer, Plan, calls, plan::status_name};
use crate::{
    agent::{Agent, Report},
    scenario::{LAST_SPAN, nothing_lost},
    scope::Scope,
    span::JsonSpan,
    truth::{same, within},
};

/// Deadlines below are of calls that are given up ([`Call::is_given_up`](super::Call::is_given_up)): [`calls`] has no others so short.
const SHORT_DEADLINE: Duration = Duration::from_secs(1);

/// For a number of messages that a span does not tell.
const NOT_COUNTED: u64 = u64::MAX;

/// Who calls whom, and how much.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// Who answers.
    pub server: Peer,
    /// Who calls.
    pub client: Peer,
    /// Whether TLS is around it.
    pub tls: bool,
    /// Connections, all open at once.
    pub connections: usize,
    /// Calls on each.
    pub each: usize,
    /// Calls in flight on each.
    pub in_flight: usize,
}

/// What of a call must be in its spans.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    /// `rpc.method`
    method: String,
    /// `rpc.response.status_code`; `None` for a call that is given up: who ends it is a race.
    status: Option<String>,
    /// Messages of the client; `None` where the wire's truth is open, because the call may end before the client has sent:
    /// it is given up, or of a method that the server does not have.
    sent: Option<u64>,
    /// Messages of the server.
    received: Option<u64>,
}

/// Which numbers of messages must be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    /// All.
    All,
    /// Those that the agent could count. It can't where a call into the kernel moves more frames, or more messages in one
    /// frame, than it looks at.
    Some,
}

impl Case {
    /// Runs it, and looks for the spans of each end whose bytes the agent can see ([`Peer::is_seen`]); `options` are more
    /// options of the agent. Gives the number of calls.
    pub fn run(self, options: &[String]) -> Result<usize> {
        let scope = Scope::new()?;
        let running = self.server.start(&scope, self.tls)?;
        // A client's TLS is hooked when its program is, which a process before it sees to.
        let other = self.tls && self.client != self.server;
        let _hooked = other.then(|| self.client.start(&scope, self.tls)).transpose()?;
        let agent = Agent::watch_with(&scope, options)?;
        let plan = running.plan(calls(self.connections, self.each), self.in_flight)?;
        let called = self.client.call(&scope, &plan)?;
        let ends = [self.server.is_seen(self.tls), self.client.is_seen(self.tls)];
        let expected = called.outcomes.len() * ends.iter().filter(|seen| **seen).count();
        agent.await_spans(expected, LAST_SPAN);
        let report = agent.stop()?;
        let told = if self.in_flight == 1 { Told::All } else { Told::Some };
        check(ends, told, &made(&plan, &called)?, &report)
            .with_context(|| format!("{self:?}; the agent printed:\n{}", report.errors))?;
        Ok(called.outcomes.len())
    }
}

/// The calls as the client tells them.
fn made(plan: &Plan, called: &Called) -> Result<Vec<Key>> {
    let key = |outcome: &Outcome| {
        let call = plan.connections.get(outcome.connection)?.get(outcome.ordinal)?;
        let settled = outcome.clone().settled(call);
        let status = status_name(settled.status).to_owned();
        Some(Key::new(&call.method(), call.is_given_up(), status, settled.sent.into(), settled.received.into()))
    };
    called.outcomes.iter().map(|outcome| key(outcome).context("a call that is not in the plan")).collect()
}

/// `ends`: whether the server's and the client's spans are expected.
fn check(ends: [bool; 2], told: Told, made: &[Key], report: &Report) -> Result<()> {
    let expected = |is_seen: bool| if is_seen { made.to_vec() } else { Vec::new() };
    let [server, client] = ends;
    // How often a method with a status has how many messages is fixed, so what was not counted can be filled in.
    let counts: BTreeMap<_, _> =
        made.iter().map(|key| ((key.method.clone(), key.status.clone()), (key.sent, key.received))).collect();
    let found = |span: &JsonSpan| {
        let key = Key::of(span);
        let (sent, received) = counts.get(&(key.method.clone(), key.status.clone())).copied().unwrap_or_default();
        let is_open = told == Told::Some;
        Key {
            sent: if is_open && key.sent == Some(NOT_COUNTED) { sent } else { key.sent },
            received: if is_open && key.received == Some(NOT_COUNTED) { received } else { key.received },
            ..key
        }
    };
    agree(expected(server), report.servers().map(found)).context("client and SERVER spans differ")?;
    agree(expected(client), report.clients().map(found)).context("client and CLIENT spans differ")?;
    let clients: BTreeMap<&str, &JsonSpan> = report.clients().map(|span| (span.span_id.as_str(), span)).collect();
    for span in &report.spans {
        ensure!(span.text("network.protocol.version") == Some("2"), "not HTTP/2: {span:?}");
        ensure!(span.incomplete.is_none() || is_given_up(span), "an incomplete span: {span:?}");
        if span.is_server() && client {
            let parent = span.parent().and_then(|id| clients.get(id));
            let parent = parent.with_context(|| format!("a SERVER span whose parent is no CLIENT span: {span:?}"))?;
            ensure!(found(span) == found(parent), "not the child of its parent: {span:?}, {parent:?}");
        }
    }
    nothing_lost(report)
}

/// A call whose short deadline passes before it is sent was never on the wire; all others were.
fn agree(expected: Vec<Key>, found: impl Iterator<Item = Key>) -> Result<()> {
    let is_given_up = |key: &Key| key.status.is_none();
    let (late, whole): (Vec<_>, Vec<_>) = expected.into_iter().partition(is_given_up);
    let (found_late, found_whole): (Vec<_>, Vec<_>) = found.partition(is_given_up);
    same(whole, found_whole)?;
    within(late, found_late)
}

impl Key {
    fn new(method: &str, is_given_up: bool, status: String, sent: u64, received: u64) -> Self {
        Self {
            method: method.to_owned(),
            status: (!is_given_up).then_some(status),
            sent: (!is_given_up && !method.ends_with("/Missing")).then_some(sent),
            received: Some(received),
        }
    }

    fn of(span: &JsonSpan) -> Self {
        let count = |name| span.number(name).unwrap_or(NOT_COUNTED);
        Self::new(
            span.text("rpc.method").unwrap_or(""),
            is_given_up(span),
            span.text("rpc.response.status_code").unwrap_or("").to_owned(),
            count("netspan.rpc.sent_messages"),
            count("netspan.rpc.received_messages"),
        )
    }
}

fn is_given_up(span: &JsonSpan) -> bool {
    span.number("netspan.rpc.deadline").is_some_and(|ns| Duration::from_nanos(ns) < SHORT_DEADLINE)
}
