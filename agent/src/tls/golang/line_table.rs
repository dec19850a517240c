//! The table that Go's runtime needs for stack traces, which no stripping removes (`runtime/symtab.go`,
//! `debug/gosym/pclntab.go`): where each function begins, by name.
//!
//! It begins with a magic number that tells the layout (1.16, 1.18, 1.20), then counts and the offsets of its parts.
//! Functions are sorted by address, so that one ends at most where the next begins. Since 1.18 addresses count from where
//! Go's code begins. That is in the header up to 1.25 and, because a position-independent program would have to relocate
//! it there, in the `moduledata` alone since 1.26.

use rustc_hash::FxHashMap;

use super::Code;
use crate::tls::words::Words;
use crate::tls::{Refusal, image::Image};

/// Bytes of the table's parts that are read at most.
const TABLE_MAX: u64 = 256 << 20;
const MAGIC_116: u32 = 0xffff_fffa;
const MAGIC_118: u32 = 0xffff_fff0;
const MAGIC_120: u32 = 0xffff_fff1;
/// Bytes of the largest header.
const HEADER: u64 = 72;
/// The same, rounded up to the alignment of the parts.
const HEADER_ALIGNED: u64 = 128;
/// Where in a `moduledata` its pointers to the first function and to the beginning of the code are, in bytes, since 1.16.
const MODULE_MIN_PC: u64 = 160;
const MODULE_TEXT: u64 = 176;

const BROKEN: Refusal = Refusal::GoLineTable("its parts lie outside of it");

/// Functions by name.
#[derive(Debug)]
pub(super) struct LineTable {
    codes: FxHashMap<String, Code>,
}

/// Where the parts are, in bytes from the table's beginning.
#[derive(Clone, Copy, Debug)]
struct Header {
    /// Addresses in it are absolute, and eight bytes wide.
    absolute: bool,
    functions: u64,
    text: u64,
    names: u64,
    names_end: u64,
    entries: u64,
}

/// Where the table is.
struct Place {
    offset: u64,
    address: u64,
    size: u64,
}

impl LineTable {
    /// Finds the functions of these names. `text` is where Go's code begins, if a symbol tells.
    pub(super) fn read(image: &Image<'_>, text: Option<u64>, wanted: &[&str]) -> Result<Self, Refusal> {
        let place = find(image)?.ok_or(Refusal::GoLineTable("there is none"))?;
        let header = Header::read(&image.read(place.offset, HEADER.min(place.size))?)?;
        let (names_size, entries_size) = header.sizes(place.size).ok_or(BROKEN)?;
        if names_size > TABLE_MAX || entries_size > TABLE_MAX {
            return Err(Refusal::TooLarge("its line table"));
        }
        let names = image.read(place.offset + header.names, names_size)?;
        let names = offsets(&names, wanted);
        let mut table = Self { codes: FxHashMap::default() };
        if names.is_empty() {
            return Ok(table);
        }
        let entries = Entries { header, bytes: &image.read(place.offset + header.entries, entries_size)? };
        let text = entries.text(image, &place, text)?;
        for index in 0..header.functions {
            let (start, name) = entries.function(index).ok_or(BROKEN)?;
            let Some(name) = names.get(&name) else { continue };
            let end = entries.start(index + 1).ok_or(BROKEN)?;
            let size = end.checked_sub(start).ok_or(Refusal::GoLineTable("its functions are not sorted"))?;
            let address = start.checked_add(text).ok_or(BROKEN)?;
            table.codes.insert((*name).to_owned(), Code { address, size });
        }
        Ok(table)
    }

    /// Where a function is; its size includes the padding behind it.
    pub(super) fn code(&self, name: &str) -> Option<Code> {
        self.codes.get(name).copied()
    }
}

impl Header {
    fn read(bytes: &[u8]) -> Result<Self, Refusal> {
        let (Some(magic), Some(tail)) = (bytes.first_chunk::<4>(), bytes.get(8..)) else { return Err(BROKEN) };
        let word = |index: usize| {
            let word = tail.as_chunks::<8>().0.get(index).copied();
            word.map(u64::from_le_bytes).ok_or(BROKEN)
        };
        match (u32::from_le_bytes(*magic), bytes.get(7)) {
            (MAGIC_116, Some(8)) => Ok(Self {
                absolute: true,
                functions: word(0)?,
                text: 0,
                names: word(2)?,
                names_end: word(3)?,
                entries: word(6)?,
            }),
            (MAGIC_118 | MAGIC_120, Some(8)) => Ok(Self {
                absolute: false,
                functions: word(0)?,
                text: word(2)?,
                names: word(3)?,
                names_end: word(4)?,
                entries: word(7)?,
            }),
            _ => Err(Refusal::GoLineTable("an unknown layout")),
        }
    }

    /// Bytes of the names and of the entries in a table of `size` bytes.
    fn sizes(&self, size: u64) -> Option<(u64, u64)> {
        let names = self.names_end.min(size).checked_sub(self.names)?;
        Some((names, size.checked_sub(self.entries)?))
    }

