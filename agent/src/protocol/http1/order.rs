//! In which order requests and responses existed, and whether the client waits for its responses: what pairing rests on
//! after a loss. It judges moments, not the order in which events came.

/// Requests that must each have waited for the response before it until a client that pipelined is believed to have
/// stopped.
const CALM_MIN: u32 = 32;

/// What the moments of a connection's messages tell.
#[derive(Debug, Default)]
pub(super) struct Order {
    /// The latest moment by which response bytes moved; of lost ones, the moment by which that was known.
    last_response: Option<u64>,
    /// The latest moment of a response byte that was seen.
    last_seen: Option<u64>,
    /// Moment of the last request.
    last_request: Option<u64>,
    /// A request was seen that did not wait for the response before it.
    pipelined: bool,
    /// Requests in a row that waited.
    calm: u32,
}

impl Order {
    /// Response bytes moved at this moment.
    pub(super) fn response(&mut self, moment: u64) {
        self.last_response = self.last_response.max(Some(moment));
        self.last_seen = self.last_seen.max(Some(moment));
    }

    /// Response bytes were lost before this moment.
    pub(super) fn response_lost(&mut self, moment: u64) {
        self.last_response = self.last_response.max(Some(moment));
    }

    /// A request began; `settled` says that no response byte waits to be looked at, and that pairing is not in doubt:
    /// then responses that moved after it are those of requests before it.
    pub(super) fn request(&mut self, moment: u64, settled: bool) {
        let waited = self.last_seen > self.last_request && self.last_seen < Some(moment);
        self.calm = if waited { self.calm.saturating_add(1) } else { 0 };
        if self.calm >= CALM_MIN {
            self.pipelined = false;
        }
        if settled && self.last_seen.is_some_and(|last| moment < last) {
            self.overlap();
        }
        self.last_request = Some(moment);
    }

    /// A request did not wait for the response before it.
    pub(super) fn overlap(&mut self) {
        self.pipelined = true;
        self.calm = 0;
    }

    /// Whether requests need not have waited for responses.
    pub(super) fn is_pipelined(&self) -> bool {
        self.pipelined
    }

    /// Whether no response byte moved yet.
    pub(super) fn is_silent(&self) -> bool {
        self.last_response.is_none()
    }

    /// Whether responses to earlier requests may have been under way when a request began at this moment. If not, it is
    /// a turn-around: the next response is that request's.
    pub(super) fn is_stale(&self, moment: u64) -> bool {
        self.pipelined || self.last_response.is_some_and(|last| moment <= last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_after_all_responses_is_a_turn_around() {
        let mut order = Order::default();
        assert!(!order.is_stale(0));
        order.response(10);
        assert!(order.is_stale(10));
        assert!(!order.is_stale(11));
        order.response_lost(20);
        assert!(order.is_stale(20));
    }

    #[test]
    fn a_client_that_pipelined_is_believed_to_have_stopped_when_it_waited_often() {
        let mut order = Order::default();
        order.overlap();
        let mut now = 0;
        for _ in 0..=CALM_MIN {
            assert!(order.is_stale(now + 1));
            order.request(now + 1, false);
            now += 2;
            order.response(now);
        }
        assert!(!order.is_stale(now + 1));
        order.request(now - 1, true);
        assert!(order.is_pipelined());
    }
}
