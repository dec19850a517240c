//! Whatever is lost, and however late a call's events come, a response is never paired with a request that it does not
//! answer, each exchange is told once and in order, and what lies clear of a loss is told as it was.

use super::random::{Random, Talk, seeds, talk};
use super::*;

/// Seeds of a quick round.
const SEEDS: u64 = 500;

/// A call, or the loss of its event.
#[derive(Clone)]
struct Call {
    talk: usize,
    flow: Flow,
    stamp: Stamp,
    bytes: Vec<u8>,
    left_out: Vec<bool>,
    lost: bool,
}

/// Short: a failure shows all calls.
impl std::fmt::Debug for Call {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { talk, flow, stamp, bytes, lost, .. } = self;
        let start = bytes[..bytes.len().min(24)].escape_ascii();
        let lost = if *lost { " LOST" } else { "" };
        write!(f, "{talk} {flow:?} {}..{} {} {start}{lost}", stamp.start_ns, stamp.end_ns, bytes.len())
    }
}

/// Talks with methods that are known by name: another one is not recognised where a message is looked for.
fn talks(random: &mut Random, n: u64) -> Vec<Talk> {
    let known = |id| std::iter::repeat_with(|| talk(random, id, id, false)).find(|talk| !talk.line.contains(" frob "));
    (0..n).filter_map(known).collect()
}

fn calls(random: &mut Random, talks: &[Talk]) -> Vec<Call> {
    let mut calls = Vec::new();
    for (n, talk) in talks.iter().enumerate() {
        let request = std::iter::once((Flow::Requests, &talk.request));
        for (flow, message) in request.chain(talk.responses.iter().map(|response| (Flow::Responses, response))) {
            let pieces = random.pick(&[1, 1, 1, 2, 4]);
            let size = message.bytes.len().div_ceil(pieces);
            for (bytes, left_out) in message.bytes.chunks(size).zip(message.left_out.chunks(size)) {
                let start_ns = 10 + calls.len() as u64 * 10;
                let stamp = Stamp { start_ns, end_ns: start_ns + 5, ..Stamp::default() };
                let (bytes, left_out) = (bytes.to_vec(), left_out.to_vec());
                calls.push(Call { talk: n, flow, stamp, bytes, left_out, lost: false });
            }
        }
    }
    calls
}

/// Lets another thread receive than sends, and calls that send return late: after the call that came next.
fn return_late(random: &mut Random, observer: Observer, calls: &mut [Call]) {
    let sent = if observer == Observer::Client { Flow::Requests } else { Flow::Responses };
    for call in calls.iter_mut() {
        call.stamp.tid = u32::from(call.flow == sent);
    }
    for n in 1..calls.len() {
        if calls[n - 1].flow == sent && calls[n].flow != sent && random.once_in(3) {
            calls[n - 1].stamp.end_ns = calls[n].stamp.end_ns + 1;
            calls.swap(n - 1, n);
        }
    }
}

/// Gives the calls to a parser. Of what was lost it is told promptly, or before the next bytes of the flow (with the
/// time of these, or of the next event of either flow), or that something was lost somewhere.
fn notices(random: &mut Random, config: Config, calls: &[Call]) -> Vec<Notice> {
    let mut connection = Connection::new(config);
    let mut out = Vec::new();
    let mut untold = [0_u64; 2];
    let mut by = [None; 2];
    for call in calls {
        let flow = usize::from(call.flow == Flow::Responses);
        if call.lost {
            match random.below(3) {
                0 => connection.data(call.flow, &call.stamp, Chunk::Lost(call.bytes.len() as u64), &mut out),
                1 => {
                    connection.data(Flow::Requests, &call.stamp, Chunk::Lost(0), &mut out);
                    connection.data(Flow::Responses, &call.stamp, Chunk::Lost(0), &mut out);
                }
                _ => untold[flow] += call.bytes.len() as u64,
            }
            continue;
        }
        for (by, untold) in by.iter_mut().zip(untold) {
            if untold > 0 && by.is_none_or(|(lost, _)| lost < untold) {
                *by = Some((untold, call.stamp.end_ns - 1));
            }
        }
        let lost = std::mem::take(&mut untold[flow]);
        if let Some((_, by)) = by[flow].take() {
            let bound = Stamp { start_ns: by, end_ns: by, ..call.stamp };
            let stamp = if random.once_in(2) { call.stamp } else { bound };
            connection.data(call.flow, &stamp, Chunk::Lost(lost), &mut out);
        }
        let mut rest = &call.bytes[..];
        for run in call.left_out.chunk_by(|a, b| a == b) {
            let (bytes, after) = rest.split_at(run.len());
            let chunk = if run[0] { Chunk::Skipped(bytes.len() as u64) } else { Chunk::Copied(bytes) };
            connection.data(call.flow, &call.stamp, chunk, &mut out);
            rest = after;
        }
    }
    connection.end(None, End::Closed, &mut out);
    assert_eq!(connection.open(), 0);
    out
}

