//! The requests' side of a connection: each head opens an exchange.

use super::{
    Connection,
    body::{Body, Framing, State},
    connection::reason,
    flow::{At, HeadStep},
    head::{self, MethodKind},
    queue::{Answer, Slot},
};
use crate::protocol::{Chunk, End, Exchange, Flow, Incomplete, Notice, Stamp, Tokens, detect};

/// Why the bytes that a chunk does not give are missing.
pub(super) fn missing(chunk: Chunk<'_>) -> Incomplete {
    match chunk {
        Chunk::Lost(_) => Incomplete::Lost,
        Chunk::Copied(_) | Chunk::Skipped(_) | Chunk::Cut(_) => Incomplete::Cut,
    }
}

impl Connection {
    /// Takes the next bytes of the requests' flow.
    pub(super) fn request_chunk(&mut self, stamp: &Stamp, chunk: Chunk<'_>, out: &mut Vec<Notice>) {
        match chunk {
            Chunk::Copied(bytes) => self.request_bytes(stamp, bytes, out),
            Chunk::Lost(0) => self.request_missing(0, chunk, out),
            Chunk::Skipped(n) | Chunk::Cut(n) | Chunk::Lost(n) => self.request_counted(stamp, n, chunk, out),
        }
    }

    fn request_bytes(&mut self, stamp: &Stamp, bytes: &[u8], out: &mut Vec<Notice>) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let at = self.requests.at;
            let used = match at {
                At::Start => self.request_start(stamp, rest, out),
                At::Head => self.request_head(stamp, rest, out),
                At::Body(body) if self.is_abandoned(body, rest) => {
                    self.request_over(out);
                    0
                }
                At::Body(mut body) => {
                    let progress = body.copied(rest);
                    self.requests.at = At::Body(body);
                    self.requests.moved(Some(stamp), progress.wire, progress.payload);
                    self.request_progress(progress.state, out);
                    progress.wire as usize
                }
                At::Seek if self.requests.finds(rest) => {
                    self.begin_request(stamp, true);
                    0
                }
                At::Seek | At::Over => {
                    self.requests.pass(rest.len() as u64);
                    return;
                }
            };
            rest = rest.get(used..).unwrap_or_default();
        }
    }

    /// Bytes that were not given, `n` of them. Only a body can use those.
    fn request_counted(&mut self, stamp: &Stamp, n: u64, chunk: Chunk<'_>, out: &mut Vec<Notice>) {
        let mut left = n;
        if let At::Body(mut body) = self.requests.at {
            let seen = (missing(chunk) != Incomplete::Lost).then_some(stamp);
            let progress = body.counted(n);
            self.requests.at = At::Body(body);
            self.requests.moved(seen, progress.wire, progress.payload);
            if seen.is_none()
                && let Some(slot) = self.queue.last()
            {
                slot.mark(Incomplete::Lost);
            }
            left = n - progress.wire;
            // Broken: what is left says why, below.
            let state = if progress.state == State::Broken { State::More } else { progress.state };
            self.request_progress(state, out);
        }
        if left > 0 {
            self.request_missing(left, chunk, out);
        }
    }

    /// Bytes are missing where they are needed.
    fn request_missing(&mut self, n: u64, chunk: Chunk<'_>, out: &mut Vec<Notice>) {
        let why = missing(chunk);
        match self.requests.at {
            At::Start => self.request_gap(out),
            At::Head => self.cut_request(why, out),
            At::Body(_) => self.break_request(why, out),
            At::Seek | At::Over => {}
        }
        let dropped = if n == 0 { Chunk::Lost(0) } else { Chunk::Skipped(n) };
        self.requests.drop_chunk(dropped);
    }

    /// Empty lines before a request are passed over (RFC 9112, section 2.2).
    fn request_start(&mut self, stamp: &Stamp, run: &[u8], out: &mut Vec<Notice>) -> usize {
        let empty = run.iter().take_while(|b| matches!(b, b'\r' | b'\n')).count();
        if empty == 0 {
            if detect::detect(run) == detect::Verdict::Http2Preface {
                self.turn_opaque(out);
                return run.len();
            }
            self.begin_request(stamp, false);
        }
        self.requests.pass(empty as u64);
        empty
    }

    fn begin_request(&mut self, stamp: &Stamp, sought: bool) {
        let moment = self.moment(Flow::Requests, stamp);
        self.requests.begin(stamp, moment, sought);
    }

    fn request_head(&mut self, stamp: &Stamp, run: &[u8], out: &mut Vec<Notice>) -> usize {
        match self.requests.head(run) {
            HeadStep::More => {
                self.requests.moved(Some(stamp), run.len() as u64, 0);
                run.len()
            }
            HeadStep::Complete(head, used) => {
                self.requests.moved(Some(stamp), used as u64, 0);
                self.start_exchange(&head, None, out);
                used
            }
            HeadStep::TooLong(head, used) => {
                self.counts.head_too_long += 1;
                self.requests.moved(Some(stamp), used as u64, 0);
                self.start_exchange(&head, Some(Incomplete::HeadTooLong), out);
                used
            }
            // This run may begin a message where the one before did not.
            HeadStep::Implausible if self.requests.message.size.wire > 0 => {
                self.counts.malformed += 1;
                self.request_gap(out);
                0
            }
            HeadStep::Implausible => {
                self.counts.malformed += 1;
                self.request_gap(out);
                self.requests.pass(run.len() as u64);
                run.len()
            }
        }
    }

    /// A head is complete, or (flawed) no more of it will come.
    fn start_exchange(&mut self, head: &[u8], flaw: Option<Incomplete>, out: &mut Vec<Notice>) {
        let parsed = head::request(head, &self.config.redaction);
        if parsed.is_none() && self.requests.sought {
            self.counts.malformed += 1;
            self.request_gap(out);
            return;
        }
        let malformed = parsed.as_ref().is_none_or(|parsed| parsed.malformed);
        let flaw = flaw.or(malformed.then_some(Incomplete::Malformed));
        self.counts.malformed += u64::from(flaw == Some(Incomplete::Malformed));
        let framing = match &parsed {
            Some(parsed) if flaw.is_none() => parsed.declared.of_request(),
            _ => Framing::Unknown,
        };
        self.open_slot(parsed, head::method_kind(head), out);
        let body = Body::new(framing);
        match (framing, self.queue.last()) {
            (Framing::Unknown, Some(slot)) => {
                slot.mark(flaw.unwrap_or(Incomplete::Malformed));
                slot.asked = true;
                self.request_gap(out);
            }
            _ => match body {
                Some(body) => self.requests.leave(At::Body(body)),
                None => self.request_over(out),
            },
        }
        self.release(out);
    }

    fn open_slot(&mut self, parsed: Option<head::RequestHead>, method: MethodKind, out: &mut Vec<Notice>) {
        if self.queue.is_full() {
            self.counts.open_full += 1;
            self.queue.finish_all(Incomplete::Unobserved, out);
            self.order.overlap();
            self.enter_doubt(Incomplete::Unobserved, true, out);
        }
        let (moment, first) = (self.requests.moment, self.requests.message.first);
        let (start, sent) = (self.requests.start, self.requests.message);
        let expects = parsed.as_ref().is_some_and(|parsed| parsed.expects);
        self.counts.cut += parsed.as_ref().map_or(0, |parsed| parsed.cut);
        let gap_before = std::mem::take(&mut self.gap);
        self.note_request(moment);
        let tokens = parsed.as_ref().map(|parsed| Tokens::of(&parsed.request)).unwrap_or_default();
        self.queue.push(|ordinal| {
            out.push(Notice::Started { ordinal, first, tokens });
            let exchange = Exchange {
                ordinal,
                offset: start,
                request: parsed.map(|parsed| parsed.request),
                response: None,
                sent: Some(sent),
                answered: None,
                informational: None,
                switched: false,
                reset: None,
                rpc: None,
                incomplete: None,
            };
            Slot {
                exchange: Box::new(exchange),
                moment,
                method,
                expects,
                gap_before,
                asked: false,
                answer: Answer::Awaited,
                reported: false,
            }
        });
        let stale = self.order.is_stale(moment);
        let reason = self.unanswerable.or(self.doubt.filter(|_| stale));
        if let (Some(reason), Some(slot)) = (reason, self.queue.last()) {
            slot.give_up(reason);
        }
    }

    /// Looks for evidence of pipelining: this request began before the last byte of an earlier response, or in the same
    /// call as the request before it.
    fn note_request(&mut self, moment: u64) {
        self.order.request(moment, self.doubt.is_none() && self.held.is_empty());
        let before = self.queue.last().and_then(|slot| slot.exchange.sent);
        if before.is_some_and(|before| moment <= self.moment(Flow::Requests, &before.last)) {
            self.order.overlap();
        }
    }

    fn request_progress(&mut self, state: State, out: &mut Vec<Notice>) {
        let sent = self.requests.message;
        if let Some(slot) = self.queue.last() {
            slot.exchange.sent = Some(sent);
        }
        match state {
            State::More => {}
            State::Complete => self.request_over(out),
            State::Broken => {
                self.counts.malformed += 1;
                self.break_request(Incomplete::Malformed, out);
            }
        }
    }

    /// The request is complete, or its sender has moved on.
    fn request_over(&mut self, out: &mut Vec<Notice>) {
        if let Some(slot) = self.queue.last() {
            slot.asked = true;
        }
        self.requests.leave(At::Start);
        self.queue.finish(out);
    }

    /// A body's end will not be found.
    fn break_request(&mut self, why: Incomplete, out: &mut Vec<Notice>) {
        if let Some(slot) = self.queue.last() {
            slot.mark(why);
            slot.asked = true;
        }
        self.request_gap(out);
    }

    /// A head's end will not be found.
    fn cut_request(&mut self, why: Incomplete, out: &mut Vec<Notice>) {
        let head = self.requests.take_head();
        if self.requests.sought || !head.contains(&b' ') {
            self.request_gap(out);
        } else {
            self.start_exchange(&head, Some(why), out);
        }
    }

    /// Gives up a head that is not complete and did not move since a time.
    pub(super) fn expire_head(&mut self, before_ns: u64, out: &mut Vec<Notice>) {
        if self.requests.at == At::Head && self.requests.message.last.end_ns < before_ns {
            self.cut_request(Incomplete::TimedOut, out);
        }
    }

    /// From here on requests may be missing.
    fn request_gap(&mut self, out: &mut Vec<Notice>) {
        self.counts.request_gaps += 1;
        self.requests.leave(At::Seek);
        self.gap = true;
        self.queue.finish(out);
        self.release(out);
    }

    /// Whether the sender gave a body up that it had announced with `Expect`, after it was answered, and begins another
    /// request (RFC 9110, section 10.1.1).
    fn is_abandoned(&mut self, body: Body, run: &[u8]) -> bool {
        let size = self.requests.message.size;
        size.body == 0
            && matches!(body, Body::Length(_))
            && self.queue.last().is_some_and(|slot| slot.expects && slot.answer == Answer::Complete)
            && detect::detect(run) == detect::Verdict::Http1Request
    }

    pub(super) fn end_requests(&mut self, end: End, out: &mut Vec<Notice>) {
        match self.requests.at {
            At::Head => self.cut_request(reason(end), out),
            At::Body(_) => {
                if let Some(slot) = self.queue.last() {
                    slot.asked = true;
                    if slot.answer != Answer::Complete {
                        slot.mark(reason(end));
                    }
                }
            }
            At::Start | At::Seek | At::Over => {}
        }
        self.requests.leave(At::Over);
        self.queue.finish(out);
        self.release(out);
    }
}
