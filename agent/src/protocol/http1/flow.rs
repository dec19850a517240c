//! One flow's framing: where messages begin and end in it. It knows nothing of the other flow, and keeps bytes only
//! while a head is not complete.
//!
//! ```text
//!            first byte         empty line           last byte
//!   Start ───────────────▶ Head ──────────▶ Body ───────────────▶ Start
//!     │                     │                │
//!     └─────────────────────┴────────────────┴──▶ Seek ──▶ Head, at a run that begins like a message
//!            bytes that are missing or not understood
//! ```

use std::borrow::Cow;

use super::{HEAD_MAX, METHOD_MAX, body::Body, head};
use crate::protocol::{
    Chunk, Flow, Size, Stamp, Transfer,
    detect::{DETECT_MAX, RESPONSE_START, Verdict, detect},
};
use crate::span::redact::is_token;

/// Where in its flow a reader is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum At {
    /// Between two messages.
    Start,
    /// In a head.
    Head,
    /// In a body.
    Body(Body),
    /// Nobody knows where: waits for a run that begins like a message.
    Seek,
    /// The flow ended.
    Over,
}

/// What a head's next bytes have brought.
#[derive(Debug)]
pub(super) enum HeadStep<'a> {
    /// More is needed; all bytes were taken.
    More,
    /// The head, and the bytes of this run that it took.
    Complete(Cow<'a, [u8]>, usize),
    /// It is longer than is kept: what there was of it, and the bytes of this run that it took.
    TooLong(Vec<u8>, usize),
    /// This does not begin a message. Bytes of earlier runs were dropped; this run was not touched.
    Implausible,
}

/// Reads one flow.
#[derive(Debug)]
pub(super) struct Reader {
    flow: Flow,
    pub(super) at: At,
    /// The message that is being read.
    pub(super) message: Transfer,
    /// Moment of its first byte.
    pub(super) moment: u64,
    /// Offset of its first byte.
    pub(super) start: Option<u64>,
    /// The message was found by seeking: it must begin with a well-known method.
    pub(super) sought: bool,
    /// Bytes of the flow up to the next one to be read; absent once an unknown number was lost.
    offset: Option<u64>,
    head: Vec<u8>,
}

impl Reader {
    pub(super) fn new(flow: Flow, at: At) -> Self {
        Self {
            flow,
            at,
            message: Transfer::default(),
            moment: 0,
            start: None,
            sought: false,
            offset: Some(0),
            head: Vec::new(),
        }
    }

    /// Goes to where the next message is waited for, or looked for.
    pub(super) fn leave(&mut self, at: At) {
        self.at = at;
        self.head = Vec::new();
    }

    /// A message begins with the next byte.
    pub(super) fn begin(&mut self, stamp: &Stamp, moment: u64, sought: bool) {
        self.at = At::Head;
        self.message = Transfer { first: *stamp, last: *stamp, size: Size::default() };
        self.moment = moment;
        self.start = self.offset;
        self.sought = sought;
    }

    /// Bytes of the message moved; without a stamp if nobody knows when.
    pub(super) fn moved(&mut self, stamp: Option<&Stamp>, wire: u64, payload: u64) {
        if wire > 0 {
            self.pass(wire);
            self.message.last = stamp.copied().unwrap_or(self.message.last);
            let Size { wire: all, body } = self.message.size;
            self.message.size = Size { wire: all.saturating_add(wire), body: body.saturating_add(payload) };
        }
    }

    /// Bytes that belong to no message moved.
    pub(super) fn pass(&mut self, n: u64) {
        self.offset = self.offset.map(|offset| offset.saturating_add(n));
    }

    /// A chunk that is not looked at any further.
    pub(super) fn drop_chunk(&mut self, chunk: Chunk<'_>) {
        match chunk {
            Chunk::Copied(bytes) => self.pass(bytes.len() as u64),
            Chunk::Lost(0) => self.offset = None,
            Chunk::Skipped(n) | Chunk::Cut(n) | Chunk::Lost(n) => self.pass(n),
        }
    }

    /// Whether a run in [`At::Seek`] begins a message, as far as it goes.
    pub(super) fn finds(&self, run: &[u8]) -> bool {
        match detect(run) {
            Verdict::More => !run.is_empty() && (self.flow == Flow::Requests || run[0] == b'H'),
            Verdict::Http1Request => self.flow == Flow::Requests,
            Verdict::Http1Response => self.flow == Flow::Responses,
            Verdict::Http2Preface | Verdict::Other => false,
        }
    }

    /// Takes bytes of a head.
    pub(super) fn head<'a>(&mut self, run: &'a [u8]) -> HeadStep<'a> {
        if !self.plausible(run) {
            self.head = Vec::new();
            return HeadStep::Implausible;
        }
        if self.head.is_empty()
            && let Some(n) = head::length(run, 0).filter(|&n| n <= HEAD_MAX)
        {
            return HeadStep::Complete(Cow::Borrowed(&run[..n]), n);
        }
        let known = self.head.len();
        let taken = run.len().min(HEAD_MAX - known);
        self.head.extend_from_slice(&run[..taken]);
        if let Some(n) = head::length(&self.head, known) {
            let mut whole = std::mem::take(&mut self.head);
            whole.truncate(n);
            return HeadStep::Complete(Cow::Owned(whole), n - known);
        }
        if self.head.len() == HEAD_MAX {
            return HeadStep::TooLong(std::mem::take(&mut self.head), taken);
        }
        HeadStep::More
    }

    /// Bytes kept of an unfinished head.
    pub(super) fn kept(&self) -> usize {
        self.head.capacity()
    }

    /// What there is of an unfinished head.
    pub(super) fn take_head(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.head)
    }

    /// Whether what is there of the head and `run` may begin a message.
    fn plausible(&self, run: &[u8]) -> bool {
        if self.head.len() >= DETECT_MAX {
            return true;
        }
        let mut start = [0; DETECT_MAX];
        let mut len = 0;
        for (to, from) in start.iter_mut().zip(self.head.iter().chain(run)) {
            *to = *from;
            len += 1;
        }
        let start = &start[..len];
        if self.sought {
            return self.finds(start);
        }
        match self.flow {
            Flow::Requests => {
                let method = start.split(|&b| b == b' ').next().unwrap_or_default();
                !method.is_empty() && method.len() <= METHOD_MAX && method.iter().all(|&b| is_token(b))
            }
            Flow::Responses => start.iter().zip(RESPONSE_START).all(|(a, b)| a == b),
        }
    }
}
