//! `GET /v1/links`: which methods link the spans of each process, and why its calls have no parent.

use axum::{body::Body, extract::State};
use http::Response;
use serde_json::{Map, Value as Json, json};

use super::{Shared, answer, lock};
use crate::{
    link::{Linked, Tally, Why},
    span::Method,
};

/// Answers it.
pub(super) async fn links(State(state): State<Shared>) -> Response<Body> {
    let processes: Vec<_> = lock(&state.told.links).iter().map(|(pid, tally)| process(*pid, tally)).collect();
    answer::json(&json!({ "processes": processes }))
}

fn process(pid: u32, tally: &Tally) -> Json {
    let mut calls = spans(&tally.calls);
    let reasons = Why::ALL.into_iter().zip(tally.why).map(|(why, count)| (why.name().to_owned(), count.into()));
    calls["reasons"] = reasons.collect::<Map<_, _>>().into();
    json!({
        "pid": pid,
        "service": tally.resource.as_ref().map(|resource| resource.service.as_str()),
        "requests": spans(&tally.requests),
        "calls": calls,
    })
}

fn spans(linked: &Linked) -> Json {
    let by = Method::ALL.into_iter().zip(linked.by).map(|(method, count)| (method.name().to_owned(), count.into()));
    json!({ "spans": linked.spans(), "linked": by.collect::<Map<_, _>>(), "roots": linked.roots })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_has_every_method_and_every_reason_and_they_add_up() {
        let mut tally = Tally::default();
        (tally.calls.by[Method::Turn as usize], tally.calls.roots) = (5, 2);
        tally.why[Why::Learning as usize] = 2;
        let json = process(7, &tally);
        assert_eq!((&json["calls"]["spans"], &json["calls"]["linked"]["turn"]), (&7.into(), &5.into()));
        assert_eq!(json["calls"]["linked"].as_object().unwrap().len(), Method::ALL.len());
        assert_eq!(json["calls"]["reasons"]["learning"], 2);
        assert_eq!(json["calls"]["reasons"].as_object().unwrap().len(), Why::ALL.len());
        assert_eq!((&json["requests"]["spans"], &json["service"]), (&0.into(), &Json::Null));
    }
}
