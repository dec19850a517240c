//! An ELF file, read piece by piece within bounds: where its segments and sections are, and what lies at an address. It
//! trusts no number in the file.

mod lookup;
mod names;
mod scan;
mod source;
mod symbols;

use std::cell::Cell;

use object::{
    LittleEndian as LE, elf,
    read::{
        ReadCache,
        elf::{FileHeader as _, ProgramHeader as _, SectionHeader as _},
    },
};

use super::Refusal;
use source::Cursor;

pub use names::NAMES_MAX;
pub use scan::SEARCH_MAX;
pub use source::Source;
pub use symbols::{STRINGS_MAX, SYMBOLS_MAX};

pub(super) use scan::Region;
pub(super) use symbols::{Kind, Symbol, Table};

/// The largest file that is looked at, in bytes.
pub const FILE_MAX: u64 = 4 << 30;
/// Bytes that are read of one file at most, all reads together.
pub const READ_MAX: u64 = 1 << 30;
/// Sections and segments of a file at most.
pub const SECTIONS_MAX: usize = 1 << 16;

/// A kind of processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Machine {
    X86_64,
    Aarch64,
}

/// A `PT_LOAD`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Segment {
    pub(super) address: u64,
    pub(super) offset: u64,
    /// Bytes in the file.
    pub(super) size: u64,
    pub(super) executable: bool,
    pub(super) writable: bool,
}

/// A section.
#[derive(Clone, Debug)]
pub(super) struct Section {
    pub(super) name: Vec<u8>,
    kind: u32,
    pub(super) address: u64,
    pub(super) offset: u64,
    pub(super) size: u64,
    link: u32,
}

/// An ELF file.
pub(super) struct Image<'s> {
    source: &'s dyn Source,
    /// Bytes that may still be read.
    left: Cell<u64>,
    pub(super) machine: Machine,
    pub(super) segments: Vec<Segment>,
    pub(super) sections: Vec<Section>,
}

impl<'s> Image<'s> {
    /// Reads the headers.
    pub(super) fn open(source: &'s dyn Source) -> Result<Self, Refusal> {
        let unreadable = |error: std::io::Error| Refusal::Unreadable(error.kind());
        let size = source.size().map_err(unreadable)?;
        if size > FILE_MAX {
            return Err(Refusal::TooLarge("the file"));
        }
        let mut magic = [0; 4];
        if size < 64 {
            return Err(Refusal::NotElf);
        }
        source.read_at(&mut magic, 0).map_err(unreadable)?;
        if magic != elf::ELFMAG {
            return Err(Refusal::NotElf);
        }
        let cache = ReadCache::new(Cursor::new(source, size));
        let damaged = |what| move |_| Refusal::Damaged(what);
        let mut ident = [0; 20];
        source.read_at(&mut ident, 0).map_err(unreadable)?;
        let kind = u16::from_le_bytes([ident[18], ident[19]]);
        if ident[4] != elf::ELFCLASS64 || ident[5] != elf::ELFDATA2LSB {
            return Err(Refusal::Architecture(kind));
        }
        let machine = match kind {
            elf::EM_X86_64 => Machine::X86_64,
            elf::EM_AARCH64 => Machine::Aarch64,
            other => return Err(Refusal::Architecture(other)),
        };
        let header = elf::FileHeader64::<LE>::parse(&cache).map_err(damaged("its header"))?;
        let phnum = header.phnum(LE, &cache).map_err(damaged("its program headers"))?;
        let shnum = header.shnum(LE, &cache).map_err(damaged("its section headers"))?;
        if phnum > SECTIONS_MAX || shnum > SECTIONS_MAX {
            return Err(Refusal::TooLarge("its sections"));
        }
        let segments = header.program_headers(LE, &cache).map_err(damaged("its program headers"))?;
        let segments = segments.iter().filter(|segment| segment.p_type(LE) == elf::PT_LOAD).map(|segment| Segment {
            address: segment.p_vaddr(LE),
            offset: segment.p_offset(LE),
            // What a truncated file lacks is not there.
            size: segment.p_filesz(LE).min(size.saturating_sub(segment.p_offset(LE))),
            executable: segment.p_flags(LE) & elf::PF_X != 0,
            writable: segment.p_flags(LE) & elf::PF_W != 0,
        });
        let table = header.sections(LE, &cache).map_err(damaged("its section headers"))?;
        let sections = table.iter().map(|section| Section {
            name: table.section_name(LE, section).unwrap_or_default().to_vec(),
            kind: section.sh_type(LE),
            address: section.sh_addr(LE),
            offset: section.sh_offset(LE),
            size: if section.sh_type(LE) == elf::SHT_NOBITS { 0 } else { section.sh_size(LE) },
            link: section.sh_link(LE),
        });
        let (segments, sections) = (segments.collect(), sections.collect());
        Ok(Self { source, left: Cell::new(READ_MAX), machine, segments, sections })
    }

    /// The section of that name.
    pub(super) fn section(&self, name: &[u8]) -> Option<&Section> {
        self.sections.iter().find(|section| section.name == name)
    }

    /// The relocations that the dynamic linker applies.
    pub(super) fn loaded_relocations(&self) -> impl Iterator<Item = &Section> {
        self.sections.iter().filter(|section| section.kind == elf::SHT_RELA && section.address != 0)
    }

    /// Where in the file an address lies, by the segments that are loaded.
    pub(super) fn offset(&self, address: u64) -> Option<u64> {
        self.segment(address).map(|segment| segment.offset + (address - segment.address))
    }

    /// Where in the file a machine instruction lies.
    pub(super) fn code(&self, address: u64) -> Option<u64> {
        self.segment(address).filter(|segment| segment.executable)?;
        self.offset(address)
    }

    /// `size` bytes from an offset.
    pub(super) fn read(&self, offset: u64, size: u64) -> Result<Vec<u8>, Refusal> {
        let left = self.left.get().checked_sub(size).ok_or(Refusal::TooLarge("what has to be read of it"))?;
        self.left.set(left);
        let end = offset.checked_add(size).ok_or(Refusal::Damaged("a table beyond its end"))?;
        if end > self.source.size().map_err(|error| Refusal::Unreadable(error.kind()))? {
            return Err(Refusal::Damaged("a table beyond its end"));
        }
        let mut bytes = vec![0; size as usize];
        match self.source.read_at(&mut bytes, offset) {
            Ok(()) => Ok(bytes),
            Err(error) => Err(Refusal::Unreadable(error.kind())),
        }
    }

    /// Up to `size` bytes from an address; fewer where its segment ends.
    pub(super) fn read_address(&self, address: u64, size: u64) -> Result<Vec<u8>, Refusal> {
        let segment = self.segment(address).ok_or(Refusal::Damaged("an address outside of it"))?;
        let skipped = address - segment.address;
        self.read(segment.offset + skipped, size.min(segment.size - skipped))
    }

    fn segment(&self, address: u64) -> Option<&Segment> {
        let within = |segment: &&Segment| address.checked_sub(segment.address).is_some_and(|at| at < segment.size);
        self.segments.iter().find(within)
    }
}
