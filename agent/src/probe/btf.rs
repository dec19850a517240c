//! The kernel's own type information (BTF): where members of structures lie, what enumerators are worth, which
//! parameters functions have. It reads the bytes it is given and nothing else.
//!
//! The format is `include/uapi/linux/btf.h`: a header, then type descriptions one after another, each with a tail whose
//! size depends on its kind, then strings.

use std::fs;

/// Where the running kernel tells its types.
pub const VMLINUX: &str = "/sys/kernel/btf/vmlinux";

const MAGIC: u16 = 0xeb9f;
/// How deep anonymous members and modifiers are followed: more is no kernel's, but a loop.
const DEPTH: u32 = 16;

const PTR: u8 = 2;
const ARRAY: u8 = 3;
const STRUCT: u8 = 4;
const UNION: u8 = 5;
const ENUM: u8 = 6;
const TYPEDEF: u8 = 8;
const VOLATILE: u8 = 9;
const CONST: u8 = 10;
const RESTRICT: u8 = 11;
const FUNC: u8 = 12;
const FUNC_PROTO: u8 = 13;
const TYPE_TAG: u8 = 18;
const ENUM64: u8 = 19;

/// Why type information can't be used.
#[derive(Debug, thiserror::Error)]
pub enum BtfError {
    /// It can't be read.
    #[error("{VMLINUX}: {0}; the kernel needs CONFIG_DEBUG_INFO_BTF")]
    Read(std::io::Error),
    /// It is no BTF, or one with kinds of types that are not known here.
    #[error("{VMLINUX} is not understood: {0}")]
    Format(String),
    /// A structure, member or function that nothing works without is not in it.
    #[error("{VMLINUX} has no {0}")]
    Missing(String),
}

/// Where a member lies in its structure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// Bits from the structure's beginning.
    pub bit: u32,
    /// Bits of a bit field; 0 for what is none.
    pub bits: u32,
    /// Size in bytes of what it is declared as; 0 where that is not told.
    pub size: u32,
    id: u32,
}

impl Field {
    /// Bytes from the structure's beginning; nothing for bit fields.
    pub fn offset(&self) -> Option<u32> {
        (self.bits == 0 && self.bit.is_multiple_of(8)).then_some(self.bit / 8)
    }
}

/// Type information.
pub struct Btf {
    data: Vec<u8>,
    strings: usize,
    strings_end: usize,
    /// Where in `data` each type is; the first is `void`.
    types: Vec<u32>,
    /// What has a name: kind, the name's offset among the strings, type. Sorted; a name may have several.
    names: Vec<(Named, u32, u32)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Named {
    Structure,
    Enumeration,
    Function,
}

/// The common part of a type.
struct Type {
    name: u32,
    kind: u8,
    members: u32,
    has_bit_fields: bool,
    /// Size, or the type that it refers to, by kind.
    operand: u32,
    tail: usize,
}

impl Btf {
    /// Reads that of the running kernel.
    pub fn of_kernel() -> Result<Self, BtfError> {
        Self::parse(fs::read(VMLINUX).map_err(BtfError::Read)?)
    }

    /// Takes the bytes apart.
    pub fn parse(data: Vec<u8>) -> Result<Self, BtfError> {
        let format = |what: &str| BtfError::Format(what.to_owned());
        let mut btf = Self { data, strings: 0, strings_end: 0, types: vec![0], names: Vec::new() };
        let magic = btf.u16(0).ok_or_else(|| format("too short"))?;
        if magic != MAGIC {
            return Err(BtfError::Format(format!("it begins with {magic:#06x}, not {MAGIC:#06x}")));
        }
        let field = |at: usize| btf.u32(at).map(|value| value as usize).ok_or_else(|| format("too short"));
        let (header, types, types_len) = (field(4)?, field(8)?, field(12)?);
        let (strings, strings_len) = (field(16)?, field(20)?);
        let sum = |parts: &[usize]| parts.iter().try_fold(0usize, |sum, part| sum.checked_add(*part));
        let bounds = sum(&[header, types, types_len]).zip(sum(&[header, strings, strings_len]));
        let (end, strings_end) = bounds.ok_or_else(|| format("bounds that overflow"))?;
        if end > btf.data.len() || strings_end > btf.data.len() {
            return Err(format("sections beyond the end"));
        }
        btf.strings = header + strings;
        btf.strings_end = strings_end;
        btf.index(header + types, end)?;
        Ok(btf)
    }

