//! Whether the kernel permits what the family `socket` needs at all: programs that read its memory, and hooks on its
//! functions. Under lockdown it does not; then the family need not be tried, which takes much longer than to ask.

use std::{fs, io, path::Path};

/// `union bpf_attr` for `BPF_PROG_LOAD`, as far as it is needed.
#[repr(C)]
#[derive(Default)]
struct Attributes {
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
    func_info_size: u32,
    func_info: u64,
    funcs: u32,
    line_info_size: u32,
    line_info: u64,
    lines: u32,
    attach_to: u32,
}

const BPF_PROG_LOAD: libc::c_long = 5;
const BPF_PROG_TYPE_RAW_TRACEPOINT: u32 = 17;
const BPF_PROG_TYPE_TRACING: u32 = 26;
const BPF_TRACE_FENTRY: u32 = 24;

/// An instruction: code, destination register, source register, immediate value (`Documentation/bpf/standardization`).
const fn instruction(code: u8, to: u8, from: u8, immediate: i32) -> u64 {
    code as u64 | (to as u64) << 8 | (from as u64) << 12 | (immediate.cast_unsigned() as u64) << 32
}

/// `bpf_probe_read_kernel(stack, 8, 0)`, which no one ever runs.
const READER: [u64; 7] = [
    instruction(0xbf, 1, 10, 0),
    instruction(0x07, 1, 0, -8),
    instruction(0xb7, 2, 0, 8),
    instruction(0xb7, 3, 0, 0),
    instruction(0x85, 0, 0, 113),
    instruction(0xb7, 0, 0, 0),
    instruction(0x95, 0, 0, 0),
];

/// Asks by loading programs that no one runs.
///
/// # Errors
/// What the kernel refuses, and how, where it would have taken a program of another kind.
pub fn check(tracefs: &Path) -> Result<(), String> {
    let [reader, nothing] = [&READER, &READER[5..]].map(|code| load(BPF_PROG_TYPE_RAW_TRACEPOINT, 0, 0, code));
    if nothing.is_err() {
        // It refuses everything: what the reason is, others find out.
        return Ok(());
    }
    reader.map_err(|error| format!("programs may not read kernel memory: {error}"))?;
    // The first type is no function. Where trampolines are permitted, that is what is wrong.
    let trampoline = load(BPF_PROG_TYPE_TRACING, BPF_TRACE_FENTRY, 1, &READER[5..]);
    let has_kprobes = tracefs.join("kprobe_events").exists() || fs::exists(super::KPROBES).unwrap_or(false);
    match trampoline {
        Err(error) if error.raw_os_error() == Some(libc::EPERM) && !has_kprobes => {
            Err(format!("trampolines are refused ({error}), and there are no kprobes"))
        }
        _ => Ok(()),
    }
}

fn load(kind: u32, attach_type: u32, attach_to: u32, code: &[u64]) -> io::Result<()> {
    let mut attributes = Attributes {
        kind,
        instructions: code.len() as u32,
        code: code.as_ptr().addr() as u64,
        licence: c"GPL".as_ptr().addr() as u64,
        attach_type,
        attach_to,
        ..Attributes::default()
    };
    // SAFETY: the attributes and what they point to are valid for as many bytes as they say, and stay so during the call.
    let fd = unsafe { libc::syscall(libc::SYS_bpf, BPF_PROG_LOAD, &raw mut attributes, size_of::<Attributes>()) };
    let fd = i32::try_from(fd).map_err(io::Error::other)?;
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel just gave this descriptor, and nobody else has it.
    unsafe { libc::close(fd) };
    Ok(())
}
