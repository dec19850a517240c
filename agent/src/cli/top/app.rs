//! What `netspan top` is at, as a value: keys and answers change it, the screen is drawn from it. It asks nobody and draws
//! nothing.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use serde_json::Value as Json;

use super::{
    column::{Column, GROUP_COLUMNS, SPAN_COLUMNS},
    filter::Filter,
};
use crate::store::GroupBy;

/// Spans that are asked for at a time.
const SPANS: usize = 500;

/// What groups are made by, in the order of the keys `Tab` and `Shift-Tab`.
pub const GROUPINGS: [&str; 6] = ["service", "path", "route", "peer", "status", "process"];

/// What is on the screen.
#[derive(Clone, Debug, PartialEq)]
pub enum View {
    /// Groups of spans with their figures.
    Groups,
    /// The spans of a group: its name, and the words that choose them.
    Spans(String, Vec<(String, String)>),
    /// One span.
    Span(Box<Json>),
}

/// What keys are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keys {
    /// To choose and to open.
    Move,
    /// To type a filter.
    Type,
    /// To leave the explanation of the keys.
    Leave,
}

/// A question for the agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// Path of the API.
    pub path: &'static str,
    /// Words of the query.
    pub words: Vec<(String, String)>,
}

/// The state.
#[derive(Debug)]
pub struct App {
    /// What is seen, and from where it was come to.
    views: Vec<View>,
    /// Index in [`GROUPINGS`].
    grouping: usize,
    /// Column that orders the groups, and the spans.
    sort: [usize; 2],
    descending: [bool; 2],
    /// What is typed.
    pub filter: Filter,
    /// What keys are for at present.
    pub keys: Keys,
    /// Nothing is asked for.
    pub paused: bool,
    /// Why there is no newer answer.
    pub trouble: Option<String>,
    rows: Vec<Json>,
    /// Whether `rows` are of the present view.
    is_answered: bool,
    selected: usize,
}

/// What a key leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// The screen may have changed.
    Draw,
    /// The same, and another question is to be asked at once.
    Ask,
    /// It is over.
    Quit,
}

impl App {
    /// Groups by service, the busiest first.
    pub fn new() -> Self {
        Self {
            views: vec![View::Groups],
            grouping: 0,
            sort: [2, 0],
            descending: [true, true],
            filter: Filter::default(),
            keys: Keys::Move,
            paused: false,
            trouble: None,
            rows: Vec::new(),
            is_answered: false,
            selected: 0,
        }
    }

    /// What is seen.
    pub fn view(&self) -> &View {
        self.views.last().unwrap_or(&View::Groups)
    }

