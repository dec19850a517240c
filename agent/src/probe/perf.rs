//! `perf_event_open(2)`, as far as aya does not do it.

use std::{
    io,
    os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd},
};

/// `struct perf_event_attr` as its second version had it (`PERF_ATTR_SIZE_VER1`).
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct Attributes {
    /// `type`
    pub kind: u32,
    /// Set by [`open`].
    pub size: u32,
    /// See the manual page, as for all others.
    pub config: u64,
    /// `sample_period`
    pub sample_period: u64,
    /// `sample_type`
    pub sample_type: u64,
    /// `read_format`
    pub read_format: u64,
    /// Bits of [`flag`].
    pub flags: u64,
    /// `wakeup_events`, or with [`flag::WATERMARK`] `wakeup_watermark`
    pub wakeup: u32,
    /// `bp_type`
    pub bp_type: u32,
    /// `config1`
    pub config1: u64,
    /// `config2`
    pub config2: u64,
}
const _: () = assert!(size_of::<Attributes>() == 72);

/// Bits of [`Attributes::flags`].
pub mod flag {
    /// Tells of executable mappings.
    pub const MMAP: u64 = 1 << 8;
    /// Tells of tasks that begin and end.
    pub const TASK: u64 = 1 << 13;
    /// Wakes whoever polls when so many bytes wait.
    pub const WATERMARK: u64 = 1 << 14;
    /// Tells of mappings with device, inode and protection.
    pub const MMAP2: u64 = 1 << 23;
}

/// `PERF_TYPE_SOFTWARE`
pub const SOFTWARE: u32 = 1;
/// `PERF_TYPE_TRACEPOINT`
pub const TRACEPOINT: u32 = 2;
/// `PERF_COUNT_SW_DUMMY`
pub const DUMMY: u64 = 9;
/// `PERF_EVENT_IOC_ENABLE`
pub const ENABLE: libc::c_ulong = 0x2400;
/// `PERF_EVENT_IOC_SET_BPF`
pub const SET_BPF: libc::c_ulong = 0x4004_2408;

const PERF_FLAG_FD_CLOEXEC: libc::c_ulong = 8;

/// Opens an event of all processes on one CPU.
pub fn open(attributes: Attributes, cpu: u32) -> io::Result<OwnedFd> {
    open_for(attributes, -1, i32::try_from(cpu).map_err(io::Error::other)?)
}

/// Opens an event of one process (-1: all) on one CPU (-1: all; not both).
pub fn open_for(attributes: Attributes, pid: i32, cpu: i32) -> io::Result<OwnedFd> {
    let attributes = Attributes { size: size_of::<Attributes>() as u32, ..attributes };
    // SAFETY: the attributes are valid for as many bytes as they say, and the kernel only reads them.
    let fd =
        unsafe { libc::syscall(libc::SYS_perf_event_open, &raw const attributes, pid, cpu, -1, PERF_FLAG_FD_CLOEXEC) };
    let fd = i32::try_from(fd).map_err(io::Error::other)?;
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel just gave this descriptor, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Whether this thread may watch all processes. Some distributions' kernels (Debian's 5.10) ask for `CAP_SYS_ADMIN` where
/// `kernel.perf_event_paranoid` is above 2, others for `CAP_PERFMON`.
pub fn is_permitted() -> bool {
    let dummy = Attributes { kind: SOFTWARE, config: DUMMY, ..Attributes::default() };
    open(dummy, 0).map_or_else(|error| error.kind() != io::ErrorKind::PermissionDenied, |_| true)
}

/// One of the requests above.
pub fn ioctl(event: BorrowedFd<'_>, request: libc::c_ulong, argument: libc::c_int) -> io::Result<()> {
    // SAFETY: both requests take an integer, and touch no memory of ours.
    let result = unsafe { libc::ioctl(event.as_raw_fd(), request, argument) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
