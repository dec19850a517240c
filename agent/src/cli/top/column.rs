//! Columns of the tables of `netspan top`.

use std::{cmp::Ordering, time::Duration};

use serde_json::Value as Json;

use crate::cli::table::{duration, rate, share, text};

/// A column.
pub struct Column {
    /// Title.
    pub title: &'static str,
    /// Width, or nothing for what takes the room that is left.
    pub width: Option<u16>,
    /// Numbers are at the right edge, and the largest come first.
    pub is_number: bool,
    /// What is shown of a row.
    pub show: fn(&Json) -> String,
    /// What orders it, where that is a number.
    value: fn(&Json) -> Option<f64>,
}

impl Column {
    /// The order of two rows.
    pub fn order(&self, one: &Json, other: &Json) -> Ordering {
        if self.is_number {
            let value = |row| (self.value)(row).unwrap_or(f64::NEG_INFINITY);
            value(one).total_cmp(&value(other))
        } else {
            (self.show)(one).cmp(&(self.show)(other))
        }
    }
}

const fn number(title: &'static str, width: u16, show: fn(&Json) -> String, value: fn(&Json) -> Option<f64>) -> Column {
    Column { title, width: Some(width), is_number: true, show, value }
}

const fn words(title: &'static str, width: Option<u16>, show: fn(&Json) -> String) -> Column {
    Column { title, width, is_number: false, show, value: |_| None }
}

/// Of groups.
pub const GROUP_COLUMNS: [Column; 8] = [
    words("name", None, |row| text(&row["name"])),
    number("count", 9, |row| row["count"].to_string(), |row| row["count"].as_f64()),
    number("per s", 9, |row| rate(&row["rate"]), |row| row["rate"].as_f64()),
    number("errors", 8, |row| row["errors"].to_string(), |row| row["errors"].as_f64()),
    number("share", 7, |row| share(&row["error_share"]), |row| row["error_share"].as_f64()),
    number("p50", 9, |row| duration(&row["p50_ns"]), |row| row["p50_ns"].as_f64()),
    number("p99", 9, |row| duration(&row["p99_ns"]), |row| row["p99_ns"].as_f64()),
    number("bytes", 12, |row| row["bytes"].to_string(), |row| row["bytes"].as_f64()),
];

/// Of spans.
pub const SPAN_COLUMNS: [Column; 7] = [
    number("time", 12, clock, |row| row["start_ns"].as_f64()),
    words("kind", Some(6), |row| text(&row["kind"]).to_lowercase()),
    words("service", Some(20), |row| text(&row["service"])),
    words("name", None, what),
    number(
        "status",
        6,
        |row| status(row).map(|status| status.to_string()).unwrap_or_default(),
        |row| status(row).map(f64::from),
    ),
    number("took", 9, |row| duration(&took(row).into()), |row| Some(Duration::from_nanos(took(row)).as_secs_f64())),
    words("link", Some(9), |row| text(&row["link"]["method"])),
];

fn status(row: &Json) -> Option<u32> {
    row["attributes"]["http.response.status_code"].as_u64().and_then(|status| status.try_into().ok())
}

/// How long a span took, in nanoseconds.
pub fn took(row: &Json) -> u64 {
    row["end_ns"].as_u64().unwrap_or(0).saturating_sub(row["start_ns"].as_u64().unwrap_or(0))
}

/// The name, and what was asked for where the name does not say it: a server's span has the path, a client's the URL.
pub fn what(row: &Json) -> String {
    let (name, attributes) = (text(&row["name"]), &row["attributes"]);
    let asked = attributes["url.path"].as_str().or_else(|| attributes["url.full"].as_str());
    match asked {
        Some(asked) if !name.contains('/') => format!("{name} {asked}"),
        _ => name,
    }
}

/// Time of day, in this host's zone.
fn clock(row: &Json) -> String {
    let ns = row["start_ns"].as_u64().map_or(0, i128::from);
    let time = jiff::Timestamp::from_nanosecond(ns).unwrap_or_default();
    time.to_zoned(jiff::tz::TimeZone::system()).strftime("%H:%M:%S%.3f").to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_was_asked_for_is_said_once() {
        for (name, attribute, expected) in [
            ("GET", "url.path", "GET /a"),
            ("GET", "url.full", "GET /a"),
            ("GET /{id}", "url.path", "GET /{id}"),
            ("GET", "none", "GET"),
        ] {
            assert_eq!(what(&json!({"name": name, "attributes": {attribute: "/a"}})), expected);
        }
    }
}
