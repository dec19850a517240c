//! The streams of a connection that are not over, in a bounded table.

use std::collections::BTreeMap;

use super::{
    EARLY_MAX, STREAMS_MAX,
    stream::{Ask, Stream},
};
use crate::protocol::{Incomplete, Notice};

/// Streams by their ids.
#[derive(Debug, Default)]
pub(super) struct Streams {
    table: BTreeMap<u32, Stream>,
    /// Of those, the ones of which the request was not seen yet.
    early: usize,
    /// The highest stream of which the request was seen. Lower ones that were not seen by then never will be: ids go up
    /// (RFC 9113, section 5.1.1).
    highest: u32,
}

impl Streams {
    /// A stream that is not over.
    pub(super) fn get(&mut self, id: u32) -> Option<&mut Stream> {
        self.table.get_mut(&id)
    }

    pub(super) const fn highest(&self) -> u32 {
        self.highest
    }

    /// Streams whose request was seen.
    pub(super) fn open(&self) -> usize {
        self.table.len() - self.early
    }

    /// Changes all streams, and reports those that are over then.
    pub(super) fn update(&mut self, mut change: impl FnMut(&mut Stream), out: &mut Vec<Notice>) {
        self.table.values_mut().for_each(&mut change);
        for (_, stream) in self.table.extract_if(.., |_, stream| stream.is_over()) {
            out.push(Notice::Finished(stream.into_exchange()));
        }
    }

    /// The stream of a request that begins; `ordinal` is that of its exchange. Returns how many streams had to give way:
    /// lower ones without requests, and the lowest one if there are too many, which is reported.
    pub(super) fn begin(&mut self, id: u32, ordinal: u64, out: &mut Vec<Notice>) -> (&mut Stream, Dropped) {
        let mut dropped = Dropped { unpaired: self.pass(id), full: 0 };
        self.early -= usize::from(self.table.get(&id).is_some_and(|stream| stream.ask == Ask::Early));
        // Early streams are higher than this one, so the lowest is none of them.
        if self.open() >= STREAMS_MAX
            && let Some((_, mut lowest)) = self.table.pop_first()
        {
            lowest.give_up(Incomplete::Unobserved);
            out.push(Notice::Finished(lowest.into_exchange()));
            dropped.full = 1;
        }
        let stream = self.table.entry(id).or_insert_with(|| Stream::new(ordinal));
        stream.begin(ordinal);
        (stream, dropped)
    }

    /// Requests up to this stream have been passed: drops the lower streams whose request was not among them, and returns
    /// how many they were.
    pub(super) fn pass(&mut self, id: u32) -> u64 {
        self.highest = self.highest.max(id);
        if self.early == 0 {
            return 0;
        }
        let before = self.table.len();
        self.table.retain(|at, stream| *at >= id || stream.ask != Ask::Early);
        let dropped = before - self.table.len();
        self.early -= dropped;
        dropped as u64
    }

    /// The stream of a response that begins before its request was seen; none if the request cannot come any more, or
    /// there are too many such streams.
    pub(super) fn early(&mut self, id: u32) -> Option<&mut Stream> {
        if id <= self.highest || self.early >= EARLY_MAX {
            return None;
        }
        self.early += 1;
        Some(self.table.entry(id).or_insert_with(|| Stream::new(u64::from(id))))
    }

    pub(super) const fn is_early_full(&self) -> bool {
        self.early >= EARLY_MAX
    }

    /// Reports a stream if it is over.
    pub(super) fn settle(&mut self, id: u32, out: &mut Vec<Notice>) {
        if self.table.get(&id).is_some_and(Stream::is_over)
            && let Some(stream) = self.table.remove(&id)
        {
            out.push(Notice::Finished(stream.into_exchange()));
        }
    }

    /// Ends the streams that `end` says are over, and reports those whose request was seen. Returns how many were dropped
    /// without that.
    pub(super) fn end(&mut self, mut end: impl FnMut(u32, &mut Stream) -> bool, out: &mut Vec<Notice>) -> u64 {
        let mut unpaired = 0;
        for (_, stream) in self.table.extract_if(.., |id, stream| end(*id, stream)) {
            if stream.ask == Ask::Early {
                unpaired += 1;
            } else {
                out.push(Notice::Finished(stream.into_exchange()));
            }
        }
        self.early -= unpaired;
        unpaired as u64
    }
}

/// Streams that had to give way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Dropped {
    /// Of which the request was not seen.
    pub(super) unpaired: u64,
    /// Because there were too many.
    pub(super) full: u64,
}
