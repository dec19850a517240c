//! Figures by group, from sketches that can be merged: percentiles are within 1 % of the true value.

use rustc_hash::FxHashMap;

use super::{
    Place, Query,
    cells::{self, Asked},
    columns::{self, Chosen},
    label::labels,
    names::{Names, OTHER},
};
use crate::{
    control::Condition,
    span::{Kind, Status, Value},
    store::{
        block::{self, CODES, Cell, Column, Head, SIZES},
        label::text,
        partition::PartitionError,
        sketch::{Sketch, bin},
    },
};

/// The group of spans that lack what is grouped by.
const NONE: &str = "(none)";

/// What spans are grouped by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupBy {
    /// The service.
    Service,
    /// The name, which is the method and the route where one is known.
    Route,
    /// The name, with the path where no route is known, without what looks like an id.
    Path,
    /// The other side.
    Peer,
    /// The status code.
    Status,
    /// The process.
    Process,
}

impl GroupBy {
    /// All, by name.
    pub const ALL: [(&'static str, Self); 6] = [
        ("service", Self::Service),
        ("route", Self::Route),
        ("path", Self::Path),
        ("peer", Self::Peer),
        ("status", Self::Status),
        ("process", Self::Process),
    ];

    /// Whether the name of a group is what its spans have in common.
    pub fn names(group: &str) -> bool {
        ![NONE, OTHER].contains(&group)
    }

    /// Whether a block's cells tell the groups of its spans.
    const fn is_of_cells(self) -> bool {
        !matches!(self, Self::Peer)
    }

    /// By its name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(known, _)| *known == name).map(|(_, by)| *by)
    }
}

/// Figures of some spans.
#[derive(Clone)]
pub struct Totals {
    /// Spans.
    pub count: u64,
    /// Spans whose status is an error.
    pub errors: u64,
    /// Bytes of bodies, both ways, where they are known.
    pub bytes: u64,
    /// Start of the first span, in nanoseconds since the epoch.
    pub first_ns: u64,
    /// Start of the last span.
    pub last_ns: u64,
    sum_ns: f64,
    durations: Sketch,
}

impl Default for Totals {
    fn default() -> Self {
        let durations = Sketch::default();
        Self { count: 0, errors: 0, bytes: 0, first_ns: u64::MAX, last_ns: 0, sum_ns: 0.0, durations }
    }
}

impl Totals {
    /// Takes a span: its start and duration in nanoseconds, whether it is an error, and its bytes.
    #[expect(clippy::cast_precision_loss, reason = "a sum of durations need not be exact to the nanosecond")]
    pub fn add(&mut self, start_ns: u64, duration_ns: u64, is_error: bool, bytes: u64) {
        self.count += 1;
        self.errors += u64::from(is_error);
        self.bytes = self.bytes.saturating_add(bytes);
        self.first_ns = self.first_ns.min(start_ns);
        self.last_ns = self.last_ns.max(start_ns);
        self.sum_ns += duration_ns as f64;
        self.durations.add(bin(duration_ns), 1);
    }

    /// Takes the spans of a cell.
    #[expect(clippy::cast_precision_loss, reason = "a sum of durations need not be exact to the nanosecond")]
    pub(super) fn add_cell(&mut self, cell: &Cell, is_error: bool) {
        self.count += cell.count;
        self.errors += if is_error { cell.count } else { 0 };
        self.bytes = self.bytes.saturating_add(cell.bytes);
        self.first_ns = self.first_ns.min(cell.first_ns);
        self.last_ns = self.last_ns.max(cell.last_ns);
        self.sum_ns += cell.sum_ns as f64;
        for (bin, count) in &cell.bins {
            self.durations.add(usize::from(*bin), u64::from(*count));
        }
    }

