//! Which links a running agent made for each process, and why calls have none: what it tells at `/v1/links`.

use std::{fmt, time::Duration};

use serde_json::Value as Json;

use super::super::client::Agent;
use crate::link::Why;

/// How long the agent may take to answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// What an agent told, or why none did.
pub(super) struct Links(Result<Json, String>);

impl Links {
    /// Asks it.
    pub(super) fn ask(agent: &Agent) -> Self {
        let asked = agent.get("/v1/links", &[], PATIENCE).map_err(|error| format!("{error:#}"));
        Self(asked.and_then(|body| serde_json::from_slice(&body).map_err(|error| format!("no JSON: {error}"))))
    }

    /// What it told of a process.
    pub(super) fn of(&self, pid: u32) -> Option<&Json> {
        self.0.as_ref().ok()?["processes"].as_array()?.iter().find(|process| process["pid"] == pid)
    }

    /// Why nothing is known.
    pub(super) fn error(&self) -> Option<&str> {
        self.0.as_ref().err().map(String::as_str)
    }
}

/// The links of a process as one line.
pub(super) struct Line<'a>(pub(super) &'a Json);

/// The counters of an object that are not 0.
fn counters(json: &Json) -> Vec<(&str, u64)> {
    let all = json.as_object().into_iter().flatten();
    all.filter_map(|(name, count)| Some((name.as_str(), count.as_u64().filter(|count| *count > 0)?))).collect()
}

/// A reason for people; a newer agent may tell one that is not known here.
fn reason(name: &str) -> &str {
    match Why::ALL.into_iter().find(|why| why.name() == name) {
        Some(why) => why.text(),
        None => name,
    }
}

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, kind) in ["requests", "calls"].into_iter().enumerate() {
            let linked = &self.0[kind];
            let by = counters(&linked["linked"]);
            let sum: u64 = by.iter().map(|(_, count)| count).sum();
            write!(f, "{}{} {kind}, {sum} with a parent", if at > 0 { "; " } else { "" }, linked["spans"])?;
            let mut by = by.into_iter().map(|(method, count)| format!("{method} {count}"));
            if let Some(first) = by.next() {
                write!(f, " ({})", by.fold(first, |all, one| format!("{all}, {one}")))?;
            }
        }
        let mut why = counters(&self.0["calls"]["reasons"]);
        why.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        for (at, (name, count)) in why.into_iter().enumerate() {
            write!(f, "{}{count} {}", if at > 0 { ", " } else { "; without one: " }, reason(name))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_process_is_told_with_its_methods_and_reasons() {
        let process = json!({
            "pid": 7, "service": "shop",
            "requests": {"spans": 10, "linked": {"socket": 0, "header": 0}, "roots": 10},
            "calls": {
                "spans": 30, "linked": {"turn": 20, "inferred": 2}, "roots": 8,
                "reasons": {"no_request": 1, "crowded": 7, "unheard_of": 0},
            },
        });
        assert_eq!(
            Line(&process).to_string(),
            "10 requests, 0 with a parent; 30 calls, 22 with a parent (inferred 2, turn 20); without one: 7 made while \
             256 requests or more were open at once, 1 made while no request was open"
        );
        let links = Links(Ok(json!({ "processes": [process] })));
        assert!(links.of(7).is_some() && links.of(8).is_none());
    }
}
