//! Letting spans go: a span's trace id is its parent's, so a node goes after its parent's trace is known, and takes
//! with it those that waited for it. This decides when, never which parent.

use super::{
    HOLD_NS, Key, Linker, ROUND_NS,
    build::{self, Parts},
    decide::Verdict,
    node::{Decision, Node, Parent, Trace},
    tally::Why,
};
use crate::span::{Kind, Link, Method, SpanId, TraceId};
use std::sync::Arc;

impl Linker {
    /// A finished node is due: decides it, and lets it go if nothing is left to wait for.
    pub(super) fn settle(&mut self, key: Key) {
        let Some(node) = self.nodes.get(&key) else { return };
        if node.gone {
            return;
        }
        if node.decision.is_none() {
            self.observe(key);
            match self.decide(key, false) {
                Verdict::Decided(decision) => self.set_decision(key, decision),
                Verdict::After(other) => {
                    self.wait(key, other, |node| &mut node.watchers);
                    return;
                }
                Verdict::At(at_ns) => {
                    self.due.insert((at_ns, key));
                    return;
                }
                Verdict::Round => return,
            }
        }
        self.go_on(key);
    }

    /// A round of inference of a process: decides the calls that it found something out of.
    pub(super) fn round(&mut self, at_ns: u64, tgid: u32) {
        self.rounds.remove(&(at_ns, tgid));
        let Some(process) = self.processes.get_mut(&tgid) else { return };
        let budget = self.work.at(at_ns);
        let round = process.gathered.round(at_ns, budget, &mut self.counts.inference);
        process.gathered.is_scheduled = round.is_waiting;
        if round.is_waiting {
            self.rounds.insert((at_ns.saturating_add(ROUND_NS), tgid));
        }
        self.work.spend(round.work);
        self.counts.unsolved += round.unsolved;
        for found in round.found {
            let key = found.call;
            let Some(decision) = self.found(found) else { continue };
            self.counts.unsure += u64::from(decision.aside.is_some());
            self.set_decision(key, decision);
            self.go_on(key);
        }
    }

    /// A node was decided: those that wait for it go on.
    fn go_on(&mut self, key: Key) {
        let watchers = self.nodes.get_mut(&key).map(|node| std::mem::take(&mut node.watchers)).unwrap_or_default();
        // Those that were waiting to be decided may be calls of this one: its downstream time needs them.
        for watcher in watchers {
            self.settle(watcher);
        }
        self.resolve(key);
    }

    /// Lets the process's habits be learned from a finished node, once.
    fn observe(&mut self, key: Key) {
        let Some(node) = self.nodes.get_mut(&key).filter(|node| !node.observed) else { return };
        node.observed = true;
        let Some(process) = self.processes.get_mut(&node.tgid) else { return };
        match node.kind {
            Kind::Server => {
                process.observe_request(node);
                process.due(node);
            }
            Kind::Client => process.observe_call(node),
        }
    }

    /// Gives up waiting: decides the node and its ancestors by what is known now, and lets it go.
    pub(super) fn give_up(&mut self, key: Key) {
        let Some(node) = self.nodes.get(&key).filter(|node| !node.gone) else { return };
        self.deadlines.remove(&(deadline(node), key));
        self.counts.given_up += 1;
        let mut path = vec![key];
        while let Some(key) = path.pop() {
            if self.nodes.get(&key).is_none_or(|node| node.trace.is_some()) {
                continue;
            }
            if self.nodes.get(&key).is_some_and(|node| node.decision.is_none()) {
                if let Verdict::Decided(decision) = self.decide(key, true) {
                    self.set_decision(key, decision);
                }
                if let Some(node) = self.nodes.get_mut(&key) {
                    node.given_up = true;
                }
            }
            let decision = self.nodes.get(&key).and_then(|node| node.decision.clone()).unwrap_or_else(Decision::root);
            let open = decision.needs().find(|other| self.nodes.get(other).is_some_and(|node| node.trace.is_none()));
            match open {
                Some(other) if !path.contains(&other) => path.extend([key, other]),
                _ => self.let_go(key),
            }
        }
    }

    /// Too many nodes wait: gives up on the one that would be given up first.
    pub(super) fn make_room(&mut self) {
        if let Some((_, key)) = self.deadlines.pop_first() {
            self.counts.crowded += 1;
            self.give_up(key);
        } else if let Some((_, key)) = self.due.pop_first() {
            self.counts.crowded += 1;
            self.give_up(key);
        }
    }

