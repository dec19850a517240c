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

    /// Whether a text fulfils it.
    pub fn holds_text(&self, text: &str) -> bool {
        match self {
            Self::Path(wanted) => {
                let path = path(text);
                wanted.iter().any(|wanted| path.is_some_and(|path| path_fits(wanted, path)))
            }
            Self::Peer(wanted) => wanted.iter().any(|wanted| glob::matches(wanted, text)),
            Self::Equals(_, wanted) => text == *wanted,
            Self::Status(_) | Self::Port(_) => false,
        }
    }

    /// Whether a value fulfils it.
    pub fn holds(&self, value: &Value) -> bool {
        match (self, value) {
            (_, Value::Text(text)) => self.holds_text(text),
            (Self::Status(ranges), Value::Int(code)) => ranges.iter().any(|range| match range {
                StatusRange::Codes(first, last) => (i64::from(*first)..=i64::from(*last)).contains(code),
                StatusRange::Error => false,
            }),
            (Self::Port(ranges), Value::Int(port)) => {
                ranges.iter().any(|&(first, last)| (i64::from(first)..=i64::from(last)).contains(port))
            }
            (Self::Equals(_, wanted), value) => match value {
                Value::Text(_) => false,
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

    /// Beginnings of paths ([`beginnings`]) of which a path has to have one, where that is known.
    pub fn beginnings(&self) -> Option<Vec<&'a str>> {
        match self {
            Self::Path(wanted) => wanted.iter().map(|wanted| beginning(wanted)).collect(),
            _ => None,
        }
    }
}

/// Beginnings of a path that are looked up at most.
const BEGINNINGS_MAX: usize = 8;

/// The beginnings of the path in an attribute, where it is one that holds a path: what is above each of its slashes, and itself,
/// the shortest [`BEGINNINGS_MAX`]. What lies below a path has it among its beginnings.
pub fn beginnings<'a>(name: &str, text: &'a str) -> impl Iterator<Item = &'a str> {
    let path = if PATHS.contains(&name) { path(text) } else { None };
    path.into_iter().flat_map(beginnings_of)
}

fn beginnings_of(path: &str) -> impl Iterator<Item = &str> {
    let slashes = path.match_indices('/').filter(|(at, _)| *at > 0);
    slashes.filter_map(|(at, _)| path.get(..at)).chain([path]).take(BEGINNINGS_MAX)
}

/// The longest beginning that every path has which a rule for paths admits, if any.
fn beginning(wanted: &str) -> Option<&str> {
    let above = match wanted.find(['*', '?']) {
        Some(at) => wanted.get(..at)?.rsplit_once('/')?.0,
        None => wanted.strip_suffix('/').unwrap_or(wanted),
    };
    beginnings_of(above).last().filter(|beginning| !beginning.is_empty())
}

/// The path in a `url.path` or `url.full`.
fn path(text: &str) -> Option<&str> {
    if text.starts_with('/') || text.starts_with('*') {
        return Some(text);
    }
    let (_, after_scheme) = text.split_once("://")?;
    let target = after_scheme.split(['?', '#']).next()?;
    Some(target.find('/').map_or("/", |at| &target[at..]))
}

fn path_fits(wanted: &str, path: &str) -> bool {
    if glob::is_pattern(wanted) {
        return glob::matches(wanted, path);
    }
    let below = |rest: &str| rest.is_empty() || rest.starts_with('/') || wanted.ends_with('/');
    path.strip_prefix(wanted).is_some_and(below)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_a_rule_admits_has_the_rules_beginning() {
        let paths = [
            "/",
            "//",
            "/a",
            "/a/",
            "/a/b",
            "/a/b/c",
            "/ab",
            "/a//b",
            "/1/2/3/4/5/6/7/8/9/10",
            "/1/2/3/4/5/6/7/8/9",
            "*",
            "/ä/ö",
        ];
        let rules = ["/a/*", "/a*", "/*/b", "*", "?a", "/a/?", "/1/2/3/4/5/6/7/8/9/*", "/ä/?", "/a/b*/c"];
        let mut admitted = 0;
        for wanted in paths.into_iter().chain(rules) {
            let own = [wanted.to_owned()];
            let condition = Condition::Path(&own);
            let Some(beginnings_wanted) = condition.beginnings() else { continue };
            for path in paths {
                for (name, text) in [("url.path", path.to_owned()), ("url.full", format!("http://host{path}?q=/x"))] {
                    if condition.holds_text(&text) {
                        admitted += 1;
                        let found = beginnings(name, &text).any(|found| beginnings_wanted.contains(&found));
                        assert!(found, "{wanted} admits {text}");
                    }
                }
            }
        }
        assert!(admitted > 30, "{admitted}");
        for (wanted, expected) in [
            ("/api/items/17", Some("/api/items/17")),
            ("/api/", Some("/api")),
            ("/api/it*", Some("/api")),
            ("/", None),
            ("/*", None),
            ("*/items", None),
            ("/1/2/3/4/5/6/7/8/9", Some("/1/2/3/4/5/6/7/8")),
        ] {
            assert_eq!(beginning(wanted), expected, "{wanted}");
        }
        assert_eq!(beginnings("user_agent.original", "/a/b").count(), 0);
        assert_eq!(beginnings("url.path", "/a/b").collect::<Vec<_>>(), ["/a", "/a/b"]);
    }
}
