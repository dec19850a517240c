//! Inference while programs run: calls of which nothing else tells whose they are wait for a *round*, in which they are
//! solved together with what is known of the process's other calls.
//!
//! A call is *ripe* [`RIPE_NS`] after its end; rounds come every [`ROUND_NS`]. What a round begins, solving or learning, is
//! done by a thread of its own and taken by the next round, so that the pipeline waits for nothing but a thread that took
//! longer than that (learning has [`LEARNING_NS`]); and a replay gets the same verdicts, whatever its speed. A call
//! therefore waits at most [`WAIT_MAX_NS`], less than its request is remembered ([`super::LINGER_ASKED_NS`]).
//!
//! Nothing is gathered of a process before one of its calls asks. What a process may cost is bounded by [`WORK_PER_S`];
//! calls past it stay without a parent and are counted.

use super::{
    Key,
    infer::{self, Call, Model, Owner, Request, Verdict, Window},
    tally::Why,
};
use rustc_hash::{FxHashMap, FxHasher};
use std::{
    collections::VecDeque,
    hash::{Hash, Hasher as _},
    thread::{self, JoinHandle},
};

/// How long after its end a call is decided at the earliest: its request, and those that it could be taken for, go on.
pub const RIPE_NS: u64 = 250_000_000;
/// From one round of a process to the next.
pub const ROUND_NS: u64 = 250_000_000;
/// The longest that a call waits for a verdict.
pub const WAIT_MAX_NS: u64 = RIPE_NS + 2 * ROUND_NS;
/// Calls after which a program's model is learned, and learned again; or so many for each request that is open at a time, if
/// that is more.
pub const LEARN_AT: [(usize, usize); 2] = [(400, 24), (1600, 48)];
/// How long a thread may be at learning before it is waited for.
pub const LEARNING_NS: u64 = 1_000_000_000;
/// Calls that are remembered of a process, and requests.
pub const REMEMBERED_MAX: usize = 4096;
/// Calls of one process that may wait for a round.
pub const WAITING_MAX: usize = 1024;
/// Work that all processes together may cause per second: pairs of a call and a request that was open when it began.
pub const WORK_PER_S: u64 = 150_000;
/// Calls back to which it is looked whether one is known already: it may be decided twice.
const TWICE_MAX: usize = 32;
/// How long before the oldest call that is asked for others are taken into a round.
const BEFORE_NS: u64 = 500_000_000;
/// How long a process's requests are gathered before its calls are.
const SINCE_NS: u64 = 500_000_000;
/// Confidence to this power is what it is worth where nothing that is known shows it: windows are smaller than those of files,
/// and models younger.
const STRICTNESS: f64 = 1.3;
/// Where more requests were open when a call began, what is inferred of it is never surer than this: with 64 at once more than one
/// parent in a hundred was wrong in one style (Node with timers).
pub const OPEN_TRUSTED: u32 = 32;
const CROWD_CONFIDENCE: f64 = 0.9;
/// One known call in so many is held out, for calibration.
const HELD_OUT: u64 = 8;

/// The work that may be done: some per second, and no more than a second's at once.
#[derive(Debug, Default)]
pub(super) struct Work {
    left: u64,
    at_ns: u64,
}

impl Work {
    /// How much may be done at a time.
    pub(super) fn at(&mut self, at_ns: u64) -> u64 {
        let since_ns = at_ns.saturating_sub(self.at_ns).min(1_000_000_000);
        self.left = (self.left + since_ns * WORK_PER_S / 1_000_000_000).min(WORK_PER_S);
        self.at_ns = self.at_ns.max(at_ns);
        self.left
    }

    /// Some is done.
    pub(super) fn spend(&mut self, work: u64) {
        self.left = self.left.saturating_sub(work);
    }
}

/// A request that the process received.
#[derive(Clone, Copy, Debug)]
struct Asked {
    key: Key,
    request: Request,
}

/// What is known of a call's request.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Whose {
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
struct Made {
    key: Key,
    call: Call,
    whose: Whose,
}

impl Made {
    /// Whether it waits, and may be decided.
    fn is_ripe(&self, now_ns: u64) -> bool {
        self.whose == Whose::Waiting && self.call.end_ns.saturating_add(RIPE_NS) <= now_ns
    }
}

