//! When a span starts and ends, and how its time splits. Every stamp is the kernel's; nothing here reads a clock.

use crate::{
    conn::Socket,
    protocol::{Exchange, Incomplete, Stamp, Version},
    span::Kind,
};

/// When a span starts that begins with this call, in boot-time nanoseconds: a server has the request once the call
/// that read its first byte returns; a client begins it when it enters the call that writes the first byte.
pub(super) const fn first_ns(kind: Kind, first: &Stamp) -> u64 {
    match kind {
        Kind::Server => first.end_ns,
        Kind::Client => first.start_ns,
    }
}

/// The first call that was seen of an exchange.
pub(super) fn first_stamp(exchange: &Exchange) -> Option<Stamp> {
    exchange.sent.or(exchange.answered).map(|transfer| transfer.first)
}

/// When the span of an exchange starts, in boot-time nanoseconds; `None` if no byte of it was seen. An exchange whose
/// request was not seen starts with its response.
pub fn start_ns(kind: Kind, exchange: &Exchange) -> Option<u64> {
    first_stamp(exchange).map(|first| first_ns(kind, &first))
}

/// When the span of an exchange ends, in boot-time nanoseconds. This is the one place where that is decided: an answered
/// exchange ends when the call that moved the response's last byte returns (a server's write, a client's read); one that
/// was broken off ends with `at_ns`, the event that broke it off (reset, close, end of the process, expiry).
pub fn end_ns(exchange: &Exchange, at_ns: u64) -> u64 {
    let last = exchange.answered.map(|transfer| transfer.last.end_ns);
    match (last, exchange.incomplete) {
        (Some(last), Some(why)) if broke_off(why) => last.max(at_ns),
        (Some(last), _) => last,
        (None, _) => at_ns,
    }
}

/// Whether the exchange itself was broken off, and not merely our sight of it.
const fn broke_off(why: Incomplete) -> bool {
    match why {
        Incomplete::Reset
        | Incomplete::Closed
        | Incomplete::Exited
        | Incomplete::Unobserved
        | Incomplete::TimedOut
        | Incomplete::Refused => true,
        Incomplete::Lost
        | Incomplete::Cut
        | Incomplete::Malformed
        | Incomplete::HeadTooLong
        | Incomplete::JoinedLate
        | Incomplete::HeadersUnknown => false,
    }
}

