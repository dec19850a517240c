//! Which request of a process has a value that a call of it has, too: the method `token`.
//!
//! A value tells of a request only while no other request that is remembered has it: clients may all send the same one, send it
//! again, or be asked back by what they called. Values of headers that name a request are believed at once. Ids in paths may name a
//! thing as well, which other requests' calls are about: they are believed for a route whose calls nearly all have ids that
//! a request of that time has, too.
//!
//! Memory is bounded by the requests that are remembered ([`super::SERVERS_MAX`] and those that are open).

use super::{Key, record::Record};
use crate::protocol::Tokens;
use rustc_hash::FxHashMap;
use std::collections::hash_map::Entry;

/// Confidence of the method `token` by the value of a header.
pub const TOKEN_CONFIDENCE: f64 = 0.99;
/// Confidence of the method `token` by an id that is in both paths.
pub const PATH_CONFIDENCE: f64 = 0.96;
/// Calls of a route that must have had ids in their paths, before these are believed.
const PATHS_MIN: u32 = 20;
/// One in so many of them may have been in no request.
const PATHS_SHARE: u32 = 50;
/// Routes of calls that are watched; past it, all are forgotten.
const ROUTES_MAX: usize = 64;

/// Requests with the same value that are told apart; more are counted only.
const SAME_MAX: usize = 8;

/// A request that has a value, and when it was read.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Holder {
    key: Key,
    start_ns: u64,
    /// It came in a header.
    is_named: bool,
}

/// The remembered requests that have a value.
#[derive(Debug)]
struct Same {
    one: Option<Holder>,
    others: Vec<Holder>,
    /// Those past [`SAME_MAX`].
    more: u32,
}

impl Same {
    fn add(&mut self, holder: Holder) {
        if self.others.len() + 1 < SAME_MAX {
            self.others.push(holder);
        } else {
            self.more += 1;
        }
    }

    /// Takes a request away, and says whether none is left.
    fn remove(&mut self, key: Key) -> bool {
        if let Some(at) = self.others.iter().position(|other| other.key == key) {
            self.others.swap_remove(at);
        } else if self.one.is_some_and(|one| one.key == key) {
            self.one = self.others.pop();
        } else {
            self.more = self.more.saturating_sub(1);
        }
        self.one.is_none() && self.more == 0
    }

    /// The only one that was read before a time.
    fn only(&self, before_ns: u64) -> Option<Holder> {
        let mut read =
            self.one.into_iter().chain(self.others.iter().copied()).filter(|holder| holder.start_ns <= before_ns);
        let only = read.next();
        only.filter(|_| read.next().is_none() && self.more == 0)
    }
}

/// Whose a call is, by its values.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) enum Claim {
    /// They tell nothing.
    #[default]
    Nothing,
    /// This request's, which was read at this time, and how sure that is.
    Of(Key, u64, f64),
    /// They tell of several requests.
    Contradiction,
}

impl Claim {
    /// The request that it names.
    pub(super) fn request(self) -> Option<Key> {
        if let Self::Of(key, ..) = self { Some(key) } else { None }
    }
}

/// The values of a process's requests.
#[derive(Debug, Default)]
pub(super) struct Holders {
    by_value: FxHashMap<u64, Same>,
    of: FxHashMap<Key, Tokens>,
    /// By route, whether a call with an id in its path has one that a request has.
    routes: FxHashMap<u32, Record>,
}

impl Holders {
    /// A request with these values was read.
    pub(super) fn hold(&mut self, key: Key, start_ns: u64, tokens: &Tokens) {
        if tokens.is_empty() || self.of.insert(key, *tokens).is_some() {
            return;
        }
        for (value, is_named) in values(tokens) {
            let one = Holder { key, start_ns, is_named };
            match self.by_value.entry(value) {
                Entry::Occupied(mut same) => same.get_mut().add(one),
                Entry::Vacant(place) => drop(place.insert(Same { one: Some(one), others: Vec::new(), more: 0 })),
            }
        }
    }

    /// No call can belong to a request any more.
    pub(super) fn release(&mut self, key: Key) {
        if self.of.is_empty() {
            return;
        }
        let Some(tokens) = self.of.remove(&key) else { return };
        for (value, _) in values(&tokens) {
            if self.by_value.get_mut(&value).is_some_and(|same| same.remove(key)) {
                self.by_value.remove(&value);
            }
        }
    }

    /// Whose a call with these values is that was over at a time. Everything before that must have been seen. `route` tells calls
    /// apart by what they ask for.
    pub(super) fn claim(&mut self, tokens: &Tokens, end_ns: u64, route: impl FnOnce() -> u32) -> Claim {
        if tokens.is_empty() {
            return Claim::Nothing;
        }
        let (mut strong, mut weak) = (Claim::Nothing, Claim::Nothing);
        let (mut has_path, mut is_heard) = (false, false);
        for (value, is_named) in values(tokens) {
            let same = self.by_value.get(&value);
            has_path |= !is_named;
            is_heard |= !is_named && same.is_some();
            let Some(holder) = same.and_then(|same| same.only(end_ns)) else { continue };
            let (claim, confidence) = if is_named || holder.is_named {
                (&mut strong, TOKEN_CONFIDENCE)
            } else {
                (&mut weak, PATH_CONFIDENCE)
            };
            *claim = match claim.request() {
                Some(other) if other != holder.key => Claim::Contradiction,
                None if *claim == Claim::Contradiction => Claim::Contradiction,
                _ => Claim::Of(holder.key, holder.start_ns, confidence),
            };
        }
        let is_believed = has_path && {
            let heard = self.route(route());
            heard.note(is_heard);
            heard.holds(PATHS_MIN, PATHS_SHARE)
        };
        match strong {
            Claim::Nothing if is_believed => weak,
            strong => strong,
        }
    }

