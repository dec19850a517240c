//! A stretch of time after which what was gathered in it is looked at, and gathering begins anew.

/// A window of `NS` nanoseconds. The first one is over at once.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Window<const NS: u64> {
    end_ns: u64,
}

impl<const NS: u64> Window<NS> {
    /// Whether it is over at a time; then the next one begins there.
    pub(super) fn is_over(&mut self, now_ns: u64) -> bool {
        let is_over = now_ns >= self.end_ns;
        if is_over {
            self.end_ns = now_ns.saturating_add(NS);
        }
        is_over
    }
}
