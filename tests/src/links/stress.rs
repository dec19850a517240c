//! A corpus made harder: more at once, clocks that jitter, events that are lost, calls that caches saved.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{corpus::Corpus, random::Random};

/// What is done to a corpus.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Stress {
    /// Begin each trace at its time divided by this
    #[arg(long, default_value_t = 1.0)]
    pub compress: f64,
    /// Move each span by up to this, in microseconds
    #[arg(long, default_value_t = 0.0)]
    pub jitter: f64,
    /// Leave out this share of the calls, as caches do; what they caused stays
    #[arg(long, default_value_t = 0.0)]
    pub drop: f64,
    /// Lose this share of all spans
    #[arg(long, default_value_t = 0.0)]
    pub lose: f64,
    /// Seed
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

impl Stress {
    /// Does it. The truth about a call whose request was lost is that it has none.
    pub fn apply(&self, mut corpus: Corpus) -> Corpus {
        let mut random = Random::new(self.seed);
        let groups = traces(&corpus);
        let mut starts: BTreeMap<usize, u64> = BTreeMap::new();
        for (span, group) in corpus.spans.iter().zip(&groups) {
            let start = starts.entry(*group).or_insert(span.start_ns);
            *start = span.start_ns.min(*start);
        }
        let first = starts.values().copied().min().unwrap_or(0);
        let mut gone = BTreeSet::new();
        for (span, group) in corpus.spans.iter_mut().zip(&groups) {
            let start = starts.get(group).copied().unwrap_or(first) - first;
            let earlier = start - (start as f64 / self.compress) as u64;
            let jitter = ((2.0 * random.unit() - 1.0) * self.jitter * 1000.0) as i64;
            let moved = |ns: u64| (ns - earlier).saturating_add_signed(jitter);
            (span.start_ns, span.end_ns) = (moved(span.start_ns), moved(span.end_ns));
            let share = if span.kind == "client" { self.drop } else { 0.0 };
            if random.once_in(share) || random.once_in(self.lose) {
                gone.insert(span.span_id.clone());
            }
        }
        corpus.spans.retain(|span| !gone.contains(&span.span_id));
        for span in &mut corpus.spans {
            span.peer_span_id = span.peer_span_id.take().filter(|peer| !gone.contains(peer));
        }
        corpus.spans.sort_by_key(|span| span.start_ns);
        corpus.truth.retain(|truth| !gone.contains(&truth.span_id));
        for truth in &mut corpus.truth {
            truth.parent_span_id = truth.parent_span_id.take().filter(|parent| !gone.contains(parent));
        }
        corpus
    }
}

/// For each span the number of its trace.
fn traces(corpus: &Corpus) -> Vec<usize> {
    let place: HashMap<&str, usize> =
        corpus.spans.iter().zip(0..).map(|(span, at)| (span.span_id.as_str(), at)).collect();
    let mut group: Vec<usize> = (0..corpus.spans.len()).collect();
    let find = |group: &mut Vec<usize>, mut at: usize| {
        while group[at] != at {
            group[at] = group[group[at]];
            at = group[at];
        }
        at
    };
    let peers = corpus.spans.iter().filter_map(|span| Some((span.span_id.as_str(), span.peer_span_id.as_deref()?)));
    let parents =
        corpus.truth.iter().filter_map(|truth| Some((truth.span_id.as_str(), truth.parent_span_id.as_deref()?)));
    for (one, two) in peers.chain(parents) {
        if let (Some(one), Some(two)) = (place.get(one), place.get(two)) {
            let (one, two) = (find(&mut group, *one), find(&mut group, *two));
            group[one] = two;
        }
    }
    (0..group.len()).map(|at| find(&mut group, at)).collect()
}
