//! A line of columns: text is padded and cut by columns first, and painted afterwards.

use std::fmt::Write as _;

use super::{
    clean::{columns, fit},
    look::{Look, Paint},
};

/// A line that is being written at the end of `out`.
pub struct Row<'a> {
    look: &'a Look,
    out: &'a mut String,
    start: usize,
    /// Padding that is written only when something follows.
    owed: usize,
}

impl<'a> Row<'a> {
    /// Begins a line.
    pub fn begin(look: &'a Look, out: &'a mut String) -> Self {
        Self { look, start: out.len(), out, owed: 0 }
    }

    /// A column of `width`, then `gap`: `text` from its left edge.
    pub fn left(&mut self, text: &str, width: usize, gap: usize, paint: Paint) {
        let text = fit(text, width);
        let used = columns(&text);
        self.text(&text, paint);
        self.owed += width - used + gap;
    }

    /// A column of `width`, then `gap`: `text` to its right edge.
    pub fn right(&mut self, text: &str, width: usize, gap: usize, paint: Paint) {
        let text = fit(text, width);
        self.owed += width - columns(&text);
        self.text(&text, paint);
        self.owed += gap;
    }

    /// Text as it is.
    pub fn text(&mut self, text: &str, paint: Paint) {
        if text.is_empty() {
            return;
        }
        self.out.extend(std::iter::repeat_n(' ', self.owed));
        self.owed = 0;
        write!(self.out, "{}", self.look.paint(paint, text)).expect("text takes all writes");
    }

    /// So many columns of nothing.
    pub const fn gap(&mut self, columns: usize) {
        self.owed += columns;
    }

    /// Ends the line; nothing trails.
    pub fn end(self) {
        let kept = self.out.trim_end_matches(' ').len();
        self.out.truncate(kept.max(self.start));
        self.out.push('\n');
    }
}
