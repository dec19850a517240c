//! The summary at the end of a run, on standard error: what was seen, what was lost and why, where the spans went.
#![forbid(unsafe_code)]

use crate::{
    capture::count::Account,
    export::{SinkStats, otlp::Stats, terminal::Counters},
};

/// Prints it.
pub fn print(account: &Account, sinks: &[SinkStats], otlp: Option<&Stats>) {
    eprintln!("netspan: {account}");
    for sink in sinks {
        let SinkStats { name, offered, dropped_full, dropped_closed } = sink;
        eprintln!("  sink.{name}: spans {offered}, dropped_full {dropped_full}, dropped_closed {dropped_closed}");
    }
    if let Some(stats) = otlp {
        let Stats { produced, sent, rejected, dropped, queued, retries, requests, bytes } = stats;
        eprintln!(
            "  sink.otlp: spans {produced} = sent {sent} + rejected {rejected} + dropped {} + queued {queued}; \
             requests {requests}, retries {retries}, bytes {bytes}; dropped: queue_full {}, failed {}, expired {}, \
             oversized {}, shutdown {}",
            dropped.total(),
            dropped.queue_full,
            dropped.failed,
            dropped.expired,
            dropped.oversized,
            dropped.shutdown
        );
    }
}

/// Prints what became of the traces that were shown, if they were.
pub fn traces(counters: Option<Counters>) {
    if let Some(Counters { drawn, partial, late_spans, left_out }) = counters {
        eprintln!("  output.traces: drawn {drawn}, partial {partial}, late_spans {late_spans}, left_out {left_out}");
    }
}
