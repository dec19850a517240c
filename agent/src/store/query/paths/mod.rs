//! Which ways requests take: the spans of many traces as one tree of calling contexts, with the time spent in each and how
//! much of it was on the critical path of its trace.
//!
//! A call of which both ends were seen is one node, named by the callee: what it took as its caller saw it, of which the part
//! outside of the callee is the network's.

mod tree;

use rustc_hash::{FxHashMap, FxHashSet};

pub use self::tree::Node;
use self::tree::Tree;
use super::{Place, Query, columns, label::labels, names::Names};
use crate::{
    control::Condition,
    span::{Kind, Status, TraceId},
    store::{
        block::{self, Summary},
        partition::PartitionError,
    },
};

/// Traces that are looked at, at most: the newest.
pub const TRACES_MAX: usize = 20_000;
/// Spans of these that are looked at, at most.
pub const SPANS_MAX: usize = 200_000;
/// How long before and after the spans that were found the other spans of a trace are looked for, in nanoseconds.
const MARGIN_NS: u64 = 60_000_000_000;

/// The tree of many traces.
pub struct Paths {
    /// Nodes, each after its parent.
    pub nodes: Vec<Node>,
    /// Traces in it.
    pub traces: usize,
    /// Spans in it.
    pub spans: usize,
    /// Whether all traces and spans that were asked for are in it.
    pub is_whole: bool,
}

/// A span, as far as it is needed here.
#[derive(Clone, Copy, Debug)]
struct Row {
    trace: u32,
    id: u64,
    /// 0 where there is none.
    parent: u64,
    start_ns: u64,
    end_ns: u64,
    /// Place in the names.
    service: u32,
    label: u32,
    is_server: bool,
    is_error: bool,
}

/// The search for traces with a span that a query asks for. Blocks come newest first.
pub(super) struct Traces<'a> {
    query: &'a Query,
    conditions: Vec<Condition<'a>>,
    found: FxHashSet<TraceId>,
    /// Start of the first and the last span of the blocks in which any was found.
    times: Option<(u64, u64)>,
    is_whole: bool,
}

impl<'a> Traces<'a> {
    pub(super) fn new(query: &'a Query) -> Self {
        let conditions = query.filter.conditions();
        Self { query, conditions, found: FxHashSet::default(), times: None, is_whole: true }
    }

    pub(super) fn block(&mut self, place: Place<'_>) -> Result<bool, PartitionError> {
        let Some(chosen) = columns::choose(self.query, &self.conditions, place)? else { return Ok(true) };
        let traces = block::traces(&place.need(block::IDS)?, chosen.head.rows)?;
        let Summary { start_min, start_max, .. } = place.block.summary;
        let (first_ns, last_ns) = self.times.unwrap_or((start_min, start_max));
        self.times = Some((first_ns.min(start_min), last_ns.max(start_max)));
        for row in chosen.rows.iter().rev().copied().map(usize::from) {
            if self.found.len() >= TRACES_MAX && !self.found.contains(&traces[row]) {
                self.is_whole = false;
                return Ok(false);
            }
            self.found.insert(traces[row]);
        }
        Ok(true)
    }

    /// Where their other spans are looked for, if any was found.
    pub(super) fn whole(&self) -> Option<Query> {
        let (from_ns, to_ns) = self.times?;
        let (from_ns, to_ns) = (from_ns.saturating_sub(MARGIN_NS), to_ns.saturating_add(MARGIN_NS));
        Some(Query { from_ns: Some(from_ns), to_ns: Some(to_ns), ..Query::default() })
    }

    /// Goes on to the spans of these traces.
    pub(super) fn rows(self) -> Rows {
        let wanted = self.found.into_iter().enumerate().map(|(at, id)| (id, at as u32)).collect();
        Rows { wanted, found: Vec::new(), names: Names::default(), is_whole: self.is_whole }
    }
}

/// The search for the spans of traces.
pub(super) struct Rows {
    wanted: FxHashMap<TraceId, u32>,
    found: Vec<Row>,
    names: Names,
    is_whole: bool,
}

impl Rows {
    pub(super) fn block(&mut self, place: Place<'_>) -> Result<bool, PartitionError> {
        let everything = Query::default();
        let Some(chosen) = columns::choose(&everything, &[], place)? else { return Ok(true) };
        let head = &chosen.head;
        let ids = place.need(block::IDS)?;
        let traces = block::traces(&ids, head.rows)?;
        if !traces.iter().any(|trace| self.wanted.contains_key(trace)) {
            return Ok(true);
        }
        let families = block::families(&ids, head.rows, &head.forms, &chosen.form_of)?;
        let durations = block::numbers(&place.need(block::DURATION)?, head.rows)?;
        let starts = block::times(&place.need(block::TIME)?, head.rows)?;
        let services: Vec<_> = head.processes.iter().map(|(resource, _)| self.names.place(&resource.service)).collect();
        let labels = labels(&chosen, place, |label| self.names.place(label))?;
        for row in 0..head.rows {
            let Some(trace) = self.wanted.get(&traces[row]) else { continue };
            if self.found.len() >= SPANS_MAX {
                self.is_whole = false;
                return Ok(false);
            }
            let form = &head.forms[usize::from(chosen.form_of[row])];
            let (id, parent) = families[row];
            self.found.push(Row {
                trace: *trace,
                id: u64::from_be_bytes(id.0),
                parent: parent.map_or(0, |parent| u64::from_be_bytes(parent.0)),
                start_ns: starts[row],
                end_ns: starts[row].saturating_add(durations[row]),
                service: services[usize::from(chosen.process_of[row])],
                label: labels[row],
                is_server: form.kind == Kind::Server,
                is_error: form.status == Status::Error,
            });
        }
        Ok(true)
    }

    pub(super) fn finish(mut self) -> Paths {
        self.found.sort_unstable_by_key(|row| (row.trace, row.start_ns, row.id));
        let mut tree = Tree::new(self.names.list());
        let mut traces = 0;
        for trace in self.found.chunk_by(|a, b| a.trace == b.trace) {
            traces += 1;
            tree.add(trace);
        }
        let is_whole = self.is_whole && tree.is_whole();
        Paths { nodes: tree.finish(), traces, spans: self.found.len(), is_whole }
    }
}
