//! Uprobes by `perf_event_open(2)`, many at a time: the kernel waits for a grace period of RCU at each attachment and at
//! each detachment, and those that wait together wait once.

use std::{
    ffi::CString,
    fs, io,
    os::{
        fd::{AsFd as _, AsRawFd as _, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::Path,
    thread,
};

use crate::{
    probe::perf::{self, Attributes},
    tls::{Hook, Moment},
};

/// Where the kernel tells how uprobes are asked for.
const SOURCE: &str = "/sys/bus/event_source/devices/uprobe";
/// Threads that attach or detach at one time.
const THREADS: usize = 32;

/// How uprobes are asked for.
#[derive(Clone, Copy)]
struct Kind {
    /// The event source's number.
    number: u32,
    /// Bit of `config` that asks for the return.
    at_return: u64,
}

impl Kind {
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

/// Attaches a program to each place of a file, for one process or for all. The results are in the order of the places.
pub fn attach(path: &Path, pid: Option<u32>, places: &[(Hook, OwnedFd)]) -> Vec<io::Result<OwnedFd>> {
    let prepared = Kind::read().and_then(|kind| Ok((kind, CString::new(path.as_os_str().as_bytes())?)));
    let (kind, path) = match prepared {
        Ok(prepared) => prepared,
        Err(error) => return places.iter().map(|_| Err(io::Error::new(error.kind(), error.to_string()))).collect(),
    };
    let each = places.len().div_ceil(THREADS).max(1);
    thread::scope(|scope| {
        let path = &path;
        let open = move |(hook, program): &(Hook, OwnedFd)| open(kind, path, pid, *hook, program);
        let parts: Vec<_> =
            places.chunks(each).map(|part| scope.spawn(move || part.iter().map(open).collect::<Vec<_>>())).collect();
        parts.into_iter().flat_map(|part| part.join().unwrap_or_default()).collect()
    })
}

/// Detaches.
pub fn detach(events: Vec<OwnedFd>) {
    let each = events.len().div_ceil(THREADS).max(1);
    let mut events = events.into_iter();
    thread::scope(|scope| {
        loop {
            let part: Vec<OwnedFd> = events.by_ref().take(each).collect();
            if part.is_empty() {
                break;
            }
            scope.spawn(move || drop(part));
        }
    });
}

fn open(kind: Kind, path: &CString, pid: Option<u32>, hook: Hook, program: &OwnedFd) -> io::Result<OwnedFd> {
    let attributes = Attributes {
        kind: kind.number,
        config: if hook.moment == Moment::Return { kind.at_return } else { 0 },
        config1: path.as_ptr() as u64,
        config2: hook.offset,
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
