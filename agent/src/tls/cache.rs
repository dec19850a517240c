//! What was found in files, remembered: many processes execute the same few files. It opens nothing.

use std::{collections::VecDeque, sync::Arc};

use rustc_hash::FxHashMap;

use super::{Analysis, Refusal};

/// Files that are remembered at most; the one used longest ago goes first.
pub const FILES_MAX: usize = 4096;

/// A file, as it was when it was analysed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FileKey {
    /// `st_dev`.
    pub device: u64,
    /// `st_ino`.
    pub inode: u64,
    /// `st_mtim`, in nanoseconds since 1970.
    pub modified_ns: i128,
    /// Bytes.
    pub size: u64,
}

impl FileKey {
    /// That of an open file.
    pub fn of(metadata: &std::fs::Metadata) -> Self {
        use std::os::unix::fs::MetadataExt as _;
        let modified_ns = i128::from(metadata.mtime()) * 1_000_000_000 + i128::from(metadata.mtime_nsec());
        Self { device: metadata.dev(), inode: metadata.ino(), modified_ns, size: metadata.size() }
    }
}

/// What is known of a file: its libraries, or why there are none.
pub type Outcome = Arc<Result<Vec<Analysis>, Refusal>>;

/// What happened in the cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Files that were known.
    pub hits: u64,
    /// Files that had to be analysed.
    pub misses: u64,
    /// Files of those in which there was nothing to hook.
    pub refused: u64,
    /// Files forgotten because [`FILES_MAX`] was reached.
    pub evicted: u64,
}

/// Outcomes by file.
#[derive(Debug)]
pub struct Cache {
    known: FxHashMap<FileKey, (Outcome, u64)>,
    /// Uses in their order; one that is not its file's last means nothing.
    uses: VecDeque<(FileKey, u64)>,
    /// Versions that had to be searched for.
    versions: FxHashMap<FileKey, Option<String>>,
    now: u64,
    capacity: usize,
    counts: Counts,
}

impl Default for Cache {
    fn default() -> Self {
        Self::new(FILES_MAX)
    }
}

impl Cache {
    /// At least one file, at most [`FILES_MAX`].
    pub fn new(capacity: usize) -> Self {
        let capacity = capacity.clamp(1, FILES_MAX);
        let (known, versions) = (FxHashMap::default(), FxHashMap::default());
        Self { known, uses: VecDeque::new(), versions, now: 0, capacity, counts: Counts::default() }
    }

    /// What is known of a file.
    pub fn get(&mut self, key: FileKey) -> Option<Outcome> {
        let (outcome, used) = self.known.get_mut(&key)?;
        self.now += 1;
        self.counts.hits += 1;
        *used = self.now;
        let outcome = Arc::clone(outcome);
        self.used(key);
        Some(outcome)
    }

    /// What was found in a file, which is remembered. What failed to be read is not.
    pub fn insert(&mut self, key: FileKey, found: Result<Vec<Analysis>, Refusal>) -> Outcome {
        self.now += 1;
        self.counts.misses += 1;
        let outcome = Arc::new(found);
        self.counts.refused += u64::from(outcome.is_err());
        if matches!(*outcome, Err(Refusal::Unreadable(_))) {
            return outcome;
        }
        if self.known.len() >= self.capacity && !self.known.contains_key(&key) {
            self.evict();
        }
        self.known.insert(key, (Arc::clone(&outcome), self.now));
        self.used(key);
        outcome
    }

    /// What is known of a file, else what `analyse` says of it.
    pub fn get_or(&mut self, key: FileKey, analyse: impl FnOnce() -> Result<Vec<Analysis>, Refusal>) -> Outcome {
        self.get(key).unwrap_or_else(|| self.insert(key, analyse()))
    }

    /// The version of a file's library as `search` finds it, which is remembered.
    pub fn version_or(&mut self, key: FileKey, search: impl FnOnce() -> Option<String>) -> Option<String> {
        if self.versions.len() >= self.capacity {
            self.versions.clear();
        }
        self.versions.entry(key).or_insert_with(search).clone()
    }

    /// What happened.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    fn used(&mut self, key: FileKey) {
        self.uses.push_back((key, self.now));
        if self.uses.len() > self.capacity * 2 {
            let known = &self.known;
            self.uses.retain(|(key, at)| known.get(key).is_some_and(|(_, used)| used == at));
        }
    }

    fn evict(&mut self) {
        while let Some((key, at)) = self.uses.pop_front() {
            if self.known.get(&key).is_some_and(|(_, used)| *used == at) {
                self.known.remove(&key);
                self.counts.evicted += 1;
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(inode: u64) -> FileKey {
        FileKey { device: 1, inode, modified_ns: 5, size: 9 }
    }

    fn ask(cache: &mut Cache, key: FileKey) -> bool {
        let mut analysed = false;
        let outcome = cache.get_or(key, || {
            analysed = true;
            Err(Refusal::NoTls)
        });
        assert_eq!(*outcome, Err(Refusal::NoTls));
        analysed
    }

    #[test]
    fn a_file_is_analysed_once_until_it_changes() {
        let mut cache = Cache::default();
        assert!(ask(&mut cache, key(1)));
        assert!(!ask(&mut cache, key(1)));
        for changed in [
            FileKey { device: 2, ..key(1) },
            FileKey { inode: 2, ..key(1) },
            FileKey { modified_ns: 6, ..key(1) },
            FileKey { size: 8, ..key(1) },
        ] {
            assert!(ask(&mut cache, changed), "{changed:?}");
        }
        assert_eq!(cache.counts(), Counts { hits: 1, misses: 5, refused: 5, evicted: 0 });
    }

    #[test]
    fn a_full_cache_forgets_the_file_used_longest_ago() {
        let mut cache = Cache::new(2);
        assert!(ask(&mut cache, key(1)));
        assert!(ask(&mut cache, key(2)));
        for _ in 0..10 {
            assert!(!ask(&mut cache, key(1)));
        }
        assert!(ask(&mut cache, key(3)));
        assert!(!ask(&mut cache, key(1)));
        assert!(ask(&mut cache, key(2)));
        assert_eq!((cache.counts().evicted, cache.known.len()), (2, 2));
        assert!(cache.uses.len() <= 4);
    }

    #[test]
    fn a_file_that_could_not_be_read_is_tried_again() {
        let mut cache = Cache::default();
        let denied = Refusal::Unreadable(std::io::ErrorKind::PermissionDenied);
        assert_eq!(*cache.get_or(key(1), || Err(denied.clone())), Err(denied));
        assert!(ask(&mut cache, key(1)));
    }
}
