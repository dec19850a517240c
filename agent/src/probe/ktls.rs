//! Kernel TLS: the functions that the family `socket` hooks where a socket's plaintext passes, most of them in the module
//! `tls`. A module's functions are on kprobes, whatever the others are on: the kernel takes these before the module is
//! there, and its types are not needed.

use std::{fs, io::ErrorKind};

use aya::{Ebpf, programs::KProbe};

use super::{Hook, HookState, btf::Btf, defined::DefinedProbes, reason};

/// The module.
const MODULE: &str = "tls";

/// The program for the returns of all of them.
const RETURN: &str = "kretprobe_tls";

/// A function, and the program for its entry. All have the arguments of TCP's function of that name.
const FUNCTIONS: [(&str, &str); 6] = [
    ("tls_sw_sendmsg", "kprobe_tls_sendmsg"),
    ("tls_sw_recvmsg", "kprobe_tcp_recvmsg"),
    ("tls_sw_splice_read", "kprobe_pages"),
    // Where the network card encrypts.
    ("tls_device_sendmsg", "kprobe_tls_sendmsg"),
    // Before 6.5.
    ("tls_sw_sendpage", "kprobe_tls_sendpage"),
    ("tls_device_sendpage", "kprobe_tls_sendpage"),
];

/// Attaches what there is. Everything else works without.
pub fn attach(ebpf: &mut Ebpf, btf: &Btf, probes: &mut DefinedProbes) -> Vec<Hook> {
    let in_kernel = btf.parameters("tls_sw_sendmsg").is_some();
    let has_pages = btf.parameters("tcp_sendpage").is_some();
    let state = if in_kernel || is_loaded() { HookState::Attached } else { HookState::Waiting };
    let mut hooks = Vec::new();
    for (function, entry) in FUNCTIONS {
        if function.ends_with("sendpage") && !has_pages {
            hooks.push(Hook { program: RETURN, target: function.into(), verified: None, state: HookState::Absent });
            continue;
        }
        let place = if in_kernel { function.to_owned() } else { format!("{MODULE}:{function}") };
        // The return first: without an entry it is nothing, while an entry alone would count its return as missed.
        for (program, kind) in [(RETURN, "kretprobe"), (entry, "kprobe")] {
            let attached = try_attach(ebpf, probes, program, kind, &place);
            let state = attached.map_or_else(|why| why, |()| state.clone());
            hooks.push(hook(ebpf, program, &format!("{kind}:{function}"), state));
        }
    }
    hooks
}

/// Attaches a program, or says what the hook is instead.
fn try_attach(
    ebpf: &mut Ebpf,
    probes: &mut DefinedProbes,
    program: &'static str,
    kind: &str,
    place: &str,
) -> Result<(), HookState> {
    let program = load(ebpf, program).map_err(HookState::Failed)?;
    let attached = if kind == "kprobe" { probes.attach_entry(program, place) } else { probes.attach(program, place) };
    attached.map_err(|e| match e.kind() {
        // The module is there, and has no such function.
        ErrorKind::NotFound => HookState::Absent,
        _ => HookState::Failed(e.to_string()),
    })
}

/// The program, loaded.
fn load<'e>(ebpf: &'e mut Ebpf, name: &str) -> Result<&'e KProbe, String> {
    let program: &mut KProbe = ebpf.program_mut(name).ok_or("not in the object")?.try_into().map_err(|e| reason(&e))?;
    if program.fd().is_err() {
        program.load().map_err(|e| reason(&e))?;
    }
    Ok(program)
}

fn hook(ebpf: &Ebpf, program: &'static str, target: &str, state: HookState) -> Hook {
    let info = ebpf.program(program).and_then(|program| program.info().ok());
    let verified = info.and_then(|info| info.verified_instruction_count());
    Hook { program, target: target.into(), verified, state }
}

/// Whether the module is loaded.
fn is_loaded() -> bool {
    fs::read_to_string("/proc/modules").is_ok_and(|modules| names(&modules).any(|name| name == MODULE))
}

/// The names in a listing of modules.
fn names(modules: &str) -> impl Iterator<Item = &str> {
    modules.lines().filter_map(|line| line.split(' ').next())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_is_loaded_by_its_whole_name() {
        let modules = "mptcp_tls 16384 0 - Live 0x0\ntls 155648 3 cxgb4, Live 0x0\n";
        assert_eq!(names(modules).collect::<Vec<_>>(), ["mptcp_tls", "tls"]);
    }
}