    fn index(&mut self, mut at: usize, end: usize) -> Result<(), BtfError> {
        while at < end {
            let read = self.type_at(at).ok_or_else(|| BtfError::Format("a type beyond the end".into()))?;
            let id = self.types.len() as u32;
            self.types.push(at as u32);
            let named = match read.kind {
                STRUCT | UNION => Some(Named::Structure),
                ENUM | ENUM64 => Some(Named::Enumeration),
                FUNC => Some(Named::Function),
                _ => None,
            };
            if let Some(named) = named
                && read.name != 0
            {
                self.names.push((named, read.name, id));
            }
            at = read.tail + tail_size(read.kind, read.members)?;
        }
        self.names.sort_unstable();
        Ok(())
    }

    fn u16(&self, at: usize) -> Option<u16> {
        self.data.get(at..at.checked_add(2)?)?.try_into().ok().map(u16::from_ne_bytes)
    }

    fn u32(&self, at: usize) -> Option<u32> {
        self.data.get(at..at.checked_add(4)?)?.try_into().ok().map(u32::from_ne_bytes)
    }

    fn string(&self, offset: u32) -> Option<&str> {
        let rest = self.data.get(self.strings.checked_add(offset as usize)?..self.strings_end)?;
        let len = rest.iter().position(|&byte| byte == 0)?;
        std::str::from_utf8(&rest[..len]).ok()
    }

    fn type_at(&self, at: usize) -> Option<Type> {
        let info = self.u32(at + 4)?;
        Some(Type {
            name: self.u32(at)?,
            kind: (info >> 24 & 0x1f) as u8,
            members: info & 0xffff,
            has_bit_fields: info >> 31 != 0,
            operand: self.u32(at + 8)?,
            tail: at + 12,
        })
    }

    fn type_of(&self, id: u32) -> Option<Type> {
        let at = *self.types.get(id as usize)?;
        if id == 0 { None } else { self.type_at(at as usize) }
    }

    /// The type behind typedefs and qualifiers.
    fn bare(&self, mut id: u32) -> Option<Type> {
        for _ in 0..DEPTH {
            let read = self.type_of(id)?;
            if !matches!(read.kind, TYPEDEF | VOLATILE | CONST | RESTRICT | TYPE_TAG) {
                return Some(read);
            }
            id = read.operand;
        }
        None
    }

    /// The types of a kind that have a name.
    fn named(&self, named: Named, name: &str) -> Vec<u32> {
        let strings = self.data.get(self.strings..self.strings_end).unwrap_or_default();
        let ended = format!("\0{name}\0");
        let places = memchr::memmem::find_iter(strings, ended.as_bytes()).map(|at| at as u32 + 1);
        let ids = places.flat_map(|offset| {
            let from = self.names.partition_point(|&(kind, at, _)| (kind, at) < (named, offset));
            self.names[from..].iter().take_while(move |&&(kind, at, _)| (kind, at) == (named, offset))
        });
        ids.map(|&(_, _, id)| id).collect()
    }

    /// A member of a structure or union: names joined by dots; `name[0]` is an array's first element. Members of
    /// anonymous structures and unions count as the structure's own.
    pub fn field(&self, structure: &str, path: &str) -> Option<Field> {
        self.named(Named::Structure, structure).into_iter().find_map(|id| self.follow(id, path))
    }

