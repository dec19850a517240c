//! The thread that watches: what it knows of processes and files, and when a file is hooked.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    fs::{self, File},
    os::{
        fd::{AsRawFd as _, OwnedFd},
        unix::{ffi::OsStrExt as _, fs::MetadataExt as _},
    },
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread,
    time::{Duration, Instant},
};

use super::{
    Admits, Counts, FILES_MAX, Found, IDLE_MAX, Order,
    analysts::{self, Analysts, QUEUE_MAX},
    attach::{Attached, Attacher},
    mapped,
    mappings::{Mappings, News},
    report,
};
use crate::tls::{
    Analysis, Function, Refusal,
    cache::{self, Cache, FileKey, Outcome},
    maps::{self, Mapped, Reason},
};

/// Times in a row that all processes are looked through because files were put off: more files than the cache has room for
/// would never come to an end.
const AGAIN_MAX: usize = cache::FILES_MAX / QUEUE_MAX;

/// Files that are attached to at one time, each by a thread of its own: before Linux 6.6 most of that is waiting.
const ATTACHING_MAX: usize = 8;

/// How long the end waits for those; it takes a second at most.
const ATTACHING_TIME: Duration = Duration::from_secs(5);

/// What is said of a file that is not hooked yet, or was not when its turn was.
const ANALYSED: &str = "it is being analysed";
const LOADED: &str = "the programs for it are being loaded";
const ATTACHING: &str = "it is being hooked";
const NOT_ANALYSED: &str = "it was not analysed: reading failed, or too many files came at one time";
/// Why a library has no hooks whose functions were located.
const NOTHING_TO_READ: &str = "netspan reads plaintext from none of the functions that were located in it";

/// A file that a process has.
struct Tracked {
    state: State,
    users: HashSet<u32>,
}

/// How far a file is.
enum State {
    /// It is analysed, or will be.
    Analysed(Pending),
    /// What it holds is known, but not all programs for it are loaded, or too many files are being attached to.
    Loaded(Pending, Outcome),
    /// It is attached to.
    Attaching,
    Hooked(Attached),
}

/// A file that was attached to.
struct Done {
    key: FileKey,
    attached: Attached,
}

/// A file that is to be hooked.
struct Pending {
    file: Arc<File>,
    path: PathBuf,
    /// When it was first seen.
    begun: Instant,
}

/// What is known of a process.
#[derive(Default)]
struct Known {
    files: HashSet<FileKey>,
    ciphertext: Ciphertext,
}

/// What recognises a process's ciphertext.
#[derive(Default)]
struct Ciphertext {
    attached: Attached,
    /// Files that were looked at for it.
    files: HashSet<FileKey>,
    is_wanted: bool,
}

/// The thread's state.
pub struct Watcher {
    attacher: Arc<Attacher>,
    analysts: Analysts,
    /// What those send that attach, and how.
    done: mpsc::Receiver<Done>,
    to_done: mpsc::Sender<Done>,
    bell: Arc<OwnedFd>,
    /// Files that are being attached to.
    attaching: usize,
    admits: Admits,
    cache: Cache,
    files: HashMap<FileKey, Tracked>,
    known: HashMap<u32, Known>,
    /// Files whose last process ended, longest ago first; some of them are used again.
    idle: VecDeque<FileKey>,
    /// Files that the start waits for, until it is over.
    starting: Option<(HashSet<FileKey>, mpsc::Sender<()>)>,
    /// Processes whose libraries are asked for.
    reports: Vec<(u32, mpsc::Sender<Vec<Found>>)>,
    /// Until then it is waited for what reports ask for.
    reports_until: Instant,
    /// Files that are with the analysts.
    analysed: usize,
    /// Files that wait for programs.
    loaded: HashSet<FileKey>,
    /// Processes that have files which were not yet looked at for their ciphertext.
    unrecognised: HashSet<u32>,
    /// Files with hooks.
    hooked: usize,
    /// Some were put off: all processes are looked through when the analysts have nothing to do.
    again: bool,
    times_again: usize,
    counts: Counts,
    shared: Arc<Mutex<Counts>>,
}

impl Drop for Watcher {
    fn drop(&mut self) {
        let attached = (0..self.attaching).map_while(|_| Some(self.done.recv_timeout(ATTACHING_TIME).ok()?.attached));
        let attached: Vec<Attached> = attached.collect();
        let files = std::mem::take(&mut self.files).into_values().filter_map(|tracked| match tracked.state {
            State::Hooked(attached) => Some(attached),
            State::Analysed(_) | State::Loaded(..) | State::Attaching => None,
        });
        let processes = std::mem::take(&mut self.known).into_values().map(|known| known.ciphertext.attached);
        self.attacher.detach(files.chain(processes).chain(attached));
    }
}

