//! The responses' side of a connection: finds out which exchange each response answers, or that nobody can know.

use super::{
    Connection, Observer,
    body::{Body, Framing, State, is_tunnel},
    connection::reason,
    flow::{At, HeadStep},
    head::{self, ResponseHead},
    pair::Owner,
    queue::Answer,
    requests::missing,
};
use crate::protocol::{Chunk, End, Flow, Incomplete, Notice, Stamp};

impl Connection {
    /// Takes the next bytes of the responses' flow.
    pub(super) fn response_chunk(&mut self, stamp: &Stamp, chunk: Chunk<'_>, out: &mut Vec<Notice>) {
        if !self.held.is_empty() {
            self.hold(stamp, chunk, out);
            return;
        }
        match chunk {
            Chunk::Copied(bytes) => self.response_bytes(stamp, bytes, out),
            Chunk::Lost(0) => self.response_missing(stamp, 0, chunk, out),
            Chunk::Skipped(n) | Chunk::Cut(n) | Chunk::Lost(n) => self.response_counted(stamp, n, chunk, out),
        }
    }

    fn response_bytes(&mut self, stamp: &Stamp, bytes: &[u8], out: &mut Vec<Notice>) {
        let moment = self.moment(Flow::Responses, stamp);
        let mut rest = bytes;
        while !rest.is_empty() {
            let at = self.responses.at;
            let used = match at {
                At::Start => match self.response_start(stamp, moment, rest, out) {
                    Some(used) => used,
                    None => return,
                },
                At::Head => {
                    self.note(moment);
                    self.response_head(stamp, rest, out)
                }
                At::Body(mut body) => {
                    self.note(moment);
                    let progress = body.copied(rest);
                    self.responses.at = At::Body(body);
                    self.responses.moved(Some(stamp), progress.wire, progress.payload);
                    self.response_progress(progress.state, out);
                    progress.wire as usize
                }
                At::Seek if self.turns_around(stamp, Some(rest)) => {
                    self.begin_response(stamp, moment, true);
                    0
                }
                At::Seek if self.may_be_early(rest) => {
                    self.hold(stamp, Chunk::Copied(rest), out);
                    return;
                }
                At::Seek | At::Over => {
                    self.unread = if at == At::Over { rest.len() } else { 0 };
                    self.counts.unpaired += 1;
                    self.note(moment);
                    self.responses.pass(rest.len() as u64);
                    self.queue.finish(out);
                    return;
                }
            };
            rest = rest.get(used..).unwrap_or_default();
        }
    }

    /// Bytes that were not given, `n` of them. Only a body can use those.
    fn response_counted(&mut self, stamp: &Stamp, n: u64, chunk: Chunk<'_>, out: &mut Vec<Notice>) {
        let mut left = n;
        if let At::Body(mut body) = self.responses.at {
            self.note_missing(self.moment(Flow::Responses, stamp), chunk);
            let seen = (missing(chunk) != Incomplete::Lost).then_some(stamp);
            let progress = body.counted(n);
            self.responses.at = At::Body(body);
            self.responses.moved(seen, progress.wire, progress.payload);
            if seen.is_none()
                && let Some(slot) = self.queue.answering()
            {
                slot.mark(Incomplete::Lost);
            }
            left = n - progress.wire;
            // Broken: what is left says why, below.
            let state = if progress.state == State::Broken { State::More } else { progress.state };
            self.response_progress(state, out);
        }
        if left > 0 {
            self.response_missing(stamp, left, chunk, out);
        }
    }

    /// Bytes are missing where they are needed.
    fn response_missing(&mut self, stamp: &Stamp, n: u64, chunk: Chunk<'_>, out: &mut Vec<Notice>) {
        self.note_missing(self.moment(Flow::Responses, stamp), chunk);
        match self.responses.at {
            // The end of the connection is its end, whatever was lost.
            At::Body(Body::UntilClose) => {
                if let Some(slot) = self.queue.answering() {
                    slot.mark(missing(chunk));
                }
            }
            At::Start | At::Head | At::Body(_) => self.enter_doubt(missing(chunk), n == 0, out),
            At::Seek if missing(chunk) == Incomplete::Lost => self.enter_doubt(Incomplete::Lost, n == 0, out),
            At::Seek => {
                self.turns_around(stamp, None);
                self.queue.finish(out);
            }
            At::Over => {}
        }
        let dropped = if n == 0 { Chunk::Lost(0) } else { Chunk::Skipped(n) };
        self.responses.drop_chunk(dropped);
    }

    /// At the first byte of a response; none if the run has to wait.
    fn response_start(&mut self, stamp: &Stamp, moment: u64, run: &[u8], out: &mut Vec<Notice>) -> Option<usize> {
        let empty = run.iter().take_while(|b| matches!(b, b'\r' | b'\n')).count();
        if empty > 0 {
            self.responses.pass(empty as u64);
            return Some(empty);
        }
        match self.owner(moment) {
            Owner::Next => self.begin_response(stamp, moment, false),
            Owner::Unknown => {
                self.queue.give_up_before_gap(moment, Incomplete::Lost);
                self.enter_doubt(Incomplete::Lost, false, out);
            }
            Owner::Unseen => {
                self.hold(stamp, Chunk::Copied(run), out);
                return None;
            }
        }
        Some(0)
    }

