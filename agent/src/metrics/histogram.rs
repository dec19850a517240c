//! A histogram with fixed bounds, and for each bucket the last span that fell into it.

use crate::span::{SpanId, TraceId};

/// Upper bounds in seconds, as the semantic conventions advise for durations of requests.
pub const BOUNDS: [f64; 14] = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];

/// A span that fell into a bucket.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Exemplar {
    /// Its trace.
    pub trace_id: TraceId,
    /// Itself.
    pub span_id: SpanId,
    /// What it took, in seconds.
    pub seconds: f64,
    /// When it ended, in nanoseconds since the Unix epoch.
    pub end_ns: u64,
}

/// A histogram of durations.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Histogram {
    /// One for each bound, and one for what is above the last.
    pub buckets: [u64; BOUNDS.len() + 1],
    /// The last span of each bucket.
    pub exemplars: [Option<Exemplar>; BOUNDS.len() + 1],
    /// Sum of all durations, in seconds.
    pub sum_s: f64,
}

impl Histogram {
    /// Counts a duration, in seconds.
    pub fn add(&mut self, seconds: f64, exemplar: Option<Exemplar>) {
        let at = BOUNDS.iter().position(|bound| seconds <= *bound).unwrap_or(BOUNDS.len());
        self.buckets[at] += 1;
        self.exemplars[at] = exemplar.or(self.exemplars[at]);
        self.sum_s += seconds;
    }

    /// How many were counted.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_falls_into_the_first_bucket_that_holds_it_and_is_its_exemplar() {
        let mut histogram = Histogram::default();
        let exemplar = |seconds| Exemplar { trace_id: TraceId([1; 16]), span_id: SpanId([2; 8]), seconds, end_ns: 3 };
        for seconds in [0.0, 0.005, 0.0051, 10.0, 11.0] {
            histogram.add(seconds, Some(exemplar(seconds)));
        }
        histogram.add(99.0, None);
        assert_eq!(
            (histogram.buckets[0], histogram.buckets[1], histogram.buckets[13], histogram.buckets[14]),
            (2, 1, 1, 2)
        );
        assert_eq!(histogram.exemplars[0].map(|exemplar| exemplar.seconds), Some(0.005));
        assert_eq!(histogram.exemplars[14].map(|exemplar| exemplar.seconds), Some(11.0));
        assert_eq!((histogram.count(), histogram.exemplars[5]), (6, None));
    }
}
