//! The dynamic table (RFC 7541, section 2.3.2): the entries that were seen to be inserted, and what is known of those
//! behind them.

use super::{Error, TABLE_MAX, Unknown, Value, statics};
use std::collections::VecDeque;

/// What an entry takes beside its strings (RFC 7541, section 4.1).
const OVERHEAD: u32 = 32;
/// Bytes at the front of the store that may be unused before it is moved together.
const SLACK: usize = 1024;

/// How often a bound was met, and how often the start was too late.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Entries let go because of [`TABLE_MAX`].
    pub evicted: u64,
    /// Entries whose name is not kept because of [`NAME_MAX`].
    pub long_names: u64,
    /// References to an entry that is not here, for its name or as a whole.
    pub unknown: u64,
}

/// Name of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Name {
    /// That of an entry of the static table, by index.
    Static(u8),
    /// This many bytes of the store, before those of the value.
    Stored(u16),
    /// Not known, or too long.
    Unknown,
}

/// Value of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kept {
    /// This many bytes of the store.
    Stored(u32),
    /// Not kept, of this many bytes.
    Dropped(u32),
}

impl Kept {
    /// Bytes of the value, kept or not.
    fn length(self) -> u32 {
        let (Self::Stored(length) | Self::Dropped(length)) = self;
        length
    }
}

/// An entry. Its strings are in the store from `at` on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    at: u32,
    /// Size by RFC 7541, section 4.1; the least that it can be where the name is not known.
    size: u32,
    name: Name,
    value: Kept,
}

impl Entry {
    pub(super) fn name(&self) -> Name {
        self.name
    }

    /// Bytes of the name; 0 where nothing is known of it.
    pub(super) fn name_length(&self) -> u32 {
        self.size.saturating_sub(OVERHEAD).saturating_sub(self.value.length())
    }
}

/// What is behind the last entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Older {
    /// Nothing: the table is exact.
    Nothing,
    /// Perhaps entries that are not known.
    Perhaps(Unknown),
}

/// The dynamic table. Strings are in one store, in the order of insertion, so that a field costs no allocation.
#[derive(Debug)]
pub(super) struct Table {
    /// The newest is the last.
    entries: VecDeque<Entry>,
    /// Sum of the sizes of `entries`.
    size: u32,
    older: Older,
    /// The encoder's bound for its table, once known.
    capacity: Option<u32>,
    store: Vec<u8>,
    /// What `Entry::at` is of the first byte of `store`. Wraps.
    base: u32,
    pub(super) counts: Counts,
}

impl Table {
    /// An empty table of this size.
    pub(super) fn exact(capacity: u32) -> Self {
        Self {
            entries: VecDeque::new(),
            size: 0,
            older: Older::Nothing,
            capacity: Some(capacity),
            store: Vec::new(),
            base: 0,
            counts: Counts::default(),
        }
    }

    /// Forgets everything: other entries, and a table of another size, may be there.
    pub(super) fn forget(&mut self) {
        self.clear();
        self.store.shrink_to(2 * SLACK);
        self.older = Older::Perhaps(Unknown::Unseen);
        self.capacity = None;
    }

    fn clear(&mut self) {
        self.entries.clear();
        self.size = 0;
        self.store.clear();
    }

    /// Memory in bytes.
    pub(super) fn memory(&self) -> usize {
        self.entries.capacity() * size_of::<Entry>() + self.store.capacity()
    }

    /// Sum of the sizes of the entries that are here.
    #[cfg(test)]
    pub(super) fn size(&self) -> u32 {
        self.size
    }

    /// The strings that are in memory, and the size of the table.
    #[cfg(test)]
    pub(super) fn kept(&self) -> (&[u8], u32) {
        (&self.store, self.size)
    }

    /// The entry with this index (above those of the static table), or why it is not known.
    pub(super) fn get(&mut self, index: u32) -> Result<Result<Entry, Unknown>, Error> {
        let nth = index.saturating_sub(statics::COUNT + 1) as usize;
        let entry = self.entries.len().checked_sub(nth + 1).and_then(|place| self.entries.get(place));
        if let Some(entry) = entry {
            return Ok(Ok(*entry));
        }
        let behind = (nth + 1 - self.entries.len()) as u64;
        let fits = self
            .capacity
            .is_none_or(|capacity| u64::from(self.size) + behind * u64::from(OVERHEAD) <= u64::from(capacity));
        match self.older {
            Older::Perhaps(why) if fits => {
                self.counts.unknown += 1;
                Ok(Err(why))
            }
            _ => Err(Error::IndexBeyond(index)),
        }
    }

