//! Parents that the agent claims, against what front ends noted.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde::Serialize;

use super::{
    Case,
    curve::{self, Bin, Step},
    front::{Made, Place},
};
use crate::{agent::Report, span::JsonSpan};

/// Parents of one method.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Score {
    /// Calls that got a parent by it.
    pub made: usize,
    /// Of these, wrong ones.
    pub wrong: usize,
}

/// How one case went.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// The style's name.
    pub style: String,
    /// Connections at once.
    pub concurrency: u32,
    /// Seed.
    pub seed: u64,
    /// Calls that the front end noted and the agent saw.
    pub calls: usize,
    /// Calls that the front end noted and the agent has no span of.
    pub unseen: usize,
    /// Calls with a parent.
    pub made: usize,
    /// Share of the parents that is wrong, from 0 to 1.
    pub wrong: f64,
    /// Share of the calls with the right parent.
    pub right: f64,
    /// The same of the second half of the calls: by then the agent has seen how the program works.
    pub right_later: f64,
    /// Requests all calls of which have the right parent, as a share.
    pub requests_right: f64,
    /// CPU time of the agent for each span, its start left out, in microseconds; none of a replay.
    pub cpu_us_per_span: Option<f64>,
    /// What other thresholds would tell, as far as less sure candidates are told of (from 0.5 on).
    pub curve: Vec<Step>,
    /// What claims are worth.
    pub calibration: Vec<Bin>,
    /// By method.
    pub methods: BTreeMap<String, Score>,
    /// Events that were lost: then the agent may be excused.
    pub lost: u64,
}

impl Outcome {
    pub(super) fn of(case: Case, truth: &[Made], report: &Report) -> Self {
        let (servers, clients) = (numbered(report.servers()), numbered(report.clients()));
        let mut calls: Vec<(&JsonSpan, Option<&str>, Place)> = Vec::new();
        let mut unseen = 0;
        for (request, call) in truth {
            match (servers.get(request), clients.get(call)) {
                (Some(request_span), Some(call)) => calls.push((call, Some(&request_span.span_id), *request)),
                (None, Some(call)) if request.0 == 0 => calls.push((call, None, *request)),
                _ => unseen += 1,
            }
        }
        calls.sort_by_key(|(call, ..)| call.start_ns);
        let mut methods: BTreeMap<String, Score> = BTreeMap::new();
        let (mut made, mut wrong, mut right, mut right_later) = (0, 0, 0, 0);
        let mut claims = Vec::new();
        let mut failed: HashSet<Place> = HashSet::new();
        let mut requests: HashSet<Place> = HashSet::new();
        for (n, (call, parent, request)) in calls.iter().enumerate() {
            requests.insert(*request);
            let is_right = call.parent() == *parent;
            if !is_right {
                failed.insert(*request);
            }
            if let (Some(claimed), Some(link)) = (call.parent(), &call.link) {
                claims.push((link.confidence, Some(claimed) == *parent));
            } else if let Some((candidate, confidence)) = call.candidate() {
                claims.push((confidence, Some(candidate) == *parent));
            }
            if call.parent().is_some() {
                let method = call.link.as_ref().map_or("none", |link| link.method.as_str());
                let score = methods.entry(method.to_owned()).or_default();
                score.made += 1;
                score.wrong += usize::from(!is_right);
                made += 1;
                wrong += usize::from(!is_right);
            }
            right += usize::from(is_right);
            right_later += usize::from(is_right && n >= calls.len() / 2);
        }
        let share = |part: usize, all: usize| part as f64 / all.max(1) as f64;
        let (curve, calibration) = curve::measured(&claims, calls.len());
        Self {
            style: format!("{:?}", case.style),
            concurrency: case.concurrency,
            seed: case.seed,
            calls: calls.len(),
            unseen,
            made,
            wrong: share(wrong, made),
            right: share(right, calls.len()),
            right_later: share(right_later, calls.len() - calls.len() / 2),
            requests_right: share(requests.len() - failed.len(), requests.len()),
            cpu_us_per_span: None,
            curve,
            calibration,
            methods,
            lost: report.figure("lost").unwrap_or(0),
        }
    }

    /// As a line of a table.
    pub fn line(&self) -> String {
        let methods: Vec<String> =
            self.methods.iter().map(|(name, score)| format!("{name} {}/{}", score.wrong, score.made)).collect();
        format!(
            "{:<14} {:>3} {:>3} {:>7} {:>6} {:>7.1}% {:>7.1}% {:>7.1}% {:>7.2}%  {}{}",
            self.style,
            self.concurrency,
            self.seed,
            self.calls,
            self.unseen,
            100.0 * self.right,
            100.0 * self.right_later,
            100.0 * self.requests_right,
            100.0 * self.wrong,
            methods.join(", "),
            if self.lost > 0 { format!(" (lost {})", self.lost) } else { String::new() },
        )
    }

    /// What the columns of [`line`](Self::line) are.
    pub fn heading() -> &'static str {
        "style          con  seed  calls unseen   right    later requests    wrong  wrong/made by method"
    }
}

/// Spans by their ports, and their ordinal among those of the same ports; in HTTP/2 their stream.
fn numbered<'a>(spans: impl Iterator<Item = &'a JsonSpan>) -> HashMap<Place, &'a JsonSpan> {
    let mut spans: Vec<&JsonSpan> = spans.collect();
    spans.sort_by_key(|span| span.start_ns);
    let mut ordinals: HashMap<(u16, u16), u32> = HashMap::new();
    let mut numbered = HashMap::new();
    for span in spans {
        let ports = [span.client_port(), span.server_port()].map(|port| port.and_then(|port| u16::try_from(port).ok()));
        let [Some(client), Some(server)] = ports else { continue };
        if span.text("network.protocol.version") == Some("2") {
            let stream = span.number("netspan.connection.request").and_then(|stream| u32::try_from(stream).ok());
            numbered.extend(stream.map(|stream| ((client, server, stream), span)));
            continue;
        }
        let ordinal = ordinals.entry((client, server)).or_default();
        numbered.insert((client, server, *ordinal), span);
        *ordinal += 1;
    }
    numbered
}
