//! Processes, each with its requests and calls, in an order in which callers come before those that they call.

use std::collections::{BTreeMap, BTreeSet};

use super::{Exchanges, Spans};

/// The spans of a process, in the order of their starts.
#[derive(Debug, Default)]
pub(super) struct Group {
    pub requests: Vec<u32>,
    pub calls: Vec<u32>,
}

/// All processes. Where processes call each other in a circle, the one that fewest others call comes first.
pub(super) fn groups(spans: &Spans<'_>, exchanges: &Exchanges) -> Vec<Group> {
    let mut groups: BTreeMap<u32, Group> = BTreeMap::new();
    let mut callers: BTreeMap<u32, BTreeSet<u32>> = BTreeMap::new();
    let mut called: BTreeMap<u32, BTreeSet<u32>> = BTreeMap::new();
    for (number, span) in (0..).zip(&spans.all).filter(|(_, span)| span.is_sound) {
        let group = groups.entry(span.process).or_default();
        if span.is_server {
            group.requests.push(number);
            let caller = exchanges.of(number).and_then(|client| spans.all.get(client as usize));
            if let Some(caller) = caller.filter(|caller| caller.process != span.process) {
                callers.entry(span.process).or_default().insert(caller.process);
                called.entry(caller.process).or_default().insert(span.process);
            }
        } else {
            group.calls.push(number);
        }
    }
    let start = |number: &u32| spans.all.get(*number as usize).map_or(0, |span| span.start_ns);
    for group in groups.values_mut() {
        group.requests.sort_by_key(start);
        group.calls.sort_by_key(start);
    }
    let mut waiting: BTreeSet<(usize, u32)> =
        groups.keys().map(|process| (callers.get(process).map_or(0, BTreeSet::len), *process)).collect();
    let mut ordered = Vec::with_capacity(groups.len());
    while let Some((_, process)) = waiting.pop_first() {
        for next in called.remove(&process).unwrap_or_default() {
            if let Some(left) = callers.get_mut(&next) {
                let before = left.len();
                left.remove(&process);
                if waiting.remove(&(before, next)) {
                    waiting.insert((left.len(), next));
                }
            }
        }
        ordered.extend(groups.remove(&process));
    }
    ordered
}
