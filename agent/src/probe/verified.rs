//! How many instructions the verifier went through, where the kernel does not tell it of a program that is loaded (before
//! 5.16): the program is loaded once more, for the statistics in the verifier's log (from 5.2), and let go at once. aya
//! asks for a log only when loading failed.

use std::{cell::OnceCell, collections::HashMap};

use aya::{Btf, Ebpf, programs::Program};
use aya_obj::btf::BtfKind;

use super::{
    Hook, HookState, bpf,
    relocated::{As, Loaded, Relocated},
};

/// Bytes of the verifier's log. The statistics are some lines, but the kernel (seen: 6.18) wants room for what it writes
/// on the way and takes back; before 5.16 no kernel takes more than this (`bpf_check`).
const LOG_BYTES: usize = (u32::MAX >> 8) as usize;

/// Fills in what is missing of the programs that are attached. What can't be found out stays unknown, and is logged.
pub fn count(ebpf: &Ebpf, hooks: &mut [Hook]) {
    let is_loaded = |hook: &Hook| matches!(hook.state, HookState::Attached | HookState::Waiting);
    let mut unknown = hooks.iter_mut().filter(|hook| is_loaded(hook) && hook.verified.is_none()).peekable();
    if unknown.peek().is_none() {
        return;
    }
    let again = match Again::of(ebpf) {
        Ok(again) => again,
        Err(why) => return log::warn!("verified instructions can't be counted: {why}"),
    };
    let mut counts: HashMap<&str, Option<u32>> = HashMap::new();
    for hook in unknown {
        hook.verified = *counts.entry(hook.program).or_insert_with(|| {
            let counted = again.load(hook);
            counted.inspect_err(|why| log::warn!("verified instructions of {}: {why}", hook.program)).ok()
        });
    }
}

/// The programs of an object that is loaded, to be loaded again.
struct Again<'a> {
    ebpf: &'a Ebpf,
    object: Relocated,
    /// The kernel's types; read when they are first needed.
    types: OnceCell<Btf>,
}

impl<'a> Again<'a> {
    fn of(ebpf: &'a Ebpf) -> Result<Self, String> {
        Ok(Self { ebpf, object: Relocated::of(Loaded::of(ebpf))?, types: OnceCell::new() })
    }

    /// Loads the program of a hook as it was loaded before, and gives what the log says.
    fn load(&self, hook: &Hook) -> Result<u32, String> {
        let loaded = self.ebpf.program(hook.program).ok_or("not in the object")?;
        let kind = loaded.info().map_err(|e| e.to_string())?.program_type() as u32;
        let (attach_type, attach_to) = self.trampoline(loaded, hook)?;
        let mut log = vec![0; LOG_BYTES];
        self.object.load(hook.program, As { kind, attach_type, attach_to }, Some(&mut log))?;
        processed(&log).ok_or_else(|| "the verifier's log does not tell".to_owned())
    }

    /// Attach type, and number of the function among the kernel's types: 0 and 0 for what is on no trampoline.
    fn trampoline(&self, program: &Program, hook: &Hook) -> Result<(u32, u32), String> {
        let kind = match program {
            Program::FEntry(_) => bpf::FENTRY,
            Program::FExit(_) => bpf::FEXIT,
            _ => return Ok((0, 0)),
        };
        if self.types.get().is_none() {
            let _ = self.types.set(Btf::from_sys_fs().map_err(|e| e.to_string())?);
        }
        let function = hook.target.rsplit(':').next().unwrap_or_default();
        let types = self.types.get().ok_or("no BTF")?;
        Ok((kind, types.id_by_type_name_kind(function, BtfKind::Func).map_err(|e| e.to_string())?))
    }
}

/// N of "processed N insns (limit 1000000) ...".
fn processed(log: &[u8]) -> Option<u32> {
    let text = String::from_utf8_lossy(log);
    text.lines().find_map(|line| line.strip_prefix("processed ")?.split(' ').next()?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::{FamilyChoice, HookChoice, LoadOptions, Probes};

    #[test]
    fn the_statistics_are_found_among_other_lines() {
        let log = b"verification time 1201 usec\nstack depth 120+64\nprocessed 4711 insns (limit 1000000) \
                    max_states_per_insn 4 total_states 97 peak_states 97 mark_read 14\n\0\0\0";
        assert_eq!(processed(log), Some(4711));
        assert_eq!(processed(b"verification time 1201 usec\n\0"), None);
        assert_eq!(processed(&[0xff; 8]), None);
    }

    #[test]
    #[ignore = "loads programs: needs root, and a kernel from 5.16 on to compare with"]
    fn a_program_that_is_loaded_again_has_the_count_that_the_kernel_tells() {
        for (family, hook) in [
            (FamilyChoice::Syscall, HookChoice::Auto),
            (FamilyChoice::Socket, HookChoice::Fentry),
            (FamilyChoice::Socket, HookChoice::Kprobe),
        ] {
            let mut probes = Probes::load(family, hook, &LoadOptions::default()).expect("it loads");
            let told: Vec<Option<u32>> = probes.hooks.iter().map(|hook| hook.verified).collect();
            assert!(told.iter().flatten().count() > 5, "the kernel tells: {:#?}", probes.hooks);
            probes.hooks.iter_mut().for_each(|hook| hook.verified = None);
            probes.count_verified();
            for (hook, told) in probes.hooks.iter().zip(told) {
                assert_eq!(hook.verified, told, "{} at {}", hook.program, hook.target);
            }
        }
    }
}
