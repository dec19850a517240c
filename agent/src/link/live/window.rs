//! What goes into a round: the calls that are asked for with those around them, and the requests that were open meanwhile.

use super::{Gathered, RIPE_NS, ROUND_NS};
use crate::link::{
    Key,
    infer::{Call, Owner, Request},
};
use rustc_hash::FxHashMap;

/// One known call in so many is held out, for calibration.
const HELD_OUT: u64 = 8;

/// A request that the process received.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub key: Key,
    pub request: Request,
}

/// What is known of a call's request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Whose {
    /// It waits for a round.
    Waiting,
    /// It is known exactly, or nearly so.
    Known(Key),
    /// It was inferred.
    Found(Key),
    /// It was given up.
    Unknown,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Made {
    pub key: Key,
    pub call: Call,
    /// The request that its thread was at last.
    pub last: Option<Key>,
    pub whose: Whose,
}

impl Made {
    /// Whether it waits, and may be decided.
    pub(super) fn is_ripe(&self, now_ns: u64) -> bool {
        self.whose == Whose::Waiting && self.call.end_ns.saturating_add(RIPE_NS) <= now_ns
    }
}

/// The requests and the calls of a window.
pub(super) type Gist = (Vec<Asked>, Vec<(Key, Call, Use)>);

/// What a verdict is for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Use {
    /// The call waits for it.
    Decide,
    /// The call's request is known: it shows what verdicts are worth.
    Compare(Key),
    /// None: the call is there because of the others.
    Nothing,
}

impl Gathered {
    /// From when to when calls began that have to do with those that are ripe: all that the requests made which may own one. Requests
    /// from before `horizon_ns` are not waited for.
    pub(super) fn range(&self, horizon_ns: u64, now_ns: u64) -> (u64, u64) {
        let ripe = self.calls.iter().filter(|made| made.is_ripe(now_ns)).map(|made| made.call.start_ns);
        let (first, last) = ripe.fold((u64::MAX, 0), |(a, b), start_ns| (a.min(start_ns), b.max(start_ns)));
        let (mut from_ns, mut to_ns) = (first, last);
        for Request { start_ns, end_ns, .. } in self.requests.iter().map(|asked| asked.request) {
            let end_ns = end_ns.unwrap_or(now_ns);
            if start_ns <= last && end_ns >= first && start_ns >= horizon_ns {
                (from_ns, to_ns) = (from_ns.min(start_ns), to_ns.max(end_ns));
            }
        }
        (from_ns.max(horizon_ns), to_ns)
    }

    /// The requests and calls of a round that began in this time, with those that are not ripe or without, and how much work
    /// they are.
    pub(super) fn window(&self, (from_ns, to_ns): (u64, u64), now_ns: u64, with_young: bool) -> (Gist, u64) {
        let is_in = |made: &&Made| {
            (from_ns..=to_ns).contains(&made.call.start_ns)
                && (with_young || made.whose != Whose::Waiting || made.is_ripe(now_ns))
        };
        let calls = || self.calls.iter().filter(is_in);
        let (first_ns, last_ns) =
            calls().fold((u64::MAX, 0), |(a, b), made| (a.min(made.call.start_ns), b.max(made.call.start_ns)));
        let mut requests: Vec<Asked> = self
            .requests
            .iter()
            .filter(|asked| asked.request.end_ns.is_none_or(|end_ns| end_ns >= first_ns))
            .filter(|asked| asked.request.start_ns <= last_ns)
            .copied()
            .collect();
        // Whatever came after this round's time is not known in it, though a ring may have told of it already.
        for asked in &mut requests {
            if asked.request.end_ns.is_some_and(|end_ns| end_ns > now_ns) {
                (asked.request.end_ns, asked.request.route) = (None, 0);
            }
        }
        requests.sort_by_key(|asked| (asked.request.start_ns, asked.key));
        let places: FxHashMap<Key, u32> = requests.iter().zip(0..).map(|(asked, place)| (asked.key, place)).collect();
        let whole_until_ns = now_ns.saturating_sub(ROUND_NS);
        for asked in &mut requests {
            let is_over = asked.request.end_ns.is_some_and(|end_ns| end_ns < whole_until_ns && end_ns <= to_ns);
            asked.request.whole = is_over && asked.request.start_ns >= first_ns;
        }
        let mut ends: Vec<u64> = requests.iter().map(|asked| asked.request.end_ns.unwrap_or(u64::MAX)).collect();
        ends.sort_unstable();
        // All that had begun but for those that were over: the latter had begun as well.
        let open_at = |ns: u64| {
            let begun = requests.partition_point(|asked| asked.request.start_ns <= ns);
            begun.saturating_sub(ends.partition_point(|end_ns| *end_ns < ns)) as u64
        };
        let mut made_calls = Vec::new();
        let mut work = 0;
        for made in calls() {
            let place = |key: &Key| places.get(key).map(|place| Owner::Request(*place));
            let (owner, why) = match made.whose {
                Whose::Waiting if made.is_ripe(now_ns) => (Owner::Unknown, Use::Decide),
                Whose::Waiting | Whose::Unknown => (Owner::Unknown, Use::Nothing),
                Whose::Known(key) if mixed(made.key).is_multiple_of(HELD_OUT) => (Owner::Unknown, Use::Compare(key)),
                Whose::Known(key) | Whose::Found(key) => (place(&key).unwrap_or_default(), Use::Nothing),
            };
            if owner == Owner::Unknown {
                work += open_at(made.call.start_ns);
            }
            let last = made.last.and_then(|key| places.get(&key).copied());
            made_calls.push((made.key, Call { last, owner, ..made.call }, why));
        }
        ((requests, made_calls), work)
    }
}

/// A number that looks random.
fn mixed(key: Key) -> u64 {
    let number = (key.conn ^ key.ordinal.rotate_left(32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    number >> 40
}
