//! Drains the rings into a callback, in order per connection. It never waits for what comes after it.

use std::{io, os::fd::AsFd, time::Duration};

use aya::maps::{MapData, RingBuf};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Events taken from one ring before the next one has its turn.
const BATCH: usize = 8_192;

/// The rings of the kernel side.
pub struct Drain {
    rings: Vec<RingBuf<MapData>>,
}

/// How far a turn went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    /// Events taken.
    pub events: usize,
    /// All events from before this time (boot-time nanoseconds) were taken.
    pub watermark_ns: u64,
}

impl Drain {
    /// Takes over the rings.
    pub fn new(rings: Vec<RingBuf<MapData>>) -> Self {
        Self { rings }
    }

    /// Waits until the kernel side sends a wake-up or `limit` is over.
    pub fn wait(&self, limit: Duration) -> io::Result<()> {
        let mut fds: Vec<PollFd<'_>> =
            self.rings.iter().map(|ring| PollFd::from_borrowed_fd(ring.as_fd(), PollFlags::IN)).collect();
        let limit = Timespec { tv_sec: limit.as_secs().cast_signed(), tv_nsec: i64::from(limit.subsec_nanos()) };
        match poll(&mut fds, Some(&limit)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(e) => Err(e.into()),
        }
    }

    /// Takes what is in the rings. Events from before `now_ns` are all in them.
    pub fn turn(&mut self, now_ns: u64, mut event: impl FnMut(&[u8])) -> Turn {
        let mut turn = Turn { events: 0, watermark_ns: now_ns };
        for ring in &mut self.rings {
            let (mut taken, mut last_ns) = (0, 0);
            while taken < BATCH {
                let Some(item) = ring.next() else { break };
                last_ns = stamp(&item);
                event(&item);
                taken += 1;
            }
            turn.events += taken;
            if taken == BATCH {
                // What is left in this ring came after what was taken of it, but for calls that overlapped.
                turn.watermark_ns = turn.watermark_ns.min(last_ns.saturating_sub(OVERLAP_NS));
            }
        }
        turn
    }
}

/// By how much the stamps of neighbours in a ring may be out of order: programs on two CPUs run for microseconds between
/// the stamp and the submission.
const OVERLAP_NS: u64 = 1_000_000;

/// When a record's hook ran.
fn stamp(record: &[u8]) -> u64 {
    record.first_chunk().map_or(0, |bytes| u64::from_ne_bytes(*bytes))
}
