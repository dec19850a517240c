//! The queue on the disk: batches in append-only segments, oldest first, and a ledger of what became of them.
//!
//! A batch is written before it is sent, and settled once its fate is known; a segment is removed when all its records
//! are settled. Nothing is waited for but the page cache: what was written outlives the process at once, and a power cut
//! after [`SYNC_AFTER`] ([`Disk::unsynced`]). A new process begins a new segment, so that a torn tail is never
//! written behind.
//!
//! **What is known after a kill.** The ledger notes what was produced before any of it is written, so
//! `produced` = settled + on the disk + lost holds by construction, and what is missing is counted: as `corrupt` what had been
//! written and can't be read, as `killed` what was in memory. Not known are the spans of the worker's last turn.
#![forbid(unsafe_code)]

mod directory;
mod entries;
mod ledger;
mod record;
mod recovery;
mod segment;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, VecDeque},
    fs::{self, File},
    io,
    path::PathBuf,
    time::{Duration, Instant},
};

use self::{entries::Entries, ledger::Ledger, record::Head};
use crate::export::delivery::{encode::Batch, stats::Totals};

/// Bytes of a segment: what is gained by removing one, and what is lost by dropping one.
pub const SEGMENT_BYTES: u64 = 8 << 20;
/// Bytes of a queue at least: some segments, so that dropping the oldest is not dropping all.
pub const BYTES_MIN: u64 = 4 * SEGMENT_BYTES;
/// What waits longer than this is made safe against a power cut.
const SYNC_AFTER: Duration = Duration::from_secs(1);
/// After the disk failed, it is tried again only after this time.
const REST: Duration = Duration::from_secs(1);
/// How often the room on the disk is looked at.
const LOOK: Duration = Duration::from_secs(1);
/// Records that may be settled beyond the oldest that is not; the bits of the ledger's mask.
const WINDOW: u64 = 64;

/// Where a queue is, and how much it may hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Its directory; made if it is not there.
    pub dir: PathBuf,
    /// Bytes of all segments at most.
    pub bytes: u64,
    /// Bytes of one segment: [`SEGMENT_BYTES`], unless a test is in a hurry.
    pub segment: u64,
}

/// A file of the queue.
#[derive(Debug)]
struct Segment {
    /// Ordinal of its first record, or of the first that it might have.
    first: u64,
    path: PathBuf,
    bytes: u64,
    /// Spans in it that were neither taken nor dropped.
    waiting: u64,
    /// To be put aside instead of being removed.
    damaged: bool,
}

/// The queue.
#[derive(Debug)]
pub struct Disk {
    config: Config,
    _lock: File,
    ledger: Ledger,
    /// What the last run noted.
    found: ledger::Entry,
    /// What was noted last.
    noted: ledger::Entry,
    /// What earlier runs counted.
    earlier: Totals,
    /// Oldest first; the last one is appended to if `active` is there.
    segments: VecDeque<Segment>,
    active: Option<File>,
    bytes: u64,
    /// Ordinal of the next record.
    next: u64,
    entries: Entries,
    /// Records that were taken and are not settled; those that came back are here with their batch.
    taken: BTreeMap<u64, Option<Batch>>,
    stored: u64,
    unstored: u64,
    corrupt: u64,
    unsynced: Vec<File>,
    unsynced_since: Option<Instant>,
    rest_until: Option<Instant>,
    room: u64,
    looked: Option<Instant>,
}

/// Why a batch is not on the disk.
#[derive(Debug)]
pub struct Failed {
    /// The batch.
    pub batch: Batch,
    /// The reason, where it is news.
    pub error: Option<io::Error>,
}

/// Whether a directory holds segments of a queue.
pub fn has_segments(dir: &std::path::Path) -> bool {
    directory::segments(dir).is_ok_and(|segments| !segments.is_empty())
}

impl Disk {
    /// What earlier runs counted, with what was found missing now.
    pub const fn earlier(&self) -> Totals {
        self.earlier
    }

    /// Spans that wait, or are under way.
    pub const fn spans(&self) -> u64 {
        self.stored - self.unstored
    }

    /// Bytes of the segments.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Ordinal that the next record gets.
    pub const fn next(&self) -> u64 {
        self.next
    }

    /// Ordinal of the oldest record that is not settled.
    pub fn cursor(&self) -> u64 {
        let taken = self.taken.keys().next().copied().unwrap_or(u64::MAX);
        taken.min(self.entries.front()).min(self.next)
    }

    /// Whether something can be taken.
    pub fn is_empty(&self) -> bool {
        self.entries.front() >= self.next && self.taken.values().all(Option::is_none)
    }

    /// Whether nothing waits or is under way.
    pub fn is_settled(&self) -> bool {
        self.cursor() >= self.next
    }

    /// Spans of damaged records since the last call.
    pub fn take_corrupt(&mut self) -> u64 {
        std::mem::take(&mut self.corrupt)
    }

