//! What else than a header names a caller. What another host told of a request in a TCP option (`--propagate tcp-option`): the caller's trace and span. Whoever told
//! it is believed as a header is. And what the thread published that sent a request (OpenTelemetry's thread context): that is the word of
//! the tracer in the program itself.

use super::{Key, Linker};
use crate::span::{Kind, SpanId, TraceId};
use netspan_ebpf::{ContextEvent, EventHead};
use rustc_hash::FxHashMap;

/// Connections of which something was told that waits for its request, at most.
pub const TOLD_MAX: usize = 16_384;

/// The caller of a request, as its host told it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) trace_id: TraceId,
    pub(super) span_id: SpanId,
}

/// What was told of requests that are not known yet: by connection the last one, with its ordinal, or with the time of the call that sent
/// it.
#[derive(Debug, Default)]
pub(super) struct AllTold {
    waiting: FxHashMap<u64, (u64, Told)>,
}

impl AllTold {
    /// Whether there was room.
    fn keep(&mut self, key: Key, told: Told) -> bool {
        let has_room = self.waiting.len() < TOLD_MAX || self.waiting.contains_key(&key.conn);
        if has_room {
            self.waiting.insert(key.conn, (key.ordinal, told));
        }
        has_room
    }

    /// What was told of a request, once.
    pub(super) fn take(&mut self, key: Key) -> Option<Told> {
        let (ordinal, told) = *self.waiting.get(&key.conn)?;
        if ordinal <= key.ordinal {
            self.waiting.remove(&key.conn);
        }
        (ordinal == key.ordinal).then_some(told)
    }

    /// A connection is over.
    pub(super) fn forget(&mut self, conn: u64) {
        self.waiting.remove(&conn);
    }
}

impl Linker {
    /// A request came with a TCP option. It is told when the call that read it was walked over, which may be before the
    /// linker hears of the request itself or after.
    pub fn told(&mut self, event: &ContextEvent) {
        let key = Key { conn: event.head.conn, ordinal: event.ordinal };
        if event.trace == [0; 16] || event.span == [0; 8] {
            return;
        }
        let told = Told { trace_id: TraceId(event.trace), span_id: SpanId(event.span) };
        if let Some(node) = self.nodes.get_mut(&key) {
            node.told = Some(told);
        } else if !self.told.keep(key, told) {
            self.counts.untold += 1;
        }
    }

    /// The thread that sent a request published what it was at. The request is the one that begins with that call, of which the linker
    /// hears before or, where its head is not whole yet, after.
    pub fn published(&mut self, event: &ContextEvent) {
        let EventHead { conn, time_ns, .. } = event.head;
        if event.trace == [0; 16] || event.span == [0; 8] {
            return;
        }
        let published = Told { trace_id: TraceId(event.trace), span_id: SpanId(event.span) };
        let last = self.conns.get(&conn).and_then(|conn| conn.exchanges.back().copied());
        let node = last.and_then(|ordinal| self.nodes.get_mut(&Key { conn, ordinal }));
        match node.filter(|node| node.first_ns == time_ns && node.kind == Kind::Client) {
            Some(node) => node.published = Some(published),
            None if self.published.keep(Key { conn, ordinal: time_ns }, published) => {}
            None => self.counts.untold += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOLD: Told = Told { trace_id: TraceId([1; 16]), span_id: SpanId([2; 8]) };

    #[test]
    fn what_was_told_is_for_one_request_of_its_connection() {
        let at = |conn, ordinal| Key { conn, ordinal };
        for (asked, told, left) in [
            (at(1, 3), Some(TOLD), 0),
            (at(1, 2), None, 1), // an earlier one, of which the agent hears late
            (at(1, 4), None, 0), // a later one: the request itself was missed
            (at(2, 3), None, 1),
        ] {
            let mut all = AllTold::default();
            assert!(all.keep(at(1, 3), TOLD));
            assert_eq!((all.take(asked), all.waiting.len()), (told, left), "{asked:?}");
        }
    }

    #[test]
    fn no_more_connections_wait_than_there_is_room_for() {
        let mut all = AllTold::default();
        for conn in 0..TOLD_MAX as u64 {
            assert!(all.keep(Key { conn, ordinal: 0 }, TOLD));
        }
        assert!(!all.keep(Key { conn: u64::MAX, ordinal: 0 }, TOLD));
        assert!(all.keep(Key { conn: 5, ordinal: 1 }, TOLD), "it has its place already");
        all.forget(5);
        assert!(all.keep(Key { conn: u64::MAX, ordinal: 0 }, TOLD));
    }
}
