//! Answers the kernel side's question where a Python program keeps which tasks of asyncio are running, and whether a thread runs
//! its loop. A thread of its own looks at the program's memory and threads: nothing waits for it.
//!
//! A program that begins while it is watched says itself which thread runs which loop. For an older one its threads tell: what
//! runs a loop waits in `epoll_wait`, and if no other thread ever does, the loop is that thread's.

use std::{
    collections::{BTreeSet, HashMap as Remembered},
    fs::{self, File},
    os::unix::fs::FileExt as _,
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread::{self, JoinHandle},
    time::Duration,
};

use aya::maps::{HashMap, MapData};
use netspan_ebpf::loops;

use crate::{
    privilege::{self, Role},
    tls::{
        asyncio::{
            Places,
            memory::{self, Memory},
        },
        asyncio_places,
        cache::FileKey,
        maps,
    },
};

/// Questions that may wait; more are asked again by the kernel side.
const QUEUE_MAX: usize = 256;
/// Files and programs that are remembered; past it, all are forgotten.
const REMEMBERED_MAX: usize = 1024;
/// Looks at the threads of an older program, and the pause between two.
const LOOKS: u32 = 20;
const PAUSE: Duration = Duration::from_millis(3);
/// Threads of it that are looked at, at most.
const THREADS_MAX: usize = 256;
/// Times that a thread is looked at in vain.
const TRIES_MAX: u32 = 16;
/// Numbers of `epoll_wait`, `epoll_pwait` and `epoll_pwait2`.
#[cfg(target_arch = "x86_64")]
const WAITS: [&str; 3] = ["232", "281", "441"];
/// There is no `epoll_wait` on other machines.
#[cfg(not(target_arch = "x86_64"))]
const WAITS: [&str; 2] = ["22", "441"];

/// A thread used asyncio.
struct Question {
    tgid: u32,
    thread: u32,
    object: u64,
}

/// The kernel side's maps of what asyncio runs, and who fills them.
pub struct Tasks {
    questions: Option<SyncSender<Question>>,
    thread: Option<JoinHandle<()>>,
}

impl Tasks {
    /// Starts the thread that answers.
    pub(super) fn start(pythons: HashMap<MapData, u32, u64>, loops: HashMap<MapData, u64, u64>) -> Self {
        let (questions, receiver) = sync_channel(QUEUE_MAX);
        let answerer = Answerer { pythons, loops, files: Remembered::new(), tries: Remembered::new() };
        let thread = thread::Builder::new().name("netspan-tasks".into()).spawn(move || answerer.run(&receiver));
        if let Err(error) = &thread {
            log::warn!("tasks of asyncio are not followed: {error}");
        }
        Self { questions: Some(questions), thread: thread.ok() }
    }

    /// A thread of this process used asyncio, by this object. Where too many wait, it is asked again soon.
    pub fn look(&self, tgid: u32, thread: u32, object: u64) {
        if let Some(questions) = &self.questions {
            let _ = questions.try_send(Question { tgid, thread, object });
        }
    }
}

