//! Where a call's bytes are in user memory, and reading them, one segment after the other.

use aya_ebpf::helpers::generated::bpf_probe_read_user;
use netspan_ebpf::{COPY_MAX, IOV_MAX, counter, data_flag};

use super::{
    Work,
    step::{ON, bounded, cut, fault},
};
use crate::{
    emit::count,
    kernel,
    maps::{KERNEL_READS, constant},
    scratch::{Scratch, cell_at},
    user,
};

/// Where a call's bytes are in user memory. All fields are always set: what an enum leaves unset the compiler may read
/// all the same, and old verifiers refuse that.
#[derive(Clone, Copy)]
pub struct Source {
    kind: Kind,
    at: u64,
    part: u64,
    advanced: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Nowhere,
    Buffer,
    Vector,
    Iterator,
}

impl Source {
    /// Nowhere (`sendfile`, `splice`, `MSG_TRUNC`), or it could not be read.
    #[inline(always)]
    pub fn nowhere() -> Self {
        Self { kind: Kind::Nowhere, at: 0, part: 0, advanced: 0 }
    }

    /// One buffer.
    #[inline(always)]
    pub fn buffer(at: u64) -> Self {
        Self { kind: Kind::Buffer, at, part: 0, advanced: 0 }
    }

    /// An array of `struct iovec`, and how many.
    #[inline(always)]
    pub fn vector(at: u64, count: u32) -> Self {
        Self { kind: Kind::Vector, at, part: u64::from(count), advanced: 0 }
    }

    /// The same, without the first `skipped` bytes.
    #[inline(always)]
    pub fn part(at: u64, count: u64, skipped: u64) -> Self {
        Self { kind: Kind::Vector, at, part: count, advanced: skipped }
    }

    /// A `struct iov_iter` over an array of `struct iovec` in kernel memory, as the call left it: where it stands, how many
    /// bytes of that segment it has passed, and how many bytes it advanced by.
    #[inline(always)]
    pub fn iterator(at: u64, offset: u64, advanced: u64) -> Self {
        Self { kind: Kind::Iterator, at, part: offset, advanced }
    }

    /// Where the first byte is, of a call of the kernel's functions that has moved nothing yet.
    #[inline(always)]
    pub fn first(&self) -> Option<u64> {
        match self.kind {
            Kind::Buffer => Some(self.at),
            Kind::Iterator => kernel::read::<u64>(self.at).map(|base| base.wrapping_add(self.part)),
            Kind::Nowhere | Kind::Vector => None,
        }
    }
}

/// Enters where a call's bytes are.
#[inline(always)]
pub(super) fn place(work: &mut Work, len: u32, source: &Source) {
    work.total = len;
    work.off = 0;
    work.segment = 0;
    work.iov_left = 0;
    work.in_kernel = 0;
    match source.kind {
        Kind::Nowhere => {}
        Kind::Buffer => {
            work.base = source.at;
            work.segment = len;
        }
        Kind::Vector => {
            work.iov = source.at;
            work.iov_left = if source.part > u64::from(IOV_MAX) { IOV_MAX } else { source.part as u32 };
            if source.advanced != 0 {
                walk_skip(work.slot, source.advanced as u32);
            }
        }
        Kind::Iterator => {
            work.iov = source.at;
            work.base = source.part;
            work.rewind = source.advanced;
            work.in_kernel = 1;
            walk_rewind(work.slot);
        }
    }
}

/// Takes up the next segment of an iovec.
#[inline(always)]
pub(super) fn next_segment(work: &mut Work, rest: u32) -> u32 {
    if work.iov_left == 0 {
        count(counter::CALL_CUT, 1);
        return cut(work, data_flag::CUT);
    }
    let read = if constant(&KERNEL_READS) != 0 && work.in_kernel != 0 {
        kernel::read::<[u64; 2]>(work.iov)
    } else {
        // SAFETY: integers.
        unsafe { user::read::<[u64; 2]>(work.iov) }
    };
    let Some(pair) = read else { return fault(work) };
    work.iov += 16;
    work.iov_left -= 1;
    work.base = pair[0];
    work.segment = if pair[1] > u64::from(rest) { rest } else { pair[1] as u32 };
    ON
}

