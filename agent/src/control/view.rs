//! Filters of finished spans, for views: one set of words for the terminal, the store and its API. They choose what is
//! shown, never what is captured. [`SpanFilter::set`] is the only place that knows the words.

mod condition;

use std::time::Duration;

pub use self::condition::{Condition, Mark, PATHS, is_searched, marks};
use super::glob;
use crate::span::{Kind, Resource, Span, Value};

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
    /// Longest duration to show.
    pub max_duration: Option<Duration>,
    /// Service names, with wildcards.
    pub services: Vec<String>,
    /// Names of spans, with wildcards.
    pub names: Vec<String>,
    /// Kinds.
    pub kinds: Vec<Kind>,
    /// Names of executables, with wildcards.
    pub processes: Vec<String>,
    /// Process ids; descendants are not meant.
    pub pids: Vec<u32>,
    /// Beginnings of container ids.
    pub containers: Vec<String>,
    /// Ports, local or remote, from the first to the last.
    pub ports: Vec<(u16, u16)>,
    /// Addresses or names of the other side, with wildcards.
    pub peers: Vec<String>,
    /// Attributes and their values as text; all have to be there.
    pub attributes: Vec<(String, String)>,
    /// Attributes that have to be there, whatever their values.
    pub has: Vec<String>,
}

/// Statuses to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatusRange {
    /// Status codes from the first to the last.
    Codes(u16, u16),
    /// Spans whose status is an error, with or without a status code.
    Error,
    /// Spans whose status is none.
    Ok,
}

/// Why a view's filter makes no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ViewError {
    /// Not a status.
    #[error(
        "not a status: give a code such as 404, a class such as 5xx, a comparison such as >=400, a range such as 400-499, `error`, or `ok`"
    )]
    Status,
    /// Not a duration.
    #[error("not a duration: give a number with a unit, such as 250ms; the units are ns, us, ms, s, m, h, d")]
    Duration,
    /// Not a path.
    #[error("not a path: give one that begins with / or *, such as /api or /api/*/items")]
    Path,
    /// Not a process id.
    #[error("not a process id: give a number such as 4711")]
    Pid,
    /// Not a port.
    #[error("not a port: give one such as 8080, or a range such as 8000-8099")]
    Port,
    /// Not an attribute.
    #[error("not an attribute: give name=value, such as http.request.method=POST, or the name alone")]
    Attribute,
    /// Not a kind.
    #[error("not a kind: give server or client")]
    Kind,
    /// Not a word of filters.
    #[error(
        "no such filter: there are service, name, kind, process, pid, container, port, peer, path, status, duration, max_duration and attribute"
    )]
    Word,
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

    /// Adds a rule by its word, as every view, flag and query names it.
    pub fn set(&mut self, word: &str, text: &str) -> Result<(), ViewError> {
        match word {
            "service" => self.services.push(text.to_owned()),
            "name" => self.names.push(text.to_owned()),
            "process" => self.processes.push(text.to_owned()),
            "container" => self.containers.push(text.to_owned()),
            "peer" => self.peers.push(text.to_owned()),
            "path" => self.add_path(text)?,
            "kind" => self.kinds.push(match text.to_ascii_lowercase().as_str() {
                "server" => Kind::Server,
                "client" => Kind::Client,
                _ => return Err(ViewError::Kind),
            }),
            "pid" => self.pids.push(text.parse().map_err(|_| ViewError::Pid)?),
            "port" => {
                let (first, last) = text.split_once('-').unwrap_or((text, text));
                let port = |text: &str| text.trim().parse::<u16>().map_err(|_| ViewError::Port);
                self.ports.push((port(first)?, port(last)?));
            }
            "status" => self.statuses.push(StatusRange::parse(text)?),
            "duration" | "min_duration" => {
                let text = text.trim().trim_start_matches(['>', '=']);
                self.min_duration = Some(parse_duration(text)?);
            }
            "max_duration" => self.max_duration = Some(parse_duration(text)?),
            "attribute" => {
                let (name, value) = text.split_once('=').map_or((text, None), |(name, value)| (name, Some(value)));
                let name = Some(name.trim()).filter(|name| !name.is_empty()).ok_or(ViewError::Attribute)?.to_owned();
                match value {
                    Some(value) => self.attributes.push((name, value.to_owned())),
                    None => self.has.push(name),
                }
            }
            _ => return Err(ViewError::Word),
        }
        Ok(())
    }

    /// Whether there are rules by this word.
    pub fn knows(word: &str) -> bool {
        !matches!(Self::default().set(word, ""), Err(ViewError::Word))
    }

    /// Whether a view shows this span.
    pub fn shows(&self, span: &Span) -> bool {
        self.admits_duration(span.end_ns.saturating_sub(span.start_ns))
            && self.admits_form(&span.name, span.kind)
            && self.admits_process(&span.resource, span.pid)
            && self.conditions().iter().all(|condition| {
                condition.admits_fields(span.status, span.link, span.incomplete)
                    || condition.admits_resource(&span.resource)
                    || span.attributes.iter().any(|(key, value)| condition.is_about(key) && condition.holds(value))
            })
    }

    /// Whether spans so long (nanoseconds) are shown.
    pub fn admits_duration(&self, ns: u64) -> bool {
        self.min_duration.is_none_or(|shortest| u128::from(ns) >= shortest.as_nanos())
            && self.max_duration.is_none_or(|longest| u128::from(ns) <= longest.as_nanos())
    }

    /// Whether spans of this name and kind are shown.
    pub fn admits_form(&self, name: &str, kind: Kind) -> bool {
        any(&self.names, |wanted| glob::matches(wanted, name)) && any(&self.kinds, |wanted| *wanted == kind)
    }

    /// Whether spans of this process are shown.
    pub fn admits_process(&self, resource: &Resource, pid: u32) -> bool {
        let text = |name: &str| {
            resource.attributes.iter().find_map(|(key, value)| match value {
                Value::Text(text) if key == name => Some(text.as_ref()),
                _ => None,
            })
        };
        any(&self.services, |wanted| glob::matches(wanted, &resource.service))
            && any(&self.pids, |wanted| *wanted == pid)
            && any(&self.containers, |wanted| text("container.id").is_some_and(|id| id.starts_with(wanted.as_str())))
            && any(&self.processes, |wanted| {
                ["process.executable.name", "process.command"]
                    .into_iter()
                    .any(|name| text(name).is_some_and(|name| glob::matches(wanted, name)))
            })
    }

    /// What attributes have to fulfil; all of them.
    pub fn conditions(&self) -> Vec<Condition<'_>> {
        Condition::of(self)
    }
}

