//! `bpf(2)`, as far as aya does not do it.

use std::{
    ffi::CStr,
    io,
    mem::offset_of,
    os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd},
};

/// `BPF_PROG_TYPE_KPROBE`
pub const KPROBE: u32 = 2;
/// `BPF_PROG_TYPE_RAW_TRACEPOINT`
pub const RAW_TRACEPOINT: u32 = 17;
/// `BPF_PROG_TYPE_TRACING`
pub const TRACING: u32 = 26;
/// `BPF_TRACE_FENTRY`
pub const FENTRY: u32 = 24;
/// `BPF_TRACE_FEXIT`
pub const FEXIT: u32 = 25;
/// `BPF_TRACE_UPROBE_MULTI`
pub const UPROBE_MULTI: u32 = 48;

const PROG_LOAD: libc::c_long = 5;
const OBJ_GET_INFO_BY_FD: libc::c_long = 15;
const BTF_LOAD: libc::c_long = 18;
const LINK_CREATE: libc::c_long = 28;
/// `BPF_LOG_STATS`
const LOG_STATS: u32 = 4;

/// A program to load.
#[derive(Clone, Copy, Default)]
pub struct Program<'a> {
    /// What the kernel calls it: at most 15 bytes, letters, digits, `_` and `.`; longer names are cut.
    pub name: &'a str,
    /// `BPF_PROG_TYPE_*`
    pub kind: u32,
    /// Its instructions, of 64 bits each.
    pub code: &'a [u64],
    /// `BPF_TRACE_*`, for [`TRACING`] and for uprobes that are attached many at a time.
    pub attach_type: u32,
    /// The function's number among the kernel's types, for [`TRACING`].
    pub attach_to: u32,
    /// What its functions are, without which none is global.
    pub functions: Option<Functions<'a>>,
}

/// What a program's functions are.
#[derive(Clone, Copy, Debug)]
pub struct Functions<'a> {
    /// The types.
    pub btf: BorrowedFd<'a>,
    /// Records of `struct bpf_func_info`.
    pub records: &'a [u8],
    /// Bytes of each record.
    pub record_size: u32,
}

/// `union bpf_attr` for `BPF_PROG_LOAD`.
#[repr(C)]
#[derive(Default)]
struct LoadAttributes {
    kind: u32,
    instructions: u32,
    code: u64,
    licence: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
    name: [u8; 16],
    device: u32,
    attach_type: u32,
    btf: u32,
    function_record_size: u32,
    function_records: u64,
    functions: u32,
    line_record_size: u32,
    line_records: u64,
    lines: u32,
    attach_to: u32,
}

/// Loads a program. The log, where one is given, gets the verifier's statistics (from Linux 5.2).
pub fn load(program: &Program<'_>, log: Option<&mut [u8]>) -> io::Result<OwnedFd> {
    let &Program { name: given, kind, code, attach_type, attach_to, functions } = program;
    let mut name = [0; 16];
    // The last byte stays 0.
    name.iter_mut().take(15).zip(given.bytes()).for_each(|(to, from)| *to = from);
    let mut attributes = LoadAttributes {
        name,
        kind,
        instructions: code.len() as u32,
        code: code.as_ptr().addr() as u64,
        licence: c"GPL".as_ptr().addr() as u64,
        attach_type,
        attach_to,
        ..LoadAttributes::default()
    };
    if let Some(Functions { btf, records, record_size }) = functions {
        attributes.btf = btf.as_raw_fd().cast_unsigned();
        attributes.function_record_size = record_size;
        attributes.function_records = records.as_ptr().addr() as u64;
        attributes.functions = (records.len() as u32).checked_div(record_size).unwrap_or(0);
    }
    if let Some(log) = log {
        attributes.log_level = LOG_STATS;
        attributes.log_size = log.len() as u32;
        attributes.log = log.as_mut_ptr().expose_provenance() as u64;
    }
    // SAFETY: what the attributes point to outlives the call and has as many bytes as they say; the kernel writes to the
    // log alone, which is borrowed as mutable.
    unsafe { new_descriptor(PROG_LOAD, &mut attributes) }
}

