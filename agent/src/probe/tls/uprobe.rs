//! Uprobes, many at a time. From Linux 6.6 one link is for many places (`BPF_TRACE_UPROBE_MULTI`); before, each place is an
//! event of its own (`perf_event_open(2)`), for which the kernel waits for a grace period of RCU whenever it is attached
//! or detached: those that wait together wait once.

use std::{
    ffi::CString,
    fs, io,
    os::{
        fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::Path,
    sync::mpsc,
    thread::{self, JoinHandle},
};

use crate::probe::{
    bpf,
    perf::{self, Attributes},
};

/// Where the kernel tells how uprobes are asked for.
const SOURCE: &str = "/sys/bus/event_source/devices/uprobe";
/// Threads that attach or detach at one time.
const THREADS: usize = 32;

/// How this kernel attaches.
#[derive(Clone, Copy, Debug)]
pub enum Way {
    /// Many places at a time.
    Multi,
    /// Each place by an event.
    Event(Event),
}

/// How events of uprobes are asked for.
#[derive(Clone, Copy, Debug)]
pub struct Event {
    /// The event source's number.
    number: u32,
    /// Bit of `config` that asks for the return.
    at_return: u64,
}

impl Event {
    fn read() -> io::Result<Self> {
        let text = |name: &str| fs::read_to_string(format!("{SOURCE}/{name}"));
        let wrong = |what: String| io::Error::other(format!("{SOURCE}: {what:?} is not understood"));
        let number = text("type")?;
        let number = number.trim().parse().map_err(|_| wrong(number))?;
        let format = text("format/retprobe")?;
        let bit = format.trim().strip_prefix("config:").and_then(|bit| bit.parse::<u32>().ok());
        let at_return = bit.and_then(|bit| 1_u64.checked_shl(bit)).ok_or_else(|| wrong(format))?;
        Ok(Self { number, at_return })
    }
}

/// Places of one file that one program is attached to.
pub struct Places<'p> {
    /// The program, loaded as [`Way::attach_type`] says.
    pub program: BorrowedFd<'p>,
    /// At the returns of the functions that begin there.
    pub at_return: bool,
    /// Bytes from the file's beginning.
    pub offsets: Vec<u64>,
}

/// What is attached: detached when dropped, but better by a [`Detacher`].
pub type Links = Vec<OwnedFd>;

impl Way {
    /// Finds out, by asking for what must be refused: where many places are not supported, or not for one process
    /// (before 6.10 and what was mended since), the kernel gives another reason.
    pub fn find() -> io::Result<Self> {
        /// `r0 = 0; exit`
        const NOTHING: [u64; 2] = [0xb7, 0x95];
        let program =
            bpf::Program { kind: bpf::KPROBE, code: &NOTHING, attach_type: bpf::UPROBE_MULTI, ..Default::default() };
        let multi = bpf::load(&program, None).is_ok_and(|program| {
            let refused = |pid| {
                let link = bpf::attach_uprobes(program.as_fd(), c"/", &[0], false, pid);
                link.err().and_then(|error| error.raw_os_error())
            };
            refused(None) == Some(libc::EBADF) && refused(Some(u32::MAX)) == Some(libc::EINVAL)
        });
        if multi { Ok(Self::Multi) } else { Event::read().map(Self::Event) }
    }

    /// What programs are loaded for.
    pub const fn attach_type(self) -> u32 {
        match self {
            Self::Multi => bpf::UPROBE_MULTI,
            Self::Event(_) => 0,
        }
    }

    /// Attaches a program to all of the places, for one process or for all.
    ///
    /// # Errors
    /// When it can't be attached to one of them: then it is to none.
    pub fn attach(self, path: &Path, pid: Option<u32>, places: &Places<'_>) -> io::Result<Links> {
        let path = CString::new(path.as_os_str().as_bytes())?;
        let Places { program, at_return, offsets } = places;
        match self {
            Self::Multi => bpf::attach_uprobes(*program, &path, offsets, *at_return, pid).map(|link| vec![link]),
            Self::Event(event) => {
                let each = offsets.len().div_ceil(THREADS).max(1);
                let open = |&offset: &u64| open(event, &path, pid, *at_return, offset, *program);
                thread::scope(|scope| {
                    let parts: Vec<_> = offsets
                        .chunks(each)
                        .map(|part| scope.spawn(move || part.iter().map(open).collect::<Vec<_>>()))
                        .collect();
                    parts.into_iter().flat_map(|part| part.join().unwrap_or_default()).collect()
                })
            }
        }
    }
}

fn open(
    event: Event,
    path: &CString,
    pid: Option<u32>,
    at_return: bool,
    offset: u64,
    program: BorrowedFd<'_>,
) -> io::Result<OwnedFd> {
    let attributes = Attributes {
        kind: event.number,
        config: if at_return { event.at_return } else { 0 },
        config1: path.as_ptr() as u64,
        config2: offset,
        sample_period: 1,
        wakeup: 1,
        ..Attributes::default()
    };
    let event = match pid {
        Some(pid) => perf::open_for(attributes, i32::try_from(pid).map_err(io::Error::other)?, -1)?,
        None => perf::open(attributes, 0)?,
    };
    perf::ioctl(event.as_fd(), perf::SET_BPF, program.as_raw_fd())?;
    perf::ioctl(event.as_fd(), perf::ENABLE, 0)?;
    Ok(event)
}

/// Detaches in threads of its own: whoever attaches must not wait for that. Dropping it waits until all is detached.
pub struct Detacher {
    links: Option<mpsc::Sender<Links>>,
    thread: Option<JoinHandle<()>>,
}

impl Detacher {
    /// Starts it.
    pub fn start() -> io::Result<Self> {
        let (links, receiver) = mpsc::channel::<Links>();
        let thread = thread::Builder::new().name("netspan-detach".into()).spawn(move || {
            while let Ok(mut together) = receiver.recv() {
                together.extend(receiver.try_iter().flatten());
                drop_together(together);
            }
        })?;
        Ok(Self { links: Some(links), thread: Some(thread) })
    }

    /// Detaches soon.
    pub fn detach(&self, links: Links) {
        if let Some(to) = &self.links
            && let Err(mpsc::SendError(links)) = to.send(links)
        {
            drop_together(links);
        }
    }
}

impl Drop for Detacher {
    fn drop(&mut self) {
        self.links = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn drop_together(links: Links) {
    let each = links.len().div_ceil(THREADS).max(1);
    let mut links = links.into_iter();
    thread::scope(|scope| {
        loop {
            let part: Links = links.by_ref().take(each).collect();
            if part.is_empty() {
                break;
            }
            scope.spawn(move || drop(part));
        }
    });
}
