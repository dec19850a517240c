//! Where a finished exchange hangs, by the evidence in order of authority: `thread-context`, `header`, `socket`, `tcp-option`,
//! `goroutine`, `task`, `thread`, `token`, `exclusive`, `handoff`, `turn`, `inferred`. A link is made only if nothing contradicts it; no parent is
//! better than a wrong one.

use super::{
    ADDRESS_WAIT_NS, CALL_WAIT_NS, DEFAULT_MIN_CONFIDENCE, Key, Linker, RIPE_NS, UNEXPLAINED_CONFIDENCE,
    live::Found,
    node::{Decision, Node, Parent},
    process::Cause,
    tally::Why,
};
use crate::span::{Kind, Link, Method};

/// Confidence from which on an inferred request is told of, though not as a parent.
const ASIDE_MIN: f64 = 0.5;

/// What can be said of a node now.
#[derive(Debug)]
pub(super) enum Verdict {
    Decided(Decision),
    /// Ask again when that node is finished.
    After(Key),
    /// Ask again at that time, in boot-time nanoseconds.
    At(u64),
    /// A round of inference will decide.
    Round,
}

/// The other end's exchange of the same request.
enum Mirror {
    Found(Key),
    /// It may be this one, which is not finished.
    Open(Key),
    /// The other end is known, and a request of it is not: the call that sent it may not have returned yet.
    Missing,
    None,
}

impl Linker {
    /// Says where a node hangs. With `now_or_never`, by what is known so far, even if the node is still open.
    pub(super) fn decide(&mut self, key: Key, now_or_never: bool) -> Verdict {
        let Some(node) = self.nodes.get(&key) else { return Verdict::Decided(Decision::root()) };
        let (kind, end_ns, by_header) = (node.kind, node.end_ns, node.by_header());
        let decision = match kind {
            Kind::Client => match self.decide_client(key, now_or_never) {
                Verdict::Decided(decision) => decision,
                later => return later,
            },
            Kind::Server => match self.mirror(key) {
                Mirror::Found(client) => Decision::local(client, Link { method: Method::Socket, confidence: 1.0 }),
                Mirror::Open(client) if now_or_never => {
                    Decision::local(client, Link { method: Method::Socket, confidence: 1.0 })
                }
                Mirror::Open(client) => return Verdict::After(client),
                absent @ (Mirror::Missing | Mirror::None) => {
                    let is_missing = matches!(absent, Mirror::Missing);
                    let at_most = if is_missing { CALL_WAIT_NS } else { ADDRESS_WAIT_NS };
                    let until = end_ns.map_or(0, |end_ns| end_ns.saturating_add(at_most));
                    if !now_or_never && self.now_ns <= until && (is_missing || self.may_mirror(key)) {
                        return Verdict::At(until);
                    }
                    by_header
                }
            },
        };
        Verdict::Decided(decision)
    }