    /// Lets a decided node go, and all that waited for it; or has it wait for the node that it depends on.
    fn resolve(&mut self, key: Key) {
        let mut ready = vec![key];
        while let Some(key) = ready.pop() {
            let Some(node) = self.nodes.get(&key).filter(|node| !node.gone && node.end_ns.is_some()) else { continue };
            let Some(decision) = &node.decision else { continue };
            let open = decision.needs().find(|other| self.nodes.get(other).is_some_and(|node| node.trace.is_none()));
            match open {
                Some(other) if node.trace.is_none() => self.wait(key, other, |node| &mut node.waiting),
                _ => ready.extend(self.fix(key)),
            }
        }
    }

    fn let_go(&mut self, key: Key) {
        for other in self.fix(key) {
            self.resolve(other);
        }
    }

    fn wait(&mut self, key: Key, other: Key, list: impl Fn(&mut Node) -> &mut Vec<Key>) {
        if let Some(other) = self.nodes.get_mut(&other) {
            list(other).push(key);
        }
        if let Some(node) = self.nodes.get(&key) {
            self.deadlines.insert((deadline(node), key));
        }
    }

    fn set_decision(&mut self, key: Key, decision: Decision) {
        let Some(node) = self.nodes.get_mut(&key) else { return };
        let call = (node.kind == Kind::Client).then_some((node.start_ns, node.end_ns.unwrap_or(self.now_ns)));
        if let Some(process) = self.processes.get_mut(&node.tgid).filter(|_| call.is_some()) {
            process.decided(node);
        }
        let parent = if let Parent::Local(parent, _) = decision.parent { Some(parent) } else { None };
        node.decision = Some(decision);
        let adopted = node.adopted;
        if let Some(parent) = parent.filter(|_| adopted.is_some()) {
            self.adopt(parent, adopted);
        }
        if let (Some(call), Some(parent)) = (call, parent.and_then(|parent| self.nodes.get_mut(&parent)))
            && !parent.gone
        {
            parent.calls.push(call);
        }
    }

    /// Fixes a node's trace, emits its span if it is finished, and returns those that waited for the trace.
    fn fix(&mut self, key: Key) -> Vec<Key> {
        let Some(node) = self.nodes.get(&key) else { return Vec::new() };
        let mut decision = node.decision.clone().unwrap_or_else(Decision::root);
        let trace = node.trace.clone().unwrap_or_else(|| self.trace_of(node, &decision));
        let claimed = match decision.parent {
            Parent::Remote => node.context.as_ref().map(|context| context.span_id),
            Parent::Told => node.told.map(|told| told.span_id),
            Parent::Published => node.published.map(|published| published.span_id),
            Parent::Root | Parent::Local(..) => None,
        };
        if claimed.is_some_and(|claimed| self.waits_for(key, claimed)) {
            self.counts.circular += 1;
            decision.parent = Parent::Root;
        }
        let Some(node) = self.nodes.get_mut(&key) else { return Vec::new() };
        let is_top = !matches!(decision.parent, Parent::Local(..));
        self.counts.adopted += u64::from(is_top && node.trace.is_none() && node.adopted == Some(trace.id));
        node.trace = Some(trace);
        let waiting = std::mem::take(&mut node.waiting);
        if node.end_ns.is_some() {
            self.emit(key, &decision);
        }
        waiting.into_iter().rev().collect()
    }

    fn trace_of(&self, node: &Node, decision: &Decision) -> Trace {
        let above = match &decision.parent {
            Parent::Local(parent, _) => self.nodes.get(parent).and_then(|parent| parent.trace.clone()),
            Parent::Root | Parent::Remote | Parent::Told | Parent::Published => None,
        };
        above.unwrap_or_else(|| node.top_trace())
    }

