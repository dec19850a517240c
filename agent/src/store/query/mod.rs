//! Questions to the store. Each opens the partitions anew, sees one state of each, and goes through the blocks that it
//! can't rule out; a deadline bounds it.

mod cells;
mod columns;
mod edges;
mod filters;
mod groups;
mod heat;
mod known;
mod label;
mod names;
mod paths;
mod search;

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Sender, sync_channel},
    },
    time::{Duration, Instant},
};

use rustc_hash::FxHashSet;

pub use self::{
    edges::Edge,
    groups::{Group, GroupBy, Totals},
    heat::{COLUMNS as HEAT_COLUMNS, Heat, ROWS as HEAT_ROWS},
    paths::{Node, Paths},
};
use super::{
    block, bloom,
    directory::{self, Entry},
    partition::{Block, Partition, PartitionError},
    writer::Command,
};
use crate::{
    control::SpanFilter,
    span::{Kind, Span, TraceId},
};

/// Spans that one search gives at most.
pub const SEARCH_MAX: usize = 10_000;
/// Spans of the traces of one answer, from which on no more are read.
pub const TRACE_SPANS_MAX: usize = 50_000;
/// How long one question may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long a question about a trace waits for what is not committed yet; the thread looks for it every 25 ms.
const FLUSH_PATIENCE: Duration = Duration::from_secs(1);

/// Which spans are asked for.
#[derive(Clone, Debug, Default)]
pub struct Query {
    /// By what they are.
    pub filter: SpanFilter,
    /// Only those that start at this moment or later, in nanoseconds since the epoch.
    pub from_ns: Option<u64>,
    /// Only those that start before this moment.
    pub to_ns: Option<u64>,
}

/// What a search found.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// The newest spans first, by their start.
    pub spans: Vec<Span>,
    /// There are more.
    pub has_more: bool,
}

/// The spans of some traces.
#[derive(Clone, Debug, Default)]
pub struct Traces {
    /// By trace, in the order of their starts; a trace that is not known is not there.
    pub by_id: HashMap<TraceId, Vec<Span>>,
    /// All of them were looked for: there were fewer than [`TRACE_SPANS_MAX`].
    pub is_whole: bool,
}

/// The spans of one trace.
#[derive(Clone, Debug)]
pub struct Trace {
    /// In the order of their starts.
    pub spans: Vec<Span>,
    /// These are all that are stored.
    pub is_whole: bool,
}

/// Why a question was not answered.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// The directory can't be read.
    #[error("the store can't be read: {0}")]
    Directory(#[from] std::io::Error),
    /// It took too long.
    #[error("the question takes more than {} s: ask for less time or fewer spans", PATIENCE.as_secs())]
    TooLong,
}

/// Asks the store. It is cheap to clone, and can be sent to another thread.
#[derive(Clone, Debug)]
pub struct Reader {
    dir: PathBuf,
    commands: Sender<Command>,
    filters: Arc<Mutex<filters::Filters>>,
}

/// A block of a partition.
#[derive(Clone, Copy)]
struct Place<'a> {
    partition: &'a Partition,
    block: Block,
    /// Which of the opened ones, for telling damage.
    at: usize,
    /// When the partition was begun.
    begun_ns: u64,
}

impl Place<'_> {
    fn part(&self, number: u16) -> Result<Option<Vec<u8>>, PartitionError> {
        self.partition.part(self.block.id, number)
    }

    fn need(&self, number: u16) -> Result<Vec<u8>, PartitionError> {
        self.part(number)?.ok_or(PartitionError::Damaged(super::bytes::Damaged))
    }
}

impl Query {
    /// Whether a block may hold any of the spans, by its summary.
    fn may_be_in(&self, block: &Block) -> bool {
        let summary = &block.summary;
        self.from_ns.is_none_or(|from| summary.start_max >= from)
            && self.to_ns.is_none_or(|to| summary.start_min < to)
            && self.filter.min_duration.is_none_or(|shortest| u128::from(summary.duration_max) >= shortest.as_nanos())
    }

    fn admits_start(&self, start_ns: u64) -> bool {
        self.from_ns.is_none_or(|from| start_ns >= from) && self.to_ns.is_none_or(|to| start_ns < to)
    }
}

