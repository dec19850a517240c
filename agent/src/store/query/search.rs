//! The newest spans that a query asks for.

use std::{cmp::Reverse, collections::BinaryHeap};

use super::{Found, Place, Query, columns};
use crate::{
    control::Condition,
    span::Span,
    store::{block, partition::PartitionError},
};

/// A search under way. Blocks come in the order of their last start, newest first.
pub(super) struct Search<'a> {
    query: &'a Query,
    conditions: Vec<Condition<'a>>,
    limit: usize,
    /// Starts of the newest spans that were found, the oldest on top.
    starts: BinaryHeap<Reverse<u64>>,
    spans: Vec<Span>,
    has_more: bool,
}

impl<'a> Search<'a> {
    pub(super) fn new(query: &'a Query, limit: usize) -> Self {
        let conditions = query.filter.conditions();
        Self { query, conditions, limit, starts: BinaryHeap::new(), spans: Vec::new(), has_more: false }
    }

    /// Takes a block. Returns whether another one can hold anything newer than what was found.
    pub(super) fn block(&mut self, place: Place<'_>) -> Result<bool, PartitionError> {
        if self.is_full() && self.oldest().is_some_and(|oldest| place.block.summary.start_max <= oldest) {
            // It may be that nothing in what is left fulfils the conditions; but nobody looked.
            self.has_more = true;
            return Ok(false);
        }
        let Some(chosen) = columns::choose(self.query, &self.conditions, place)? else { return Ok(true) };
        let starts = block::times(&place.need(block::TIME)?, chosen.head.rows)?;
        let mut rows: Vec<(u64, u16)> = chosen.rows.iter().map(|row| (starts[usize::from(*row)], *row)).collect();
        rows.sort_unstable_by_key(|row| Reverse(*row));
        if rows.len() > self.limit {
            rows.truncate(self.limit);
            self.has_more = true;
        }
        let mut wanted = Vec::new();
        for (start, row) in rows {
            if self.is_full() {
                self.has_more = true;
                if self.oldest().is_some_and(|oldest| start <= oldest) {
                    break;
                }
                self.starts.pop();
            }
            self.starts.push(Reverse(start));
            wanted.push(row);
        }
        wanted.sort_unstable();
        if !wanted.is_empty() {
            self.spans.extend(block::spans(&wanted, |number| place.part(number))?);
        }
        if self.spans.len() > 2 * self.limit {
            self.cut();
        }
        Ok(true)
    }

    fn is_full(&self) -> bool {
        self.starts.len() >= self.limit
    }

    fn oldest(&self) -> Option<u64> {
        self.starts.peek().map(|Reverse(start)| *start)
    }

    fn cut(&mut self) {
        self.spans.sort_by_key(|span| Reverse(span.start_ns));
        self.spans.truncate(self.limit);
    }

    pub(super) fn found(mut self) -> Found {
        self.cut();
        Found { spans: self.spans, has_more: self.has_more }
    }
}