/// What a thread does for a process.
#[derive(Debug)]
struct Job {
    handle: JoinHandle<Done>,
    /// The requests of its window, and its calls: what is to be done with their verdicts.
    requests: Vec<Key>,
    calls: Vec<(Key, Use)>,
}

/// The requests and the calls of a window.
type Gist = (Vec<Asked>, Vec<(Key, Call, Use)>);

/// What a verdict is for.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Use {
    /// The call waits for it.
    Decide,
    /// The call's request is known: it shows what verdicts are worth.
    Compare(Key),
    /// None: the call is there because of the others.
    Nothing,
}

#[derive(Debug)]
struct Done {
    model: Model,
    verdicts: Vec<Verdict>,
    counts: infer::Counts,
}

/// What is gathered of one process.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    /// Since when: one of its calls asked, and requests from before are over.
    since_ns: Option<u64>,
    /// A round will come.
    pub(super) is_scheduled: bool,
    /// The program changed while a thread was at work for it.
    is_stale: bool,
    requests: VecDeque<Asked>,
    calls: VecDeque<Made>,
    waiting: usize,
    /// Calls gathered in all.
    total: usize,
    learned: usize,
    model: Option<Model>,
    job: Option<Job>,
    /// A thread that learns, and when its model is taken.
    learning: Option<(u64, JoinHandle<Model>)>,
    seed: u64,
}

/// What came out for a call.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Found {
    pub call: Key,
    /// Its request and how sure that is; nothing where it was given up.
    pub request: Option<(Key, f64)>,
    /// Why there is no request, or why it is not sure.
    pub why: Why,
}

/// What a round did.
#[derive(Default)]
pub(super) struct Round {
    pub found: Vec<Found>,
    /// Pairs of calls and requests that are being worked on.
    pub work: u64,
    pub is_waiting: bool,
    /// Calls given up because that would have been too much work.
    pub unsolved: u64,
}

impl Gathered {
    /// Whether anything is gathered.
    pub(super) const fn is_on(&self) -> bool {
        self.since_ns.is_some()
    }

    /// A request was read.
    pub(super) fn received(&mut self, key: Key, start_ns: u64, tid: u32) {
        if self.since_ns.is_none() {
            return;
        }
        let request = Request { start_ns, thread: Some(u64::from(tid)), ..Request::default() };
        self.requests.push_back(Asked { key, request });
        if self.requests.len() > REMEMBERED_MAX {
            self.requests.pop_front();
        }
    }

    /// A request was answered.
    pub(super) fn answered(&mut self, key: Key, end_ns: u64, route: impl FnOnce() -> u32) {
        if let Some(asked) = self.requests.iter_mut().rev().find(|asked| asked.key == key) {
            asked.request.end_ns = Some(end_ns);
            asked.request.route = route();
        }
    }

    /// A call is over whose request is known, or will not be.
    pub(super) fn known(&mut self, key: Key, call: Call, request: Option<Key>) {
        let is_on = self.since_ns.is_some_and(|since_ns| call.start_ns >= since_ns);
        if is_on && self.calls.iter().rev().take(TWICE_MAX).all(|made| made.key != key) {
            self.put(Made { key, call, whose: request.map_or(Whose::Unknown, Whose::Known) });
        }
    }

    /// A call asks for its request. Where it may not wait, says why; so for the first ones, of which no request is known.
    pub(super) fn ask(&mut self, key: Key, call: Call) -> Result<(), Why> {
        let since_ns = *self.since_ns.get_or_insert(call.end_ns.saturating_add(SINCE_NS));
        if call.start_ns < since_ns {
            return Err(Why::Learning);
        }
        let may = self.waiting < WAITING_MAX;
        self.waiting += usize::from(may);
        self.put(Made { key, call, whose: if may { Whose::Waiting } else { Whose::Unknown } });
        if may { Ok(()) } else { Err(Why::Work) }
    }

    /// Whether no call waits.
    pub(super) fn is_idle(&self) -> bool {
        self.waiting == 0
    }

    /// The program is another one. Calls that wait are still told of.
    pub(super) fn forget(&mut self) {
        (self.model, self.learned, self.total) = (None, 0, 0);
        self.is_stale = self.job.is_some();
        self.learning = None;
        self.requests.clear();
    }

