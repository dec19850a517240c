//! Tests of the whole parser. They read as dialogues: what moves, in which order, and which exchanges come of it.

mod dialogues;
mod ends;
pub(super) mod frames;
mod fuzz;
mod loss;
mod malformed;
mod oracle;
mod rpc;
mod scrub;
mod upgrade;

use super::{Config, Connection, Observer};
use crate::protocol::{Chunk, End, Exchange, Flow, Incomplete, Notice, Stamp};
use frames::{preface, settings};

/// A connection and its clock. Each call takes 5 ns, and begins 10 ns after the one before.
pub(super) struct Dialogue {
    pub(super) connection: Connection,
    pub(super) out: Vec<Notice>,
    pub(super) now: u64,
}

impl Dialogue {
    pub(super) fn new(config: Config) -> Self {
        Self { connection: Connection::new(config), out: Vec::new(), now: 0 }
    }

    /// A connection of which nothing moved yet.
    pub(super) fn fresh() -> Self {
        Self::new(Config::new(Observer::Server))
    }

    /// A connection whose sides have greeted each other.
    pub(super) fn server() -> Self {
        Self::fresh().asks(&preface()).answers(&settings(&[]))
    }

    pub(super) fn joined_late() -> Self {
        Self::new(Config { joined_late: true, ..Config::new(Observer::Server) })
    }

    pub(super) fn stamp(&mut self) -> Stamp {
        let start_ns = self.now;
        self.now += 10;
        Stamp { start_ns, end_ns: start_ns + 5, ..Stamp::default() }
    }

    pub(super) fn chunk(mut self, flow: Flow, chunk: Chunk<'_>) -> Self {
        let stamp = self.stamp();
        self.connection.data(flow, &stamp, chunk, &mut self.out);
        self
    }

    /// Several chunks of one call.
    pub(super) fn call(mut self, flow: Flow, chunks: &[Chunk<'_>]) -> Self {
        let stamp = self.stamp();
        for chunk in chunks {
            self.connection.data(flow, &stamp, *chunk, &mut self.out);
        }
        self
    }

    pub(super) fn asks(self, bytes: &[u8]) -> Self {
        self.chunk(Flow::Requests, Chunk::Copied(bytes))
    }

    pub(super) fn answers(self, bytes: &[u8]) -> Self {
        self.chunk(Flow::Responses, Chunk::Copied(bytes))
    }

    pub(super) fn end(mut self, flow: Option<Flow>, end: End) -> Self {
        self.connection.end(flow, end, &mut self.out);
        self
    }

    pub(super) fn expire(mut self, before_ns: u64) -> Self {
        self.connection.expire(before_ns, &mut self.out);
        self
    }

    /// The exchanges that are over.
    pub(super) fn finished(&self) -> Vec<&Exchange> {
        self.out
            .iter()
            .filter_map(|notice| match notice {
                Notice::Finished(exchange) => Some(&**exchange),
                Notice::Started { .. } | Notice::Opaque => None,
            })
            .collect()
    }

    /// The exchanges so far, each as a line: ordinal, request, `->`, response, sizes, what is wrong.
    pub(super) fn exchanges(&self) -> Vec<String> {
        self.out
            .iter()
            .filter_map(|notice| match notice {
                Notice::Finished(exchange) => Some(line(exchange)),
                Notice::Opaque => Some("opaque".to_owned()),
                Notice::Started { .. } => None,
            })
            .collect()
    }

    #[track_caller]
    pub(super) fn gives(self, expected: &[&str]) -> Self {
        assert_eq!(self.exchanges(), expected);
        self
    }
}

/// `1 GET /a -> 200 [wire/body wire/body] after 100 switched reset 8 lost`
pub(super) fn line(exchange: &Exchange) -> String {
    use std::fmt::Write;
    let mut line = format!("{} ", exchange.ordinal);
    match &exchange.request {
        Some(request) => write!(line, "{} {}", text(&request.method), text(&request.target)).unwrap(),
        None => line.push('?'),
    }
    match &exchange.response {
        Some(response) => write!(line, " -> {}", response.status).unwrap(),
        None => line.push_str(" -> ?"),
    }
    for transfer in [exchange.sent, exchange.answered] {
        match transfer {
            Some(transfer) => write!(line, " {}/{}", transfer.size.wire, transfer.size.body).unwrap(),
            None => line.push_str(" -"),
        }
    }
    if let Some(status) = exchange.informational {
        write!(line, " after {status}").unwrap();
    }
    if exchange.switched {
        line.push_str(" switched");
    }
    if let Some(code) = exchange.reset {
        write!(line, " reset {code}").unwrap();
    }
    if let Some(rpc) = &exchange.rpc {
        let count = |count: Option<u64>| count.map_or("?".to_owned(), |n| n.to_string());
        let status = rpc.status.map_or("?".to_owned(), |n| n.to_string());
        write!(line, " rpc {status} {}:{}", count(rpc.sent_messages), count(rpc.received_messages)).unwrap();
    }
    if let Some(reason) = exchange.incomplete {
        write!(line, " {}", Incomplete::name(reason)).unwrap();
    }
    line
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}
