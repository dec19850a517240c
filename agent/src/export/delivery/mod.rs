//! Delivery of spans to a destination: a receiver's endpoint or a file, from a thread of its own, with a queue of its own.
//!
//! A receiver that is down, slow or wrong never blocks or ends the agent: spans wait in a bounded queue, on the disk if there
//! is a directory, the oldest go first, and each lost span is counted by reason. The way of a span: [`Sink::offer`] →
//! [`encode`] (at once) → [`queue`] → [`transport`] → [`outcome`], driven by [`worker`].

pub mod compress;
pub mod config;
pub mod encode;
mod health;
mod language;
pub mod metrics;
pub mod outcome;
pub mod queue;
pub mod retry;
pub mod stats;
pub mod tls;
mod transport;
mod worker;

#[cfg(test)]
mod tests;

use std::{
    io,
    sync::{Arc, mpsc::SyncSender},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use thiserror::Error;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

pub use self::{
    compress::Compression,
    config::{Config, ConfigError, Limits, Protocol, WhenFull},
    stats::{Dropped, Stats, Totals},
    tls::TlsError,
};
use self::{language::Language, stats::Counters, worker::Worker};
use super::Sink;
use crate::privilege::{self, Role};

/// Why the exporter can't start.
#[derive(Debug, Error)]
pub enum StartError {
    /// TLS can't be set up.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// No thread, or no event loop, for the exporter.
    #[error("cannot start the exporter's thread: {0}; are threads or file descriptors exhausted?")]
    Thread(#[from] io::Error),
}

/// What the worker is told from outside.
#[derive(Debug)]
enum Command {
    /// Settle all spans offered so far, at most until the deadline; answer whether that succeeded.
    Flush(Instant, SyncSender<bool>),
    /// Settle all spans, at most until the deadline, and end.
    Stop(Instant),
}

/// A running exporter. Dropping it ends it at once; [`Handle::shutdown`] gives it time.
#[derive(Debug)]
pub struct Handle {
    sink: Sink,
    counters: Arc<Counters>,
    commands: UnboundedSender<Command>,
    thread: Option<JoinHandle<()>>,
}

/// Whether an exporter can be started: whether its files for TLS can be read.
pub fn check(config: &Config) -> Result<(), StartError> {
    Ok(Language::new(config).map(drop)?)
}

/// Starts an exporter on a thread of its own. What is wrong with the endpoint is told by the log; it never fails this.
pub fn start(config: &Config) -> Result<Handle, StartError> {
    start_after(config, || {})
}

/// The same, for one that takes the place of another: its thread calls `before` first, which may wait, and spans that are offered
/// meanwhile wait in its input. So two never use one queue's directory at once.
pub fn start_after(config: &Config, before: impl FnOnce() + Send + 'static) -> Result<Handle, StartError> {
    // A name lives as long as the agent; there is one for each destination.
    let name = String::leak(config.name.clone());
    let (sink, spans) = Sink::bounded(name, config.limits.input);
    let (commands, orders) = unbounded_channel();
    let counters = Arc::<Counters>::default();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        // One looks up names of hosts, one waits for the disk.
        .max_blocking_threads(2)
        .build()?;
    let (config, language, input) = (config.clone(), Language::new(config)?, sink.watch());
    let known = Arc::clone(&counters);
    let thread = std::thread::Builder::new().name("export".to_owned()).spawn(move || {
        privilege::settle(Role::Service);
        before();
        let worker = Worker::new(&config, language, known, (spans, input), orders);
        runtime.block_on(worker.run());
        // A name that is being looked up is not waited for.
        runtime.shutdown_background();
    })?;
    Ok(Handle { sink, counters, commands, thread: Some(thread) })
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

    /// A reader of the same, for later.
    pub fn watch(&self) -> impl Fn() -> Stats + Send + use<> {
        let (counters, input) = (Arc::clone(&self.counters), self.sink.watch());
        move || counters.read(|| input.stats())
    }

    /// What became of all spans since the queue's directory was made, given what this run counted; absent without one, or before
    /// it is open.
    pub fn totals(&self) -> impl Fn(&Stats) -> Option<Totals> + Send + use<> {
        let counters = Arc::clone(&self.counters);
        move |run| counters.earlier.get().map(|earlier| earlier.plus(run))
    }

    /// Waits until every span offered so far is settled (sent, rejected or dropped), at most for `patience`. Blocks the
    /// calling thread. Returns whether all are settled.
    pub fn flush(&self, patience: Duration) -> bool {
        let (answer, answered) = std::sync::mpsc::sync_channel(1);
        let deadline = Instant::now() + patience;
        self.commands.send(Command::Flush(deadline, answer)).is_ok() && answered.recv().unwrap_or(false)
    }

    /// Sends what can be sent within `patience`, counts the rest as dropped at shut-down if it is not on the disk, and ends the
    /// thread. Spans
    /// offered from now on count as dropped at shut-down, too.
    pub fn shutdown(mut self, patience: Duration) -> Stats {
        self.stop(patience);
        self.stats()
    }

    fn stop(&mut self, patience: Duration) {
        // An error means that the worker has ended; then there is nothing to tell it.
        let _ = self.commands.send(Command::Stop(Instant::now() + patience));
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            log::error!("an exporter's thread panicked: spans that it held are lost; please report this");
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.stop(Duration::ZERO);
    }
}