    /// A call hangs under the request that it was made for. If it carries a context of its own, a program's tracer made a
    /// span in between, so that is the parent; a context that was merely handed through is no news. What the thread published that made
    /// the call is the tracer's own word, and never merely handed through.
    fn decide_client(&mut self, key: Key, now_or_never: bool) -> Verdict {
        let Some(node) = self.nodes.get(&key) else { return Verdict::Decided(Decision::root()) };
        let process = self.processes.get_mut(&node.tgid).filter(|_| !now_or_never);
        if let Some(again) = process.and_then(|process| process.wait(node, self.now_ns)) {
            return Verdict::At(again);
        }
        let to = self.conns.get(&key.conn).and_then(|conn| conn.socket.ends).map(|(_, peer)| peer);
        let cause = self
            .processes
            .get_mut(&node.tgid)
            .map_or(Cause::Unknown(Why::Late), |process| process.cause(node, to, self.now_ns));
        let by_header = node.by_header();
        let is_alone = node.context.is_none() && node.published.is_none();
        if let Some(process) = self.processes.get_mut(&node.tgid) {
            let last = process.turns.told(&key).request;
            match cause {
                Cause::Ask if is_alone && !now_or_never => {
                    let (tgid, end_ns) = (node.tgid, node.end_ns.unwrap_or(node.start_ns));
                    let asked = process.gathered.ask(key, node.as_call(&to), last);
                    if asked.is_ok() {
                        if !process.gathered.is_scheduled {
                            process.gathered.is_scheduled = true;
                            self.rounds.insert((end_ns.saturating_add(RIPE_NS), tgid));
                        }
                        return Verdict::Round;
                    }
                    let why = asked.err().unwrap_or(Why::Late);
                    return Verdict::Decided(by_header.because(why));
                }
                Cause::Request(request, _, confidence) if process.gathered.is_on() => {
                    let request = Some(request).filter(|_| confidence >= DEFAULT_MIN_CONFIDENCE);
                    process.gathered.known(key, node.as_call(&to), last, request);
                }
                _ => {}
            }
        }
        let (request, link) = match cause {
            Cause::Request(request, method, confidence) => (request, Link { method, confidence }),
            Cause::Unknown(why) => return Verdict::Decided(by_header.because(why)),
            Cause::Ask => return Verdict::Decided(by_header.because(Why::Late)),
            Cause::Follows(request, method, confidence) => {
                let aside = Some((request, Link { method, confidence }));
                return Verdict::Decided(Decision { aside, ..by_header.because(Why::Outlived) });
            }
            Cause::Contradiction => {
                self.counts.contradicted += 1;
                return Verdict::Decided(by_header.because(Why::Contradicted));
            }
        };
        let above = self.nodes.get(&request);
        if node.is_export {
            match above {
                // What the request was is known once it is over.
                Some(above) if above.end_ns.is_none() && !now_or_never => return Verdict::After(request),
                Some(above) if above.is_export => {}
                _ => return Verdict::Decided(by_header.because(Why::Export)),
            }
        }
        let handed_through = match (&node.context, above.and_then(|above| above.context.as_ref())) {
            _ if node.published.is_some() => false,
            (None, _) => true,
            (Some(own), Some(above)) => own.same_caller(above),
            // The request's headers are known once it is over.
            (Some(_), None) if !now_or_never && above.is_some_and(|above| above.end_ns.is_none()) => {
                return Verdict::After(request);
            }
            (Some(_), None) => false,
        };
        if handed_through && link.confidence >= self.options.min_confidence {
            return Verdict::Decided(Decision::local(request, link));
        }
        if handed_through {
            self.counts.unsure += 1;
        } else if link.confidence >= self.options.min_confidence {
            let by_header = node.context.as_ref().map(|context| context.trace_id);
            let trace_id = node.published.map(|published| published.trace_id).or(by_header);
            self.adopt(request, trace_id);
        }
        let why = if link.confidence > UNEXPLAINED_CONFIDENCE { Why::Unsure } else { Why::Destination };
        Verdict::Decided(Decision { aside: Some((request, link)), ..by_header.because(why) })
    }

    /// A round of inference found this out of a call that waits.
    pub(super) fn found(&self, Found { call, request, why }: Found) -> Option<Decision> {
        let node = self.nodes.get(&call).filter(|node| node.decision.is_none())?;
        let by_header = node.by_header().because(why);
        let Some((request, confidence)) = request else { return Some(by_header) };
        let link = Link { method: Method::Inferred, confidence };
        let is_within =
            self.nodes.get(&request).is_some_and(|above| above.end_ns.is_none_or(|end_ns| node.end_ns <= Some(end_ns)));
        if !is_within {
            return Some(by_header.because(Why::Outlived));
        }
        if node.is_export && !self.nodes.get(&request).is_some_and(|above| above.is_export) {
            return Some(by_header.because(Why::Export));
        }
        if confidence >= self.options.min_confidence {
            return Some(Decision::local(request, link));
        }
        if confidence < ASIDE_MIN {
            return Some(by_header);
        }
        Some(Decision { aside: Some((request, link)), ..by_header })
    }

