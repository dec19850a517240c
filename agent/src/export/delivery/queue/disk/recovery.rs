//! Opens a queue, whatever state its last owner left it in: cuts torn tails, puts aside what can't be read, and finds out
//! what is missing.
#![forbid(unsafe_code)]

use std::{
    collections::{BTreeMap, VecDeque},
    fs::OpenOptions,
    io,
    path::Path,
};

use super::{
    Config, Disk, Segment, directory,
    entries::Entries,
    ledger::{self, Ledger},
    segment::{self, Contents, Tail},
};
use crate::{export::delivery::stats::Totals, state};

impl Disk {
    /// Opens the queue, or makes it.
    ///
    /// # Errors
    /// The directory can't be made, read or written, or another agent uses it. Damaged contents are no error.
    pub fn open(config: Config) -> io::Result<Self> {
        let lock = state::take(&config.dir)?;
        let (ledger, noted) = Ledger::open(&config.dir)?;
        let noted = noted.unwrap_or_default();
        let mut segments = VecDeque::new();
        let mut next = noted.cursor.max(1).saturating_add(u64::from(64 - noted.mask.leading_zeros()));
        for (first, path) in directory::segments(&config.dir)? {
            match recover(&path, &noted) {
                Ok(found) => {
                    next = next.max(found.next);
                    let Found { bytes, waiting, damaged, .. } = found;
                    segments.push_back(Segment { first, path, bytes, waiting, damaged });
                }
                Err(error) => {
                    log::warn!("{}: put aside: {error}", path.display());
                    directory::quarantine(&config.dir, &path)?;
                }
            }
        }
        let found = segments.iter().map(|segment: &Segment| segment.waiting).sum();
        let (earlier, stored) = balance(&noted, found);
        // The cursor may be past all that is there, or before it.
        let first = segments.front().map_or(next, |segment| segment.first);
        let bytes = segments.iter().map(|segment| segment.bytes).sum();
        let mut disk = Self {
            ledger,
            found: noted,
            noted,
            earlier,
            segments,
            active: None,
            bytes,
            next,
            entries: Entries::new(noted.cursor.max(first).min(next)),
            taken: BTreeMap::new(),
            stored,
            unstored: stored - found,
            corrupt: 0,
            unsynced: Vec::new(),
            unsynced_since: None,
            rest_until: None,
            room: u64::MAX,
            looked: None,
            config,
            _lock: lock,
        };
        disk.forget_empty();
        Ok(disk)
    }

    /// Removes segments in which nothing waits; here, where none is written to, the last one as well.
    fn forget_empty(&mut self) {
        let mut kept = VecDeque::new();
        for segment in std::mem::take(&mut self.segments) {
            if segment.waiting > 0 {
                kept.push_back(segment);
                continue;
            }
            self.bytes -= segment.bytes;
            self.remove(&segment);
        }
        self.segments = kept;
        match self.segments.front() {
            Some(oldest) => self.entries.skip_to(oldest.first),
            None => self.entries.skip_to(self.next),
        }
    }
}

struct Found {
    bytes: u64,
    waiting: u64,
    damaged: bool,
    /// Ordinal after its last record.
    next: u64,
}

/// Looks through a segment, and cuts off the record at its end that was not written whole.
fn recover(path: &Path, noted: &ledger::Entry) -> io::Result<Found> {
    let file = OpenOptions::new().read(true).write(true).open(path)?;
    let Contents { places, end, mut damaged, tail } = segment::contents(&file)?;
    match tail {
        Tail::None => {}
        Tail::CutShort => file.set_len(end)?,
        Tail::Damaged if places.is_empty() => return Err(io::Error::other("it holds no record")),
        Tail::Damaged => damaged = true,
    }
    let waiting = places.iter().filter(|place| !noted.is_settled(place.head.ordinal));
    Ok(Found {
        bytes: file.metadata()?.len(),
        waiting: waiting.map(|place| u64::from(place.head.spans)).sum(),
        damaged,
        next: places.last().map_or(0, |place| place.head.ordinal.saturating_add(1)),
    })
}

/// What all runs counted, given what the last one noted and how many spans were found; and the spans ever written.
fn balance(noted: &ledger::Entry, found: u64) -> (Totals, u64) {
    let mut totals = noted.totals;
    totals.dropped.corrupt += noted.stored.saturating_sub(noted.unstored).saturating_sub(found);
    // More than was noted is there if the ledger is gone.
    totals.produced = totals.produced.max(totals.settled() + found);
    totals.dropped.killed += totals.produced - totals.settled() - found;
    (totals, noted.stored.max(noted.unstored + found))
}

#[cfg(test)]
mod balance_tests {
    use super::*;

    fn noted(produced: u64, sent: u64, stored: u64, unstored: u64) -> ledger::Entry {
        let totals = Totals { produced, sent, ..Totals::default() };
        ledger::Entry { stored, unstored, totals, ..ledger::Entry::default() }
    }

    #[test]
    fn what_is_missing_is_corrupt_if_it_was_written_and_killed_otherwise() {
        // Noted (produced, sent, written, written and settled), found; then corrupt, killed.
        for (produced, sent, stored, unstored, found, corrupt, killed) in [
            (100, 40, 100, 40, 60, 0, 0),
            (100, 40, 80, 40, 40, 0, 20),
            (100, 40, 80, 40, 30, 10, 20),
            // Written after the last note.
            (100, 40, 80, 40, 60, 0, 0),
            // Without a ledger.
            (0, 0, 0, 0, 60, 0, 0),
        ] {
            let (totals, stored) = balance(&noted(produced, sent, stored, unstored), found);
            assert_eq!((totals.dropped.corrupt, totals.dropped.killed), (corrupt, killed), "{produced} {found}");
            assert_eq!(totals.produced, totals.settled() + found);
            assert!(stored >= found);
        }
    }
}
