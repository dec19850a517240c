//! A span as `netspan watch --json` prints it, read strictly: a field of the documented form that is missing or of
//! another type is an error.
#![forbid(unsafe_code)]

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::truth::{Seen, path_of};

/// The fields of a span that the issue names.
#[derive(Clone, Debug, Deserialize)]
pub struct JsonSpan {
    /// 32 hex digits.
    pub trace_id: String,
    /// 16 hex digits.
    pub span_id: String,
    /// 16 hex digits; roots have none.
    pub parent_span_id: Option<String>,
    /// `SERVER` or `CLIENT`, in any case.
    pub kind: String,
    /// Name.
    pub name: String,
    /// Nanoseconds since the Unix epoch.
    pub start_ns: u64,
    /// Nanoseconds since the Unix epoch.
    pub end_ns: u64,
    /// Service's name.
    pub service: String,
    /// Process.
    pub pid: u32,
    /// Thread.
    pub tid: u32,
    /// Why it is not the whole truth.
    pub incomplete: Option<String>,
    /// How the parent was found.
    pub link: Option<JsonLink>,
    /// What else it has to do with: candidates that are not sure enough to be parents, among others.
    pub links: Vec<JsonAside>,
    /// Attributes by the semantic conventions.
    pub attributes: Map<String, Value>,
}

/// How a parent was found.
#[derive(Clone, Debug, Deserialize)]
pub struct JsonLink {
    /// Name of the evidence.
    pub method: String,
    /// From 0 to 1.
    pub confidence: f64,
}

/// Another span that it has to do with.
#[derive(Clone, Debug, Deserialize)]
pub struct JsonAside {
    /// 16 hex digits.
    pub span_id: String,
    /// What is said of it.
    pub attributes: Map<String, Value>,
}

impl JsonSpan {
    /// Reads one line.
    pub fn parse(line: &str) -> Result<Self> {
        serde_json::from_str(line).with_context(|| format!("not a span: {line}"))
    }

    /// Whether it was seen on the accepting side.
    pub fn is_server(&self) -> bool {
        self.kind.eq_ignore_ascii_case("server")
    }

    /// Whether it was seen on the connecting side.
    pub fn is_client(&self) -> bool {
        self.kind.eq_ignore_ascii_case("client")
    }

    /// An attribute's text.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.attributes.get(name)?.as_str()
    }

    /// An attribute's number.
    pub fn number(&self, name: &str) -> Option<u64> {
        self.attributes.get(name)?.as_u64()
    }

    /// The method as it was written in the request.
    pub fn method(&self) -> &str {
        self.text("http.request.method_original").or_else(|| self.text("http.request.method")).unwrap_or("")
    }

    /// The path: from `url.path`, else from `url.full`.
    pub fn path(&self) -> &str {
        self.text("url.path").or_else(|| self.text("url.full").map(path_of)).unwrap_or("")
    }

    /// The status code, if there was an answer.
    pub fn status(&self) -> Option<u16> {
        self.number("http.response.status_code").and_then(|code| u16::try_from(code).ok())
    }

    /// The other end's port.
    pub fn peer_port(&self) -> Option<u64> {
        self.number("network.peer.port").or_else(|| self.number("client.port"))
    }

    /// The client's port, whichever end this is.
    pub fn client_port(&self) -> Option<u64> {
        self.number(if self.is_server() { "network.peer.port" } else { "network.local.port" })
    }

    /// The server's port, whichever end this is.
    pub fn server_port(&self) -> Option<u64> {
        self.number(if self.is_server() { "network.local.port" } else { "network.peer.port" })
    }

    /// The parent's id; roots have none.
    pub fn parent(&self) -> Option<&str> {
        self.parent_span_id.as_deref().filter(|id| !id.is_empty())
    }

    /// The most probable parent, where it is not sure enough to be one, and its confidence.
    pub fn candidate(&self) -> Option<(&str, f64)> {
        let is_inferred = |aside: &&JsonAside| aside.attributes.get("netspan.link.method") == Some(&"inferred".into());
        let aside = self.links.iter().find(is_inferred)?;
        Some((&aside.span_id, aside.attributes.get("netspan.link.confidence")?.as_f64()?))
    }

    /// As an exchange.
    pub fn seen(&self) -> Seen {
        Seen {
            method: self.method().to_owned(),
            path: self.path().to_owned(),
            status: self.status(),
            body: self.number("http.response.body.size").unwrap_or(0),
        }
    }

    /// How long it took, in nanoseconds.
    pub fn duration_ns(&self) -> u64 {
        self.end_ns.saturating_sub(self.start_ns)
    }
}
