//! Which request the goroutine of a Go program was serving when it called: the method `goroutine`.
//!
//! A connection's requests are served by one goroutine, one after the other. A call is asked for by a goroutine that is known, too:
//! the same one, or one that it made. What the same one asks for belongs to the request that it is at, exactly. What one that it
//! made asks for may be left over from an earlier request, since it is not known when it was made: it is believed by the place in the
//! program that makes such goroutines, once that has shown that its goroutines do not outlive requests.
//!
//! Nothing is believed any more in a process in which other evidence contradicts it too often.

use super::{Key, record::Record};
use rustc_hash::FxHashMap;
use std::collections::VecDeque;

/// Confidence of the method `goroutine` where the goroutine is one that the request's own one made.
pub const CHILD_CONFIDENCE: f64 = 0.98;
/// Calls from goroutines made at one place, before these are believed.
const SITE_MIN: u32 = 20;
/// One in so many of them may have been made after the request's answer.
const SITE_SHARE: u32 = 200;
/// One in so many calls may be contradicted by another method.
const DENIED_SHARE: u32 = 200;
/// Places of one process that are watched; past it, all are forgotten.
const SITES_MAX: usize = 1024;
/// Goroutines of one process that serve, connections that they ask on, and goroutines that were made by them; past it, all
/// are forgotten.
pub const GOROUTINES_MAX: usize = 16_384;
/// What is remembered of one connection.
const MARKS_MAX: usize = 16;

/// A goroutine that asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Goroutine {
    /// Its number; no other of the process ever has it.
    pub id: u64,
    /// That of the one that made it; 0 where that is not known.
    pub parent: u64,
    /// Where in the program that was; before Go 1.21 where it begins.
    pub site: u64,
}

/// What happened on a connection of a client.
#[derive(Clone, Copy, Debug)]
enum Mark {
    /// A goroutine asked.
    Asked(Goroutine),
    /// The first of a request was sent.
    Sent,
}

/// Who asked for a call.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Asker {
    /// When.
    pub at_ns: u64,
    /// The connection whose request the goroutine serves, or the one that made it.
    pub conn: u64,
    /// It is one that was made by that one, here.
    pub child: Option<Goroutine>,
}

/// What is thought of a call whose goroutine was made by the one that serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Child {
    /// It was made for the request that is open.
    Believed,
    /// It may be left over from an earlier one.
    Unproven,
    /// It is.
    Late,
}

/// The goroutines of a process.
#[derive(Debug, Default)]
pub(super) struct Goroutines {
    /// Which connection's requests a goroutine serves.
    serving: FxHashMap<u64, u64>,
    /// The other way round.
    of: FxHashMap<u64, u64>,
    marks: FxHashMap<u64, VecDeque<(u64, Mark)>>,
    /// By the place at which goroutines that serve made others, whether these call while the request is open.
    sites: FxHashMap<u64, Record>,
    /// The request that a goroutine's first call was made for.
    children: FxHashMap<u64, Key>,
    /// Whether other methods tell of the same request.
    agreed: Record,
}

impl Goroutines {
    /// A goroutine serves a connection's requests.
    pub(super) fn serves(&mut self, conn: u64, goroutine: u64) {
        if self.of.get(&conn) == Some(&goroutine) {
            return;
        }
        self.bound();
        if let Some(before) = self.of.insert(conn, goroutine) {
            self.serving.remove(&before);
        }
        self.serving.insert(goroutine, conn);
    }

    /// A goroutine asks on a connection.
    pub(super) fn asks(&mut self, conn: u64, at_ns: u64, goroutine: Goroutine) {
        self.bound();
        self.mark(conn, at_ns, Mark::Asked(goroutine));
    }

    /// The first of a request was sent on a connection. One on which no goroutine asks is not remembered.
    pub(super) fn sent(&mut self, conn: u64, at_ns: u64) {
        if !self.serving.is_empty() || self.marks.contains_key(&conn) {
            self.bound();
            self.mark(conn, at_ns, Mark::Sent);
        }
    }

    /// A connection is forgotten.
    pub(super) fn closed(&mut self, conn: u64) {
        self.marks.remove(&conn);
        if let Some(goroutine) = self.of.remove(&conn) {
            self.serving.remove(&goroutine);
        }
    }

    /// Who asked for the call that was sent at this time. Everything before it must have been told.
    pub(super) fn asker(&self, conn: u64, sent_ns: u64) -> Option<Asker> {
        let marks = self.marks.get(&conn)?;
        let before = marks
            .iter()
            .rev()
            .skip_while(|(at_ns, mark)| *at_ns > sent_ns || *at_ns == sent_ns && matches!(mark, Mark::Sent));
        // If the last thing was another call, this one's goroutine is not known.
        let (at_ns, Mark::Asked(goroutine)) = before.clone().next()? else { return None };
        let own = self.serving.get(&goroutine.id);
        let conn = own.or_else(|| self.serving.get(&goroutine.parent).filter(|_| goroutine.parent != 0))?;
        Some(Asker { at_ns: *at_ns, conn: *conn, child: own.is_none().then_some(*goroutine) })
    }