/// Takes an iterator back to where the call began: to the first segment that has bytes of the call, of which `base` and
/// `segment` then tell what is left, and `iov` the next one.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn walk_rewind(slot: u32) -> u32 {
    let Some(Scratch { work, .. }) = cell_at(slot) else { return 0 };
    if constant(&KERNEL_READS) == 0 {
        return 0;
    }
    let mut offset = work.base;
    let mut rewind = work.rewind;
    let mut vector = work.iov;
    let mut step = 0;
    while step < IOV_MAX {
        if rewind <= offset {
            break;
        }
        rewind -= offset;
        vector -= 16;
        let Some(len) = kernel::read::<u64>(vector + 8) else { return 0 };
        offset = len;
        step += 1;
    }
    if rewind > offset {
        // More segments than are looked at: the walk finds none, and says so.
        return 0;
    }
    let Some([base, len]) = kernel::read::<[u64; 2]>(vector) else { return 0 };
    let start = offset - rewind;
    let left = len.wrapping_sub(start);
    let total = u64::from(work.total);
    work.base = base + start;
    work.segment = if left > total { work.total } else { left as u32 };
    work.iov = vector + 16;
    work.iov_left = IOV_MAX;
    0
}

/// Takes up the segment that has the byte after the first `skipped`.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn walk_skip(slot: u32, skipped: u32) -> u32 {
    let Some(Scratch { work, .. }) = cell_at(slot) else { return 0 };
    let mut skipped = u64::from(skipped);
    let mut step = 0;
    while step < IOV_MAX && work.iov_left > 0 {
        // SAFETY: integers.
        let Some([base, len]) = (unsafe { user::read::<[u64; 2]>(work.iov) }) else { return 0 };
        work.iov += 16;
        work.iov_left -= 1;
        if len > skipped {
            let (left, total) = (len - skipped, u64::from(work.total));
            work.base = base + skipped;
            work.segment = if left > total { work.total } else { left as u32 };
            return 0;
        }
        skipped -= len;
        step += 1;
    }
    0
}

/// Segments that [`walk_pass`] passes over at most.
const PASS_MAX: u32 = 32;

/// Passes over bytes of a call, and over the ends of segments. Gives how many of them the call does not have.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn walk_pass(slot: u32, len: u32) -> u32 {
    let Some(Scratch { work, .. }) = cell_at(slot) else { return len };
    let mut left = len;
    let mut step = 0;
    while step < PASS_MAX && left > 0 && work.off < work.total {
        if work.segment == 0 && (work.iov_left == 0 || next_segment(work, work.total - work.off) != ON) {
            return left;
        }
        let passed = if left < work.segment { left } else { work.segment };
        pass(work, passed);
        left -= passed;
        step += 1;
    }
    left
}

/// Reads up to `most` bytes of the present segment into the payload.
#[inline(always)]
pub(super) fn load(work: &mut Work, most: u32) -> bool {
    let len = bounded::<{ COPY_MAX as u64 }>(u64::from(if work.segment < most { work.segment } else { most })) as u32;
    work.loaded = len;
    // SAFETY: `payload` has room for `len` bytes; the read may fail.
    unsafe { bpf_probe_read_user(work.payload.as_mut_ptr().cast(), len, work.base as *const _) == 0 }
}

/// Reads the next bytes of the call, up to `most` of its next segment that has any.
#[inline(always)]
pub fn load_lead(work: &mut Work, most: u32) -> bool {
    let total = work.total;
    let mut n = 0;
    while n < 4 && work.segment == 0 && work.iov_left > 0 {
        if next_segment(work, total) != ON {
            return false;
        }
        n += 1;
    }
    work.segment != 0 && load(work, most)
}

/// Passes over bytes of the present segment.
#[inline(always)]
pub(super) fn pass(work: &mut Work, len: u32) {
    work.off += len;
    work.base += u64::from(len);
    work.segment -= len;
}
