//! Searching parts of a file for bytes, a piece at a time.

use std::ops::ControlFlow;

use super::{Image, Refusal};

/// Bytes of a file that one search goes through at most: what lies behind is not found.
pub const SEARCH_MAX: u64 = 256 << 20;
/// Bytes that are read at once.
const PIECE: u64 = 1 << 20;

/// Part of a file.
#[derive(Clone, Copy, Debug)]
pub(in crate::tls) struct Region {
    pub(in crate::tls) offset: u64,
    pub(in crate::tls) size: u64,
}

impl Image<'_> {
    /// Where constants are: the sections `.rodata*`, else what is loaded and can't be written to.
    pub(in crate::tls) fn constants(&self) -> Vec<Region> {
        let sections = self.sections.iter().filter(|section| section.name.starts_with(b".rodata"));
        let regions: Vec<_> = sections.map(|section| Region { offset: section.offset, size: section.size }).collect();
        if !regions.is_empty() {
            return regions;
        }
        let segments = self.segments.iter().filter(|segment| !segment.writable);
        segments.map(|segment| Region { offset: segment.offset, size: segment.size }).collect()
    }

    /// Calls `each` with pieces of the regions, and where in the file each piece begins. A piece repeats the last
    /// `overlap` bytes of the one before.
    pub(in crate::tls) fn scan(
        &self,
        regions: &[Region],
        overlap: u64,
        mut each: impl FnMut(u64, &[u8]) -> ControlFlow<()>,
    ) -> Result<(), Refusal> {
        let mut left = SEARCH_MAX;
        for region in regions {
            let end = region.offset.saturating_add(region.size.min(left));
            left -= region.size.min(left);
            let mut at = region.offset;
            while at < end {
                let piece = self.read(at, (PIECE + overlap).min(end - at))?;
                if each(at, &piece).is_break() {
                    return Ok(());
                }
                at += PIECE;
            }
        }
        Ok(())
    }
}
