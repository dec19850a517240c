//! TLS libraries: finds them in processes as they map them, and keeps the hooks for plaintext attached to them for as long
//! as a process that is to be seen has them.
//!
//! One thread watches and attaches ([`watcher`]). What takes long is done beside it, so that no file waits for another:
//! others analyse files ([`analysts`]) and load programs ([`programs`]), and ring its bell when they are done.
//!
//! A hook is attached to a file, for all processes that map it: where the kernel permits no less, who is seen is decided
//! by the kernel side's filters, as everywhere. Only what recognises ciphertext (`BIO_write`) is attached by process,
//! where a process's sessions go through memory.

mod analysts;
mod attach;
mod mappings;
mod programs;
mod report;
mod uprobe;
mod watcher;

pub use programs::Programs;
pub use report::{Found, unattached};

use std::{
    fs,
    os::{fd::OwnedFd, unix::ffi::OsStrExt as _},
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use rustix::event::{EventfdFlags, eventfd};

use self::{analysts::Analysts, attach::Attacher, mappings::Mappings, watcher::Watcher};
use crate::tls::{
    analyse,
    maps::{self, Mapped},
};

/// Files that hooks are attached to at one time; more are left alone, and counted.
pub const FILES_MAX: usize = 1024;

/// Files that stay hooked though no process has them at present: the next one begins soon, and lives shortly.
pub const IDLE_MAX: usize = 32;

/// Says whether a process is to be seen.
pub type Admits = Box<dyn FnMut(u32) -> bool + Send>;

/// What happened so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Files with hooks at present.
    pub files: u64,
    /// Processes that have such a file at present.
    pub processes: u64,
    /// Files analysed.
    pub analysed: u64,
    /// Files in which there was nothing to hook though they hold a TLS library.
    pub refused: u64,
    /// Places that could not be hooked.
    pub failed: u64,
    /// Files left alone because of [`FILES_MAX`].
    pub full: u64,
    /// Files that had to wait because [`analysts::QUEUE_MAX`] others did: all processes are looked through again after.
    pub put_off: u64,
    /// Times that the kernel had more news than its ring has room for; all processes are looked through then.
    pub lost: u64,
}

impl Counts {
    /// Each with its name, for the account.
    pub const fn named(&self) -> [(&'static str, u64); 8] {
        let Self { files, processes, analysed, refused, failed, full, put_off, lost } = *self;
        [
            ("files", files),
            ("processes", processes),
            ("analysed", analysed),
            ("refused", refused),
            ("failed", failed),
            ("full", full),
            ("put_off", put_off),
            ("lost", lost),
        ]
    }
}

enum Order {
    /// A session of the process goes over an unknown socket.
    Unbound(u32),
    /// All libraries that a process has.
    Report(u32, mpsc::Sender<Vec<Found>>),
    Stop,
}

/// The thread that watches.
pub struct Watch {
    asker: Asker,
    counts: Arc<Mutex<Counts>>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    /// Starts watching; returns when the hooks are attached in the processes that run already, or the time is over.
    ///
    /// # Errors
    /// One line that says why mappings can't be watched, or uprobes not be attached here.
    pub(super) fn start(
        programs: Programs,
        admits: Admits,
        goroutines: bool,
        at_most: Duration,
    ) -> Result<Self, String> {
        let mappings = Mappings::open().map_err(|e| format!("mappings can't be watched: {e}"))?;
        let bell = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).map_err(|e| e.to_string())?);
        let (orders, receiver) = mpsc::channel();
        let (ready, is_ready) = mpsc::channel();
        let counts = Arc::new(Mutex::new(Counts::default()));
        programs.tell(&bell);
        let attacher = Attacher::new(programs, goroutines).map_err(|e| format!("uprobes can't be attached: {e}"))?;
        let analysts = Analysts::start(analyse, &bell).map_err(|e| format!("files can't be analysed: {e}"))?;
        let until = Instant::now() + at_most;
        let watcher = Watcher::new(attacher, analysts, admits, Arc::clone(&bell), Arc::clone(&counts), until);
        let thread = std::thread::Builder::new()
            .name("netspan-tls".into())
            .spawn(move || watcher.run(mappings, &receiver, ready))
            .map_err(|e| e.to_string())?;
        let _ = is_ready.recv_timeout(at_most);
        Ok(Self { asker: Asker { orders, bell }, counts, thread: Some(thread) })
    }

    /// A session of this process goes over an unknown socket: what it encrypts has to be recognised.
    pub fn unbound(&self, pid: u32) {
        self.asker.order(Order::Unbound(pid));
    }

    /// The libraries of a process. Until the time that [`start`](Self::start) has is over, it waits for those that are being
    /// analysed.
    pub fn report(&self, pid: u32) -> Vec<Found> {
        self.asker.report(pid)
    }

    /// Asks for reports from another thread.
    pub fn asker(&self) -> Asker {
        self.asker.clone()
    }

    /// What happened so far.
    pub fn counts(&self) -> Counts {
        *self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Asks a [`Watch`] which libraries a process has.
#[derive(Clone)]
pub struct Asker {
    orders: mpsc::Sender<Order>,
    bell: Arc<OwnedFd>,
}

impl Asker {
    /// The libraries of a process; none once the watch has ended.
    pub fn report(&self, pid: u32) -> Vec<Found> {
        let (sender, receiver) = mpsc::channel();
        self.order(Order::Report(pid, sender));
        receiver.recv().unwrap_or_default()
    }

    fn order(&self, order: Order) {
        if self.orders.send(order).is_ok() {
            ring(&self.bell);
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.asker.order(Order::Stop);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Has the thread that watches look around.
fn ring(bell: &OwnedFd) {
    let _ = rustix::io::write(bell, &1_u64.to_ne_bytes());
}

/// The files that a process executes code of.
fn mapped(pid: u32) -> Vec<Mapped> {
    let Ok(text) = fs::read(format!("/proc/{pid}/maps")) else { return Vec::new() };
    let executable = fs::read_link(format!("/proc/{pid}/exe")).ok();
    maps::parse(&text, executable.as_ref().map(|path| path.as_os_str().as_bytes())).files
}
