//! A client and a server of [`crate::web`] with the agent beside them: the spans must be exactly what the client did, on
//! the connections on which it did it.
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};

use super::{Client, Driven, Exchange, Server, Wire};
use crate::{
    agent::{Agent, Report},
    scenario::{LAST_SPAN, no_secret, nothing_lost},
    scope::Scope,
    span::JsonSpan,
    truth::{path_of, same},
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
        let scope = Scope::new()?;
        let running = self.server.start(&scope, self.wire)?;
        let agent = Agent::watch_with(&scope, options)?;
        let plan = running.plan(self.client.requests(self.connections, self.each), self.in_flight)?;
        let driven = self.client.send(&scope, &plan)?;
        agent.await_spans(2 * driven.exchanges.len(), LAST_SPAN);
        let report = agent.stop()?;
        self.check(&driven, &report)
            .with_context(|| format!("{self:?}; the agent printed:\n{}", report.errors))?;
        Ok(driven.exchanges.len())
    }

    fn check(self, driven: &Driven, report: &Report) -> Result<()> {
        let told = || driven.exchanges.iter();
        same(told().map(key), report.servers().map(span_key)).context("client and SERVER spans differ")?;
        same(told().map(key), report.clients().map(span_key)).context("client and CLIENT spans differ")?;
        let ports: BTreeMap<&str, u16> =
            told().filter(|exchange| exchange.port != 0).map(|e| (path_of(&e.path), e.port)).collect();
        let clients: BTreeSet<&str> = report.clients().map(|span| span.span_id.as_str()).collect();
        for span in &report.spans {
            ensure!(span.incomplete.is_none(), "an incomplete span: {span:?}");
            let port = if span.is_server() { "network.peer.port" } else { "network.local.port" };
            let port = span.number(port).with_context(|| format!("a span without the client's port: {span:?}"))?;
            if let Some(expected) = ports.get(span.path()) {
                ensure!(port == u64::from(*expected), "port {expected} has a span of port {port}: {span:?}");
            }
            if span.is_server() {
                let parent = span.parent().with_context(|| format!("a SERVER span without parent: {span:?}"))?;
                ensure!(clients.contains(parent), "a parent that is no CLIENT span: {span:?}");
            }
            let version = span.text("network.protocol.version");
            let expected = if self.wire.version == super::Version::H2 { "2" } else { "1.1" };
            ensure!(version == Some(expected), "not the version: {span:?}");
        }
        nothing_lost(report)?;
        no_secret(report)
    }
}

/// What of an exchange must be in both spans.
fn key(exchange: &Exchange) -> (String, String, u16) {
    (exchange.method.clone(), path_of(&exchange.path).to_owned(), exchange.status)
}

fn span_key(span: &JsonSpan) -> (String, String, u16) {
    (span.method().to_owned(), span.path().to_owned(), span.status().unwrap_or(0))
}
