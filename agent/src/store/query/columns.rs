//! The rows of one block that a query asks for, found column by column: each distinct process, form and value is judged
//! once, and a column is read only if all before it left rows over.

use memchr::memmem::Finder;

use super::{Place, Query, cells};
use crate::{
    control::{Condition, Mark},
    store::{
        block::{self, Column, Form, Head, Rows},
        bloom,
        bytes::{Damaged, put_value},
        partition::PartitionError,
    },
};

/// A block whose rows were chosen.
pub(super) struct Chosen {
    pub(super) head: Head,
    /// The rows that are asked for, ascending.
    pub(super) rows: Rows,
    pub(super) form_of: Vec<u16>,
    pub(super) process_of: Vec<u16>,
}

/// The rows that a query asks for, nothing if there are none.
pub(super) fn choose(
    query: &Query,
    conditions: &[Condition<'_>],
    place: Place<'_>,
) -> Result<Option<Chosen>, PartitionError> {
    if !may_hold_values(conditions, place)?
        || !may_hold_paths(conditions, place)?
        || !may_hold_texts(conditions, place)?
    {
        return Ok(None);
    }
    let head = Head::read(&place.need(block::HEAD)?)?;
    let (filter, rows) = (&query.filter, head.rows);
    let processes: Vec<bool> =
        head.processes.iter().map(|(resource, pid)| filter.admits_process(resource, *pid)).collect();
    let forms: Vec<bool> = head.forms.iter().map(|form| filter.admits_form(&form.name, form.kind)).collect();
    if !processes.contains(&true) || !forms.contains(&true) {
        return Ok(None);
    }
    if !cells::may_hold(filter, conditions, place, &head, (&processes, &forms))? {
        return Ok(None);
    }
    let form_of = block::places(&place.need(block::FORM)?, head.forms.len())?;
    let process_of = block::places(&place.need(block::PROCESS)?, head.processes.len())?;
    if form_of.len() != rows || process_of.len() != rows {
        return Err(Damaged.into());
    }
    let mut chosen: Vec<bool> = form_of
        .iter()
        .zip(&process_of)
        .map(|(form, process)| forms[usize::from(*form)] && processes[usize::from(*process)])
        .collect();
    if filter.min_duration.is_some() || filter.max_duration.is_some() {
        let durations = block::numbers(&place.need(block::DURATION)?, rows)?;
        narrow(&mut chosen, durations.iter().map(|duration| filter.admits_duration(*duration)));
    }
    if !is_within(query, place) {
        let starts = block::times(&place.need(block::TIME)?, rows)?;
        narrow(&mut chosen, starts.iter().map(|start| query.admits_start(*start)));
    }
    for condition in conditions {
        if !chosen.contains(&true) {
            return Ok(None);
        }
        narrow_by(condition, &head, (&form_of, &process_of), place, &mut chosen)?;
    }
    let rows: Rows = chosen.iter().enumerate().filter(|(_, is)| **is).map(|(row, _)| row as u16).collect();
    Ok((!rows.is_empty()).then_some(Chosen { head, rows, form_of, process_of }))
}

/// Whether all spans of a block start within the times asked for.
pub(super) fn is_within(query: &Query, place: Place<'_>) -> bool {
    let summary = &place.block.summary;
    query.admits_start(summary.start_min) && query.admits_start(summary.start_max)
}

fn narrow(chosen: &mut [bool], also: impl Iterator<Item = bool>) {
    for (chosen, also) in chosen.iter_mut().zip(also) {
        *chosen &= also;
    }
}

/// Asks the block's filter for the values that have to be there.
fn may_hold_values(conditions: &[Condition<'_>], place: Place<'_>) -> Result<bool, PartitionError> {
    let exact: Vec<_> = conditions.iter().filter_map(Condition::exactly).collect();
    if exact.is_empty() {
        return Ok(true);
    }
    let filter = place.need(block::VALUES)?;
    // A value that was asked for as text may be stored as any type that is written so; a list's parts are not in the filter.
    let may_be = |(name, text): (&str, &str)| {
        let mut bytes = Vec::new();
        let mut holds = |value: &crate::span::Value| {
            bytes.clear();
            put_value(&mut bytes, value);
            bloom::may_hold(&filter, bloom::hash(name.as_bytes(), &bytes))
        };
        name.starts_with("http.request.header.")
            || name.starts_with("http.response.header.")
            || crate::span::values_of(text).iter().any(&mut holds)
    };
    Ok(exact.into_iter().all(may_be))
}

/// Asks the block's filter for what the paths that are asked for begin with and consist of.
fn may_hold_paths(conditions: &[Condition<'_>], place: Place<'_>) -> Result<bool, PartitionError> {
    let wanted: Vec<_> = conditions.iter().filter_map(Condition::marks).collect();
    if wanted.is_empty() {
        return Ok(true);
    }
    let Some(filter) = place.part(block::PATHS)? else { return Ok(true) };
    let has = |mark: Mark<'_>| bloom::may_hold(&filter, block::mark_hash(mark));
    let is_deep = has(Mark::Deep);
    let may_be = |mark: &Mark<'_>| has(*mark) || (is_deep && matches!(mark, Mark::Segment(_)));
    Ok(wanted.iter().all(|alternatives| alternatives.iter().any(|marks| marks.iter().all(may_be))))
}

/// Asks the block's map of texts for what they have to contain.
fn may_hold_texts(conditions: &[Condition<'_>], place: Place<'_>) -> Result<bool, PartitionError> {
    let wanted: Vec<_> = conditions.iter().filter_map(Condition::literals).collect();
    if wanted.is_empty() {
        return Ok(true);
    }
    let Some(grams) = place.part(block::GRAMS)? else { return Ok(true) };
    Ok(wanted.iter().all(|literals| literals.iter().any(|literal| block::may_contain(&grams, literal))))
}

/// Leaves of the chosen rows those that fulfil a condition. Each value of a chosen row is judged once, the others never.
fn narrow_by(
    condition: &Condition<'_>,
    head: &Head,
    (form_of, process_of): (&[u16], &[u16]),
    place: Place<'_>,
    chosen: &mut [bool],
) -> Result<(), PartitionError> {
    let wanted = condition.presence().and_then(|name| head.key(name));
    let is_admitted = |form: &Form| {
        condition.admits_fields(form.status, form.link, form.incomplete)
            || wanted.is_some_and(|wanted| form.keys.contains(&wanted))
    };
    let forms: Vec<bool> = head.forms.iter().map(is_admitted).collect();
    let processes: Vec<bool> = head.processes.iter().map(|(resource, _)| condition.admits_resource(resource)).collect();
    let rows = form_of.iter().zip(process_of);
    let mut fulfilled: Vec<bool> =
        rows.map(|(form, process)| forms[usize::from(*form)] || processes[usize::from(*process)]).collect();
    if condition.presence().is_some() {
        narrow(chosen, fulfilled.into_iter());
        return Ok(());
    }
    let literals: Option<Vec<_>> =
        condition.literals().map(|all| all.into_iter().map(|literal| Finder::new(literal.as_bytes())).collect());
    for (key, _) in head.keys.iter().enumerate().filter(|(_, name)| condition.is_about(name)) {
        let raw = place.need(Head::part(key as u16))?;
        // Texts lie there as they are: what is nowhere in them needs no taking apart.
        if literals.as_ref().is_some_and(|all| all.iter().all(|literal| literal.find(&raw).is_none())) {
            continue;
        }
        let column = Column::read(&raw)?;
        let spread = column.spread(key as u16, &head.forms, form_of, |place| place)?;
        let mut judged = vec![None; column.count()];
        for ((fulfilled, own), _) in fulfilled
            .iter_mut()
            .zip(spread)
            .zip(chosen.iter())
            .filter(|((fulfilled, _), chosen)| **chosen && !**fulfilled)
        {
            let Some(value) = own else { continue };
            let holds = match judged[usize::from(value)] {
                Some(holds) => holds,
                None => *judged[usize::from(value)].insert(column.judge(value, condition)?),
            };
            *fulfilled = holds;
        }
    }
    narrow(chosen, fulfilled.into_iter());
    Ok(())
}
