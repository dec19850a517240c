//! The workloads of the benchmark: what nginx serves them over, which program asks, and what that program tells.
#![forbid(unsafe_code)]

use std::{ffi::OsString, path::PathBuf, time::Duration};

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use serde::Serialize;

use crate::{certificate::Certificate, paths, process::Address};

/// Streams in flight on each connection of [`Workload::H2`].
const STREAMS: u32 = 100;

/// What is measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Workload {
    /// HTTP/1.1 in the clear, one request at a time on each connection
    #[default]
    H1,
    /// HTTP/2 in the clear, 100 streams in flight on each connection
    H2,
    /// HTTP/1.1 over TLS, one request at a time on each connection
    Tls,
}

/// What the client tells of one run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Told {
    /// Requests per second.
    pub rate: f64,
    /// Answered requests.
    pub requests: u64,
}

impl Workload {
    /// What nginx's `server` block says of it.
    pub(super) fn listening(self, address: &Address, certificate: Option<&Certificate>) -> String {
        match (self, certificate) {
            (Self::H2, _) => format!("listen {address} http2;"),
            // Without `ssl_protocols`, nginx before 1.23.4 has no TLS 1.3.
            (_, Some(certificate)) => format!(
                "listen {address} ssl;\nssl_protocols TLSv1.2 TLSv1.3;\nssl_certificate {};\nssl_certificate_key {};",
                certificate.chain().display(),
                certificate.key().display()
            ),
            (_, None) => format!("listen {address};"),
        }
    }

    /// Its certificate, where it needs one.
    pub(super) fn certificate(self) -> Result<Option<Certificate>> {
        (self == Self::Tls).then(Certificate::new).transpose()
    }

    /// The client's program and its arguments. It has one thread, and its connections live as long as it does.
    pub(super) fn client(
        self,
        connections: u32,
        length: Duration,
        address: &Address,
    ) -> Result<(PathBuf, Vec<OsString>)> {
        let seconds = length.as_secs().max(1);
        let connections = connections.to_string();
        let (program, length, url) = match self {
            Self::H1 => (paths::tool("wrk", "wrk")?, format!("{seconds}s"), format!("http://{address}/")),
            Self::Tls => (paths::tool("wrk", "wrk")?, format!("{seconds}s"), format!("https://{address}/")),
            Self::H2 => (paths::tool("h2load", "nghttp2-client")?, seconds.to_string(), format!("http://{address}/")),
        };
        let streams = STREAMS.to_string();
        let mut arguments = vec!["-t", "1", "-c", &connections];
        match self {
            Self::H1 | Self::Tls => arguments.extend(["-d", &length]),
            Self::H2 => arguments.extend(["-m", &streams, "-D", &length]),
        }
        arguments.push(&url);
        Ok((program, arguments.into_iter().map(OsString::from).collect()))
    }

    /// Reads what the client printed.
    ///
    /// # Errors
    /// When an answer was wrong, or it tells no figures.
    pub(super) fn read(self, text: &str) -> Result<Told> {
        let (told, good) = match self {
            Self::H1 | Self::Tls => (of_wrk(text), !text.contains("Non-2xx") && !text.contains("Socket errors")),
            Self::H2 => (of_h2load(text), text.contains(" 0 failed, 0 errored, 0 timeout")),
        };
        ensure!(good, "the client met errors:\n{text}");
        told.with_context(|| format!("the client tells no rate:\n{text}"))
    }
}

/// `wrk`: "51300 requests in 1.00s, 8MB read" and "Requests/sec:  51234.56".
fn of_wrk(text: &str) -> Option<Told> {
    let rate = text.lines().find_map(|line| line.trim().strip_prefix("Requests/sec:"))?.trim().parse().ok()?;
    let requests = text.lines().find_map(|line| line.trim().split_once(" requests in "))?.0.trim().parse().ok()?;
    Some(Told { rate, requests })
}

/// `h2load`: "finished in 3.01s, 27211.67 req/s, 19.13MB/s" and "requests: 81635 total, ...". What was in flight when
/// the time was over is not in the total.
fn of_h2load(text: &str) -> Option<Told> {
    let line = |name: &str| text.lines().find_map(|line| line.strip_prefix(name));
    let rate = line("finished in ")?.split(", ").find_map(|part| part.strip_suffix(" req/s"))?.parse().ok()?;
    let requests = line("requests: ")?.split(' ').next()?.parse().ok()?;
    Some(Told { rate, requests })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_read_from_what_wrk_prints() {
        let text = "Running 1s test @ http://127.0.0.1:80/\n  1 threads\n  51300 requests in 1.00s, 8MB read\n\
                    Requests/sec:  51234.56\nTransfer/sec: 8MB\n";
        for workload in [Workload::H1, Workload::Tls] {
            assert_eq!(workload.read(text).unwrap(), Told { rate: 51234.56, requests: 51300 });
            workload.read("nothing").unwrap_err();
            workload.read(&format!("{text}  Non-2xx or 3xx responses: 7\n")).unwrap_err();
        }
    }

    #[test]
    fn the_rate_is_read_from_what_h2load_prints() {
        let text = "starting benchmark...\n\nfinished in 3.01s, 27211.67 req/s, 19.13MB/s\n\
                    requests: 81635 total, 83235 started, 81635 done, 81635 succeeded, 0 failed, 0 errored, 0 timeout\n";
        assert_eq!(Workload::H2.read(text).unwrap(), Told { rate: 27211.67, requests: 81635 });
        Workload::H2.read(&text.replace(" 0 failed", " 1 failed")).unwrap_err();
        Workload::H2.read("nothing").unwrap_err();
    }
}
