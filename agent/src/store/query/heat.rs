//! Durations over time: how many spans began when and took how long, as a grid; and the percentiles of each column.

use super::{Place, Query, Totals, cells, columns};
use crate::{
    control::Condition,
    span::Status,
    store::{
        block,
        partition::PartitionError,
        sketch::{BINS_PER_DECADE, bin},
    },
};

/// Columns of a grid at most, and where no number is given.
pub const COLUMNS_MAX: usize = 400;
/// Columns where no number is given.
pub const COLUMNS: usize = 120;
/// Rows of a grid: durations by their logarithm.
pub const ROWS: usize = 64;
/// Rows for each factor of ten: each is of whole bins of a sketch.
const ROWS_PER_DECADE: usize = 8;
const BINS_PER_ROW: usize = BINS_PER_DECADE / ROWS_PER_DECADE;
/// The shortest duration that is told apart, as a power of ten in nanoseconds: row 0 has all below its upper bound.
const SHORTEST: usize = 3;

/// A cell of the grid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cell {
    /// Spans.
    pub count: u32,
    /// Of these, errors.
    pub errors: u32,
}

/// A grid.
pub struct Heat {
    /// The left edge, in nanoseconds since the epoch.
    pub from_ns: u64,
    /// The right edge.
    pub to_ns: u64,
    /// Figures of each column.
    pub columns: Vec<Totals>,
    /// Cells, [`ROWS`] for each column, the shortest durations first.
    pub cells: Vec<Cell>,
    /// Figures of all.
    pub total: Totals,
}

impl Heat {
    /// The duration in nanoseconds at which a row begins; the first begins at 0.
    pub fn row_ns(row: usize) -> f64 {
        let decades = f64::from(row as u32) / f64::from(ROWS_PER_DECADE as u32);
        if row == 0 { 0.0 } else { 10_f64.powf(f64::from(SHORTEST as u32) + decades) }
    }

    pub(super) fn new(from_ns: u64, to_ns: u64, columns: usize) -> Self {
        let columns = columns.clamp(1, COLUMNS_MAX);
        let from_ns = from_ns.min(u64::MAX - 1);
        Self {
            from_ns,
            to_ns: to_ns.max(from_ns + 1),
            columns: vec![Totals::default(); columns],
            cells: vec![Cell::default(); columns * ROWS],
            total: Totals::default(),
        }
    }

    /// The column of what starts then.
    fn column(&self, start_ns: u64) -> usize {
        let width = u128::from(self.to_ns - self.from_ns);
        let at = u128::from(start_ns.saturating_sub(self.from_ns)) * self.columns.len() as u128 / width;
        (at as usize).min(self.columns.len() - 1)
    }

    fn add(&mut self, start_ns: u64, duration_ns: u64, is_error: bool) {
        let column = self.column(start_ns);
        self.columns[column].add(start_ns, duration_ns, is_error, 0);
        self.count(column, bin(duration_ns), 1, is_error);
    }

    fn add_cell(&mut self, column: usize, cell: &block::Cell, is_error: bool) {
        self.columns[column].add_cell(cell, is_error);
        for (bin, count) in &cell.bins {
            self.count(column, usize::from(*bin), *count, is_error);
        }
    }

    fn count(&mut self, column: usize, bin: usize, count: u32, is_error: bool) {
        let cell = &mut self.cells[column * ROWS + row(bin)];
        cell.count = cell.count.saturating_add(count);
        cell.errors = cell.errors.saturating_add(if is_error { count } else { 0 });
    }

    fn sum(&mut self) {
        for column in &self.columns {
            self.total.merge(column);
        }
        // Spans that are looked at one by one are not asked for theirs.
        self.total.bytes = 0;
    }
}

/// The row of a bin of durations.
fn row(bin: usize) -> usize {
    (bin / BINS_PER_ROW).saturating_sub(SHORTEST * ROWS_PER_DECADE).min(ROWS - 1)
}

/// A grid under way.
pub(super) struct Search<'a> {
    query: &'a Query,
    conditions: Vec<Condition<'a>>,
    heat: Heat,
}

impl<'a> Search<'a> {
    pub(super) fn new(query: &'a Query, heat: Heat) -> Self {
        Self { query, conditions: query.filter.conditions(), heat }
    }

    pub(super) fn block(&mut self, place: Place<'_>) -> Result<bool, PartitionError> {
        let summary = &place.block.summary;
        let column = self.heat.column(summary.start_min);
        if column == self.heat.column(summary.start_max)
            && let Some(asked) = cells::asked(self.query, &self.conditions, place)?
        {
            for cell in &asked.cells {
                self.heat.add_cell(column, cell, asked.is_error(cell));
            }
            return Ok(true);
        }
        let Some(chosen) = columns::choose(self.query, &self.conditions, place)? else { return Ok(true) };
        let head = &chosen.head;
        let durations = block::numbers(&place.need(block::DURATION)?, head.rows)?;
        let starts = block::times(&place.need(block::TIME)?, head.rows)?;
        let is_error: Vec<bool> = head.forms.iter().map(|form| form.status == Status::Error).collect();
        for row in chosen.rows.iter().copied().map(usize::from) {
            self.heat.add(starts[row], durations[row], is_error[usize::from(chosen.form_of[row])]);
        }
        Ok(true)
    }

    pub(super) fn finish(mut self) -> Heat {
        self.heat.sum();
        self.heat
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_eighths_of_a_factor_of_ten() {
        for (ns, expected) in
            [(0, 0), (999, 0), (1_000, 0), (10_000, 8), (13_000, 8), (14_000, 9), (1_000_000, 24), (u64::MAX, ROWS - 1)]
        {
            assert_eq!(row(bin(ns)), expected, "{ns}");
        }
        assert!(Heat::row_ns(0) < 1.0 && (Heat::row_ns(24) - 1e6).abs() < 1.0);
    }

    #[test]
    fn a_span_is_in_the_column_of_its_start_and_none_is_lost() {
        let mut heat = Heat::new(1000, 2000, 10);
        for (start, is_error) in [(1000, false), (1099, true), (1100, false), (1999, false), (5000, false), (0, false)]
        {
            heat.add(start, 10_000, is_error);
        }
        heat.sum();
        let counts: Vec<u64> = heat.columns.iter().map(|column| column.count).collect();
        assert_eq!(counts, [3, 1, 0, 0, 0, 0, 0, 0, 0, 2]);
        assert_eq!(heat.cells[8], Cell { count: 3, errors: 1 });
        assert_eq!((heat.total.count, heat.total.errors), (6, 1));
        assert_eq!(Heat::new(5, 5, 0).columns.len(), 1, "no width and no columns are no division by zero");
        let mut last = Heat::new(u64::MAX, 0, 3);
        last.add(u64::MAX, u64::MAX, false);
        assert_eq!(last.to_ns - last.from_ns, 1);
    }
}
