//! The next records to be taken, by their heads. At most [`LOADED_MAX`] are in memory, however long the queue is.
#![forbid(unsafe_code)]

use std::collections::VecDeque;

use bytes::Bytes;

use super::{ledger, segment::Place};

/// Records in memory at most.
const LOADED_MAX: usize = 4096;
/// Bytes of bodies that are kept in memory besides the disk, so that what is sent at once is not read back.
const CACHE_MAX: usize = 4 << 20;

/// The next records.
#[derive(Debug)]
pub struct Entries {
    loaded: VecDeque<(Place, Option<Bytes>)>,
    /// All records before this ordinal were taken or dropped, or are in `loaded`.
    end: u64,
    cached: usize,
}

impl Entries {
    /// None loaded; the first record that there may be has the ordinal `first`.
    pub const fn new(first: u64) -> Self {
        Self { loaded: VecDeque::new(), end: first, cached: 0 }
    }

    /// All records before this ordinal were taken or dropped.
    pub fn front(&self) -> u64 {
        self.loaded.front().map_or(self.end, |(place, _)| place.head.ordinal)
    }

    /// The next record, if it is loaded.
    pub fn first(&self) -> Option<Place> {
        self.loaded.front().map(|(place, _)| *place)
    }

    /// Takes the next record, with its body if that is in memory.
    pub fn pop(&mut self) -> Option<(Place, Option<Bytes>)> {
        let (place, body) = self.loaded.pop_front()?;
        self.cached -= body.as_ref().map_or(0, Bytes::len);
        Some((place, body))
    }

    /// A record was appended to the queue. It is loaded if all before it are.
    pub fn appended(&mut self, place: Place, body: &Bytes) {
        if self.end != place.head.ordinal || self.loaded.len() >= LOADED_MAX {
            return;
        }
        let fits = self.cached + body.len() <= CACHE_MAX;
        self.cached += if fits { body.len() } else { 0 };
        self.loaded.push_back((place, fits.then(|| body.clone())));
        self.end += 1;
    }

    /// Loads records of a segment that ends before the ordinal `end`, but those that were settled when the agent began.
    pub fn load(&mut self, places: Vec<Place>, end: u64, found: &ledger::Entry) {
        let from = self.end;
        let mut wanted = places
            .into_iter()
            .filter(|place| (from..end).contains(&place.head.ordinal) && !found.is_settled(place.head.ordinal));
        self.loaded.extend(wanted.by_ref().take(LOADED_MAX).map(|place| (place, None)));
        self.end = wanted.next().map_or(end, |place| place.head.ordinal);
    }

    /// Drops all before an ordinal.
    pub fn skip_to(&mut self, end: u64) {
        while self.first().is_some_and(|place| place.head.ordinal < end) {
            self.pop();
        }
        self.end = self.end.max(end);
    }
}
