//! Finds the thread-local variable `otel_thread_ctx_v1` of a process: which of its files defines it, and where threads have it. The file
//! says by its relocations how the variable is reached; what the dynamic linker made of that is read from the process's memory.
//!
//! x86-64 alone, for the kernel side knows the thread pointer there alone.

use std::fs::File;

use netspan_ebpf::ThreadSlot;
use object::{
    LittleEndian as LE, elf,
    read::{
        ReadCache, SectionIndex,
        elf::{FileHeader as _, ProgramHeader as _, SectionHeader as _},
    },
};

use super::{Memory, word};
use crate::{
    host::root::ProcessDir,
    tls::maps::{self, Reason},
};

/// The variable's name.
const NAME: &[u8] = b"otel_thread_ctx_v1\0";
/// Bytes of a table of symbols, of their names, or of relocations that are looked at, at most.
const TABLE_MAX: u64 = 64 << 20;
/// Sections and segments of a file at most.
const SECTIONS_MAX: usize = 1 << 16;
/// Files of a process that are looked at, at most.
const FILES_MAX: usize = 1024;
/// Modules with thread-local variables, and bytes of their blocks, at most: what is more is no such number.
const MODULES_MAX: u64 = 1 << 16;
/// See [`MODULES_MAX`].
const BLOCK_MAX: u64 = 1 << 30;
/// Bytes of an entry of a thread's table of blocks.
const ENTRY_GLIBC: u64 = 16;
/// See [`ENTRY_GLIBC`].
const ENTRY_MUSL: u64 = 8;

/// How a file reaches its variable: addresses are the file's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Access {
    /// By a descriptor (TLSDESC): two words, of which the second is an offset, or points to module and offset.
    Descriptor(u64),
    /// By two words: module and offset.
    Module(u64),
    /// By a word: the offset from the thread pointer.
    Offset(u64),
    /// It is the program's own, so many bytes before the thread pointer.
    Program(u64),
}

/// Finds it. `maps` is the text of the process's mappings.
pub(super) fn find(process: &ProcessDir, pid: u32, maps: &[u8], memory: &impl Memory) -> Option<ThreadSlot> {
    if cfg!(not(target_arch = "x86_64")) {
        return None;
    }
    let executable = process.link("exe")?;
    let files = maps::parse(maps, Some(executable.as_bytes())).files;
    let is_musl = files.iter().any(|file| file.path.to_string_lossy().contains("ld-musl-"));
    let entry = if is_musl { ENTRY_MUSL } else { ENTRY_GLIBC };
    files.iter().take(FILES_MAX).find_map(|mapped| {
        let file = File::open(mapped.open_path(pid)).ok()?;
        let (access, first) = access(&file, mapped.reason == Reason::Executable)?;
        resolve(access, mapped.base.wrapping_sub(first), entry, memory)
    })
}

/// How a file reaches the variable if it defines it, and the address that its first byte has in it.
fn access(file: &File, is_program: bool) -> Option<(Access, u64)> {
    let cache = ReadCache::new(file);
    let header = elf::FileHeader64::<LE>::parse(&cache)
        .ok()
        .filter(|header| header.e_machine.get(LE) == elf::EM_X86_64 && header.e_ident.data == elf::ELFDATA2LSB)?;
    if header.phnum(LE, &cache).ok()? > SECTIONS_MAX || header.shnum(LE, &cache).ok()? > SECTIONS_MAX {
        return None;
    }
    let sections = header.sections(LE, &cache).ok()?;
    let (table, symbols) = sections.enumerate().find(|(_, section)| section.sh_type(LE) == elf::SHT_DYNSYM)?;
    let names = sections.section(SectionIndex(usize::try_from(symbols.sh_link(LE)).ok()?)).ok()?;
    if symbols.sh_size(LE) > TABLE_MAX || names.sh_size(LE) > TABLE_MAX {
        return None;
    }
    let texts = names.data(LE, &cache).ok()?;
    let places: Vec<u64> = memchr::memmem::find_iter(texts, NAME).map(|at| at as u64).collect();
    if places.is_empty() {
        return None;
    }
    let symbols: &[elf::Sym64<LE>] = symbols.data_as_array(LE, &cache).ok()?;
    let (number, symbol) = symbols.iter().enumerate().find(|(_, symbol)| {
        symbol.st_type() == elf::STT_TLS
            && symbol.st_shndx.get(LE) != elf::SHN_UNDEF
            && places.contains(&u64::from(symbol.st_name.get(LE)))
    })?;
    let segments = header.program_headers(LE, &cache).ok()?;
    let first = segments.iter().find(|segment| segment.p_type(LE) == elf::PT_LOAD)?;
    let first = first.p_vaddr(LE).wrapping_sub(first.p_offset(LE));
    let relocations = sections.iter().filter(|section| {
        section.sh_type(LE) == elf::SHT_RELA
            && usize::try_from(section.sh_link(LE)) == Ok(table.0)
            && section.sh_size(LE) <= TABLE_MAX
    });
    for section in relocations {
        let all: &[elf::Rela64<LE>] = section.data_as_array(LE, &cache).ok()?;
        for one in all.iter().filter(|one| one.r_sym(LE, false) as usize == number) {
            let at = one.r_offset.get(LE);
            match one.r_type(LE, false) {
                elf::R_X86_64_TLSDESC => return Some((Access::Descriptor(at), first)),
                elf::R_X86_64_DTPMOD64 => return Some((Access::Module(at), first)),
                elf::R_X86_64_TPOFF64 => return Some((Access::Offset(at), first)),
                _ => {}
            }
        }
    }
    let block = segments.iter().find(|segment| segment.p_type(LE) == elf::PT_TLS).filter(|_| is_program)?;
    let size = block.p_memsz(LE).checked_next_multiple_of(block.p_align(LE).max(1))?;
    // The program's block ends where the thread pointer points to.
    Some((Access::Program(size.checked_sub(symbol.st_value.get(LE))?), first))
}