    /// Writes a batch. Returns how many spans were dropped for it: where all bytes are used, or the disk is full, the oldest
    /// segments go.
    ///
    /// # Errors
    /// It can't be written; the batch comes back. For a while the disk is then left alone.
    pub fn push(&mut self, batch: Batch, now: Instant) -> (u64, Result<(), Failed>) {
        if self.rest_until.is_some_and(|until| until > now) {
            return (0, Err(Failed { batch, error: None }));
        }
        let length = record::HEAD as u64 + batch.body.len() as u64;
        let mut dropped = self.make_room(length, now);
        loop {
            let Err(error) = self.append(&batch, now) else {
                self.rest_until = None;
                return (dropped, Ok(()));
            };
            let is_full = matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
            if !is_full || self.segments.len() < 2 {
                // The next one begins behind nothing that this one may have left.
                self.active = None;
                self.rest_until = Some(now + REST);
                return (dropped, Err(Failed { batch, error: Some(error) }));
            }
            dropped += self.drop_oldest();
        }
    }

    fn make_room(&mut self, length: u64, now: Instant) -> u64 {
        if self.looked.is_none_or(|looked| looked + LOOK <= now) {
            self.looked = Some(now);
            self.room = directory::room(&self.config.dir).unwrap_or(u64::MAX);
        }
        let mut dropped = 0;
        while self.segments.len() > 1 && (self.bytes + length > self.config.bytes || self.room < length) {
            let before = self.bytes;
            dropped += self.drop_oldest();
            self.room = self.room.saturating_add(before - self.bytes);
        }
        dropped
    }

    fn append(&mut self, batch: &Batch, now: Instant) -> io::Result<()> {
        let length = u32::try_from(batch.body.len()).ok().filter(|length| *length <= record::BODY_MAX);
        let head = Head {
            ordinal: self.next,
            time_ms: batch.time_ms,
            spans: u32::try_from(batch.spans).unwrap_or(u32::MAX),
            length: length.ok_or(io::ErrorKind::FileTooLarge)?,
            format: batch.format,
            compression: batch.compression,
            checksum: crc32c::crc32c(&batch.body),
        };
        if self.room < head.record_len() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let is_full = |segment: &Segment| segment.bytes > 0 && segment.bytes + head.record_len() > self.config.segment;
        if self.active.is_none() || self.segments.back().is_none_or(is_full) {
            self.begin_segment()?;
        }
        let (Some(file), Some(segment)) = (&self.active, self.segments.back_mut()) else {
            return Err(io::ErrorKind::NotFound.into());
        };
        let offset = segment.bytes;
        segment::append(file, offset, &head, &batch.body)?;
        segment.bytes += head.record_len();
        segment.waiting += batch.spans;
        self.bytes += head.record_len();
        self.room -= head.record_len();
        self.stored += batch.spans;
        self.next += 1;
        self.entries.appended(segment::Place { offset, head }, &batch.body);
        self.unsynced_since.get_or_insert(now);
        Ok(())
    }

    fn begin_segment(&mut self) -> io::Result<()> {
        if let Some(file) = self.active.take()
            && self.unsynced_since.is_some()
        {
            self.unsynced.push(file);
        }
        let path = segment::path(&self.config.dir, self.next);
        // One of that name is there if its first append failed.
        self.segments.retain(|segment| segment.path != path);
        self.active = Some(segment::create(&path)?);
        self.segments.push_back(Segment { first: self.next, path, bytes: 0, waiting: 0, damaged: false });
        self.forget_settled();
        Ok(())
    }

    /// Takes the oldest batch that waits.
    pub fn pop(&mut self) -> Option<Batch> {
        let back = self.taken.iter_mut().find_map(|(_, batch)| batch.take());
        if back.is_some() {
            return back;
        }
        loop {
            if self.entries.front() >= self.cursor() + WINDOW {
                return None;
            }
            let place = self.front()?;
            let spans = u64::from(place.head.spans);
            let (place, cached) = self.entries.pop()?;
            let index = self.index_of(place.head.ordinal)?;
            let segment = &mut self.segments[index];
            segment.waiting = segment.waiting.saturating_sub(spans);
            let body = cached.or_else(|| Some(segment::body(&File::open(&segment.path).ok()?, &place)?.into()));
            let Some(body) = body else {
                segment.damaged = true;
                self.corrupt += spans;
                self.unstored += spans;
                self.forget_settled();
                continue;
            };
            self.taken.insert(place.head.ordinal, None);
            let Head { ordinal, time_ms, format, compression, .. } = place.head;
            return Some(Batch { serial: 0, ordinal: Some(ordinal), time_ms, spans, format, compression, body });
        }
    }

    /// The oldest record that was not taken yet; its segment is read for it if need be.
    fn front(&mut self) -> Option<segment::Place> {
        while self.entries.front() < self.next {
            if let Some(place) = self.entries.first() {
                return Some(place);
            }
            let index = self.index_of(self.entries.front())?;
            let end = self.segments.get(index + 1).map_or(self.next, |next| next.first);
            let segment = &self.segments[index];
            let read = File::open(&segment.path).and_then(|file| segment::contents(&file));
            let places = read.map(|contents| contents.places).unwrap_or_default();
            self.entries.load(places, end, &self.found);
        }
        None
    }