    /// Takes the spans of other figures.
    pub(super) fn merge(&mut self, other: &Self) {
        self.count += other.count;
        self.errors += other.errors;
        self.bytes = self.bytes.saturating_add(other.bytes);
        self.first_ns = self.first_ns.min(other.first_ns);
        self.last_ns = self.last_ns.max(other.last_ns);
        self.sum_ns += other.sum_ns;
        self.durations.merge(&other.durations);
    }

    /// The duration that this share of the spans (0 to 1) does not exceed, in nanoseconds, within 1 %.
    pub fn quantile_ns(&self, share: f64) -> Option<f64> {
        self.durations.quantile_ns(share)
    }

    /// Sum of all durations, in nanoseconds.
    pub const fn sum_ns(&self) -> f64 {
        self.sum_ns
    }
}

/// A group.
pub struct Group {
    /// What its spans have in common.
    pub name: String,
    /// Their figures.
    pub totals: Totals,
}

/// A grouping under way.
pub(super) struct Groups<'a> {
    query: &'a Query,
    conditions: Vec<Condition<'a>>,
    by: GroupBy,
    names: Names,
    /// By the names' places.
    totals: Vec<Totals>,
}

impl<'a> Groups<'a> {
    pub(super) fn new(query: &'a Query, by: GroupBy) -> Self {
        let conditions = query.filter.conditions();
        Self { query, conditions, by, names: Names::default(), totals: Vec::new() }
    }

    pub(super) fn block(&mut self, place: Place<'_>) -> Result<bool, PartitionError> {
        if self.by.is_of_cells()
            && let Some(asked) = cells::asked(self.query, &self.conditions, place)?
        {
            self.cells(&asked);
            return Ok(true);
        }
        let Some(chosen) = columns::choose(self.query, &self.conditions, place)? else { return Ok(true) };
        let (head, rows) = (&chosen.head, chosen.head.rows);
        let durations = block::numbers(&place.need(block::DURATION)?, rows)?;
        let starts = block::times(&place.need(block::TIME)?, rows)?;
        let bytes = bytes(head, &chosen.form_of, place)?;
        let group_of = self.group_of(&chosen, place)?;
        let is_error: Vec<bool> = head.forms.iter().map(|form| form.status == Status::Error).collect();
        for row in chosen.rows.iter().copied().map(usize::from) {
            let is_error = is_error[usize::from(chosen.form_of[row])];
            self.totals[group_of[row]].add(starts[row], durations[row], is_error, bytes[row]);
        }
        Ok(true)
    }

    fn cells(&mut self, asked: &Asked) {
        // A name is looked up once for a block, not for each cell.
        let mut groups = FxHashMap::<u16, usize>::default();
        for cell in &asked.cells {
            let key = match self.by {
                GroupBy::Service | GroupBy::Process => cell.process,
                GroupBy::Status => cell.code.map_or(0, |code| code + 1),
                GroupBy::Path => cell.label,
                GroupBy::Route | GroupBy::Peer => cell.form,
            };
            let group = groups.get(&key).copied().unwrap_or_else(|| {
                let (resource, pid) = &asked.head.processes[usize::from(cell.process)];
                let group = match self.by {
                    GroupBy::Service => self.place(&resource.service),
                    GroupBy::Process => self.place(&process_name(resource, *pid)),
                    GroupBy::Status => match cell.code {
                        Some(code) => self.place(&text(&asked.codes[usize::from(code)].1)),
                        None => self.place(NONE),
                    },
                    GroupBy::Path => self.place(&asked.labels[usize::from(cell.label)]),
                    GroupBy::Route | GroupBy::Peer => self.place(&asked.form(cell).name),
                };
                groups.insert(key, group);
                group
            });
            self.totals[group].add_cell(cell, asked.is_error(cell));
        }
    }

    pub(super) fn finish(self) -> Vec<Group> {
        let named = self.names.into_list().into_iter().zip(self.totals);
        let groups = named.map(|(name, totals)| Group { name, totals });
        let mut found: Vec<_> = groups.filter(|group| group.totals.count > 0).collect();
        found.sort_by(|a, b| b.totals.count.cmp(&a.totals.count).then_with(|| a.name.cmp(&b.name)));
        found
    }

