//! HTTP/2 (RFC 9113) as seen from the middle, and gRPC on it: the bytes of both flows in, exchanges out. It keeps heads
//! as far as the allow-list lets it, counts bodies, and never guesses what it did not see.
//!
//! # Pairing
//! An exchange is a stream, so a response belongs to its request whatever was lost in between. Ids of streams go up, so
//! a response on a stream whose request was not seen waits for it only until a later request comes.
//!
//! # Loss
//! Lengths of frames keep the framing in step as long as all that is missing lies within payloads, and its number is
//! known. Where the head of a frame is missing, frames are looked for again at the beginnings of later calls; streams
//! that were open then may have ended unseen, are marked, and end by later evidence or time. A header block that is
//! missing makes what later blocks refer to unknown (see [`hpack`]).
//!
//! # Map
//! `connection` is the whole; `requests` and `responses` say what a header block of each side means, `streams` has the
//! open `stream`s. `flow` reads one flow's framing, with `frame`, `data`, `block` and `short` (payloads), and `run`.
//! `fields` is what is kept of a block, `grpc` what gRPC says there; `plausible` tells frames from other bytes. `scrub`
//! masks what a recording must not hold.

mod block;
mod code;
mod connection;
mod data;
mod fields;
mod flow;
mod frame;
mod grpc;
pub mod hpack;
mod plausible;
mod requests;
mod responses;
mod run;
mod scrub;
mod short;
mod stream;
mod streams;
#[cfg(test)]
mod tests;

use std::sync::Arc;

pub use code::{grpc_code, grpc_code_name, reset_name};
pub use connection::Connection;
pub use plausible::{Verdict, begins_with_settings, looks_like_frames};
pub use scrub::{Counts as ScrubCounts, Scrubber};

pub use crate::protocol::Observer;
use crate::span::redact::Redaction;

/// Bytes of a header block that are kept while it is not complete; of a longer one the rest is passed over.
pub const HEAD_MAX: usize = 64 * 1024;
/// Streams of one connection that may be open at one time; past it, the one with the lowest id is reported as it is.
pub const STREAMS_MAX: usize = 4096;
/// Streams that may wait for their request to be seen; responses on more are passed over.
pub const EARLY_MAX: usize = 256;
/// Frames that cannot be, or blocks that cannot be decoded, after which a connection is given up.
pub const MALFORMED_MAX: u64 = 64;
/// How long a stream may be silent whose end may have been lost, in nanoseconds of the connection's own stamps.
pub const DOUBT_NS: u64 = 10_000_000_000;

/// What a connection's parser needs to know from outside.
#[derive(Clone, Debug)]
pub struct Config {
    /// Which end is looked at.
    pub observer: Observer,
    /// The connection is older than the agent: the first bytes of its flows need not begin a frame, and what header
    /// compression refers to need not be known.
    pub joined_late: bool,
    /// What may be kept.
    pub redaction: Arc<Redaction>,
}

impl Config {
    /// A connection seen from its beginning, with the default allow-list.
    pub fn new(observer: Observer) -> Self {
        Self { observer, joined_late: false, redaction: Arc::default() }
    }
}

/// What a parser gave up or could not use, by reason; the sums go to `doctor` and the summary.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Times that the requests' flow had to look for its next frame.
    pub request_gaps: u64,
    /// Times that the responses' flow had to.
    pub response_gaps: u64,
    /// Messages on streams that are not open: their request was not seen, or they were over already.
    pub unpaired: u64,
    /// Frames that cannot be where they were, and messages that cannot be on their stream.
    pub malformed: u64,
    /// Header blocks that cannot be decoded.
    pub header_errors: u64,
    /// Header blocks longer than [`HEAD_MAX`].
    pub head_too_long: u64,
    /// Exchanges of which the method, the target or the status refers to unknown state of header compression.
    pub headers_unknown: u64,
    /// Promised requests (`PUSH_PROMISE`), which are left alone.
    pub pushed: u64,
    /// Times that more than [`EARLY_MAX`] streams had to wait for their request.
    pub early_full: u64,
    /// Times that more than [`STREAMS_MAX`] streams were open.
    pub streams_full: u64,
    /// Targets and values of headers that were cut to their bounds.
    pub cut: u64,
}

impl Counts {
    /// Adds those of another parser.
    pub fn add(&mut self, other: &Self) {
        for ((_, sum), (_, n)) in self.each().into_iter().zip(other.named()) {
            *sum += n;
        }
    }

    /// Each counter with its name.
    pub fn named(&self) -> [(&'static str, u64); 11] {
        let mut copy = *self;
        copy.each().map(|(name, n)| (name, *n))
    }

    fn each(&mut self) -> [(&'static str, &mut u64); 11] {
        let Self {
            request_gaps,
            response_gaps,
            unpaired,
            malformed,
            header_errors,
            head_too_long,
            headers_unknown,
            pushed,
            early_full,
            streams_full,
            cut,
        } = self;
        [
            ("request_gaps", request_gaps),
            ("response_gaps", response_gaps),
            ("unpaired", unpaired),
            ("malformed", malformed),
            ("header_errors", header_errors),
            ("head_too_long", head_too_long),
            ("headers_unknown", headers_unknown),
            ("pushed", pushed),
            ("early_full", early_full),
            ("streams_full", streams_full),
            ("cut", cut),
        ]
    }
}
