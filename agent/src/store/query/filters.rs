//! The filters of trace ids that were read lately, in memory: a question about a trace asks each block's, and each is a few
//! kilobytes. A block never changes and its id is never given again, so none of them is ever out of date.

use rustc_hash::{FxHashMap, FxHashSet};

use super::Place;
use crate::store::{block, bloom, partition::PartitionError};

/// Bytes that are kept at most: the filters of some 20 million spans. What has no room is read each time.
const BYTES_MAX: usize = 8 << 20;
/// Blocks with fewer spans are put together soon: their filters are not kept.
const ROWS_MIN: u64 = block::ROWS_MAX as u64 / 2;

/// Filters by the partition's begin and the block.
#[derive(Debug, Default)]
pub(super) struct Filters {
    known: FxHashMap<(u64, i64), Box<[u8]>>,
    bytes: usize,
}

impl Filters {
    /// Whether a block may hold a span of one of the traces with these hashes.
    pub(super) fn may_hold(&mut self, place: Place<'_>, hashes: &[u64]) -> Result<bool, PartitionError> {
        let any = |filter: &[u8]| hashes.iter().any(|hash| bloom::may_hold(filter, *hash));
        let key = (place.begun_ns, place.block.id);
        if let Some(filter) = self.known.get(&key) {
            return Ok(any(filter));
        }
        let filter = place.need(block::TRACES)?;
        let may_hold = any(&filter);
        if place.block.summary.rows >= ROWS_MIN && self.bytes + filter.len() <= BYTES_MAX {
            self.bytes += filter.len();
            self.known.insert(key, filter.into());
        }
        Ok(may_hold)
    }

    /// Forgets the filters of other partitions than these.
    pub(super) fn keep(&mut self, begun_ns: &FxHashSet<u64>) {
        self.known.retain(|(own, _), _| begun_ns.contains(own));
        self.bytes = self.known.values().map(|filter| filter.len()).sum();
    }
}
