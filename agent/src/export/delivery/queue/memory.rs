//! Batches that wait in memory, bounded in spans and bytes. When it is full the oldest go: what happened last is what
//! somebody will ask for. Or none go, and it says when it is full: then nothing more should come.
#![forbid(unsafe_code)]

use std::collections::VecDeque;

use crate::export::delivery::{
    config::WhenFull,
    encode::{Batch, Bounds},
};

/// The queue.
#[derive(Debug)]
pub struct Memory {
    bounds: Bounds,
    when_full: WhenFull,
    batches: VecDeque<Batch>,
    spans: u64,
    bytes: usize,
}

impl Memory {
    /// An empty queue.
    pub const fn new(bounds: Bounds, when_full: WhenFull) -> Self {
        Self { bounds, when_full, batches: VecDeque::new(), spans: 0, bytes: 0 }
    }

    /// Appends a batch. Returns how many spans were dropped for it.
    pub fn push(&mut self, batch: Batch) -> u64 {
        self.count(&batch);
        self.batches.push_back(batch);
        self.shrink()
    }

    /// Puts a batch that could not be sent back to the front. Returns how many spans were dropped for it (its own, as
    /// the oldest, when the queue has filled meanwhile).
    pub fn push_back_in(&mut self, batch: Batch) -> u64 {
        self.count(&batch);
        let place = self.batches.partition_point(|other| other.serial < batch.serial);
        self.batches.insert(place, batch);
        self.shrink()
    }

    /// Takes the oldest batch.
    pub fn pop(&mut self) -> Option<Batch> {
        let batch = self.batches.pop_front()?;
        self.spans -= batch.spans;
        self.bytes -= batch.body.len();
        Some(batch)
    }

    /// Drops what is older than `before_ms`. Returns how many spans that were.
    pub fn expire(&mut self, before_ms: u64) -> u64 {
        let mut dropped = 0;
        while self.batches.front().is_some_and(|batch| batch.time_ms < before_ms) {
            dropped += self.pop().map_or(0, |batch| batch.spans);
        }
        dropped
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    /// Whether it is full, and nothing more should come.
    pub fn holds_back(&self) -> bool {
        self.when_full == WhenFull::HoldBack && self.is_over()
    }

    const fn is_over(&self) -> bool {
        self.spans > self.bounds.spans || self.bytes > self.bounds.bytes
    }

    /// Ordinal of the oldest batch.
    pub fn oldest(&self) -> Option<u64> {
        self.batches.front().map(|batch| batch.serial)
    }

    fn count(&mut self, batch: &Batch) {
        self.spans += batch.spans;
        self.bytes += batch.body.len();
    }

    fn shrink(&mut self) -> u64 {
        let mut dropped = 0;
        // The newest batch stays even if it alone is past a bound: a batch is smaller than any sensible queue.
        while self.when_full == WhenFull::DropOldest && self.batches.len() > 1 && self.is_over() {
            dropped += self.pop().map_or(0, |batch| batch.spans);
        }
        dropped
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::delivery::{compress::Compression, encode::Format};

    fn batch(serial: u64, spans: u64, bytes: usize) -> Batch {
        let (format, compression) = (Format::Otlp, Compression::None);
        Batch { serial, ordinal: None, time_ms: serial, spans, format, compression, body: vec![0; bytes].into() }
    }

    fn serials(queue: &mut Memory) -> Vec<u64> {
        std::iter::from_fn(|| queue.pop()).map(|batch| batch.serial).collect()
    }

    #[test]
    fn the_oldest_batches_go_when_there_are_too_many_spans() {
        let mut queue = Memory::new(Bounds { spans: 10, bytes: 1000 }, WhenFull::DropOldest);
        assert_eq!([0, 1, 2].map(|serial| queue.push(batch(serial, 4, 1))), [0, 0, 4]);
        assert_eq!(serials(&mut queue), [1, 2]);
        assert!(queue.is_empty());
    }

    #[test]
    fn the_oldest_batches_go_when_there_are_too_many_bytes() {
        let mut queue = Memory::new(Bounds { spans: 1000, bytes: 100 }, WhenFull::DropOldest);
        assert_eq!([(0, 40), (1, 50), (2, 90)].map(|(serial, bytes)| queue.push(batch(serial, 1, bytes))), [0, 0, 2]);
        assert_eq!(serials(&mut queue), [2]);
    }

    #[test]
    fn what_is_too_old_goes() {
        let mut queue = Memory::new(Bounds { spans: 10, bytes: 1000 }, WhenFull::DropOldest);
        for serial in 0..4 {
            queue.push(batch(serial, 2, 1));
        }
        assert_eq!((queue.expire(0), queue.expire(3)), (0, 6));
        assert_eq!(serials(&mut queue), [3]);
    }

    #[test]
    fn a_batch_that_comes_back_takes_its_old_place() {
        let mut queue = Memory::new(Bounds { spans: 10, bytes: 1000 }, WhenFull::DropOldest);
        for serial in 0..4 {
            queue.push(batch(serial, 1, 1));
        }
        let (zero, one) = (queue.pop().expect("0"), queue.pop().expect("1"));
        assert_eq!((queue.push_back_in(one), queue.push_back_in(zero)), (0, 0));
        assert_eq!(queue.oldest(), Some(0));
        assert_eq!(serials(&mut queue), [0, 1, 2, 3]);
    }

    #[test]
    fn a_batch_that_comes_back_to_a_full_queue_is_the_one_that_goes() {
        let mut queue = Memory::new(Bounds { spans: 4, bytes: 1000 }, WhenFull::DropOldest);
        queue.push(batch(0, 3, 1));
        let old = queue.pop().expect("0");
        queue.push(batch(1, 4, 1));
        assert_eq!(queue.push_back_in(old), 3);
        assert_eq!(serials(&mut queue), [1]);
    }

    #[test]
    fn a_queue_that_holds_back_keeps_everything_and_says_when_it_is_full() {
        let mut queue = Memory::new(Bounds { spans: 5, bytes: 1000 }, WhenFull::HoldBack);
        assert_eq!((queue.push(batch(0, 4, 1)), queue.holds_back()), (0, false));
        assert_eq!((queue.push(batch(1, 4, 1)), queue.holds_back()), (0, true));
        queue.pop();
        assert!(!queue.holds_back());
    }
}
