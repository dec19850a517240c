//! The agent started in the middle of a connection of HTTP/2: nothing that it says may be wrong, and what it cannot know,
//! because the header compression refers to what was sent before, must become less.
#![forbid(unsafe_code)]

use std::{fs, thread, time::Duration};

use anyhow::{Context, Result, ensure};
use serde::Serialize;

use super::{Client, Exchange, Gate, Request, Server, Version, Wire};
use crate::{agent::Agent, scenario::LAST_SPAN, scope::Scope, span::JsonSpan, truth::path_of, wait};

/// Paths that are asked for in turn, so that the client's table has those that the agent did not see it insert.
const PATHS: usize = 24;
/// Time for the client to do what comes before the agent.
const BEFORE: Duration = Duration::from_secs(30);
/// Requests of one part of what is told.
const PART: usize = 50;

/// Who talks to whom, and when the agent comes.
#[derive(Clone, Copy, Debug)]
pub struct Late {
    /// Who answers.
    pub server: Server,
    /// Who asks: a client that knows a [`Gate`].
    pub client: Client,
    /// Whether TLS is around it.
    pub tls: bool,
    /// Requests before the agent is there.
    pub before: usize,
    /// Requests after that.
    pub after: usize,
}

/// How much is known, by the requests in their order, fifty each.
#[derive(Clone, Debug, Serialize)]
pub struct Known {
    /// Share of the requests that have a span.
    pub seen: Vec<f64>,
    /// Share of the requests whose method is known.
    pub method: Vec<f64>,
    /// Share of the requests whose `:path` is known.
    pub path: Vec<f64>,
    /// Share of the requests whose status is known.
    pub status: Vec<f64>,
    /// Share of the requests of which it is known which connection they were on: the client's port.
    pub port: Vec<f64>,
}

impl Late {
    /// Runs it: what is known by the server's spans, and by the client's.
    ///
    /// # Errors
    /// When a span says something that was not so.
    pub fn run(self, options: &[String]) -> Result<[Known; 2]> {
        let scope = Scope::new()?;
        let wire = Wire { version: Version::H2, tls: self.tls };
        let running = self.server.start(&scope, wire)?;
        let directory = tempfile::tempdir()?;
        let gate = Gate { after: self.before, directory: directory.path().to_owned() };
        let mut plan = running.plan(vec![(0..self.before + self.after).map(request).collect()], 1)?;
        plan.gate = Some(gate.clone());
        let (driven, report) = thread::scope(|threads| -> Result<_> {
            let client = threads.spawn(|| self.client.send(&scope, &plan));
            wait::until("that the client comes to the gate", BEFORE, || {
                ensure!(!client.is_finished(), "the client has ended");
                Ok(gate.reached(0).exists().then_some(()))
            })?;
            let agent = Agent::watch_with(&scope, options);
            // Whatever became of the agent: the client must not wait for ever.
            fs::write(gate.open(), "")?;
            let agent = agent?;
            let driven = client.join().ok().context("the client's thread panicked")??;
            agent.await_spans(2 * self.after, LAST_SPAN);
            Ok((driven, agent.stop()?))
        })?;
        let truth = driven.exchanges.get(self.before..).context("the client did less than it was asked to")?;
        let sides = [report.servers().collect::<Vec<_>>(), report.clients().collect()];
        let [server, client] = sides.map(|spans| known(truth, spans));
        Ok([server.context("SERVER spans")?, client.context("CLIENT spans")?])
    }
}

/// A client asks for the same again and again, by all methods.
fn request(ordinal: usize) -> Request {
    let (method, route) = match ordinal % PATHS % 4 {
        0 => ("GET", "bytes/100"),
        1 => ("HEAD", "hello/0"),
        2 => ("GET", "status/404"),
        _ => ("PUT", "status/500"),
    };
    Request { method: method.into(), path: format!("/{route}/{}", ordinal % PATHS), body: 0 }
}

/// Compares the spans of one end with what was asked, in the order of time: one request follows the other's answer. The
/// first ones may lack: it takes some bytes to know that a connection speaks HTTP/2.
fn known(truth: &[Exchange], mut spans: Vec<&JsonSpan>) -> Result<Known> {
    spans.sort_by_key(|span| span.start_ns);
    ensure!(spans.len() <= truth.len(), "{} spans of {} requests", spans.len(), truth.len());
    let missing = truth.len() - spans.len();
    let mut known =
        Known { seen: Vec::new(), method: Vec::new(), path: Vec::new(), status: Vec::new(), port: Vec::new() };
    let of = |ordinal: usize| ordinal.checked_sub(missing).and_then(|at| spans.get(at));
    for (part, asked) in truth.chunks(PART).enumerate() {
        let mut counts = [0_u32; 5];
        for (n, exchange) in asked.iter().enumerate() {
            let Some(span) = of(part * PART + n) else { continue };
            let is = [
                Some(true),
                (!span.method().is_empty()).then(|| span.method() == exchange.method),
                (!span.path().is_empty()).then(|| span.path() == path_of(&exchange.path)),
                span.status().map(|status| status == exchange.status),
                span.client_port().map(|port| port == u64::from(exchange.port)),
            ];
            ensure!(!is.contains(&Some(false)), "what is told of {exchange:?} is not so: {span:?}");
            counts.iter_mut().zip(is).for_each(|(count, is)| *count += u32::from(is.is_some()));
        }
        let Known { seen, method, path, status, port } = &mut known;
        let shares = [seen, method, path, status, port];
        for (share, count) in shares.into_iter().zip(counts) {
            share.push(f64::from(count) / f64::from(u32::try_from(asked.len())?));
        }
    }
    Ok(known)
}
