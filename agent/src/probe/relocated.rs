//! The object's programs, ready to be loaded where aya has no way for it: with a log though nothing failed, or to be
//! attached to many places at one time.

use std::{
    collections::{HashMap, HashSet},
    os::fd::{AsFd as _, AsRawFd as _, OwnedFd},
};

use aya::{
    Ebpf,
    maps::{Map, MapData},
};
use aya_obj::{Object, generated::bpf_insn};

use super::{bpf, object::OBJECT};

/// The programs, with the maps of an object that aya loaded.
pub struct Relocated {
    object: Object,
    /// The programs' types. aya has loaded them, too, but keeps the descriptor, and only `CAP_SYS_ADMIN` may ask for another.
    btf: Option<OwnedFd>,
}

/// As what a program is loaded.
#[derive(Clone, Copy, Debug, Default)]
pub struct As {
    /// `BPF_PROG_TYPE_*`
    pub kind: u32,
    /// `BPF_TRACE_*`, or 0.
    pub attach_type: u32,
    /// The function's number among the kernel's types, or 0.
    pub attach_to: u32,
}

/// What aya loaded of the object: enough to go on without it, on another thread.
pub struct Loaded {
    /// The maps' descriptors, which are open as long as aya's maps are.
    maps: HashMap<String, i32>,
}

impl Loaded {
    /// No map may be taken yet.
    pub fn of(ebpf: &Ebpf) -> Self {
        let maps = ebpf.maps().filter_map(|(name, map)| Some((name.to_owned(), data(map)?.fd().as_fd().as_raw_fd())));
        Self { maps: maps.collect() }
    }
}

impl Relocated {
    /// Puts in the maps' descriptors and the functions that are called, as aya did. It takes some 15 ms.
    pub fn of(loaded: Loaded) -> Result<Self, String> {
        let Loaded { maps: descriptors } = loaded;
        let mut object = Object::parse(OBJECT).map_err(|e| e.to_string())?;
        let features = aya::features();
        let types = match features.btf() {
            Some(features) => object.fixup_and_sanitize_btf(features).map_err(|e| e.to_string())?,
            None => None,
        };
        let btf = types.map(|types| bpf::load_btf(&types.to_bytes())).transpose();
        let btf = btf.map_err(|e| format!("its types: {e}"))?;
        let sections: HashSet<usize> = object.functions.keys().map(|(section, _)| *section).collect();
        let maps = std::mem::take(&mut object.maps);
        let descriptors = maps.iter().filter_map(|(name, map)| Some((name.as_str(), *descriptors.get(name)?, map)));
        object.relocate_maps(descriptors, &sections).map_err(|e| e.to_string())?;
        object.relocate_calls(&sections).map_err(|e| e.to_string())?;
        object.sanitize_functions(features);
        Ok(Self { object, btf })
    }

    /// Loads a program. The log, where one is given, gets the verifier's statistics (from Linux 5.2).
    pub fn load(&self, name: &str, kind: As, log: Option<&mut [u8]>) -> Result<OwnedFd, String> {
        let program = self.object.programs.get(name).ok_or("not in the object")?;
        let function = self.object.functions.get(&program.function_key()).ok_or("it has no function")?;
        let records = function.func_info.func_info_bytes();
        let record_size = function.func_info_rec_size as u32;
        let code: Vec<u64> = function.instructions.iter().copied().map(word).collect();
        let As { kind, attach_type, attach_to } = kind;
        let functions =
            self.btf.as_ref().map(|btf| bpf::Functions { btf: btf.as_fd(), records: &records, record_size });
        let program = bpf::Program { name, kind, code: &code, attach_type, attach_to, functions };
        bpf::load(&program, log).map_err(|e| format!("it does not load: {e}"))
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
        | Map::ProgramArray(data)
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

#[cfg(test)]
mod stacks;

#[cfg(test)]
mod tests {
    use aya_obj::{Object, ProgramSection};

    use super::OBJECT;

    /// What it costs to forget is a crash of the host: see `tls::keep_stack` in the object's source.
    #[test]
    fn each_program_on_a_uprobe_keeps_the_threads_stack() {
        const CALL: u8 = 0x85;
        const TAIL_CALL: i32 = 12;
        let object = Object::parse(OBJECT).expect("it is an object");
        let mut uprobes = 0;
        for (name, program) in &object.programs {
            if !matches!(program.section, ProgramSection::UProbe { .. } | ProgramSection::URetProbe { .. }) {
                continue;
            }
            uprobes += 1;
            let function = &object.functions[&program.function_key()];
            let mut calls = function.instructions.iter().filter(|instruction| instruction.code == CALL);
            assert!(calls.any(|call| call.src_reg() == 0 && call.imm == TAIL_CALL), "{name}");
        }
        assert!(uprobes > 10, "{uprobes}");
    }

    /// Frames that are on the stack together may have 512 bytes, each rounded up to 32 by kernels before 6.8.
    #[test]
    #[ignore = "loads programs: needs root; prints the stack of each program's functions"]
    fn stacks_by_hand() {
        let ebpf = crate::probe::syscall::load(&crate::probe::LoadOptions::default(), &mut |_| {}).expect("it loads").0;
        let relocated = super::Relocated::of(super::Loaded::of(&ebpf)).expect("relocated");
        for (name, kind) in [
            ("sys_exit", 5),
            ("enter_close", 5),
            ("raw_sys_exit", 17),
            ("tls_return", 2),
            ("go_write", 2),
            ("go_return", 2),
            ("rustls_encrypt", 2),
            ("rustls_encrypted", 2),
            ("rustls_encrypter", 2),
            ("rustls_decrypt", 2),
            ("rustls_decrypted", 2),
        ] {
            let mut log = vec![0; (u32::MAX >> 8) as usize];
            let loaded = relocated.load(name, super::As { kind, attach_type: 0, attach_to: 0 }, Some(&mut log));
            let text = String::from_utf8_lossy(&log).into_owned();
            let depth = text.lines().find(|line| line.starts_with("stack depth")).unwrap_or("?").to_owned();
            println!("{name}: {depth} {:?}", loaded.err());
        }
    }
}
