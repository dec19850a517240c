//! A file on its way: analysed, waiting for its programs, attached to, hooked.

use std::{collections::HashSet, fs::File, path::Path, sync::Arc, thread, time::Instant};

use super::{AGAIN_MAX, Done, Pending, State, Tracked, Watcher, descriptor};
use crate::{
    probe::tls::{
        FILES_MAX, analysts,
        attach::{Attached, Attacher},
        ring,
    },
    tls::{
        Analysis, Function, Refusal,
        cache::{FileKey, Outcome},
    },
};

/// Files that are attached to at one time, each by a thread of its own: before Linux 6.6 most of that is waiting.
const ATTACHING_MAX: usize = 8;

impl Watcher {
    /// A file may hold a TLS library, and is in use by that process. It is hooked as soon as it is known what it holds.
    pub(super) fn track(&mut self, key: FileKey, file: File, path: &Path, pid: Option<u32>) {
        if !self.files.contains_key(&key) {
            let pending = Pending { file: Arc::new(file), path: path.to_owned(), begun: Instant::now() };
            let state = match self.cache.get(key) {
                Some(outcome) if outcome.is_err() => return,
                Some(outcome) => State::Loaded(pending, outcome),
                None if self.analysts.take(key, Arc::clone(&pending.file)) => {
                    self.analysed += 1;
                    State::Analysed(pending)
                }
                None => {
                    self.counts.put_off += 1;
                    self.again = true;
                    return;
                }
            };
            self.files.insert(key, Tracked { state, users: HashSet::new() });
        }
        if let (Some(pid), Some(tracked)) = (pid, self.files.get_mut(&key))
            && tracked.users.insert(pid)
        {
            self.known.entry(pid).or_default().files.insert(key);
        }
        self.hook(key);
    }

    /// Takes what the other threads have done.
    pub(super) fn take_results(&mut self) {
        while let Some(analysts::Done { key, found }) = self.analysts.done() {
            self.analysed = self.analysed.saturating_sub(1);
            self.counts.analysed += 1;
            self.counts.refused += u64::from(!matches!(&found, Ok(_) | Err(Refusal::NoTls | Refusal::NotElf)));
            let outcome = self.cache.insert(key, found);
            let Some(tracked) = self.files.remove(&key) else { continue };
            let Tracked { state: State::Analysed(pending), users } = tracked else { continue };
            if outcome.is_ok() {
                self.files.insert(key, Tracked { state: State::Loaded(pending, outcome), users });
                self.hook(key);
            } else {
                self.forget(key, &users);
            }
        }
        while let Ok(Done { key, attached }) = self.done.try_recv() {
            self.attaching -= 1;
            self.counts.failed += attached.failed.len() as u64;
            let Some(tracked) = self.files.get_mut(&key) else { continue };
            tracked.state = State::Hooked(attached);
            self.counts.files += 1;
            if tracked.users.is_empty() {
                self.idle.push_back(key);
            }
        }
        // Programs may have been loaded, too.
        for key in std::mem::take(&mut self.loaded) {
            self.hook(key);
        }
        let unrecognised: Vec<u32> = self.unrecognised.iter().copied().collect();
        for pid in unrecognised {
            self.recognise(pid);
        }
        if self.again && self.analysed == 0 {
            self.again = false;
            self.times_again += 1;
            if self.times_again <= AGAIN_MAX {
                self.look_through();
            }
            if !self.again {
                self.times_again = 0;
            }
        }
    }

    /// Attaches to what moves plaintext in a file, if all is there that it takes.
    fn hook(&mut self, key: FileKey) {
        let Some(Tracked { state: State::Loaded(_, outcome), .. }) = self.files.get(&key) else { return };
        let outcome = Arc::clone(outcome);
        // Each is asked for, whether one before it is missing or not.
        let is_missing = |analysis: &&Analysis| !self.attacher.is_ready(analysis, is_plaintext);
        let misses_any = outcome.iter().flatten().filter(is_missing).count() > 0;
        if misses_any || self.attaching >= ATTACHING_MAX {
            self.loaded.insert(key);
            return;
        }
        let Some(Tracked { state: State::Loaded(pending, _), users }) = self.files.remove(&key) else { return };
        if self.counts.files as usize + self.attaching >= FILES_MAX {
            self.counts.full += 1;
            self.forget(key, &users);
            return;
        }
        self.files.insert(key, Tracked { state: State::Attaching, users });
        self.attaching += 1;
        let (attacher, done, bell) = (Arc::clone(&self.attacher), self.to_done.clone(), Arc::clone(&self.bell));
        let attach = move || {
            let hooked = attach(&attacher, &pending, &outcome);
            // Whoever has heard of it may end all.
            drop(attacher);
            let _ = done.send(Done { key, attached: hooked });
            ring(&bell);
        };
        let attaching = thread::Builder::new().name("netspan-attach".into()).spawn(attach);
        if let Err(error) = attaching {
            log::warn!("a library can't be hooked: {error}");
            let _ = self.to_done.send(Done { key, attached: Attached::default() });
        }
    }

    /// There is nothing to be hooked in a file.
    fn forget(&mut self, key: FileKey, users: &HashSet<u32>) {
        for pid in users {
            if let Some(known) = self.known.get_mut(pid) {
                known.files.remove(&key);
            }
        }
    }
}

/// Attaches to what moves plaintext in a file.
fn attach(attacher: &Attacher, pending: &Pending, outcome: &Outcome) -> Attached {
    let Pending { file, path, begun } = pending;
    let (begin, mut hooked) = (Instant::now(), Attached::default());
    // By descriptor: what is hooked is what was analysed, whatever is at the path now.
    let by_descriptor = descriptor(file);
    for analysis in outcome.iter().flatten() {
        attacher.attach(analysis, &by_descriptor, None, is_plaintext, &mut hooked);
    }
    let (places, attaching, all) = (hooked.places(), begin.elapsed(), begun.elapsed());
    log::debug!("{}: {places} places hooked {all:?} after it was seen, {attaching:?} to attach", path.display());
    hooked
}

/// Whether a function is hooked for all processes.
fn is_plaintext(function: Function) -> bool {
    function != Function::BioWrite
}
