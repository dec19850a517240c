//! The loop: a list of the node's pods, then a watch from there, and again a watch where it ended. Only where the API server has
//! forgotten since (410), or where an event could not be read, the list is made anew.
//!
//! No state of the cluster is asked for twice without a pause: what fails, and a watch that ends at once, counts as a failure, and
//! failures back off with full jitter up to [`BACKOFF_MOST`].

use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::BodyExt as _;
use serde::Deserialize;

use super::{
    Shared,
    client::{Client, Fault, Status, causes, late},
    cluster::Cluster,
    lines::{Line, Lines},
    pod::{Cut, Pod, Told},
    status::add,
    table::Table,
};
use crate::export::delivery::retry::{Pace, chance};

/// Pods of a page. One in a hundred clusters has as many on a node.
const PAGE: usize = 100;
/// Bytes of an event at most: more than etcd's own bound of an object.
pub(super) const EVENT_MAX: usize = 4 << 20;
/// How long the API server is asked to let a watch be.
const WATCH: Duration = Duration::from_secs(290);
/// How much longer it may be.
const WATCH_SLACK: Duration = Duration::from_secs(30);
/// A watch that ended sooner counts as one that failed.
const WATCH_MIN: Duration = Duration::from_secs(5);
/// Bound of the first delay after a failure.
const BACKOFF_FIRST: Duration = Duration::from_millis(500);
/// Bound of all later ones.
const BACKOFF_MOST: Duration = Duration::from_mins(1);
/// After so many failures in a row what is known is listed anew.
const FAILURES_MAX: u32 = 4;
/// Pages of one list at most: [`PAGE`] times as many are far more than a node can have.
const PAGES_MAX: usize = 1000;

/// Lists and watches until it is dropped.
pub(super) async fn run(cluster: Cluster, shared: &Shared) {
    let mut pace = Pace::new(BACKOFF_FIRST, BACKOFF_MOST);
    // The version of what is known; without one, a list is due.
    let mut version: Option<String> = None;
    let mut failures = 0;
    loop {
        let begun = Instant::now();
        let ended = round(&cluster, shared, &mut version).await;
        let lasted = begun.elapsed() >= WATCH_MIN && shared.is_watching();
        if lasted {
            pace.succeeded();
            failures = 0;
        }
        match ended {
            Ok(()) if lasted => {}
            Ok(()) => drop(pace.failed(Instant::now(), chance(), None)),
            Err(fault) => {
                pace.failed(Instant::now(), chance(), fault.after());
                shared.failed(&fault);
                failures += 1;
            }
        }
        // An API server that was put back to an older state never gets to know this version.
        if failures >= FAILURES_MAX {
            (version, failures) = (None, 0);
        }
        if let Some(at) = pace.resume_at(Instant::now()) {
            tokio::time::sleep_until(at.into()).await;
        }
    }
}

/// One list if it is due, and one watch.
async fn round(cluster: &Cluster, shared: &Shared, version: &mut Option<String>) -> Result<(), Fault> {
    // Made anew after each watch, so that an authority that was replaced is read.
    let client = Client::new(cluster)?;
    let mut from = match version.take() {
        Some(from) => from,
        None => list(&client, cluster, shared).await?,
    };
    let watched = watch(&client, cluster, shared, &mut from).await;
    if !matches!(watched, Err(Fault::Gone | Fault::Garbled(_))) {
        *version = Some(from);
    }
    watched
}

/// Lists all pods of the node into a new table. Returns the list's version.
pub(super) async fn list(client: &Client, cluster: &Cluster, shared: &Shared) -> Result<String, Fault> {
    let mut table = Table::default();
    let (mut rest, mut page_size) = (String::new(), PAGE);
    let mut cut = Cut::default();
    let mut garbled = 0;
    for _ in 0..PAGES_MAX {
        let after = if rest.is_empty() { String::new() } else { format!("&continue={}", escaped(&rest)) };
        let path = format!("/api/v1/pods?fieldSelector=spec.nodeName%3D{}&limit={page_size}{after}", cluster.node);
        let page = match client.page(&path).await {
            // Pods so large that a hundred do not fit are asked for one by one.
            Err(Fault::TooLong) if page_size > 1 => {
                page_size = 1;
                continue;
            }
            page => page?,
        };
        let page: Page = serde_json::from_slice(&page).map_err(|error| Fault::Garbled(position(&error)))?;
        add(&shared.counters.pages, 1);
        for told in page.items.unwrap_or_default() {
            match Pod::of(told, &cluster.wanted, &mut cut) {
                Some(pod) => drop(table.put(pod)),
                None => garbled += 1,
            }
        }
        rest = page.metadata.rest.unwrap_or_default();
        if rest.is_empty() {
            let version = page.metadata.version.filter(|version| !version.is_empty());
            let version = version.ok_or_else(|| Fault::Garbled("a list without resourceVersion".to_owned()))?;
            shared.cut(cut);
            add(&shared.counters.garbled, garbled);
            shared.replace(table);
            add(&shared.counters.lists, 1);
            return Ok(version);
        }
    }
    Err(Fault::Garbled("a list without end".to_owned()))
}

