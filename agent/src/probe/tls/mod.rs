//! TLS libraries: finds them in processes as they map them, and keeps the hooks for plaintext attached to them for as long
//! as a process that is to be seen has them.
//!
//! A hook is attached to a file, for all processes that map it: where the kernel permits no less, who is seen is decided
//! by the kernel side's filters, as everywhere. Only what recognises ciphertext (`BIO_write`) is attached by process,
//! where a process's sessions go through memory.

mod attach;
mod mappings;
mod programs;
mod report;
mod uprobe;

pub use programs::Programs;
pub use report::{Found, unattached};

use std::{
    collections::{HashMap, HashSet, VecDeque},
    fs::{self, File},
    os::{
        fd::{AsRawFd as _, OwnedFd},
        unix::{ffi::OsStrExt as _, fs::MetadataExt as _},
    },
    path::{Path, PathBuf},
    sync::{Arc, Mutex, mpsc},
    thread::JoinHandle,
    time::Instant,
};

use rustix::event::{EventfdFlags, eventfd};

use self::{
    attach::{Attached, Attacher},
    mappings::{Mappings, News},
};
use crate::tls::{
    Function, Refusal, analyse,
    cache::{Cache, FileKey, Outcome},
    maps::{self, Mapped, Reason},
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
    /// Times that the kernel had more news than its ring has room for; all processes are looked through then.
    pub lost: u64,
}

