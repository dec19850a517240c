//! A DATA frame's payload (RFC 9113, section 6.1): which of its bytes are the body's, and which are padding.

use super::{
    frame::{END_STREAM, Head, PADDED},
    run::{length, take},
};
use crate::protocol::Chunk;

/// Parts of a DATA frame's payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    PadLength,
    Body,
    Padding,
}

/// What is left of a DATA frame.
#[derive(Clone, Copy, Debug)]
pub(super) struct DataFrame {
    pub(super) stream: u32,
    ends_stream: bool,
    /// The length of the padding comes next.
    padded: bool,
    body: u32,
    padding: u32,
}

impl DataFrame {
    pub(super) const fn new(head: &Head) -> Self {
        Self {
            stream: head.stream,
            ends_stream: head.has(END_STREAM),
            padded: head.has(PADDED),
            body: head.length.saturating_sub(head.padding()),
            padding: 0,
        }
    }

    /// The last frame of its sender.
    pub(super) const fn ends_stream(&self) -> bool {
        self.ends_stream
    }

    /// What the next byte is.
    pub(super) const fn part(&self) -> Part {
        match self {
            Self { padded: true, .. } => Part::PadLength,
            Self { body: 0, .. } => Part::Padding,
            _ => Part::Body,
        }
    }

    pub(super) const fn is_over(&self) -> bool {
        !self.padded && self.body == 0 && self.padding == 0
    }

    /// Takes bytes of the frame off a chunk, of one part of it at a time: how many, and those of them that are the
    /// body's. Where the length of the padding was not given, padding counts as body.
    pub(super) fn take<'a>(&mut self, rest: &mut Chunk<'a>) -> (u64, Chunk<'a>) {
        const NONE: Chunk<'static> = Chunk::Copied(&[]);
        if self.padded {
            self.padded = false;
            if let Chunk::Copied([padding]) = take(rest, 1) {
                self.padding = u32::from(*padding).min(self.body);
                self.body -= self.padding;
            }
            return (1, NONE);
        }
        let of_body = self.body > 0;
        let left = if of_body { &mut self.body } else { &mut self.padding };
        let taken = take(rest, u64::from(*left));
        *left = left.saturating_sub(length(taken) as u32);
        (length(taken), if of_body { taken } else { NONE })
    }
}