/// How a span's time splits: tells attribute names and nanoseconds, as far as known. `calls` are the times of the calls made
/// for a server's request.
pub(super) fn splits(
    kind: Kind,
    exchange: &Exchange,
    socket: &Socket,
    calls: &[(u64, u64)],
    mut split: impl FnMut(&'static str, u64),
) {
    let mut put = |name, ns: Option<u64>| {
        if let Some(ns) = ns {
            split(name, ns);
        }
    };
    let is_http2 = exchange.request.as_ref().is_some_and(|request| request.version == Version::Http2);
    // Stream 1 is the first that a client opens.
    let first_of_all = exchange.ordinal == u64::from(is_http2) && socket.from_beginning();
    let (sent, answered) = (exchange.sent, exchange.answered);
    let message = exchange.rpc.as_ref().and_then(|rpc| rpc.first_message);
    let until_message = sent.zip(message).map(|(sent, message)| match kind {
        Kind::Server => message.start_ns.saturating_sub(sent.first.end_ns),
        Kind::Client => message.end_ns.saturating_sub(sent.first.start_ns),
    });
    put("netspan.time.first_message", until_message);
    match kind {
        Kind::Server => {
            put("netspan.time.accept_wait", socket.accept_wait_ns().filter(|_| first_of_all));
            let arrived = sent.and_then(|sent| Some((sent.first.arrived_ns?, sent.first.end_ns)));
            put("netspan.time.queue_wait", arrived.map(|(arrived, read)| read.saturating_sub(arrived)));
            put("netspan.time.receive", sent.map(|sent| sent.last.end_ns.saturating_sub(sent.first.end_ns)));
            let work = sent.zip(answered).map(|(sent, answered)| (sent.last.end_ns, answered.first.start_ns));
            let downstream = work.map(|work| covered(work, calls));
            put("netspan.time.app", work.zip(downstream).map(|((from, to), down)| to.saturating_sub(from) - down));
            put("netspan.time.downstream", downstream);
            put(
                "netspan.time.send",
                answered.map(|answered| answered.last.end_ns.saturating_sub(answered.first.start_ns)),
            );
        }
        Kind::Client => {
            put("netspan.time.connect", socket.connect_ns().filter(|_| first_of_all));
            put("netspan.time.send", sent.map(|sent| sent.last.end_ns.saturating_sub(sent.first.start_ns)));
            let wait = sent.zip(answered).map(|(sent, answered)| {
                let arrived = answered.first.arrived_ns.unwrap_or(answered.first.end_ns);
                arrived.saturating_sub(sent.last.end_ns)
            });
            put("netspan.time.wait", wait);
            let arrived = answered.and_then(|answered| Some((answered.first.arrived_ns?, answered.first.end_ns)));
            put("netspan.time.queue_wait", arrived.map(|(arrived, read)| read.saturating_sub(arrived)));
            put(
                "netspan.time.receive",
                answered.map(|answered| answered.last.end_ns.saturating_sub(answered.first.end_ns)),
            );
        }
    }
}

/// How much of a span of time the calls cover; where they overlap, it counts once.
fn covered((from, to): (u64, u64), calls: &[(u64, u64)]) -> u64 {
    if let [] | [_] = calls {
        return calls.iter().map(|&(start, end)| end.min(to).saturating_sub(start.max(from))).sum();
    }
    let mut calls: Vec<(u64, u64)> = calls.iter().map(|&(start, end)| (start.max(from), end.min(to))).collect();
    calls.sort_unstable();
    let mut reached = from;
    let mut sum = 0;
    for (start, end) in calls {
        sum += end.saturating_sub(start.max(reached));
        reached = reached.max(end);
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{Size, Transfer};

    fn transfer(first: (u64, u64), last: (u64, u64)) -> Transfer {
        let stamp = |(start_ns, end_ns)| Stamp { start_ns, end_ns, ..Stamp::default() };
        Transfer { first: stamp(first), last: stamp(last), size: Size::default() }
    }

    fn exchange(incomplete: Option<Incomplete>) -> Exchange {
        Exchange {
            ordinal: 0,
            offset: None,
            request: None,
            response: None,
            sent: Some(transfer((10, 12), (20, 22))),
            answered: Some(transfer((100, 105), (110, 115))),
            informational: None,
            switched: false,
            reset: None,
            rpc: None,
            incomplete,
        }
    }

    #[test]
    fn a_server_starts_with_a_returned_read_and_a_client_with_an_entered_write() {
        assert_eq!(start_ns(Kind::Server, &exchange(None)), Some(12));
        assert_eq!(start_ns(Kind::Client, &exchange(None)), Some(10));
    }

    #[test]
    fn an_answered_exchange_ends_with_its_last_byte_and_a_broken_one_with_what_broke_it() {
        assert_eq!(end_ns(&exchange(None), 900), 115);
        assert_eq!(end_ns(&exchange(Some(Incomplete::Lost)), 900), 115);
        assert_eq!(end_ns(&exchange(Some(Incomplete::Reset)), 900), 900);
        let unanswered = Exchange { answered: None, ..exchange(Some(Incomplete::TimedOut)) };
        assert_eq!(end_ns(&unanswered, 900), 900);
    }

    #[test]
    fn the_parts_of_a_server_span_add_up_to_it() {
        let calls = [(30, 50), (40, 60), (70, 80), (5, 8), (99, 130)];
        let mut parts = Vec::new();
        splits(Kind::Server, &exchange(None), &Socket::default(), &calls, |name, ns| parts.push((name, ns)));
        let part = |name: &str| parts.iter().find(|(part, _)| part.ends_with(name)).map(|(_, ns)| *ns);
        assert_eq!(part("downstream"), Some(41));
        assert_eq!(part("app"), Some(100 - 22 - 41));
        assert_eq!(parts.iter().map(|(_, ns)| ns).sum::<u64>(), 115 - 12);
    }
}
