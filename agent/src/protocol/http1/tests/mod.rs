//! Tests of the whole parser. They read as dialogues: what moves, in which order, and which exchanges come of it.

mod dialogues;
mod ends;
mod fuzz;
mod loss;
mod oracle;
mod pairing;
mod random;
mod rendering;

use super::{Config, Connection, Observer};
use crate::protocol::{Chunk, End, Exchange, Flow, Incomplete, Notice, Stamp};

/// A connection and its clock. Each call takes 10 ns, and begins when the one before has returned.
pub(super) struct Dialogue {
    pub(super) connection: Connection,
    pub(super) out: Vec<Notice>,
    now: u64,
}

impl Dialogue {
    pub(super) fn new(config: Config) -> Self {
        Self { connection: Connection::new(config), out: Vec::new(), now: 0 }
    }

    pub(super) fn client() -> Self {
        Self::new(Config::new(Observer::Client))
    }

    pub(super) fn server() -> Self {
        Self::new(Config::new(Observer::Server))
    }

    pub(super) fn joined_late(observer: Observer) -> Self {
        Self::new(Config { joined_late: true, ..Config::new(observer) })
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

    pub(super) fn at(mut self, start_ns: u64, end_ns: u64, flow: Flow, bytes: &str) -> Self {
        let stamp = Stamp { start_ns, end_ns, ..Stamp::default() };
        self.connection.data(flow, &stamp, Chunk::Copied(bytes.as_bytes()), &mut self.out);
        self.now = self.now.max(end_ns + 5);
        self
    }

    pub(super) fn asks(self, bytes: &str) -> Self {
        self.chunk(Flow::Requests, Chunk::Copied(bytes.as_bytes()))
    }

    pub(super) fn answers(self, bytes: &str) -> Self {
        self.chunk(Flow::Responses, Chunk::Copied(bytes.as_bytes()))
    }

    pub(super) fn end(mut self, flow: Option<Flow>, end: End) -> Self {
        self.connection.end(flow, end, &mut self.out);
        self
    }

    pub(super) fn expire(mut self, before_ns: u64) -> Self {
        self.connection.expire(before_ns, &mut self.out);
        self
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

    pub(super) fn gives(self, expected: &[&str]) -> Self {
        assert_eq!(self.exchanges(), expected);
        self
    }
}

/// `0 GET /a -> 200 [wire/body wire/body] 100 switched lost`
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
    if let Some(reason) = exchange.incomplete {
        write!(line, " {}", Incomplete::name(reason)).unwrap();
    }
    line
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}
