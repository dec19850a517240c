//! The routes of one service, learned: a tree of the segments of its paths.
//!
//! # Names that stay
//! At each place of the tree there is at most one variable, named by what was first seen there (`{id}`), and words. Words
//! become values, never the other way round: once more than [`WORDS_MAX`] different ones were seen at a place (or
//! [`WORDS_BESIDE_MAX`] where there is a variable), it is *closed*. The words that were asked for often by then
//! ([`OFTEN`], and one in [`OFTEN_SHARE`] of the place's requests) stay; all others, and all that come later, are the variable.
//! So a request's route changes at most once for each of its segments, within the first requests of its place, and then never
//! again while the agent runs.
#![forbid(unsafe_code)]

use std::{collections::hash_map::Entry, sync::Arc};

use rustc_hash::FxHashMap;

use super::segment::Variable;

/// Segments of a path that are told apart; what is left of a longer one is [`REST`].
pub const SEGMENTS_MAX: usize = 12;
/// Words at a place, at most.
pub const WORDS_MAX: usize = 64;
/// Words at a place where there is a variable, at most.
pub const WORDS_BESIDE_MAX: usize = 24;
/// Requests after which a word may stay a word when its place is closed.
pub const OFTEN: u32 = 16;
/// The share of its place's requests that it must have for that: one in so many.
pub const OFTEN_SHARE: u32 = 32;
/// Places of a service's tree, at most.
pub const PLACES_MAX: usize = 1024;
/// What stands for the rest of a long path.
const REST: &str = "{rest}";

/// What a path's route is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// This one.
    Route(Arc<str>),
    /// None is known.
    Unknown,
    /// It would be one too many.
    Full,
}

/// A place in the tree: what the paths that lead to it have in common.
#[derive(Clone, Debug, Default)]
struct Node {
    words: FxHashMap<Box<str>, u32>,
    variable: Option<(Variable, u32)>,
    /// No more words are learned here.
    is_closed: bool,
    /// Requests that were learned from and passed here.
    visits: u32,
    /// Requests end here.
    is_end: bool,
    /// The route of those, once it was asked for.
    route: Option<Arc<str>>,
}

/// The tree of one service.
#[derive(Clone, Debug)]
pub(super) struct Tree {
    nodes: Vec<Node>,
    /// Places in `nodes` that nothing leads to any more.
    free: Vec<u32>,
    /// Places that were closed.
    closed: u64,
}

impl Default for Tree {
    fn default() -> Self {
        Self { nodes: vec![Node::default()], free: Vec::new(), closed: 0 }
    }
}

const ROOT: u32 = 0;

impl Tree {
    /// Places in use.
    pub(super) fn places(&self) -> usize {
        self.nodes.len() - self.free.len()
    }

    /// Places that were closed since the last call.
    pub(super) fn take_closed(&mut self) -> u64 {
        std::mem::take(&mut self.closed)
    }

    /// The route of a path that begins with `/`. With `learns` the tree grows by what is new, up to `room` places more.
    pub(super) fn find(&mut self, path: &str, learns: bool, room: usize) -> Found {
        let room = room.min(PLACES_MAX.saturating_sub(self.places()));
        let before = self.places();
        let mut at = ROOT;
        for (n, segment) in path.strip_prefix('/').unwrap_or(path).split('/').enumerate() {
            // What follows a semicolon belongs to the request, not to the route.
            let segment = segment.split(';').next().unwrap_or(segment);
            let segment = if n < SEGMENTS_MAX { segment } else { REST };
            let may_grow = learns && self.places().saturating_sub(before) < room;
            let judged = || Variable::of(segment.as_bytes()).filter(|_| segment != REST);
            // What is known as a word has been judged before.
            let next = match self.node(at).words.get(segment) {
                Some(next) => Some(*next),
                None => match judged() {
                    Some(variable) => self.variable(at, variable, may_grow),
                    None => self.word(at, segment, may_grow),
                },
            };
            let Some(next) = next else { return if learns { Found::Full } else { Found::Unknown } };
            at = next;
            if learns {
                let visits = &mut self.node(at).visits;
                *visits = visits.saturating_add(1);
            }
            if n == SEGMENTS_MAX {
                break;
            }
        }
        let node = self.node(at);
        if learns {
            node.is_end = true;
        } else if !node.is_end {
            return Found::Unknown;
        }
        if let Some(route) = &node.route {
            return Found::Route(Arc::clone(route));
        }
        let route: Arc<str> = self.route(path).into();
        self.node(at).route = Some(Arc::clone(&route));
        Found::Route(route)
    }

