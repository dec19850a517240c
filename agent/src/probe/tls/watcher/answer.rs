//! What there is of TLS in a process, as far as it is known now.

use std::{fs::File, time::Instant};

use super::{State, Watcher};
use crate::{
    probe::tls::{Found, report},
    tls::{Analysis, cache::Cache},
};

/// What is said of a file that is not hooked yet, or was not when its turn was.
const ANALYSED: &str = "it is being analysed";
const LOADED: &str = "the programs for it are being loaded";
const ATTACHING: &str = "it is being hooked";
const NOT_ANALYSED: &str = "it was not analysed: reading failed, or too many files came at one time";
/// Why a library has no hooks whose functions were located.
const NOTHING_TO_READ: &str = "netspan reads plaintext from none of the functions that were located in it";

impl Watcher {
    /// Answers who asked for the libraries of a process, if nothing of it is waited for or the time is over.
    pub(super) fn answer(&mut self) {
        let is_over = Instant::now() >= self.reports_until;
        for (pid, to) in std::mem::take(&mut self.reports) {
            if is_over || !self.is_waited_for(pid) {
                let _ = to.send(self.report(pid));
            } else {
                self.reports.push((pid, to));
            }
        }
    }

    /// Whether a process has a file that is to be hooked and is not yet.
    fn is_waited_for(&self, pid: u32) -> bool {
        let is_open = |key| self.files.get(key).is_some_and(|tracked| !matches!(tracked.state, State::Hooked(_)));
        self.known.get(&pid).is_some_and(|known| known.files.iter().any(is_open))
    }

    /// What there is of TLS in a process.
    fn report(&mut self, pid: u32) -> Vec<Found> {
        let Self { cache, files, .. } = self;
        let outcome = |cache: &mut Cache, key, _: &File| {
            cache.get(key).ok_or(if files.contains_key(&key) { ANALYSED } else { NOT_ANALYSED })
        };
        let state = |key, analysis: &Analysis| match files.get(&key).map(|tracked| &tracked.state) {
            Some(State::Hooked(attached)) => match attached.places_of(analysis) {
                0 => Err(attached.failure_of(analysis).unwrap_or(NOTHING_TO_READ).to_owned()),
                places => Ok(places),
            },
            Some(State::Loaded(..)) => Err(LOADED.to_owned()),
            Some(State::Attaching) => Err(ATTACHING.to_owned()),
            Some(State::Analysed(_)) | None => Err("no hook is attached".to_owned()),
        };
        report::libraries(pid, cache, outcome, state)
    }
}