impl Watcher {
    /// One that knows nothing yet.
    pub fn new(
        attacher: Attacher,
        analysts: Analysts,
        admits: Admits,
        bell: Arc<OwnedFd>,
        shared: Arc<Mutex<Counts>>,
        reports_until: Instant,
    ) -> Self {
        let (to_done, done) = mpsc::channel();
        Self {
            attacher: Arc::new(attacher),
            analysts,
            done,
            to_done,
            bell,
            attaching: 0,
            admits,
            cache: Cache::default(),
            files: HashMap::new(),
            known: HashMap::new(),
            idle: VecDeque::new(),
            starting: None,
            reports: Vec::new(),
            reports_until,
            analysed: 0,
            loaded: HashSet::new(),
            unrecognised: HashSet::new(),
            hooked: 0,
            again: false,
            times_again: 0,
            counts: Counts::default(),
            shared,
        }
    }

    /// Watches until it is told to stop. `ready` is sent when what is there now is hooked.
    pub fn run(mut self, mut mappings: Mappings, orders: &mpsc::Receiver<Order>, ready: mpsc::Sender<()>) {
        self.look_through();
        self.expect();
        self.starting = Some((self.files.keys().copied().collect(), ready));
        loop {
            let mut news = Vec::new();
            mappings.take(|told| news.push(told));
            for told in news {
                self.news(told);
            }
            self.take_results();
            while let Ok(order) = orders.try_recv() {
                match order {
                    Order::Unbound(pid) => self.recognise(pid),
                    Order::Report(pid, to) => {
                        self.look_at(pid);
                        self.reports.push((pid, to));
                    }
                    Order::Stop => return,
                }
            }
            self.answer();
            self.publish();
            self.tell_ready();
            let at_most =
                (!self.reports.is_empty()).then(|| self.reports_until.saturating_duration_since(Instant::now()));
            if let Err(error) = mappings.wait(&self.bell, at_most) {
                log::error!("mappings can't be waited for, new processes' TLS is not seen: {error}");
                return;
            }
            let _ = rustix::io::read(&self.bell, &mut [0_u8; 8]);
        }
    }

    /// Says that it is ready, as soon as nothing of what was there at the start is waited for.
    fn tell_ready(&mut self) {
        let Some((waited, _)) = &mut self.starting else { return };
        let files = &self.files;
        waited.retain(|key| files.get(key).is_some_and(|tracked| !matches!(tracked.state, State::Hooked(_))));
        if waited.is_empty()
            && !self.again
            && let Some((_, ready)) = self.starting.take()
        {
            let _ = ready.send(());
            self.attacher.load_rest();
        }
    }

    fn publish(&mut self) {
        self.counts.files = self.hooked as u64;
        self.counts.processes = self.known.values().filter(|known| !known.files.is_empty()).count() as u64;
        *self.shared.lock().unwrap_or_else(PoisonError::into_inner) = self.counts;
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
                let Some(known) = self.known.get(&parent) else { return };
                let (files, is_wanted) = (known.files.clone(), known.ciphertext.is_wanted);
                for file in &files {
                    if let Some(tracked) = self.files.get_mut(file) {
                        tracked.users.insert(pid);
                    }
                }
                self.known.insert(pid, Known { files, ciphertext: Ciphertext::default() });
                if is_wanted {
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
            if pid != std::process::id() {
                self.look_at(pid);
            }
        }
        if let Some((waited, _)) = &mut self.starting {
            waited.extend(self.files.keys());
        }
    }

