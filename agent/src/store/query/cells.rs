//! A block's cells that a query asks for, where cells are all that it asks about: then no single span is looked at, and the answer is
//! the same.

use super::{Place, Query, columns};
use crate::{
    control::{Condition, SpanFilter, nanoseconds},
    span::Status,
    store::{
        block::{self, CODES, Cell, Cells, Code, Form, Head},
        partition::PartitionError,
        sketch::{BINS, bin},
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
    cells.retain(|cell| {
        processes[usize::from(cell.process)]
            && forms[usize::from(cell.form)]
            && conditions.iter().all(|condition| is_fulfilled(condition, cell, &head, &codes))
    });
    Ok(Some(Asked { head, codes, labels, cells }))
}

/// Whether a cell's spans fulfil a condition on statuses.
fn is_fulfilled(condition: &Condition<'_>, cell: &Cell, head: &Head, codes: &[Code]) -> bool {
    let status = head.forms[usize::from(cell.form)].status;
    let code = cell.code.map(|code| &codes[usize::from(code)]);
    condition.admits_fields(status, None, None)
        || code.is_some_and(|(at, value)| condition.is_about(CODES[*at]) && condition.holds(value))
}

/// Whether a block may hold spans that are at the same time of these processes and forms, of a status and of a duration that are asked
/// for: each of these may be frequent, and all together rare.
pub(super) fn may_hold(
    filter: &SpanFilter,
    conditions: &[Condition<'_>],
    place: Place<'_>,
    head: &Head,
    (processes, forms): (&[bool], &[bool]),
) -> Result<bool, PartitionError> {
    let is_timed = filter.min_duration.is_some() || filter.max_duration.is_some();
    let is_of_status = conditions.iter().any(|condition| matches!(condition, Condition::Status(_)));
    let asked = [is_timed, is_of_status, processes.contains(&false), forms.contains(&false)];
    if !(is_timed || is_of_status) || asked.iter().filter(|is| **is).count() < 2 {
        return Ok(true);
    }
    let Some(raw) = place.part(block::CELLS)? else { return Ok(true) };
    let Cells { codes, cells, .. } = Cells::read(&raw, head.processes.len(), head.forms.len())?;
    let shortest = filter.min_duration.map_or(0, |shortest| bin(nanoseconds(shortest)));
    let longest = filter.max_duration.map_or(BINS, |longest| bin(nanoseconds(longest)));
    Ok(cells.iter().any(|cell| {
        processes[usize::from(cell.process)]
            && forms[usize::from(cell.form)]
            && cell.bins.iter().any(|(bin, _)| (shortest..=longest).contains(&usize::from(*bin)))
            && conditions.iter().all(|condition| {
                !matches!(condition, Condition::Status(_)) || is_fulfilled(condition, cell, head, &codes)
            })
    }))
}