    fn put(&mut self, made: Made) {
        self.total += 1;
        self.calls.push_back(made);
        if self.calls.len() > REMEMBERED_MAX
            && let Some(Made { whose: Whose::Waiting, .. }) = self.calls.pop_front()
        {
            self.waiting -= 1;
        }
    }

    /// A round at a time: takes what the last one began, and begins something. `budget` is the work that may be done.
    pub(super) fn round(&mut self, now_ns: u64, budget: u64, counts: &mut infer::Counts) -> Round {
        let mut round = Round::default();
        if let Some(job) = self.job.take() {
            self.collect(job, &mut round.found, counts);
        }
        self.learn(now_ns);
        round.is_waiting = self.learning.is_some();
        let waiting = self.calls.iter().filter(|made| made.whose == Whose::Waiting);
        let Some(oldest_ns) = waiting.map(|made| made.call.start_ns).min() else {
            self.waiting = 0;
            return round;
        };
        if self.model.is_none() {
            self.give_up(&mut round.found, u64::MAX, Why::Learning);
            return round;
        }
        round.is_waiting = true;
        let from_ns = oldest_ns.saturating_sub(BEFORE_NS);
        let (mut window, mut work) = self.window(from_ns, now_ns, true);
        if work > budget {
            (window, work) = self.window(from_ns, now_ns, false);
        }
        if work > budget {
            round.unsolved = self.give_up(&mut round.found, now_ns, Why::Work);
            return round;
        }
        round.work = work;
        self.begin(window);
        round
    }

    /// Begins to learn where enough is known, and takes what was learned.
    fn learn(&mut self, now_ns: u64) {
        if let Some((_, handle)) = self.learning.take_if(|(at_ns, _)| *at_ns <= now_ns)
            && let Ok(mut learned) = handle.join()
        {
            if let Some(model) = self.model.take() {
                learned.calibration = model.calibration;
            }
            self.model = Some(learned);
        }
        let Some((all, each)) = LEARN_AT.get(self.learned) else { return };
        if self.total < *all || self.learning.is_some() {
            return;
        }
        let open = self.requests.iter().filter(|asked| asked.request.end_ns.is_none_or(|end_ns| end_ns > now_ns));
        if self.total < (open.count() * each).min(REMEMBERED_MAX) {
            return;
        }
        let ((requests, calls), _) = self.window(0, now_ns, true);
        self.learned += 1;
        self.seed += 1;
        let seed = self.seed;
        let work = move || {
            let requests: Vec<Request> = requests.iter().map(|asked| asked.request).collect();
            let calls: Vec<Call> = calls.iter().map(|(_, call, _)| *call).collect();
            let mut model = Model::new();
            model.learn(&Window { requests: &requests, calls: &calls }, seed, &mut infer::Counts::default());
            model
        };
        self.learning = Some((now_ns.saturating_add(LEARNING_NS), thread::spawn(work)));
    }

    /// The calls that are ripe at a time get no verdict; says how many these are.
    fn give_up(&mut self, found: &mut Vec<Found>, now_ns: u64, why: Why) -> u64 {
        let before = found.len();
        for made in self.calls.iter_mut().filter(|made| made.is_ripe(now_ns)) {
            made.whose = Whose::Unknown;
            found.push(Found { call: made.key, request: None, why });
        }
        self.waiting = self.waiting.saturating_sub(found.len() - before);
        (found.len() - before) as u64
    }

    /// Begins to solve.
    fn begin(&mut self, (requests, calls): Gist) {
        let mut model = self.model.take().unwrap_or_default();
        self.seed += 1;
        let seed = self.seed;
        let given: Vec<Request> = requests.iter().map(|asked| asked.request).collect();
        let made: Vec<Call> = calls.iter().map(|(_, call, _)| *call).collect();
        let work = move || {
            let mut counts = infer::Counts::default();
            let window = Window { requests: &given, calls: &made };
            let verdicts = model.solve(&window, seed, &mut counts);
            Done { model, verdicts, counts }
        };
        self.job = Some(Job {
            handle: thread::spawn(work),
            requests: requests.iter().map(|asked| asked.key).collect(),
            calls: calls.iter().map(|(key, _, why)| (*key, *why)).collect(),
        });
    }

