//! Solving a window on a thread of its own, and what its verdicts are worth.

use super::{
    Found, Gathered,
    window::{Gist, Use, Whose},
};
use crate::link::{
    Key,
    infer::{self, Call, Model, Request, Verdict, Window},
    tally::Why,
};
use rustc_hash::FxHashMap;
use std::thread::{self, JoinHandle};

/// Confidence to this power is what it is worth where nothing that is known shows it: windows are smaller than those of files,
/// and models younger.
const STRICTNESS: f64 = 1.3;
/// Where more requests were open when a call began, what is inferred of it is never surer than this: with 64 at once more than one
/// parent in a hundred was wrong in one style (Node with timers).
pub const OPEN_TRUSTED: u32 = 32;
const CROWD_CONFIDENCE: f64 = 0.9;

/// What a thread does for a process.
#[derive(Debug)]
pub(super) struct Job {
    handle: JoinHandle<Done>,
    /// The requests of its window, and its calls: what is to be done with their verdicts.
    requests: Vec<Key>,
    calls: Vec<(Key, Use)>,
}

#[derive(Debug)]
struct Done {
    model: Model,
    verdicts: Vec<Verdict>,
    counts: infer::Counts,
}

impl Gathered {
    /// Begins to solve.
    pub(super) fn begin(&mut self, (requests, calls): Gist) {
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

    /// Takes what a thread found.
    pub(super) fn collect(&mut self, job: Job, found: &mut Vec<Found>, counts: &mut infer::Counts) {
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
