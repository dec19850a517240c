//! The client program of the tests: it speaks HTTP/1 in every way that a server must understand, and says what it did
//! and got. It runs as a process of its own (`netspan-lab drive`), so that its CLIENT spans can be told apart.
#![forbid(unsafe_code)]

use std::{fmt::Write as _, process::Stdio, thread::sleep, time::Duration};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use crate::{
    http::{Answer, Connection},
    paths,
    process::{Address, command_in},
    scope::Scope,
    truth::Seen,
};

/// Pause between the parts of a head that is split over several writes. Nothing tells a client that the server's
/// `read` took the first part, so this is the one place where time has to do.
const BETWEEN_PARTS: Duration = Duration::from_millis(2);
/// Value bytes per header of a long head: below the limit per field of every server here.
const FIELD: usize = 4000;

/// The body of a request.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub enum Body {
    /// None, and no header about it.
    #[default]
    None,
    /// So many bytes with `Content-Length`.
    Length(usize),
    /// This text with `Content-Length`.
    Text(String),
    /// So many bytes in chunks of at most `per_chunk`.
    Chunked {
        /// Payload bytes.
        total: usize,
        /// Payload bytes per chunk; each is a write of its own.
        per_chunk: usize,
    },
}

/// One request.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Ask {
    /// Method.
    pub method: String,
    /// Request target.
    pub target: String,
    /// Body.
    pub body: Body,
    /// Bytes by which the head is made longer.
    pub padding: usize,
    /// In how many writes the head leaves; 0 and 1 are the same.
    pub parts: usize,
    /// Byte of the head before which a second write begins; 0: none.
    pub cut: usize,
    /// Wait for `100 Continue` before the body.
    pub expect: bool,
    /// Ask the server to end the connection.
    pub close: bool,
    /// Speak HTTP/1.0.
    pub old: bool,
    /// More headers, each with its line end.
    pub headers: String,
}

impl Ask {
    /// A request without body.
    pub fn new(method: &str, target: &str) -> Self {
        Self { method: method.into(), target: target.into(), ..Self::default() }
    }

    /// GET.
    pub fn get(target: &str) -> Self {
        Self::new("GET", target)
    }

    /// POST with a body of known length.
    pub fn post(target: &str, length: usize) -> Self {
        Self { body: Body::Length(length), ..Self::new("POST", target) }
    }

    /// The head's bytes.
    pub fn head(&self) -> String {
        let version = if self.old { "HTTP/1.0" } else { "HTTP/1.1" };
        let mut head = format!("{} {} {version}\r\nHost: shop.test\r\n{}", self.method, self.target, self.headers);
        let mut padding = self.padding;
        let mut field = 0;
        while padding > 0 {
            let length = padding.min(FIELD);
            let _ = write!(head, "X-Padding-{field}: {}\r\n", "p".repeat(length));
            padding -= length;
            field += 1;
        }
        match &self.body {
            Body::None => {}
            Body::Text(text) => {
                let _ = write!(head, "Content-Length: {}\r\n", text.len());
            }
            Body::Length(length) => {
                let _ = write!(head, "Content-Length: {length}\r\n");
            }
            Body::Chunked { .. } => head.push_str("Transfer-Encoding: chunked\r\n"),
        }
        if self.expect {
            head.push_str("Expect: 100-continue\r\n");
        }
        if self.close {
            head.push_str("Connection: close\r\n");
        }
        head.push_str("\r\n");
        head
    }

    /// Head and body as one run of bytes.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.head().into_bytes();
        self.body_pieces(|piece| bytes.extend_from_slice(piece));
        bytes
    }

    fn body_pieces(&self, mut put: impl FnMut(&[u8])) {
        match &self.body {
            Body::None => {}
            Body::Length(length) => put(&vec![b'b'; *length]),
            Body::Text(text) => put(text.as_bytes()),
            &Body::Chunked { total, per_chunk } => {
                let mut left = total;
                while left > 0 {
                    let size = left.min(per_chunk.max(1));
                    let mut piece = format!("{size:x}\r\n").into_bytes();
                    piece.resize(piece.len() + size, b'c');
                    piece.extend_from_slice(b"\r\n");
                    put(&piece);
                    left -= size;
                }
                put(b"0\r\n\r\n");
            }
        }
    }

    fn send(&self, connection: &mut Connection) -> Result<()> {
        let head = self.head();
        let (first, second) = head.as_bytes().split_at(self.cut.min(head.len()));
        let size = head.len().div_ceil(self.parts.max(1));
        let parts = first.chunks(size).chain(second.chunks(size));
        for (ordinal, part) in parts.enumerate() {
            if ordinal > 0 {
                sleep(BETWEEN_PARTS);
            }
            connection.write(part)?;
        }
        if self.expect {
            let status = connection.interim()?;
            ensure!(status == 100, "100 Continue was expected, {status} came");
        }
        let mut pieces = Vec::new();
        self.body_pieces(|piece| pieces.push(piece.to_vec()));
        for piece in pieces {
            connection.write(&piece)?;
        }
        Ok(())
    }

    /// The exchange that this request and its answer are.
    pub fn seen(&self, answer: &Answer) -> Seen {
        Seen::new(&self.method, &self.target, answer.status, answer.body)
    }
}

