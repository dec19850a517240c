//! How much work inference may cause, whatever the number of processes that ask.

/// Work that all processes together may cause per second: pairs of a call and a request that was open when it began.
pub const WORK_PER_S: u64 = 150_000;

/// The work that may be done: some per second, and no more than a second's at once.
#[derive(Debug, Default)]
pub(in crate::link) struct Work {
    left: u64,
    at_ns: u64,
}

impl Work {
    /// How much may be done at a time.
    pub(in crate::link) fn at(&mut self, at_ns: u64) -> u64 {
        let since_ns = at_ns.saturating_sub(self.at_ns).min(1_000_000_000);
        self.left = (self.left + since_ns * WORK_PER_S / 1_000_000_000).min(WORK_PER_S);
        self.at_ns = self.at_ns.max(at_ns);
        self.left
    }

    /// Some is done.
    pub(in crate::link) fn spend(&mut self, work: u64) {
        self.left = self.left.saturating_sub(work);
    }
}