    pub(super) fn name(&self, entry: &Entry) -> Option<&[u8]> {
        match entry.name {
            Name::Static(index) => statics::get(u32::from(index)).map(|(name, _)| name),
            Name::Stored(length) => self.stored(entry.at, usize::from(length)),
            Name::Unknown => None,
        }
    }

    pub(super) fn value(&self, entry: &Entry) -> Value<'_> {
        match entry.value {
            Kept::Dropped(length) => Value::Dropped(length),
            Kept::Stored(length) => {
                let name = if let Name::Stored(length) = entry.name { u32::from(length) } else { 0 };
                let value = self.stored(entry.at.wrapping_add(name), length as usize);
                value.map_or(Value::Dropped(length), Value::Known)
            }
        }
    }

    fn stored(&self, at: u32, length: usize) -> Option<&[u8]> {
        let begin = at.wrapping_sub(self.base) as usize;
        self.store.get(begin..begin + length)
    }

    /// The store, for the strings of an entry to be: they go to its end, the name before the value.
    /// [`insert`](Self::insert) or [`discard`](Self::discard) comes next.
    pub(super) fn store(&mut self) -> &mut Vec<u8> {
        &mut self.store
    }

    /// Moves the strings in the store together if enough of it is unused, and returns where the next entry's begin.
    pub(super) fn begin(&mut self) -> usize {
        let used = self.entries.front().map_or(self.store.len(), |oldest| oldest.at.wrapping_sub(self.base) as usize);
        if used > SLACK && used >= self.store.len() / 2 {
            self.store.drain(..used);
            self.base = self.base.wrapping_add(used as u32);
        }
        self.store.len()
    }

    /// Appends the name of another entry to the store.
    pub(super) fn copy_name(&mut self, entry: &Entry) {
        if let Name::Stored(length) = entry.name {
            let begin = entry.at.wrapping_sub(self.base) as usize;
            let end = begin + usize::from(length);
            if end <= self.store.len() {
                self.store.extend_from_within(begin..end);
            }
        }
    }

    /// Gives memory back that one long string took.
    pub(super) fn trim(&mut self) {
        if self.store.capacity() > 8 * SLACK && self.store.capacity() / 4 > self.store.len() {
            self.store.shrink_to(2 * self.store.len());
        }
    }

    /// Drops what was put in the store since [`begin`](Self::begin).
    pub(super) fn discard(&mut self, begin: usize) {
        self.store.truncate(begin);
    }

    /// An entry that is not in the table yet: its strings are in the store from `begin` on. `name_length` is 0 where it
    /// is not known.
    pub(super) fn entry(&self, begin: usize, name: Name, name_length: u32, value: Kept) -> Entry {
        let size = OVERHEAD.saturating_add(name_length).saturating_add(value.length());
        Entry { at: self.base.wrapping_add(begin as u32), size, name, value }
    }

    /// Inserts an entry (RFC 7541, section 4.4). Its strings stay in the store until the next [`begin`](Self::begin), even
    /// if it is too large for the table.
    pub(super) fn insert(&mut self, entry: Entry) {
        self.make_room(entry.size);
        if entry.size <= self.room() {
            self.size += entry.size;
            self.entries.push_back(entry);
        }
        self.settle();
    }

    /// A size update (RFC 7541, section 4.3).
    pub(super) fn resize(&mut self, capacity: u32) {
        self.capacity = Some(capacity);
        self.make_room(0);
        self.settle();
        if self.entries.is_empty() {
            self.clear();
        }
    }

    /// Bytes that may be kept.
    fn room(&self) -> u32 {
        self.capacity.map_or(TABLE_MAX, |capacity| capacity.min(TABLE_MAX))
    }

    /// Lets the oldest entries go until one of `size` bytes has room. Whatever goes because the encoder's table is full,
    /// all that is older went before it.
    fn make_room(&mut self, size: u32) {
        let (room, capacity) = (self.room(), self.capacity.unwrap_or(u32::MAX));
        // The bound is ours, not the encoder's.
        let ours = capacity > TABLE_MAX && size <= capacity;
        let behind = if ours { Older::Perhaps(Unknown::Evicted) } else { Older::Nothing };
        if size > room {
            self.counts.evicted += u64::from(ours);
            self.older = behind;
        }
        while u64::from(self.size) + u64::from(size) > u64::from(room) {
            let Some(oldest) = self.entries.pop_front() else { break };
            self.counts.evicted += u64::from(ours);
            self.older = behind;
            self.size -= oldest.size;
        }
    }

    /// Finds out whether anything can be behind the last entry: entries go in the order of their age, so nothing is
    /// older where not even an empty one has room.
    fn settle(&mut self) {
        if self.capacity.is_some_and(|capacity| u64::from(self.size) + u64::from(OVERHEAD) > u64::from(capacity)) {
            self.older = Older::Nothing;
        }
    }
}
