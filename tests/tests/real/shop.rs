//! The shop's traces: whole, and correctly nested.

use std::{sync::atomic::AtomicBool, time::Duration};

use anyhow::{Context, Result, ensure};
use netspan_tests::{
    agent::Agent,
    demo::whole_trace,
    load::{self, Plan},
    scenario::nothing_lost,
    shop::{Shop, checkout, customer},
    span::JsonSpan,
    truth::same,
};

use crate::together;

#[test]
fn one_order_is_one_trace_through_all_services() -> Result<()> {
    let _machine = together();
    let shop = Shop::open(|_| {})?;
    let agent = Agent::watch(shop.scope())?;
    let plan = Plan { seed: 1, concurrency: 1, requests: 1, rate: None };
    load::run(shop.address(), plan, &AtomicBool::new(false), |_| checkout(7, 2))?;
    // nginx and Flask each twice, Flask's second call, Node, axum.
    agent.await_spans(7, Duration::from_secs(10));
    let services = shop.services();
    let report = agent.stop()?;
    ensure!(report.spans.len() == 7, "7 spans were expected: {:#?}", report.spans);
    whole_trace(&report.spans, &services).with_context(|| format!("no whole trace: {:#?}", report.spans))?;
    ensure!(
        report.spans.iter().all(|span| span.trace_id == report.spans[0].trace_id),
        "more than one trace: {:#?}",
        report.spans
    );
    nothing_lost(&report)
}

#[test]
fn busy_customers_find_each_span_once_and_no_parent_is_wrong() -> Result<()> {
    let _machine = together();
    let shop = Shop::open(|_| {})?;
    let agent = Agent::watch(shop.scope())?;
    let plan = Plan { seed: 3, concurrency: 8, requests: 400, rate: None };
    let seen = load::run(shop.address(), plan, &AtomicBool::new(false), customer)?;
    let services = shop.services();
    let proxy = |span: &&JsonSpan| services.get(&span.pid) == Some(&netspan_tests::shop::Service::Proxy);
    agent.await_spans(3 * seen.len(), Duration::from_secs(10));
    let report = agent.stop()?;
    same(seen, report.servers().filter(proxy).map(JsonSpan::seen)).context("SERVER spans of nginx")?;
    for span in report.servers().filter(|span| !proxy(span)) {
        ensure!(span.parent().is_some(), "its caller is in the shop: {span:?}");
    }
    // The front asks for product N only on behalf of /product/N (orders name theirs in the body).
    for server in report.servers().filter(|span| span.path().starts_with("/product/")) {
        let wanted = server.path().trim_start_matches("/product/");
        let calls = report.clients().filter(|span| span.parent() == Some(&server.span_id));
        for call in calls.filter(|call| call.path().starts_with("/products/")) {
            ensure!(call.path().ends_with(&format!("/{wanted}")), "a wrong parent: {call:?} below {server:?}");
        }
    }
    nothing_lost(&report)
}
