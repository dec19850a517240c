//! Response bytes that came before the request which says what they are. They are bounded, and given back in order.

use std::collections::VecDeque;

use bytes::Bytes;

use super::{HELD_BYTES_MAX, HELD_CHUNKS_MAX};
use crate::protocol::{Chunk, End, Stamp};

/// One thing that happened to the flow of responses.
#[derive(Debug)]
pub(super) enum Item {
    Copied(Stamp, Bytes),
    Skipped(Stamp, u64),
    Cut(Stamp, u64),
    Lost(Stamp, u64),
    End(End),
}

/// What is held, oldest first.
#[derive(Debug, Default)]
pub(super) struct Held {
    items: VecDeque<Item>,
    bytes: usize,
}

impl Held {
    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Takes a chunk; false if there is no room for it.
    pub(super) fn push(&mut self, stamp: &Stamp, chunk: Chunk<'_>) -> bool {
        let item = match chunk {
            Chunk::Copied(bytes) => {
                if self.bytes + bytes.len() > HELD_BYTES_MAX {
                    return false;
                }
                self.bytes += bytes.len();
                Item::Copied(*stamp, Bytes::copy_from_slice(bytes))
            }
            Chunk::Skipped(n) => Item::Skipped(*stamp, n),
            Chunk::Cut(n) => Item::Cut(*stamp, n),
            Chunk::Lost(n) => Item::Lost(*stamp, n),
        };
        if self.items.len() >= HELD_CHUNKS_MAX {
            return false;
        }
        self.items.push_back(item);
        true
    }

    /// Takes the flow's end; there is always room for it.
    pub(super) fn push_end(&mut self, end: End) {
        self.items.push_back(Item::End(end));
    }

    /// Bytes held.
    pub(super) fn kept(&self) -> usize {
        self.bytes
    }

    /// When the last of it moved, if any is held.
    pub(super) fn moved_ns(&self) -> Option<u64> {
        self.items.iter().rev().find_map(|item| match item {
            Item::Copied(stamp, _) | Item::Skipped(stamp, _) | Item::Cut(stamp, _) | Item::Lost(stamp, _) => {
                Some(stamp.end_ns)
            }
            Item::End(_) => None,
        })
    }

    /// Gives all of it back.
    pub(super) fn take(&mut self) -> VecDeque<Item> {
        self.bytes = 0;
        std::mem::take(&mut self.items)
    }

    /// Puts back what was not used, after what was held meanwhile.
    pub(super) fn put_back(&mut self, items: VecDeque<Item>) {
        for item in items {
            if let Item::Copied(_, bytes) = &item {
                self.bytes += bytes.len();
            }
            self.items.push_back(item);
        }
    }
}