impl Drop for Tasks {
    fn drop(&mut self) {
        self.questions = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Answerer {
    pythons: HashMap<MapData, u32, u64>,
    loops: HashMap<MapData, u64, u64>,
    /// What files of `_asyncio` have, or why that is not known.
    files: Remembered<FileKey, Result<Places, String>>,
    /// How often threads were looked at in vain.
    tries: Remembered<(u32, u32), u32>,
}

impl Answerer {
    fn run(mut self, questions: &Receiver<Question>) {
        // It began before the thread that attaches gave up what is needed for that alone.
        privilege::settle(Role::Capture);
        for Question { tgid, thread, object } in questions {
            if self.pythons.get(&tgid, 0).is_err() {
                let tasks = self.tasks(tgid, object).unwrap_or_else(|why| {
                    log::info!("tasks of process {tgid} are not followed: {why}");
                    loops::NONE
                });
                self.put_python(tgid, tasks);
            }
            let key = u64::from(tgid) << 32 | u64::from(thread);
            if self.loops.get(&key, 0).is_err()
                && let Some(which) = self.loop_of(tgid, thread)
                // It may have told by now.
                && self.loops.get(&key, 0).is_err()
                && let Err(error) = self.loops.insert(key, which, 0)
            {
                log::debug!("loop of thread {thread}: {error}");
            }
        }
    }

    fn put_python(&mut self, tgid: u32, tasks: u64) {
        // One that has ended since would stay until others take its place.
        if fs::exists(format!("/proc/{tgid}")).unwrap_or(false)
            && let Err(error) = self.pythons.insert(tgid, tasks, 0)
        {
            log::debug!("tasks of process {tgid}: {error}");
        }
    }

    /// Where a program keeps which tasks are running.
    fn tasks(&mut self, tgid: u32, object: u64) -> Result<u64, String> {
        let text = fs::read(format!("/proc/{tgid}/maps")).map_err(|e| format!("its mappings can't be read: {e}"))?;
        let is_asyncio = |mapped: &maps::Mapped| {
            mapped.path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("_asyncio."))
        };
        let mapped = maps::parse(&text, None).files.into_iter().find(is_asyncio).ok_or("it has no file _asyncio")?;
        let file = File::open(mapped.open_path(tgid)).map_err(|e| format!("{}: {e}", mapped.path.display()))?;
        let key = FileKey::of(&file.metadata().map_err(|e| e.to_string())?);
        if self.files.len() >= REMEMBERED_MAX {
            self.files.clear();
        }
        let places = self.files.entry(key).or_insert_with(|| match asyncio_places(&file) {
            Ok(Some(places)) => Ok(places),
            Ok(None) => Err("its file _asyncio is none".to_owned()),
            Err(refusal) => Err(refusal.to_string()),
        });
        let definition = mapped.base.wrapping_add(places.clone()?.definition);
        let memory = File::open(format!("/proc/{tgid}/mem")).map_err(|e| format!("its memory can't be read: {e}"))?;
        memory::current_tasks(&Process(memory), definition, object).map_err(|unknown| unknown.to_string())
    }

    /// Whether the thread of an older program runs its loop; nothing while that is not known.
    fn loop_of(&mut self, tgid: u32, thread: u32) -> Option<u64> {
        if self.tries.len() >= REMEMBERED_MAX {
            self.tries.clear();
        }
        let mut waiting = BTreeSet::new();
        for _ in 0..LOOKS {
            let threads = threads(tgid);
            if threads == [thread] {
                return Some(loops::ANY);
            }
            waiting.extend(threads.into_iter().filter(|other| waits(tgid, *other)));
            thread::sleep(PAUSE);
        }
        if waiting.iter().eq([&thread]) {
            return Some(loops::ANY);
        }
        let tries = self.tries.entry((tgid, thread)).or_default();
        *tries += 1;
        // It is not asked about any more.
        (*tries >= TRIES_MAX).then_some(loops::NONE)
    }
}

/// Threads of a process.
fn threads(tgid: u32) -> Vec<u32> {
    let entries = fs::read_dir(format!("/proc/{tgid}/task")).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).take(THREADS_MAX).collect()
}

/// Whether a thread waits as what runs a loop does.
fn waits(tgid: u32, thread: u32) -> bool {
    let call = fs::read_to_string(format!("/proc/{tgid}/task/{thread}/syscall")).unwrap_or_default();
    call.split(' ').next().is_some_and(|number| WAITS.contains(&number))
}

/// Memory of a process.
struct Process(File);

impl Memory for Process {
    fn read(&self, address: u64, into: &mut [u8]) -> bool {
        self.0.read_exact_at(into, address).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        io::{BufRead as _, BufReader},
        process::{Command, Stdio},
    };

    /// A loop, and a thread beside it that waits for something else.
    const PROGRAM: &str = "
import asyncio, sys, threading
threading.Thread(target=sys.stdin.read).start()
async def main():
    print('ready', threading.get_native_id(), flush=True)
    await asyncio.sleep(60)
async def until_end():
    task = asyncio.ensure_future(main())
    while threading.active_count() > 1:
        await asyncio.sleep(0.05)
    task.cancel()
asyncio.run(until_end())
";

    #[test]
    fn a_thread_that_runs_a_loop_is_told_from_others_by_what_it_waits_in() {
        let mut child = Command::new("python3")
            .args(["-c", PROGRAM])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("Python begins");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("it says something");
        let thread: u32 =
            line.trim().split(' ').nth(1).and_then(|text| text.parse().ok()).expect("its thread's number");
        let of_process = threads(child.id());
        assert_eq!(of_process.len(), 2);
        let seen = (0..200).find_map(|_| {
            thread::sleep(PAUSE);
            let waiting: Vec<u32> = of_process.iter().copied().filter(|other| waits(child.id(), *other)).collect();
            (!waiting.is_empty()).then_some(waiting)
        });
        assert_eq!(seen, Some(vec![thread]));
        drop(child.stdin.take());
        assert!(child.wait().expect("it ends").success());
        assert!(threads(child.id()).is_empty() && !waits(child.id(), thread));
    }
}
