//! The open exchanges of a connection, in the order of their requests. They leave it in that order.

use std::collections::VecDeque;

use super::{OPEN_MAX, head::MethodKind};
use crate::protocol::{Exchange, Incomplete, Notice};

/// What is known of an exchange's final response.
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

/// An open exchange.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts about one exchange, each read by its name")]
pub(super) struct Slot {
    pub(super) exchange: Box<Exchange>,
    /// Moment of the request's first byte.
    pub(super) moment: u64,
    pub(super) method: MethodKind,
    /// The request waits for a 100.
    pub(super) expects: bool,
    /// Requests may be missing between this one and the one before.
    pub(super) gap_before: bool,
    /// No more of the request will come.
    pub(super) asked: bool,
    pub(super) answer: Answer,
    /// It was reported already (it timed out); its response is still to come.
    pub(super) reported: bool,
}

impl Slot {
    /// Says why the exchange is not the whole truth; the first reason stands.
    pub(super) fn mark(&mut self, reason: Incomplete) {
        self.exchange.incomplete.get_or_insert(reason);
    }

    /// Its response will not be known.
    pub(super) fn give_up(&mut self, reason: Incomplete) {
        if matches!(self.answer, Answer::Awaited | Answer::Coming) {
            self.mark(reason);
            self.answer = Answer::Never;
        }
    }

    /// When it last moved.
    fn moved_ns(&self) -> u64 {
        let (sent, answered) = (self.exchange.sent, self.exchange.answered);
        sent.into_iter().chain(answered).map(|transfer| transfer.last.end_ns).max().unwrap_or(0)
    }
}

/// The open exchanges.
#[derive(Debug, Default)]
pub(super) struct Queue {
    slots: VecDeque<Slot>,
    /// Ordinal of the next exchange.
    next: u64,
}

impl Queue {
    /// The next exchange has this ordinal.
    pub(super) fn number_from(&mut self, ordinal: u64) {
        self.next = ordinal;
    }

    pub(super) fn is_full(&self) -> bool {
        self.slots.len() >= OPEN_MAX
    }

    /// Adds an exchange, which `make` makes of its ordinal.
    pub(super) fn push(&mut self, make: impl FnOnce(u64) -> Slot) {
        self.slots.push_back(make(self.next));
        self.next += 1;
    }

    /// The last request's exchange.
    pub(super) fn last(&mut self) -> Option<&mut Slot> {
        self.slots.back_mut()
    }

    /// The exchange whose final response comes next.
    pub(super) fn answering(&mut self) -> Option<&mut Slot> {
        self.slots.iter_mut().find(|slot| matches!(slot.answer, Answer::Awaited | Answer::Coming))
    }

    /// The exchange after the one whose final response comes next.
    pub(super) fn after_answering(&self) -> Option<&Slot> {
        let mut open = self.slots.iter().skip_while(|slot| matches!(slot.answer, Answer::Complete | Answer::Never));
        open.next()?;
        open.next()
    }

    /// Gives up the exchanges before the last gap in the requests that a later request followed by this moment.
    pub(super) fn give_up_before_gap(&mut self, moment: u64, why: Incomplete) {
        let after = self.slots.iter().rposition(|slot| slot.gap_before && slot.moment <= moment);
        self.slots.iter_mut().take(after.unwrap_or(0)).for_each(|slot| slot.give_up(why));
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Slot> {
        self.slots.iter_mut()
    }

    /// Exchanges that were not reported yet.
    pub(super) fn open(&self) -> usize {
        self.slots.iter().filter(|slot| !slot.reported).count()
    }

    #[cfg(test)]
    pub(super) fn kept(&self) -> usize {
        self.slots.len()
    }

    /// Reports the exchanges that are over.
    pub(super) fn finish(&mut self, out: &mut Vec<Notice>) {
        while let Some(slot) = self.slots.front() {
            if !slot.asked || matches!(slot.answer, Answer::Awaited | Answer::Coming) {
                return;
            }
            self.pop(out);
        }
    }

    /// Reports all exchanges; those without a complete response for this reason.
    pub(super) fn finish_all(&mut self, reason: Incomplete, out: &mut Vec<Notice>) {
        for slot in &mut self.slots {
            slot.give_up(reason);
        }
        while !self.slots.is_empty() {
            self.pop(out);
        }
    }

    /// Reports the first exchanges as timed out, as long as they last moved before a time. They keep their places: their
    /// responses may still come.
    pub(super) fn expire(&mut self, before_ns: u64, out: &mut Vec<Notice>) {
        for slot in &mut self.slots {
            if slot.reported {
                continue;
            }
            if slot.moved_ns() >= before_ns {
                return;
            }
            if slot.answer != Answer::Complete {
                slot.mark(Incomplete::TimedOut);
            }
            slot.reported = true;
            out.push(Notice::Finished(slot.exchange.clone()));
        }
    }

    fn pop(&mut self, out: &mut Vec<Notice>) {
        if let Some(slot) = self.slots.pop_front()
            && !slot.reported
        {
            out.push(Notice::Finished(slot.exchange));
        }
    }
}
