//! The programs for TLS, loaded beside the others: neither the start nor a process that begins shall wait for them.

use std::{
    collections::BTreeMap,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
};

use aya::Ebpf;

use super::{attach, uprobe::Way};
use crate::probe::{
    bpf, memory,
    relocated::{As, Relocated},
};

/// The program that the verifier takes longest for.
const LONGEST: &str = "tls_return";

/// Programs by their names. Dropping it waits until none is being loaded.
pub struct Programs {
    way: Way,
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

    fn load_all(&self) {
        let mut names: Vec<&str> = self.loaded.keys().copied().collect();
        // What takes longest goes first, and what every host has before what it may never have.
        names.sort_by_key(|name| (*name != LONGEST, !name.starts_with("tls_")));
        for name in names {
            if self.stop.load(Ordering::Relaxed) {
                return;
            }
            if let Err(why) = self.get(name) {
                log::debug!("program {name}: {why}");
            }
        }
        memory::give_back();
    }
}

impl Programs {
    /// Those of an object, none of whose maps is taken yet. A thread of its own loads one after the other.
    pub fn of(ebpf: &Ebpf) -> Result<Self, String> {
        let way = Way::find().map_err(|e| format!("uprobes can't be attached: {e}"))?;
        let kind = As { kind: bpf::KPROBE, attach_type: way.attach_type(), attach_to: 0 };
        let loaded = attach::programs().map(|name| (name, OnceLock::new())).collect();
        let object = Relocated::of(ebpf)?;
        let shared = Arc::new(Shared { object, kind, loaded, stop: AtomicBool::new(false) });
        let this = Arc::clone(&shared);
        let thread = thread::Builder::new().name("netspan-load".into()).spawn(move || this.load_all());
        Ok(Self { way, shared, loader: thread.ok() })
    }

    /// How they are attached.
    pub const fn way(&self) -> Way {
        self.way
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
