//! Parts of chunks.

use crate::protocol::{Chunk, Incomplete};

/// Bytes of a chunk.
pub(super) const fn length(chunk: Chunk<'_>) -> u64 {
    match chunk {
        Chunk::Copied(bytes) => bytes.len() as u64,
        Chunk::Skipped(n) | Chunk::Cut(n) | Chunk::Lost(n) => n,
    }
}

/// Whether nothing is left of a chunk.
pub(super) const fn is_empty(chunk: Chunk<'_>) -> bool {
    length(chunk) == 0
}

/// Takes up to `n` bytes off the front of a chunk. What is left of one that was taken as a whole is an empty
/// [`Chunk::Copied`], so that it is never [`Chunk::Lost`] of an unknown number.
pub(super) fn take<'a>(rest: &mut Chunk<'a>, n: u64) -> Chunk<'a> {
    let n = n.min(length(*rest));
    let (taken, left) = match *rest {
        Chunk::Copied(bytes) => {
            let (taken, left) = bytes.split_at_checked(n as usize).unwrap_or((bytes, &[]));
            (Chunk::Copied(taken), Chunk::Copied(left))
        }
        Chunk::Skipped(all) => (Chunk::Skipped(n), Chunk::Skipped(all - n)),
        Chunk::Cut(all) => (Chunk::Cut(n), Chunk::Cut(all - n)),
        Chunk::Lost(all) => (Chunk::Lost(n), Chunk::Lost(all - n)),
    };
    *rest = if is_empty(left) { Chunk::Copied(&[]) } else { left };
    taken
}

/// Why the bytes that a chunk does not give are missing.
pub(super) const fn missing(chunk: Chunk<'_>) -> Incomplete {
    match chunk {
        Chunk::Lost(_) => Incomplete::Lost,
        Chunk::Copied(_) | Chunk::Skipped(_) | Chunk::Cut(_) => Incomplete::Cut,
    }
}
