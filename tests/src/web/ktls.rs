//! The cases of kernel TLS, for kernels that have the module `tls`.
#![forbid(unsafe_code)]

use std::fs;

use anyhow::{Context, Result};

use super::{Case, Client, Server, Version, Wire};

/// Where the kernel counts what went through kernel TLS (`Documentation/networking/tls.rst`).
const STATISTICS: &str = "/proc/net/tls_stat";

/// nginx with files by `SSL_sendfile`, of which OpenSSL's hooks tell; a server without a library that is hooked; and nginx
/// without kernel TLS, under the same agent.
const CASES: [(Server, Version); 4] = [
    (Server::NginxKtls, Version::H1),
    (Server::NginxKtls, Version::H2),
    (Server::RustKtls, Version::H1),
    (Server::Nginx, Version::H2),
];

/// A few connections to each.
pub fn ktls() -> Vec<Case> {
    let case = |(server, version)| {
        let wire = Wire { version, tls: true };
        Case { server, client: Client::Curl, wire, connections: 2, each: 12, in_flight: 4 }
    };
    CASES.into_iter().map(case).collect()
}

/// Sockets whose sending side the kernel has encrypted so far: `TlsTxSw`.
pub(super) fn sending() -> Result<u64> {
    let text = fs::read_to_string(STATISTICS).context("the module tls is not loaded")?;
    let line = text.lines().find_map(|line| line.strip_prefix("TlsTxSw")).context("no TlsTxSw")?;
    Ok(line.trim().parse()?)
}
