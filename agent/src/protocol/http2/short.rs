//! Payloads that are short and matter: `RST_STREAM`, SETTINGS, GOAWAY.

use super::frame::{Head, Kind, settings};
use crate::protocol::Chunk;

/// Bytes kept of such a payload; parameters of SETTINGS beyond are passed over.
const KEPT_MAX: usize = 32 * 6;

/// A payload in the making.
#[derive(Debug)]
pub(super) struct Short {
    head: Head,
    left: u32,
    bytes: Vec<u8>,
    /// What follows was not given, or lies beyond the bound.
    broken: bool,
}

impl Short {
    pub(super) const fn new(head: &Head) -> Self {
        Self { head: *head, left: head.length, bytes: Vec::new(), broken: false }
    }

    pub(super) const fn left(&self) -> u32 {
        self.left
    }

    /// How many of its bytes have passed.
    pub(super) const fn passed(&self) -> u32 {
        self.head.length - self.left
    }

    pub(super) const fn kind(&self) -> Kind {
        self.head.kind
    }

    pub(super) const fn stream(&self) -> u32 {
        self.head.stream
    }

    /// Takes the next bytes, no more than are left.
    pub(super) fn push(&mut self, chunk: Chunk<'_>) {
        self.left = self.left.saturating_sub(super::run::length(chunk) as u32);
        match chunk {
            Chunk::Copied(bytes) if !self.broken => {
                let room = KEPT_MAX - self.bytes.len();
                self.bytes.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
                self.broken = bytes.len() > room;
            }
            _ => self.broken = true,
        }
    }

    /// The 32-bit number at this place, if it was seen.
    pub(super) fn word(&self, at: usize) -> Option<u32> {
        self.bytes.get(at..)?.first_chunk().map(|word| u32::from_be_bytes(*word))
    }

    /// The parameters of SETTINGS that were seen.
    pub(super) fn settings(&self) -> Vec<(u16, u32)> {
        settings(&self.bytes).collect()
    }
}