    fn follow(&self, structure: u32, path: &str) -> Option<Field> {
        let mut place = Field { bit: 0, bits: 0, size: 0, id: structure };
        for part in path.split('.') {
            let (name, is_element) = part.strip_suffix("[0]").map_or((part, false), |name| (name, true));
            let found = self.member(place.id, name, DEPTH)?;
            place = Field { bit: place.bit.checked_add(found.bit)?, ..found };
            if is_element {
                let array = self.bare(place.id).filter(|array| array.kind == ARRAY)?;
                place.id = self.u32(array.tail)?;
                place.size = self.size(place.id);
            }
        }
        Some(place)
    }

    fn member(&self, structure: u32, name: &str, depth: u32) -> Option<Field> {
        let read = self.bare(structure)?;
        if !matches!(read.kind, STRUCT | UNION) || depth == 0 {
            return None;
        }
        (0..read.members as usize).find_map(|n| {
            let at = read.tail + 12 * n;
            let (member, id, place) = (self.string(self.u32(at)?)?, self.u32(at + 4)?, self.u32(at + 8)?);
            let (bit, bits) = if read.has_bit_fields { (place & 0x00ff_ffff, place >> 24) } else { (place, 0) };
            if member == name {
                return Some(Field { bit, bits, size: self.size(id), id });
            }
            if !member.is_empty() {
                return None;
            }
            let inner = self.member(id, name, depth - 1)?;
            Some(Field { bit: bit.checked_add(inner.bit)?, ..inner })
        })
    }

    /// Size in bytes, or 0 where it is not told.
    fn size(&self, id: u32) -> u32 {
        match self.bare(id) {
            Some(read) if read.kind == PTR => 8,
            Some(read) if read.kind == ARRAY => {
                let element = self.u32(read.tail).map_or(0, |id| self.size(id));
                element.saturating_mul(self.u32(read.tail + 8).unwrap_or(0))
            }
            Some(read) if matches!(read.kind, FUNC | FUNC_PROTO) => 0,
            Some(read) => read.operand,
            None => 0,
        }
    }

    /// The value of an enumerator, as the lower 32 bits.
    pub fn enumerator(&self, enumeration: &str, name: &str) -> Option<u32> {
        self.named(Named::Enumeration, enumeration).into_iter().find_map(|id| {
            let read = self.type_of(id)?;
            let step = if read.kind == ENUM64 { 12 } else { 8 };
            (0..read.members as usize).find_map(|n| {
                let at = read.tail + step * n;
                (self.string(self.u32(at)?)? == name).then(|| self.u32(at + 4))?
            })
        })
    }

    /// The names of a function's parameters.
    pub fn parameters(&self, function: &str) -> Option<Vec<&str>> {
        self.named(Named::Function, function).into_iter().find_map(|id| {
            let proto = self.type_of(self.type_of(id)?.operand).filter(|proto| proto.kind == FUNC_PROTO)?;
            (0..proto.members as usize).map(|n| self.string(self.u32(proto.tail + 8 * n)?)).collect()
        })
    }
}

/// Bytes behind the common part of a type.
fn tail_size(kind: u8, members: u32) -> Result<usize, BtfError> {
    const INT: u8 = 1;
    const FWD: u8 = 7;
    const VAR: u8 = 14;
    const DATASEC: u8 = 15;
    const FLOAT: u8 = 16;
    const DECL_TAG: u8 = 17;
    let members = members as usize;
    Ok(match kind {
        PTR | FWD | TYPEDEF | VOLATILE | CONST | RESTRICT | FUNC | FLOAT | TYPE_TAG => 0,
        INT | VAR | DECL_TAG => 4,
        ARRAY => 12,
        STRUCT | UNION | DATASEC | ENUM64 => 12 * members,
        ENUM | FUNC_PROTO => 8 * members,
        kind => return Err(BtfError::Format(format!("kind {kind} of types is not known"))),
    })
}

#[cfg(test)]
mod tests;