    /// Looks at the files that a process has.
    fn look_at(&mut self, pid: u32) {
        for mapped in mapped(pid).into_iter().filter(Mapped::is_candidate) {
            self.consider(pid, &mapped.path, &mapped.open_path(pid), None);
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
        // Asked before the analysis: most processes are none of ours in a scoped run.
        if !self.files.contains_key(&key) && !(self.admits)(pid) {
            return;
        }
        self.track(key, file, path, Some(pid));
        if self.files.contains_key(&key) {
            self.recognise_early(pid, path);
        }
    }

    /// A file may hold a TLS library, and is in use by that process. It is hooked as soon as it is known what it holds.
    fn track(&mut self, key: FileKey, file: File, path: &Path, pid: Option<u32>) {
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
    fn take_results(&mut self) {
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
            self.hooked += 1;
            if tracked.users.is_empty() {
                self.idle.push_back(key);
            }
        }
        // Programs may have been loaded, too.
        std::mem::take(&mut self.loaded).into_iter().for_each(|key| self.hook(key));
        let unrecognised: Vec<u32> = self.unrecognised.iter().copied().collect();
        unrecognised.into_iter().for_each(|pid| self.recognise(pid));
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
        // All are asked for, whether the first is there or not.
        let is_ready = |ready, analysis: &Analysis| self.attacher.is_ready(analysis, is_plaintext) && ready;
        if !outcome.iter().flatten().fold(true, is_ready) {
            self.loaded.insert(key);
            return;
        }
        if self.attaching >= ATTACHING_MAX {
            self.loaded.insert(key);
            return;
        }
        let Some(Tracked { state: State::Loaded(pending, _), users }) = self.files.remove(&key) else { return };
        if self.hooked + self.attaching >= FILES_MAX {
            self.counts.full += 1;
            self.forget(key, &users);
            return;
        }
        self.files.insert(key, Tracked { state: State::Attaching, users });
        self.attaching += 1;
        let (attacher, done, bell) = (Arc::clone(&self.attacher), self.to_done.clone(), Arc::clone(&self.bell));
        let attach = move || {
            let attached = attach(&attacher, &pending, &outcome);
            // Whoever has heard of it may end all.
            drop(attacher);
            let _ = done.send(Done { key, attached });
            super::ring(&bell);
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

    /// Attaches to what gives the ciphertext of a process's sessions, as far as it is known now.
    fn recognise(&mut self, pid: u32) {
        let was_open = self.unrecognised.remove(&pid);
        let is_done = |known: &Known| known.ciphertext.is_wanted && known.ciphertext.attached.places() > 0;
        if !was_open && self.known.get(&pid).is_some_and(is_done) {
            return;
        }
        let files = mapped(pid);
        // One that has ended would not be forgotten any more.
        if files.is_empty() {
            return;
        }
        let mut ciphertext = std::mem::take(&mut self.known.entry(pid).or_default().ciphertext);
        ciphertext.is_wanted = true;
        if !self.recognise_in(pid, &files, &mut ciphertext) {
            self.unrecognised.insert(pid);
        }
        self.known.entry(pid).or_default().ciphertext = ciphertext;
    }

    /// Attaches in the files of a process that were not looked at; says whether none of them has to be waited for.
    fn recognise_in(&mut self, pid: u32, files: &[Mapped], ciphertext: &mut Ciphertext) -> bool {
        let mut is_whole = true;
        for mapped in files.iter().filter(|mapped| mapped.is_candidate()) {
            let Ok(file) = File::open(mapped.open_path(pid)) else { continue };
            let Ok(metadata) = file.metadata() else { continue };
            let key = FileKey::of(&metadata);
            if ciphertext.files.contains(&key) {
                continue;
            }
            let Some(outcome) = self.cache.get(key) else {
                self.track(key, file, &mapped.path, Some(pid));
                is_whole &= !self.files.contains_key(&key);
                continue;
            };
            if !outcome.iter().flatten().all(|analysis| self.attacher.is_ready(analysis, is_ciphertext)) {
                is_whole = false;
                continue;
            }
            let path = descriptor(&file);
            for analysis in outcome.iter().flatten() {
                self.attacher.attach(analysis, &path, Some(pid), is_ciphertext, &mut ciphertext.attached);
            }
            ciphertext.files.insert(key);
        }
        is_whole
    }

    fn ended(&mut self, pid: u32) {
        let Some(known) = self.known.remove(&pid) else { return };
        if known.ciphertext.attached.places() > 0 {
            self.attacher.detach([known.ciphertext.attached]);
        }
        for file in known.files {
            if let Some(tracked) = self.files.get_mut(&file) {
                tracked.users.remove(&pid);
                // One that is not hooked yet will be: the next process begins soon.
                if tracked.users.is_empty() && matches!(tracked.state, State::Hooked(_)) {
                    self.idle.push_back(file);
                }
            }
        }
        while self.idle.len() > IDLE_MAX
            && let Some(file) = self.idle.pop_front()
        {
            let is_idle = |tracked: &Tracked| tracked.users.is_empty() && matches!(tracked.state, State::Hooked(_));
            if self.files.get(&file).is_some_and(is_idle)
                && let Some(Tracked { state: State::Hooked(attached), .. }) = self.files.remove(&file)
            {
                self.hooked -= 1;
                self.attacher.detach([attached]);
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
                    self.track(FileKey::of(&metadata), file, &entry.path(), None);
                }
            }
        }
    }

    /// Answers who asked for the libraries of a process, if nothing of it is waited for or the time is over.
    fn answer(&mut self) {
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

/// Attaches to what moves plaintext in a file.
fn attach(attacher: &Attacher, pending: &Pending, outcome: &Outcome) -> Attached {
    let Pending { file, path, begun } = pending;
    let (begin, mut attached) = (Instant::now(), Attached::default());
    // By descriptor: what is hooked is what was analysed, whatever is at the path now.
    let by_descriptor = descriptor(file);
    for analysis in outcome.iter().flatten() {
        attacher.attach(analysis, &by_descriptor, None, is_plaintext, &mut attached);
    }
    let (places, attaching, all) = (attached.places(), begin.elapsed(), begun.elapsed());
    log::debug!("{}: {places} places hooked {all:?} after it was seen, {attaching:?} to attach", path.display());
    attached
}

/// Whether a function is hooked for all processes.
fn is_plaintext(function: Function) -> bool {
    !is_ciphertext(function)
}

/// Whether it is hooked by process.
fn is_ciphertext(function: Function) -> bool {
    function == Function::BioWrite
}

/// A path to an open file.
fn descriptor(file: &File) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()))
}