    fn node(&mut self, at: u32) -> &mut Node {
        // Places are only ever made by `add`.
        &mut self.nodes[at as usize]
    }

    fn add(&mut self) -> u32 {
        if let Some(at) = self.free.pop() {
            return at;
        }
        self.nodes.push(Node::default());
        self.nodes.len() as u32 - 1
    }

    fn variable(&mut self, at: u32, variable: Variable, may_grow: bool) -> Option<u32> {
        if let Some((_, next)) = self.node(at).variable {
            return Some(next);
        }
        if !may_grow {
            return None;
        }
        let next = self.add();
        self.node(at).variable = Some((variable, next));
        Some(next)
    }

    /// Where a word leads that is not known at a place.
    fn word(&mut self, at: u32, word: &str, may_grow: bool) -> Option<u32> {
        let node = self.node(at);
        if !node.is_closed {
            if !may_grow {
                return None;
            }
            let most = if node.variable.is_some() { WORDS_BESIDE_MAX } else { WORDS_MAX };
            if node.words.len() < most {
                let next = self.add();
                self.node(at).words.insert(word.into(), next);
                return Some(next);
            }
            self.close(at);
        }
        self.node(at).variable.map(|(_, next)| next)
    }

    /// Makes values of all words at a place that are not asked for often.
    fn close(&mut self, at: u32) {
        self.closed += 1;
        let node = self.node(at);
        node.is_closed = true;
        let words = std::mem::take(&mut node.words);
        let visits: u32 = words.values().map(|next| self.nodes[*next as usize].visits).fold(0, u32::saturating_add);
        let (stay, go): (Vec<_>, Vec<_>) = words.into_iter().partition(|(_, next)| {
            let own = self.nodes[*next as usize].visits;
            own >= OFTEN && own >= visits / OFTEN_SHARE
        });
        self.node(at).words = stay.into_iter().collect();
        let into = if let Some((_, into)) = self.node(at).variable {
            into
        } else {
            let into = self.add();
            self.node(at).variable = Some((Variable::Value, into));
            into
        };
        for (_, next) in go {
            self.merge(next, into);
        }
        self.forget_routes(into);
    }

    /// Makes one place of two.
    fn merge(&mut self, from: u32, into: u32) {
        let Node { words, variable, is_closed, visits, is_end, route: _ } = std::mem::take(self.node(from));
        self.free.push(from);
        let node = self.node(into);
        node.visits = node.visits.saturating_add(visits);
        node.is_end |= is_end;
        node.is_closed |= is_closed;
        if let Some((variable, next)) = variable {
            match self.node(into).variable {
                Some((_, known)) => self.merge(next, known),
                None => self.node(into).variable = Some((variable, next)),
            }
        }
        let mut both = Vec::new();
        for (word, next) in words {
            match self.node(into).words.entry(word) {
                Entry::Occupied(known) => both.push((next, *known.get())),
                Entry::Vacant(place) => drop(place.insert(next)),
            }
        }
        for (next, known) in both {
            self.merge(next, known);
        }
        let node = self.node(into);
        let most = if node.variable.is_some() { WORDS_BESIDE_MAX } else { WORDS_MAX };
        if node.words.len() > most {
            self.close(into);
        }
    }

    /// Routes that contain a place which has another name now.
    fn forget_routes(&mut self, from: u32) {
        let mut waiting = vec![from];
        while let Some(at) = waiting.pop() {
            let node = self.node(at);
            node.route = None;
            waiting.extend(node.words.values().copied());
            waiting.extend(node.variable.map(|(_, next)| next));
        }
    }

