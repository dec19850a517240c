//! What a filter asks of attributes: each condition names the attributes that it is about and judges one value at a time,
//! so that the store can judge each distinct value of a column once.

use super::{SpanFilter, StatusRange};
use crate::{
    control::glob,
    span::{Link, Resource, Status, Value},
};

/// Attributes that hold a path, in the order in which they count.
pub const PATHS: [&str; 2] = ["url.path", "url.full"];
/// Attributes that hold a status code.
const CODES: &[&str] = &["http.response.status_code"];
/// Attributes that hold a port.
const PORTS: &[&str] = &["server.port", "network.peer.port", "network.local.port", "client.port"];
/// Attributes that name the other side.
const PEERS: &[&str] = &["network.peer.address", "server.address", "client.address"];

/// Attributes that spans are shown with, but which are fields of theirs: how its parent was found, and why it is not the whole truth.
const FIELDS: [&str; 2] = ["netspan.link.method", "netspan.incomplete"];

/// What names of attributes begin with that are a process's, not a span's.
const OF_PROCESSES: [&str; 7] = ["cloud.", "container.", "host.", "k8s.", "os.", "process.", "service."];

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
    /// This attribute with any value.
    Has(&'a str),
}

impl<'a> Condition<'a> {
    /// The conditions of a filter, those first that cost little to judge: few values, or one that a filter knows.
    pub(super) fn of(filter: &'a SpanFilter) -> Vec<Self> {
        let mut all = Vec::new();
        if !filter.statuses.is_empty() {
            all.push(Self::Status(&filter.statuses));
        }
        all.extend(filter.has.iter().map(|name| Self::Has(name)));
        all.extend(filter.attributes.iter().map(|(name, value)| Self::Equals(name, value)));
        if !filter.peers.is_empty() {
            all.push(Self::Peer(&filter.peers));
        }
        if !filter.ports.is_empty() {
            all.push(Self::Port(&filter.ports));
        }
        if !filter.paths.is_empty() {
            all.push(Self::Path(&filter.paths));
        }
        all
    }

    /// Whether it is about the attribute of this name.
    pub fn is_about(&self, name: &str) -> bool {
        match self {
            Self::Path(_) => PATHS.contains(&name),
            Self::Status(_) => CODES.contains(&name),
            Self::Port(_) => PORTS.contains(&name),
            Self::Peer(_) => PEERS.contains(&name),
            Self::Equals(wanted, _) | Self::Has(wanted) => *wanted == name,
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
            Self::Has(_) => true,
            Self::Status(_) | Self::Port(_) => false,
        }
    }

    /// Whether a value fulfils it.
    pub fn holds(&self, value: &Value) -> bool {
        match (self, value) {
            (_, Value::Text(text)) => self.holds_text(text),
            (Self::Has(_), _) => true,
            (Self::Status(ranges), Value::Int(code)) => ranges.iter().any(|range| match range {
                StatusRange::Codes(first, last) => (i64::from(*first)..=i64::from(*last)).contains(code),
                StatusRange::Error | StatusRange::Ok => false,
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

    /// Whether what a span has beside its attributes fulfils it.
    pub fn admits_fields(&self, status: Status, link: Option<Link>, incomplete: Option<&str>) -> bool {
        let field = |name: &str| {
            if name == FIELDS[0] {
                link.map(|link| link.method.name())
            } else {
                incomplete.filter(|_| name == FIELDS[1])
            }
        };
        match self {
            Self::Status(ranges) => {
                ranges.contains(if status == Status::Error { &StatusRange::Error } else { &StatusRange::Ok })
            }
            Self::Equals(name, wanted) => field(name) == Some(wanted),
            Self::Has(name) => field(name).is_some(),
            _ => false,
        }
    }

    /// Whether what its process has fulfils it.
    pub fn admits_resource(&self, resource: &Resource) -> bool {
        let (Self::Equals(wanted, _) | Self::Has(wanted)) = self else { return false };
        (*wanted == "service.name" && self.holds_text(&resource.service))
            || resource.attributes.iter().any(|(name, value)| name == wanted && self.holds(value))
    }

    /// The name of the attribute that has to be there, where that is all.
    pub const fn presence(&self) -> Option<&'a str> {
        match self {
            Self::Has(name) => Some(name),
            _ => None,
        }
    }

    /// The one attribute of a span and its value that it asks for, where that is all.
    pub fn exactly(&self) -> Option<(&'a str, &'a str)> {
        match self {
            Self::Equals(name, value) => {
                let is_elsewhere =
                    FIELDS.contains(name) || OF_PROCESSES.iter().any(|beginning| name.starts_with(beginning));
                if is_elsewhere { None } else { Some((*name, *value)) }
            }
            _ => None,
        }
    }

    /// For each path or address that is asked for what a text has to contain to be one, where that is known of all.
    pub fn literals(&self) -> Option<Vec<&'a str>> {
        let (Self::Path(wanted) | Self::Peer(wanted)) = self else { return None };
        let literal = |pattern: &'a String| pattern.split(['*', '?']).max_by_key(|literal| literal.len());
        wanted.iter().map(|pattern| literal(pattern).filter(|literal| !literal.is_empty())).collect()
    }

    /// For each path that is asked for the marks ([`marks`]) of which a path has to have all to be one, where it has any.
    pub fn marks(&self) -> Option<Vec<Vec<Mark<'a>>>> {
        match self {
            Self::Path(wanted) => {
                wanted.iter().map(|wanted| Some(wanted_marks(wanted)).filter(|marks| !marks.is_empty())).collect()
            }
            _ => None,
        }
    }
}

/// Whether an attribute of this name is searched for texts with wildcards: paths and names of the other side.
pub fn is_searched(name: &str) -> bool {
    PATHS.contains(&name) || PEERS.contains(&name)
}

/// What a filter of a block's paths knows: that one of them begins so, or has such a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mark<'a> {
    /// What is above one of its slashes, or itself.
    Beginning(&'a str),
    /// What is between two slashes, or behind the last.
    Segment(&'a str),
    /// More than [`MARKS_MAX`] segments, of which only the first are marks.
    Deep,
}

/// Marks of each sort that a path has at most: the first ones.
const MARKS_MAX: usize = 8;

/// The marks of the path in an attribute, where it is one that holds a path. What lies below a path has it as a beginning.
pub fn marks<'a>(name: &str, text: &'a str) -> impl Iterator<Item = Mark<'a>> {
    let path = if PATHS.contains(&name) { path(text) } else { None };
    path.into_iter().flat_map(|path| {
        let is_deep = path.split('/').nth(MARKS_MAX + 1).is_some();
        let segments = path.split('/').skip(1).take(MARKS_MAX).map(Mark::Segment);
        beginnings(path).map(Mark::Beginning).chain(segments).chain(is_deep.then_some(Mark::Deep))
    })
}