    /// The client's exchange, on this host, of the request that a server exchange is about.
    fn mirror(&mut self, key: Key) -> Mirror {
        let Some(server) = self.nodes.get(&key) else { return Mirror::None };
        let Some(client_conn) = self.client_conn(key, server.start_ns) else {
            return if self.may_have_session(key, server.start_ns) { Mirror::Missing } else { Mirror::None };
        };
        let whole = |id: &u64| self.conns.get(id).is_some_and(|conn| conn.socket.from_beginning());
        let both_whole = whole(&key.conn) && whole(&client_conn);
        let Some(conn) = self.conns.get(&client_conn) else { return Mirror::None };
        let (mut found, mut found_count) = (None, 0);
        let mut open = None;
        let mut contradicted = false;
        // A stream has the same number at both ends; else the ordinal may differ, and exchanges end in their order.
        let stream = server.stream.map(|_| key.ordinal);
        let others = conn.exchanges.iter().rev().copied().filter(|_| stream.is_none());
        for ordinal in stream.into_iter().chain(others) {
            let client = Key { conn: client_conn, ordinal };
            let Some(node) = self.nodes.get(&client) else { continue };
            // A stream that its client resets may be over before the server reads the first of it.
            if stream.is_none() && node.end_ns.is_some_and(|end_ns| end_ns < server.start_ns) {
                break;
            }
            match same_request(node, server, both_whole) {
                Same::Yes => (found, found_count) = (Some(client), found_count + 1),
                Same::Open => open = Some(client),
                Same::Contradiction => contradicted = true,
                Same::No => {}
            }
        }
        self.counts.contradicted += u64::from(contradicted);
        // Calls on one connection return in their order, but for threads that write to it at once: what came later tells
        // that nothing is missing.
        let is_passed = || {
            let mut known = conn.exchanges.iter().rev().map(|ordinal| Key { conn: client_conn, ordinal: *ordinal });
            let is_later = |client| self.nodes.get(&client).is_some_and(|client| client.start_ns > server.start_ns);
            contradicted || known.any(is_later)
        };
        match (found.filter(|_| found_count == 1), open) {
            (Some(client), _) => Mirror::Found(client),
            (None, Some(client)) if found_count == 0 => Mirror::Open(client),
            (None, None) if found_count == 0 && !is_passed() => Mirror::Missing,
            _ => Mirror::None,
        }
    }
}

enum Same {
    Yes,
    No,
    /// One of them is not finished, so what was asked is not known of both.
    Open,
    /// Same place on the connection, other request.
    Contradiction,
}

/// Whether a client's and a server's exchange on one connection are about the same request: at the same place of it, if
/// both saw it from its first byte, else within the client's time; and with the same request line.
fn same_request(client: &Node, server: &Node, both_whole: bool) -> Same {
    if client.start_ns > server.start_ns {
        return Same::No;
    }
    if client.end_ns.is_none() || server.end_ns.is_none() {
        let same_place = both_whole && client.key.ordinal == server.key.ordinal;
        let may_be = !both_whole && client.end_ns.is_none();
        return if same_place || may_be { Same::Open } else { Same::No };
    }
    let same_line = client.line == server.line;
    if let (Some(ours), Some(theirs)) = (client.stream, server.stream) {
        // A loss may have left one of them without its line, but never with another's stream.
        return match ours == theirs {
            true if same_line || !client.has_line || !server.has_line => Same::Yes,
            true => Same::Contradiction,
            false => Same::No,
        };
    }
    let answered = server.exchange.as_ref().and_then(|exchange| exchange.answered);
    let answered_before = answered.is_some_and(|answered| {
        client.is_whole && client.end_ns.is_some_and(|end_ns| end_ns < answered.first.start_ns)
    });
    match (client.offset, server.offset) {
        (Some(ours), Some(theirs)) if both_whole && ours != theirs => Same::No,
        (Some(_), Some(_)) if both_whole && (!same_line || answered_before) => Same::Contradiction,
        _ if same_line && !answered_before => Same::Yes,
        _ => Same::No,
    }
}

impl Decision {
    pub(super) fn root() -> Self {
        Self { parent: Parent::Root, aside: None, why: Why::NoRequest }
    }

    fn local(key: Key, link: Link) -> Self {
        Self { parent: Parent::Local(key, link), ..Self::root() }
    }
}

impl Node {
    /// Where it hangs if nothing is known but what its thread published, its headers, and what its caller's host told.
    pub(super) fn by_header(&self) -> Decision {
        if self.published.is_some() {
            return Decision { parent: Parent::Published, ..Decision::root() };
        }
        match (&self.told, &self.context) {
            (Some(_), _) => Decision { parent: Parent::Told, ..Decision::root() },
            (None, Some(_)) => Decision { parent: Parent::Remote, ..Decision::root() },
            (None, None) => Decision::root(),
        }
    }
}
