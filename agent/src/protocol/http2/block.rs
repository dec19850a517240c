//! A header block in the making (RFC 9113, section 4.3): the fragments in HEADERS or `PUSH_PROMISE` and in the
//! CONTINUATION frames after it, without their padding and what else is in front.

use std::borrow::Cow;

use super::{
    HEAD_MAX,
    frame::{END_STREAM, HEAD_LENGTH, Head, Kind},
    run::{length, missing},
};
use crate::protocol::{Chunk, Incomplete, Stamp};

/// A header block.
#[derive(Debug)]
pub(super) struct Block<'a> {
    pub(super) stream: u32,
    /// It is a promised request (`PUSH_PROMISE`), and no message of the stream itself.
    pub(super) is_promise: bool,
    /// The sender's side of the stream ends with it.
    pub(super) ends: bool,
    /// The block, up to where it is flawed.
    pub(super) bytes: Cow<'a, [u8]>,
    /// Why it is not whole.
    pub(super) flaw: Option<Incomplete>,
    /// Bytes on the wire of all its frames.
    pub(super) wire: u64,
    /// The call that moved its first byte.
    pub(super) first: Stamp,
}

/// Fragments of a block that is not complete.
#[derive(Debug)]
pub(super) struct Fragments {
    stream: u32,
    is_promise: bool,
    ends: bool,
    wire: u64,
    first: Stamp,
    bytes: Vec<u8>,
    flaw: Option<Incomplete>,
    /// Bytes of the first frame that come before its fragment: length of padding, priority, promised stream.
    before: u32,
    /// Its first byte is the length of the padding.
    padded: bool,
    /// Bytes of the first frame's fragment and padding still to come; of another frame, its fragment's.
    left: u32,
    padding: u32,
}

impl Fragments {
    pub(super) const fn new(head: &Head, first: Stamp) -> Self {
        let is_promise = matches!(head.kind, Kind::PushPromise);
        // `PUSH_PROMISE` has no flag PRIORITY: the bit means nothing there.
        let before = head.padding() + if is_promise { 4 } else { head.priority() };
        Self {
            stream: head.stream,
            is_promise,
            ends: !is_promise && head.has(END_STREAM),
            wire: head.length as u64 + HEAD_LENGTH as u64,
            first,
            bytes: Vec::new(),
            flaw: None,
            before,
            padded: head.padding() > 0,
            left: head.length.saturating_sub(before),
            padding: 0,
        }
    }

    /// Whether the block goes on with this frame: nothing else may come before its end (RFC 9113, section 6.10).
    pub(super) fn continues(&self, head: &Head) -> bool {
        head.kind == Kind::Continuation && head.stream == self.stream
    }

    /// A CONTINUATION frame begins.
    pub(super) fn next(&mut self, head: &Head) {
        self.wire += u64::from(head.length) + HEAD_LENGTH as u64;
        (self.before, self.left, self.padding) = (0, head.length, 0);
    }

    /// The block so far, up to where it is flawed.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Bytes of the present frame that come before its fragment.
    pub(super) const fn before(&self) -> u32 {
        self.before
    }

    /// Bytes kept.
    pub(super) fn kept(&self) -> usize {
        self.bytes.capacity()
    }

    /// Whether no byte of it was taken yet, and the current frame is its first.
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty() && self.flaw.is_none()
    }

    /// Takes bytes of a frame's payload.
    pub(super) fn push(&mut self, chunk: Chunk<'_>) {
        let Chunk::Copied(bytes) = chunk else {
            self.flaw.get_or_insert(missing(chunk));
            self.pass(length(chunk) as u32);
            return;
        };
        let fragment = self.fragment(bytes);
        if self.flaw.is_some() {
            return;
        }
        let room = HEAD_MAX - self.bytes.len();
        self.bytes.extend_from_slice(fragment.get(..room).unwrap_or(fragment));
        if fragment.len() > room {
            self.flaw = Some(Incomplete::HeadTooLong);
        }
    }

    /// The block's part of bytes of a frame's payload.
    fn fragment<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let before = bytes.len().min(self.before as usize);
        let (front, rest) = bytes.split_at_checked(before).unwrap_or((bytes, &[]));
        if let (true, Some(&padding)) = (self.padded, front.first()) {
            self.padded = false;
            self.padding = u32::from(padding);
            if self.padding > self.left {
                self.padding = self.left;
                self.flaw.get_or_insert(Incomplete::Malformed);
            }
        }
        self.before -= before as u32;
        let fragment = rest.len().min(self.left.saturating_sub(self.padding) as usize);
        self.left = self.left.saturating_sub(rest.len() as u32);
        self.padding = self.padding.min(self.left);
        rest.get(..fragment).unwrap_or_default()
    }

    /// Bytes of a frame's payload that were not given.
    fn pass(&mut self, n: u32) {
        let before = n.min(self.before);
        self.before -= before;
        self.left = self.left.saturating_sub(n - before);
        self.padding = self.padding.min(self.left);
        self.padded = false;
    }

    /// The last of its frames is complete.
    pub(super) fn complete(mut self) -> Block<'static> {
        let bytes = std::mem::take(&mut self.bytes);
        self.block(Cow::Owned(bytes))
    }

    /// The same, of a block whose only frame's payload is `bytes`.
    pub(super) fn whole(mut self, bytes: &[u8]) -> Block<'_> {
        let fragment = self.fragment(bytes);
        self.block(Cow::Borrowed(fragment))
    }

    /// No more of it will come.
    pub(super) fn cut(mut self, why: Incomplete) -> Block<'static> {
        self.flaw.get_or_insert(why);
        self.complete()
    }

    fn block(self, bytes: Cow<'_, [u8]>) -> Block<'_> {
        let Self { stream, is_promise, ends, flaw, wire, first, .. } = self;
        Block { stream, is_promise, ends, bytes, flaw, wire, first }
    }
}
