//! The store's thread: takes spans from its queue, and commits what came four times a second.
//!
//! What came since the last commit becomes a small block. Small blocks are put together into larger ones, by replacing
//! them in one transaction: the spans of the larger block in the making are kept in memory, taken apart. Whatever fails,
//! the thread goes on: spans are counted as lost, and the partition is opened anew.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::Ordering::Relaxed,
        mpsc::{Receiver as Commands, SyncSender, TryRecvError},
    },
    time::{Duration, Instant, SystemTime},
};

use tokio::sync::mpsc::Receiver;

use super::{
    Config,
    block::Builder,
    directory::Directory,
    partition::{self, Partition, PartitionError},
    stats::Counters,
};
use crate::{control::nanoseconds, span::Span};

/// A span waits for its commit at most so long, but for a disk that is slow to write: a second is promised.
const COMMIT: Duration = Duration::from_millis(250);
/// How long the thread dozes when nothing waits: waking it for each span would cost more than the span.
const DOZE: Duration = Duration::from_millis(25);
/// Small blocks that are put together at the latest.
const SMALL_MAX: usize = 32;
/// A partition holds at most this share of the bytes and of the age that the store may have.
const SHARE: u32 = 16;
/// This share of the bytes is kept free for the commits until the next look.
const HEADROOM: u64 = 32;
/// After a failure, the store is opened again only so much later.
const RETRY: Duration = Duration::from_secs(5);

/// What the thread is told.
#[derive(Debug)]
pub(super) enum Command {
    /// Commit what came so far, and say so.
    Flush(SyncSender<()>),
    /// A partition was found damaged.
    Damaged(PathBuf),
    /// Commit and end.
    Stop,
}

pub(super) struct Writer {
    config: Config,
    counters: Arc<Counters>,
    spans: Receiver<Arc<Span>>,
    commands: Commands<Command>,
    directory: Option<Directory>,
    active: Option<Active>,
    /// What came since the last commit.
    fresh: Builder,
    /// What came since the last whole block: what the small blocks hold, and what is fresh.
    large: Builder,
    committed: Instant,
    /// Not to be tried before.
    retry_at: Option<Instant>,
    was_failing: bool,
    /// The last failure was that the disk was full.
    was_full: bool,
}

/// It was tried a moment ago, and failed.
#[derive(Debug, thiserror::Error)]
#[error("it is tried again in a few seconds")]
struct NotYet;

/// The partition that is written to.
struct Active {
    partition: Partition,
    path: PathBuf,
    begun: Instant,
    /// The blocks since the last whole one.
    small: Vec<i64>,
}

impl Writer {
    pub(super) fn new(
        config: Config,
        counters: Arc<Counters>,
        spans: Receiver<Arc<Span>>,
        commands: Commands<Command>,
    ) -> Self {
        Self {
            config,
            counters,
            spans,
            commands,
            directory: None,
            active: None,
            fresh: Builder::default(),
            large: Builder::default(),
            committed: Instant::now(),
            retry_at: None,
            was_failing: false,
            was_full: false,
        }
    }

    /// Runs until it is told to stop, or nobody can give spans or commands any more.
    pub(super) fn run(mut self) {
        // What is captured goes first.
        let _ = rustix::process::setpriority_process(None, super::NICE);
        self.keep_house();
        loop {
            let took = self.take();
            if self.large.is_full() || self.committed.elapsed() >= COMMIT {
                self.commit();
            }
            match self.commands.try_recv() {
                Ok(Command::Flush(done)) => {
                    self.take_all();
                    // Whoever asked may have given up waiting.
                    let _ = done.send(());
                }
                Ok(Command::Damaged(path)) => self.quarantine(&path),
                Ok(Command::Stop) | Err(TryRecvError::Disconnected) => break,
                Err(TryRecvError::Empty) if took == 0 => std::thread::sleep(DOZE),
                Err(TryRecvError::Empty) => {}
            }
        }
        self.take_all();
        if let Some(active) = self.active.take() {
            self.seal(active);
        }
    }

    /// Takes spans until nothing waits or a block is full. Returns how many.
    fn take(&mut self) -> usize {
        let before = self.fresh.rows();
        while !self.large.is_full()
            && let Ok(span) = self.spans.try_recv()
        {
            self.fresh.push(&span);
            self.large.push(&span);
        }
        self.fresh.rows() - before
    }

    fn take_all(&mut self) {
        while self.take() > 0 {
            self.commit();
        }
        self.commit();
    }

    /// Commits what came, and keeps the directory within its bounds.
    fn commit(&mut self) {
        self.committed = Instant::now();
        if !self.fresh.is_empty() {
            let rows = self.fresh.rows() as u64;
            match self.write() {
                Ok(()) => {
                    Counters::add(&self.counters.stored, rows);
                    Counters::add(&self.counters.commits, 1);
                    if std::mem::take(&mut self.was_failing) {
                        log::warn!("store: {} can be written to again", self.config.dir.display());
                    }
                }
                Err(error) => self.failed(rows, &error),
            }
            self.fresh = Builder::default();
        }
        self.keep_house();
    }

    fn write(&mut self) -> anyhow::Result<()> {
        self.open()?;
        let Some(active) = &mut self.active else { anyhow::bail!("it can't be opened yet") };
        if !self.large.is_full() && active.small.len() < SMALL_MAX {
            let Some(encoded) = self.fresh.encode() else { return Ok(()) };
            active.small.push(active.partition.replace(&encoded, &[])?);
            return Ok(());
        }
        // What the small blocks hold and what is fresh, as one block in their place.
        let Some(whole) = self.large.encode() else { return Ok(()) };
        let id = active.partition.replace(&whole, &active.small)?;
        active.small.clear();
        if self.large.is_full() {
            self.large = Builder::default();
        } else {
            active.small.push(id);
        }
        Ok(())
    }