/// Attaches a program that was loaded for [`UPROBE_MULTI`] to places of a file, in bytes from its beginning: at these
/// instructions, or at the returns of the functions that begin there. For one process, or for all. From Linux 6.6.
pub fn attach_uprobes(
    program: BorrowedFd<'_>,
    path: &CStr,
    offsets: &[u64],
    at_return: bool,
    pid: Option<u32>,
) -> io::Result<OwnedFd> {
    /// `union bpf_attr` for `BPF_LINK_CREATE`.
    #[repr(C)]
    struct Attributes {
        program: u32,
        target: u32,
        attach_type: u32,
        flags: u32,
        path: u64,
        offsets: u64,
        reference_counters: u64,
        cookies: u64,
        count: u32,
        /// `BPF_F_UPROBE_MULTI_RETURN`
        at_return: u32,
        pid: u32,
        padding: u32,
    }
    let mut attributes = Attributes {
        program: program.as_raw_fd().cast_unsigned(),
        target: 0,
        attach_type: UPROBE_MULTI,
        flags: 0,
        path: path.as_ptr().addr() as u64,
        offsets: offsets.as_ptr().addr() as u64,
        reference_counters: 0,
        cookies: 0,
        count: offsets.len() as u32,
        at_return: u32::from(at_return),
        pid: pid.unwrap_or(0),
        padding: 0,
    };
    // SAFETY: what the attributes point to outlives the call and has as many elements as they say; it is only read.
    unsafe { new_descriptor(LINK_CREATE, &mut attributes) }
}

/// Loads types (the bytes of a `.BTF` section), which takes no more than `CAP_BPF`.
pub fn load_btf(bytes: &[u8]) -> io::Result<OwnedFd> {
    /// `union bpf_attr` for `BPF_BTF_LOAD`.
    #[repr(C)]
    struct Attributes {
        bytes: u64,
        log: u64,
        size: u32,
        log_size: u32,
        log_level: u32,
        padding: u32,
    }
    let mut attributes = Attributes {
        bytes: bytes.as_ptr().addr() as u64,
        log: 0,
        size: bytes.len() as u32,
        log_size: 0,
        log_level: 0,
        padding: 0,
    };
    // SAFETY: the bytes outlive the call and are as many as is said; they are only read.
    unsafe { new_descriptor(BTF_LOAD, &mut attributes) }
}

/// `struct bpf_prog_info` as far as what is read here; what lies before it is not looked at.
#[repr(C)]
struct Info {
    before: [u64; 26],
    recursion_misses: u64,
}
const _: () = assert!(offset_of!(Info, recursion_misses) == 208);

/// How often the kernel skipped a program because it was already running on that CPU; 0 before Linux 5.12, which does not
/// tell.
pub fn recursion_misses(program: BorrowedFd<'_>) -> io::Result<u64> {
    /// `union bpf_attr`
    #[repr(C)]
    struct Attributes {
        fd: u32,
        info_len: u32,
        info: u64,
    }
    let mut info = Info { before: [0; 26], recursion_misses: 0 };
    let mut attributes = Attributes {
        fd: program.as_raw_fd().cast_unsigned(),
        info_len: size_of::<Info>() as u32,
        info: (&raw mut info).expose_provenance() as u64,
    };
    // SAFETY: the information is valid for as many bytes as the attributes say, of any value, and outlives the call.
    unsafe { call(OBJ_GET_INFO_BY_FD, &mut attributes) }?;
    Ok(info.recursion_misses)
}

/// # Safety
/// What the attributes point to must be what the command takes, and outlive the call.
unsafe fn call<T>(command: libc::c_long, attributes: &mut T) -> io::Result<i32> {
    // SAFETY: the attributes are valid for as many bytes as is said; the rest is the caller's promise.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attributes), size_of::<T>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { i32::try_from(result).map_err(io::Error::other) }
}

/// # Safety
/// As [`call`]; and the command gives a new descriptor.
unsafe fn new_descriptor<T>(command: libc::c_long, attributes: &mut T) -> io::Result<OwnedFd> {
    // SAFETY: the caller's promise.
    let fd = unsafe { call(command, attributes) }?;
    // SAFETY: the kernel just gave this descriptor, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