/// Whether any of the rules holds, or there is none.
fn any<T>(rules: &[T], holds: impl FnMut(&T) -> bool) -> bool {
    rules.is_empty() || rules.iter().any(holds)
}

impl StatusRange {
    /// Reads `404`, `5xx`, `>=400`, `>400`, `<500`, `<=499`, `400-499`, `error` or `ok`.
    pub fn parse(text: &str) -> Result<Self, ViewError> {
        let text = text.trim();
        if text.eq_ignore_ascii_case("error") {
            return Ok(Self::Error);
        }
        if text.eq_ignore_ascii_case("ok") {
            return Ok(Self::Ok);
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
}

fn code_of(text: &str) -> Result<u16, ViewError> {
    text.trim().parse().ok().filter(|code| (100..=999).contains(code)).ok_or(ViewError::Status)
}

/// Reads a duration such as `250ms`, `1.5s`, `10us`; the units are ns, us, ms, s, m, h and d. A number without a unit is
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
        "h" => 3600.0,
        "d" => 86_400.0,
        _ => return Err(ViewError::Duration),
    };
    let number: f64 = number.parse().map_err(|_| ViewError::Duration)?;
    Duration::try_from_secs_f64(number * unit_seconds).map_err(|_| ViewError::Duration)
}

/// A duration in nanoseconds; what has no room is the longest that has, 584 years.
pub fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::{borrow::Cow, sync::Arc};

    use super::*;
    use crate::span::{Kind, Link, Method, Resource, SpanId, Status, TraceId};

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
            ("OK", Ok(StatusRange::Ok)),
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
            ("1.5h", Ok(Duration::from_mins(90))),
            ("1d", Ok(Duration::from_hours(24))),
            ("1w", Err(ViewError::Duration)),
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

        let ok = filter("ok");
        assert!(!ok.shows(&failed) && ok.shows(&with_status(404)) && ok.shows(&span(Vec::new())));

        let slow = |ms| SpanFilter { min_duration: Some(Duration::from_millis(ms)), ..SpanFilter::default() };
        assert!(slow(2).shows(&with_status(200)) && !slow(3).shows(&with_status(200)));

        let service = |name: &str| SpanFilter { services: vec![name.into()], ..filter("2xx") };
        assert!(service("sh*").shows(&with_status(200)) && !service("cart").shows(&with_status(200)));
        assert!(!service("shop").shows(&with_status(500)));
        assert!(SpanFilter::default().is_empty() && SpanFilter::default().shows(&span(Vec::new())));
    }

    #[test]
    fn an_attribute_is_asked_for_by_its_name_or_with_its_value() {
        let linked = Span {
            link: Some(Link { method: Method::Token, confidence: 1.0 }),
            incomplete: Some("lost"),
            resource: Arc::new(Resource {
                service: "cart".into(),
                attributes: vec![("host.name".into(), Value::Text("a".into()))],
            }),
            ..span(vec![("rpc.method", Value::Text("Get".into())), ("n", Value::Int(0))])
        };
        let plain = span(Vec::new());
        for (text, of_linked) in [
            ("rpc.method", true),
            ("rpc.method=Get", true),
            ("rpc.method=", false),
            ("n", true),
            ("rpc", false),
            ("netspan.link.method", true),
            ("netspan.link.method=token", true),
            ("netspan.link.method=thread", false),
            ("netspan.incomplete=lost", true),
            ("netspan.incomplete", true),
            ("host.name=a", true),
            ("host.name=b", false),
            ("service.name=cart", true),
        ] {
            let mut filter = SpanFilter::default();
            filter.set("attribute", text).expect("a rule");
            assert_eq!((filter.shows(&linked), filter.shows(&plain)), (of_linked, false), "{text}");
        }
        for text in ["", "=", "=a"] {
            assert_eq!(SpanFilter::default().set("attribute", text), Err(ViewError::Attribute), "{text}");
        }
    }
}