/// Something to do on one connection.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Talk {
    /// One request after the other; where the server ends the connection, on a new one.
    InTurn(Vec<Ask>),
    /// All requests at once, then all answers.
    Pipelined(Vec<Ask>),
    /// One request, and the connection is closed before the answer.
    Aborted(Ask),
    /// `GET` with `Upgrade: echo`; after the 101, so many bytes there and back that are no HTTP.
    Upgraded {
        /// Request target.
        target: String,
        /// Bytes after the 101; they look like requests, and must not be taken for any.
        bytes: usize,
    },
}

/// Does it, and says what was done and got. Aborted requests have no status.
pub fn run(address: &Address, talks: &[Talk]) -> Result<Vec<Seen>> {
    let mut seen = Vec::new();
    for talk in talks {
        one(address, talk, &mut seen).with_context(|| format!("while doing {talk:?}"))?;
    }
    Ok(seen)
}

/// What a client process did.
#[derive(Clone, Debug)]
pub struct Driven {
    /// Its process id.
    pub pid: u32,
    /// What it did and got.
    pub seen: Vec<Seen>,
}

/// Does it in a process of its own in `scope`.
pub fn run_in(scope: &Scope, address: &Address, talks: &[Talk]) -> Result<Driven> {
    let mut command = command_in(scope, paths::binary("netspan-lab")?);
    command.arg("drive").arg(address.to_string()).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().context("cannot start the client program")?;
    let pid = child.id();
    // The program reads all of its input before it does anything; dropping the pipe ends it.
    serde_json::to_writer(child.stdin.take().context("no pipe")?, talks).context("the client program reads nothing")?;
    let output = child.wait_with_output()?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "the client program failed: {errors}");
    let seen = serde_json::from_slice(&output.stdout).context("the client program printed no list")?;
    Ok(Driven { pid, seen })
}

fn one(address: &Address, talk: &Talk, seen: &mut Vec<Seen>) -> Result<()> {
    let mut connection = Connection::open(address)?;
    match talk {
        Talk::InTurn(asks) => {
            for (ordinal, ask) in asks.iter().enumerate() {
                ask.send(&mut connection)?;
                let answer = connection.answer(&ask.method)?;
                seen.push(ask.seen(&answer));
                if answer.close && ordinal + 1 < asks.len() {
                    connection = Connection::open(address)?;
                }
            }
        }
        Talk::Pipelined(asks) => {
            let bytes: Vec<u8> = asks.iter().flat_map(Ask::bytes).collect();
            connection.write(&bytes)?;
            for ask in asks {
                seen.push(ask.seen(&connection.answer(&ask.method)?));
            }
        }
        Talk::Aborted(ask) => {
            ask.send(&mut connection)?;
            seen.push(Seen { status: None, ..Seen::new(&ask.method, &ask.target, 0, 0) });
        }
        Talk::Upgraded { target, bytes } => {
            let ask = Ask { headers: "Connection: Upgrade\r\nUpgrade: echo\r\n".into(), ..Ask::get(target) };
            ask.send(&mut connection)?;
            let answer = connection.answer("GET")?;
            ensure!(answer.status == 101, "101 was expected, {} came", answer.status);
            seen.push(ask.seen(&answer));
            let disguise = b"GET /disguised HTTP/1.1\r\nHost: x\r\n\r\n";
            let payload: Vec<u8> = disguise.iter().copied().cycle().take(*bytes).collect();
            connection.write(&payload)?;
            connection.skip(*bytes as u64)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_padded_head_has_the_length_that_was_asked_for() {
        let plain = Ask::get("/").head().len();
        let padded = Ask { padding: 40 * 1024, ..Ask::get("/") }.head().len();
        assert!((40 * 1024..42 * 1024).contains(&(padded - plain)));
    }

    #[test]
    fn a_chunked_body_ends_with_an_empty_chunk() {
        let ask = Ask { body: Body::Chunked { total: 5, per_chunk: 3 }, ..Ask::new("POST", "/") };
        let bytes = ask.bytes();
        assert!(bytes.ends_with(b"\r\n\r\n3\r\nccc\r\n2\r\ncc\r\n0\r\n\r\n"), "{}", String::from_utf8_lossy(&bytes));
    }
}
