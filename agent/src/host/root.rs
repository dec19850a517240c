//! Plain reads below a root directory: `/proc`, `/etc` and the cgroup mount of this host, or of a test's own tree. Every
//! read is bounded; nothing is interpreted here but `/proc/PID/stat`.

use std::{
    fs::{self, File},
    io::{self, Read},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use procfs::FromRead;
use rustix::fs::{Mode, OFlags};

use super::{cgroup::Hierarchies, read::place};

/// Bytes of a small file of procfs that are read at most.
pub(super) const SMALL_MAX: u64 = 16 * 1024;
/// Bytes of a command line that are read at most; the class paths of Java fit.
pub(super) const CMDLINE_MAX: u64 = 128 * 1024;
/// Bytes of a list of mappings that are searched at most.
pub(super) const MAPS_MAX: u64 = 8 << 20;
/// Bytes of an environment that are searched at most.
pub(super) const ENVIRON_MAX: u64 = 256 * 1024;

/// Where the host's files are: `/`, or a directory that looks like it.
#[derive(Clone, Debug)]
pub struct ProcRoot {
    root: PathBuf,
}

impl ProcRoot {
    /// This host.
    pub fn host() -> Self {
        Self::at("/")
    }

    /// A tree of its own, with `proc`, `etc` and so on below `root`.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The place of an absolute path in this tree.
    pub fn path(&self, absolute: &str) -> PathBuf {
        self.root.join(absolute.trim_start_matches('/'))
    }

    /// The text of a small file, without the white space at its ends; `None` when it can't be read or is empty.
    pub(super) fn line(&self, absolute: &str) -> Option<String> {
        let bytes = read_bounded(File::open(self.path(absolute)).ok()?, SMALL_MAX).ok()?;
        let text = String::from_utf8_lossy(&bytes).trim().to_owned();
        (!text.is_empty()).then_some(text)
    }

    /// All process ids of the moment, in no order.
    pub fn pids(&self) -> Vec<u32> {
        let Ok(entries) = fs::read_dir(self.path("/proc")) else { return Vec::new() };
        entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect()
    }

    /// The directory of a process. What is read through it is of that very process, even when its id is used anew.
    pub(crate) fn process(&self, pid: u32) -> io::Result<ProcessDir> {
        let path = self.path("/proc").join(pid.to_string());
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(ProcessDir { dir: rustix::fs::open(path, flags, Mode::empty())? })
    }
}

/// What is needed of `/proc/PID/stat`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stat {
    /// Parent; 0 for the first process and for kernel threads' ancestor.
    pub parent: u32,
    /// Start, in clock ticks since boot.
    pub start_ticks: u64,
    /// Command name.
    pub comm: String,
}

/// One process's directory in procfs.
#[derive(Debug)]
pub(crate) struct ProcessDir {
    dir: OwnedFd,
}

impl ProcessDir {
    /// Parent, start and command name.
    pub(crate) fn stat(&self) -> io::Result<Stat> {
        let bytes = self.read("stat", SMALL_MAX)?;
        let stat = procfs::process::Stat::from_read(bytes.as_slice()).map_err(io::Error::other)?;
        Ok(Stat { parent: u32::try_from(stat.ppid).unwrap_or(0), start_ticks: stat.starttime, comm: stat.comm })
    }

    /// At most `max` bytes of one of its files.
    pub(super) fn read(&self, name: &str, max: u64) -> io::Result<Vec<u8>> {
        read_bounded(self.open(name)?, max)
    }

    /// Opens one of its files to be read.
    pub(super) fn open(&self, name: &str) -> io::Result<File> {
        Ok(rustix::fs::openat(&self.dir, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?.into())
    }

    /// Where one of its links leads.
    pub(crate) fn link(&self, name: &str) -> Option<String> {
        let target = rustix::fs::readlinkat(&self.dir, name, Vec::new()).ok()?;
        let target = target.to_string_lossy().into_owned();
        (!target.is_empty()).then_some(target)
    }

    /// The id of the container it runs in.
    pub(crate) fn container(&self) -> Option<String> {
        let bytes = self.read("cgroup", SMALL_MAX).ok()?;
        place(&Hierarchies::parse(&String::from_utf8_lossy(&bytes))).container
    }

    /// The executable's path, without the mark of a file that was deleted or replaced since.
    pub(crate) fn exe(&self) -> Option<String> {
        let path = self.link("exe")?;
        Some(path.strip_suffix(" (deleted)").unwrap_or(&path).to_owned())
    }
}

fn read_bounded(file: File, max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(max).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The last part of a path.
pub(super) fn file_name(path: &str) -> Option<&str> {
    Path::new(path).file_name()?.to_str()
}