impl Counts {
    /// Each with its name, for the account.
    pub const fn named(&self) -> [(&'static str, u64); 7] {
        let Self { files, processes, analysed, refused, failed, full, lost } = *self;
        [
            ("files", files),
            ("processes", processes),
            ("analysed", analysed),
            ("refused", refused),
            ("failed", failed),
            ("full", full),
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
    orders: mpsc::Sender<Order>,
    bell: Arc<OwnedFd>,
    counts: Arc<Mutex<Counts>>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    /// Starts watching; returns when the processes that run already have been looked through, or the time is over.
    ///
    /// # Errors
    /// One line that says why mappings can't be watched, or uprobes not be attached here.
    pub(super) fn start(programs: Programs, admits: Admits, at_most: std::time::Duration) -> Result<Self, String> {
        let mappings = Mappings::open().map_err(|e| format!("mappings can't be watched: {e}"))?;
        let bell = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).map_err(|e| e.to_string())?);
        let (orders, receiver) = mpsc::channel();
        let (ready, is_ready) = mpsc::channel();
        let counts = Arc::new(Mutex::new(Counts::default()));
        let mut watcher = Watcher {
            attacher: Attacher::new(programs).map_err(|e| format!("uprobes can't be attached: {e}"))?,
            admits,
            cache: Cache::default(),
            files: HashMap::new(),
            known: HashMap::new(),
            idle: VecDeque::new(),
            counts: Counts::default(),
            shared: Arc::clone(&counts),
        };
        let ring = Arc::clone(&bell);
        let thread = std::thread::Builder::new()
            .name("netspan-tls".into())
            .spawn(move || {
                watcher.look_through();
                watcher.expect();
                watcher.publish();
                let _ = ready.send(());
                watcher.run(mappings, &ring, &receiver);
            })
            .map_err(|e| e.to_string())?;
        let _ = is_ready.recv_timeout(at_most);
        Ok(Self { orders, bell, counts, thread: Some(thread) })
    }

    /// A session of this process goes over an unknown socket: what it encrypts has to be recognised.
    pub fn unbound(&self, pid: u32) {
        self.order(Order::Unbound(pid));
    }

    /// The libraries of a process.
    pub fn report(&self, pid: u32) -> Vec<Found> {
        self.asker().report(pid)
    }

    /// Asks for reports from another thread.
    pub fn asker(&self) -> Asker {
        Asker { orders: self.orders.clone(), bell: Arc::clone(&self.bell) }
    }

    /// What happened so far.
    pub fn counts(&self) -> Counts {
        *self.counts.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn order(&self, order: Order) {
        send(&self.orders, &self.bell, order);
    }
}

fn send(orders: &mpsc::Sender<Order>, bell: &OwnedFd, order: Order) {
    if orders.send(order).is_ok() {
        let _ = rustix::io::write(bell, &1_u64.to_ne_bytes());
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
        send(&self.orders, &self.bell, Order::Report(pid, sender));
        receiver.recv().unwrap_or_default()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.order(Order::Stop);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A file with hooks.
struct Hooked {
    attached: Attached,
    users: HashSet<u32>,
}

/// What is known of a process.
#[derive(Default)]
struct Known {
    /// Its files with hooks.
    files: HashSet<FileKey>,
    /// What recognises its ciphertext.
    ciphertext: Option<Attached>,
}

struct Watcher {
    attacher: Attacher,
    admits: Admits,
    cache: Cache,
    files: HashMap<FileKey, Hooked>,
    known: HashMap<u32, Known>,
    /// Files whose last process ended, longest ago first; some of them are used again.
    idle: VecDeque<FileKey>,
    counts: Counts,
    shared: Arc<Mutex<Counts>>,
}

impl Drop for Watcher {
    fn drop(&mut self) {
        let files = std::mem::take(&mut self.files).into_values().map(|hooked| hooked.attached);
        let processes = std::mem::take(&mut self.known).into_values().filter_map(|known| known.ciphertext);
        self.attacher.detach(files.chain(processes));
    }
}

impl Watcher {
    fn run(&mut self, mut mappings: Mappings, bell: &OwnedFd, orders: &mpsc::Receiver<Order>) {
        loop {
            let mut news = Vec::new();
            mappings.take(|told| news.push(told));
            for told in news {
                self.news(told);
            }
            while let Ok(order) = orders.try_recv() {
                match order {
                    Order::Unbound(pid) => self.recognise(pid),
                    Order::Report(pid, to) => drop(to.send(self.report(pid))),
                    Order::Stop => return,
                }
            }
            self.publish();
            if let Err(error) = mappings.wait(bell, None) {
                log::error!("mappings can't be waited for, new processes' TLS is not seen: {error}");
                return;
            }
            let _ = rustix::io::read(bell, &mut [0_u8; 8]);
        }
    }

    fn publish(&mut self) {
        self.counts.files = self.files.len() as u64;
        self.counts.processes = self.known.values().filter(|known| !known.files.is_empty()).count() as u64;
        *self.shared.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = self.counts;
    }

    fn news(&mut self, news: News) {
        match news {
            News::Mapped { pid, path, inode } => {
                if pid == std::process::id() {
                    return;
                }
                let executable = fs::read_link(format!("/proc/{pid}/exe")).ok();
                // What a process had before it began another program stays until it ends: a program may map its own file
                // again at any time, which tells nothing.
                let is_executable = executable.as_ref() == Some(&path);
                if is_executable || path.file_name().is_some_and(|name| maps::reason(name.as_bytes()) != Reason::Other)
                {
                    let inside =
                        PathBuf::from(format!("/proc/{pid}/root")).join(path.strip_prefix("/").unwrap_or(&path));
                    self.consider(pid, &path, &inside, Some(inode));
                }
            }
            News::Forked { pid, parent } => {
                let Some(files) = self.known.get(&parent).map(|known| known.files.clone()) else { return };
                for file in &files {
                    if let Some(hooked) = self.files.get_mut(file) {
                        hooked.users.insert(pid);
                    }
                }
                let recognise = self.known.get(&parent).is_some_and(|known| known.ciphertext.is_some());
                self.known.insert(pid, Known { files, ciphertext: None });
                if recognise {
                    self.recognise(pid);
                }
            }
            News::Ended(pid) => self.ended(pid),
            News::Lost => {
                self.counts.lost += 1;
                self.look_through();
            }
        }
    }

    /// Looks at all processes that run.
    fn look_through(&mut self) {
        let pids: HashSet<u32> = crate::host::ProcRoot::host().pids().into_iter().collect();
        let gone: Vec<u32> = self.known.keys().copied().filter(|pid| !pids.contains(pid)).collect();
        for pid in gone {
            self.ended(pid);
        }
        for pid in pids {
            if pid == std::process::id() {
                continue;
            }
            for mapped in mapped(pid).into_iter().filter(Mapped::is_candidate) {
                self.consider(pid, &mapped.path, &mapped.open_path(pid), None);
            }
        }
    }

    /// A process has a file that may hold a TLS library.
    fn consider(&mut self, pid: u32, path: &Path, open: &Path, inode: Option<u64>) {
        let Ok(file) = File::open(open) else { return };
        let Ok(metadata) = file.metadata() else { return };
        if inode.is_some_and(|inode| inode != metadata.ino()) {
            log::debug!("{} of process {pid} was replaced", path.display());
            return;
        }
        let key = FileKey::of(&metadata);
        if let Some(hooked) = self.files.get_mut(&key) {
            if hooked.users.insert(pid) {
                self.known.entry(pid).or_default().files.insert(key);
            }
            self.recognise_early(pid, path);
            return;
        }
        // Asked before the analysis: most processes are none of ours in a scoped run.
        if !(self.admits)(pid) {
            return;
        }
        if !self.hook(key, &file, path) {
            return;
        }
        if let Some(hooked) = self.files.get_mut(&key) {
            hooked.users.insert(pid);
        }
        self.known.entry(pid).or_default().files.insert(key);
        self.recognise_early(pid, path);
    }

    /// Attaches to what moves plaintext in a file; says whether there is such a thing.
    fn hook(&mut self, key: FileKey, file: &File, path: &Path) -> bool {
        let begin = Instant::now();
        let outcome = self.analyse(key, file);
        let Ok(analyses) = &*outcome else { return false };
        let finding = begin.elapsed();
        if self.files.len() >= FILES_MAX {
            self.counts.full += 1;
            return false;
        }
        let mut attached = Attached::default();
        for analysis in analyses {
            // By descriptor: what is hooked is what was analysed, whatever is at the path now.
            let path = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
            self.attacher.attach(analysis, &path, None, |function| function != Function::BioWrite, &mut attached);
        }
        self.counts.failed += attached.failed.len() as u64;
        let (all, places) = (begin.elapsed(), attached.places());
        log::debug!("{}: {places} places hooked in {all:?}, {finding:?} of that to find them", path.display());
        self.files.insert(key, Hooked { attached, users: HashSet::new() });
        true
    }

    fn analyse(&mut self, key: FileKey, file: &File) -> Outcome {
        counted(&mut self.cache, &mut self.counts, key, file)
    }

    /// Programs that are known to keep ciphertext in memory: Python's `ssl`, and those with OpenSSL in themselves.
    fn recognise_early(&mut self, pid: u32, path: &Path) {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let runtime = ["_ssl", "node", "libnode", "python"].iter().any(|begin| name.starts_with(begin));
        let library = name.starts_with("libcrypto") || name.starts_with("libssl");
        let in_python = library
            && fs::read_link(format!("/proc/{pid}/exe"))
                .is_ok_and(|exe| exe.file_name().is_some_and(|name| name.to_string_lossy().starts_with("python")));
        if runtime || in_python {
            self.recognise(pid);
        }
    }

    /// Attaches to what gives the ciphertext of a process's sessions.
    fn recognise(&mut self, pid: u32) {
        if self.known.get(&pid).is_some_and(|known| known.ciphertext.is_some()) {
            return;
        }
        let mut attached = Attached::default();
        for mapped in mapped(pid).into_iter().filter(Mapped::is_candidate) {
            let Ok(file) = File::open(mapped.open_path(pid)) else { continue };
            let Ok(metadata) = file.metadata() else { continue };
            let outcome = self.analyse(FileKey::of(&metadata), &file);
            let path = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
            for analysis in outcome.iter().flatten() {
                let wants = |function| function == Function::BioWrite;
                self.attacher.attach(analysis, &path, Some(pid), wants, &mut attached);
            }
        }
        if attached.places() > 0 {
            self.known.entry(pid).or_default().ciphertext = Some(attached);
        }
    }

    fn ended(&mut self, pid: u32) {
        let Some(known) = self.known.remove(&pid) else { return };
        if let Some(attached) = known.ciphertext {
            self.attacher.detach([attached]);
        }
        for file in known.files {
            if let Some(hooked) = self.files.get_mut(&file) {
                hooked.users.remove(&pid);
                if hooked.users.is_empty() {
                    self.idle.push_back(file);
                }
            }
        }
        while self.idle.len() > IDLE_MAX
            && let Some(file) = self.idle.pop_front()
        {
            if self.files.get(&file).is_some_and(|hooked| hooked.users.is_empty())
                && let Some(hooked) = self.files.remove(&file)
            {
                self.attacher.detach([hooked.attached]);
            }
        }
    }

    /// Hooks the host's own libraries before a process maps them: a program that lives for milliseconds is seen, too.
    fn expect(&mut self) {
        const DIRECTORIES: [&str; 6] =
            ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/lib", "/lib64", "/lib"];
        for directory in DIRECTORIES {
            for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
                let name = entry.file_name();
                if maps::reason(name.as_bytes()) == Reason::Library
                    && let Ok(file) = File::open(entry.path())
                    && let Ok(metadata) = file.metadata()
                    && metadata.is_file()
                {
                    let key = FileKey::of(&metadata);
                    if !self.files.contains_key(&key) && self.hook(key, &file, &entry.path()) {
                        self.idle.push_back(key);
                    }
                }
            }
        }
    }

    /// What there is of TLS in a process.
    fn report(&mut self, pid: u32) -> Vec<Found> {
        let Self { cache, counts, files, .. } = self;
        report::libraries(
            pid,
            cache,
            |cache, key, file| counted(cache, counts, key, file),
            |key, analysis| {
                let Some(Hooked { attached, .. }) = files.get(&key) else {
                    return Err("no hook is attached".to_owned());
                };
                match attached.places_of(analysis) {
                    0 => Err(attached.failure_of(analysis).unwrap_or(NOTHING_TO_READ).to_owned()),
                    places => Ok(places),
                }
            },
        )
    }
}

/// Why a library has no hooks whose functions were located.
const NOTHING_TO_READ: &str = "netspan reads plaintext from none of the functions that were located in it";

/// What a file holds, by an analysis if it has to be.
fn counted(cache: &mut Cache, counts: &mut Counts, key: FileKey, file: &File) -> Outcome {
    cache.get_or(key, || {
        counts.analysed += 1;
        let outcome = analyse(file);
        counts.refused += u64::from(!matches!(&outcome, Ok(_) | Err(Refusal::NoTls | Refusal::NotElf)));
        outcome
    })
}

/// The files that a process executes code of.
fn mapped(pid: u32) -> Vec<Mapped> {
    let Ok(text) = fs::read(format!("/proc/{pid}/maps")) else { return Vec::new() };
    let executable = fs::read_link(format!("/proc/{pid}/exe")).ok();
    maps::parse(&text, executable.as_ref().map(|path| path.as_os_str().as_bytes())).files
}
