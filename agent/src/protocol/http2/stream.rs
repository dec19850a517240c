//! One stream: its exchange in the making. Each side goes its own way, and the stream is over when both are:
//!
//! ```text
//!  request    early ──HEADERS──▶ asking ──END_STREAM──▶ asked
//!  response   awaited ──HEADERS──▶ coming ──END_STREAM──▶ complete
//! ```
//! `RST_STREAM` ends both (RFC 9113, section 5.1). `early` is a stream of which the response's side was seen first.

use super::{flow::DataStep, grpc::Messages, run::length};
use crate::protocol::{Chunk, Exchange, Flow, Incomplete, Rpc, Size, Stamp, Transfer};

/// How far the request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    /// It was not seen.
    Early,
    /// Its bytes are moving.
    Coming,
    /// No more of it will come.
    Over,
}

/// How far the final response is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// It has not begun.
    Awaited,
    /// Its bytes are moving.
    Coming,
    /// It is complete.
    Complete,
    /// It will not be known.
    Never,
}

/// A stream that is not over.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts about one stream, each read by its name")]
pub(super) struct Stream {
    pub(super) exchange: Box<Exchange>,
    pub(super) ask: Ask,
    pub(super) answer: Answer,
    pub(super) is_connect: bool,
    /// Headers of it are not known, `content-type` perhaps among them.
    pub(super) lacks_headers: bool,
    /// Since when the end of a side may have been lost, in boot-time nanoseconds, by flow: requests, responses.
    pub(super) doubts: [Option<u64>; 2],
    pub(super) rpc: Rpc,
    pub(super) is_rpc: bool,
    is_reset: bool,
    messages: [Messages; 2],
}

/// Place of a flow in a pair.
pub(super) const fn index(flow: Flow) -> usize {
    match flow {
        Flow::Requests => 0,
        Flow::Responses => 1,
    }
}

impl Stream {
    /// A stream of which nothing was seen yet.
    pub(super) fn new(ordinal: u64) -> Self {
        let exchange = Exchange {
            ordinal,
            offset: None,
            request: None,
            response: None,
            sent: None,
            answered: None,
            informational: None,
            switched: false,
            reset: None,
            rpc: None,
            incomplete: None,
        };
        Self {
            exchange: Box::new(exchange),
            ask: Ask::Early,
            answer: Answer::Awaited,
            is_connect: false,
            lacks_headers: false,
            doubts: [None; 2],
            rpc: Rpc::default(),
            is_rpc: false,
            is_reset: false,
            messages: [Messages::default(); 2],
        }
    }

    /// Its request begins.
    pub(super) fn begin(&mut self, ordinal: u64) {
        self.exchange.ordinal = ordinal;
        self.ask = if self.is_reset { Ask::Over } else { Ask::Coming };
    }

    /// Says why the exchange is not the whole truth; the first reason stands.
    pub(super) fn mark(&mut self, why: Incomplete) {
        self.exchange.incomplete.get_or_insert(why);
    }

    /// No more of its response will be known. A client that counted the body's bytes may not wait for the stream's end,
    /// and has lost nothing.
    pub(super) fn give_up(&mut self, why: Incomplete) {
        if self.has_whole_body() {
            self.finish(Flow::Responses);
        } else if matches!(self.answer, Answer::Awaited | Answer::Coming) {
            self.mark(why);
            self.answer = Answer::Never;
        }
    }

    /// A flow ended; for a message that was not complete by then this is why.
    pub(super) fn end(&mut self, flow: Flow, why: Incomplete) {
        match flow {
            Flow::Requests if self.ask == Ask::Coming => {
                if self.answer != Answer::Complete && !self.has_whole_body() {
                    self.mark(why);
                }
                self.ask = Ask::Over;
            }
            Flow::Requests => {}
            Flow::Responses => self.give_up(why),
        }
    }

    /// Whether the sender of a flow may send more on it.
    pub(super) fn is_open(&self, flow: Flow) -> bool {
        match flow {
            Flow::Requests => self.ask == Ask::Coming,
            Flow::Responses => matches!(self.answer, Answer::Awaited | Answer::Coming),
        }
    }

    /// The sender of a flow sends no more on it.
    pub(super) fn finish(&mut self, flow: Flow) {
        self.doubts[index(flow)] = None;
        match flow {
            Flow::Requests => self.ask = Ask::Over,
            Flow::Responses => self.answer = Answer::Complete,
        }
    }

    /// Frames of a flow may be missing, perhaps the last one.
    pub(super) fn doubt(&mut self, flow: Flow, since_ns: u64, why: Incomplete) {
        if self.is_open(flow) {
            self.mark(why);
            self.doubts[index(flow)].get_or_insert(since_ns);
            self.messages[index(flow)].data(Chunk::Lost(1));
        }
    }

