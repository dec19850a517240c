//! The directory of partitions: their names are the moments when they were begun. It is bounded in bytes and age by
//! removing the oldest partitions as a whole, and belongs to one agent at a time.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use super::partition;
use crate::state;

/// Damaged partitions that are kept to be looked at; older ones are removed.
const DAMAGED_MAX: usize = 2;
/// End of a partition's name.
const END: &str = ".spans";
/// End of a damaged partition's name.
const DAMAGED_END: &str = ".damaged";

/// The directory, for as long as it is ours.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    _lock: File,
}

/// A partition in the directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// When it was begun, in nanoseconds since the epoch.
    pub begun_ns: u64,
    /// Its file.
    pub path: PathBuf,
}

impl Directory {
    /// Makes the directory if it is not there, for its owner alone, and takes it.
    pub fn take(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), _lock: state::take(path)? })
    }

    /// The path for a partition begun now. It comes after all others, also where the clock was put back since.
    pub fn begin(&self, now_ns: u64) -> io::Result<PathBuf> {
        let newest = self.entries()?.pop();
        Ok(self.named(newest.map_or(now_ns, |newest| now_ns.max(newest.begun_ns.saturating_add(1)))))
    }

    fn named(&self, begun_ns: u64) -> PathBuf {
        self.path.join(format!("{begun_ns:020}{END}"))
    }

    /// All partitions, oldest first.
    pub fn entries(&self) -> io::Result<Vec<Entry>> {
        entries(&self.path)
    }

    /// Puts a damaged partition aside, and removes older ones of that kind.
    pub fn quarantine(&self, path: &Path) -> io::Result<()> {
        let mut aside = path.as_os_str().to_owned();
        aside.push(DAMAGED_END);
        partition::rename(path, Path::new(&aside))?;
        let mut damaged = named(&self.path, DAMAGED_END)?;
        while damaged.len() > DAMAGED_MAX {
            partition::remove(&damaged.remove(0).path)?;
        }
        Ok(())
    }

    /// Bytes of everything.
    pub fn bytes(&self) -> io::Result<u64> {
        let sizes = fs::read_dir(&self.path)?.filter_map(|file| Some(file.ok()?.metadata().ok()?.len()));
        Ok(sizes.sum())
    }

    /// Removes the oldest until at most `bytes` are left and none is of only spans older than `oldest_ns`; `active` stays.
    /// Returns how many were removed.
    pub fn expire(&self, bytes: u64, oldest_ns: u64, active: Option<&Path>) -> io::Result<u64> {
        let mut removed = 0;
        for damaged in named(&self.path, DAMAGED_END)? {
            if damaged.begun_ns < oldest_ns || self.bytes()? > bytes {
                partition::remove(&damaged.path)?;
            }
        }
        let entries = self.entries()?;
        for (at, entry) in entries.iter().enumerate() {
            if Some(entry.path.as_path()) == active {
                continue;
            }
            // What came before the next one was begun is all that it holds.
            let is_old = entries.get(at + 1).is_some_and(|next| next.begun_ns < oldest_ns);
            if !is_old && self.bytes()? <= bytes {
                break;
            }
            partition::remove(&entry.path)?;
            removed += 1;
        }
        Ok(removed)
    }
}

/// All partitions of a directory, oldest first.
pub fn entries(path: &Path) -> io::Result<Vec<Entry>> {
    named(path, END)
}

fn named(path: &Path, end: &str) -> io::Result<Vec<Entry>> {
    let entry = |file: fs::DirEntry| {
        let name = file.file_name().into_string().ok()?;
        let begun = name.strip_suffix(end)?;
        Some(Entry { begun_ns: begun.strip_suffix(END).unwrap_or(begun).parse().ok()?, path: file.path() })
    };
    let mut entries: Vec<_> = fs::read_dir(path)?.filter_map(|file| entry(file.ok()?)).collect();
    entries.sort_by_key(|entry| entry.begun_ns);
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory() -> (tempfile::TempDir, Directory) {
        let dir = tempfile::tempdir().expect("a directory");
        let directory = Directory::take(&dir.path().join("store")).expect("ours");
        (dir, directory)
    }

    fn begun(directory: &Directory) -> Vec<u64> {
        directory.entries().expect("readable").iter().map(|entry| entry.begun_ns).collect()
    }

    #[test]
    fn a_directory_belongs_to_one_agent() {
        let (_dir, first) = directory();
        let second = Directory::take(&first.path).expect_err("taken").to_string();
        assert!(second.starts_with("another agent uses it"), "{second}");
        let path = first.path.clone();
        drop(first);
        Directory::take(&path).expect("free again");
    }

    #[test]
    fn the_oldest_go_by_age_and_by_bytes_and_the_active_one_stays() {
        let (_dir, directory) = directory();
        for begun in [10, 20, 30, 40] {
            fs::write(directory.named(begun), [0; 100]).expect("a file");
        }
        assert_eq!(directory.expire(1000, 5, None).expect("works"), 0);
        // Spans of the partition begun at 10 may have come until 20.
        assert_eq!(directory.expire(1000, 20, None).expect("works"), 0);
        assert_eq!(directory.expire(1000, 21, None).expect("works"), 1);
        assert_eq!(directory.expire(250, 21, None).expect("works"), 1);
        assert_eq!(begun(&directory), [30, 40]);
        let active = directory.named(40);
        assert_eq!(directory.expire(0, 99, Some(&active)).expect("works"), 1);
        assert_eq!(begun(&directory), [40]);
    }

    #[test]
    fn damaged_partitions_are_kept_aside_and_only_the_last_ones() {
        let (_dir, directory) = directory();
        for begun in [10, 20, 30] {
            let path = directory.named(begun);
            fs::write(&path, [0; 100]).expect("a file");
            directory.quarantine(&path).expect("works");
        }
        assert_eq!(begun(&directory), [0_u64; 0]);
        let kept = named(&directory.path, DAMAGED_END).expect("readable");
        assert_eq!(kept.iter().map(|entry| entry.begun_ns).collect::<Vec<_>>(), [20, 30]);
        directory.expire(0, 0, None).expect("works");
        assert_eq!(directory.bytes().expect("readable"), 0);
    }

    #[test]
    fn a_new_partition_is_the_newest_whatever_the_clock_says() {
        let (_dir, directory) = directory();
        for now in [50, 70, 20, 70, 90] {
            fs::write(directory.begin(now).expect("readable"), "").expect("a file");
        }
        assert_eq!(begun(&directory), [50, 70, 71, 72, 90]);
    }
}