/// What the dynamic linker made of it in the process; `bias` is where the file's address 0 is.
fn resolve(access: Access, bias: u64, entry: u64, memory: &impl Memory) -> Option<ThreadSlot> {
    let read = |address: u64| word(memory, bias.wrapping_add(address));
    // Static blocks are below the thread pointer.
    let is_below = |offset: &u64| (1..BLOCK_MAX).contains(&offset.wrapping_neg());
    let fixed = |offset: u64| Some(offset).filter(is_below).map(|offset| ThreadSlot { offset, module: 0, entry });
    let in_module = |module: u64, offset: u64| {
        let is_one = (1..MODULES_MAX).contains(&module) && offset < BLOCK_MAX;
        is_one.then_some(ThreadSlot { offset, module, entry })
    };
    match access {
        Access::Program(before) => fixed(before.wrapping_neg()),
        Access::Offset(at) => fixed(read(at)?),
        Access::Module(at) => in_module(read(at)?, read(at.wrapping_add(8))?),
        Access::Descriptor(at) => {
            let argument = read(at.wrapping_add(8))?;
            fixed(argument).or_else(|| in_module(word(memory, argument)?, word(memory, argument.wrapping_add(8))?))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    impl Memory for HashMap<u64, u64> {
        fn read(&self, address: u64, into: &mut [u8]) -> bool {
            self.get(&address).is_some_and(|word| {
                into.copy_from_slice(&word.to_ne_bytes());
                true
            })
        }
    }

    const BIAS: u64 = 0x7000_0000;
    const BELOW: u64 = 0u64.wrapping_sub(0x20);

    fn resolved(access: Access, words: &[(u64, u64)]) -> Option<ThreadSlot> {
        resolve(access, BIAS, ENTRY_GLIBC, &words.iter().copied().collect::<HashMap<_, _>>())
    }

    #[test]
    fn each_way_to_reach_it_is_followed() {
        let fixed = Some(ThreadSlot { offset: BELOW, module: 0, entry: 16 });
        let in_module = Some(ThreadSlot { offset: 8, module: 3, entry: 16 });
        let at = BIAS + 0x100;
        assert_eq!(resolved(Access::Program(0x20), &[]), fixed);
        assert_eq!(resolved(Access::Offset(0x100), &[(at, BELOW)]), fixed);
        assert_eq!(resolved(Access::Module(0x100), &[(at, 3), (at + 8, 8)]), in_module);
        assert_eq!(resolved(Access::Descriptor(0x100), &[(at, 1), (at + 8, BELOW)]), fixed);
        let dynamic = [(at, 1), (at + 8, 0x9000), (0x9000, 3), (0x9008, 8)];
        assert_eq!(resolved(Access::Descriptor(0x100), &dynamic), in_module);
    }

    #[test]
    fn what_can_be_no_place_of_it_is_none() {
        let at = BIAS + 0x100;
        assert_eq!(resolved(Access::Program(0), &[]), None);
        assert_eq!(resolved(Access::Program(u64::MAX), &[]), None);
        assert_eq!(resolved(Access::Offset(0x100), &[]), None, "unreadable");
        assert_eq!(resolved(Access::Offset(0x100), &[(at, 0x20)]), None, "above the thread pointer");
        assert_eq!(resolved(Access::Module(0x100), &[(at, 0), (at + 8, 8)]), None, "no module");
        assert_eq!(resolved(Access::Module(0x100), &[(at, u64::MAX), (at + 8, 8)]), None);
        // A descriptor that was not resolved yet points to its relocation.
        let lazy = [(at, 1), (at + 8, 0x9000), (0x9000, 0x100), (0x9008, 5 << 32 | 0x24)];
        assert_eq!(resolved(Access::Descriptor(0x100), &lazy), None);
        assert_eq!(resolved(Access::Descriptor(u64::MAX), &[]), None, "no overflow");
    }

    #[test]
    fn a_file_without_it_has_no_access() {
        let own = File::open(std::env::current_exe().expect("known")).expect("it is there");
        assert_eq!(access(&own, true), None);
        let text = File::open(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")).expect("it is there");
        assert_eq!(access(&text, true), None);
    }
}