    /// Makes the span, and keeps of the node only what later children may ask for.
    fn emit(&mut self, key: Key, decision: &Decision) {
        let Some(mut node) = self.nodes.remove(&key) else { return };
        self.deadlines.remove(&(deadline(&node), key));
        self.emit_node(&mut node, decision);
        node.gone = true;
        let mut process = self.processes.get_mut(&node.tgid).filter(|_| node.kind == Kind::Server);
        if let Some(process) = process.as_mut().filter(|_| !node.observed) {
            process.due(&node);
        }
        if process.as_ref().is_some_and(|process| !process.makes_calls) {
            // Nobody will ask for it: a server that calls nobody has no children.
            self.forget(key);
            return;
        }
        let is_asked = process.is_some_and(|process| process.gathered.is_on());
        let gone = match node.kind {
            _ if !node.is_whole => &mut self.broken,
            Kind::Server if is_asked => &mut self.asked,
            _ => &mut self.gone,
        };
        gone.push_back((self.now_ns.max(node.end_ns.unwrap_or(0)), key));
        node.exchange = None;
        node.calls = Vec::new();
        self.nodes.insert(key, node);
    }

    /// Lets a node go that was never taken in.
    pub(super) fn let_go_alone(&mut self, mut node: Node) {
        let decision = node.by_header();
        node.trace = Some(node.top_trace());
        self.emit_node(&mut node, &decision);
    }

    fn emit_node(&mut self, node: &mut Node, decision: &Decision) {
        let (Some(exchange), Some(trace), Some(end_ns)) = (node.exchange.take(), node.trace.clone(), node.end_ns)
        else {
            return;
        };
        let Some(conn) = self.conns.get_mut(&node.key.conn) else {
            self.counts.refused += 1;
            return;
        };
        let ids = |key: &Key| self.nodes.get(key).and_then(|node| Some((node.trace.as_ref()?.id, node.span_id)));
        let mut asides: Vec<(TraceId, SpanId, Option<Link>)> = Vec::new();
        if let Some((other, link)) = &decision.aside {
            asides.extend(ids(other).map(|(trace, span)| (trace, span, Some(*link))));
        }
        let parent = match &decision.parent {
            Parent::Root => None,
            Parent::Remote => node
                .context
                .as_ref()
                .map(|context| (context.trace_id, context.span_id, Link { method: Method::Header, confidence: 1.0 })),
            // The caller's span lies between this one and the one that the headers name.
            Parent::Told => {
                let link = Link { method: Method::TcpOption, confidence: 1.0 };
                node.told.map(|told| (trace.id, told.span_id, link))
            }
            Parent::Published => {
                let link = Link { method: Method::ThreadContext, confidence: 1.0 };
                node.published.map(|published| (published.trace_id, published.span_id, link))
            }
            Parent::Local(parent, link) => ids(parent).map(|(trace, span)| (trace, span, *link)),
        };
        // A trace that was fixed before all was known stays; a parent in another trace is then only told of.
        let parent = parent.filter(|&(id, span, link)| {
            let same = id == trace.id;
            if !same {
                asides.push((id, span, Some(link)));
            }
            same
        });
        let parent = parent.filter(|&(_, above, link)| {
            let is_claimed = matches!(link.method, Method::Header | Method::TcpOption | Method::ThreadContext);
            let may_be = self.lineage.add(node.span_id, above, is_claimed);
            self.counts.circular += u64::from(!may_be);
            may_be
        });
        if let Some(context) = &node.context
            && context.trace_id != trace.id
            && !matches!(decision.parent, Parent::Remote | Parent::Told)
        {
            asides.push((context.trace_id, context.span_id, None));
        }
        match parent {
            Some((_, _, link)) => self.counts.linked[link.method as usize] += 1,
            None => self.counts.roots += 1,
        }
        let is_apart = matches!(decision.parent, Parent::Local(..));
        let why = if is_apart { Why::Late } else { decision.why };
        if parent.is_none() && node.kind == Kind::Client {
            self.counts.unlinked[why as usize] += 1;
        }
        if let Some(process) = self.processes.get_mut(&node.tgid) {
            process.tally.count(node, parent.map(|(_, _, link)| link.method), why);
        }
        self.counts.spans += 1;
        let span = build::span(
            Parts {
                node,
                exchange: &exchange,
                socket: &conn.socket,
                texts: &mut conn.texts,
                trace: &trace,
                end_ns,
                parent: parent.map(|(_, span, link)| (span, link)),
                asides: &asides,
            },
            self.options.clock_offset_ns,
        );
        self.out.push(Arc::new(span));
    }
}

/// When waiting for a node's decisions ends.
fn deadline(node: &Node) -> u64 {
    node.end_ns.map_or(u64::MAX, |end_ns| end_ns.saturating_add(HOLD_NS))
}
