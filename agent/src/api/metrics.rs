//! `/metrics`: the metrics of requests and connections, and the agent's own counters, in Prometheus' text format 0.0.4 or, where
//! the request accepts it, `OpenMetrics` 1.0 with exemplars.

use axum::{body::Body, extract::State};
use http::{HeaderMap, Response, header};

use super::{Shared, answer, lock};
use crate::metrics::{Format, escaped, sample};

/// `GET /metrics`
pub(super) async fn page(State(state): State<Shared>, headers: HeaderMap) -> Response<Body> {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let format = Format::of_accept(accept);
    let mut out = String::new();
    lock(&state.told.metrics).write(&mut out, format);
    let account = lock(&state.told.account).clone();
    format.head(&mut out, "netspan_events", "counter", "Events of the kernel side, by what became of them.");
    for (fate, number) in [("delivered", account.events.delivered), ("lost", account.events.lost)] {
        sample(&mut out, "netspan_events_total", &format!("fate=\"{fate}\""), number);
    }
    format.head(&mut out, "netspan_stage", "gauge", "The agent's own counters, by stage, as in its summary.");
    for (stage, counters) in &account.counters {
        for (name, number) in counters {
            sample(
                &mut out,
                "netspan_stage",
                &format!("stage=\"{}\",name=\"{}\"", escaped(stage), escaped(name)),
                *number,
            );
        }
    }
    for sink in lock(&state.told.sinks).iter() {
        for (name, number) in
            [("offered", sink.offered), ("dropped_full", sink.dropped_full), ("dropped_closed", sink.dropped_closed)]
        {
            sample(&mut out, "netspan_stage", &format!("stage=\"sink.{}\",name=\"{name}\"", sink.name), number);
        }
    }
    if let Some(store) = &state.store {
        for (name, number) in (store.stats)().named() {
            sample(&mut out, "netspan_stage", &format!("stage=\"store\",name=\"{name}\""), number);
        }
    }
    if format == Format::Open {
        out.push_str("# EOF\n");
    }
    answer::body(format.content_type(), out)
}