    fn route(&mut self, route: u32) -> &mut Record {
        if self.routes.len() >= ROUTES_MAX && !self.routes.contains_key(&route) {
            self.routes.clear();
        }
        self.routes.entry(route).or_default()
    }
}

/// Each value once, and whether it came in a header.
fn values(tokens: &Tokens) -> impl Iterator<Item = (u64, bool)> {
    let is_new = |value: &u64| tokens.named().all(|named| named != *value);
    tokens.named().map(|value| (value, true)).chain(tokens.path().filter(is_new).map(|value| (value, false)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{Request, Version};
    use bytes::Bytes;

    /// A request with ids in its header and its path; 0 is none.
    fn tokens(named: u32, path: u32) -> Tokens {
        let id = |n: u32| Bytes::from(format!("3f2504e0-4f89-41d3-9a0c-0305{n:08x}"));
        let headers = (named > 0).then(|| (Bytes::from_static(b"x-request-id"), id(named)));
        let target = if path > 0 { [b"/", &id(path)[..]].concat() } else { b"/".to_vec() };
        Tokens::of(&Request {
            method: Bytes::from_static(b"GET"),
            scheme: None,
            target: target.into(),
            version: Version::Http11,
            headers: headers.into_iter().collect(),
        })
    }

    fn key(conn: u64) -> Key {
        Key { conn, ordinal: 0 }
    }

    #[test]
    fn a_value_tells_of_a_request_while_it_alone_has_it() {
        let mut holders = Holders::default();
        let claim = |holders: &mut Holders, named, end_ns| holders.claim(&tokens(named, 0), end_ns, || 1);
        holders.hold(key(1), 10, &tokens(1, 0));
        holders.hold(key(2), 20, &tokens(2, 0));
        assert_eq!(claim(&mut holders, 1, 50), Claim::Of(key(1), 10, TOKEN_CONFIDENCE));
        assert_eq!(claim(&mut holders, 1, 5), Claim::Nothing, "it was read later");
        assert_eq!(claim(&mut holders, 3, 50), Claim::Nothing);
        holders.hold(key(3), 30, &tokens(1, 0));
        assert_eq!(claim(&mut holders, 1, 50), Claim::Nothing, "two have it");
        assert_eq!(claim(&mut holders, 1, 29).request(), Some(key(1)), "but not by then");
        holders.release(key(1));
        assert_eq!(claim(&mut holders, 1, 50).request(), Some(key(3)));
        holders.release(key(3));
        holders.release(key(2));
        assert!(holders.by_value.is_empty() && holders.of.is_empty());
    }

    #[test]
    fn a_value_of_many_tells_of_none() {
        let mut holders = Holders::default();
        for n in 0..100 {
            holders.hold(key(n), n, &tokens(1, 0));
        }
        assert!(holders.by_value.values().all(|same| same.others.len() < SAME_MAX));
        for n in 0..100 {
            assert_eq!(holders.claim(&tokens(1, 0), 1000, || 1), Claim::Nothing, "{n} are gone");
            holders.release(key(n));
        }
        assert!(holders.by_value.is_empty() && holders.of.is_empty());
    }

    #[test]
    fn values_of_two_requests_contradict_each_other() {
        let mut holders = Holders::default();
        holders.hold(key(1), 10, &tokens(1, 0));
        holders.hold(key(2), 20, &tokens(0, 2));
        assert_eq!(holders.claim(&tokens(1, 2), 50, || 1).request(), Some(key(1)), "a header is stronger than a path");
        holders.hold(key(3), 20, &tokens(3, 0));
        assert_eq!(holders.claim(&tokens(1, 3), 50, || 1), Claim::Contradiction);
    }

    #[test]
    fn ids_in_paths_are_believed_where_nearly_all_are_in_requests() {
        for (unheard, is_believed) in [(0, true), (5, true), (30, false)] {
            let mut holders = Holders::default();
            for n in 1..=400 {
                holders.hold(key(n), 0, &tokens(0, n as u32));
                let asked = if n as u32 % 100 < unheard && n > 200 && n < 300 { 1_000_000 } else { n as u32 };
                let claim = holders.claim(&tokens(0, asked), 50, || 7);
                assert!(n >= u64::from(PATHS_MIN) || claim == Claim::Nothing);
                if n == 400 {
                    assert_eq!(claim.request() == Some(key(n)), is_believed, "{unheard}");
                    assert_eq!(holders.claim(&tokens(0, asked), 50, || 8), Claim::Nothing, "another route");
                }
            }
        }
        // A value that came in a header names a request wherever it is found again.
        let mut holders = Holders::default();
        holders.hold(key(1), 5, &tokens(1, 0));
        assert_eq!(holders.claim(&tokens(0, 1), 50, || 7), Claim::Of(key(1), 5, TOKEN_CONFIDENCE));
    }
}