    /// A goroutine that was made by the one that serves asked: this is the request that is open, if one is.
    pub(super) fn child(&mut self, child: Goroutine, request: Option<Key>) -> Child {
        if self.sites.len() >= SITES_MAX && !self.sites.contains_key(&child.site) {
            self.sites.clear();
        }
        if self.children.len() >= GOROUTINES_MAX {
            self.children.clear();
        }
        let first = request.map(|request| *self.children.entry(child.id).or_insert(request));
        let site = self.sites.entry(child.site).or_default();
        let is_late = first.is_none() || first != request;
        site.note(!is_late);
        match site.holds(SITE_MIN, SITE_SHARE) {
            _ if is_late => Child::Late,
            true => Child::Believed,
            false => Child::Unproven,
        }
    }

    /// Another method tells of a call, too.
    pub(super) fn compare(&mut self, agrees: bool) {
        self.agreed.note(agrees);
    }

    /// Whether other methods contradict it rarely, if ever.
    pub(super) fn is_trusted(&self) -> bool {
        self.agreed.holds(0, DENIED_SHARE)
    }

    fn mark(&mut self, conn: u64, at_ns: u64, mark: Mark) {
        let marks = self.marks.entry(conn).or_default();
        // Rings tell of it nearly in the order of time. What is told of one time was asked for before it was sent.
        let rank = |mark: &Mark| u8::from(matches!(mark, Mark::Sent));
        let later = marks.iter().rev().take_while(|(at, other)| (*at, rank(other)) > (at_ns, rank(&mark))).count();
        marks.insert(marks.len() - later, (at_ns, mark));
        if marks.len() > MARKS_MAX {
            marks.pop_front();
        }
    }

    fn bound(&mut self) {
        if self.serving.len().max(self.marks.len()) >= GOROUTINES_MAX {
            *self = Self { agreed: self.agreed, sites: std::mem::take(&mut self.sites), ..Self::default() };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn goroutine(id: u64, parent: u64) -> Goroutine {
        Goroutine { id, parent, site: 7 }
    }

    fn key(ordinal: u64) -> Key {
        Key { conn: 1, ordinal }
    }

    #[test]
    fn a_call_is_the_one_that_was_asked_for_last() {
        let mut goroutines = Goroutines::default();
        goroutines.serves(1, 10);
        goroutines.serves(2, 20);
        for (at_ns, id) in [(100, 10), (200, 20), (300, 30)] {
            goroutines.asks(5, at_ns, goroutine(id, 0));
        }
        // Told in another order than it happened.
        goroutines.sent(5, 210);
        goroutines.sent(5, 110);
        let asker = |at_ns| goroutines.asker(5, at_ns).map(|asker| (asker.conn, asker.at_ns));
        assert_eq!([110, 210, 310].map(asker), [Some((1, 100)), Some((2, 200)), None]);
        assert_eq!(asker(50), None, "before anything was asked for");
        assert_eq!(asker(150), None, "another call was sent since");
    }

    #[test]
    fn goroutines_that_one_made_that_serves_are_told_apart() {
        let mut goroutines = Goroutines::default();
        goroutines.serves(1, 10);
        goroutines.asks(5, 100, goroutine(30, 10));
        goroutines.asks(6, 100, goroutine(31, 30));
        assert_eq!(goroutines.asker(5, 110).unwrap().child, Some(goroutine(30, 10)));
        assert_eq!(goroutines.asker(6, 110), None, "a grandchild");
        goroutines.closed(1);
        assert_eq!(goroutines.asker(5, 110), None);
    }

    #[test]
    fn a_place_whose_goroutines_outlive_requests_is_not_believed() {
        let calls = SITE_MIN + SITE_SHARE;
        for (late, expected) in [(0, Child::Believed), (1, Child::Believed), (5, Child::Unproven)] {
            let mut goroutines = Goroutines::default();
            for n in 0..u64::from(calls) {
                let request = (n >= late).then(|| key(n));
                let child = goroutines.child(goroutine(100 + n, 10), request);
                assert_eq!(child == Child::Late, n < late);
            }
            assert_eq!(goroutines.child(goroutine(50, 10), Some(key(50))), expected, "{late}");
            let again = goroutines.child(goroutine(50, 10), Some(key(51)));
            assert_eq!(again, Child::Late, "its first call was for another request");
        }
    }

    #[test]
    fn what_other_methods_contradict_is_not_believed() {
        let mut goroutines = Goroutines::default();
        assert!(goroutines.is_trusted());
        goroutines.compare(false);
        assert!(!goroutines.is_trusted());
        (0..DENIED_SHARE).for_each(|_| goroutines.compare(true));
        assert!(goroutines.is_trusted());
    }

    #[test]
    fn memory_is_bounded() {
        let mut goroutines = Goroutines::default();
        for n in 0..3 * GOROUTINES_MAX as u64 {
            goroutines.serves(n, n);
            goroutines.asks(n, n, goroutine(n, n));
            goroutines.child(Goroutine { id: n, parent: n, site: n }, Some(key(n)));
            (0..20).for_each(|at_ns| goroutines.asks(1 << 40, at_ns, goroutine(n, n)));
        }
        assert!(goroutines.serving.len().max(goroutines.marks.len()).max(goroutines.children.len()) <= GOROUTINES_MAX);
        assert!(goroutines.sites.len() <= SITES_MAX && goroutines.marks[&(1 << 40)].len() <= MARKS_MAX);
    }
}