    fn place(&mut self, name: &str) -> usize {
        let place = self.names.place(name) as usize;
        self.totals.resize_with(self.names.list().len(), Totals::default);
        place
    }

    /// The group of each row.
    fn group_of(&mut self, chosen: &Chosen, place: Place<'_>) -> Result<Vec<usize>, PartitionError> {
        let Chosen { head, form_of, process_of, .. } = chosen;
        let by_place = |places: &[u16], groups: &[usize]| places.iter().map(|at| groups[usize::from(*at)]).collect();
        Ok(match self.by {
            GroupBy::Service => {
                let groups: Vec<_> = head.processes.iter().map(|(resource, _)| self.place(&resource.service)).collect();
                by_place(process_of, &groups)
            }
            GroupBy::Process => {
                let groups: Vec<_> =
                    head.processes.iter().map(|(resource, pid)| self.place(&process_name(resource, *pid))).collect();
                by_place(process_of, &groups)
            }
            GroupBy::Route => {
                let groups: Vec<_> = head.forms.iter().map(|form| self.place(&form.name)).collect();
                by_place(form_of, &groups)
            }
            GroupBy::Path => labels(chosen, place, |label| self.place(label))?,
            GroupBy::Status => self.by_attribute(chosen, &CODES.map(|name| (None, name)), place)?,
            GroupBy::Peer => {
                let peers = [(Some(Kind::Client), "server.address"), (Some(Kind::Server), "client.address")];
                self.by_attribute(chosen, &peers, place)?
            }
        })
    }

    /// The group of each row by the first of these attributes that it has, each for spans of a kind or for all.
    fn by_attribute(
        &mut self,
        chosen: &Chosen,
        names: &[(Option<Kind>, &str)],
        place: Place<'_>,
    ) -> Result<Vec<usize>, PartitionError> {
        let Chosen { head, form_of, .. } = chosen;
        let mut found = vec![None; head.rows];
        for (kind, name) in names {
            let Some(key) = head.key(name) else { continue };
            let raw = place.need(Head::part(key))?;
            let column = Column::read(&raw)?;
            let groups = column.values(|value| self.place(&text(&value)))?;
            let spread = column.spread(key, &head.forms, form_of, |at| groups[usize::from(at)])?;
            for ((found, own), form) in found.iter_mut().zip(spread).zip(form_of) {
                let fits = kind.is_none_or(|kind| head.forms[usize::from(*form)].kind == kind);
                *found = found.or(own.filter(|_| fits));
            }
        }
        let none = if found.contains(&None) { self.place(NONE) } else { 0 };
        Ok(found.into_iter().map(|found| found.unwrap_or(none)).collect())
    }
}

/// A process as people know it: its executable and its id.
fn process_name(resource: &crate::span::Resource, pid: u32) -> String {
    let name = resource.attributes.iter().find(|(name, _)| name == "process.executable.name");
    match name {
        Some((_, Value::Text(name))) => format!("{name}:{pid}"),
        _ => format!("{}:{pid}", resource.service),
    }
}

/// Bytes of each row.
fn bytes(head: &Head, form_of: &[u16], place: Place<'_>) -> Result<Vec<u64>, PartitionError> {
    let mut bytes = vec![0_u64; head.rows];
    for key in SIZES.into_iter().filter_map(|name| head.key(name)) {
        let raw = place.need(Head::part(key))?;
        let column = Column::read(&raw)?;
        let sizes =
            column.values(|value| if let Value::Int(size) = value { u64::try_from(size).unwrap_or(0) } else { 0 })?;
        let spread = column.spread(key, &head.forms, form_of, |at| sizes[usize::from(at)])?;
        for (bytes, own) in bytes.iter_mut().zip(spread) {
            *bytes = bytes.saturating_add(own.unwrap_or(0));
        }
    }
    Ok(bytes)
}