    /// Opens the directory and a partition, where that is not done.
    fn open(&mut self) -> anyhow::Result<()> {
        if self.active.is_some() {
            return Ok(());
        }
        if self.retry_at.is_some_and(|at| Instant::now() < at) {
            return Err(NotYet.into());
        }
        if self.directory.is_none() {
            self.directory = Some(Directory::take(&self.config.dir)?);
        }
        let Some(directory) = &self.directory else { anyhow::bail!("no directory") };
        // The newest partition is gone on with, so that many starts don't make many partitions.
        if let Some(newest) = directory.entries()?.pop()
            && partition::bytes(&newest.path) < self.partition_bytes()
            && self.partition_age() > Duration::from_nanos(unix_ns().saturating_sub(newest.begun_ns))
        {
            match Partition::create(&newest.path) {
                Ok(partition) => {
                    let begun = Instant::now();
                    self.active = Some(Active { partition, path: newest.path, begun, small: Vec::new() });
                    return Ok(());
                }
                Err(error) if error.is_damage() => self.put_aside(&newest.path, &error),
                Err(error) => return Err(error.into()),
            }
        }
        let Some(directory) = &self.directory else { anyhow::bail!("no directory") };
        let path = directory.begin(unix_ns())?;
        let partition = Partition::create(&path)?;
        let begun = Instant::now();
        self.active = Some(Active { partition, path, begun, small: Vec::new() });
        Ok(())
    }

    fn failed(&mut self, rows: u64, error: &anyhow::Error) {
        let known = error.downcast_ref::<PartitionError>();
        let is_full = known.is_some_and(PartitionError::is_full)
            || error
                .downcast_ref::<std::io::Error>()
                .is_some_and(|error| error.kind() == std::io::ErrorKind::StorageFull);
        if !error.is::<NotYet>() {
            self.was_full = is_full;
        }
        Counters::add(if self.was_full { &self.counters.disk_full } else { &self.counters.failed }, rows);
        if !self.was_failing {
            self.was_failing = true;
            log::error!(
                "store: {} can't be written to, spans are lost: {error}; free the disk or give --store another directory",
                self.config.dir.display()
            );
        }
        // What was committed before stays as it is.
        self.large = Builder::default();
        let active = self.active.take();
        if let Some(active) = &active
            && known.is_some_and(PartitionError::is_damage)
        {
            self.put_aside(&active.path.clone(), &format!("{error}"));
        } else if self.retry_at.is_none_or(|at| Instant::now() >= at) {
            self.retry_at = Some(Instant::now() + RETRY);
        }
    }

    /// Ends partitions that are full or old, removes what is past the bounds, and counts what is there.
    fn keep_house(&mut self) {
        if self.directory.is_none() {
            match Directory::take(&self.config.dir) {
                Ok(directory) => self.directory = Some(directory),
                Err(error) if !self.was_failing => {
                    self.was_failing = true;
                    log::error!(
                        "store: {} can't be used, spans are not kept: {error}; give --store DIR or --no-store",
                        self.config.dir.display()
                    );
                }
                Err(_) => {}
            }
        }
        if let Some(active) = &self.active
            && (partition::bytes(&active.path) >= self.partition_bytes()
                || active.begun.elapsed() >= self.partition_age())
            && let Some(active) = self.active.take()
        {
            self.seal(active);
        }
        let Some(directory) = &self.directory else { return };
        let oldest_ns = unix_ns().saturating_sub(nanoseconds(self.config.age));
        let active = self.active.as_ref().map(|active| active.path.as_path());
        match directory.expire(self.config.bytes - self.config.bytes / HEADROOM, oldest_ns, active) {
            Ok(expired) => Counters::add(&self.counters.expired, expired),
            Err(error) => log::debug!("store: old partitions can't be removed: {error}"),
        }
        self.counters.bytes.store(directory.bytes().unwrap_or(0), Relaxed);
        self.counters.partitions.store(directory.entries().map_or(0, |all| all.len() as u64), Relaxed);
    }

    fn seal(&mut self, mut active: Active) {
        if active.small.len() > 1
            && let Some(whole) = self.large.encode()
            && let Err(error) = active.partition.replace(&whole, &active.small)
        {
            log::debug!("store: small blocks stay small: {error}");
        }
        self.large = Builder::default();
        active.partition.close();
    }

    fn quarantine(&mut self, path: &std::path::Path) {
        if self.active.as_ref().is_some_and(|active| active.path == path) {
            self.active = None;
            self.large = Builder::default();
        }
        if path.exists() {
            self.put_aside(path, &"a reader found it damaged");
        }
    }

    fn put_aside(&self, path: &std::path::Path, why: &dyn std::fmt::Display) {
        Counters::add(&self.counters.damaged, 1);
        log::error!("store: {} is damaged ({why}): it is put aside as *.damaged, the others are used", path.display());
        if let Some(Err(error)) = self.directory.as_ref().map(|directory| directory.quarantine(path)) {
            log::error!("store: {} can't be put aside: {error}", path.display());
        }
    }

    fn partition_bytes(&self) -> u64 {
        self.config.bytes / u64::from(SHARE)
    }

    fn partition_age(&self) -> Duration {
        self.config.age / SHARE
    }
}

/// Now, in nanoseconds since the Unix epoch.
pub fn unix_ns() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    nanoseconds(since)
}
