//! One line for each finished span.

use super::{
    clean::{columns, fit},
    describe,
    look::{Look, Paint},
    row::Row,
    units::{DURATION_WIDTH, duration},
};
use crate::span::Span;

const TIME: usize = 12;
const SERVICE: usize = 14;
const STATUS: usize = 3;
const LINK: usize = 13;
const PEER: usize = 21;
const PROCESS: usize = 15;
/// Between columns.
const GAP: usize = 2;
/// The request's column where nothing limits it.
const REQUEST: usize = 40;
/// The request's column is at least so wide while there is a column behind it that can go.
const REQUEST_MIN: usize = 32;
/// A span at least this long is worth a look.
const SLOW_NS: u64 = 1_000_000_000;

/// Prints spans as lines.
#[derive(Clone, Debug)]
pub struct Lines {
    look: Look,
    columns: Columns,
}

/// What a line has room for.
#[derive(Clone, Copy, Debug)]
struct Columns {
    request: usize,
    /// The columns behind the request.
    tail: &'static [Tail],
}

/// A column that goes when there is no room.
#[derive(Clone, Copy, Debug)]
enum Tail {
    Link,
    Peer,
    Process,
}

impl Tail {
    /// All of them; the last is needed least.
    const ALL: [Self; 3] = [Self::Link, Self::Peer, Self::Process];

    const fn head(self) -> (&'static str, usize) {
        match self {
            Self::Link => ("linked by", LINK),
            Self::Peer => ("peer", PEER),
            Self::Process => ("pid/tid", PROCESS),
        }
    }

    fn of(self, span: &Span) -> String {
        match self {
            Self::Link => span.link.map(describe::link).unwrap_or_default(),
            Self::Peer => describe::peer(span),
            Self::Process => format!("{}/{}", span.pid, span.tid),
        }
    }
}

impl Lines {
    /// Lines of this look.
    pub fn new(look: Look) -> Self {
        let columns = Columns::within(look.width());
        Self { look, columns }
    }

    /// Prints in this look from now on (the terminal has another width).
    pub fn set_look(&mut self, look: Look) {
        *self = Self::new(look);
    }

    /// The names of the columns.
    pub fn header(&self, out: &mut String) {
        let mut row = Row::begin(&self.look, out);
        row.left("start", TIME, GAP, Paint::Faint);
        row.left("service", SERVICE + 2, GAP, Paint::Faint);
        row.left("code", STATUS + 1, GAP - 1, Paint::Faint);
        row.right("took ", DURATION_WIDTH, GAP, Paint::Faint);
        row.left("request", self.columns.request, GAP, Paint::Faint);
        for column in self.columns.tail {
            let (name, width) = column.head();
            row.left(name, width, GAP, Paint::Faint);
        }
        row.end();
    }

    /// Appends the line of a span.
    pub fn line(&self, span: &Span, out: &mut String) {
        let (service, status) = (describe::service(span), describe::status(span));
        let took = span.end_ns.saturating_sub(span.start_ns);
        let slow = if took >= SLOW_NS { Paint::Warning } else { Paint::Plain };
        let mut row = Row::begin(&self.look, out);
        row.left(&self.look.time_of_day(span.start_ns), TIME, GAP, Paint::Faint);
        row.left(&service, self.width(SERVICE, &service), 1, Paint::service(&service));
        row.left(describe::arrow(span.kind), 1, GAP, Paint::service(&service));
        row.left(&status, self.width(STATUS, &status), GAP, describe::status_paint(span));
        row.right(&duration(took), DURATION_WIDTH, GAP, slow);
        self.request(&mut row, span);
        for column in self.columns.tail {
            let text = column.of(span);
            row.left(&text, self.width(column.head().1, &text), GAP, Paint::Faint);
        }
        row.end();
    }

    /// Method and path, and the mark of a span that is not the whole truth, which is cut off last.
    fn request(&self, row: &mut Row<'_>, span: &Span) {
        let (request, mark) = (describe::request(span), describe::mark(span).unwrap_or_default());
        let mark = fit(&mark, self.width(self.columns.request, &mark));
        let reserved = if mark.is_empty() { 0 } else { columns(&mark) + 1 };
        let room = self.width(self.columns.request.saturating_sub(reserved), &request);
        let used = columns(&request).min(room);
        row.left(&request, used, usize::from(used > 0 && reserved > 0), Paint::Plain);
        row.text(&mark, Paint::Warning);
        row.gap(self.columns.request.saturating_sub(used + reserved) + GAP);
    }

    /// The width of a column for `text`: as given where lines are cut, else at least that of the text.
    fn width(&self, given: usize, text: &str) -> usize {
        if self.look.width().is_some() { given } else { given.max(columns(text)) }
    }
}

impl Columns {
    /// All columns, less those for which `width` has no room.
    fn within(width: Option<usize>) -> Self {
        let Some(width) = width else { return Self { request: REQUEST, tail: &Tail::ALL } };
        let fixed = TIME + GAP + SERVICE + 1 + 1 + GAP + STATUS + GAP + DURATION_WIDTH + GAP;
        let room = |tail: &[Tail]| {
            let tail: usize = tail.iter().map(|column| column.head().1 + GAP).sum();
            width.saturating_sub(fixed + tail)
        };
        let mut tails = (0..=Tail::ALL.len()).rev().map(|count| &Tail::ALL[..count]);
        let tail = tails.find(|tail| room(tail) >= REQUEST_MIN).unwrap_or_default();
        Self { request: room(tail), tail }
    }
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::*;
    use crate::export::terminal::golden;

    fn printed(look: Look) -> String {
        let (lines, mut out) = (Lines::new(look), String::new());
        lines.header(&mut out);
        golden::shop().iter().chain(&golden::oddities()).for_each(|span| lines.line(span, &mut out));
        out
    }

    #[test]
    fn lines_in_a_pipe_are_whole() {
        golden::check("lines-plain.txt", &printed(Look::plain(TimeZone::UTC)));
    }

    #[test]
    fn lines_on_a_terminal_have_colours() {
        golden::check("lines-140-colour.txt", &printed(Look::terminal(Some(140), None, TimeZone::UTC)));
    }

    #[test]
    fn lines_on_a_narrow_terminal_lose_their_tail() {
        golden::check("lines-80.txt", &printed(Look::terminal(Some(80), Some("1"), TimeZone::UTC)));
        golden::check("lines-100.txt", &printed(Look::terminal(Some(100), Some("1"), TimeZone::UTC)));
    }

    #[test]
    fn no_line_is_wider_than_its_terminal() {
        for width in 60..220 {
            let text = printed(Look::terminal(Some(width), Some("1"), TimeZone::UTC));
            let widest = text.lines().map(columns).max().unwrap_or(0);
            assert!(widest <= usize::from(width), "{widest} in {width}:\n{text}");
        }
    }
}