/// The number that a request names, and the one that its response names.
fn ids(exchange: &Exchange) -> (Option<usize>, Option<usize>) {
    let asked = exchange.request.as_ref().and_then(|request| {
        let path = text(&request.target).trim_start_matches("http://h/").trim_start_matches('/');
        path.split(['?', ';']).next()?.parse().ok()
    });
    let answered = exchange.response.as_ref().and_then(|response| {
        let (_, id) = response.headers.iter().find(|(name, _)| name == "x-request-id")?;
        text(id).parse().ok()
    });
    (asked, answered)
}

fn check(seed: u64, talks: &[Talk], calls: &[Call], out: &[Notice]) {
    let mut started = Vec::new();
    let mut finished = Vec::new();
    for notice in out {
        match notice {
            Notice::Started { ordinal, .. } => started.push(*ordinal),
            Notice::Finished(exchange) => finished.push(exchange),
            Notice::Opaque => panic!("seed {seed}"),
        }
    }
    let ordinals: Vec<_> = finished.iter().map(|exchange| exchange.ordinal).collect();
    assert_eq!(started, ordinals, "seed {seed}");
    assert!(ordinals.is_sorted(), "seed {seed}");
    for exchange in &finished {
        let (Some(asked), Some(answered)) = ids(exchange) else { continue };
        assert_eq!(asked, answered, "seed {seed}: {}\n{calls:#?}", line(exchange));
    }
    // What the neighbours of a loss suffer is not said here; what lies clear of it must be whole.
    let hurt = |talk: usize| calls.iter().any(|call| call.lost && call.talk.abs_diff(talk) <= 2);
    for (n, talk) in talks.iter().enumerate().filter(|(n, _)| !hurt(*n)) {
        let found = finished.iter().find(|exchange| ids(exchange).0 == Some(n)).map(|exchange| line(exchange));
        let found = found.as_deref().and_then(|line| line.split_once(' ')).map(|(_, line)| line);
        assert_eq!(
            found,
            talk.line.split_once(' ').map(|(_, line)| line),
            "seed {seed}: {n}\n{calls:#?}\n{:#?}",
            finished.iter().map(|e| line(e)).collect::<Vec<_>>()
        );
    }
}

#[test]
fn after_losses_no_response_is_paired_with_a_wrong_request() {
    for seed in seeds(SEEDS) {
        let random = &mut Random::new(seed);
        let talks = talks(random, 12);
        let mut calls = calls(random, &talks);
        let observer = random.pick(&[Observer::Client, Observer::Server]);
        if random.once_in(2) {
            return_late(random, observer, &mut calls);
        }
        let losses = random.below(4);
        for _ in 0..losses {
            let at = random.below(calls.len());
            let burst = random.pick(&[1, 1, 2, 6]);
            calls.iter_mut().skip(at).take(burst).for_each(|call| call.lost = true);
        }
        let out = notices(random, Config::new(observer), &calls);
        check(seed, &talks, &calls, &out);
    }
}

#[test]
fn joined_anywhere_a_connection_gives_no_wrong_pair() {
    for seed in seeds(SEEDS) {
        let random = &mut Random::new(seed);
        let talks = talks(random, 6);
        let mut calls = calls(random, &talks);
        let observer = random.pick(&[Observer::Client, Observer::Server]);
        let threads = random.once_in(2);
        if threads {
            return_late(random, observer, &mut calls);
        }
        // Calls that were under way at that moment are not seen.
        let joined = calls[random.below(calls.len())].stamp.end_ns;
        for call in &mut calls {
            call.lost = call.stamp.start_ns < joined;
        }
        let received = if observer == Observer::Client { Flow::Responses } else { Flow::Requests };
        if threads
            && random.once_in(2)
            && let Some(call) = calls.iter_mut().find(|call| !call.lost && call.flow == received)
        {
            // It had waited for these bytes since before.
            call.lost = true;
        }
        let config = Config { joined_late: true, ..Config::new(observer) };
        let seen: Vec<_> = calls.iter().filter(|call| !call.lost).cloned().collect();
        let out = notices(random, config, &seen);
        check(seed, &talks, &calls, &out);
    }
}
