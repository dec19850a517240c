//! Whether the kernel permits what the family `socket` needs at all: programs that read its memory, and hooks on its
//! functions. Under lockdown it does not; then the family need not be tried, which takes much longer than to ask.

use std::{fs, path::Path};

use super::bpf::{self, Program};

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
    let load = |program| bpf::load(&program, None).map(drop);
    let [reader, nothing] =
        [&READER, &READER[5..]].map(|code| load(Program { kind: bpf::RAW_TRACEPOINT, code, ..Program::default() }));
    if nothing.is_err() {
        // It refuses everything: what the reason is, others find out.
        return Ok(());
    }
    reader.map_err(|error| format!("programs may not read kernel memory: {error}"))?;
    // The first type is no function. Where trampolines are permitted, that is what is wrong.
    let (kind, attach_type) = (bpf::TRACING, bpf::FENTRY);
    let trampoline = load(Program { kind, attach_type, attach_to: 1, code: &READER[5..], ..Program::default() });
    let has_kprobes = tracefs.join("kprobe_events").exists() || fs::exists(super::KPROBES).unwrap_or(false);
    match trampoline {
        Err(error) if error.raw_os_error() == Some(libc::EPERM) && !has_kprobes => {
            Err(format!("trampolines are refused ({error}), and there are no kprobes"))
        }
        _ => Ok(()),
    }
}