    /// Keeps a batch that was taken for another attempt. Returns the spans that are dropped instead: its segment had to go
    /// meanwhile.
    pub fn put_back(&mut self, batch: Batch) -> u64 {
        let Some(ordinal) = batch.ordinal else { return batch.spans };
        if self.segments.front().is_none_or(|oldest| ordinal < oldest.first) {
            self.settle(&batch);
            return batch.spans;
        }
        self.taken.insert(ordinal, Some(batch));
        0
    }

    /// The fate of a batch that was taken is known.
    pub fn settle(&mut self, batch: &Batch) {
        if batch.ordinal.is_some_and(|ordinal| self.taken.remove(&ordinal).is_some()) {
            self.unstored += batch.spans;
            self.forget_settled();
        }
    }

    /// Drops what is older than `before_ms`. Returns how many spans that were.
    pub fn expire(&mut self, before_ms: u64) -> u64 {
        let mut dropped = 0;
        let old = |batch: &Batch| batch.time_ms < before_ms;
        while let Some(batch) = self.taken.values().flatten().find(|batch| old(batch)).cloned() {
            self.settle(&batch);
            dropped += batch.spans;
        }
        while self.front().is_some_and(|place| place.head.time_ms < before_ms) {
            let Some((place, _)) = self.entries.pop() else { break };
            let spans = u64::from(place.head.spans);
            if let Some(index) = self.index_of(place.head.ordinal) {
                self.segments[index].waiting = self.segments[index].waiting.saturating_sub(spans);
            }
            self.unstored += spans;
            dropped += spans;
        }
        self.forget_settled();
        dropped
    }

    /// Drops the oldest segment, whatever waits in it. What is under way stays so, and can't come back.
    fn drop_oldest(&mut self) -> u64 {
        let Some(oldest) = self.segments.pop_front() else { return 0 };
        let end = self.segments.front().map_or(self.next, |next| next.first);
        let mut dropped = oldest.waiting;
        self.taken.retain(|ordinal, batch| {
            let goes = *ordinal < end && batch.is_some();
            dropped += batch.as_ref().filter(|_| goes).map_or(0, |batch| batch.spans);
            !goes
        });
        self.entries.skip_to(end);
        self.unstored += dropped;
        self.bytes = self.bytes.saturating_sub(oldest.bytes);
        self.remove(&oldest);
        dropped
    }

    /// Removes segments whose records are all settled.
    fn forget_settled(&mut self) {
        let cursor = self.cursor();
        loop {
            let end = self.segments.get(1).map(|next| next.first).or(self.active.is_none().then_some(self.next));
            if end.is_none_or(|end| end > cursor) {
                return;
            }
            let Some(mut oldest) = self.segments.pop_front() else { return };
            // What was to be in it, and was not found.
            oldest.damaged |= oldest.waiting > 0;
            self.corrupt += oldest.waiting;
            self.unstored += oldest.waiting;
            self.bytes = self.bytes.saturating_sub(oldest.bytes);
            self.remove(&oldest);
        }
    }

    fn remove(&self, segment: &Segment) {
        let removed = if segment.damaged {
            directory::quarantine(&self.config.dir, &segment.path)
        } else {
            fs::remove_file(&segment.path)
        };
        if let Err(error) = removed {
            log::warn!("{}: can't be removed: {error}", segment.path.display());
        }
    }

    fn index_of(&self, ordinal: u64) -> Option<usize> {
        self.segments.partition_point(|segment| segment.first <= ordinal).checked_sub(1)
    }

    /// Notes what became of all spans; `run` is what this run counted. Told before a batch is pushed, and after each change.
    pub fn note(&mut self, totals: Totals) {
        let cursor = self.cursor();
        let front = self.entries.front().min(self.next);
        let is_settled =
            |ordinal: &u64| (*ordinal < front && !self.taken.contains_key(ordinal)) || self.found.is_settled(*ordinal);
        let settled = (cursor..cursor + WINDOW).filter(is_settled);
        let mask = settled.fold(0, |mask, ordinal| mask | 1 << (ordinal - cursor));
        let (stored, unstored) = (self.stored, self.unstored);
        let entry = ledger::Entry { version: self.noted.version, cursor, mask, stored, unstored, totals };
        if entry == self.noted {
            return;
        }
        let entry = ledger::Entry { version: entry.version + 1, ..entry };
        match self.ledger.write(&entry) {
            Ok(()) => self.noted = entry,
            Err(error) => log::debug!("{}: the ledger can't be written: {error}", self.config.dir.display()),
        }
    }

    /// Files that have to reach the disk, where something has waited for too long without that. Waiting for the disk is for
    /// another thread.
    pub fn unsynced(&mut self, now: Instant) -> Vec<File> {
        if self.is_settled() {
            self.unsynced_since = None;
            self.unsynced.clear();
        }
        if self.unsynced_since.is_none_or(|since| since + SYNC_AFTER > now) {
            return Vec::new();
        }
        self.unsynced_since = None;
        let own = [self.active.as_ref().map(File::try_clone), Some(self.ledger.handle())];
        let mut files = std::mem::take(&mut self.unsynced);
        files.extend(own.into_iter().flatten().flatten());
        files
    }
}
