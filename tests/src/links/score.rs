//! How right a linker was.

use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
};

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::corpus::{self, Truth};

#[derive(Deserialize)]
struct Linked {
    span_id: String,
    kind: String,
    parent_span_id: Option<String>,
    link_confidence: Option<f64>,
}

/// Shares, from 0 to 1.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Score {
    /// Calls that there is a truth about.
    pub calls: usize,
    /// Of these, calls with a parent.
    pub emitted: f64,
    /// Of the parents, wrong ones.
    pub wrong: f64,
    /// Of the calls, those with the right parent.
    pub right: f64,
    /// Of the traces, those whose calls are all right.
    pub exact: f64,
    /// By the confidence in tenths, and from 0.95: parents, and the share of them that is right.
    pub calibration: BTreeMap<String, (usize, f64)>,
}

impl Score {
    /// Compares.
    pub fn of(truth: &Path, linked: &Path) -> Result<Self> {
        let truth: Vec<Truth> = corpus::read(truth)?;
        let linked: Vec<Linked> = corpus::read(linked)?;
        let found: HashMap<&str, &Linked> =
            linked.iter().filter(|span| span.kind == "client").map(|span| (span.span_id.as_str(), span)).collect();
        let (mut emitted, mut right) = (0, 0);
        let mut traces: HashMap<&str, bool> = HashMap::new();
        let mut calibration: BTreeMap<String, (usize, f64)> = BTreeMap::new();
        for truth in &truth {
            let own = found.get(truth.span_id.as_str());
            let parent = own.and_then(|own| own.parent_span_id.as_deref());
            let ok = parent == truth.parent_span_id.as_deref();
            right += usize::from(ok);
            *traces.entry(&truth.trace).or_insert(true) &= ok;
            if parent.is_some() {
                emitted += 1;
                let confidence = own.and_then(|own| own.link_confidence).unwrap_or(0.0);
                let bucket = if confidence >= 0.95 { 0.95 } else { (confidence * 10.0).floor() / 10.0 };
                let (count, sum) = calibration.entry(format!("{bucket}")).or_default();
                *count += 1;
                *sum += f64::from(u8::from(ok));
            }
        }
        let good: f64 = calibration.values().map(|(_, sum)| sum).sum();
        for (count, sum) in calibration.values_mut() {
            *sum /= *count as f64;
        }
        let share = |part: usize, all: usize| part as f64 / all.max(1) as f64;
        Ok(Self {
            calls: truth.len(),
            emitted: share(emitted, truth.len()),
            wrong: 1.0 - if emitted == 0 { 1.0 } else { good / emitted as f64 },
            right: share(right, truth.len()),
            exact: share(traces.values().filter(|ok| **ok).count(), traces.len()),
            calibration,
        })
    }
}