    /// The requests and calls of a round, with those that are not ripe or without, and how much work they are.
    fn window(&self, from_ns: u64, now_ns: u64, with_young: bool) -> (Gist, u64) {
        let is_in = |made: &&Made| {
            made.call.start_ns >= from_ns && (with_young || made.whose != Whose::Waiting || made.is_ripe(now_ns))
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
            let is_over = asked.request.end_ns.is_some_and(|end_ns| end_ns < whole_until_ns);
            asked.request.whole = is_over && asked.request.start_ns >= first_ns;
        }
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
                let is_open = |asked: &&Asked| {
                    asked.request.start_ns <= made.call.start_ns
                        && asked.request.end_ns.is_none_or(|end_ns| end_ns >= made.call.start_ns)
                };
                work += requests.iter().filter(is_open).count() as u64;
            }
            made_calls.push((made.key, Call { owner, ..made.call }, why));
        }
        ((requests, made_calls), work)
    }

    fn collect(&mut self, job: Job, found: &mut Vec<Found>, counts: &mut infer::Counts) {
        let Ok(Done { mut model, verdicts, counts: more }) = job.handle.join() else {
            // It never panics; if it does, nothing is known any more.
            self.give_up(found, u64::MAX, Why::Learning);
            return;
        };
        counts.windows += more.windows;
        counts.crowded += more.crowded;
        counts.cut_short += more.cut_short;
        let mut found_of: FxHashMap<Key, Found> = FxHashMap::default();
        for ((key, why), verdict) in job.calls.iter().zip(&verdicts) {
            let request = verdict.request.and_then(|place| job.requests.get(place as usize)).copied();
            match why {
                Use::Decide => {
                    let (most, why) =
                        if verdict.open > OPEN_TRUSTED { (CROWD_CONFIDENCE, Why::Crowded) } else { (1.0, Why::Unsure) };
                    let confidence = verdict.confidence.min(verdict.claim.powf(STRICTNESS)).min(most);
                    let request = request.map(|request| (request, confidence));
                    found_of.insert(*key, Found { call: *key, request, why });
                }
                Use::Compare(owner) if verdict.open > 1 => {
                    model.calibration.observe(verdict.claim, request == Some(*owner));
                }
                Use::Compare(_) | Use::Nothing => {}
            }
        }
        for made in self.calls.iter_mut().filter(|made| made.whose == Whose::Waiting) {
            let Some(one) = found_of.get(&made.key) else { continue };
            made.whose = one.request.map_or(Whose::Unknown, |(request, _)| Whose::Found(request));
            self.waiting = self.waiting.saturating_sub(1);
            found.push(*one);
        }
        if !std::mem::take(&mut self.is_stale) {
            self.model = Some(model);
        }
    }
}

/// A number that looks random.
fn mixed(key: Key) -> u64 {
    let number = (key.conn ^ key.ordinal.rotate_left(32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    number >> 40
}

/// A number for what is asked for: the method and the path, parts with digits in them being alike; `to` tells calls to
/// several servers apart.
pub(super) fn route(method: &[u8], target: &[u8], to: &impl Hash) -> u32 {
    let mut hasher = FxHasher::default();
    (method, to).hash(&mut hasher);
    let path = target.split(|byte| *byte == b'?').next().unwrap_or_default();
    for part in path.split(|byte| *byte == b'/').take(PARTS_MAX) {
        let part = if part.iter().any(u8::is_ascii_digit) { b"*" } else { part };
        part.hash(&mut hasher);
    }
    // The upper half: the lower bits of this hash are the worse ones.
    u32::try_from(hasher.finish() >> 32).unwrap_or(0)
}

/// Parts of a path that tell routes apart.
const PARTS_MAX: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

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
            let _ = gathered.ask(key(n, 1), call);
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
    fn what_would_be_too_much_work_is_given_up_and_counted() {
        let (mut gathered, mut counts) = (Gathered::default(), infer::Counts::default());
        let mut unsolved = 0;
        play(&mut gathered, 3000, |gathered, now_ns| {
            if gathered.waiting >= 200 {
                let round = gathered.round(now_ns, 10, &mut counts);
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
    fn paths_that_differ_in_numbers_are_one_route() {
        let of = |target: &str, to: u16| route(b"GET", target.as_bytes(), &to);
        assert_eq!(of("/item/17?x=1", 80), of("/item/4711", 80));
        assert_ne!(of("/item/17", 80), of("/item/17", 81));
        assert_ne!(of("/item/17", 80), of("/basket/17", 80));
    }
}
