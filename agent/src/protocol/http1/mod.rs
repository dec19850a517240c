//! HTTP/1.0 and HTTP/1.1 (RFC 9112) as seen from the middle: the bytes of both flows in, exchanges out. It keeps heads
//! as far as the allow-list lets it, counts bodies, and never pairs a response with a request on a guess.
//!
//! # Pairing
//! The n-th final response answers the n-th request. The two flows' chunks may come slightly out of order to each other
//! (a client's `write` returns after another thread has read the response), so a response that comes before its
//! request is held, and order between the flows is taken from *moments*: a sender's bytes exist from the entry of the
//! call that sends them, a receiver's from the return of the call that receives them. A request's moment precedes that
//! of its response on either side; a response that precedes its request in this order is not its response.
//!
//! After bytes were lost, ordinals say nothing. Then the exchanges that the loss may concern end as incomplete, and
//! pairing begins anew at a *turn-around*: a request whose moment follows every response byte seen. A client that does
//! not pipeline had all its answers by then, so the next response is that request's. On a connection that was seen to
//! pipeline there is no such point, and no response is paired any more.
//!
//! # Map
//! `connection` is the whole; `requests` and `responses` are its two sides, `pair` brings them together; `flow` reads one flow's framing, with
//! `head`, `fields` and `body`; `queue` has the open exchanges, `held` the
//! response bytes that wait for a request, `order` what the moments tell.

mod body;
mod connection;
mod fields;
mod flow;
mod head;
mod held;
mod order;
mod pair;
mod queue;
mod requests;
mod responses;
mod scrub;
#[cfg(test)]
mod tests;

use std::sync::Arc;

pub use connection::Connection;
pub use scrub::Scrubber;
pub(super) use scrub::target as masked_target;

pub use crate::protocol::Observer;
use crate::span::redact::Redaction;

/// Bytes of a head that are kept while it is not complete; a longer head is reported as such and passed over.
pub const HEAD_MAX: usize = 64 * 1024;
/// Exchanges of one connection that may be open (pipelined, or timed out and not answered yet).
pub const OPEN_MAX: usize = 256;
/// Bytes of responses that are held until their request is known.
pub const HELD_BYTES_MAX: usize = 64 * 1024;
/// Chunks of responses that are held until their request is known.
pub const HELD_CHUNKS_MAX: usize = 256;
/// Length of the longest method that is taken for one.
pub const METHOD_MAX: usize = 32;

/// What a connection's parser needs to know from outside.
#[derive(Clone, Debug)]
pub struct Config {
    /// Which end is looked at.
    pub observer: Observer,
    /// The connection is older than the agent: the first bytes of its flows need not begin a message.
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
    /// Times that the requests' flow had to look for its next message.
    pub request_gaps: u64,
    /// Times that pairing had to wait for a turn-around.
    pub response_gaps: u64,
    /// Runs of response bytes that belong to no request that was seen.
    pub unpaired: u64,
    /// Heads that could not be parsed as a whole.
    pub malformed: u64,
    /// Heads longer than [`HEAD_MAX`].
    pub head_too_long: u64,
    /// Times that more than [`HELD_BYTES_MAX`] or [`HELD_CHUNKS_MAX`] had to be held.
    pub held_full: u64,
    /// Times that more than [`OPEN_MAX`] exchanges were open.
    pub open_full: u64,
    /// Targets and values of headers that were cut to their bounds.
    pub cut: u64,
}
