//! Spans as they come: into the metrics, and to who watches live.

use std::{sync::Arc, time::Duration};

use tokio::sync::mpsc::Receiver;

use super::{State, lock};
use crate::span::Span;

/// How long to doze when nothing waits: waking for each span would cost more than the span.
const DOZE: Duration = Duration::from_millis(20);
/// Spans that are taken before requests get their turn.
const TURN: usize = 512;

/// Takes spans for ever.
pub(super) async fn feed(mut spans: Receiver<Arc<Span>>, state: &State) {
    let mut taken = Vec::with_capacity(TURN);
    loop {
        if spans.recv_many(&mut taken, TURN).await == 0 {
            // The agent is ending; requests are answered until it says so.
            return std::future::pending().await;
        }
        let is_last = taken.len() < TURN;
        {
            let mut metrics = lock(&state.told.metrics);
            for span in &taken {
                metrics.add(span);
            }
        }
        for span in taken.drain(..) {
            // Nobody may be watching.
            let _ = state.live.send(span);
        }
        if is_last {
            tokio::time::sleep(DOZE).await;
        } else {
            tokio::task::yield_now().await;
        }
    }
}
