//! The rows of one block that a query asks for, found column by column: each distinct process, form and value is judged
//! once, and a column is read only if all before it left rows over.

use super::{Place, Query};
use crate::{
    control::Condition,
    span::Status,
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
    if !may_hold_values(conditions, place)? || !may_hold_paths(conditions, place)? {
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
    // Before a row is looked at: most blocks have no value at all that a rare condition admits.
    let mut judged = Vec::with_capacity(conditions.len());
    for condition in conditions {
        let judgement = Judgement::of(condition, &head, &forms, place)?;
        if judgement.is_hopeless() {
            return Ok(None);
        }
        judged.push(judgement);
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
    if query.has_times() && !is_within(query, place) {
        let starts = block::times(&place.need(block::TIME)?, rows)?;
        narrow(&mut chosen, starts.iter().map(|start| query.admits_start(*start)));
    }
    for judgement in judged {
        if !chosen.contains(&true) {
            return Ok(None);
        }
        narrow(&mut chosen, judgement.fulfilled(&head, &form_of)?.into_iter());
    }
    let rows: Rows = chosen.iter().enumerate().filter(|(_, is)| **is).map(|(row, _)| row as u16).collect();
    Ok((!rows.is_empty()).then_some(Chosen { head, rows, form_of, process_of }))
}

/// Whether all spans of a block start within the times asked for.
fn is_within(query: &Query, place: Place<'_>) -> bool {
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

/// Asks the block's filter for the beginnings of the paths that are asked for.
fn may_hold_paths(conditions: &[Condition<'_>], place: Place<'_>) -> Result<bool, PartitionError> {
    let wanted: Vec<_> = conditions.iter().filter_map(Condition::beginnings).collect();
    if wanted.is_empty() {
        return Ok(true);
    }
    let Some(filter) = place.part(block::PATHS)? else { return Ok(true) };
    let may_be = |path: &&str| bloom::may_hold(&filter, bloom::hash(b"", path.as_bytes()));
    Ok(wanted.iter().all(|alternatives| alternatives.iter().any(may_be)))
}

/// What a condition says of a block's forms and values, before it is asked which row has them.
struct Judgement {
    /// For each form, whether it fulfils the condition by itself.
    by_form: Vec<bool>,
    /// Columns that hold such a value: the key, the part, and for each value whether it is one.
    columns: Vec<(u16, Vec<u8>, Vec<bool>)>,
}

impl Judgement {
    /// Judges the values of the attributes that a condition is about; `forms` are those that are asked for.
    fn of(condition: &Condition<'_>, head: &Head, forms: &[bool], place: Place<'_>) -> Result<Self, PartitionError> {
        let is_error = |form: &Form| condition.admits_errors() && form.status == Status::Error;
        let by_form = head.forms.iter().zip(forms).map(|(form, is_wanted)| *is_wanted && is_error(form)).collect();
        let mut columns = Vec::new();
        for (key, _) in head.keys.iter().enumerate().filter(|(_, name)| condition.is_about(name)) {
            let raw = place.need(Head::part(key as u16))?;
            let holds = Column::read(&raw)?.judge(condition)?;
            if holds.contains(&true) {
                columns.push((key as u16, raw, holds));
            }
        }
        Ok(Self { by_form, columns })
    }

    /// Whether no row can fulfil the condition.
    fn is_hopeless(&self) -> bool {
        self.columns.is_empty() && !self.by_form.contains(&true)
    }

    /// For each row whether it fulfils the condition.
    fn fulfilled(&self, head: &Head, form_of: &[u16]) -> Result<Vec<bool>, PartitionError> {
        let mut fulfilled: Vec<bool> = form_of.iter().map(|form| self.by_form[usize::from(*form)]).collect();
        for (key, raw, holds) in &self.columns {
            let spread = Column::read(raw)?.spread(*key, &head.forms, form_of, |place| holds[usize::from(place)])?;
            for (fulfilled, holds) in fulfilled.iter_mut().zip(spread) {
                *fulfilled |= holds == Some(true);
            }
        }
        Ok(fulfilled)
    }
}