    fn begin_response(&mut self, stamp: &Stamp, moment: u64, sought: bool) {
        self.doubt = None;
        self.responses.begin(stamp, moment, sought);
        if let Some(slot) = self.queue.answering() {
            slot.gap_before = false;
        }
    }

    fn response_head(&mut self, stamp: &Stamp, run: &[u8], out: &mut Vec<Notice>) -> usize {
        match self.responses.head(run) {
            HeadStep::More => {
                self.responses.moved(Some(stamp), run.len() as u64, 0);
                run.len()
            }
            HeadStep::Complete(head, used) => {
                self.responses.moved(Some(stamp), used as u64, 0);
                match head::response(&head, &self.config.redaction) {
                    Some(head) => self.answer(head, None, out),
                    None => self.response_malformed(out),
                }
                used
            }
            HeadStep::TooLong(head, used) => {
                self.counts.head_too_long += 1;
                self.responses.moved(Some(stamp), used as u64, 0);
                match head::response(&head, &self.config.redaction) {
                    Some(head) => self.answer(head, Some(Incomplete::HeadTooLong), out),
                    None => self.enter_doubt(Incomplete::HeadTooLong, false, out),
                }
                used
            }
            HeadStep::Implausible => {
                self.response_malformed(out);
                self.responses.pass(run.len() as u64);
                run.len()
            }
        }
    }

    fn response_malformed(&mut self, out: &mut Vec<Notice>) {
        self.counts.malformed += 1;
        self.enter_doubt(Incomplete::Malformed, false, out);
    }

    /// A response's head is known (flawed: as far as there is one).
    fn answer(&mut self, head: ResponseHead, flaw: Option<Incomplete>, out: &mut Vec<Notice>) {
        self.counts.cut += head.cut;
        self.counts.malformed += u64::from(head.malformed);
        let status = head.response.status;
        let transfer = self.responses.message;
        let Some(slot) = self.queue.answering() else { return };
        let method = slot.method;
        let framing = if flaw.is_none() { head.declared.of_response(status, method) } else { Framing::Unknown };
        if framing != Framing::Unknown && (100..200).contains(&status) && status != 101 {
            slot.exchange.informational = Some(status);
            self.responses.leave(At::Start);
            return;
        }
        slot.exchange.response = Some(head.response);
        slot.exchange.answered = Some(transfer);
        slot.answer = Answer::Coming;
        if framing == Framing::Unknown {
            self.enter_doubt(flaw.unwrap_or(Incomplete::Malformed), false, out);
        } else if status == 101 || is_tunnel(status, method) {
            self.switch(out);
        } else if let Some(body) = Body::new(framing) {
            self.responses.leave(At::Body(body));
        } else {
            self.response_over(out);
        }
    }

    /// The exchange hands the connection over to another protocol.
    fn switch(&mut self, out: &mut Vec<Notice>) {
        if let Some(slot) = self.queue.answering() {
            slot.exchange.switched = true;
            slot.answer = Answer::Complete;
            slot.asked = true;
        }
        self.queue.finish(out);
        self.turn_opaque(out);
    }

    fn response_progress(&mut self, state: State, out: &mut Vec<Notice>) {
        let answered = self.responses.message;
        if let Some(slot) = self.queue.answering() {
            slot.exchange.answered = Some(answered);
        }
        match state {
            State::More => {}
            State::Complete => self.response_over(out),
            State::Broken => self.response_malformed(out),
        }
    }

    fn response_over(&mut self, out: &mut Vec<Notice>) {
        if let Some(slot) = self.queue.answering() {
            slot.answer = Answer::Complete;
        }
        self.responses.leave(At::Start);
        self.queue.finish(out);
    }

    pub(super) fn end_responses(&mut self, end: End, out: &mut Vec<Notice>) {
        if !self.held.is_empty() && self.requests.at != At::Over {
            self.held.push_end(end);
            return;
        }
        let why = reason(end);
        if self.responses.at == At::Body(Body::UntilClose) && self.is_whole(end) {
            self.response_over(out);
        }
        for slot in self.queue.iter_mut() {
            slot.give_up(why);
        }
        self.unanswerable.get_or_insert(why);
        self.responses.leave(At::Over);
        self.queue.finish(out);
    }

    /// Whether this end completes a response that lasts until the connection closes: its sender must have ended it. A
    /// client that closes first has given it up.
    fn is_whole(&self, end: End) -> bool {
        match end {
            End::Finished => true,
            End::Closed => self.config.observer == Observer::Server,
            End::Error(_) | End::Exited | End::Unobserved => false,
        }
    }
}
