//! The cases for machines that are slow: few, and of each way in which the agent sees bytes one.
#![forbid(unsafe_code)]

use super::{Case, Client, Server, Version, Wire};

/// A server, a client, and what is between them.
const CASES: [(Server, Client, Version, bool); 7] = [
    (Server::Nginx, Client::Curl, Version::H2, false),
    (Server::Nginx, Client::Curl, Version::H1, true),
    (Server::Nginx, Client::Curl, Version::H2, true),
    (Server::Go, Client::Go, Version::H2, true),
    (Server::Node, Client::Node, Version::H2, true),
    (Server::Uvicorn, Client::Aiohttp, Version::H1, true),
    (Server::Nginx, Client::Wget, Version::H1, true),
];

/// The system's OpenSSL, that of Node, Python's on memory buffers, `GnuTLS` and Go; two connections with a dozen
/// requests each, so that each has all kinds of requests.
pub fn compact() -> Vec<Case> {
    let case = |(server, client, version, tls)| {
        let wire = Wire { version, tls };
        Case { server, client, wire, connections: 2, each: 12, in_flight: 4 }
    };
    CASES.into_iter().map(case).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_can_speak_to_each_other() {
        for case in compact() {
            assert!(case.server.speaks(case.wire) && case.client.speaks(case.wire), "{case:?}");
        }
    }
}
