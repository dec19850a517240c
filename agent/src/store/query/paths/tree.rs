//! Many traces as one tree. It is given the spans of one trace at a time, by start.

use rustc_hash::FxHashMap;

use super::Row;

/// Nodes at most; what would need more is left out.
const NODES_MAX: usize = 4000;
/// Calls within calls that are told apart; what is deeper is left out.
const DEPTH_MAX: usize = 64;

/// Requests of a kind that were reached on the same way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its parent's place.
    pub parent: Option<usize>,
    /// Who answers.
    pub service: String,
    /// What was asked for, in a few words.
    pub label: String,
    /// Whether the answering end was seen, and not only the asking one.
    pub is_server: bool,
    /// Requests.
    pub count: u64,
    /// Of these, errors.
    pub errors: u64,
    /// Time that they took, in nanoseconds; what they called included.
    pub sum_ns: u64,
    /// Of this, time in which nothing that they called was under way.
    pub self_ns: u64,
    /// Of the time as the caller saw it, what lay outside of the callee.
    pub network_ns: u64,
    /// Time that was theirs on the critical paths of their traces: that nothing they called explains.
    pub critical_ns: u64,
    /// Start of the first, in nanoseconds since the epoch.
    pub first_ns: u64,
    /// Start of the last.
    pub last_ns: u64,
}

pub(super) struct Tree<'a> {
    names: &'a [String],
    nodes: Vec<Node>,
    places: FxHashMap<(Option<usize>, u32, u32, bool), usize>,
    is_whole: bool,
}

/// A request of a trace: a span, or the two ends of a call.
struct Call {
    /// The span that the caller waits for.
    outer: Row,
    /// The span that works.
    inner: Row,
    /// Places of what it called.
    calls: Vec<usize>,
}

impl<'a> Tree<'a> {
    pub(super) fn new(names: &'a [String]) -> Self {
        Self { names, nodes: Vec::new(), places: FxHashMap::default(), is_whole: true }
    }

    pub(super) fn is_whole(&self) -> bool {
        self.is_whole
    }

    pub(super) fn finish(self) -> Vec<Node> {
        self.nodes
    }

    /// Adds a trace.
    pub(super) fn add(&mut self, spans: &[Row]) {
        let (calls, roots) = calls(spans);
        let mut waiting: Vec<(usize, Option<usize>, usize, bool)> =
            roots.into_iter().map(|root| (root, None, 0, true)).collect();
        while let Some((at, parent, depth, is_critical)) = waiting.pop() {
            let call = &calls[at];
            let place = if depth < DEPTH_MAX { self.place(parent, &call.inner) } else { None };
            let Some(place) = place else {
                self.is_whole = false;
                continue;
            };
            let own = own_time(&calls, call);
            let node = &mut self.nodes[place];
            let (outer, inner) = (length(&call.outer), length(&call.inner));
            node.count += 1;
            node.errors += u64::from(call.inner.is_error || call.outer.is_error);
            node.sum_ns += outer;
            node.self_ns += own.covered;
            node.network_ns += outer.saturating_sub(inner);
            if is_critical {
                node.critical_ns += own.critical + outer.saturating_sub(inner);
            }
            node.first_ns = node.first_ns.min(call.outer.start_ns);
            node.last_ns = node.last_ns.max(call.outer.start_ns);
            let next = call.calls.iter().map(|&called| (called, is_critical && own.critical_calls.contains(&called)));
            waiting.extend(next.map(|(called, is_critical)| (called, Some(place), depth + 1, is_critical)));
        }
    }

    fn place(&mut self, parent: Option<usize>, row: &Row) -> Option<usize> {
        let key = (parent, row.service, row.label, row.is_server);
        if let Some(place) = self.places.get(&key) {
            return Some(*place);
        }
        if self.nodes.len() >= NODES_MAX {
            return None;
        }
        let name = |place: u32| self.names.get(place as usize).cloned().unwrap_or_default();
        self.nodes.push(Node {
            parent,
            service: name(row.service),
            label: name(row.label),
            is_server: row.is_server,
            count: 0,
            errors: 0,
            sum_ns: 0,
            self_ns: 0,
            network_ns: 0,
            critical_ns: 0,
            first_ns: u64::MAX,
            last_ns: 0,
        });
        self.places.insert(key, self.nodes.len() - 1);
        Some(self.nodes.len() - 1)
    }
}

fn length(row: &Row) -> u64 {
    row.end_ns.saturating_sub(row.start_ns)
}

