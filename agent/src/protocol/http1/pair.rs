//! Which request a response answers, and what to do while nobody can know. The module's head says the rules.

use super::{
    Connection, Observer,
    flow::At,
    held::Item,
    queue::{Answer, Slot},
    requests::missing,
};
use crate::protocol::{Chunk, Flow, Incomplete, Notice, Stamp};

/// Who the response that begins now belongs to.
pub(super) enum Owner {
    /// The exchange that is to be answered next.
    Next,
    /// A request that was not seen yet: wait for it.
    Unseen,
    /// Nobody knows.
    Unknown,
}

impl Connection {
    /// Who the response is for whose first byte existed at this moment.
    pub(super) fn owner(&mut self, moment: u64) -> Owner {
        let no_more = self.gap || self.requests.at == At::Over;
        // A later request began before this response, and requests may be missing between the two: a client that does
        // not pipeline was answered before.
        if !self.order.is_pipelined()
            && self.queue.after_answering().is_some_and(|next| next.gap_before && next.moment < moment)
        {
            return Owner::Unknown;
        }
        match self.queue.answering() {
            None if no_more => Owner::Unknown,
            None => Owner::Unseen,
            Some(slot) if slot.moment > moment => Owner::Unknown,
            Some(slot) if slot.gap_before && self.order.is_stale(slot.moment) => Owner::Unknown,
            Some(_) => Owner::Next,
        }
    }

    /// A byte of a response existed at this moment.
    pub(super) fn note(&mut self, moment: u64) {
        self.order.response(moment);
        if self.doubt.is_none() && self.queue.after_answering().is_some_and(|next| next.moment < moment) {
            self.order.overlap();
        }
    }

    /// Bytes that were not given moved at this moment, or (lost ones) before it.
    pub(super) fn note_missing(&mut self, moment: u64, chunk: Chunk<'_>) {
        if missing(chunk) == Incomplete::Lost {
            self.order.response_lost(moment);
        } else {
            self.note(moment);
        }
    }

    /// Pairing cannot go on: exchanges that it concerns end here, and the next turn-around is waited for. With `all`,
    /// nobody knows how far the doubt reaches: it concerns every exchange so far.
    pub(super) fn enter_doubt(&mut self, why: Incomplete, all: bool, out: &mut Vec<Notice>) {
        self.counts.response_gaps += 1;
        self.responses.leave(At::Seek);
        self.doubt = Some(why);
        for slot in self.queue.iter_mut() {
            if slot.answer == Answer::Coming || all || self.order.is_stale(slot.moment) {
                slot.give_up(why);
            }
        }
        self.queue.finish(out);
    }

    /// While pairing is in doubt: whether the response bytes at this moment (a run, if they are given) answer a request
    /// that began after all the doubt. If they should and do not, there is no such request.
    pub(super) fn turns_around(&mut self, stamp: &Stamp, run: Option<&[u8]>) -> bool {
        let moment = self.moment(Flow::Responses, stamp);
        let found = run.is_some_and(|run| self.responses.finds(run));
        let why = self.doubt.unwrap_or(Incomplete::Lost);
        let awaited = |slot: &&mut Slot| slot.answer == Answer::Awaited && slot.moment <= moment;
        let candidates = self.queue.iter_mut().filter(awaited).count();
        // A client's read that waited since before the agent came is not seen. Another thread may have written the
        // request, and this may be the response after the one that was read so.
        let blocked = self.config.observer == Observer::Client
            && why == Incomplete::JoinedLate
            && self.order.is_silent()
            && self
                .queue
                .answering()
                .is_some_and(|slot| slot.exchange.sent.is_some_and(|sent| sent.first.tid != stamp.tid));
        if candidates == 1 && found && !blocked {
            return true;
        }
        // Several: they did not wait for each other. Only a call that was under way when the agent came can be missing
        // without a word.
        if candidates > 1 && why != Incomplete::JoinedLate {
            self.order.overlap();
        }
        self.queue.iter_mut().filter(awaited).for_each(|slot| slot.give_up(why));
        false
    }

    /// While pairing is in doubt: whether a run may be the response to a request whose event is under way. A server has
    /// returned from reading a request before it answers.
    pub(super) fn may_be_early(&mut self, run: &[u8]) -> bool {
        self.config.observer == Observer::Client
            && self.requests.at != At::Over
            && !self.order.is_pipelined()
            && self.queue.answering().is_none()
            && self.responses.finds(run)
    }

    pub(super) fn hold(&mut self, stamp: &Stamp, chunk: Chunk<'_>, out: &mut Vec<Notice>) {
        if !self.held.push(stamp, chunk) {
            self.counts.held_full += 1;
            self.enter_doubt(Incomplete::Lost, true, out);
            self.drop_held(out);
            self.note_missing(self.moment(Flow::Responses, stamp), chunk);
            self.responses.drop_chunk(chunk);
        }
    }

    /// Gives up what is held and did not move since a time: its request was not seen.
    pub(super) fn expire_held(&mut self, before_ns: u64, out: &mut Vec<Notice>) {
        if self.held.moved_ns().is_some_and(|moved| moved < before_ns) {
            self.enter_doubt(Incomplete::Lost, true, out);
            self.drop_held(out);
        }
    }

    /// Passes over what is held.
    fn drop_held(&mut self, out: &mut Vec<Notice>) {
        self.counts.unpaired += 1;
        for item in self.held.take() {
            let (stamp, chunk) = match &item {
                Item::Copied(stamp, bytes) => (stamp, Chunk::Copied(bytes)),
                Item::Skipped(stamp, n) => (stamp, Chunk::Skipped(*n)),
                Item::Cut(stamp, n) => (stamp, Chunk::Cut(*n)),
                Item::Lost(stamp, n) => (stamp, Chunk::Lost(*n)),
                Item::End(end) => {
                    self.end_responses(*end, out);
                    continue;
                }
            };
            self.note_missing(self.moment(Flow::Responses, stamp), chunk);
            self.responses.drop_chunk(chunk);
        }
    }

    /// Gives held response bytes back to their side, as far as it can use them now.
    pub(super) fn release(&mut self, out: &mut Vec<Notice>) {
        let mut items = self.held.take();
        while let Some(item) = items.pop_front() {
            match item {
                Item::Copied(stamp, bytes) => self.response_chunk(&stamp, Chunk::Copied(&bytes), out),
                Item::Skipped(stamp, n) => self.response_chunk(&stamp, Chunk::Skipped(n), out),
                Item::Cut(stamp, n) => self.response_chunk(&stamp, Chunk::Cut(n), out),
                Item::Lost(stamp, n) => self.response_chunk(&stamp, Chunk::Lost(n), out),
                Item::End(end) => self.end_responses(end, out),
            }
            if self.over {
                return;
            }
            if !self.held.is_empty() {
                self.held.put_back(items);
                return;
            }
        }
    }
}
