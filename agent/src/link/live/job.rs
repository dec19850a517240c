//! Solving a window on a thread of its own, and what its verdicts are worth.

use super::{
    Found, Gathered,
    window::{Gist, Use, Whose},
};
use crate::link::{
    Key,
    infer::{self, CONFIDENCE_MAX, Call, Model, OPEN_MAX, Request, Verdict, Window},
    tally::Why,
};
use rustc_hash::FxHashMap;
use std::thread::{self, JoinHandle};

/// Confidence to this power is what it is worth where nothing that is known shows it: windows are smaller than those of files,
/// and models younger.
const STRICTNESS: f64 = 1.3;
/// Where verdicts on a program's calls leave more doubt than this on average, nothing that is inferred of it is sure: those that claim
/// to be are wrong in more than one case in a hundred then, however many requests are open.
pub const DOUBTS_TRUSTED: f64 = 0.08;
/// What confidence is then at most, and where not all requests that were open were looked at.
const DOUBTED_CONFIDENCE: f64 = 0.9;
/// Verdicts that doubts are the average of, about.
const DOUBTS_OF: f64 = 1000.0;

/// How much doubt there is.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Doubts {
    sum: f64,
    verdicts: f64,
}

impl Doubts {
    /// Takes in the verdicts of a window: how much is left to being sure in each.
    fn add(&mut self, left: impl Iterator<Item = f64>) {
        let kept = DOUBTS_OF / (DOUBTS_OF + self.verdicts);
        (self.sum, self.verdicts) = (self.sum * kept, self.verdicts * kept);
        for doubt in left {
            (self.sum, self.verdicts) = (self.sum + doubt, self.verdicts + 1.0);
        }
    }

    /// Whether there are too many.
    fn are_many(self) -> bool {
        self.sum > DOUBTS_TRUSTED * self.verdicts
    }
}

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
        let verdicts_of = |asked: Use| {
            let all = job.calls.iter().zip(&verdicts);
            all.filter(move |((_, why), _)| *why == asked).map(|(_, verdict)| verdict)
        };
        let told_apart = verdicts_of(Use::Decide).filter(|verdict| !verdict.is_tie);
        self.doubts.add(told_apart.map(|verdict| 1.0 - verdict.claim));
        let is_doubtful = self.doubts.are_many();
        let mut found_of: FxHashMap<Key, Found> = FxHashMap::default();
        for ((key, why), verdict) in job.calls.iter().zip(&verdicts) {
            let request = verdict.request.and_then(|place| job.requests.get(place as usize)).copied();
            match why {
                Use::Decide => {
                    let is_crowded = verdict.open as usize >= OPEN_MAX;
                    let why = if is_crowded { Why::Crowded } else { Why::Unsure };
                    let most = if is_crowded || is_doubtful { DOUBTED_CONFIDENCE } else { CONFIDENCE_MAX };
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubts_are_an_average_that_forgets() {
        let mut doubts = Doubts::default();
        assert!(!doubts.are_many());
        doubts.add(std::iter::repeat_n(0.02, 500));
        assert!(!doubts.are_many());
        doubts.add(std::iter::repeat_n(0.3, 500));
        assert!(doubts.are_many(), "0.16 on average");
        for _ in 0..8 {
            doubts.add(std::iter::repeat_n(0.02, 500));
        }
        assert!(!doubts.are_many(), "most of that was long ago");
    }
}
