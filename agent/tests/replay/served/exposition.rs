//! `/metrics` against the rules of the text format 0.0.4 (Prometheus) and of `OpenMetrics` 1.0, read by a parser that forgives
//! nothing. The suite `web` has `promtool` say the same of a running agent.

use std::collections::{BTreeMap, BTreeSet};

use super::{PATIENCE, served, shop};

/// One line with a value.
struct Sample<'a> {
    name: &'a str,
    labels: BTreeMap<&'a str, String>,
    value: f64,
    has_exemplar: bool,
}

fn is_name(text: &str, also: &[u8]) -> bool {
    let first =
        text.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_' || also.contains(&byte));
    first && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || also.contains(&byte))
}

/// Reads `name="value"` pairs up to the closing brace; gives what is behind it. Only three escapes are known.
fn labels(mut text: &str) -> Option<(BTreeMap<&str, String>, &str)> {
    let mut labels = BTreeMap::new();
    loop {
        let (name, rest) = text.split_once("=\"")?;
        let (mut value, mut end, mut bytes) = (String::new(), None, rest.char_indices());
        while let Some((at, next)) = bytes.next() {
            match next {
                '"' => {
                    end = Some(at);
                    break;
                }
                '\\' => value.push(match bytes.next()?.1 {
                    '\\' => '\\',
                    '"' => '"',
                    'n' => '\n',
                    _ => return None,
                }),
                other => value.push(other),
            }
        }
        let is_new = is_name(name, &[]) && labels.insert(name, value).is_none();
        let rest = rest.get(end? + 1..)?;
        match (is_new, rest.strip_prefix(','), rest.strip_prefix('}')) {
            (true, Some(more), _) => text = more,
            (true, None, Some(behind)) => return Some((labels, behind)),
            _ => return None,
        }
    }
}

fn number(text: &str) -> Option<f64> {
    match text {
        "+Inf" => Some(f64::INFINITY),
        _ => text.parse().ok(),
    }
}

fn sample(line: &str) -> Option<Sample<'_>> {
    let (line, exemplar) = match line.split_once(" # ") {
        Some((line, exemplar)) => (line, Some(exemplar)),
        None => (line, None),
    };
    let (name, labels, value) = match line.split_once('{') {
        Some((name, rest)) => {
            let (labels, behind) = labels(rest)?;
            (name, labels, behind.strip_prefix(' ')?)
        }
        None => line.split_once(' ').map(|(name, value)| (name, BTreeMap::new(), value))?,
    };
    if let Some(exemplar) = exemplar {
        let (own, behind) = self::labels(exemplar.strip_prefix('{')?)?;
        let length: usize = own.iter().map(|(name, value)| name.chars().count() + value.chars().count()).sum();
        let figures: Vec<_> = behind.strip_prefix(' ')?.split(' ').map(number).collect::<Option<_>>()?;
        // `OpenMetrics`, "Exemplars": 128 characters; a value, and a time if it is known.
        if length > 128 || !(1..=2).contains(&figures.len()) {
            return None;
        }
    }
    is_name(name, b":").then_some(Sample { name, labels, value: number(value)?, has_exemplar: exemplar.is_some() })
}

/// What a family's samples may be called, by its type.
fn endings(kind: &str, is_open: bool) -> &'static [&'static str] {
    match (kind, is_open) {
        ("histogram", _) => &["_bucket", "_sum", "_count"],
        ("counter", true) => &["_total"],
        _ => &[""],
    }
}

