//! Batches that wait to be sent: on the disk if there is a directory, else in memory. What can't be written waits in memory
//! until the disk is usable again.
#![forbid(unsafe_code)]

pub mod disk;
mod memory;

use std::time::Instant;

use self::{disk::Disk, memory::Memory};
use super::{
    config::{Limits, WhenFull},
    encode::Batch,
    stats::{Counters, Totals},
};

/// The queue.
#[derive(Debug)]
pub struct Queue {
    memory: Memory,
    disk: Option<Disk>,
    when_full: WhenFull,
    /// Bytes on the disk from which on a producer that may wait is held back.
    enough: u64,
    disk_fails: bool,
}

/// A moment in the queue's life.
#[derive(Clone, Copy, Debug)]
pub struct Mark {
    /// Serial of the first batch that came later.
    serial: u64,
    /// Ordinal of the first record that came later.
    ordinal: u64,
}

impl Queue {
    /// Opens it. A directory that can't be used is told of, and done without.
    pub fn open(config: Option<disk::Config>, limits: &Limits, when_full: WhenFull, counters: &Counters) -> Self {
        let enough = config.as_ref().map_or(u64::MAX, |config| config.bytes / 2);
        let disk = config.and_then(|config| {
            let dir = config.dir.display().to_string();
            Disk::open(config)
                .inspect_err(|error| {
                    log::error!("{dir}: no queue on the disk: {error}; spans wait in memory; see --queue");
                })
                .ok()
        });
        if let Some(disk) = &disk {
            // It is set once only.
            let _ = counters.earlier.set(disk.earlier());
            Counters::set(&counters.recovered, disk.spans());
            if disk.spans() > 0 {
                log::info!("{} spans of an earlier run wait on the disk", disk.spans());
            }
        }
        Self { memory: Memory::new(limits.queue, when_full), disk, when_full, enough, disk_fails: false }
    }

    /// Whether what waits outlives the process.
    pub const fn is_on_disk(&self) -> bool {
        self.disk.is_some()
    }

    /// Appends a batch. What is dropped for it is counted.
    pub fn push(&mut self, batch: Batch, counters: &Counters) {
        let Some(disk) = &mut self.disk else {
            return Counters::add(&counters.full, self.memory.push(batch));
        };
        let (dropped, result) = disk.push(batch, Instant::now());
        Counters::add(&counters.full, dropped);
        match result {
            Ok(()) if self.disk_fails => {
                self.disk_fails = false;
                log::info!("the queue is on the disk again");
            }
            Ok(()) => {}
            Err(failed) => {
                Counters::add(&counters.disk_failures, 1);
                if let Some(error) = failed.error
                    && !std::mem::replace(&mut self.disk_fails, true)
                {
                    log::warn!(
                        "the queue can't be written to the disk ({error}): spans wait in memory, and the oldest are dropped when it is full"
                    );
                }
                Counters::add(&counters.full, self.memory.push(failed.batch));
            }
        }
    }

    /// Takes the oldest batch that waits.
    pub fn pop(&mut self, counters: &Counters) -> Option<Batch> {
        let from_disk = self.disk.as_mut().and_then(|disk| {
            let batch = disk.pop();
            Counters::add(&counters.corrupt, disk.take_corrupt());
            batch
        });
        from_disk.or_else(|| self.memory.pop())
    }

    /// Puts a batch that could not be sent back to its place.
    pub fn put_back(&mut self, batch: Batch, counters: &Counters) {
        let dropped = match &mut self.disk {
            Some(disk) if batch.ordinal.is_some() => disk.put_back(batch),
            _ => self.memory.push_back_in(batch),
        };
        Counters::add(&counters.full, dropped);
    }

    /// The fate of a batch that was taken is known.
    pub fn settle(&mut self, batch: &Batch) {
        if let Some(disk) = &mut self.disk {
            disk.settle(batch);
        }
    }

    /// Drops and counts what is older than `before_ms`.
    pub fn expire(&mut self, before_ms: u64, counters: &Counters) {
        let on_disk = self.disk.as_mut().map_or(0, |disk| disk.expire(before_ms));
        Counters::add(&counters.age, on_disk + self.memory.expire(before_ms));
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.memory.is_empty() && self.disk.as_ref().is_none_or(Disk::is_empty)
    }

    /// Whether nothing waits in memory, and nothing on the disk waits or is under way.
    pub fn is_settled(&self) -> bool {
        self.memory.is_empty() && self.disk.as_ref().is_none_or(Disk::is_settled)
    }

    /// Whether it is full, and nothing more should come.
    pub fn holds_back(&self) -> bool {
        let much = self.disk.as_ref().is_some_and(|disk| disk.bytes() > self.enough);
        self.memory.holds_back() || (self.when_full == WhenFull::HoldBack && much)
    }

    /// Now; `serial` is that of the next batch.
    pub fn mark(&self, serial: u64) -> Mark {
        Mark { serial, ordinal: self.disk.as_ref().map_or(0, Disk::next) }
    }

    /// Whether all that came before the mark is settled; `held` are the batches under way.
    pub fn is_past<'a>(&self, mark: &Mark, held: impl Iterator<Item = &'a Batch>) -> bool {
        let held = held.filter(|batch| batch.ordinal.is_none()).map(|batch| batch.serial);
        let oldest = held.chain(self.memory.oldest()).min();
        oldest.is_none_or(|oldest| oldest >= mark.serial)
            && self.disk.as_ref().is_none_or(|disk| disk.cursor() >= mark.ordinal)
    }

    /// Notes on the disk what became of all spans, given what this run counted.
    pub fn note(&mut self, run: impl FnOnce() -> super::Stats, counters: &Counters) {
        let Some(disk) = &mut self.disk else { return };
        Counters::add(&counters.corrupt, disk.take_corrupt());
        Counters::set(&counters.disk_bytes, disk.bytes());
        let totals: Totals = disk.earlier().plus(&run());
        disk.note(totals);
    }

    /// Files that are to be made safe against a power cut, by another thread.
    pub fn unsynced(&mut self) -> Vec<std::fs::File> {
        self.disk.as_mut().map(|disk| disk.unsynced(Instant::now())).unwrap_or_default()
    }

    /// Takes what waits in memory alone.
    pub fn pop_memory(&mut self) -> Option<Batch> {
        self.memory.pop()
    }
}
