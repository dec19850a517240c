//! What a client shall do, and what it did: the JSON that all client programs read and print.
#![forbid(unsafe_code)]

use std::{net::SocketAddr, path::PathBuf};

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::truth::{Seen, path_of};

/// Version of HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Version {
    /// HTTP/1.1
    H1,
    /// HTTP/2: in the clear by prior knowledge, over TLS by ALPN.
    H2,
}

/// What is on the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wire {
    /// Version of HTTP.
    pub version: Version,
    /// Whether TLS is around it.
    pub tls: bool,
}

impl Wire {
    /// All four.
    pub const ALL: [Self; 4] = [
        Self { version: Version::H1, tls: false },
        Self { version: Version::H2, tls: false },
        Self { version: Version::H1, tls: true },
        Self { version: Version::H2, tls: true },
    ];
}

/// One request.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Request {
    /// Method.
    pub method: String,
    /// Request target, `/ROUTE/ARGUMENT/ANYTHING`, perhaps with a query.
    pub path: String,
    /// Bytes of the request's body; 0: it has none.
    pub body: usize,
}

impl Request {
    /// What a server with the routes of `tests/apps` answers: status and bytes of payload. nginx and nghttpd differ.
    pub fn expected(&self) -> Seen {
        let mut parts = path_of(&self.path).split('/').skip(1);
        let (route, argument) = (parts.next().unwrap_or(""), parts.next().unwrap_or(""));
        let number: u64 = argument.parse().unwrap_or(0);
        let (status, body) = match route {
            "hello" => (200, 6),
            "echo" => (200, self.body.to_string().len() as u64),
            "bytes" => (200, number),
            "status" if matches!(number, 204 | 304) => (number as u16, 0),
            "status" => (number as u16, 7),
            "slow" => (200, 5),
            _ => (404, 5),
        };
        Seen::new(&self.method, &self.path, status, if self.method == "HEAD" { 0 } else { body })
    }
}

/// What a client shall do.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Plan {
    /// Where the server listens.
    pub address: SocketAddr,
    /// Version of HTTP.
    pub version: Version,
    /// PEM file of the authority to trust; `None`: no TLS.
    pub authority: Option<PathBuf>,
    /// Requests in flight per connection. With HTTP/1.1 it is 1, whatever is asked for.
    pub in_flight: usize,
    /// For each connection what is asked on it. All connections are open at the same time.
    pub connections: Vec<Vec<Request>>,
    /// Where the client waits, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gate: Option<Gate>,
}

/// Where a client waits on each connection, with all before it answered. Hyper, Go and httpx know it; with it each of their
/// requests has a header `x-serial` with a value of its own, so that the header compression's table turns over.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Gate {
    /// Requests before it.
    pub after: usize,
    /// A directory: the client makes a file `c0` in it when the connection 0 is at the gate, and goes on when there is a
    /// file `open`.
    pub directory: PathBuf,
}

impl Gate {
    /// The file by which a connection tells that it is there.
    pub fn reached(&self, connection: usize) -> PathBuf {
        self.directory.join(format!("c{connection}"))
    }

    /// The file that lets all go on.
    pub fn open(&self) -> PathBuf {
        self.directory.join("open")
    }
}

impl Plan {
    /// All requests.
    pub fn requests(&self) -> impl Iterator<Item = &Request> {
        self.connections.iter().flatten()
    }
}

/// An answered request, as the client saw it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Exchange {
    /// Ordinal of the connection in the plan.
    pub connection: usize,
    /// The client's port of the connection that it really used.
    pub port: u16,
    /// Method.
    pub method: String,
    /// Request target.
    pub path: String,
    /// Status code.
    pub status: u16,
    /// Bytes of the answer's payload.
    pub body: u64,
}

impl Exchange {
    /// Reduced to what must be equal.
    pub fn seen(&self) -> Seen {
        Seen::new(&self.method, &self.path, self.status, self.body)
    }
}

/// Requests of all methods, sizes and statuses, each with a path of its own that names its connection:
/// `/bytes/100/c3-17` is the request 17 of the connection 3.
pub fn requests(connections: usize, each: usize) -> Vec<Vec<Request>> {
    (0..connections).map(|connection| (0..each).map(|ordinal| mixed(connection, ordinal)).collect()).collect()
}

fn mixed(connection: usize, ordinal: usize) -> Request {
    // Neighbours on one connection differ, and so do the first requests of two connections.
    let (method, route, body) = match (connection + ordinal) % 12 {
        0 => ("GET", "hello/0", 0),
        1 => ("GET", "bytes/100", 0),
        2 => ("POST", "echo/0", 3000),
        3 => ("HEAD", "hello/0", 0),
        4 => ("GET", "status/404", 0),
        5 => ("GET", "bytes/40000", 0),
        6 => ("GET", "bytes/0", 0),
        7 => ("POST", "echo/0", 100_000),
        8 => ("GET", "slow/3", 0),
        9 => ("GET", "status/204", 0),
        10 => ("PUT", "echo/0", 1),
        _ => ("GET", "status/500", 0),
    };
    let query = if ordinal % 5 == 4 { "?token=hunter2" } else { "" };
    Request { method: method.into(), path: format!("/{route}/c{connection}-{ordinal}{query}"), body }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_path_is_there_once_and_names_its_connection() {
        let connections = requests(64, 30);
        let paths: BTreeSet<&str> = connections.iter().flatten().map(|request| path_of(&request.path)).collect();
        assert_eq!(paths.len(), 64 * 30);
        assert!(connections[7].iter().all(|request| request.path.contains("/c7-")));
    }

    #[test]
    fn what_is_expected_follows_the_route() {
        let request = |method: &str, path: &str, body| Request { method: method.into(), path: path.into(), body };
        assert_eq!(request("GET", "/bytes/70/x?y", 0).expected(), Seen::new("GET", "/bytes/70/x", 200, 70));
        assert_eq!(request("HEAD", "/hello/0/x", 0).expected().body, 0);
        assert_eq!(request("POST", "/echo/0/x", 3000).expected().body, 4);
        assert_eq!(request("GET", "/status/204/x", 0).expected(), Seen::new("GET", "/status/204/x", 204, 0));
    }
}
