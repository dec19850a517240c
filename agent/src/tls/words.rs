//! The 64-bit words that a program has in its data once it is loaded: as they are in the file, or as the dynamic linker
//! writes them by relative relocations.

use std::ops::ControlFlow;

use object::elf;
use rustc_hash::FxHashMap;

use crate::tls::{
    Refusal,
    image::{Image, Machine, Region},
};

/// Bytes of relocations at most.
const RELOCATIONS_MAX: u64 = 128 << 20;
/// Places of one word at most; more are no pointers to one function or table.
const PLACES_MAX: usize = 4096;
/// Bytes of a relocation (`Elf64_Rela`).
const RELOCATION: usize = 24;

/// Words of a program.
pub(super) struct Words<'i, 's> {
    image: &'i Image<'s>,
    /// What relative relocations write, by address.
    relocated: FxHashMap<u64, u64>,
}

impl<'i, 's> Words<'i, 's> {
    /// Reads the relocations.
    pub(super) fn read(image: &'i Image<'s>) -> Result<Self, Refusal> {
        let relative = match image.machine {
            Machine::X86_64 => elf::R_X86_64_RELATIVE,
            Machine::Aarch64 => elf::R_AARCH64_RELATIVE,
        };
        let mut relocated = FxHashMap::default();
        for section in image.loaded_relocations() {
            if section.size > RELOCATIONS_MAX {
                return Err(Refusal::TooLarge("its relocations"));
            }
            let bytes = image.read(section.offset, section.size)?;
            for entry in bytes.as_chunks::<RELOCATION>().0 {
                let (words, _) = entry.as_chunks::<8>();
                let [place, info, addend] = words else { continue };
                if u64::from_le_bytes(*info) & 0xffff_ffff == u64::from(relative) {
                    relocated.insert(u64::from_le_bytes(*place), u64::from_le_bytes(*addend));
                }
            }
        }
        Ok(Self { image, relocated })
    }

    /// The word at an address.
    pub(super) fn at(&self, address: u64) -> Option<u64> {
        if let Some(word) = self.relocated.get(&address) {
            return Some(*word);
        }
        let bytes = self.image.read_address(address, 8).ok()?;
        Some(u64::from_le_bytes(bytes.try_into().ok()?))
    }

    /// Addresses in data that hold `word`, rising, each once.
    pub(super) fn find(&self, word: u64) -> Result<Vec<u64>, Refusal> {
        let relocated = self.relocated.iter().filter(|(_, value)| **value == word);
        let mut places: Vec<u64> = relocated.map(|(place, _)| *place).take(PLACES_MAX).collect();
        let bytes = word.to_le_bytes();
        for segment in self.image.segments.iter().filter(|segment| !segment.executable) {
            let region = Region { offset: segment.offset, size: segment.size };
            self.image.scan(&[region], 0, |offset, piece| {
                let skipped = offset.saturating_sub(segment.offset);
                for (index, found) in (0u64..).zip(piece.as_chunks::<8>().0) {
                    if *found == bytes {
                        places.push(segment.address.saturating_add(skipped + index * 8));
                    }
                    if places.len() >= PLACES_MAX {
                        return ControlFlow::Break(());
                    }
                }
                ControlFlow::Continue(())
            })?;
        }
        places.sort_unstable();
        places.dedup();
        Ok(places)
    }
}