impl Reader {
    pub(super) fn new(dir: PathBuf, commands: Sender<Command>) -> Self {
        Self { dir, commands, filters: Arc::default() }
    }

    /// The newest spans that a query asks for, at most `limit` and [`SEARCH_MAX`].
    pub fn search(&self, query: &Query, limit: usize) -> Result<Found, QueryError> {
        let mut search = search::Search::new(query, limit.clamp(1, SEARCH_MAX));
        self.blocks(query, true, |place| search.block(place))?;
        Ok(search.found())
    }

    /// The spans of a trace; none if it is not known. What was offered to the store before is
    /// in it: who sees a request as it happens may ask for its trace at once.
    pub fn trace(&self, wanted: TraceId) -> Result<Option<Trace>, QueryError> {
        if !self.flush(FLUSH_PATIENCE) {
            log::debug!("store: asked for a trace before all of it may be committed");
        }
        let mut traces = self.traces(&[wanted])?;
        Ok(traces.by_id.remove(&wanted).map(|spans| Trace { spans, is_whole: traces.is_whole }))
    }

    /// Has every span committed that was offered so far, and waits for it at most for `patience`. Returns whether that is
    /// done.
    pub(super) fn flush(&self, patience: Duration) -> bool {
        let (done, is_done) = sync_channel(1);
        self.commands.send(Command::Flush(done)).is_ok() && is_done.recv_timeout(patience).is_ok()
    }

    /// The spans of these traces. What is past [`TRACE_SPANS_MAX`] spans of all of them is left out.
    pub fn traces(&self, wanted: &[TraceId]) -> Result<Traces, QueryError> {
        let (mut traces, mut taken) = (HashMap::<_, Vec<Span>>::new(), 0);
        let hashes: Vec<_> = wanted.iter().map(|trace| bloom::hash(b"", &trace.0)).collect();
        let mut begun_ns = FxHashSet::default();
        // Questions are few at a time; that they wait for each other here costs less than a copy of the filters.
        let mut filters = self.filters.lock().unwrap_or_else(PoisonError::into_inner);
        self.blocks(&Query::default(), false, |place| {
            begun_ns.insert(place.begun_ns);
            if !filters.may_hold(place, &hashes)? {
                return Ok(true);
            }
            let rows = block::rows_of(&place.need(block::IDS)?, place.block.summary.rows as usize, wanted)?;
            if !rows.is_empty() {
                taken += rows.len();
                for span in block::spans(&rows, |number| place.part(number))? {
                    traces.entry(span.trace_id).or_default().push(span);
                }
            }
            Ok(taken < TRACE_SPANS_MAX)
        })?;
        for spans in traces.values_mut() {
            spans.sort_by_key(|span| (span.start_ns, span.end_ns));
        }
        let is_whole = taken < TRACE_SPANS_MAX;
        if is_whole {
            filters.keep(&begun_ns);
        }
        Ok(Traces { by_id: traces, is_whole })
    }

    /// The names of all services, in their order; what is past [`names::NAMES_MAX`] is one name.
    pub fn services(&self) -> Result<Vec<String>, QueryError> {
        let mut services = known::Services::default();
        self.blocks(&Query::default(), false, |place| services.block(place))?;
        Ok(services.finish())
    }

    /// The values of an attribute as texts, in their order; bounded as [`Self::services`] is.
    pub fn values(&self, attribute: &str) -> Result<Vec<String>, QueryError> {
        let mut values = known::Values::new(attribute);
        self.blocks(&Query::default(), false, |place| values.block(place))?;
        Ok(values.finish())
    }

    /// The names of the spans that a query asks for, by kind, clients' first; bounded as [`Self::services`] is.
    pub fn operations(&self, query: &Query) -> Result<Vec<(String, Kind)>, QueryError> {
        let mut operations = known::Operations::new(query);
        self.blocks(query, false, |place| operations.block(place))?;
        Ok(operations.finish())
    }

    /// Figures of all spans that a query asks for, by group, the largest group first.
    pub fn groups(&self, query: &Query, by: GroupBy) -> Result<Vec<Group>, QueryError> {
        let mut groups = groups::Groups::new(query, by);
        self.blocks(query, false, |place| groups.block(place))?;
        Ok(groups.finish())
    }

