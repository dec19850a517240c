//! How output looks: width, colours, time zone. It finds nothing out itself; who knows the terminal says it.

use std::fmt;

use jiff::{Timestamp, tz::TimeZone};

/// The width that is taken where there is no terminal to ask.
const WIDTH: usize = 120;
/// Below this width nothing useful fits; longer lines are then left to the terminal.
const WIDTH_MIN: usize = 60;
/// A wider terminal is not filled: eyes lose the row.
const WIDTH_MAX: usize = 200;

/// How output looks.
#[derive(Clone, Debug)]
pub struct Look {
    width: Option<usize>,
    colour: bool,
    zone: TimeZone,
}

impl Look {
    /// For a file or a pipe: no colours, nothing cut off. Stamps are in `zone`.
    pub const fn plain(zone: TimeZone) -> Self {
        Self { width: None, colour: false, zone }
    }

    /// For a terminal with so many columns (absent where it does not tell). Colours unless `no_color`, the variable
    /// `NO_COLOR`, is there and not empty (no-color.org).
    pub fn terminal(columns: Option<u16>, no_color: Option<&str>, zone: TimeZone) -> Self {
        let width = columns.map_or(WIDTH, usize::from).clamp(WIDTH_MIN, WIDTH_MAX);
        Self { width: Some(width), colour: no_color.is_none_or(str::is_empty), zone }
    }

    /// Columns that a line may take; absent where any number will do.
    pub const fn width(&self) -> Option<usize> {
        self.width
    }

    /// Columns that a drawing takes.
    pub fn drawing_width(&self) -> usize {
        self.width.unwrap_or(WIDTH)
    }

    /// `text` in this paint.
    pub const fn paint<T: fmt::Display>(&self, paint: Paint, text: T) -> Painted<T> {
        Painted { paint: if self.colour { paint } else { Paint::Plain }, text }
    }

    /// The time of day of `ns` (since the Unix epoch), in milliseconds.
    pub fn time_of_day(&self, ns: u64) -> String {
        self.stamp(ns, "%H:%M:%S%.3f")
    }

    /// Date and time of day of `ns` (since the Unix epoch), in milliseconds.
    pub fn date_and_time(&self, ns: u64) -> String {
        self.stamp(ns, "%Y-%m-%d %H:%M:%S%.3f")
    }

    fn stamp(&self, ns: u64, format: &str) -> String {
        // All of u64 lies within what a timestamp can be (to the year 2554).
        let stamp = Timestamp::from_nanosecond(i128::from(ns)).unwrap_or(Timestamp::UNIX_EPOCH);
        stamp.to_zoned(self.zone.clone()).strftime(format).to_string()
    }
}

/// What a piece of text means; the colour follows from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paint {
    /// Nothing special.
    Plain,
    /// Beside the point.
    Faint,
    /// What the eye should find.
    Strong,
    /// An error.
    Error,
    /// Not the whole truth, or slow.
    Warning,
    /// Went well.
    Good,
    /// A client's mistake or a redirect: neither good nor bad.
    Notice,
    /// A service, in one of the colours for services.
    Service(u8),
}

/// Colours for services (of the 256-colour palette): blues, violets and sea greens, none of which means anything else.
const SERVICES: [u8; 10] = [39, 44, 75, 79, 111, 141, 151, 170, 175, 180];

impl Paint {
    /// The paint of a service: the same name has the same colour, always.
    pub fn service(name: &str) -> Self {
        Self::Service(SERVICES[favourite(name)])
    }
}

fn favourite(name: &str) -> usize {
    let hash = name.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    (hash >> 8) as usize % SERVICES.len()
}

/// Paints for the services of one drawing: each has its own colour while there are enough, the usual one if it is free.
#[derive(Clone, Debug, Default)]
pub struct Palette {
    given: Vec<(String, usize)>,
}

impl Palette {
    /// Gives the service its paint.
    pub fn add(&mut self, name: &str) {
        if self.given.iter().any(|(known, _)| known == name) {
            return;
        }
        let wish = favourite(name);
        let taken = |colour: &usize| self.given.iter().any(|(_, given)| given == colour);
        let free = (0..SERVICES.len()).map(|step| (wish + step) % SERVICES.len()).find(|colour| !taken(colour));
        self.given.push((name.to_owned(), free.unwrap_or(wish)));
    }

    /// The paint of a service.
    pub fn paint(&self, name: &str) -> Paint {
        let given = self.given.iter().find(|(known, _)| known == name);
        given.map_or_else(|| Paint::service(name), |&(_, colour)| Paint::Service(SERVICES[colour]))
    }
}

/// Text with its paint.
#[derive(Clone, Copy, Debug)]
pub struct Painted<T> {
    paint: Paint,
    text: T,
}

impl<T: fmt::Display> fmt::Display for Painted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.paint {
            Paint::Plain => self.text.fmt(f),
            Paint::Faint => write!(f, "\x1b[2m{}\x1b[0m", self.text),
            Paint::Strong => write!(f, "\x1b[1m{}\x1b[0m", self.text),
            Paint::Error => write!(f, "\x1b[1;31m{}\x1b[0m", self.text),
            Paint::Warning => write!(f, "\x1b[1;33m{}\x1b[0m", self.text),
            Paint::Good => write!(f, "\x1b[32m{}\x1b[0m", self.text),
            Paint::Notice => write!(f, "\x1b[33m{}\x1b[0m", self.text),
            Paint::Service(code) => write!(f, "\x1b[38;5;{code}m{}\x1b[0m", self.text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_for_terminals_that_do_not_object() {
        let painted = |look: Look| look.paint(Paint::Error, "x").to_string();
        assert_eq!(painted(Look::plain(TimeZone::UTC)), "x");
        assert_eq!(painted(Look::terminal(None, None, TimeZone::UTC)), "\x1b[1;31mx\x1b[0m");
        assert_eq!(painted(Look::terminal(None, Some(""), TimeZone::UTC)), "\x1b[1;31mx\x1b[0m");
        assert_eq!(painted(Look::terminal(None, Some("1"), TimeZone::UTC)), "x");
    }

    #[test]
    fn services_of_one_drawing_have_colours_of_their_own() {
        let names: Vec<_> = (0..SERVICES.len()).map(|n| format!("service-{n}")).collect();
        let mut palette = Palette::default();
        names.iter().chain(&names).for_each(|name| palette.add(name));
        let mut paints: Vec<_> = names.iter().map(|name| format!("{:?}", palette.paint(name))).collect();
        paints.sort_unstable();
        paints.dedup();
        assert_eq!(paints.len(), SERVICES.len());
        assert_eq!(palette.paint(&names[0]), Paint::service(&names[0]));
    }

    #[test]
    fn a_width_is_kept_within_what_is_readable() {
        let width = |columns| Look::terminal(columns, None, TimeZone::UTC).width();
        assert_eq!([None, Some(0), Some(100), Some(5000)].map(width), [120, 60, 100, 200].map(Some));
        assert_eq!(Look::plain(TimeZone::UTC).width(), None);
    }

    #[test]
    fn stamps_are_in_the_zone() {
        let zone = TimeZone::fixed(jiff::tz::offset(2));
        let ns = 1_735_689_600_123_999_999;
        assert_eq!(Look::plain(zone.clone()).date_and_time(ns), "2025-01-01 02:00:00.123");
        assert_eq!(Look::plain(TimeZone::UTC).time_of_day(ns), "00:00:00.123");
        assert_eq!(Look::plain(TimeZone::UTC).time_of_day(u64::MAX), "23:34:33.709");
    }
}
