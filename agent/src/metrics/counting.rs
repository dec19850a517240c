//! Counts spans on a thread of its own, where nobody else does: the API counts those that it is offered.

use std::{sync::PoisonError, thread::JoinHandle, time::Duration};

use super::Shared;
use crate::{
    export::Sink,
    privilege::{self, Role},
};

/// Spans that wait for being counted, at most.
const QUEUE: usize = 16_384;
/// Spans that are counted in one turn.
const TURN: usize = 512;
/// How long to doze when nothing waits: waking for each span would cost more than the span.
const DOZE: Duration = Duration::from_millis(20);

/// A running count. It ends when all who offer spans have let go of the sink.
#[derive(Debug)]
pub struct Counting {
    sink: Sink,
    // It ends by itself: with the sink.
    _thread: JoinHandle<()>,
}

impl Counting {
    /// Counts into `metrics` from now on.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub fn start(metrics: Shared) -> std::io::Result<Self> {
        let (sink, mut spans) = Sink::bounded("metrics", QUEUE);
        let thread = std::thread::Builder::new().name("metrics".to_owned()).spawn(move || {
            privilege::settle(Role::Service);
            let mut taken = Vec::with_capacity(TURN);
            while spans.blocking_recv_many(&mut taken, TURN) > 0 {
                let is_last = taken.len() < TURN;
                {
                    let mut metrics = metrics.lock().unwrap_or_else(PoisonError::into_inner);
                    taken.drain(..).for_each(|span| metrics.add(&span));
                }
                if is_last {
                    std::thread::sleep(DOZE);
                }
            }
        })?;
        Ok(Self { sink, _thread: thread })
    }

    /// The end that spans are offered to.
    pub fn sink(&self) -> Sink {
        self.sink.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Instant};

    use super::*;
    use crate::span::sample;

    #[test]
    fn spans_that_are_offered_are_counted() {
        let metrics = Shared::default();
        let counting = Counting::start(Arc::clone(&metrics)).expect("a thread");
        for _ in 0..3 {
            counting.sink().offer(Arc::new(sample::server()));
        }
        let until = Instant::now() + Duration::from_secs(20);
        let count = || metrics.lock().expect("sound").spans();
        while count() != 3 && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(count(), 3);
    }
}
