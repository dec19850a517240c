//! A cgroup (version 2) for the programs of one test: the agent is pointed at it, and everything in it ends with it.
#![forbid(unsafe_code)]

use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::wait;

/// Beginning of the name of each cgroup made here.
const PREFIX: &str = "netspan-lab";
/// Time for killed processes to leave their cgroup.
const EMPTY_BOUND: Duration = Duration::from_secs(10);

static NEXT: AtomicU32 = AtomicU32::new(0);

/// Where the version 2 hierarchy is mounted: the first such mount.
pub fn mount() -> Result<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").context("cannot read the list of mounts")?;
    mounts
        .lines()
        .map(|line| line.split(' ').collect::<Vec<_>>())
        .find_map(|fields| (fields.get(2) == Some(&"cgroup2")).then(|| PathBuf::from(fields[1])))
        .context("no cgroup2 file system is mounted: mount one (mount -t cgroup2 none DIRECTORY)")
}

/// A cgroup of this process's making. Dropping it kills everything in it and removes it.
#[derive(Debug)]
pub struct Scope {
    path: PathBuf,
}

impl Scope {
    /// Makes a cgroup below the root of the hierarchy.
    ///
    /// # Errors
    /// When there is no cgroup2 mount or it cannot be written (not root).
    pub fn new() -> Result<Self> {
        let root = mount()?;
        sweep(&root);
        let own = std::process::id();
        let name = format!("{PREFIX}-{own}-{}-{}", started(own).unwrap_or(0), NEXT.fetch_add(1, Ordering::Relaxed));
        Self::make(root.join(name))
    }

    /// Makes a cgroup below this one.
    pub fn child(&self, name: &str) -> Result<Self> {
        Self::make(self.path.join(format!("{name}-{}", NEXT.fetch_add(1, Ordering::Relaxed))))
    }

    /// Makes a cgroup below this one as a container runtime does for the container `id`.
    pub fn container(&self, id: &str) -> Result<Self> {
        Self::make(self.path.join(format!("docker-{id}.scope")))
    }

    /// Makes cgroups below this one as the kubelet and containerd do for a container of a pod (systemd's driver).
    pub fn pod(&self, uid: &str, container: &str) -> Result<Self> {
        let slice = self.path.join(format!("kubepods-burstable-pod{}.slice", uid.replace('-', "_")));
        fs::create_dir(&slice).with_context(|| format!("cannot make the cgroup {}", slice.display()))?;
        Self::make(slice.join(format!("cri-containerd-{container}.scope")))
    }

    fn make(path: PathBuf) -> Result<Self> {
        fs::create_dir(&path)
            .with_context(|| format!("cannot make the cgroup {}: the tests run as root", path.display()))?;
        Ok(Self { path })
    }

    /// Its directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its path below the root of the hierarchy, with a leading `/`, as in `/proc/<pid>/cgroup`.
    pub fn name(&self) -> Result<String> {
        let below = self.path.strip_prefix(mount()?)?;
        Ok(format!("/{}", below.display()))
    }

    /// The processes in it and below it.
    pub fn processes(&self) -> Vec<u32> {
        processes(&self.path)
    }

    /// Kills everything in it and below it, and waits until it is empty.
    pub fn clear(&self) -> Result<()> {
        clear(&self.path)
    }
}

impl Drop for Scope {
    fn drop(&mut self) {
        let removed = clear(&self.path).and_then(|()| remove(&self.path));
        if let Err(error) = removed {
            eprintln!("the cgroup {} stays: {error:#}", self.path.display());
        }
    }
}

/// Removes what tests left that were killed: cgroups named after processes that are no more.
fn sweep(root: &Path) {
    for entry in fs::read_dir(root).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let mut parts = name.to_str().unwrap_or("").strip_prefix(PREFIX).unwrap_or("").split('-').skip(1);
        let (Some(pid), Some(start)) = (parts.next(), parts.next()) else { continue };
        let (Ok(pid), Ok(start)) = (pid.parse(), start.parse::<u64>()) else { continue };
        if started(pid) != Some(start) {
            // Two tests may sweep at once: the one that comes late finds nothing.
            let _ = clear(&entry.path()).and_then(|()| remove(&entry.path()));
        }
    }
}

/// Start time of a process in clock ticks: with the id it names a process for good.
fn started(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit(')').next()?.split_whitespace().nth(19)?.parse().ok()
}

fn children(path: &Path) -> impl Iterator<Item = PathBuf> {
    fs::read_dir(path).into_iter().flatten().flatten().filter(|e| e.path().is_dir()).map(|e| e.path())
}

fn processes(path: &Path) -> Vec<u32> {
    let own = fs::read_to_string(path.join("cgroup.procs")).unwrap_or_default();
    let mut found: Vec<u32> = own.lines().filter_map(|line| line.parse().ok()).filter(|pid| *pid != 0).collect();
    found.extend(children(path).flat_map(|child| processes(&child)));
    found
}

fn clear(path: &Path) -> Result<()> {
    wait::until("the end of all processes of a cgroup", EMPTY_BOUND, || {
        let present = processes(path);
        if present.is_empty() {
            return Ok(Some(()));
        }
        // Before 5.14 there is no `cgroup.kill`; processes that fork meanwhile are met in the next round.
        if fs::write(path.join("cgroup.kill"), "1").is_err() {
            for pid in present {
                kill(pid, Signal::KILL)?;
            }
        }
        Ok(None)
    })
}

fn remove(path: &Path) -> Result<()> {
    for child in children(path) {
        remove(&child)?;
    }
    match fs::remove_dir(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// Sends a signal to a process; one that is gone already is no error.
pub fn kill(pid: u32, signal: Signal) -> Result<()> {
    let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { bail!("{pid} is no process id") };
    match kill_process(pid, signal) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(error) => Err(error).context("cannot send a signal"),
    }
}
