//! A client and a server of [`crate::web`] with the agent beside them: the spans must be exactly what the client did, on
//! the connections on which it did it.
#![forbid(unsafe_code)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use anyhow::{Context, Result, ensure};

use super::{Client, Driven, Exchange, Server, Version, Wire, ktls};
use crate::{
    agent::Agent,
    scenario::{LAST_SPAN, no_secret, nothing_lost},
    scope::Scope,
    span::JsonSpan,
    truth::{LogLine, path_of, same},
};

/// Who talks to whom, and how much.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// Who answers.
    pub server: Server,
    /// Who asks.
    pub client: Client,
    /// What is on the connections.
    pub wire: Wire,
    /// Connections, all open at once.
    pub connections: usize,
    /// Requests on each.
    pub each: usize,
    /// Requests in flight on each.
    pub in_flight: usize,
}

impl Case {
    /// Runs it; `options` are more options of the agent. Gives the number of requests.
    pub fn run(self, options: &[String]) -> Result<usize> {
        run_all(&[self], options)
    }

    fn check(self, driven: &Driven, spans: &[JsonSpan]) -> Result<()> {
        let told = || driven.exchanges.iter();
        if self.server.is_ktls() {
            // Files are sent by calls that show no byte of them.
            for is_kind in [JsonSpan::is_server, JsonSpan::is_client] {
                let spans = spans.iter().filter(|span| is_kind(span));
                same(told().map(Exchange::seen), spans.map(JsonSpan::seen)).context("client and spans differ")?;
            }
        }
        let servers = spans.iter().filter(|span| span.is_server());
        same(told().map(key), servers.map(span_key)).context("client and SERVER spans differ")?;
        let clients = || spans.iter().filter(|span| span.is_client());
        same(told().map(key), clients().map(span_key)).context("client and CLIENT spans differ")?;
        let ports: BTreeMap<&str, u16> =
            told().filter(|exchange| exchange.port != 0).map(|e| (path_of(&e.path), e.port)).collect();
        let clients: BTreeSet<&str> = clients().map(|span| span.span_id.as_str()).collect();
        for span in spans {
            ensure!(span.incomplete.is_none(), "an incomplete span: {span:?}");
            let port = span.client_port().with_context(|| format!("a span without the client's port: {span:?}"))?;
            if let Some(expected) = ports.get(span.path()) {
                ensure!(port == u64::from(*expected), "port {expected} has a span of port {port}: {span:?}");
            }
            if span.is_server() {
                let parent = span.parent().with_context(|| {
                    let other = spans.iter().find(|other| other.is_client() && other.path() == span.path());
                    format!("a SERVER span without parent: {span:?}; the CLIENT span is {other:?}")
                })?;
                ensure!(clients.contains(parent), "a parent that is no CLIENT span: {span:?}");
            }
            let version = span.text("network.protocol.version");
            let expected = if self.wire.version == Version::H2 { "2" } else { "1.1" };
            ensure!(version == Some(expected), "not the version: {span:?}");
            let tls = span.text("tls.protocol.version");
            ensure!(tls.is_some() == self.wire.tls, "not what is around it: {span:?}");
        }
        Ok(())
    }
}

/// Runs the cases one after another under one agent, which is started when all servers run; `options` are more options
/// of the agent. Gives the number of requests.
///
/// # Errors
/// When the spans of a case, those that come between its begin and the next's, are not what its client did: the message
/// names each such case.
pub fn run_all(cases: &[Case], options: &[String]) -> Result<usize> {
    let scope = Scope::new()?;
    let mut started = Vec::new();
    for case in cases {
        started.push((case, case.server.start(&scope, case.wire)?));
    }
    let agent = Agent::watch_with(&scope, options)?;
    let (mut done, mut seen) = (Vec::new(), 0);
    for (case, running) in &started {
        let plan = running.plan(case.client.requests(case.connections, case.each), case.in_flight)?;
        let sending = if case.server.is_ktls() { ktls::sending().unwrap_or(0) } else { 0 };
        let driven = case.client.send(&scope, &plan).with_context(|| format!("{case:?}"))?;
        if case.server.is_ktls() {
            let sockets = ktls::sending()? - sending;
            ensure!(sockets >= case.connections as u64, "the kernel encrypts on {sockets} sockets only: {case:?}");
        }
        if case.server == Server::NginxKtls && case.wire.version == Version::H1 {
            let log = running.access_log(driven.exchanges.len())?;
            let told = driven.exchanges.iter().map(Exchange::seen);
            same(log.iter().map(LogLine::seen), told).context("the access log and the client differ")?;
        }
        agent.await_spans(seen + 2 * driven.exchanges.len(), LAST_SPAN);
        let begin = std::mem::replace(&mut seen, agent.spans()?.len());
        done.push((case, driven, begin));
    }
    let report = agent.stop()?;
    let mut wrong = String::new();
    let ends = done.iter().skip(1).map(|(_, _, begin)| *begin).chain([report.spans.len()]);
    for ((case, driven, begin), end) in done.iter().zip(ends) {
        let spans = report.spans.get(*begin..end).context("spans have gone")?;
        if let Err(error) = case.check(driven, spans) {
            let _ = writeln!(wrong, "{case:?}: {error:#}");
        }
    }
    ensure!(wrong.is_empty(), "{wrong}; the agent printed:\n{}", report.errors);
    nothing_lost(&report)?;
    no_secret(&report)?;
    Ok(done.iter().map(|(_, driven, _)| driven.exchanges.len()).sum())
}

/// What of an exchange must be in both spans.
fn key(exchange: &Exchange) -> (String, String, u16) {
    (exchange.method.clone(), path_of(&exchange.path).to_owned(), exchange.status)
}

fn span_key(span: &JsonSpan) -> (String, String, u16) {
    (span.method().to_owned(), span.path().to_owned(), span.status().unwrap_or(0))
}
