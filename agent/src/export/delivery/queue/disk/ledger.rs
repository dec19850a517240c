//! What became of all spans of a queue since its directory was made, and which records are settled: one small file that
//! outlives the process.
//!
//! It is written in two places in turn, each with a checksum, so that one of them is whole whenever the writing is cut
//! short. It is written before spans get onto the disk (so that `produced` is never behind them), and after each change.
#![forbid(unsafe_code)]

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    path::Path,
};

use crate::export::delivery::stats::Totals;

/// Name of the file.
pub const NAME: &str = "ledger";
/// Distance of the two places: a page, so that neither is ever half in one.
const STRIDE: u64 = 4096;
const MAGIC: [u8; 4] = *b"nsL1";
/// Numbers in it beside the totals: its ordinal, the cursor, the mask, `stored`, `unstored`.
const OWN: usize = 5;
const NUMBERS: usize = OWN + Totals::COUNT;
const LEN: usize = 4 + NUMBERS * 8 + 4;

/// What the ledger says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// Ordinal of the entry: the later one counts.
    pub version: u64,
    /// Ordinal of the first record that is not settled.
    pub cursor: u64,
    /// Records that are settled though the one at the cursor is not: bit n is that of `cursor` + n.
    pub mask: u64,
    /// Spans of all records ever written.
    pub stored: u64,
    /// Spans of all records that were written and are settled.
    pub unstored: u64,
    /// What became of all spans.
    pub totals: Totals,
}

impl Entry {
    /// Whether a record was settled when this was noted.
    pub fn is_settled(&self, ordinal: u64) -> bool {
        match ordinal.checked_sub(self.cursor) {
            None => true,
            Some(beyond) => beyond < 64 && self.mask >> beyond & 1 == 1,
        }
    }

    fn bytes(&self) -> [u8; LEN] {
        let own = [self.version, self.cursor, self.mask, self.stored, self.unstored];
        let mut out = [0; LEN];
        out[..4].copy_from_slice(&MAGIC);
        let numbers = own.into_iter().chain(self.totals.numbers());
        for (place, number) in out[4..LEN - 4].chunks_exact_mut(8).zip(numbers) {
            place.copy_from_slice(&number.to_le_bytes());
        }
        let checksum = crc32c::crc32c(&out[..LEN - 4]);
        out[LEN - 4..].copy_from_slice(&checksum.to_le_bytes());
        out
    }

    fn parse(bytes: &[u8; LEN]) -> Option<Self> {
        let (said, checksum) = bytes.split_last_chunk::<4>()?;
        let (magic, numbers) = said.split_first_chunk::<4>()?;
        if *magic != MAGIC || crc32c::crc32c(said) != u32::from_le_bytes(*checksum) {
            return None;
        }
        let mut numbers = numbers.chunks_exact(8).filter_map(|n| Some(u64::from_le_bytes(n.try_into().ok()?)));
        let mut next = || numbers.next();
        let (version, cursor, mask, stored, unstored) = (next()?, next()?, next()?, next()?, next()?);
        Some(Self { version, cursor, mask, stored, unstored, totals: Totals::of_numbers(numbers)? })
    }
}

/// The file.
#[derive(Debug)]
pub struct Ledger {
    file: File,
}

impl Ledger {
    /// Opens it, and reads what it says; nothing when it is new, or when both places are damaged.
    pub fn open(dir: &Path) -> io::Result<(Self, Option<Entry>)> {
        let mut options = OpenOptions::new();
        let file = options.create(true).truncate(false).read(true).write(true).mode(0o600).open(dir.join(NAME))?;
        let read = |at| {
            let mut bytes = [0; LEN];
            file.read_exact_at(&mut bytes, at).ok()?;
            Entry::parse(&bytes)
        };
        let found = [read(0), read(STRIDE)].into_iter().flatten().max_by_key(|entry| entry.version);
        Ok((Self { file }, found))
    }

    /// Writes an entry. Nothing of the disk is waited for.
    pub fn write(&self, entry: &Entry) -> io::Result<()> {
        self.file.write_all_at(&entry.bytes(), entry.version % 2 * STRIDE)
    }

    /// Another handle of the file, to wait for the disk elsewhere.
    pub fn handle(&self) -> io::Result<File> {
        self.file.try_clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(version: u64) -> Entry {
        let totals = Totals { produced: 10 + version, sent: 3, ..Totals::default() };
        Entry { version, cursor: 5, mask: 0b101, stored: 9, unstored: 8, totals }
    }

    #[test]
    fn what_is_before_the_cursor_or_in_the_mask_is_settled() {
        let settled: Vec<_> = (0..200).filter(|ordinal| entry(1).is_settled(*ordinal)).collect();
        assert_eq!(settled, [0, 1, 2, 3, 4, 5, 7]);
    }

    #[test]
    fn the_last_whole_entry_is_the_one_that_counts() {
        let dir = tempfile::tempdir().expect("a directory");
        let (ledger, found) = Ledger::open(dir.path()).expect("opens");
        assert_eq!(found, None);
        for version in 1..=3 {
            ledger.write(&entry(version)).expect("written");
        }
        let read = || Ledger::open(dir.path()).expect("opens").1;
        assert_eq!(read(), Some(entry(3)));
        // The writing of the fourth was cut short.
        let path = dir.path().join(NAME);
        let file = OpenOptions::new().write(true).open(path).expect("there");
        file.write_all_at(&entry(4).bytes()[..20], 0).expect("written");
        assert_eq!(read(), Some(entry(3)));
        file.write_all_at(&[0xff; 8], STRIDE + 30).expect("written");
        assert_eq!(read(), None);
    }
}