/// Takes events until the watch ends. `version` is always that of what is known.
async fn watch(client: &Client, cluster: &Cluster, shared: &Shared, version: &mut String) -> Result<(), Fault> {
    let path = format!(
        "/api/v1/pods?fieldSelector=spec.nodeName%3D{}&watch=true&allowWatchBookmarks=true&resourceVersion={}&timeoutSeconds={}",
        cluster.node,
        escaped(version),
        WATCH.as_secs()
    );
    let mut body = client.get(&path).await?.into_body();
    add(&shared.counters.watches, 1);
    shared.watching();
    let end = tokio::time::Instant::now() + WATCH + WATCH_SLACK;
    let mut lines = Lines::new(EVENT_MAX);
    loop {
        let frame = tokio::time::timeout_at(end, body.frame()).await.map_err(|_| late(WATCH + WATCH_SLACK))?;
        let Some(frame) = frame else { return Ok(()) };
        let frame = frame.map_err(|error| Fault::Broken(causes(&error)))?;
        let Ok(bytes) = frame.into_data() else { continue };
        lines.push(&bytes);
        while let Some(line) = lines.next() {
            match line {
                // A list would not have it either, or have it in a page of its own: what it was about is seen with its next change.
                Line::Oversized => add(&shared.counters.oversized, 1),
                Line::Whole(line) => take(&line, cluster, shared, version)?,
            }
        }
    }
}

/// Takes one event.
fn take(line: &Bytes, cluster: &Cluster, shared: &Shared, version: &mut String) -> Result<(), Fault> {
    let garbled = |error: &serde_json::Error| {
        add(&shared.counters.garbled, 1);
        Fault::Garbled(position(error))
    };
    let kind: Kind = serde_json::from_slice(line).map_err(|error| garbled(&error))?;
    if kind.kind == "ERROR" {
        let error: Event<Status> = serde_json::from_slice(line).map_err(|error| garbled(&error))?;
        return Err(Fault::of(error.object.code, &error.object.message, None));
    }
    let event: Event<WithVersion> = serde_json::from_slice(line).map_err(|error| garbled(&error))?;
    let event_version = event.object.metadata.version;
    match kind.kind.as_str() {
        "ADDED" | "MODIFIED" | "DELETED" => {
            let event: Event<Told> = serde_json::from_slice(line).map_err(|error| garbled(&error))?;
            add(&shared.counters.events, 1);
            if kind.kind == "DELETED" {
                shared.remove(event.object.metadata.uid.as_deref().unwrap_or_default());
            } else {
                let mut cut = Cut::default();
                match Pod::of(event.object, &cluster.wanted, &mut cut) {
                    Some(pod) => shared.put(pod),
                    None => add(&shared.counters.garbled, 1),
                }
                shared.cut(cut);
            }
        }
        "BOOKMARK" => add(&shared.counters.bookmarks, 1),
        // The API may know more one day.
        _ => {}
    }
    if let Some(event_version) = event_version.filter(|version| !version.is_empty()) {
        *version = event_version;
    }
    shared.heard();
    Ok(())
}

/// What is wrong and where, without any of what is there.
fn position(error: &serde_json::Error) -> String {
    let what = match error.classify() {
        serde_json::error::Category::Eof => "it ends too early",
        serde_json::error::Category::Syntax => "it is no JSON",
        _ => "it is not of the API's form",
    };
    format!("{what} (line {}, column {})", error.line(), error.column())
}

/// As a value in a query.
fn escaped(text: &str) -> String {
    use std::fmt::Write as _;
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            escaped.push(char::from(byte));
        } else {
            let _ = write!(escaped, "%{byte:02X}");
        }
    }
    escaped
}

/// `PodList`
#[derive(Debug, Deserialize)]
struct Page {
    metadata: ListMetadata,
    items: Option<Vec<Told>>,
}

#[derive(Debug, Default, Deserialize)]
struct ListMetadata {
    #[serde(rename = "resourceVersion")]
    version: Option<String>,
    #[serde(rename = "continue")]
    rest: Option<String>,
}

/// An event, whatever it is about.
#[derive(Debug, Deserialize)]
struct Kind {
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Debug, Deserialize)]
struct Event<T> {
    object: T,
}

#[derive(Debug, Deserialize)]
struct WithVersion {
    #[serde(default)]
    metadata: ListMetadata,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_and_continuations_are_escaped() {
        assert_eq!(escaped("12345"), "12345");
        assert_eq!(escaped("a&b=c/+ é"), "a%26b%3Dc%2F%2B%20%C3%A9");
    }

    #[test]
    fn what_is_wrong_is_told_without_what_is_there() {
        for (text, why) in [("{\"a\":hunter2}", "it is no JSON"), ("{\"a\":\"hun", "it ends too early")] {
            let error = serde_json::from_str::<serde_json::Value>(text).expect_err("no JSON");
            let told = position(&error);
            assert!(told.starts_with(why) && !told.contains("hun"), "{told}");
        }
    }
}
