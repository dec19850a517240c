//! Reading spans: JSON objects, one to a line. Of each span the names are kept as numbers and the line as it is.

use std::borrow::Cow;

use rustc_hash::FxHashMap;
use serde::Deserialize;

use super::Counts;

/// Longest line that is looked at, in bytes.
pub const LINE_MAX: usize = 1 << 20;

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    span_id: Cow<'a, str>,
    #[serde(borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow, default)]
    service: Cow<'a, str>,
    #[serde(borrow, default)]
    process: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    name: Cow<'a, str>,
    #[serde(borrow, default)]
    peer_span_id: Option<Cow<'a, str>>,
    start_ns: u64,
    end_ns: u64,
    #[serde(borrow, default)]
    thread: Option<Thread<'a>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Thread<'a> {
    Number(u64),
    Name(#[serde(borrow)] Cow<'a, str>),
}

/// A span.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    /// Number of its id.
    pub id: u32,
    /// Number of the id of the other end.
    pub peer: Option<u32>,
    /// Whether it is a server's.
    pub is_server: bool,
    /// Number of its process.
    pub process: u32,
    /// Number of its name.
    pub name: u32,
    /// Number of its thread.
    pub thread: Option<u64>,
    /// Start, in nanoseconds.
    pub start_ns: u64,
    /// End, in nanoseconds.
    pub end_ns: u64,
    /// Whether it takes part: it has an id of its own, and does not end before it starts.
    pub is_sound: bool,
}

/// Texts as numbers.
#[derive(Debug, Default)]
struct Names<'a> {
    numbers: FxHashMap<Cow<'a, str>, u32>,
}

impl<'a> Names<'a> {
    fn number(&mut self, text: Cow<'a, str>) -> u32 {
        let next = self.numbers.len() as u32;
        *self.numbers.entry(text).or_insert(next)
    }
}

/// All spans that were read.
#[derive(Debug)]
pub struct Spans<'a> {
    text: &'a [u8],
    /// The spans, in the order of their lines.
    pub all: Vec<Span>,
    /// Where each line begins and ends, and the span that it is.
    lines: Vec<(usize, usize, Option<u32>)>,
    /// All ids, those of others' ends included.
    ids: Vec<Cow<'a, str>>,
}

impl<'a> Spans<'a> {
    /// Reads all lines.
    pub fn read(text: &'a [u8], counts: &mut Counts) -> Self {
        let mut spans = Self { text, all: Vec::new(), lines: Vec::new(), ids: Vec::new() };
        let [mut ids, mut names, mut processes, mut threads] = [(); 4].map(|()| Names::default());
        let mut seen: Vec<bool> = Vec::new();
        let mut from = 0;
        while from < text.len() {
            let rest = text.get(from..).unwrap_or(&[]);
            let length = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
            let line = rest.get(..length).unwrap_or(&[]);
            let to = from + length;
            let read = (line.len() <= LINE_MAX).then(|| serde_json::from_slice::<Line<'a>>(line).ok()).flatten();
            let is_server = read.as_ref().and_then(|line| match &*line.kind {
                "server" => Some(true),
                "client" => Some(false),
                _ => None,
            });
            if let (Some(line), Some(is_server)) = (read, is_server) {
                let id = ids.number(line.span_id);
                let peer = line.peer_span_id.map(|peer| ids.number(peer));
                seen.resize(ids.numbers.len(), false);
                let is_new = seen.get_mut(id as usize).is_some_and(|seen| !std::mem::replace(seen, true));
                let forward = line.start_ns <= line.end_ns;
                counts.spans += 1;
                counts.duplicate += u64::from(!is_new);
                counts.backwards += u64::from(is_new && !forward);
                spans.lines.push((from, to, Some(spans.all.len() as u32)));
                spans.all.push(Span {
                    id,
                    peer,
                    is_server,
                    process: processes.number(line.process.unwrap_or(line.service)),
                    name: names.number(line.name),
                    thread: line.thread.map(|thread| match thread {
                        Thread::Number(number) => number,
                        // Above all numbers of threads.
                        Thread::Name(name) => (1 << 63) | u64::from(threads.number(name)),
                    }),
                    start_ns: line.start_ns,
                    end_ns: line.end_ns,
                    is_sound: is_new && forward,
                });
            } else if line.iter().all(u8::is_ascii_whitespace) {
                // An empty line is nothing.
            } else {
                counts.unreadable += 1;
                spans.lines.push((from, to, None));
            }
            from = to + 1;
        }
        spans.ids = vec![Cow::Borrowed(""); ids.numbers.len()];
        for (text, number) in ids.numbers {
            if let Some(id) = spans.ids.get_mut(number as usize) {
                *id = text;
            }
        }
        spans
    }

    /// How many different ids there are.
    pub const fn ids(&self) -> usize {
        self.ids.len()
    }

    /// Each line, and the span that it is.
    pub fn lines(&self) -> impl Iterator<Item = (&'a [u8], Option<u32>)> + '_ {
        self.lines.iter().map(|(from, to, span)| (self.text.get(*from..*to).unwrap_or(&[]), *span))
    }

    /// The id of a span.
    pub fn id(&self, span: u32) -> &str {
        let id = self.all.get(span as usize).and_then(|span| self.ids.get(span.id as usize));
        id.map_or("", |id| id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Spans<'_>, Counts) {
        let mut counts = Counts::default();
        (Spans::read(text.as_bytes(), &mut counts), counts)
    }

    #[test]
    fn what_is_no_span_is_counted_and_kept_as_a_line() {
        let good = r#"{"span_id":"a","kind":"server","service":"s","process":"p","name":"n","start_ns":1,"end_ns":2}"#;
        for bad in [
            "{",
            "[]",
            "null",
            r#"{"span_id":"a"}"#,
            r#"{"span_id":1,"kind":"server","start_ns":1,"end_ns":2}"#,
            r#"{"span_id":"b","kind":"producer","start_ns":1,"end_ns":2}"#,
            r#"{"span_id":"b","kind":"server","start_ns":-1,"end_ns":2}"#,
            "\u{0}\u{1}",
            "{\"span_id\":\"\\ud800\"}",
        ] {
            let text = format!("{bad}\n{good}\n\n  \n");
            let (spans, counts) = read(&text);
            assert_eq!((counts.unreadable, counts.spans, spans.lines().count()), (1, 1, 2), "{bad}");
        }
    }

    #[test]
    fn an_id_that_was_seen_and_a_time_that_runs_backwards_are_not_sound() {
        let line = |id: &str, start: u64, end: u64| {
            format!(r#"{{"span_id":"{id}","kind":"client","name":"n","start_ns":{start},"end_ns":{end}}}"#)
        };
        let text = [line("a", 1, 2), line("a", 1, 2), line("b", 3, 2), line("\\u0063", 1, 1)].join("\n");
        let (spans, counts) = read(&text);
        assert_eq!((counts.spans, counts.duplicate, counts.backwards), (4, 1, 1));
        assert_eq!(spans.all.iter().map(|span| span.is_sound).collect::<Vec<_>>(), [true, false, false, true]);
        assert_eq!(spans.id(3), "c");
    }

    #[test]
    fn threads_have_numbers_or_names() {
        let line = |thread: &str| {
            format!(r#"{{"span_id":"{}","kind":"server","start_ns":1,"end_ns":2,"thread":{thread}}}"#, thread.len())
        };
        for (thread, number) in [("7", Some(7)), (r#""main""#, Some(1 << 63)), ("null", None)] {
            let text = line(thread);
            assert_eq!(read(&text).0.all.first().map(|span| span.thread), Some(number), "{thread}");
        }
    }
}
