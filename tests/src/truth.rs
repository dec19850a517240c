//! What happened, as the ones who took part say it (clients, access logs), and how it is compared with spans.
#![forbid(unsafe_code)]

use std::{collections::BTreeMap, fmt::Write, fs, path::Path};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

/// Lines of a difference that a message shows.
const DIFFERENCES_SHOWN: usize = 20;

/// One exchange, reduced to what must be equal.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Seen {
    /// Method.
    pub method: String,
    /// Path of the request target, without query.
    pub path: String,
    /// Status code, if there was an answer.
    pub status: Option<u16>,
    /// Bytes of the answer's payload.
    pub body: u64,
}

impl Seen {
    /// An answered exchange; `target` may have a query.
    pub fn new(method: &str, target: &str, status: u16, body: u64) -> Self {
        Self { method: method.into(), path: path_of(target).into(), status: Some(status), body }
    }
}

/// The path of a request target: without query, and without scheme and authority.
pub fn path_of(target: &str) -> &str {
    let target = target.split(['?', '#']).next().unwrap_or(target);
    match target.split_once("://") {
        Some((_, rest)) => rest.find('/').map_or("/", |at| &rest[at..]),
        None => target,
    }
}

/// Compares two multisets.
///
/// # Errors
/// When they differ: the message shows what is missing and what is too many, with counts.
pub fn same<T: Ord + std::fmt::Debug>(
    expected: impl IntoIterator<Item = T>,
    found: impl IntoIterator<Item = T>,
) -> Result<()> {
    compare(expected, found, |expected, found| expected == found)
}

/// Like [`same`], but some of what was expected may be missing.
pub fn within<T: Ord + std::fmt::Debug>(
    expected: impl IntoIterator<Item = T>,
    found: impl IntoIterator<Item = T>,
) -> Result<()> {
    compare(expected, found, |expected, found| found <= expected)
}

fn compare<T: Ord + std::fmt::Debug>(
    expected: impl IntoIterator<Item = T>,
    found: impl IntoIterator<Item = T>,
    agree: impl Fn(u64, u64) -> bool,
) -> Result<()> {
    let mut balance: BTreeMap<T, (u64, u64)> = BTreeMap::new();
    for item in expected {
        balance.entry(item).or_default().0 += 1;
    }
    for item in found {
        balance.entry(item).or_default().1 += 1;
    }
    let (expected, found) = balance.values().fold((0, 0), |sum, count| (sum.0 + count.0, sum.1 + count.1));
    balance.retain(|_, (expected, found)| !agree(*expected, *found));
    if balance.is_empty() {
        return Ok(());
    }
    let mut text = format!("expected {expected}, found {found}; {} kinds differ:\n", balance.len());
    for (item, (expected, found)) in balance.iter().take(DIFFERENCES_SHOWN) {
        let _ = writeln!(text, "  expected {expected}, found {found}: {item:?}");
    }
    if balance.len() > DIFFERENCES_SHOWN {
        let _ = writeln!(text, "  ... and {} more", balance.len() - DIFFERENCES_SHOWN);
    }
    bail!(text)
}

/// One line of nginx's access log in the format of [`crate::nginx::LOG_FORMAT`].
#[derive(Clone, Debug, Deserialize)]
pub struct LogLine {
    /// `$request_method`
    pub method: String,
    /// `$request_uri`
    pub uri: String,
    /// `$status`
    pub status: u16,
    /// `$body_bytes_sent`: everything after the head, so with the heads of chunks.
    pub body: u64,
    /// `$request_time` in seconds, in steps of a millisecond.
    pub time: f64,
    /// `$request_length`: head and body of the request.
    pub length: u64,
    /// `$remote_port`; empty for Unix sockets.
    pub port: String,
    /// `$sent_http_transfer_encoding`
    pub encoding: String,
}

impl LogLine {
    /// Whether the answer came in chunks, so that `body` counts their heads too.
    pub fn chunked(&self) -> bool {
        self.encoding == "chunked"
    }

    /// As an exchange.
    pub fn seen(&self) -> Seen {
        Seen::new(&self.method, &self.uri, self.status, self.body)
    }
}

/// Reads an access log.
pub fn access_log(path: &Path) -> Result<Vec<LogLine>> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    text.lines()
        .map(|line| serde_json::from_str(line).with_context(|| format!("{line:?} is no line of the access log")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_multisets_are_the_same_in_any_order() {
        same(["a", "b", "a"], ["b", "a", "a"]).unwrap();
    }

    #[test]
    fn a_difference_in_number_is_found_and_named() {
        let error = same(["a", "a", "b"], ["a", "b", "c"]).unwrap_err().to_string();
        assert!(error.contains("expected 2, found 1: \"a\""), "{error}");
        assert!(error.contains("expected 0, found 1: \"c\""), "{error}");
        assert!(!error.contains("\"b\""), "{error}");
    }

    #[test]
    fn what_is_missing_is_within_and_what_is_too_many_is_not() {
        within(["a", "a", "b"], ["a"]).unwrap();
        within(["a"], ["a", "a"]).unwrap_err();
    }

    #[test]
    fn a_path_has_neither_query_nor_authority() {
        assert_eq!(path_of("/a/b?c=d"), "/a/b");
        assert_eq!(path_of("http://host:80/a?b"), "/a");
        assert_eq!(path_of("http://host"), "/");
    }
}
