//! What the agent tells of itself: what it sees, what it lost and why, what it costs.

use axum::{body::Body, extract::State};
use http::Response;
use serde_json::{Value as Json, json};

use super::{
    Shared,
    answer::{self, Answer, Failure},
    lock,
};

/// `GET /v1/health`
pub(super) async fn health(State(state): State<Shared>) -> Response<Body> {
    let store = state.store.as_ref().map(|store| (store.stats)());
    let store = store.map(|stats| stats.named().into_iter().map(|(name, n)| (name.to_owned(), n.into())).collect());
    let store: Option<serde_json::Map<String, Json>> = store;
    let sinks: Vec<_> = lock(&state.told.sinks)
        .iter()
        .map(|sink| {
            json!({
                "name": sink.name, "offered": sink.offered,
                "dropped_full": sink.dropped_full, "dropped_closed": sink.dropped_closed,
            })
        })
        .collect();
    let account = lock(&state.told.account).to_json();
    let kubernetes = state.told.kubernetes.get().map(|kubernetes| kubernetes());
    let version = env!("CARGO_PKG_VERSION");
    answer::json(&json!({
        "version": version, "account": account, "store": store, "sinks": sinks, "kubernetes": kubernetes, "own": own(),
    }))
}

/// What this process costs: CPU seconds since its start, seconds since then, and memory; `null` where procfs does not tell.
fn own() -> Json {
    let cpu = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    let stat = procfs::process::Process::myself().and_then(|own| own.stat()).ok();
    let ticks = rustix::param::clock_ticks_per_second().max(1);
    let started_ms = stat.as_ref().map(|stat| stat.starttime.saturating_mul(1000) / ticks);
    let now_ms = crate::live::boot_ns() / 1_000_000;
    json!({
        "cpu_ms": cpu.tv_sec * 1000 + cpu.tv_nsec / 1_000_000,
        "up_ms": started_ms.map(|started| now_ms.saturating_sub(started)),
        "memory_bytes": stat.as_ref().map(|stat| stat.rss * rustix::param::page_size() as u64),
        "threads": stat.as_ref().map(|stat| stat.num_threads),
        "pid": std::process::id(),
        "capabilities": crate::privilege::kept(),
    })
}

/// `GET /v1/doctor`
pub(super) async fn doctor(State(state): State<Shared>) -> Answer {
    let told = std::sync::Arc::clone(&state.told);
    let Ok(_turn) = state.questions.acquire().await else {
        return Err(Failure::missing("the agent is ending"));
    };
    let report = tokio::task::spawn_blocking(move || told.doctor.get().map(|doctor| doctor())).await;
    match report {
        Ok(Some(report)) => Ok(answer::json(&report)),
        _ => Err(Failure::missing("the agent is not ready, or captures nothing")),
    }
}