    /// What the groups are made by.
    pub fn grouping(&self) -> &'static str {
        GROUPINGS[self.grouping]
    }

    /// Columns of the present table.
    pub fn columns(&self) -> &'static [Column] {
        if matches!(self.view(), View::Groups) { &GROUP_COLUMNS } else { &SPAN_COLUMNS }
    }

    /// The column that orders the table, and whether the largest are first.
    pub fn order(&self) -> (usize, bool) {
        let at = self.table();
        (self.sort[at], self.descending[at])
    }

    /// Whether an answer for this view is there.
    pub fn is_answered(&self) -> bool {
        self.is_answered
    }

    /// Which row is selected.
    pub fn selected(&self) -> usize {
        self.selected
    }

    fn table(&self) -> usize {
        usize::from(!matches!(self.view(), View::Groups))
    }

    /// The rows that the typed text lets pass, in their order.
    pub fn rows(&self) -> Vec<&Json> {
        let columns = self.columns();
        let passes = |row: &&Json| self.filter.passes(columns.iter().map(|column| (column.show)(row)));
        let mut rows: Vec<&Json> = self.rows.iter().filter(passes).collect();
        let (sort, descending) = self.order();
        let column = &columns[sort];
        rows.sort_by(|one, other| {
            let order = column.order(one, other);
            if descending { order.reverse() } else { order }
        });
        rows
    }

    /// What to ask for, if anything.
    pub fn question(&self) -> Option<Question> {
        let mut words = self.filter.words();
        let (path, more) = match self.view() {
            View::Groups => ("/v1/stat", vec![("group-by".to_owned(), self.grouping().to_owned())]),
            View::Spans(_, chosen) => {
                words.extend(chosen.iter().cloned());
                ("/v1/spans", vec![("limit".to_owned(), SPANS.to_string())])
            }
            View::Span(_) => return None,
        };
        words.extend(more);
        Some(Question { path, words })
    }

    /// An answer has come. One to another question than the present one is left alone.
    pub fn answer(&mut self, question: &Question, answer: Result<Json, String>) {
        if self.question().as_ref() != Some(question) {
            return;
        }
        match answer {
            Ok(mut json) => {
                let name = if question.path == "/v1/stat" { "groups" } else { "spans" };
                let chosen = self.chosen_key();
                self.rows = match json[name].take() {
                    Json::Array(rows) => rows,
                    _ => Vec::new(),
                };
                self.is_answered = true;
                self.trouble = None;
                self.select(chosen.as_ref());
            }
            Err(why) => self.trouble = Some(why),
        }
    }

    /// What the selected row is known by when there are new rows.
    fn chosen_key(&self) -> Option<Json> {
        if self.selected == 0 {
            return None;
        }
        self.rows().get(self.selected).map(|row| key(row).clone())
    }

    fn select(&mut self, chosen: Option<&Json>) {
        let rows = self.rows();
        let at = chosen.and_then(|chosen| rows.iter().position(|row| key(row) == chosen));
        let last = rows.len().saturating_sub(1);
        self.selected = at.unwrap_or(self.selected).min(last);
    }

    /// A key was pressed.
    pub fn key(&mut self, key: KeyEvent) -> After {
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        if control && key.code == KeyCode::Char('c') {
            return After::Quit;
        }
        match self.keys {
            Keys::Move => self.moved(key.code),
            Keys::Type => self.typed(key.code),
            Keys::Leave => {
                self.keys = Keys::Move;
                After::Draw
            }
        }
    }

    fn moved(&mut self, key: KeyCode) -> After {
        let last = self.rows().len().saturating_sub(1);
        match key {
            KeyCode::Char('q') => return After::Quit,
            KeyCode::Char('?') => self.keys = Keys::Leave,
            KeyCode::Char('/') => self.keys = Keys::Type,
            KeyCode::Char(' ' | 'p') => self.paused = !self.paused,
            KeyCode::Down | KeyCode::Char('j') => self.selected = (self.selected + 1).min(last),
            KeyCode::Up | KeyCode::Char('k') => self.selected = self.selected.saturating_sub(1),
            KeyCode::PageDown => self.selected = (self.selected + 20).min(last),
            KeyCode::PageUp => self.selected = self.selected.saturating_sub(20),
            KeyCode::Home => self.selected = 0,
            KeyCode::End => self.selected = last,
            KeyCode::Char('<') => self.sort_by(-1),
            KeyCode::Char('>') => self.sort_by(1),
            KeyCode::Char('r') => {
                let at = self.table();
                self.descending[at] = !self.descending[at];
            }
            KeyCode::Tab => return self.group_by(1),
            KeyCode::BackTab => return self.group_by(GROUPINGS.len() - 1),
            KeyCode::Enter | KeyCode::Right => return self.open(),
            KeyCode::Esc | KeyCode::Backspace | KeyCode::Left => return self.close(),
            _ => {}
        }
        After::Draw
    }

    fn typed(&mut self, key: KeyCode) -> After {
        match key {
            KeyCode::Enter => self.keys = Keys::Move,
            KeyCode::Esc => {
                self.keys = Keys::Move;
                self.filter.clear();
            }
            KeyCode::Backspace => self.filter.pop(),
            KeyCode::Char(c) => self.filter.push(c),
            _ => return After::Draw,
        }
        self.selected = 0;
        After::Ask
    }

    fn sort_by(&mut self, step: isize) {
        let (at, most) = (self.table(), self.columns().len() - 1);
        self.sort[at] = self.sort[at].saturating_add_signed(step).min(most);
        self.descending[at] = self.columns()[self.sort[at]].is_number;
    }

    fn group_by(&mut self, step: usize) -> After {
        if !matches!(self.view(), View::Groups) {
            return After::Draw;
        }
        self.grouping = (self.grouping + step) % GROUPINGS.len();
        self.fresh()
    }

    /// Another view: what is known is not of it.
    fn fresh(&mut self) -> After {
        self.rows.clear();
        self.is_answered = false;
        self.selected = 0;
        After::Ask
    }

    fn open(&mut self) -> After {
        let Some(row) = self.rows().get(self.selected).map(|row| (*row).clone()) else { return After::Draw };
        match self.view() {
            View::Groups => {
                let name = row["name"].as_str().unwrap_or_default().to_owned();
                let words = words_of(self.grouping(), &name);
                if words.is_empty() {
                    return After::Draw;
                }
                self.views.push(View::Spans(name, words));
                self.fresh()
            }
            View::Spans(..) => {
                self.views.push(View::Span(Box::new(row)));
                After::Draw
            }
            View::Span(_) => After::Draw,
        }
    }

    fn close(&mut self) -> After {
        match self.views.len() {
            0 | 1 if self.filter.is_empty() => return After::Draw,
            0 | 1 => self.filter.clear(),
            _ => drop(self.views.pop()),
        }
        // The spans are still those of before.
        if matches!(self.view(), View::Spans(..)) { After::Draw } else { self.fresh() }
    }
}

fn key(row: &Json) -> &Json {
    let id = &row["span_id"];
    if id.is_null() { &row["name"] } else { id }
}

/// The words that choose the spans of a group.
fn words_of(grouping: &str, name: &str) -> Vec<(String, String)> {
    let word = |word: &str, value: String| vec![(word.to_owned(), value)];
    match grouping {
        // What has no such thing, or goes together with others, can't be chosen.
        _ if !GroupBy::names(name) => Vec::new(),
        "route" => word("name", name.to_owned()),
        // An executable and an id.
        "process" => word("pid", name.rsplit(':').next().unwrap_or(name).to_owned()),
        // A method and a path, in which `*` is an id, and what is deep below is left out.
        "path" => {
            let path = name.split_once(' ').map_or(name, |(_, path)| path);
            let is_open = |part: &str| part.starts_with('{') || part == "...";
            let parts = path.split('/').map(|part| if is_open(part) { "*" } else { part });
            let path = parts.collect::<Vec<_>>().join("/");
            if path.starts_with('/') { word("path", path) } else { word("name", name.to_owned()) }
        }
        _ if name.is_empty() => Vec::new(),
        _ => word(grouping, name.to_owned()),
    }
}

#[cfg(test)]
mod tests;
