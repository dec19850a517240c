//! What the running kernel is and permits, as far as it tells. These are facts for people: what runs is decided by what
//! loads, never by them.

use std::{fs, os::unix::fs::MetadataExt as _};

use super::preemption::Model;

/// Facts about the running kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kernel {
    /// `uname -r`
    pub release: String,
    /// `uname -m`
    pub machine: String,
    /// Lockdown mode: `none`, `integrity`, `confidentiality`; nothing where the kernel does not tell.
    pub lockdown: Option<String>,
    /// Whether it has BTF of itself.
    pub btf: bool,
    /// Whether it has kprobes.
    pub kprobes: bool,
    /// Preemption model: `none`, `voluntary`, `lazy`, `full`, `rt` or `unknown`.
    pub preemption: String,
    /// Whether this process is in the host's first pid namespace. Programs tell process ids of that one, so that in
    /// another nobody can be named.
    pub host_pids: bool,
    /// Effective capabilities of this process, as a bit set.
    pub capabilities: u64,
}

/// Inode number of the first pid namespace (`PROC_PID_INIT_INO` in `linux/proc_ns.h`).
const FIRST_PIDS: u64 = 0xefff_fffc;

/// Capabilities that netspan needs, by name and number (`linux/capability.h`).
pub const CAPABILITIES: [(&str, u32); 4] =
    [("CAP_SYS_ADMIN", 21), ("CAP_SYS_PTRACE", 19), ("CAP_PERFMON", 38), ("CAP_BPF", 39)];

impl Kernel {
    /// Asks.
    pub fn read() -> Self {
        let name = rustix::system::uname();
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let capabilities = status
            .lines()
            .find_map(|line| line.strip_prefix("CapEff:"))
            .and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok())
            .unwrap_or(0);
        Self {
            release: name.release().to_string_lossy().into_owned(),
            machine: name.machine().to_string_lossy().into_owned(),
            lockdown: fs::read_to_string("/sys/kernel/security/lockdown").ok().and_then(|text| chosen(&text)),
            btf: fs::exists("/sys/kernel/btf/vmlinux").unwrap_or(false),
            kprobes: fs::exists(super::KPROBES).unwrap_or(false),
            preemption: Model::of_kernel().name().to_owned(),
            host_pids: fs::metadata("/proc/self/ns/pid").is_ok_and(|namespace| namespace.ino() == FIRST_PIDS),
            capabilities,
        }
    }

    /// Names of the capabilities that are missing. `CAP_SYS_ADMIN` stands for those of BPF and of tracing.
    pub fn missing_capabilities(&self) -> Vec<&'static str> {
        let has = |number: u32| self.capabilities >> number & 1 == 1;
        let admin = has(21);
        CAPABILITIES
            .into_iter()
            .filter(|&(name, number)| match name {
                "CAP_SYS_ADMIN" => false,
                "CAP_SYS_PTRACE" => !has(number),
                _ => !admin && !has(number),
            })
            .map(|(name, _)| name)
            .collect()
    }
}

/// The word in brackets of a list of choices.
fn chosen(text: &str) -> Option<String> {
    let (_, rest) = text.split_once('[')?;
    rest.split_once(']').map(|(word, _)| word.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lockdown_mode_is_the_word_in_brackets() {
        assert_eq!(chosen("none integrity [confidentiality]\n").as_deref(), Some("confidentiality"));
        assert_eq!(chosen("none\n"), None);
    }

    #[test]
    fn admin_stands_for_bpf_and_perfmon_but_not_for_ptrace() {
        let kernel = |capabilities| Kernel {
            release: String::new(),
            machine: String::new(),
            lockdown: None,
            btf: false,
            kprobes: false,
            preemption: String::new(),
            host_pids: true,
            capabilities,
        };
        assert_eq!(kernel(1 << 21).missing_capabilities(), ["CAP_SYS_PTRACE"]);
        assert_eq!(kernel(1 << 19 | 1 << 38 | 1 << 39).missing_capabilities(), [""; 0]);
        assert_eq!(kernel(0).missing_capabilities(), ["CAP_SYS_PTRACE", "CAP_PERFMON", "CAP_BPF"]);
    }
}