fn beginnings(path: &str) -> impl Iterator<Item = &str> {
    let slashes = path.match_indices('/').filter(|(at, _)| *at > 0);
    slashes.filter_map(|(at, _)| path.get(..at)).chain([path]).take(MARKS_MAX)
}

/// The marks that every path has which a rule for paths admits.
fn wanted_marks(wanted: &str) -> Vec<Mark<'_>> {
    let Some(wildcard) = wanted.find(['*', '?']) else {
        let beginning = beginnings(wanted.strip_suffix('/').unwrap_or(wanted)).last();
        return beginning.filter(|beginning| !beginning.is_empty()).map(Mark::Beginning).into_iter().collect();
    };
    let above = wanted.get(..wildcard).and_then(|literal| literal.rsplit_once('/')).map_or("", |(above, _)| above);
    let beginning = beginnings(above).last().filter(|beginning| !beginning.is_empty()).map(Mark::Beginning);
    // A segment that is written out is one of every path, whatever the wildcards stand for.
    let whole = wanted.split('/').skip(1).filter(|segment| !segment.is_empty() && !segment.contains(['*', '?']));
    beginning.into_iter().chain(whole.map(Mark::Segment)).collect()
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
    fn a_path_that_a_rule_admits_has_the_rules_marks_and_literals() {
        let deep = "/1/2/3/4/5/6/7/8/9/10";
        let paths = ["/", "//", "/a", "/a/", "/a/b", "/a/b/c", "/ab", "/a//b", deep, "/1/2/3/4/5/6/7/8", "*", "/ä/ö"];
        let rules = [
            "/a/*",
            "/a*",
            "/*/b",
            "*",
            "?a",
            "/a/?",
            "/1/2/3/4/5/6/7/8/9/*",
            "/ä/?",
            "/a/b*/c",
            "*/10",
            "*/b/*",
            "*b",
        ];
        let mut admitted = 0;
        for wanted in paths.into_iter().chain(rules) {
            let own = [wanted.to_owned()];
            let condition = Condition::Path(&own);
            let wanted_marks = condition.marks().unwrap_or_default().concat();
            let literals = condition.literals().unwrap_or_default();
            for path in paths {
                for (name, text) in [("url.path", path.to_owned()), ("url.full", format!("http://host{path}?q=/x"))] {
                    if !condition.holds_text(&text) {
                        continue;
                    }
                    admitted += 1;
                    let own: Vec<_> = marks(name, &text).collect();
                    for mark in &wanted_marks {
                        let is_deep = matches!(mark, Mark::Segment(_)) && own.contains(&Mark::Deep);
                        assert!(own.contains(mark) || is_deep, "{wanted} admits {text}, which has not {mark:?}");
                    }
                    assert!(literals.iter().all(|literal| text.contains(literal)), "{wanted} admits {text}");
                }
            }
        }
        assert!(admitted > 30, "{admitted}");
    }

    #[test]
    fn a_rule_for_paths_has_the_marks_that_it_writes_out() {
        use Mark::{Beginning, Segment};
        for (wanted, expected) in [
            ("/api/items/17", &[Beginning("/api/items/17")][..]),
            ("/api/", &[Beginning("/api")]),
            ("/api/it*", &[Beginning("/api"), Segment("api")]),
            ("/api/*/17", &[Beginning("/api"), Segment("api"), Segment("17")]),
            ("*/items", &[Segment("items")]),
            ("/", &[]),
            ("/*", &[]),
            ("*items*", &[]),
            ("/1/2/3/4/5/6/7/8/9", &[Beginning("/1/2/3/4/5/6/7/8")]),
        ] {
            assert_eq!(wanted_marks(wanted), expected, "{wanted}");
        }
        assert_eq!(marks("user_agent.original", "/a/b").count(), 0);
        let expected = [Beginning("/a"), Beginning("/a/b"), Segment("a"), Segment("b")];
        assert_eq!(marks("url.path", "/a/b").collect::<Vec<_>>(), expected);
    }
}
