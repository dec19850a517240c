//! The embedded store: the spans of the last hours, on disk, to be searched.
//!
//! # How it is laid out
//! A directory of [`partition`]s of time, each an `SQLite` file; what is too old, or past the bound of bytes, goes by whole
//! partitions. A partition holds [`block`]s of some thousand spans, column by column, compressed by LZ4, with a summary and
//! Bloom filters: a query rules out most blocks by those, and reads of the others only the columns that it asks about.
//!
//! # Why `SQLite`
//! What is asked of the base is that a commit is whole or not there, that readers do not disturb the writer, that a damaged
//! file damages nothing else, and that a full disk is an error and nothing more. `SQLite` per partition gives each of these
//! by what it is: one file that can be put aside or removed. `fjall`, the other candidate, keeps one journal for all of a
//! database (one damaged file concerns all partitions; a database per partition has threads and caches each), and closes
//! itself after a write that failed. What spans need beyond (columns, compression) neither has.
//!
//! # Promises
//! `SIGKILL` loses at most the last second and never prevents a start. A damaged partition is put aside, said and counted. A full
//! disk is counted. Nobody waits: the queue in front drops what it has no room for.
#![forbid(unsafe_code)]

pub mod block;
mod bloom;
mod bytes;
mod directory;
mod label;
mod partition;
mod query;
mod sketch;
mod stats;
mod writer;

use std::{
    io,
    path::PathBuf,
    sync::{
        Arc,
        mpsc::{Sender, channel},
    },
    thread::JoinHandle,
    time::Duration,
};

pub use self::{
    query::{
        Edge, Found, Group, GroupBy, HEAT_COLUMNS, HEAT_ROWS, Heat, Node, Paths, Query, QueryError, Reader, SEARCH_MAX,
        TRACE_SPANS_MAX, Totals, Trace, Traces,
    },
    stats::Stats,
    writer::unix_ns,
};
use self::{stats::Counters, writer::Command};
use crate::{
    export::Sink,
    privilege::{self, Role},
};

/// Spans that wait for the store's thread at most.
pub const QUEUE: usize = 16_384;
/// Priority of threads that keep spans and answer questions: they may wait, see `nice(2)`.
pub const NICE: i32 = 0;
/// Bytes that the store may have at least.
pub const BYTES_MIN: u64 = 16 << 20;

/// Where the store is and how much it may keep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The directory; it is made if it is not there.
    pub dir: PathBuf,
    /// Bytes on the disk at most.
    pub bytes: u64,
    /// Age of the oldest span, more or less.
    pub age: Duration,
}

/// A running store. Dropping it commits what waits.
#[derive(Debug)]
pub struct Handle {
    sink: Sink,
    counters: Arc<Counters>,
    reader: Reader,
    commands: Sender<Command>,
    thread: Option<JoinHandle<()>>,
}

/// Starts the store on a thread of its own, which opens the directory: what is wrong with that is told by the log and
/// counted, it never fails this.
pub fn start(config: Config) -> io::Result<Handle> {
    let (sink, spans) = Sink::bounded("store", QUEUE);
    let (commands, orders) = channel();
    let counters = Arc::<Counters>::default();
    let reader = Reader::new(config.dir.clone(), commands.clone());
    let writer = writer::Writer::new(config, Arc::clone(&counters), spans, orders);
    let thread = std::thread::Builder::new().name("store".to_owned()).spawn(move || {
        privilege::settle(Role::Service);
        writer.run();
    })?;
    Ok(Handle { sink, counters, reader, commands, thread: Some(thread) })
}

impl Handle {
    /// The end that spans are offered to.
    pub fn sink(&self) -> Sink {
        self.sink.clone()
    }

    /// What became of the spans so far.
    pub fn stats(&self) -> Stats {
        self.counters.read(|| self.sink.stats())
    }

    /// A function that tells [`Self::stats`], for whoever shows them.
    pub fn watch(&self) -> impl Fn() -> Stats + Send + Sync + use<> {
        let (counters, sink) = (Arc::clone(&self.counters), self.sink.clone());
        move || counters.read(|| sink.stats())
    }

    /// Asks the store.
    pub fn reader(&self) -> Reader {
        self.reader.clone()
    }

    /// Commits every span offered so far, and waits for it at most for `patience`. Returns whether that is done.
    pub fn flush(&self, patience: Duration) -> bool {
        self.reader.flush(patience)
    }

    /// Commits what waits and ends the thread.
    pub fn shutdown(mut self) -> Stats {
        self.stop();
        self.stats()
    }

    fn stop(&mut self) {
        // An error means that the thread has ended; then there is nothing to tell it.
        let _ = self.commands.send(Command::Stop);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            log::error!("the store's thread panicked: spans that it held are lost; please report this");
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.stop();
    }
}

#[cfg(test)]
mod tests;
