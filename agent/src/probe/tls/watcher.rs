//! The thread that watches: what it knows of processes and files, and what it is told of them.

mod answer;
mod ciphertext;
mod file;

use std::{
    collections::{HashMap, HashSet, VecDeque},
    fs::{self, File},
    os::{
        fd::{AsRawFd as _, OwnedFd},
        unix::{ffi::OsStrExt as _, fs::MetadataExt as _},
    },
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, mpsc},
    time::{Duration, Instant},
};

use self::ciphertext::Ciphertext;
use super::{
    Admits, Counts, Found, IDLE_MAX, Order,
    analysts::{Analysts, QUEUE_MAX},
    attach::{Attached, Attacher},
    mapped,
    mappings::{Mappings, News},
};
use crate::tls::{
    cache::{self, Cache, FileKey, Outcome},
    maps::{self, Mapped, Reason},
};

/// Times in a row that all processes are looked through because files were put off: more files than the cache has room for
/// would never come to an end.
const AGAIN_MAX: usize = cache::FILES_MAX / QUEUE_MAX;

/// How long the end waits for files that are being attached to; it takes a second at most.
const ATTACHING_TIME: Duration = Duration::from_secs(5);

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
            again: false,
            times_again: 0,
            counts: Counts::default(),
            shared,
        }
    }

    /// Watches until it is told to stop. `ready` is sent when what is there now is hooked.
    pub fn run(mut self, mut mappings: Mappings, orders: &mpsc::Receiver<Order>, ready: mpsc::Sender<()>) {
        self.expect();
        self.look_through();
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
                self.counts.files -= 1;
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
}

/// A path to an open file.
fn descriptor(file: &File) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()))
}