    /// The route of a path that is in the tree.
    fn route(&self, path: &str) -> String {
        let (mut at, mut route) = (ROOT, String::with_capacity(path.len()));
        for (n, segment) in path.strip_prefix('/').unwrap_or(path).split('/').enumerate() {
            let segment = segment.split(';').next().unwrap_or(segment);
            let segment = if n < SEGMENTS_MAX { segment } else { REST };
            let Some(node) = self.nodes.get(at as usize) else { break };
            let word = node.words.get_key_value(segment).map(|(word, next)| (&**word, *next));
            let variable = || node.variable.map(|(variable, next)| (variable.placeholder(), next));
            let Some((name, next)) = word.or_else(variable) else { break };
            route.push('/');
            route.push_str(name);
            at = next;
            if n == SEGMENTS_MAX {
                break;
            }
        }
        route
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOM: usize = 100_000;

    fn learn(tree: &mut Tree, path: &str) -> String {
        match tree.find(path, true, ROOM) {
            Found::Route(route) => route.to_string(),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn identifiers_are_variables_and_words_are_words() {
        let mut tree = Tree::default();
        for (path, expected) in [
            ("/", "/"),
            ("/users", "/users"),
            ("/users/", "/users/"),
            ("/users/123/orders/9f3c2b1a0d", "/users/{id}/orders/{id}"),
            ("/users/me", "/users/me"),
            ("/users/7;jsessionid=REDACTED/orders", "/users/{id}/orders"),
            ("/report/2024-01-31", "/report/{date}"),
            ("/report/17", "/report/{date}"),
            ("/a//b", "/a//b"),
        ] {
            assert_eq!(learn(&mut tree, path), expected, "{path}");
            assert_eq!(learn(&mut tree, path), expected, "{path} again");
        }
        let deep = format!("/x{}", "/y".repeat(SEGMENTS_MAX + 5));
        assert_eq!(learn(&mut tree, &deep), format!("/x{}/{{rest}}", "/y".repeat(SEGMENTS_MAX - 1)));
    }

    #[test]
    fn a_place_with_too_many_words_becomes_a_value_once_and_keeps_what_is_asked_for_often() {
        let mut tree = Tree::default();
        let mut names = std::collections::HashMap::<String, Vec<String>>::new();
        for round in 0..400_usize {
            let user = char::from(b'a' + (round % 26) as u8).to_string() + &"x".repeat(1 + round / 26 % 20);
            for path in ["/users/me".to_owned(), format!("/users/{user}"), format!("/users/{user}/orders")] {
                let name = learn(&mut tree, &path);
                let told = names.entry(path).or_default();
                if told.last() != Some(&name) {
                    told.push(name);
                }
            }
        }
        assert_eq!(names["/users/me"], ["/users/me"]);
        assert!(names.values().all(|told| told.len() <= 2), "{names:?}");
        let last: std::collections::BTreeSet<_> = names.values().filter_map(|told| told.last()).collect();
        assert!(last.contains(&"/users/{value}".to_owned()) && last.contains(&"/users/{value}/orders".to_owned()));
        assert_eq!(learn(&mut tree, "/users/nobody-before/orders"), "/users/{value}/orders");
        assert_eq!(tree.take_closed(), 1);
        // What was merged is free again.
        assert!(tree.places() < 10, "{}", tree.places());
    }

    #[test]
    fn words_join_the_variable_that_is_there() {
        let mut tree = Tree::default();
        assert_eq!(learn(&mut tree, "/items/17"), "/items/{id}");
        let last = (0..=WORDS_BESIDE_MAX).map(|n| learn(&mut tree, &format!("/items/w{}", "x".repeat(n)))).last();
        assert_eq!(last.as_deref(), Some("/items/{id}"));
        assert_eq!(learn(&mut tree, "/items/w"), "/items/{id}");
    }

    #[test]
    fn what_may_not_teach_gets_only_routes_that_are_known() {
        let mut tree = Tree::default();
        assert_eq!(tree.find("/users/9", false, ROOM), Found::Unknown);
        learn(&mut tree, "/users/7/orders");
        assert_eq!(tree.find("/users/9/orders", false, ROOM), Found::Route("/users/{id}/orders".into()));
        for path in ["/users/9", "/users", "/.env", "/users/9/orders/1"] {
            assert_eq!(tree.find(path, false, ROOM), Found::Unknown, "{path}");
        }
    }

    #[test]
    fn the_number_of_places_is_bounded_however_paths_are_made() {
        let mut tree = Tree::default();
        let mut state = 7_u64;
        let (mut full, mut routes) = (0, std::collections::HashSet::new());
        for _ in 0..30_000 {
            let mut path = String::new();
            for _ in 0..4 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let word: String = (0..5).map(|n| char::from(b'a' + (state >> (20 + n * 5)) as u8 % 26)).collect();
                path = format!("{path}/{word}");
            }
            match tree.find(&path, true, ROOM) {
                Found::Route(route) => drop(routes.insert(route)),
                Found::Full => full += 1,
                Found::Unknown => panic!("it learns"),
            }
            assert!(tree.places() <= PLACES_MAX + 1, "{}", tree.places());
        }
        assert!(routes.len() <= 4 * WORDS_MAX, "{}", routes.len());
        assert!(full < 3000, "{full}");
        assert_eq!(learn(&mut tree, "/never/seen/before/this"), "/{value}/{value}/{value}/{value}");
    }
}
