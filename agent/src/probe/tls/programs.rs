//! The programs for TLS, loaded when they are first needed, and soon after the start in any case: a process that begins
//! does not wait.

use std::{
    collections::BTreeMap,
    io,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
};

use crate::probe::relocated::{As, Relocated};

/// Programs by their names. Dropping it waits until none is being loaded.
pub struct Programs {
    shared: Arc<Shared>,
    loader: Option<JoinHandle<()>>,
}

struct Shared {
    object: Relocated,
    kind: As,
    /// Each of them, or why it could not be loaded.
    loaded: BTreeMap<&'static str, OnceLock<Result<OwnedFd, String>>>,
    stop: AtomicBool,
}

impl Shared {
    fn get(&self, name: &str) -> Result<&OwnedFd, &str> {
        let slot = self.loaded.get(name).ok_or("not among the programs")?;
        slot.get_or_init(|| self.object.load(name, self.kind, None)).as_ref().map_err(String::as_str)
    }
}

impl Programs {
    /// Those of an object that have these names.
    pub fn new(object: Relocated, kind: As, names: impl Iterator<Item = &'static str>) -> Self {
        let loaded = names.map(|name| (name, OnceLock::new())).collect();
        Self { shared: Arc::new(Shared { object, kind, loaded, stop: AtomicBool::new(false) }), loader: None }
    }

    /// Loads those that nobody asked for yet, in a thread of its own.
    pub fn load_all(&mut self) -> io::Result<()> {
        let shared = Arc::clone(&self.shared);
        let loader = thread::Builder::new().name("netspan-load".into()).spawn(move || {
            for name in shared.loaded.keys() {
                if shared.stop.load(Ordering::Relaxed) {
                    return;
                }
                if let Err(why) = shared.get(name) {
                    log::debug!("program {name}: {why}");
                }
            }
        })?;
        self.loader = Some(loader);
        Ok(())
    }

    /// A program; loads it, or waits until it is loaded.
    pub fn get(&self, name: &str) -> Result<BorrowedFd<'_>, &str> {
        self.shared.get(name).map(|program| program.as_fd())
    }
}

impl Drop for Programs {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(loader) = self.loader.take() {
            let _ = loader.join();
        }
    }
}
