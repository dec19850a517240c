//! What a filter asks of attributes: each condition names the attributes that it is about and judges one value at a time,
//! so that the store can judge each distinct value of a column once.

use super::{SpanFilter, StatusRange};
use crate::{control::glob, span::Value};

/// Attributes that hold a path.
const PATHS: &[&str] = &["url.path", "url.full"];
/// Attributes that hold a status code.
const CODES: &[&str] = &["http.response.status_code"];
/// Attributes that hold a port.
const PORTS: &[&str] = &["server.port", "network.peer.port", "network.local.port", "client.port"];
/// Attributes that name the other side.
const PEERS: &[&str] = &["network.peer.address", "server.address", "client.address"];

/// A condition on attributes: it is fulfilled if any attribute that it is about holds.
#[derive(Clone, Debug)]
pub enum Condition<'a> {
    /// One of these paths, or below.
    Path(&'a [String]),
    /// One of these statuses.
    Status(&'a [StatusRange]),
    /// One of these ranges of ports.
    Port(&'a [(u16, u16)]),
    /// One of these addresses or names.
    Peer(&'a [String]),
    /// This attribute with this value.
    Equals(&'a str, &'a str),
}

impl<'a> Condition<'a> {
    /// The conditions of a filter.
    pub(super) fn of(filter: &'a SpanFilter) -> Vec<Self> {
        let mut all = Vec::new();
        if !filter.paths.is_empty() {
            all.push(Self::Path(&filter.paths));
        }
        if !filter.statuses.is_empty() {
            all.push(Self::Status(&filter.statuses));
        }
        if !filter.ports.is_empty() {
            all.push(Self::Port(&filter.ports));
        }
        if !filter.peers.is_empty() {
            all.push(Self::Peer(&filter.peers));
        }
        all.extend(filter.attributes.iter().map(|(name, value)| Self::Equals(name, value)));
        all
    }

    /// Whether it is about the attribute of this name.
    pub fn is_about(&self, name: &str) -> bool {
        match self {
            Self::Path(_) => PATHS.contains(&name),
            Self::Status(_) => CODES.contains(&name),
            Self::Port(_) => PORTS.contains(&name),
            Self::Peer(_) => PEERS.contains(&name),
            Self::Equals(wanted, _) => *wanted == name,
        }
    }

    /// Whether a value fulfils it.
    pub fn holds(&self, value: &Value) -> bool {
        match (self, value) {
            (Self::Path(wanted), Value::Text(text)) => {
                let path = path(text);
                wanted.iter().any(|wanted| path.is_some_and(|path| path_fits(wanted, path)))
            }
            (Self::Status(ranges), Value::Int(code)) => ranges.iter().any(|range| match range {
                StatusRange::Codes(first, last) => (i64::from(*first)..=i64::from(*last)).contains(code),
                StatusRange::Error => false,
            }),
            (Self::Port(ranges), Value::Int(port)) => {
                ranges.iter().any(|&(first, last)| (i64::from(first)..=i64::from(last)).contains(port))
            }
            (Self::Peer(wanted), Value::Text(text)) => wanted.iter().any(|wanted| glob::matches(wanted, text)),
            (Self::Equals(_, wanted), value) => match value {
                Value::Text(text) => text == wanted,
                Value::Int(number) => wanted.parse() == Ok(*number),
                Value::Float(number) => wanted.parse() == Ok(*number),
                Value::Bool(truth) => wanted.parse() == Ok(*truth),
                Value::List(texts) => texts.iter().any(|text| text == wanted),
            },
            _ => false,
        }
    }

    /// Whether a span whose status is an error fulfils it, whatever its attributes say.
    pub fn admits_errors(&self) -> bool {
        matches!(self, Self::Status(ranges) if ranges.contains(&StatusRange::Error))
    }

    /// The one attribute and value that it asks for, where that is all.
    pub const fn exactly(&self) -> Option<(&'a str, &'a str)> {
        match self {
            Self::Equals(name, value) => Some((*name, *value)),
            _ => None,
        }
    }
}

/// The path in a `url.path` or `url.full`.
fn path(text: &str) -> Option<&str> {
    if text.starts_with('/') || text.starts_with('*') {
        return Some(text);
    }
    let (_, after_scheme) = text.split_once("://")?;
    let path = after_scheme.find('/').map_or("/", |at| &after_scheme[at..]);
    path.split(['?', '#']).next()
}

fn path_fits(wanted: &str, path: &str) -> bool {
    if glob::is_pattern(wanted) {
        return glob::matches(wanted, path);
    }
    let below = |rest: &str| rest.is_empty() || rest.starts_with('/') || wanted.ends_with('/');
    path.strip_prefix(wanted).is_some_and(below)
}
