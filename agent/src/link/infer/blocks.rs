//! What is assigned at a time, and in which order.

use std::collections::{BTreeMap, BTreeSet};

use super::{model::Model, problem::Problem, state::State};

/// Places of a request, in all and by one route, whose calls are reassigned in a round.
const SLOTS_MAX: usize = 8;

/// Calls that are taken away and assigned anew at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Block {
    /// All by a route, one after the other, while most others have no request yet.
    Route(u16),
    /// The call by a route that has so many by the same before it in its request, and those without a request.
    Slot(u16, usize),
    /// All calls of a request from this one on, in the order of starts; they stay together.
    From(usize),
    /// All calls of a request before this one; they stay together.
    Upto(usize),
}

/// Each route of which there are free calls, those first that are known best from their request alone.
pub(super) fn routes(problem: &Problem, model: &Model) -> Vec<u16> {
    let present: BTreeSet<u16> =
        problem.kids.iter().filter(|kid| problem.is_free(kid.id)).map(|kid| kid.route).collect();
    let mut routes: Vec<u16> = present.into_iter().collect();
    routes.sort_by_key(|route| model.depth(*route));
    routes
}

/// Blocks of a round: each place in a request that a call by each route has, then whole heads and tails of requests.
pub(super) fn blocks(routes: &[u16], problem: &Problem, state: &State) -> Vec<Block> {
    let mut most: BTreeMap<u16, usize> = BTreeMap::new();
    let mut longest = 0;
    let mut seen: BTreeMap<u16, usize> = BTreeMap::new();
    for req in 0..problem.reqs.len() as u32 {
        let kids = state.kids(req);
        longest = kids.len().max(longest);
        seen.clear();
        for kid in kids {
            *seen.entry(kid.route).or_default() += 1;
        }
        for (route, calls) in &seen {
            let most = most.entry(*route).or_default();
            *most = (*calls).max(*most);
        }
    }
    let slots = |route: &u16| {
        let route = *route;
        let calls = most.get(&route).copied().unwrap_or(0).clamp(1, SLOTS_MAX);
        (0..calls).map(move |ordinal| Block::Slot(route, ordinal))
    };
    let mut blocks: Vec<Block> = routes.iter().flat_map(slots).collect();
    let longest = longest.min(SLOTS_MAX);
    blocks.extend((0..longest.saturating_sub(1)).map(Block::From));
    blocks.extend((2..longest).map(Block::Upto));
    blocks
}
