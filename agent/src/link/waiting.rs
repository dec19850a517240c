//! Calls that wait for something of their process, so that they are asked for when it happens.

use super::Key;
use rustc_hash::FxHashMap;
use std::hash::Hash;

/// How often a call is asked for meanwhile, in nanoseconds.
const ASK_NS: u64 = 100_000_000;

/// Calls by what they wait for, each with when it is asked for again. At more than `MAX` things at once, those of before are left to their
/// times.
#[derive(Debug)]
pub(super) struct Waiting<K, const MAX: usize> {
    calls: FxHashMap<K, Vec<(u64, Key)>>,
}

impl<K, const MAX: usize> Default for Waiting<K, MAX> {
    fn default() -> Self {
        Self { calls: FxHashMap::default() }
    }
}

impl<K: Eq + Hash, const MAX: usize> Waiting<K, MAX> {
    /// A call waits for these until a time at most: says when to ask for it in any case.
    pub(super) fn wait(&mut self, call: Key, on: impl IntoIterator<Item = K>, now_ns: u64, until_ns: u64) -> u64 {
        let again = now_ns.saturating_add(ASK_NS).min(until_ns);
        if self.calls.len() >= MAX {
            self.calls.clear();
        }
        for on in on {
            let calls = self.calls.entry(on).or_default();
            calls.retain(|(at_ns, key)| *key != call && *at_ns > now_ns);
            calls.push((again, call));
        }
        again
    }

    /// It happened: takes the calls that waited for it, each with when it was to be asked for again.
    pub(super) fn take(&mut self, on: &K) -> Vec<(u64, Key)> {
        self.calls.remove(on).unwrap_or_default()
    }

    /// A call waits for these no more.
    pub(super) fn forget(&mut self, call: Key, on: impl IntoIterator<Item = K>) {
        for on in on {
            if let Some(calls) = self.calls.get_mut(&on) {
                calls.retain(|(_, key)| *key != call);
                if calls.is_empty() {
                    self.calls.remove(&on);
                }
            }
        }
    }
}
