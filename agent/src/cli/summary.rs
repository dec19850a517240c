//! The summary at the end of a run, on standard error: what was seen, what was lost and why, where the spans went.
#![forbid(unsafe_code)]

use super::export::{Delivered, Exported};
use crate::{
    capture::count::Account,
    export::{
        SinkStats,
        delivery::{Dropped, Stats, Totals},
        terminal::Counters,
    },
};

/// Prints it.
pub fn print(account: &Account, sinks: &[SinkStats], exported: &Exported) {
    eprintln!("netspan: {account}");
    for sink in sinks {
        let SinkStats { name, offered, dropped_full, dropped_closed } = sink;
        eprintln!("  sink.{name}: spans {offered}, dropped_full {dropped_full}, dropped_closed {dropped_closed}");
    }
    for (name, stats) in &exported.metrics {
        eprintln!("  metrics.{name}: {stats}");
    }
    for Delivered { name, stats, totals } in &exported.spans {
        #[rustfmt::skip]
        let Stats {
            produced, recovered, sent, rejected, dropped, queued, retried, requests, bytes, disk_bytes, disk_failures, breaks,
        } = stats;
        eprintln!(
            "  sink.{name}: spans {produced} + recovered {recovered} = sent {sent} + rejected {rejected} + dropped {} + \
             queued {queued}; requests {requests}, retried {retried}, breaks {breaks}, bytes {bytes}, disk_bytes {disk_bytes}, \
             disk_failures {disk_failures}; dropped: {}",
            dropped.total(),
            reasons(dropped),
        );
        if let Some(Totals { produced, sent, rejected, dropped }) = totals {
            eprintln!(
                "  queue.{name}: all runs: spans {produced} = sent {sent} + rejected {rejected} + dropped {} + queued {}; \
                 dropped: {}",
                dropped.total(),
                stats.queued,
                reasons(dropped),
            );
        }
    }
}

fn reasons(dropped: &Dropped) -> String {
    let reasons = dropped.named().map(|(reason, spans)| format!("{} {spans}", reason.trim_start_matches("dropped_")));
    reasons.join(", ")
}

/// Prints what became of the traces that were shown, if they were.
pub fn traces(counters: Option<Counters>) {
    if let Some(Counters { drawn, partial, late_spans, left_out }) = counters {
        eprintln!("  output.traces: drawn {drawn}, partial {partial}, late_spans {late_spans}, left_out {left_out}");
    }
}
