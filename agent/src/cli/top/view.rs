//! Draws what `netspan top` is at.

use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::{Color, Modifier, Style, Stylize as _},
    text::{Line, Span},
    widgets::{Cell, Clear, Paragraph, Row, Table, TableState},
};
use serde_json::{Map, Value as Json};

use super::{
    app::{App, GROUPINGS, Keys, View},
    column::{Column, took, what},
};
use crate::{
    cli::table::{duration, text},
    export::terminal::clean,
};

/// Where a span's time went, in the order in which it goes there.
const TIMES: &str = "netspan.time.";
/// Columns of the names of attributes, and of the bar of a time.
const NAME_WIDTH: usize = 34;
const BAR_WIDTH: usize = 40;

const KEYS: [(&str, &str); 11] = [
    ("up, down, j, k", "choose a row"),
    ("Enter", "open it: a group's spans, a span's details"),
    ("Esc", "go back"),
    ("Tab", "group by something else"),
    ("<, >", "order by another column"),
    ("r", "turn the order around"),
    ("/", "filter while you type: text, or words such as status=5xx path=/api port=8080 duration=100ms last=5m"),
    ("Space", "hold, go on"),
    ("?", "this"),
    ("q", "quit"),
    ("", ""),
];

/// Draws the whole screen.
pub fn draw(frame: &mut Frame<'_>, app: &App) {
    let parts = [Constraint::Length(1), Constraint::Min(1), Constraint::Length(1)];
    let [head, body, foot] = Layout::vertical(parts).areas(frame.area());
    frame.render_widget(Paragraph::new(title(app)).style(Style::new().add_modifier(Modifier::REVERSED)), head);
    match app.view() {
        View::Span(span) => frame.render_widget(Paragraph::new(details(span)), body),
        View::Groups | View::Spans(..) => rows(frame, body, app),
    }
    frame.render_widget(Paragraph::new(footer(app)), foot);
    if app.keys == Keys::Leave {
        help(frame, body);
    }
}

fn title(app: &App) -> Line<'static> {
    let place = match app.view() {
        View::Groups => format!("netspan top: by {}", app.grouping()),
        View::Spans(name, _) => format!("netspan top: spans of {} {}", app.grouping(), clean(name)),
        View::Span(span) => format!("netspan top: {}", clean(&what(span))),
    };
    let held = if app.paused { "  [held: Space goes on]" } else { "" };
    Line::from(format!(" {place}{held}"))
}

fn footer(app: &App) -> Line<'static> {
    let types = app.keys == Keys::Type;
    if types || !app.filter.is_empty() {
        let cursor = if types { "_" } else { "" };
        let trouble = app.trouble.as_deref().map(|why| format!("   {}", clean(why))).unwrap_or_default();
        return Line::from(vec![format!(" /{}{cursor}", clean(app.filter.text())).bold(), trouble.red()]);
    }
    if let Some(why) = &app.trouble {
        return Line::from(format!(" {}", clean(why))).red();
    }
    let groups =
        if matches!(app.view(), View::Groups) { format!("  Tab {}", GROUPINGS.join("|")) } else { String::new() };
    Line::from(format!(" q quit  ? keys  / filter  Enter open  Esc back  < > order{groups}")).dim()
}

fn rows(frame: &mut Frame<'_>, area: Rect, app: &App) {
    let columns = app.columns();
    let (sort, descending) = app.order();
    let titles = columns.iter().enumerate().map(|(at, column)| {
        let mark = match (at == sort, descending) {
            (false, _) => "",
            (true, true) => "v",
            (true, false) => "^",
        };
        cell(column, format!("{}{mark}", column.title))
    });
    let rows = app.rows();
    if rows.is_empty() {
        let text = match (app.is_answered(), &app.trouble) {
            (true, _) => " nothing of that kind in this time",
            (false, None) => " asking",
            (false, Some(_)) => "",
        };
        frame.render_widget(Paragraph::new(text), area);
        return;
    }
    let lines = rows.iter().map(|row| {
        let cells = columns.iter().map(|column| cell(column, clean(&(column.show)(row)).into_owned()));
        Row::new(cells).style(if is_error(row) { Style::new().fg(Color::Red) } else { Style::new() })
    });
    let widths = columns.iter().map(|column| column.width.map_or(Constraint::Fill(1), Constraint::Length));
    let table = Table::new(lines, widths)
        .header(Row::new(titles).style(Style::new().add_modifier(Modifier::BOLD)))
        .row_highlight_style(Style::new().add_modifier(Modifier::REVERSED));
    let mut state = TableState::default().with_selected(Some(app.selected()));
    frame.render_stateful_widget(table, area, &mut state);
}

fn is_error(row: &Json) -> bool {
    row["status"] == "ERROR" || row["error_share"].as_f64().is_some_and(|share| share >= 0.05)
}

fn cell(column: &Column, text: String) -> Cell<'static> {
    let line = Line::from(text);
    Cell::from(if column.is_number { line.right_aligned() } else { line })
}

/// Everything about one span: who, where its time went, how it was linked, and what it carries.
fn details(span: &Json) -> Vec<Line<'static>> {
    let took = took(span);
    let nothing = Map::new();
    let attributes = span["attributes"].as_object().unwrap_or(&nothing);
    let mut lines = vec![
        pair("service", &text(&span["service"])),
        pair("process", &format!("{} (thread {})", span["pid"], span["tid"])),
        pair("kind", &text(&span["kind"]).to_lowercase()),
        pair("took", &duration(&took.into())),
        pair("trace", &text(&span["trace_id"])),
        pair("parent", &parent(span)),
    ];
    if let Some(why) = span["incomplete"].as_str() {
        lines.push(pair("incomplete", why).red());
    }
    lines.push(Line::default());
    for (name, value) in attributes.iter().filter(|(name, _)| name.starts_with(TIMES)) {
        let ns = value.as_u64().unwrap_or(0);
        let filled = usize::try_from(u128::from(ns) * BAR_WIDTH as u128 / u128::from(took.max(1))).unwrap_or(BAR_WIDTH);
        let bar = "#".repeat(filled.min(BAR_WIDTH));
        let name = name.trim_start_matches(TIMES).replace('_', " ");
        lines.push(Line::from(vec![
            Span::raw(format!(" {:<NAME_WIDTH$} {:>9}  ", clean(&name), duration(value))),
            bar.cyan(),
        ]));
    }
    lines.push(Line::default());
    for (name, value) in attributes.iter().filter(|(name, _)| !name.starts_with(TIMES)) {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        lines.push(pair(name, &value));
    }
    lines
}

fn parent(span: &Json) -> String {
    let Some(parent) = span["parent_span_id"].as_str() else { return "none: it begins the trace".to_owned() };
    let link = &span["link"];
    match link["method"].as_str() {
        Some(method) => format!("{parent}, by {method}, confidence {}", link["confidence"]),
        None => parent.to_owned(),
    }
}

fn pair(name: &str, value: &str) -> Line<'static> {
    Line::from(vec![format!(" {:<NAME_WIDTH$} ", clean(name)).dim(), Span::raw(clean(value).into_owned())])
}

fn help(frame: &mut Frame<'_>, area: Rect) {
    let height = u16::try_from(KEYS.len()).unwrap_or(u16::MAX).min(area.height);
    let area = Rect { height, ..area };
    let lines = KEYS.iter().map(|(key, what)| Line::from(vec![format!(" {key:<16}").bold(), Span::raw(*what)]));
    frame.render_widget(Clear, area);
    frame.render_widget(Paragraph::new(lines.collect::<Vec<_>>()), area);
}
