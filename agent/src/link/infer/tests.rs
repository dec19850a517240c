//! Windows made up from seeds: traffic that can be solved, and garbage that must do no harm.

use super::{random::Random, *};

/// Requests of two routes that make calls one after the other; and whose call each is.
fn traffic(seed: u64, requests: usize, every_us: u64) -> (Vec<Request>, Vec<Call>, Vec<u32>) {
    let mut random = Random::new(seed);
    let mut delay = |us: u64| us * 1000 + random.below(us as usize * 500) as u64;
    let (mut all, mut calls) = (Vec::new(), Vec::new());
    for n in 0..requests as u64 {
        let start_ns = 1_000_000_000 + n * every_us * 1000 + delay(every_us) / 2;
        let mut now_ns = start_ns + delay(200);
        for route in 0..(2 + n % 2) {
            let end_ns = now_ns + delay(1000 * (route + 1));
            calls.push((Call { start_ns: now_ns, end_ns, route: route as u32, ..Call::default() }, n as u32));
            now_ns = end_ns + delay(100);
        }
        all.push(Request { start_ns, end_ns: Some(now_ns), route: (n % 2) as u32, thread: None, whole: true });
    }
    calls.sort_by_key(|(call, _)| call.start_ns);
    let (calls, owners) = calls.into_iter().unzip();
    (all, calls, owners)
}

fn solved(requests: &[Request], calls: &[Call]) -> (Vec<Verdict>, Counts) {
    let (mut model, mut counts) = (Model::new(), Counts::default());
    let window = Window { requests, calls };
    model.learn(&window, 1, &mut counts);
    (model.solve(&window, 2, &mut counts), counts)
}

#[test]
fn traffic_with_regular_delays_is_linked() {
    for (every_us, right_min) in [(20_000, 1.0), (2000, 0.99), (500, 0.97)] {
        let (requests, calls, owners) = traffic(7, 600, every_us);
        let (verdicts, _) = solved(&requests, &calls);
        let right = verdicts.iter().zip(&owners).filter(|(verdict, owner)| verdict.request == Some(**owner)).count();
        assert!(right as f64 >= right_min * calls.len() as f64, "{right} of {} at one per {every_us} µs", calls.len());
        let sure: Vec<_> = verdicts.iter().zip(&owners).filter(|(verdict, _)| verdict.confidence >= 0.95).collect();
        let wrong = sure.iter().filter(|(verdict, owner)| verdict.request != Some(**owner)).count();
        assert!(wrong * 100 <= sure.len() && sure.len() * 2 > calls.len(), "{wrong} of {} sure ones", sure.len());
    }
}

#[test]
fn what_nothing_tells_apart_is_told_and_leaves_no_doubt_about_the_rest() {
    let (mut requests, mut calls, mut owners) = traffic(7, 600, 20_000);
    // Of every fourth request there is one more, read and answered by the same system calls, as those of one connection are.
    for n in (0..600).step_by(4) {
        let twin = requests.len() as u32;
        requests.push(requests[n as usize]);
        let own: Vec<Call> = calls.iter().zip(&owners).filter_map(|(call, own)| (*own == n).then_some(*call)).collect();
        owners.extend(own.iter().map(|_| twin));
        calls.extend(own);
    }
    let (verdicts, _) = solved(&requests, &calls);
    let (mut ties, mut sure) = (0, 0);
    for (verdict, owner) in verdicts.iter().zip(&owners) {
        let is_twin = *owner >= 600 || *owner % 4 == 0;
        assert!(is_twin || !verdict.is_tie, "{verdict:?}");
        assert!(!is_twin || verdict.confidence < 0.95, "{verdict:?}");
        ties += u32::from(verdict.is_tie);
        sure += usize::from(!is_twin && verdict.confidence >= 0.95 && verdict.request == Some(*owner));
    }
    let twins = calls.len() - owners.iter().filter(|owner| **owner < 600 && **owner % 4 != 0).count();
    assert!(ties as usize * 2 > twins, "{ties} of {twins}");
    assert!(sure * 100 >= (calls.len() - twins) * 99, "{sure} of {}", calls.len() - twins);
}

#[test]
fn the_same_seed_gives_the_same_verdicts() {
    let (requests, calls, _) = traffic(3, 200, 800);
    assert_eq!(solved(&requests, &calls), solved(&requests, &calls));
}

#[test]
fn a_kept_model_links_what_it_was_not_learned_from() {
    let (mut model, mut counts) = (Model::new(), Counts::default());
    let (requests, calls, _) = traffic(11, 600, 20_000);
    model.learn(&Window { requests: &requests, calls: &calls }, 1, &mut counts);
    let (requests, calls, owners) = traffic(12, 100, 1000);
    let verdicts = model.solve(&Window { requests: &requests, calls: &calls }, 1, &mut counts);
    let right = verdicts.iter().zip(&owners).filter(|(verdict, owner)| verdict.request == Some(**owner)).count();
    assert!(right * 100 >= calls.len() * 97, "{right} of {}", calls.len());
}

