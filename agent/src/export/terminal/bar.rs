//! A span's time as a bar: solid where the time is its own, thin where it waits for its children.

use super::tree::Interval;

/// A column of a bar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cell {
    /// The span is not open.
    Blank,
    /// Its own time; the character says how much of the column.
    Own(char),
    /// It waits for its children.
    Waiting(char),
}

impl Cell {
    /// What to draw.
    pub const fn glyph(self) -> char {
        match self {
            Self::Blank => ' ',
            Self::Own(glyph) | Self::Waiting(glyph) => glyph,
        }
    }
}

/// Eighths of a column, from its left edge.
const EIGHTHS: [char; 9] = [' ', '▏', '▎', '▍', '▌', '▋', '▊', '▉', '█'];

/// The bar of a span with these times of its own, drawn over `width` columns that stand for `window`. However short the
/// span, something is drawn.
pub fn bar(window: Interval, span: Interval, own: &[Interval], width: usize) -> Vec<Cell> {
    let edges = Edges { from: window.0, length: (window.1 - window.0).max(1), width: width.max(1) };
    let mut cells: Vec<_> = (0..width).map(|column| cell(&edges.column(column), span, own)).collect();
    if cells.iter().all(|cell| *cell == Cell::Blank)
        && let Some(cell) = cells.get_mut(edges.holding(span.0))
    {
        *cell = Cell::Own('▏');
    }
    cells
}

/// Where columns begin and end. Times are multiplied by the width, so that nothing is rounded.
struct Edges {
    from: u64,
    length: u64,
    width: usize,
}

impl Edges {
    fn column(&self, column: usize) -> Column {
        let length = u128::from(self.length);
        Column {
            from: u128::from(self.from) * self.width as u128 + length * column as u128,
            length,
            scale: self.width as u128,
        }
    }

    fn holding(&self, at: u64) -> usize {
        let column = u128::from(at.saturating_sub(self.from)) * self.width as u128 / u128::from(self.length);
        (column as usize).min(self.width - 1)
    }
}

struct Column {
    from: u128,
    length: u128,
    scale: u128,
}

impl Column {
    /// How much of the column the interval takes.
    fn share(&self, (from, to): Interval) -> u128 {
        let (from, to) = (u128::from(from) * self.scale, u128::from(to) * self.scale);
        to.min(self.from + self.length).saturating_sub(from.max(self.from))
    }

    /// That in eighths, rounded.
    fn eighths(&self, share: u128) -> usize {
        ((share * 16 / self.length).div_ceil(2) as usize).min(8)
    }
}

fn cell(column: &Column, span: Interval, own: &[Interval]) -> Cell {
    let share = column.share(span);
    let eighths = column.eighths(share);
    if eighths == 0 {
        return Cell::Blank;
    }
    let begins_here = u128::from(span.0) * column.scale > column.from;
    let own: u128 = own.iter().map(|&interval| column.share(interval)).sum();
    match (own * 2 >= share, begins_here, eighths) {
        (true, true, 1..=2) => Cell::Own('▕'),
        (true, true, 3..=6) => Cell::Own('▐'),
        (true, true, _) => Cell::Own('█'),
        (true, false, _) => Cell::Own(EIGHTHS[eighths]),
        (false, true, 1..=5) => Cell::Waiting('╶'),
        (false, false, 1..=5) => Cell::Waiting('╴'),
        (false, ..) => Cell::Waiting('─'),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(window: Interval, span: Interval, own: &[Interval], width: usize) -> String {
        bar(window, span, own, width).into_iter().map(Cell::glyph).collect()
    }

    #[test]
    fn own_time_is_solid_and_waiting_is_thin() {
        assert_eq!(drawn((0, 100), (10, 90), &[(10, 30), (70, 90)], 10), " ██────██ ");
        assert_eq!(drawn((0, 100), (0, 100), &[], 10), "──────────");
        assert_eq!(drawn((0, 100), (0, 100), &[(0, 100)], 10), "██████████");
    }

    #[test]
    fn parts_of_columns_are_drawn_in_parts() {
        assert_eq!(drawn((0, 80), (5, 43), &[(5, 43)], 8), "▐███▎   ");
        assert_eq!(drawn((0, 80), (8, 42), &[(8, 42)], 8), "▕███▎   ");
        assert_eq!(drawn((0, 80), (5, 44), &[], 8), "╶───╴   ");
    }

    #[test]
    fn the_shortest_span_can_be_seen_where_it_is() {
        assert_eq!(drawn((0, 1000), (500, 500), &[], 10), "     ▏    ");
        assert_eq!(drawn((0, 1000), (1000, 1000), &[], 10), "         ▏");
        assert_eq!(drawn((7, 7), (7, 7), &[], 4), "▏   ");
    }

    #[test]
    fn times_at_the_end_of_the_range_do_not_overflow() {
        assert_eq!(drawn((0, u64::MAX), (0, u64::MAX), &[(0, u64::MAX)], 3), "███");
        assert_eq!(drawn((0, 10), (0, 10), &[], 0), "");
    }
}
