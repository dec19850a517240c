//! A block's cells that a query asks for, where cells are all that it asks about: then no single span is looked at, and the answer is
//! the same.

use super::{Place, Query, columns};
use crate::{
    control::Condition,
    span::Status,
    store::{
        block::{self, CODES, Cell, Cells, Code, Form, Head},
        partition::PartitionError,
    },
};

/// Cells of one block.
pub(super) struct Asked {
    pub(super) head: Head,
    pub(super) codes: Vec<Code>,
    pub(super) labels: Vec<String>,
    /// Those that the query asks for.
    pub(super) cells: Vec<Cell>,
}

impl Asked {
    pub(super) fn form(&self, cell: &Cell) -> &Form {
        &self.head.forms[usize::from(cell.form)]
    }

    pub(super) fn is_error(&self, cell: &Cell) -> bool {
        self.form(cell).status == Status::Error
    }
}

/// The cells that a query asks for; nothing where the block has none, or where they don't tell.
pub(super) fn asked(
    query: &Query,
    conditions: &[Condition<'_>],
    place: Place<'_>,
) -> Result<Option<Asked>, PartitionError> {
    let filter = &query.filter;
    let is_told = filter.min_duration.is_none()
        && filter.max_duration.is_none()
        && columns::is_within(query, place)
        && conditions.iter().all(|condition| matches!(condition, Condition::Status(_)));
    if !is_told {
        return Ok(None);
    }
    let Some(raw) = place.part(block::CELLS)? else { return Ok(None) };
    let head = Head::read(&place.need(block::HEAD)?)?;
    let Cells { codes, labels, mut cells } = Cells::read(&raw, head.processes.len(), head.forms.len())?;
    let processes: Vec<bool> =
        head.processes.iter().map(|(resource, pid)| filter.admits_process(resource, *pid)).collect();
    let forms: Vec<bool> = head.forms.iter().map(|form| filter.admits_form(&form.name, form.kind)).collect();
    let is_fulfilled = |cell: &Cell, condition: &Condition<'_>| {
        let status = head.forms[usize::from(cell.form)].status;
        let code = cell.code.map(|code| &codes[usize::from(code)]);
        condition.admits_fields(status, None, None)
            || code.is_some_and(|(at, value)| condition.is_about(CODES[*at]) && condition.holds(value))
    };
    cells.retain(|cell| {
        processes[usize::from(cell.process)]
            && forms[usize::from(cell.form)]
            && conditions.iter().all(|condition| is_fulfilled(cell, condition))
    });
    Ok(Some(Asked { head, codes, labels, cells }))
}
