//! The programs for TLS, loaded beside the others: neither the start nor a process that begins shall wait for them.
//!
//! What OpenSSL needs is loaded from the beginning, since nearly every host has it; the rest when a file needs it, and in
//! any case once the agent is ready ([`Programs::load_rest`]): the verifier takes as long for rustls' as for all else, and
//! would take a processor from those that the start waits for.

use std::{
    collections::{BTreeMap, VecDeque},
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError},
    thread::{self, JoinHandle},
    time::Instant,
};

use aya::Ebpf;

use super::{attach, uprobe::Way};
use crate::{
    privilege::{self, Role},
    probe::{
        bpf, memory,
        relocated::{As, Loaded, Relocated},
    },
};

/// The program that the verifier takes longest for, of those that are loaded first.
const LONGEST: &str = "tls_return";

/// Programs by their names. Dropping it waits until none is being loaded.
pub struct Programs {
    way: Way,
    shared: Arc<Shared>,
    loader: Option<JoinHandle<()>>,
}

struct Shared {
    /// Each of them, or why it could not be loaded.
    loaded: BTreeMap<&'static str, OnceLock<Result<OwnedFd, String>>>,
    orders: Mutex<Orders>,
    news: Condvar,
}

/// What is to be loaded. A program is in one of the lists until the loader takes it.
#[derive(Default)]
struct Orders {
    /// What is needed, in this order.
    wanted: VecDeque<&'static str>,
    /// What nothing needs yet.
    rest: Vec<&'static str>,
    takes_rest: bool,
    stop: bool,
    /// Rung each time one is loaded.
    bell: Option<Arc<OwnedFd>>,
}

impl Orders {
    /// All programs, those first that are needed for the functions of OpenSSL.
    fn new() -> Self {
        let mut wanted: VecDeque<&'static str> = VecDeque::new();
        for name in [LONGEST].into_iter().chain(attach::programs_of_openssl()) {
            if !wanted.contains(&name) {
                wanted.push_back(name);
            }
        }
        let mut rest: Vec<_> = attach::programs().filter(|name| !wanted.contains(name)).collect();
        rest.sort_unstable();
        rest.dedup();
        Self { wanted, rest, ..Self::default() }
    }

    fn next(&mut self) -> Option<&'static str> {
        let wanted = self.wanted.pop_front();
        if self.takes_rest { wanted.or_else(|| self.rest.pop()) } else { wanted }
    }

    fn is_done(&self) -> bool {
        self.stop || self.wanted.is_empty() && self.rest.is_empty()
    }

    /// Has a program loaded before those that nothing needs.
    fn want(&mut self, name: &str) {
        if let Some(at) = self.rest.iter().position(|rest| *rest == name) {
            self.wanted.push_back(self.rest.swap_remove(at));
        }
    }
}

impl Shared {
    fn orders(&self) -> MutexGuard<'_, Orders> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next program to load; nothing when none is left.
    fn next(&self) -> Option<&'static str> {
        let mut orders = self.orders();
        while !orders.is_done() {
            if let Some(name) = orders.next() {
                return Some(name);
            }
            orders = self.news.wait(orders).unwrap_or_else(PoisonError::into_inner);
        }
        None
    }

    /// Loads one after the other.
    fn load(&self, object: Result<&Relocated, &String>, kind: As) {
        while let Some(name) = self.next() {
            let begin = Instant::now();
            let loaded = object.map_err(String::clone).and_then(|object| object.load(name, kind, None));
            match &loaded {
                Ok(_) => log::debug!("program {name} loaded in {:?}", begin.elapsed()),
                Err(why) => log::debug!("program {name}: {why}"),
            }
            if let Some(slot) = self.loaded.get(name) {
                let _ = slot.set(loaded);
            }
            if let Some(bell) = &self.orders().bell {
                super::ring(bell);
            }
        }
    }
}

impl Programs {
    /// Those of an object, none of whose maps is taken yet. Two threads of their own load them.
    pub fn of(ebpf: &Ebpf) -> Result<Self, String> {
        let way = Way::find().map_err(|e| format!("uprobes can't be attached: {e}"))?;
        let kind = As { kind: bpf::KPROBE, attach_type: way.attach_type(), attach_to: 0 };
        let loaded = attach::programs().map(|name| (name, OnceLock::new())).collect();
        let object = Loaded::of(ebpf);
        let shared = Arc::new(Shared { loaded, orders: Mutex::new(Orders::new()), news: Condvar::new() });
        let this = Arc::clone(&shared);
        let load = move || {
            privilege::settle(Role::Capture);
            let object = Relocated::of(object);
            thread::scope(|scope| {
                scope.spawn(|| this.load(object.as_ref(), kind));
                this.load(object.as_ref(), kind);
            });
            // Some megabytes that nobody needs any more.
            drop(object);
            memory::give_back();
        };
        let thread = thread::Builder::new().name("netspan-load".into()).spawn(load);
        Ok(Self { way, shared, loader: Some(thread.map_err(|e| format!("programs can't be loaded: {e}"))?) })
    }

    /// How they are attached.
    pub const fn way(&self) -> Way {
        self.way
    }

    /// Rings this bell each time that a program is loaded, or can't be.
    pub fn tell(&self, bell: &Arc<OwnedFd>) {
        self.shared.orders().bell = Some(Arc::clone(bell));
    }

    /// A program, if it is loaded; else it is as soon as it can be.
    pub fn get(&self, name: &str) -> Option<Result<BorrowedFd<'_>, &str>> {
        let Some(slot) = self.shared.loaded.get(name) else { return Some(Err("not among the programs")) };
        if let Some(loaded) = slot.get() {
            return Some(loaded.as_ref().map(|program| program.as_fd()).map_err(String::as_str));
        }
        self.shared.orders().want(name);
        self.shared.news.notify_all();
        None
    }

    /// Loads those, too, that nothing needs yet.
    pub fn load_rest(&self) {
        self.shared.orders().takes_rest = true;
        self.shared.news.notify_all();
    }
}

impl Drop for Programs {
    fn drop(&mut self) {
        self.shared.orders().stop = true;
        self.shared.news.notify_all();
        if let Some(loader) = self.loader.take() {
            let _ = loader.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn openssls_programs_come_first_and_the_rest_when_it_is_asked_for() {
        let mut orders = Orders::new();
        let first: Vec<_> = std::iter::from_fn(|| orders.next()).collect();
        assert_eq!(first.first(), Some(&LONGEST));
        assert!(first.contains(&"tls_ciphertext") && first.iter().all(|name| name.starts_with("tls_")), "{first:?}");
        assert!(!orders.is_done());
        // One that is loaded, or is being, is not loaded again.
        orders.want(LONGEST);
        assert_eq!(orders.next(), None);
        for name in ["rustls_encrypt", "go_read", "rustls_encrypt", "unknown"] {
            orders.want(name);
        }
        assert_eq!([(); 3].map(|()| orders.next()), [Some("rustls_encrypt"), Some("go_read"), None]);
        orders.takes_rest = true;
        orders.want("rustls_decrypt");
        assert_eq!(orders.next(), Some("rustls_decrypt"));
        let mut all: Vec<_> = std::iter::from_fn(|| orders.next()).collect();
        assert!(orders.is_done());
        all.extend(first.iter().chain(&["rustls_encrypt", "go_read", "rustls_decrypt"]));
        all.sort_unstable();
        let mut expected: Vec<_> = attach::programs().collect();
        expected.sort_unstable();
        expected.dedup();
        assert_eq!(all, expected);
    }
}