    /// Who calls whom, by the spans that a query asks for, at most the newest [`edges::SPANS_MAX`]. The filter applies to
    /// the edges' spans, each by itself. Returns, too, whether all spans were looked at.
    pub fn edges(&self, query: &Query) -> Result<(Vec<Edge>, bool), QueryError> {
        let mut edges = edges::Edges::new(query);
        self.blocks(query, true, |place| edges.block(place))?;
        Ok(edges.finish())
    }

    /// Durations over time of all spans that a query asks for, in so many columns. Where the query leaves a time open, the
    /// grid begins or ends with what is stored.
    pub fn heat(&self, query: &Query, columns: usize) -> Result<Heat, QueryError> {
        let (mut first_ns, mut last_ns) = (u64::MAX, 0);
        if query.from_ns.is_none() || query.to_ns.is_none() {
            self.blocks(query, false, |place| {
                first_ns = first_ns.min(place.block.summary.start_min);
                last_ns = last_ns.max(place.block.summary.start_max);
                Ok(true)
            })?;
        }
        let to_ns = query.to_ns.unwrap_or(last_ns.saturating_add(1));
        let heat = Heat::new(query.from_ns.unwrap_or(first_ns.min(to_ns)), to_ns, columns);
        let mut search = heat::Search::new(query, heat);
        self.blocks(query, false, |place| search.block(place))?;
        Ok(search.finish())
    }

    /// Which ways requests take: the newest traces with a span that a query asks for, each whole, as one tree.
    pub fn paths(&self, query: &Query) -> Result<Paths, QueryError> {
        let mut traces = paths::Traces::new(query);
        self.blocks(query, true, |place| traces.block(place))?;
        let (whole, mut rows) = (traces.whole(), traces.rows());
        if let Some(whole) = whole {
            self.blocks(&whole, true, |place| rows.block(place))?;
        }
        Ok(rows.finish())
    }

    /// Goes through the blocks that may hold what is asked for until `visit` says that it is enough. `newest_first` puts
    /// them in the order of their last start. A damaged partition is told to the writer and left out from then on.
    fn blocks(
        &self,
        query: &Query,
        newest_first: bool,
        mut visit: impl FnMut(Place<'_>) -> Result<bool, PartitionError>,
    ) -> Result<(), QueryError> {
        let deadline = Instant::now() + PATIENCE;
        let entries = match directory::entries(&self.dir) {
            // Before the first start there is nothing.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            entries => entries?,
        };
        let opened: Vec<(Entry, Partition)> = entries.into_iter().filter_map(|entry| self.open(entry)).collect();
        let mut is_damaged = vec![false; opened.len()];
        let mut places = Vec::new();
        for (at, (entry, partition)) in opened.iter().enumerate() {
            let begun_ns = entry.begun_ns;
            match partition.blocks() {
                Ok(blocks) => {
                    let asked = blocks.into_iter().filter(|block| query.may_be_in(block));
                    places.extend(asked.map(|block| Place { partition, block, at, begun_ns }));
                }
                Err(error) => is_damaged[at] = self.tell(entry, &error),
            }
        }
        if newest_first {
            places.sort_by_key(|place| std::cmp::Reverse(place.block.summary.start_max));
        }
        for place in places {
            if is_damaged[place.at] {
                continue;
            }
            if Instant::now() > deadline {
                return Err(QueryError::TooLong);
            }
            match visit(place) {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => is_damaged[place.at] = self.tell(&opened[place.at].0, &error),
            }
        }
        Ok(())
    }

    fn open(&self, entry: Entry) -> Option<(Entry, Partition)> {
        match Partition::open(&entry.path) {
            Ok(partition) => Some((entry, partition)),
            Err(error) => {
                // It may have been removed since the directory was read, or be in the making.
                if entry.path.exists() {
                    self.tell(&entry, &error);
                }
                None
            }
        }
    }

    /// Tells the writer of a partition that is damaged. Returns that it is to be left out.
    fn tell(&self, entry: &Entry, error: &PartitionError) -> bool {
        let is_new = matches!(error, PartitionError::Version(0));
        if error.is_damage() && !is_new {
            log::debug!("store: {}: {error}", entry.path.display());
            // The store may have ended meanwhile.
            let _ = self.commands.send(Command::Damaged(entry.path.clone()));
        }
        true
    }
}
