use super::*;
use rustc_hash::FxHashMap;

fn key(conn: u64, ordinal: u64) -> Key {
    Key { conn, ordinal }
}

/// Requests that overlap, each with a call that begins 100 to 110 µs after it; `round` is called now and then.
fn play(gathered: &mut Gathered, requests: u64, mut each: impl FnMut(&mut Gathered, u64)) {
    for n in 0..requests {
        let start_ns = n * 1_000_000;
        let call_ns = start_ns + 100_000 + n * 7919 % 10_000;
        gathered.received(key(n, 0), start_ns, 1);
        let call = Call { start_ns: call_ns, end_ns: call_ns + 2_000_000, route: 1, ..Call::default() };
        let _ = gathered.ask(key(n, 1), call, None);
        gathered.answered(key(n, 0), call_ns + 2_050_000, || 1);
        each(gathered, call_ns + 2_050_000);
    }
}

#[test]
fn calls_get_their_requests_once_the_model_is_learned_and_none_waits_longer_than_is_said() {
    let (mut gathered, mut counts) = (Gathered::default(), infer::Counts::default());
    let (mut found, mut next_ns, mut asked_ns) = (Vec::new(), 0, FxHashMap::default());
    play(&mut gathered, 4000, |gathered, now_ns| {
        let call = gathered.calls.back().map(|made| made.key);
        asked_ns.extend(call.map(|call| (call, now_ns - 50_000)));
        if now_ns >= next_ns {
            let round = gathered.round(next_ns, u64::MAX, &mut counts);
            for one in round.found {
                assert!(next_ns <= asked_ns[&one.call] + WAIT_MAX_NS);
                found.push(one);
            }
            next_ns += ROUND_NS;
        }
    });
    let parents: Vec<bool> =
        found.iter().filter_map(|one| one.request.map(|(request, _)| request.conn == one.call.conn)).collect();
    // The first 1400 calls are those that the model is learned from, and that are made meanwhile.
    assert!(parents.len() > 1500, "{} of {}", parents.len(), found.len());
    assert!(parents.iter().filter(|right| !**right).count() * 100 <= parents.len());
}

#[test]
fn what_nothing_tells_apart_does_not_make_the_rest_doubtful() {
    let (mut gathered, mut counts) = (Gathered::default(), infer::Counts::default());
    let (mut sure, mut all, mut next_ns) = (0, 0, 0);
    for n in 0..3000 {
        let start_ns = n * 1_000_000;
        let call_ns = start_ns + 100_000 + n * 7919 % 10_000;
        // Of every fourth request there is one more, on the same connection, at the same time.
        let streams = if n % 4 == 0 { 0..2 } else { 0..1 };
        streams.clone().for_each(|stream| gathered.received(key(n, stream), start_ns, 1));
        for stream in streams.clone() {
            let call = Call { start_ns: call_ns, end_ns: call_ns + 2_000_000, route: 1, ..Call::default() };
            let _ = gathered.ask(key(n, 100 + stream), call, None);
        }
        streams.for_each(|stream| gathered.answered(key(n, stream), call_ns + 2_050_000, || 1));
        if call_ns + 2_050_000 < next_ns {
            continue;
        }
        for one in gathered.round(next_ns, u64::MAX, &mut counts).found {
            let alone = one.call.conn % 4 != 0;
            all += u32::from(alone && one.request.is_some());
            let right = one.request.is_some_and(|(request, sure)| sure >= 0.95 && request.conn == one.call.conn);
            sure += u32::from(alone && right);
        }
        next_ns += ROUND_NS;
    }
    assert!(all > 400 && sure * 100 >= all * 98, "{sure} of {all}");
}

#[test]
fn what_would_be_too_much_work_is_given_up_and_counted() {
    let (mut gathered, mut counts) = (Gathered::default(), infer::Counts::default());
    let mut unsolved = 0;
    play(&mut gathered, 3000, |gathered, now_ns| {
        if gathered.waiting >= 200 {
            let round = gathered.round(now_ns, 1, &mut counts);
            unsolved += round.unsolved;
            let is_told = |one: &Found| one.request.is_some() || matches!(one.why, Why::Work | Why::Learning);
            assert!(round.found.iter().all(is_told));
        }
    });
    // Those before the model was learned are not among them.
    assert!(unsolved > 500, "{unsolved}");
}

#[test]
fn what_is_kept_is_bounded() {
    let mut gathered = Gathered::default();
    play(&mut gathered, 3 * REMEMBERED_MAX as u64, |_, _| {});
    assert!(gathered.calls.len() <= REMEMBERED_MAX && gathered.requests.len() <= REMEMBERED_MAX);
    assert!(gathered.waiting <= WAITING_MAX);
}

#[test]
fn a_round_has_the_calls_of_its_requests_time_and_no_others() {
    let mut gathered = Gathered::default();
    play(&mut gathered, 3000, |_, _| {});
    // The last request was answered after 2.15 ms; requests come one each millisecond.
    let (first_ns, now_ns) = (2_000_000_000, 3_010_000_000);
    for made in &mut gathered.calls {
        if !(first_ns..first_ns + 10_000_000).contains(&made.call.start_ns) {
            made.whose = Whose::Unknown;
        }
    }
    let (from_ns, to_ns) = gathered.range(first_ns - BEFORE_NS, now_ns);
    assert!((first_ns - 5_000_000..first_ns).contains(&from_ns), "{from_ns}");
    assert!((first_ns + 10_000_000..first_ns + 15_000_000).contains(&to_ns), "{to_ns}");
    let ((requests, calls), work) = gathered.window((from_ns, to_ns), now_ns, true);
    assert!((10..20).contains(&calls.len()) && (10..25).contains(&requests.len()));
    let is_open = |call: &Call, asked: &Asked| {
        asked.request.start_ns <= call.start_ns && asked.request.end_ns.is_none_or(|end_ns| end_ns >= call.start_ns)
    };
    let pairs: usize = calls.iter().map(|(_, call, _)| requests.iter().filter(|one| is_open(call, one)).count()).sum();
    assert_eq!(work, pairs as u64);
}

#[test]
fn a_round_without_a_ripe_call_solves_nothing() {
    let (mut gathered, mut counts) = (Gathered::default(), infer::Counts::default());
    play(&mut gathered, 1000, |_, _| {});
    gathered.model = Some(Model::new());
    let first_ns = gathered.calls.front().map_or(0, |made| made.call.end_ns);
    let round = gathered.round(first_ns + 1, u64::MAX, &mut counts);
    assert!(round.found.is_empty() && round.is_waiting && round.work == 0 && gathered.job.is_none());
}
