//! Symbols by their names, through the table that the dynamic linker uses (`.gnu.hash`): of a table of a hundred thousand
//! only those that are asked for are read.

use object::elf;

use super::{Image, Refusal, Section, Symbol, symbols};

/// Symbols of one bucket that are looked at, at most.
const CHAIN_MAX: u64 = 1024;
/// Bytes of the table's head, of a word of its filter, and of its other words.
const HEAD: u64 = 16;
const FILTER_WORD: u64 = 8;
const WORD: u64 = 4;

impl Image<'_> {
    /// Calls `each` for those of the dynamic symbols that have one of the names. `Ok(false)` if there is no such table.
    pub(in crate::tls) fn named(
        &self,
        names: impl Iterator<Item = &'static str>,
        mut each: impl FnMut(Symbol<'_>),
    ) -> Result<bool, Refusal> {
        let Some(table) = Table::of(self)? else { return Ok(false) };
        for name in names {
            table.find(name.as_bytes(), &mut each)?;
        }
        Ok(true)
    }

    /// The dynamic symbols' names, unless they are longer than that.
    pub(in crate::tls) fn dynamic_names(&self, most: u64) -> Option<Vec<u8>> {
        let symbols = self.sections.iter().find(|section| section.kind == elf::SHT_DYNSYM)?;
        let names = self.sections.get(symbols.link as usize).filter(|names| names.size <= most)?;
        self.read(names.offset, names.size).ok()
    }

    fn u32_at(&self, offset: u64) -> Result<u32, Refusal> {
        let bytes = self.read(offset, WORD)?;
        Ok(bytes.first_chunk().map_or(0, |word| u32::from_le_bytes(*word)))
    }
}

struct Table<'i, 's> {
    image: &'i Image<'s>,
    symbols: &'i Section,
    names: &'i Section,
    buckets: u64,
    /// Number of the first symbol that is in the table.
    first: u64,
    /// Where in the file the buckets are, and the symbols' hash values.
    buckets_at: u64,
    values_at: u64,
}

impl<'i, 's> Table<'i, 's> {
    fn of(image: &'i Image<'s>) -> Result<Option<Self>, Refusal> {
        let section = |kind: u32| image.sections.iter().find(|section| section.kind == kind);
        let (Some(hash), Some(symbols)) = (section(elf::SHT_GNU_HASH), section(elf::SHT_DYNSYM)) else {
            return Ok(None);
        };
        let Some(names) = image.sections.get(symbols.link as usize) else { return Ok(None) };
        let [buckets, first, filter] = [0, WORD, 2 * WORD].map(|at| image.u32_at(hash.offset.saturating_add(at)));
        let (buckets, first, filter) = (u64::from(buckets?), u64::from(first?), u64::from(filter?));
        if buckets == 0 {
            return Ok(None);
        }
        let buckets_at = hash.offset.saturating_add(HEAD + filter * FILTER_WORD);
        let values_at = buckets_at.saturating_add(buckets * WORD);
        Ok(Some(Self { image, symbols, names, buckets, first, buckets_at, values_at }))
    }

    fn find(&self, name: &[u8], each: &mut impl FnMut(Symbol<'_>)) -> Result<(), Refusal> {
        let hash = hash(name);
        let bucket = self.image.u32_at(self.buckets_at.saturating_add(u64::from(hash) % self.buckets * WORD))?;
        let Some(begin) = u64::from(bucket).checked_sub(self.first) else { return Ok(()) };
        for at in begin..begin + CHAIN_MAX {
            let value = self.image.u32_at(self.values_at.saturating_add(at * WORD))?;
            if value | 1 == hash | 1 {
                self.take(self.first + at, name, each)?;
            }
            // The lowest bit marks the last one of a bucket.
            if value & 1 == 1 {
                break;
            }
        }
        Ok(())
    }

    /// Tells of a symbol, if it has the name.
    fn take(&self, number: u64, name: &[u8], each: &mut impl FnMut(Symbol<'_>)) -> Result<(), Refusal> {
        let size = symbols::SYMBOL as u64;
        let raw = self.image.read(self.symbols.offset.saturating_add(number * size), size)?;
        let Some(entry) = raw.first_chunk().and_then(symbols::Entry::of) else { return Ok(()) };
        let there = self.image.read(self.names.offset.saturating_add(entry.name), name.len() as u64 + 1)?;
        if there.strip_prefix(name) == Some(&[0]) {
            each(entry.named(name));
        }
        Ok(())
    }
}

/// The hash function of `.gnu.hash`.
fn hash(name: &[u8]) -> u32 {
    name.iter().fold(5381, |hash: u32, byte| hash.wrapping_mul(33).wrapping_add(u32::from(*byte)))
}

#[cfg(test)]
mod tests {
    use super::hash;

    #[test]
    fn the_hash_is_the_dynamic_linkers() {
        // As the linkers' documentation has it for these names.
        for (name, expected) in
            [("", 0x0000_1505), ("printf", 0x156b_2bb8), ("exit", 0x7c96_7e3f), ("syscall", 0xbac2_12a0)]
        {
            assert_eq!(hash(name.as_bytes()), expected, "{name:?}");
        }
    }
}
