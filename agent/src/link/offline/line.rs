//! A line that is put out: the one that was read, with its link.

use std::io::Write;

use super::{Link, Spans};

/// Names that are put out, and therefore not taken over from the input.
const OURS: [&str; 5] = ["parent_span_id", "link_method", "link_confidence", "runner_up", "links"];

/// Confidence from which on a candidate that is no parent is told of.
const TOLD_MIN: f64 = 0.5;

/// Puts a line with its link; a parent needs `min_confidence`.
pub(super) fn put(out: &mut Vec<u8>, text: &[u8], link: &Link, spans: &Spans<'_>, min_confidence: f64) {
    let text = text.trim_ascii_end();
    let mentions = |name: &str| memchr::memmem::find(text, name.as_bytes()).is_some();
    if OURS.into_iter().any(mentions) {
        let mut line: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(text).unwrap_or_default();
        line.retain(|key, _| !OURS.contains(&key.as_str()));
        out.extend(serde_json::to_vec(&line).unwrap_or_default());
    } else {
        out.extend_from_slice(text);
    }
    out.pop();
    let id = |span: u32| serde_json::Value::from(spans.id(span));
    let parent = link.candidate.filter(|(.., confidence)| *confidence >= min_confidence);
    // Writing to memory can't fail.
    let _ = match parent {
        Some((parent, method, confidence)) => write!(
            out,
            r#", "parent_span_id": {}, "link_method": "{}", "link_confidence": {confidence:.4}"#,
            id(parent),
            method.name()
        ),
        None => write!(out, r#", "parent_span_id": null, "link_method": null, "link_confidence": null"#),
    };
    if let Some((span, confidence)) = link.runner_up {
        let _ = write!(out, r#", "runner_up": {{"span_id": {}, "confidence": {confidence:.4}}}"#, id(span));
    }
    let told = link.candidate.filter(|(.., confidence)| parent.is_none() && *confidence >= TOLD_MIN);
    let told = told.map(|(span, method, confidence)| (span, method.name(), confidence));
    let follows = link.follows.map(|(span, confidence)| (span, "follows_from", confidence));
    let told: Vec<String> = told
        .into_iter()
        .chain(follows)
        .map(|(span, method, confidence)| {
            format!(r#"{{"span_id": {}, "link_method": "{method}", "link_confidence": {confidence:.4}}}"#, id(span))
        })
        .collect();
    if !told.is_empty() {
        let _ = write!(out, r#", "links": [{}]"#, told.join(", "));
    }
    out.push(b'}');
}
