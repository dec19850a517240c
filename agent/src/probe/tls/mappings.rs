//! The kernel's own news of executable mappings and of processes that end (`perf_event_open(2)`: `PERF_RECORD_MMAP2`,
//! `PERF_RECORD_EXIT`), from one ring per CPU: a library is known of when it is mapped, without looking for it.

use std::{
    io,
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::ffi::OsStringExt as _,
    },
    path::PathBuf,
    ptr::NonNull,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use rustix::event::{PollFd, PollFlags, poll};

use crate::probe::perf::{self, Attributes, flag};

/// Bytes of each CPU's ring: some hundred mappings.
const RING_BYTES: usize = 1 << 16;
const PAGE: usize = 4096;
/// Where in the ring's first page (`struct perf_event_mmap_page`) the kernel's and our positions are.
const DATA_HEAD: usize = 1024;
const DATA_TAIL: usize = 1032;

const RECORD_LOST: u32 = 2;
const RECORD_EXIT: u32 = 4;
const RECORD_FORK: u32 = 7;
const RECORD_MMAP2: u32 = 10;
/// Where the file name stands in a `PERF_RECORD_MMAP2`, its head included.
const MMAP2_NAME: usize = 72;

/// What the kernel tells.
#[derive(Debug, PartialEq, Eq)]
pub enum News {
    /// A process mapped a file's code.
    Mapped {
        /// Process.
        pid: u32,
        /// As the process sees it.
        path: PathBuf,
        /// Inode number.
        inode: u64,
    },
    /// A process was forked: it has its parent's mappings.
    Forked {
        /// The new process.
        pid: u32,
        /// Its parent.
        parent: u32,
    },
    /// A process ended.
    Ended(u32),
    /// Some news were lost.
    Lost,
}

/// The rings of all CPUs.
pub struct Mappings {
    rings: Vec<Ring>,
}

struct Ring {
    event: OwnedFd,
    memory: NonNull<u8>,
}

// SAFETY: the memory is this ring's alone.
unsafe impl Send for Ring {}

impl Mappings {
    /// Opens a ring for each CPU that is online.
    pub fn open() -> io::Result<Self> {
        let cpus = aya::util::online_cpus().map_err(|(_, error)| error)?;
        Ok(Self { rings: cpus.into_iter().map(Ring::open).collect::<io::Result<_>>()? })
    }

    /// Waits until there is news or `stop` can be read.
    pub fn wait(&self, stop: &OwnedFd, at_most: Option<Duration>) -> io::Result<()> {
        let mut fds: Vec<PollFd<'_>> =
            self.rings.iter().map(|ring| PollFd::from_borrowed_fd(ring.event.as_fd(), PollFlags::IN)).collect();
        fds.push(PollFd::from_borrowed_fd(stop.as_fd(), PollFlags::IN));
        let timeout = at_most.and_then(|at_most| at_most.try_into().ok());
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Takes what there is.
    pub fn take(&mut self, mut news: impl FnMut(News)) {
        self.rings.iter_mut().for_each(|ring| ring.take(&mut news));
    }
}

impl Ring {
    fn open(cpu: u32) -> io::Result<Self> {
        let attributes = Attributes {
            kind: perf::SOFTWARE,
            config: perf::DUMMY,
            flags: flag::MMAP | flag::MMAP2 | flag::TASK | flag::WATERMARK,
            wakeup: 1,
            ..Attributes::default()
        };
        let event = perf::open(attributes, cpu)?;
        let (read, shared) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED);
        let fd = std::os::fd::AsRawFd::as_raw_fd(&event);
        // SAFETY: a new mapping that no address is asked for.
        let memory = unsafe { libc::mmap(std::ptr::null_mut(), PAGE + RING_BYTES, read, shared, fd, 0) };
        if memory == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let memory = NonNull::new(memory.cast()).ok_or_else(|| io::Error::other("mmap gave address 0"))?;
        Ok(Self { event, memory })
    }

    fn position(&self, at: usize) -> &AtomicU64 {
        // SAFETY: a 64-bit field of the ring's first page, aligned, which both sides use as atomic.
        unsafe { self.memory.add(at).cast::<AtomicU64>().as_ref() }
    }

