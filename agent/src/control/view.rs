//! Filters of finished spans, for views: by path, status, duration and service. They choose what is shown, never what is
//! captured.

use std::time::Duration;

use super::glob;
use crate::span::{Span, Status, Value};

/// Which spans a view shows. Alternatives within a field (OR), fields narrow each other (AND); a field without rules
/// doesn't narrow.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SpanFilter {
    /// Paths: with `*` or `?` the whole path has to match; without, the path itself and everything below it match.
    pub paths: Vec<String>,
    /// Statuses.
    pub statuses: Vec<StatusRange>,
    /// Shortest duration to show.
    pub min_duration: Option<Duration>,
    /// Service names, with wildcards.
    pub services: Vec<String>,
}

/// Statuses to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatusRange {
    /// Status codes from the first to the last.
    Codes(u16, u16),
    /// Spans whose status is an error, with or without a status code.
    Error,
}

/// Why a view's filter makes no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ViewError {
    /// Not a status.
    #[error(
        "not a status: give a code such as 404, a class such as 5xx, a comparison such as >=400, a range such as 400-499, or `error`"
    )]
    Status,
    /// Not a duration.
    #[error("not a duration: give a number with a unit, such as 250ms; the units are ns, us, ms, s, m")]
    Duration,
    /// Not a path.
    #[error("not a path: give one that begins with / or *, such as /api or /api/*/items")]
    Path,
}

impl SpanFilter {
    /// Adds a path or a pattern of paths.
    pub fn add_path(&mut self, path: &str) -> Result<(), ViewError> {
        if !path.starts_with(['/', '*', '?']) {
            return Err(ViewError::Path);
        }
        self.paths.push(path.to_owned());
        Ok(())
    }

    /// Whether there is no rule at all.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether a view shows this span.
    pub fn shows(&self, span: &Span) -> bool {
        let Self { paths, statuses, min_duration, services } = self;
        let long_enough = min_duration
            .is_none_or(|shortest| u128::from(span.end_ns.saturating_sub(span.start_ns)) >= shortest.as_nanos());
        long_enough
            && (services.is_empty() || services.iter().any(|wanted| glob::matches(wanted, &span.resource.service)))
            && (statuses.is_empty() || statuses.iter().any(|wanted| wanted.covers(span)))
            && (paths.is_empty() || path(span).is_some_and(|path| paths.iter().any(|wanted| path_fits(wanted, path))))
    }
}

impl StatusRange {
    /// Reads `404`, `5xx`, `>=400`, `>400`, `<500`, `<=499`, `400-499` or `error`.
    pub fn parse(text: &str) -> Result<Self, ViewError> {
        let text = text.trim();
        if text.eq_ignore_ascii_case("error") {
            return Ok(Self::Error);
        }
        let (first, last) = if let Some(code) = text.strip_prefix(">=") {
            (code_of(code)?, 999)
        } else if let Some(code) = text.strip_prefix("<=") {
            (100, code_of(code)?)
        } else if let Some(code) = text.strip_prefix('>') {
            (code_of(code)? + 1, 999)
        } else if let Some(code) = text.strip_prefix('<') {
            (100, code_of(code)? - 1)
        } else if let Some((first, last)) = text.split_once('-') {
            (code_of(first)?, code_of(last)?)
        } else if let Some(class) = text.strip_suffix("xx").or_else(|| text.strip_suffix("XX")) {
            let class = class.parse::<u16>().ok().filter(|class| (1..=9).contains(class)).ok_or(ViewError::Status)?;
            (class * 100, class * 100 + 99)
        } else {
            (code_of(text)?, code_of(text)?)
        };
        if first > last { Err(ViewError::Status) } else { Ok(Self::Codes(first, last)) }
    }

    fn covers(self, span: &Span) -> bool {
        match self {
            Self::Error => span.status == Status::Error,
            Self::Codes(first, last) => {
                let code = attribute(span, "http.response.status_code");
                matches!(code, Some(Value::Int(code)) if (i64::from(first)..=i64::from(last)).contains(code))
            }
        }
    }
}

fn code_of(text: &str) -> Result<u16, ViewError> {
    text.trim().parse().ok().filter(|code| (100..=999).contains(code)).ok_or(ViewError::Status)
}

/// Reads a duration such as `250ms`, `1.5s`, `10us`; the units are ns, us, ms, s and m. A number without a unit is
/// refused, for nobody agrees which one is meant.
pub fn parse_duration(text: &str) -> Result<Duration, ViewError> {
    let text = text.trim();
    let unit_at = text.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or(ViewError::Duration)?;
    let (number, unit) = text.split_at(unit_at);
    let unit_seconds = match unit.trim() {
        "ns" => 1e-9,
        "us" | "µs" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        _ => return Err(ViewError::Duration),
    };
    let number: f64 = number.parse().map_err(|_| ViewError::Duration)?;
    Duration::try_from_secs_f64(number * unit_seconds).map_err(|_| ViewError::Duration)
}

fn attribute<'a>(span: &'a Span, name: &str) -> Option<&'a Value> {
    span.attributes.iter().find(|(key, _)| key == name).map(|(_, value)| value)
}

