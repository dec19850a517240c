//! A file's symbol tables, read a piece at a time: the names first, then the symbols that have one of those wanted.

use object::elf;

use super::{Image, Refusal, Section, names::Names};

/// Symbols of one table that are read at most.
pub const SYMBOLS_MAX: u64 = 8 << 20;
/// Bytes of one table's names at most.
pub const STRINGS_MAX: u64 = 256 << 20;
/// Bytes of a symbol (`Elf64_Sym`).
pub(super) const SYMBOL: usize = 24;
/// Symbols that are read at once.
const PIECE: u64 = 1 << 13;

/// Which table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::tls) enum Table {
    /// `.dynsym`
    Dynamic,
    /// `.symtab`
    Full,
}

/// What a symbol names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::tls) enum Kind {
    Function,
    Other,
}

/// A symbol that this file defines.
#[derive(Clone, Copy, Debug)]
pub(in crate::tls) struct Symbol<'n> {
    /// Its name, without the version that may follow an `@`.
    pub(in crate::tls) name: &'n [u8],
    pub(in crate::tls) kind: Kind,
    pub(in crate::tls) address: u64,
    /// 0 where it is not told.
    pub(in crate::tls) size: u64,
}

impl Image<'_> {
    /// Calls `each` for the symbols of a table whose names have one of the needles in them. Gives those names, whether
    /// they are symbols' of this file or not; none where there is no such table.
    pub(in crate::tls) fn symbols(
        &self,
        table: Table,
        needles: &[&[u8]],
        mut each: impl FnMut(Symbol<'_>),
    ) -> Result<Names, Refusal> {
        let kind = if table == Table::Dynamic { elf::SHT_DYNSYM } else { elf::SHT_SYMTAB };
        let Some(section) = self.sections.iter().find(|section| section.kind == kind) else {
            return Ok(Names::default());
        };
        let names = self.sections.get(section.link as usize).ok_or(Refusal::Damaged("a symbol table without names"))?;
        if names.size > STRINGS_MAX || section.size / SYMBOL as u64 > SYMBOLS_MAX {
            return Err(Refusal::TooLarge("its symbol table"));
        }
        let names = Names::search(self, names, needles)?;
        if !names.is_empty() {
            self.each_symbol(section, &names, &mut each)?;
        }
        Ok(names)
    }

    fn each_symbol(&self, section: &Section, names: &Names, each: &mut impl FnMut(Symbol<'_>)) -> Result<(), Refusal> {
        let mut at = 0;
        while at < section.size {
            let size = (PIECE * SYMBOL as u64).min(section.size - at);
            let offset = section.offset.checked_add(at).ok_or(Refusal::Damaged("a symbol table beyond its end"))?;
            let piece = self.read(offset, size)?;
            for raw in piece.as_chunks::<SYMBOL>().0 {
                // The name first: nearly all are none that is looked for.
                let [n0, n1, n2, n3, ..] = *raw;
                if let Some(name) = names.of(u64::from(u32::from_le_bytes([n0, n1, n2, n3])))
                    && let Some(entry) = Entry::of(raw)
                {
                    let end = memchr::memchr(b'@', name).unwrap_or(name.len());
                    each(entry.named(name.get(..end).unwrap_or_default()));
                }
            }
            at += size;
        }
        Ok(())
    }
}

/// A symbol that this file defines, without its name.
pub(super) struct Entry {
    /// Where among the names it begins.
    pub(super) name: u64,
    kind: Kind,
    address: u64,
    size: u64,
}

impl Entry {
    pub(super) fn of(raw: &[u8; SYMBOL]) -> Option<Self> {
        let [n0, n1, n2, n3, info, _other, s0, s1, rest @ ..] = *raw;
        let kind = match info & 0xf {
            elf::STT_FUNC => Kind::Function,
            elf::STT_OBJECT | elf::STT_NOTYPE => Kind::Other,
            _ => return None,
        };
        if u16::from_le_bytes([s0, s1]) == elf::SHN_UNDEF {
            return None;
        }
        let ([address, size], _) = rest.as_chunks::<8>() else { return None };
        let name = u64::from(u32::from_le_bytes([n0, n1, n2, n3]));
        Some(Self { name, kind, address: u64::from_le_bytes(*address), size: u64::from_le_bytes(*size) })
    }

    pub(super) fn named(self, name: &[u8]) -> Symbol<'_> {
        let Self { name: _, kind, address, size } = self;
        Symbol { name, kind, address, size }
    }
}
