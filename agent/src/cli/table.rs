//! Tables on standard output: columns as wide as what is in them, text from the network made safe.

use std::io::{self, Write as _};

use serde_json::Value as Json;

use crate::export::terminal::{brief, clean, columns};

/// To which edge a column goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edge {
    /// Text.
    Left,
    /// Numbers.
    Right,
}

/// Rows below a line of titles.
fn table(titles: &[(&str, Edge)], rows: &[Vec<String>]) -> String {
    let rows: Vec<Vec<_>> = rows.iter().map(|row| row.iter().map(|cell| clean(cell)).collect()).collect();
    let width = |at: usize| {
        let cells = rows.iter().filter_map(|row| row.get(at)).map(|cell| columns(cell));
        cells.chain([columns(titles[at].0)]).max().unwrap_or(0)
    };
    let widths: Vec<_> = (0..titles.len()).map(width).collect();
    let mut text = String::new();
    let mut line = |cells: &mut dyn Iterator<Item = &str>| {
        let mut line = String::new();
        for ((cell, width), (_, edge)) in cells.zip(&widths).zip(titles) {
            let pad = " ".repeat(width - columns(cell));
            let (before, after) = if *edge == Edge::Right { (pad.as_str(), "") } else { ("", pad.as_str()) };
            line.extend([before, cell, after, "  "]);
        }
        text.push_str(line.trim_end());
        text.push('\n');
    };
    line(&mut titles.iter().map(|(title, _)| *title));
    for row in &rows {
        line(&mut row.iter().map(AsRef::as_ref));
    }
    text
}

/// Writes to standard output; whoever read having gone away is no error.
pub fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
        _ => Ok(()),
    }
}

/// A text of an answer.
pub fn text(json: &Json) -> String {
    json.as_str().unwrap_or_default().to_owned()
}

/// A duration of an answer, in nanoseconds there.
#[expect(clippy::cast_sign_loss, reason = "durations are positive")]
pub fn duration(json: &Json) -> String {
    json.as_f64().map(|ns| brief(ns as u64)).unwrap_or_default()
}

/// Writes rows below a line of titles to standard output, and a line to standard error where there are none.
pub fn show(titles: &[(&str, Edge)], rows: &[Vec<String>]) -> io::Result<()> {
    print(&table(titles, rows))?;
    if rows.is_empty() {
        eprintln!("netspan: nothing that the agent keeps fits; fewer filters or a longer time may find more");
    }
    Ok(())
}

/// Bytes of an answer.
#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
pub fn bytes(json: &Json) -> String {
    let bytes = json.as_u64().unwrap_or(0);
    let units = [("GB", 1_000_000_000), ("MB", 1_000_000), ("kB", 1_000)];
    match units.into_iter().find(|(_, unit)| bytes >= *unit) {
        None => format!("{bytes} B"),
        Some((name, unit)) => {
            let number = bytes as f64 / unit as f64;
            if number >= 100.0 { format!("{number:.0} {name}") } else { format!("{number:.1} {name}") }
        }
    }
}

/// A rate of an answer, per second.
pub fn rate(json: &Json) -> String {
    let rate = json.as_f64().unwrap_or(0.0);
    if rate >= 100.0 { format!("{rate:.0}") } else { format!("{rate:.2}") }
}

/// A share of an answer, as percents.
pub fn share(json: &Json) -> String {
    format!("{:.1}%", json.as_f64().unwrap_or(0.0) * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_shown_in_the_largest_unit_that_they_fill() {
        for (number, expected) in
            [(0, "0 B"), (999, "999 B"), (1_500, "1.5 kB"), (187_431_866, "187 MB"), (2_000_000_000, "2.0 GB")]
        {
            assert_eq!(bytes(&Json::from(number)), expected);
        }
    }

    #[test]
    fn columns_are_as_wide_as_their_cells_and_nothing_controls_the_terminal() {
        let rows = [vec!["a".to_owned(), "1".to_owned()], vec!["b\u{1b}[31m".to_owned(), "1000".to_owned()]];
        let text = table(&[("name", Edge::Left), ("n", Edge::Right)], &rows);
        assert_eq!(text, "name            n\na               1\nb\\u{1b}[31m  1000\n");
        assert!(!text.contains('\u{1b}'));
    }
}
