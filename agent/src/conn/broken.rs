//! Connections that broke while their process still has the descriptor: it will close it, and that tells nothing new.

use std::collections::VecDeque;

use rustc_hash::FxHashSet;

/// Connections that broke, of which the process may still hold the descriptor.
#[derive(Debug, Default)]
pub(super) struct Broken {
    ids: FxHashSet<u64>,
    order: VecDeque<u64>,
}

/// How many of them are remembered, the latest ones.
const BROKEN_MAX: usize = 4096;

impl Broken {
    /// One broke.
    pub(super) fn note(&mut self, conn: u64) {
        if self.ids.insert(conn) {
            self.order.push_back(conn);
        }
        if self.order.len() > BROKEN_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.ids.remove(&oldest);
        }
    }

    /// Whether it was one of them.
    pub(super) fn remove(&mut self, conn: u64) -> bool {
        self.ids.remove(&conn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_known_once_and_the_oldest_is_forgotten() {
        let mut broken = Broken::default();
        broken.note(7);
        assert!(broken.remove(7) && !broken.remove(7));
        (0..=BROKEN_MAX as u64).for_each(|conn| broken.note(conn));
        assert!(broken.remove(BROKEN_MAX as u64) && !broken.remove(0));
        assert!(broken.order.len() <= BROKEN_MAX && broken.ids.len() <= BROKEN_MAX);
    }
}