/// The calls of a trace and which of them are roots. A span whose parent is not there, or is itself, is a root; what is in a
/// ring of parents is left out, as no root leads to it.
fn calls(spans: &[Row]) -> (Vec<Call>, Vec<usize>) {
    let places: FxHashMap<u64, usize> = spans.iter().enumerate().map(|(at, row)| (row.id, at)).collect();
    let mut children = vec![Vec::new(); spans.len()];
    let mut roots = Vec::new();
    for (at, row) in spans.iter().enumerate() {
        match places.get(&row.parent).filter(|parent| row.parent != 0 && **parent != at) {
            Some(parent) => children[*parent].push(at),
            None => roots.push(at),
        }
    }
    let inner = |at: usize| match children[at].as_slice() {
        [only] if !spans[at].is_server && spans[*only].is_server => *only,
        _ => at,
    };
    let calls = (0..spans.len())
        .map(|at| Call { outer: spans[at], inner: spans[inner(at)], calls: children[inner(at)].clone() })
        .collect();
    (calls, roots)
}

struct OwnTime {
    /// Time of the span in which no call was under way.
    covered: u64,
    /// Time of the span that no call on its critical path explains.
    critical: u64,
    /// The calls on its critical path.
    critical_calls: Vec<usize>,
}

/// Goes back from a request's end: what ended last before it is what it waited for, and so on from where that began.
fn own_time(calls: &[Call], call: &Call) -> OwnTime {
    let Row { start_ns: from, end_ns: to, .. } = call.inner;
    let mut called: Vec<(u64, u64, usize)> = call
        .calls
        .iter()
        .map(|&at| (calls[at].outer.end_ns, calls[at].outer.start_ns, at))
        .filter(|(end, start, _)| *start >= from && *end <= to)
        .collect();
    called.sort_unstable_by(|a, b| b.cmp(a));
    let (mut critical, mut reached, mut critical_calls) = (0, to, Vec::new());
    let (mut covered, mut lowest) = (0, to);
    for (end, start, at) in called {
        if end <= reached {
            critical += reached - end;
            reached = start;
            critical_calls.push(at);
        }
        covered += lowest.saturating_sub(end);
        lowest = lowest.min(start);
    }
    OwnTime {
        covered: covered + lowest.saturating_sub(from),
        critical: critical + reached.saturating_sub(from),
        critical_calls,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(id: u64, parent: u64, (start_ns, end_ns): (u64, u64), service: u32, is_server: bool) -> Row {
        Row { trace: 0, id, parent, start_ns, end_ns, service, label: 3, is_server, is_error: false }
    }

    fn tree(traces: &[&[Row]]) -> Vec<Node> {
        let names = ["web", "shop", "db", "GET"].map(str::to_owned);
        let mut tree = Tree::new(&names);
        for trace in traces {
            tree.add(trace);
        }
        assert!(tree.is_whole());
        tree.finish()
    }

    #[test]
    fn both_ends_of_a_call_are_one_node_and_the_rest_is_the_networks() {
        let trace = [row(1, 0, (0, 100), 0, true), row(2, 1, (10, 90), 0, false), row(3, 2, (20, 80), 1, true)];
        let nodes = tree(&[&trace, &trace]);
        assert_eq!(nodes.len(), 2);
        let shop = &nodes[1];
        assert_eq!((shop.service.as_str(), shop.parent, shop.count), ("shop", Some(0), 2));
        assert_eq!((shop.sum_ns, shop.self_ns, shop.network_ns), (160, 120, 40));
        assert_eq!((nodes[0].self_ns, nodes[0].critical_ns, shop.critical_ns), (40, 40, 160));
    }

    #[test]
    fn of_calls_at_once_only_what_ended_last_is_critical() {
        let trace = [
            row(1, 0, (0, 100), 0, true),
            row(2, 1, (10, 60), 1, false),
            row(3, 1, (10, 90), 2, false),
            row(4, 1, (0, 10), 1, false),
        ];
        let nodes = tree(&[&trace]);
        let named = |service: &str| nodes.iter().find(|node| node.service == service).expect("a node");
        assert_eq!((named("shop").count, named("shop").sum_ns, named("shop").critical_ns), (2, 60, 10));
        assert_eq!((named("db").critical_ns, named("web").critical_ns, named("web").self_ns), (80, 10, 10));
    }

    #[test]
    fn what_nobody_waited_for_is_not_critical() {
        let nodes = tree(&[&[row(1, 0, (0, 100), 0, true), row(2, 1, (90, 200), 1, false)]]);
        assert_eq!((nodes[0].critical_ns, nodes[1].critical_ns, nodes[1].sum_ns), (100, 0, 110));
    }

    #[test]
    fn rings_lost_parents_and_depth_end() {
        let ring = [row(1, 2, (0, 1), 0, true), row(2, 1, (0, 1), 0, true)];
        assert!(tree(&[&ring]).is_empty());
        assert_eq!(tree(&[&[row(1, 9, (0, 1), 0, true)], &[row(1, 1, (0, 1), 0, true)]])[0].count, 2);
        let deep: Vec<Row> = (1..=200).map(|id| row(id, id - 1, (0, 10), 0, true)).collect();
        let names = vec![String::new(); 4];
        let mut tree = Tree::new(&names);
        tree.add(&deep);
        assert!(!tree.is_whole());
        assert_eq!(tree.finish().len(), DEPTH_MAX);
    }
}
