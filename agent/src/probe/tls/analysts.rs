//! Analyses files beside the thread that watches, so that a large one holds up no other: one of two threads is for small
//! files alone. Each file is given once; who waits for it is the watcher's matter.

use std::{
    collections::VecDeque,
    fs::File,
    io,
    os::fd::OwnedFd,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc},
    thread::{self, JoinHandle},
};

use crate::tls::{Analysis, Refusal, cache::FileKey};

/// Files that wait at most, each of them open.
pub const QUEUE_MAX: usize = 256;
/// Bytes from which on a file is large: libraries are smaller, and are looked through in a millisecond.
pub const LARGE_BYTES: u64 = 16 << 20;

/// What a file holds.
type Found = Result<Vec<Analysis>, Refusal>;
/// How a file is analysed.
type Analyse = Box<dyn Fn(&File) -> Found + Send + Sync>;

/// A file that was analysed.
pub struct Done {
    /// Which.
    pub key: FileKey,
    /// What it holds.
    pub found: Found,
}

/// The threads. Dropping it waits until none analyses.
pub struct Analysts {
    shared: Arc<Shared>,
    done: mpsc::Receiver<Done>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    queue: Mutex<Queue>,
    news: Condvar,
    analyse: Analyse,
}

#[derive(Default)]
struct Queue {
    small: VecDeque<(FileKey, Arc<File>)>,
    large: VecDeque<(FileKey, Arc<File>)>,
    stop: bool,
}

/// What one of the threads takes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Takes {
    Small,
    All,
}

impl Queue {
    fn next(&mut self, takes: Takes) -> Option<(FileKey, Arc<File>)> {
        let small = self.small.pop_front();
        if takes == Takes::All { small.or_else(|| self.large.pop_front()) } else { small }
    }
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next file; nothing when there is to be an end.
    fn next(&self, takes: Takes) -> Option<(FileKey, Arc<File>)> {
        let mut queue = self.queue();
        loop {
            if queue.stop {
                return None;
            }
            if let Some(next) = queue.next(takes) {
                return Some(next);
            }
            queue = self.news.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Analysts {
    /// Starts the threads. The bell is rung for each file that is done.
    pub fn start(analyse: impl Fn(&File) -> Found + Send + Sync + 'static, bell: &Arc<OwnedFd>) -> io::Result<Self> {
        let analyse = Box::new(analyse);
        let shared = Arc::new(Shared { queue: Mutex::default(), news: Condvar::new(), analyse });
        let (sender, done) = mpsc::channel();
        let mut analysts = Self { shared, done, threads: Vec::new() };
        for takes in [Takes::Small, Takes::All] {
            let (shared, done, bell) = (Arc::clone(&analysts.shared), sender.clone(), Arc::clone(bell));
            let thread = thread::Builder::new().name("netspan-analyse".into()).spawn(move || {
                while let Some((key, file)) = shared.next(takes) {
                    let found = (shared.analyse)(&file);
                    if done.send(Done { key, found }).is_err() {
                        return;
                    }
                    super::ring(&bell);
                }
            })?;
            analysts.threads.push(thread);
        }
        Ok(analysts)
    }

    /// A file that is done, if there is one.
    pub fn done(&self) -> Option<Done> {
        self.done.try_recv().ok()
    }

    /// Lets a file be analysed; says whether there is room for it.
    pub fn take(&self, key: FileKey, file: Arc<File>) -> bool {
        let mut queue = self.shared.queue();
        if queue.small.len() + queue.large.len() >= QUEUE_MAX {
            return false;
        }
        let queue = if key.size < LARGE_BYTES { &mut queue.small } else { &mut queue.large };
        queue.push_back((key, file));
        self.shared.news.notify_all();
        true
    }
}

impl Drop for Analysts {
    fn drop(&mut self) {
        self.shared.queue().stop = true;
        self.shared.news.notify_all();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicBool, Ordering},
        time::Duration,
    };

    use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};

    use super::*;

    /// Analysts whose every large file takes until the gate is open, and their bell.
    fn start(is_open: &Arc<AtomicBool>) -> (Analysts, Arc<OwnedFd>) {
        let bell = Arc::new(eventfd(0, EventfdFlags::CLOEXEC).expect("an eventfd"));
        let is_open = Arc::clone(is_open);
        let analyse = move |file: &File| {
            let is_large = file.metadata().expect("it is there").len() >= LARGE_BYTES;
            while is_large && !is_open.load(Ordering::Relaxed) {
                thread::sleep(Duration::from_millis(1));
            }
            Err(Refusal::NoTls)
        };
        (Analysts::start(analyse, &bell).expect("threads start"), bell)
    }

    fn file(size: u64) -> (FileKey, Arc<File>) {
        let file = tempfile::tempfile().expect("a file");
        file.set_len(size).expect("it grows");
        (FileKey::of(&file.metadata().expect("it is there")), Arc::new(file))
    }

    /// The next file that is done, awaited by the bell.
    fn next((analysts, bell): &(Analysts, Arc<OwnedFd>)) -> FileKey {
        loop {
            if let Some(done) = analysts.done() {
                return done.key;
            }
            let minute = Duration::from_mins(1).try_into().expect("it is short");
            let rung = poll(&mut [PollFd::new(bell, PollFlags::IN)], Some(&minute)).expect("it can be waited for");
            assert_eq!(rung, 1, "no file is done");
            rustix::io::read(bell, &mut [0_u8; 8]).expect("it was rung");
        }
    }

    #[test]
    fn small_files_do_not_wait_for_large_ones() {
        let is_open = Arc::new(AtomicBool::new(false));
        let analysts = start(&is_open);
        let large: Vec<_> = (0..3).map(|n| file(LARGE_BYTES + n)).collect();
        let small: Vec<_> = (0..20).map(|n| file(LARGE_BYTES - 1 - n)).collect();
        for (key, file) in large.iter().chain(&small) {
            assert!(analysts.0.take(*key, Arc::clone(file)));
        }
        let mut done: Vec<FileKey> = small.iter().map(|_| next(&analysts)).collect();
        assert!(analysts.0.done().is_none(), "a large one is done");
        done.sort_unstable_by_key(|key| key.size);
        let mut expected: Vec<FileKey> = small.iter().map(|(key, _)| *key).collect();
        expected.sort_unstable_by_key(|key| key.size);
        assert_eq!(done, expected);
        is_open.store(true, Ordering::Relaxed);
        assert_eq!([(); 3].map(|()| next(&analysts)).to_vec(), large.iter().map(|(key, _)| *key).collect::<Vec<_>>());
    }

    #[test]
    fn what_waits_is_bounded_and_left_when_it_ends() {
        let is_open = Arc::new(AtomicBool::new(false));
        let analysts = start(&is_open);
        let (key, large) = file(LARGE_BYTES);
        let took = (0..QUEUE_MAX + 8).filter(|_| analysts.0.take(key, Arc::clone(&large))).count();
        // One is with a thread already, or not yet.
        assert!((QUEUE_MAX..=QUEUE_MAX + 1).contains(&took), "{took}");
        thread::spawn(move || {
            thread::sleep(Duration::from_millis(50));
            is_open.store(true, Ordering::Relaxed);
        });
        drop(analysts);
        assert_eq!(Arc::strong_count(&large), 1, "those that waited are kept");
    }
}