/// Checks a whole page. Gives its families with their types.
fn check(text: &str, is_open: bool) -> Result<BTreeMap<String, String>, String> {
    let body = if is_open { text.strip_suffix("# EOF\n").ok_or("no end")? } else { text };
    let body = body.strip_suffix('\n').ok_or("the last line has no end")?;
    let (mut families, mut helped, mut seen) = (BTreeMap::new(), BTreeSet::new(), BTreeSet::new());
    let mut family = String::new();
    // Per series of a histogram: the last bound and count, and what `_count` has to be.
    let mut buckets = BTreeMap::<String, (f64, f64)>::new();
    for line in body.split('\n') {
        let wrong = |what: &str| format!("{what}: {line}");
        if let Some(comment) = line.strip_prefix("# ") {
            let mut words = comment.splitn(3, ' ');
            let (kind, name, rest) = (words.next(), words.next(), words.next());
            let (Some(kind), Some(name), Some(rest)) = (kind, name, rest) else { return Err(wrong("a comment")) };
            if !is_name(name, b":") {
                return Err(wrong("a name"));
            }
            match kind {
                "HELP" if helped.insert(name.to_owned()) => {}
                "TYPE" if ["counter", "gauge", "histogram"].contains(&rest) && helped.contains(name) => {
                    if families.insert(name.to_owned(), rest.to_owned()).is_some() {
                        return Err(wrong("a second type"));
                    }
                    name.clone_into(&mut family);
                }
                _ => return Err(wrong("a comment")),
            }
            continue;
        }
        let sample = sample(line).ok_or_else(|| wrong("a sample"))?;
        let kind = families.get(&family).ok_or_else(|| wrong("no family"))?;
        let ending = sample.name.strip_prefix(family.as_str()).ok_or_else(|| wrong("outside of its family"))?;
        if !endings(kind, is_open).contains(&ending) || (sample.has_exemplar && (!is_open || ending != "_bucket")) {
            return Err(wrong("not of its type"));
        }
        if kind == "counter" && !sample.name.ends_with("_total") || sample.value < 0.0 || sample.value.is_nan() {
            return Err(wrong("no counter"));
        }
        if !seen.insert((sample.name.to_owned(), format!("{:?}", sample.labels))) {
            return Err(wrong("twice"));
        }
        let mut own = sample.labels.clone();
        let bound = own.remove("le");
        let series = format!("{family}{own:?}");
        match (ending, bound) {
            ("_bucket", Some(bound)) => {
                let bound = number(&bound).ok_or_else(|| wrong("a bound"))?;
                let before = buckets.insert(series, (bound, sample.value));
                if before.is_some_and(|(last, count)| bound <= last || sample.value < count) {
                    return Err(wrong("buckets that fall"));
                }
            }
            ("_count", None) if buckets.get(&series) != Some(&(f64::INFINITY, sample.value)) => {
                return Err(wrong("not what +Inf has"));
            }
            ("_bucket", None) | (_, Some(_)) => return Err(wrong("le")),
            _ => {}
        }
    }
    Ok(families)
}

#[test]
fn metrics_are_what_the_formats_ask_for() {
    let (served, spans) = (served(None), shop());
    served.fill(&spans);
    let begun = std::time::Instant::now();
    for (accept, kind, is_open) in [
        ("text/plain", "text/plain; version=0.0.4; charset=utf-8", false),
        ("application/openmetrics-text", "application/openmetrics-text; version=1.0.0; charset=utf-8", true),
    ] {
        let head = format!("Host: localhost\r\nAccept: {accept}\r\nConnection: close");
        let (head, text) = loop {
            let (head, text) = served.response(&format!("GET /metrics HTTP/1.1\r\n{head}\r\n\r\n"));
            if text.contains("http_server_request_duration_seconds_count{") {
                break (head, text);
            }
            assert!(begun.elapsed() < PATIENCE, "{text}");
        };
        assert!(head.to_lowercase().contains(&format!("content-type: {kind}")), "{head}");
        let families = check(&text, is_open).unwrap_or_else(|error| panic!("{accept}: {error}"));
        let suffix = if is_open { "" } else { "_total" };
        for (name, kind) in [
            ("http_server_request_duration_seconds", "histogram"),
            ("netspan_edge_duration_seconds", "histogram"),
            ("netspan_stage", "gauge"),
            (&format!("netspan_events{suffix}"), "counter"),
        ] {
            assert_eq!(families.get(name).map(String::as_str), Some(kind), "{name}");
        }
    }
}

#[test]
fn the_parser_forgives_nothing() {
    let good = "# HELP a b\n# TYPE a gauge\na{x=\"\\\"\\\\\\n\"} 1\na 2\n";
    assert!(check(good, false).is_ok());
    let histogram = |lines: &str| format!("# HELP h b\n# TYPE h histogram\n{lines}");
    assert!(check(&histogram("h_bucket{le=\"1\"} 1\nh_bucket{le=\"+Inf\"} 2\nh_sum 3\nh_count 2\n"), false).is_ok());
    for bad in [
        "a 1\n",
        "# HELP a b\n# TYPE a gauge\na 1",
        "# HELP a b\n# TYPE a gauge\na 1\na 1\n",
        "# HELP a b\n# TYPE a gauge\na{x=\"1\"} x\n",
        "# HELP a b\n# TYPE a gauge\na{x=\"\\t\"} 1\n",
        "# HELP a b\n# TYPE a gauge\na{x.y=\"1\"} 1\n",
        "# HELP a b\n# TYPE a gauge\nb 1\n",
        "# HELP a b\n# TYPE a counter\na 1\n",
        "# TYPE a gauge\na 1\n",
        "# HELP a b\n# TYPE a gauge\n\na 1\n",
        &histogram("h_bucket{le=\"1\"} 3\nh_bucket{le=\"+Inf\"} 2\n"),
        &histogram("h_bucket{le=\"+Inf\"} 2\nh_sum 3\nh_count 3\n"),
    ] {
        assert!(check(bad, false).is_err(), "{bad}");
    }
    assert!(check(good, true).is_err(), "OpenMetrics has an end");
}
