//! Who calls whom: the two ends of a call are one edge where both were seen; where only one was, the other is named by
//! its address.

use rustc_hash::FxHashMap;

use super::{Place, Query, Totals, columns, names::Names};
use crate::{
    control::Condition,
    span::{Kind, SpanId, Status},
    store::{
        block::{self, Column, Head},
        label::text,
        partition::PartitionError,
    },
};

/// Spans that are looked at, at most.
pub const SPANS_MAX: usize = 500_000;
/// Who calls or is called where nothing tells.
const UNKNOWN: &str = "(unknown)";

/// An edge.
pub struct Edge {
    /// Who calls: a service, or an address.
    pub caller: String,
    /// Who is called: a service, or an address.
    pub callee: String,
    /// Whether the caller's end was seen.
    pub caller_seen: bool,
    /// Whether the callee's end was seen.
    pub callee_seen: bool,
    /// The calls' figures, as the caller sees them where it was seen.
    pub totals: Totals,
}

/// One end of a call.
struct End {
    /// Of a caller its own id, of a callee its parent's.
    id: Option<SpanId>,
    service: u32,
    other: Option<u32>,
    start_ns: u64,
    duration_ns: u64,
    is_error: bool,
}

/// The search for edges under way. Blocks come newest first.
pub(super) struct Edges<'a> {
    query: &'a Query,
    conditions: Vec<Condition<'a>>,
    names: Names,
    callers: Vec<End>,
    callees: Vec<End>,
    is_whole: bool,
}

impl<'a> Edges<'a> {
    pub(super) fn new(query: &'a Query) -> Self {
        let conditions = query.filter.conditions();
        Self { query, conditions, names: Names::default(), callers: Vec::new(), callees: Vec::new(), is_whole: true }
    }

    pub(super) fn block(&mut self, place: Place<'_>) -> Result<bool, PartitionError> {
        let Some(chosen) = columns::choose(self.query, &self.conditions, place)? else { return Ok(true) };
        if self.callers.len() + self.callees.len() + chosen.rows.len() > SPANS_MAX {
            self.is_whole = false;
            return Ok(false);
        }
        let (head, form_of) = (&chosen.head, &chosen.form_of);
        let durations = block::numbers(&place.need(block::DURATION)?, head.rows)?;
        let starts = block::times(&place.need(block::TIME)?, head.rows)?;
        let families = block::families(&place.need(block::IDS)?, head.rows, &head.forms, form_of)?;
        let services: Vec<_> = head.processes.iter().map(|(resource, _)| self.names.place(&resource.service)).collect();
        let servers = self.column("server.address", head, form_of, place)?;
        let clients = self.column("client.address", head, form_of, place)?;
        for row in chosen.rows.iter().copied().map(usize::from) {
            let form = &head.forms[usize::from(form_of[row])];
            let (own, parent) = families[row];
            let is_server = form.kind == Kind::Server;
            let end = End {
                id: if is_server { parent } else { Some(own) },
                service: services[usize::from(chosen.process_of[row])],
                other: if is_server { clients[row] } else { servers[row] },
                start_ns: starts[row],
                duration_ns: durations[row],
                is_error: form.status == Status::Error,
            };
            if is_server { self.callees.push(end) } else { self.callers.push(end) }
        }
        Ok(true)
    }

    /// The edges, those with most calls first, and whether all spans were looked at.
    pub(super) fn finish(mut self) -> (Vec<Edge>, bool) {
        let unknown = self.names.place(UNKNOWN);
        let mut edges = FxHashMap::<(u32, u32, bool, bool), Totals>::default();
        let callees: FxHashMap<SpanId, u32> =
            self.callees.iter().filter_map(|callee| Some((callee.id?, callee.service))).collect();
        let mut seen = rustc_hash::FxHashSet::default();
        for caller in &self.callers {
            let callee = caller.id.and_then(|id| Some((id, *callees.get(&id)?)));
            seen.extend(callee.map(|(id, _)| id));
            let name = callee.map(|(_, service)| service).or(caller.other).unwrap_or(unknown);
            let edge = edges.entry((caller.service, name, true, callee.is_some())).or_default();
            edge.add(caller.start_ns, caller.duration_ns, caller.is_error, 0);
        }
        for callee in self.callees.iter().filter(|callee| callee.id.is_none_or(|id| !seen.contains(&id))) {
            let edge = edges.entry((callee.other.unwrap_or(unknown), callee.service, false, true)).or_default();
            edge.add(callee.start_ns, callee.duration_ns, callee.is_error, 0);
        }
        let name = |place: u32| self.names.list()[place as usize].clone();
        let edge = |((caller, callee, caller_seen, callee_seen), totals)| Edge {
            caller: name(caller),
            callee: name(callee),
            caller_seen,
            callee_seen,
            totals,
        };
        let mut edges: Vec<_> = edges.into_iter().map(edge).collect();
        edges.sort_by(|a, b| {
            b.totals.count.cmp(&a.totals.count).then_with(|| (&a.caller, &a.callee).cmp(&(&b.caller, &b.callee)))
        });
        (edges, self.is_whole)
    }

    /// For each row the name in an attribute.
    fn column(
        &mut self,
        name: &str,
        head: &Head,
        form_of: &[u16],
        place: Place<'_>,
    ) -> Result<Vec<Option<u32>>, PartitionError> {
        let Some(key) = head.key(name) else { return Ok(vec![None; head.rows]) };
        let raw = place.need(Head::part(key))?;
        let column = Column::read(&raw)?;
        let names = column.values(|value| self.names.place(&text(&value)))?;
        Ok(column.spread(key, &head.forms, form_of, |at| names[usize::from(at)])?)
    }
}