    /// Bytes of an address in the list of functions; it is followed by as many with the place of the function's entry.
    fn width(&self) -> u64 {
        if self.absolute { 8 } else { 4 }
    }
}

/// The list of functions, and their entries behind it.
struct Entries<'b> {
    header: Header,
    bytes: &'b [u8],
}

impl Entries<'_> {
    /// Where a function begins; of the one behind the last: where that ends.
    fn start(&self, index: u64) -> Option<u64> {
        self.word(index.checked_mul(2)?)
    }

    /// Where a function begins, and where its name is among the names.
    fn function(&self, index: u64) -> Option<(u64, u32)> {
        let entry = self.word(index.checked_mul(2)?.checked_add(1)?)?;
        let name = usize::try_from(entry.checked_add(self.header.width())?).ok()?;
        Some((self.start(index)?, u32::from_le_bytes(*self.bytes.get(name..)?.first_chunk()?)))
    }

    fn word(&self, index: u64) -> Option<u64> {
        let width = self.header.width();
        let rest = self.bytes.get(usize::try_from(index.checked_mul(width)?).ok()?..)?;
        match width {
            8 => rest.first_chunk().map(|bytes| u64::from_le_bytes(*bytes)),
            _ => rest.first_chunk().map(|bytes| u64::from(u32::from_le_bytes(*bytes))),
        }
    }

    /// The address that function addresses count from.
    fn text(&self, image: &Image<'_>, place: &Place, symbol: Option<u64>) -> Result<u64, Refusal> {
        let known = [symbol.unwrap_or(0), self.header.text].into_iter().find(|text| *text != 0);
        if self.header.absolute {
            return Ok(0);
        }
        if let Some(text) = known {
            return Ok(text);
        }
        let words = Words::read(image)?;
        let first = self.start(0).ok_or(BROKEN)?;
        let modules = words.find(place.address)?;
        let texts = modules.into_iter().filter_map(|module| {
            let text = words.at(module.checked_add(MODULE_TEXT)?)?;
            let min_pc = words.at(module.checked_add(MODULE_MIN_PC)?)?;
            (text != 0 && text.checked_add(first) == Some(min_pc)).then_some(text)
        });
        { texts }.next().ok_or(Refusal::GoLineTable("where the code begins is not told"))
    }
}

/// Which of these names are there, by offset.
fn offsets<'w>(names: &[u8], wanted: &[&'w str]) -> FxHashMap<u32, &'w str> {
    let mut offsets = FxHashMap::default();
    for name in wanted {
        let needle = [b"\0", name.as_bytes(), b"\0"].concat();
        if let Some(at) = memchr::memmem::find(names, &needle) {
            offsets.insert(at as u32 + 1, *name);
        }
    }
    offsets
}

/// By its section's name; by its first bytes where there are no sections, or where a linker other than Go's made a
/// position-independent program and put it into `.data.rel.ro`.
fn find(image: &Image<'_>) -> Result<Option<Place>, Refusal> {
    let named = [b".gopclntab".as_slice(), b".data.rel.ro.gopclntab"].into_iter().find_map(|name| image.section(name));
    if let Some(section) = named {
        return Ok(Some(Place { offset: section.offset, address: section.address, size: section.size }));
    }
    for segment in &image.segments {
        let region = crate::tls::image::Region { offset: segment.offset, size: segment.size };
        let mut found = None;
        image.scan(&[region], HEADER, |offset, piece| {
            let address = segment.address.wrapping_add(offset.wrapping_sub(segment.offset));
            found = plausible(piece, address).map(|at| offset + at as u64);
            if found.is_some() { std::ops::ControlFlow::Break(()) } else { std::ops::ControlFlow::Continue(()) }
        })?;
        if let Some(offset) = found {
            let skipped = offset.saturating_sub(segment.offset);
            let address = segment.address.saturating_add(skipped);
            return Ok(Some(Place { offset, address, size: segment.size.saturating_sub(skipped) }));
        }
    }
    Ok(None)
}

/// Where a header may begin: the magic number, two zeros, the size of an instruction step and of a pointer, and parts in
/// their order. `address` is where the piece will be loaded.
fn plausible(piece: &[u8], address: u64) -> Option<usize> {
    let magics = memchr::memmem::find_iter(piece, b"\xff\xff\xff\0\0").filter_map(|at| at.checked_sub(1));
    { magics }.find(|at| {
        let Some(bytes) = piece.get(*at..) else { return false };
        let step = bytes.get(6).is_some_and(|step| matches!(step, 1 | 4));
        address.wrapping_add(*at as u64).is_multiple_of(16)
            && step
            && Header::read(bytes).is_ok_and(|header| {
                let ordered = header.names < header.names_end && header.names_end <= header.entries;
                ordered && header.functions > 0 && header.names <= HEADER_ALIGNED
            })
    })
}
