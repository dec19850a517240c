//! Assignment: each call to at most one request, each request to at most one call, so that the sum of the weights is as
//! large as can be. By auction (Bertsekas, "A distributed algorithm for the assignment problem", 1979): calls bid for
//! requests, and the price of a request is what the call that gave way would have lost. It works only where calls compete,
//! so components need not be found first. The sum is the best but for [`STEP`] per call.

/// The smallest raise of a price, in units of the weights (natural logarithms of likelihoods).
const STEP: f64 = 0.02;
/// Bids per call, on average; past it, the rest of the calls take what is left, the first come first.
const BIDS_MAX: usize = 200;

/// Weighted edges from calls, numbered from 0, to requests.
#[derive(Clone, Debug, Default)]
pub(super) struct Edges {
    /// Of all calls, one after the other, and where each call's begin.
    all: Vec<(u32, f64)>,
    first: Vec<usize>,
    /// For each call, the weight of belonging to none.
    alone: Vec<f64>,
}

impl Edges {
    pub(super) fn clear(&mut self) {
        self.all.clear();
        self.first.clear();
        self.alone.clear();
    }

    /// Adds a call.
    pub(super) fn push(&mut self, edges: &[(u32, f64)], alone: f64) {
        self.first.push(self.all.len());
        self.all.extend_from_slice(edges);
        self.alone.push(alone);
    }

    pub(super) fn of(&self, call: usize) -> &[(u32, f64)] {
        let Some(from) = self.first.get(call) else { return &[] };
        let to = self.first.get(call + 1).copied().unwrap_or(self.all.len());
        self.all.get(*from..to).unwrap_or(&[])
    }

    fn len(&self) -> usize {
        self.first.len()
    }
}

/// What requests cost, and who has them; kept between assignments for its memory only.
#[derive(Clone, Debug, Default)]
pub(super) struct Auction {
    /// By request: its price and its call.
    places: Vec<(f64, u32)>,
    /// By call: its request.
    owner: Vec<Option<u32>>,
}

impl Auction {
    /// Assigns; says also how many calls had to be taken as they came.
    pub(super) fn assign(&mut self, edges: &Edges, requests: usize) -> (&[Option<u32>], u64) {
        if self.places.len() < requests {
            self.places.resize(requests, (0.0, u32::MAX));
        }
        for (request, _) in &edges.all {
            if let Some(place) = self.places.get_mut(*request as usize) {
                *place = (0.0, u32::MAX);
            }
        }
        self.owner.clear();
        self.owner.resize(edges.len(), None);
        let mut waiting: Vec<u32> = (0..edges.len() as u32).rev().collect();
        let mut bids = BIDS_MAX.saturating_mul(edges.len());
        let mut cut_short = 0;
        while let Some(call) = waiting.pop() {
            let alone = edges.alone.get(call as usize).copied().unwrap_or(0.0);
            let exact = bids > 0;
            bids = bids.saturating_sub(1);
            cut_short += u64::from(!exact);
            let (mut best, mut second) = ((alone, None), f64::NEG_INFINITY);
            for (request, weight) in edges.of(call as usize) {
                let Some((price, holder)) = self.places.get(*request as usize) else { continue };
                if !exact && *holder != u32::MAX {
                    continue;
                }
                let value = weight - price;
                if value > best.0 {
                    second = best.0;
                    best = (value, Some(*request));
                } else if value > second {
                    second = value;
                }
            }
            let (value, Some(request)) = best else { continue };
            if let Some((price, holder)) = self.places.get_mut(request as usize) {
                *price += value - second.max(alone) + STEP;
                if *holder != u32::MAX {
                    waiting.push(*holder);
                    if let Some(owner) = self.owner.get_mut(*holder as usize) {
                        *owner = None;
                    }
                }
                *holder = call;
            }
            if let Some(owner) = self.owner.get_mut(call as usize) {
                *owner = Some(request);
            }
        }
        (&self.owner, cut_short)
    }
}

#[cfg(test)]
mod tests {
    use super::{super::random::mixed, *};

    /// The best sum, by trying everything.
    fn best(edges: &Edges, call: usize, taken: u64) -> f64 {
        if call == edges.len() {
            return 0.0;
        }
        let mut sum = edges.alone[call] + best(edges, call + 1, taken);
        for (request, weight) in edges.of(call) {
            if taken & (1 << request) == 0 {
                sum = sum.max(weight + best(edges, call + 1, taken | (1 << request)));
            }
        }
        sum
    }

    #[test]
    fn no_other_assignment_has_a_larger_sum() {
        for seed in 0..200 {
            let random = |n: u64| mixed(seed * 1000 + n);
            let mut edges = Edges::default();
            let calls = 1 + random(0) % 6;
            for call in 0..calls {
                let own: Vec<(u32, f64)> = (0..6)
                    .filter(|request| random(call * 50 + request + 1) % 3 > 0)
                    .map(|request| (request as u32, (random(call * 70 + request + 9) % 1000) as f64 / 50.0 - 10.0))
                    .collect();
                edges.push(&own, -8.0);
            }
            let mut auction = Auction::default();
            let (owners, cut_short) = auction.assign(&edges, 6);
            let mut taken = std::collections::BTreeSet::new();
            let sum: f64 = owners
                .iter()
                .enumerate()
                .map(|(call, owner)| match owner {
                    Some(owner) => {
                        assert!(taken.insert(*owner), "two calls have one request");
                        edges.of(call).iter().find(|(request, _)| request == owner).expect("an edge").1
                    }
                    None => -8.0,
                })
                .sum();
            assert_eq!(cut_short, 0);
            assert!(best(&edges, 0, 0) - sum <= STEP * calls as f64, "seed {seed}");
        }
    }
}