/// The path: `url.path` where there is one, else the path within `url.full`.
fn path(span: &Span) -> Option<&str> {
    if let Some(Value::Text(path)) = attribute(span, "url.path") {
        return Some(path);
    }
    let Some(Value::Text(full)) = attribute(span, "url.full") else { return None };
    let (_, after_scheme) = full.split_once("://")?;
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

#[cfg(test)]
mod tests {
    use std::{borrow::Cow, sync::Arc};

    use super::*;
    use crate::span::{Kind, Resource, SpanId, TraceId};

    fn span(attributes: Vec<(&'static str, Value)>) -> Span {
        Span {
            trace_id: TraceId([1; 16]),
            span_id: SpanId([1; 8]),
            parent: None,
            parent_is_remote: false,
            trace_state: String::new(),
            kind: Kind::Server,
            name: "GET".into(),
            start_ns: 1_000_000,
            end_ns: 3_000_000,
            status: Status::Unset,
            resource: Arc::new(Resource { service: "shop".into(), attributes: Vec::new() }),
            pid: 1,
            tid: 1,
            incomplete: None,
            link: None,
            links: Vec::new(),
            attributes: attributes.into_iter().map(|(key, value)| (Cow::Borrowed(key), value)).collect(),
        }
    }

    fn with_status(code: i64) -> Span {
        span(vec![("http.response.status_code", Value::Int(code))])
    }

    #[test]
    fn statuses_are_read_as_people_write_them() {
        for (text, expected) in [
            ("404", Ok(StatusRange::Codes(404, 404))),
            ("5xx", Ok(StatusRange::Codes(500, 599))),
            (">=400", Ok(StatusRange::Codes(400, 999))),
            ("> 400", Ok(StatusRange::Codes(401, 999))),
            ("<400", Ok(StatusRange::Codes(100, 399))),
            ("<=399", Ok(StatusRange::Codes(100, 399))),
            ("400-499", Ok(StatusRange::Codes(400, 499))),
            ("error", Ok(StatusRange::Error)),
            ("0xx", Err(ViewError::Status)),
            ("99", Err(ViewError::Status)),
            ("<100", Err(ViewError::Status)),
            ("500-400", Err(ViewError::Status)),
            ("bad", Err(ViewError::Status)),
        ] {
            assert_eq!(StatusRange::parse(text), expected, "{text}");
        }
    }

    #[test]
    fn durations_need_a_unit() {
        for (text, expected) in [
            ("250ms", Ok(Duration::from_millis(250))),
            ("1.5s", Ok(Duration::from_millis(1500))),
            ("10 us", Ok(Duration::from_micros(10))),
            ("2m", Ok(Duration::from_mins(2))),
            ("250", Err(ViewError::Duration)),
            ("ms", Err(ViewError::Duration)),
            ("-1s", Err(ViewError::Duration)),
            ("1h", Err(ViewError::Duration)),
        ] {
            assert_eq!(parse_duration(text), expected, "{text}");
        }
    }

    #[test]
    fn a_plain_path_covers_what_is_below_and_a_pattern_the_whole() {
        for (wanted, path, expected) in [
            ("/api", "/api", true),
            ("/api", "/api/items", true),
            ("/api", "/apiary", false),
            ("/api/", "/api/items", true),
            ("/", "/anything", true),
            ("/api/*", "/api/items", true),
            ("*/items", "/api/items", true),
            ("/api/*", "/other", false),
        ] {
            let mut filter = SpanFilter::default();
            filter.add_path(wanted).expect("a path");
            let value = Value::Text(path.to_owned().into());
            assert_eq!(filter.shows(&span(vec![("url.path", value)])), expected, "{wanted} on {path}");
        }
        assert_eq!(SpanFilter::default().add_path("api"), Err(ViewError::Path));
    }

    #[test]
    fn a_client_span_is_found_by_the_path_in_its_url() {
        let filter = SpanFilter { paths: vec!["/api".into()], ..SpanFilter::default() };
        let full = |url: &'static str| span(vec![("url.full", Value::Text(url.into()))]);
        assert!(filter.shows(&full("http://shop:80/api/x?k=v")));
        assert!(!filter.shows(&full("http://api/other")));
        assert!(!filter.shows(&full("http://shop")));
        assert!(!filter.shows(&span(Vec::new())));
    }

    #[test]
    fn status_duration_and_service_narrow_each_other() {
        let filter =
            |text| SpanFilter { statuses: vec![StatusRange::parse(text).expect("a status")], ..SpanFilter::default() };
        assert!(filter("5xx").shows(&with_status(503)) && !filter("5xx").shows(&with_status(404)));
        assert!(!filter("error").shows(&with_status(503)), "the span's own status decides");
        let failed = Span { status: Status::Error, ..span(Vec::new()) };
        assert!(filter("error").shows(&failed) && !filter("5xx").shows(&failed));

        let slow = |ms| SpanFilter { min_duration: Some(Duration::from_millis(ms)), ..SpanFilter::default() };
        assert!(slow(2).shows(&with_status(200)) && !slow(3).shows(&with_status(200)));

        let service = |name: &str| SpanFilter { services: vec![name.into()], ..filter("2xx") };
        assert!(service("sh*").shows(&with_status(200)) && !service("cart").shows(&with_status(200)));
        assert!(!service("shop").shows(&with_status(500)));
        assert!(SpanFilter::default().is_empty() && SpanFilter::default().shows(&span(Vec::new())));
    }
}
