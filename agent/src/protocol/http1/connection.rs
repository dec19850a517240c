//! One connection: takes chunks of both flows, gives notices. The sides are in `requests` and `responses`; here is what
//! concerns both.

use super::{
    Config, Counts, Observer,
    flow::{At, Reader},
    held::Held,
    order::Order,
    queue::Queue,
};
use crate::protocol::{Chunk, End, Flow, Incomplete, Notice, Stamp};

/// Parser of one connection.
#[derive(Debug)]
pub struct Connection {
    pub(super) config: Config,
    pub(super) requests: Reader,
    pub(super) responses: Reader,
    pub(super) queue: Queue,
    pub(super) held: Held,
    pub(super) counts: Counts,
    /// Requests may be missing after the last one in the queue.
    pub(super) gap: bool,
    /// Pairing waits for a turn-around, for this reason.
    pub(super) doubt: Option<Incomplete>,
    /// In which order messages existed.
    pub(super) order: Order,
    /// Why no response will come any more.
    pub(super) unanswerable: Option<Incomplete>,
    /// Bytes at the end of the last chunk that follow the switch to another protocol.
    pub(super) unread: usize,
    /// Nothing is looked at any more.
    pub(super) over: bool,
}

impl Connection {
    /// A connection of which nothing was seen yet, or (joined late) of which the beginning was missed.
    pub fn new(config: Config) -> Self {
        let at = if config.joined_late { At::Seek } else { At::Start };
        Self {
            requests: Reader::new(Flow::Requests, at),
            responses: Reader::new(Flow::Responses, at),
            queue: Queue::default(),
            held: Held::default(),
            counts: Counts::default(),
            gap: config.joined_late,
            doubt: config.joined_late.then_some(Incomplete::JoinedLate),
            order: Order::default(),
            unanswerable: None,
            unread: 0,
            over: false,
            config,
        }
    }

    /// The same, whose exchanges are counted from this ordinal on.
    #[must_use]
    pub fn numbered_from(mut self, ordinal: u64) -> Self {
        self.queue.number_from(ordinal);
        self
    }

    /// Takes the next bytes of a flow, which the call `stamp` moved. The chunks of one flow must come in order; those of
    /// the two flows nearly so.
    pub fn data(&mut self, flow: Flow, stamp: &Stamp, chunk: Chunk<'_>, out: &mut Vec<Notice>) {
        if self.over {
            return;
        }
        match flow {
            Flow::Requests => self.request_chunk(stamp, chunk, out),
            Flow::Responses => self.response_chunk(stamp, chunk, out),
        }
    }

    /// A flow ended, or (without one) the whole connection; after that, nothing of it is looked at.
    pub fn end(&mut self, flow: Option<Flow>, end: End, out: &mut Vec<Notice>) {
        if self.over {
            return;
        }
        if flow != Some(Flow::Responses) {
            self.end_requests(end, out);
        }
        if flow != Some(Flow::Requests) {
            self.end_responses(end, out);
        }
        if flow.is_none() {
            self.stop(reason(end), out);
        }
    }

    /// Reports the exchanges of which no byte moved since `before_ns` (end of a call, boot-time nanoseconds) as timed
    /// out. Their responses are still recognised, and passed over. Unfinished heads and held responses of before are
    /// given up.
    pub fn expire(&mut self, before_ns: u64, out: &mut Vec<Notice>) {
        self.expire_head(before_ns, out);
        self.expire_held(before_ns, out);
        self.queue.expire(before_ns, out);
    }

    /// How many bytes at the end of the chunk of the responses' flow that switched the connection to another protocol
    /// belong to that protocol; 0 for any other chunk, and where no such chunk came.
    pub fn unread(&self) -> usize {
        self.unread
    }

    /// Exchanges that have started and were not reported as finished.
    pub fn open(&self) -> usize {
        self.queue.open()
    }

    /// What was given up so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Bytes of unfinished heads and of held responses, so that their sum over all connections can be bounded.
    pub fn kept_bytes(&self) -> usize {
        self.requests.kept() + self.responses.kept() + self.held.kept()
    }

    /// What is kept: bytes of heads, bytes held, slots.
    #[cfg(test)]
    pub(super) fn kept(&self) -> (usize, usize, usize) {
        (self.requests.kept() + self.responses.kept(), self.held.kept(), self.queue.kept())
    }

    /// When bytes of a flow existed at this end: sent ones from the entry of their call, received ones from its return.
    pub(super) fn moment(&self, flow: Flow, stamp: &Stamp) -> u64 {
        match (self.config.observer, flow) {
            (Observer::Client, Flow::Requests) | (Observer::Server, Flow::Responses) => stamp.start_ns,
            (Observer::Client, Flow::Responses) | (Observer::Server, Flow::Requests) => stamp.end_ns,
        }
    }

    /// The connection speaks something else from here on.
    pub(super) fn turn_opaque(&mut self, out: &mut Vec<Notice>) {
        self.stop(Incomplete::Unobserved, out);
        out.push(Notice::Opaque);
    }

    fn stop(&mut self, reason: Incomplete, out: &mut Vec<Notice>) {
        self.queue.finish_all(reason, out);
        self.requests.leave(At::Over);
        self.responses.leave(At::Over);
        self.held.take();
        self.over = true;
    }
}

/// Why a response that was not complete at this end never will be.
pub(super) fn reason(end: End) -> Incomplete {
    match end {
        End::Finished | End::Closed => Incomplete::Closed,
        End::Error(_) => Incomplete::Reset,
        End::Exited => Incomplete::Exited,
        End::Unobserved => Incomplete::Unobserved,
    }
}