    /// Whether the ends of all sides that are open may have been lost before a time.
    pub(super) fn is_doubtful(&self, before_ns: u64) -> bool {
        let sides = [Flow::Requests, Flow::Responses];
        sides.into_iter().all(|flow| !self.is_open(flow) || self.doubts[index(flow)].is_some_and(|at| at < before_ns))
    }

    /// Whether nothing more is to be waited for. The end of a request that was answered as a whole may have been lost.
    pub(super) fn is_over(&self) -> bool {
        let asked = self.ask == Ask::Over || (self.ask == Ask::Coming && self.doubts[0].is_some());
        asked && matches!(self.answer, Answer::Complete | Answer::Never)
    }

    pub(super) fn transfer(&mut self, flow: Flow) -> &mut Option<Transfer> {
        match flow {
            Flow::Requests => &mut self.exchange.sent,
            Flow::Responses => &mut self.exchange.answered,
        }
    }

    /// Frames of a header block moved.
    pub(super) fn moved(&mut self, flow: Flow, first: &Stamp, last: &Stamp, wire: u64) {
        let fresh = Transfer { first: *first, last: *last, size: Size::default() };
        let transfer = self.transfer(flow).get_or_insert(fresh);
        transfer.last = *last;
        transfer.size.wire = transfer.size.wire.saturating_add(wire);
        self.doubts[index(flow)] = None;
    }

    /// Bytes of DATA moved.
    pub(super) fn data(&mut self, flow: Flow, stamp: &Stamp, data: &DataStep<'_>) {
        let body = length(data.body);
        if self.transfer(flow).is_none() && data.lost {
            return;
        }
        let fresh = Transfer { first: *stamp, last: *stamp, size: Size::default() };
        let transfer = self.transfer(flow).get_or_insert(fresh);
        if !data.lost {
            transfer.last = *stamp;
        }
        transfer.size.wire = transfer.size.wire.saturating_add(data.wire);
        transfer.size.body = transfer.size.body.saturating_add(body);
        if data.lost {
            self.mark(Incomplete::Lost);
        } else {
            self.doubts[index(flow)] = None;
            if flow == Flow::Responses && body > 0 && self.messages[1].count() == Some(0) {
                self.rpc.first_message.get_or_insert(*stamp);
            }
        }
        self.messages[index(flow)].data(data.body);
    }

    /// Whether the response's body is there as a whole, though nothing said yet that it ends there.
    fn has_whole_body(&self) -> bool {
        self.answer == Answer::Coming && self.told_length().is_some_and(|length| self.has_bytes(length))
    }

    /// Bytes of the response's body as its head has it.
    fn told_length(&self) -> Option<u64> {
        let response = self.exchange.response.as_ref()?;
        let (_, value) = response.headers.iter().find(|(name, _)| name.as_ref() == b"content-length")?;
        std::str::from_utf8(value).ok()?.parse().ok()
    }

    fn has_bytes(&self, length: u64) -> bool {
        self.exchange.answered.is_some_and(|answered| answered.size.body == length)
    }

    /// Its stream was reset by the sender of a flow. A server that has nothing more to say may do so without an error
    /// instead of marking the response's end (Node.js does).
    pub(super) fn reset(&mut self, by: Flow, code: Option<u32>) {
        const NO_ERROR: u32 = 0;
        const CANCEL: u32 = 8;
        // An RPC ends with its trailers.
        let ends = by == Flow::Responses && code == Some(NO_ERROR) && self.answer == Answer::Coming && !self.is_rpc;
        if ends && self.told_length().is_none_or(|length| self.has_bytes(length)) {
            self.finish(Flow::Responses);
        }
        self.exchange.reset = self.exchange.reset.or(code);
        self.give_up(Incomplete::Reset);
        self.rpc.cancelled |= code == Some(CANCEL) && self.answer != Answer::Complete;
        self.is_reset = true;
        if self.ask == Ask::Coming {
            self.ask = Ask::Over;
        }
    }

    /// A successful answer to CONNECT makes a tunnel of it, and that is all that is told of it.
    pub(super) fn switch(&mut self) {
        let tunnel = self.exchange.response.as_ref().is_some_and(|response| (200..300).contains(&response.status));
        if self.is_connect && tunnel {
            self.exchange.switched = true;
            self.ask = Ask::Over;
            self.answer = Answer::Complete;
        }
    }

    /// When it last moved, in boot-time nanoseconds.
    pub(super) fn moved_ns(&self) -> u64 {
        let (sent, answered) = (self.exchange.sent, self.exchange.answered);
        sent.into_iter().chain(answered).map(|transfer| transfer.last.end_ns).max().unwrap_or(0)
    }

    /// The exchange as it is.
    pub(super) fn into_exchange(mut self) -> Box<Exchange> {
        if self.is_rpc {
            let [sent, received] = &self.messages;
            self.rpc.sent_messages = sent.count();
            self.rpc.received_messages = received.count();
            self.exchange.rpc = Some(Box::new(self.rpc));
        }
        self.exchange
    }
}