#[test]
fn what_is_known_is_kept_and_what_is_barred_is_not_found() {
    let (requests, mut calls, owners) = traffic(5, 100, 1000);
    for (call, owner) in calls.iter_mut().zip(&owners).step_by(3) {
        call.owner = Owner::Request(*owner);
    }
    for (call, owner) in calls.iter_mut().zip(&owners).skip(1).step_by(3) {
        call.barred = Some(*owner);
    }
    let (verdicts, _) = solved(&requests, &calls);
    for ((verdict, call), owner) in verdicts.iter().zip(&calls).zip(&owners) {
        assert!(call.barred.is_none() || verdict.request != Some(*owner));
        assert!(call.owner == Owner::Unknown || verdict.request == Some(*owner));
    }
}

#[test]
fn calls_that_nobody_made_stay_alone_or_unsure() {
    let (requests, mut calls, mut owners) = traffic(9, 300, 3000);
    for n in 0..60 {
        let start_ns = 1_000_000_000 + n * 14_500_000;
        calls.push(Call { start_ns, end_ns: start_ns + 90_000, route: 77, ..Call::default() });
        owners.push(u32::MAX);
    }
    let (verdicts, _) = solved(&requests, &calls);
    let claimed = verdicts.iter().zip(&calls).filter(|(verdict, call)| call.route == 77 && verdict.confidence >= 0.95);
    let claimed = claimed.count();
    assert!(claimed <= 3, "{claimed} of 60");
}

#[test]
fn garbage_does_no_harm() {
    for seed in 0..60 {
        let mut random = Random::new(seed);
        let edges = [0, 1, 999, 1000, u64::from(u32::MAX), i64::MAX as u64, u64::MAX - 1, u64::MAX];
        let stamp = |random: &mut Random| match random.below(3) {
            0 => edges[random.below(edges.len())],
            1 => random.next(),
            _ => 1_000_000 + random.below(100_000) as u64,
        };
        let requests: Vec<Request> = (0..random.below(40))
            .map(|_| Request {
                start_ns: stamp(&mut random),
                end_ns: (random.below(4) > 0).then(|| stamp(&mut random)),
                route: random.below(100) as u32,
                thread: (random.below(2) > 0).then(|| random.below(3) as u64),
                whole: random.below(2) > 0,
            })
            .collect();
        let calls: Vec<Call> = (0..random.below(60))
            .map(|_| Call {
                start_ns: stamp(&mut random),
                end_ns: stamp(&mut random),
                route: random.below(100) as u32,
                thread: (random.below(2) > 0).then(|| random.below(3) as u64),
                last: (random.below(2) > 0).then(|| random.below(50) as u32),
                owner: [Owner::Unknown, Owner::Unknown, Owner::Nobody, Owner::Request(random.below(50) as u32)]
                    [random.below(4)],
                barred: (random.below(5) == 0).then(|| random.below(50) as u32),
            })
            .collect();
        let (verdicts, _) = solved(&requests, &calls);
        assert_eq!(verdicts.len(), calls.len());
        for (verdict, call) in verdicts.iter().zip(&calls) {
            assert!((0.0..=1.0).contains(&verdict.confidence), "{verdict:?}");
            let Some(request) = verdict.request else { continue };
            let request = &requests[request as usize];
            let known = matches!(call.owner, Owner::Request(_));
            // Stamps beyond the year 2116 are one.
            let seen = |ns: u64| ns.min(i64::MAX as u64 / 2 - 1);
            assert!(known || seen(request.start_ns) <= seen(call.start_ns), "{request:?} {call:?}");
        }
    }
}

#[test]
fn a_hundred_thousand_open_requests_are_counted_and_take_bounded_work() {
    let open = |n: u64| Request { start_ns: n, end_ns: None, route: 0, thread: None, whole: false };
    let requests: Vec<Request> = (0..100_000).map(open).collect();
    let call = |n: u64| Call { start_ns: 200_000 + n * 1000, end_ns: 201_000 + n * 1000, ..Call::default() };
    let calls: Vec<Call> = (0..50).map(call).collect();
    let (verdicts, counts) = solved(&requests, &calls);
    assert_eq!(counts.crowded, 2 * 50);
    assert!(verdicts.iter().all(|verdict| verdict.open as usize == OPEN_MAX && verdict.confidence < 0.95));
}

#[test]
fn routes_and_pairs_are_bounded() {
    let (mut requests, mut calls) = (Vec::new(), Vec::new());
    for n in 0..2000_u64 {
        let start_ns = n * 1_000_000;
        let route = (n % 500) as u32;
        requests.push(Request { start_ns, end_ns: Some(start_ns + 500_000), route, thread: None, whole: true });
        let route = (n * 7 % 900) as u32;
        calls.push(Call { start_ns: start_ns + 1000, end_ns: start_ns + 2000, route, ..Call::default() });
    }
    let (mut model, mut counts) = (Model::new(), Counts::default());
    model.learn(&Window { requests: &requests, calls: &calls }, 1, &mut counts);
    assert!(model.pairs() > 64 && model.pairs() <= PAIRS_MAX);
}
