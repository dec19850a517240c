//! How many instructions the verifier went through, where the kernel does not tell it of a program that is loaded (before
//! 5.16): the program is loaded once more, for the statistics in the verifier's log (from 5.2), and let go at once. aya
//! asks for a log only when loading failed.

use std::{
    cell::OnceCell,
    collections::{HashMap, HashSet},
    os::fd::{AsFd as _, AsRawFd as _},
};

use aya::{
    Btf, Ebpf,
    maps::{Map, MapData},
    programs::Program,
};
use aya_obj::{Object, btf::BtfKind, generated::bpf_insn};

use super::{Hook, HookState, bpf, object::OBJECT};

/// Bytes of the verifier's log. The statistics are some lines, but the kernel (seen: 6.18) wants room for what it writes
/// on the way and takes back; before 5.16 no kernel takes more than this (`bpf_check`).
const LOG_BYTES: usize = (u32::MAX >> 8) as usize;

/// Fills in what is missing of the programs that are attached. What can't be found out stays unknown, and is logged.
pub fn count(ebpf: &Ebpf, hooks: &mut [Hook]) {
    let mut unknown =
        hooks.iter_mut().filter(|hook| hook.state == HookState::Attached && hook.verified.is_none()).peekable();
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
    object: Object,
    /// The kernel's types; read when they are first needed.
    types: OnceCell<Btf>,
}

impl<'a> Again<'a> {
    /// Puts in the maps' descriptors and the functions that are called, as aya did.
    fn of(ebpf: &'a Ebpf) -> Result<Self, String> {
        let mut object = Object::parse(OBJECT).map_err(|e| e.to_string())?;
        let features = aya::features();
        if let Some(features) = features.btf() {
            object.fixup_and_sanitize_btf(features).map_err(|e| e.to_string())?;
        }
        let sections: HashSet<usize> = object.functions.keys().map(|(section, _)| *section).collect();
        let maps = std::mem::take(&mut object.maps);
        let descriptors = maps.iter().filter_map(|(name, map)| {
            let descriptor = data(ebpf.map(name)?)?.fd().as_fd().as_raw_fd();
            Some((name.as_str(), descriptor, map))
        });
        object.relocate_maps(descriptors, &sections).map_err(|e| e.to_string())?;
        object.relocate_calls(&sections).map_err(|e| e.to_string())?;
        object.sanitize_functions(features);
        Ok(Self { ebpf, object, types: OnceCell::new() })
    }

    /// Loads the program of a hook as it was loaded before, and gives what the log says.
    fn load(&self, hook: &Hook) -> Result<u32, String> {
        let loaded = self.ebpf.program(hook.program).ok_or("not in the object")?;
        let info = loaded.info().map_err(|e| e.to_string())?;
        let program = self.object.programs.get(hook.program).ok_or("not in the object")?;
        let function = self.object.functions.get(&program.function_key()).ok_or("it has no function")?;
        let btf = info.btf_id().map(bpf::btf_by_id).transpose().map_err(|e| format!("its types: {e}"))?;
        let records = function.func_info.func_info_bytes();
        let record_size = function.func_info_rec_size as u32;
        let code: Vec<u64> = function.instructions.iter().copied().map(word).collect();
        let (attach_type, attach_to) = self.trampoline(loaded, hook)?;
        let again = bpf::Program {
            kind: info.program_type() as u32,
            code: &code,
            attach_type,
            attach_to,
            functions: btf.as_ref().map(|btf| bpf::Functions { btf: btf.as_fd(), records: &records, record_size }),
        };
        let mut log = vec![0; LOG_BYTES];
        bpf::load(&again, Some(&mut log)).map_err(|e| format!("it does not load again: {e}"))?;
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

/// A map of one of the types that the programs use.
fn data(map: &Map) -> Option<&MapData> {
    match map {
        Map::Array(data)
        | Map::CgroupArray(data)
        | Map::HashMap(data)
        | Map::LruHashMap(data)
        | Map::PerCpuArray(data)
        | Map::PerCpuHashMap(data)
        | Map::PerCpuLruHashMap(data)
        | Map::RingBuf(data) => Some(data),
        _ => None,
    }
}

/// An instruction as a number: code, registers, offset, immediate value (`struct bpf_insn`, little-endian).
fn word(instruction: bpf_insn) -> u64 {
    let registers = u64::from(instruction.dst_reg()) | u64::from(instruction.src_reg()) << 4;
    let offset = u64::from(instruction.off.cast_unsigned());
    let immediate = u64::from(instruction.imm.cast_unsigned());
    u64::from(instruction.code) | registers << 8 | offset << 16 | immediate << 32
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