    fn take(&mut self, news: &mut impl FnMut(News)) {
        let head = self.position(DATA_HEAD).load(Ordering::Acquire);
        let mut tail = self.position(DATA_TAIL).load(Ordering::Relaxed);
        while tail < head {
            let start = self.bytes(tail, 8);
            let size = u64::from(u16::from_ne_bytes([start[6], start[7]]));
            if size < 8 || tail + size > head {
                tail = head;
                news(News::Lost);
                break;
            }
            if let Some(told) = parse(&self.bytes(tail, size as usize)) {
                news(told);
            }
            tail += size;
        }
        self.position(DATA_TAIL).store(tail, Ordering::Release);
    }

    /// Bytes of the ring, which may go around its end.
    fn bytes(&self, from: u64, len: usize) -> Vec<u8> {
        let at = |n: usize| {
            let offset = PAGE + ((from as usize).wrapping_add(n) & (RING_BYTES - 1));
            // SAFETY: within the mapping; the kernel does not write between tail and head.
            unsafe { self.memory.add(offset).read() }
        };
        (0..len).map(at).collect()
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // SAFETY: the mapping that `open` made.
        unsafe { libc::munmap(self.memory.as_ptr().cast(), PAGE + RING_BYTES) };
    }
}

/// Takes a record apart.
fn parse(record: &[u8]) -> Option<News> {
    let u32_at = |at: usize| Some(u32::from_ne_bytes(record.get(at..at + 4)?.try_into().ok()?));
    match u32_at(0)? {
        RECORD_LOST => Some(News::Lost),
        RECORD_EXIT => {
            // pid, ppid, tid, ptid: a process ends with the thread that leads it.
            let (pid, tid) = (u32_at(8)?, u32_at(16)?);
            (pid == tid).then_some(News::Ended(pid))
        }
        RECORD_FORK => {
            // As above, and a new thread has its process for a parent.
            let (pid, parent) = (u32_at(8)?, u32_at(12)?);
            (pid != parent).then_some(News::Forked { pid, parent })
        }
        RECORD_MMAP2 => {
            let inode = u64::from_ne_bytes(record.get(48..56)?.try_into().ok()?);
            let name = record.get(MMAP2_NAME..)?;
            let end = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
            let path = PathBuf::from(std::ffi::OsString::from_vec(name[..end].to_vec()));
            (inode != 0 && path.is_absolute()).then_some(News::Mapped { pid: u32_at(8)?, path, inode })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapped(name: &[u8], inode: u64) -> Vec<u8> {
        let mut record = vec![0; MMAP2_NAME];
        record[0] = 10;
        record[8..12].copy_from_slice(&7_u32.to_ne_bytes());
        record[48..56].copy_from_slice(&inode.to_ne_bytes());
        record.extend(name);
        record
    }

    #[test]
    fn a_mapping_names_its_process_and_file() {
        let told = parse(&mapped(b"/usr/lib/libssl.so.3\0\0\0\0", 5));
        assert_eq!(told, Some(News::Mapped { pid: 7, path: "/usr/lib/libssl.so.3".into(), inode: 5 }));
        assert_eq!(parse(&mapped(b"[vdso]\0", 5)), None);
        assert_eq!(parse(&mapped(b"//anon\0", 0)), None);
    }

    #[test]
    fn only_the_leaders_end_is_the_processes() {
        let mut record = vec![0; 32];
        record[0] = 4;
        record[8..12].copy_from_slice(&7_u32.to_ne_bytes());
        record[16..20].copy_from_slice(&8_u32.to_ne_bytes());
        assert_eq!(parse(&record), None);
        record[16] = 7;
        assert_eq!(parse(&record), Some(News::Ended(7)));
    }

    #[test]
    fn a_new_thread_is_no_new_process() {
        let mut record = vec![0; 32];
        record[0] = 7;
        record[8..12].copy_from_slice(&7_u32.to_ne_bytes());
        record[12..16].copy_from_slice(&7_u32.to_ne_bytes());
        assert_eq!(parse(&record), None);
        record[12] = 3;
        assert_eq!(parse(&record), Some(News::Forked { pid: 7, parent: 3 }));
    }

    #[test]
    fn a_record_that_is_cut_off_tells_nothing() {
        let whole = mapped(b"/x\0", 5);
        for end in 0..MMAP2_NAME {
            assert!(!matches!(parse(&whole[..end]), Some(News::Mapped { .. })), "{end}");
        }
    }
}
