//! The demo: the shop, customers, and the agent on the shop's cgroup; and the judge of what a whole trace is.
#![forbid(unsafe_code)]

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use crate::{
    agent::Agent,
    shop::{Service, Shop},
    span::JsonSpan,
};

/// Time in which the first whole trace must be seen when only one is wanted.
const ONCE_BOUND: Duration = Duration::from_mins(1);
/// Time between two looks at what was seen.
const LOOK: Duration = Duration::from_millis(200);
/// By how much a child may stick out of its parent: both ends of a connection are stamped by themselves.
const SLACK_NS: u64 = 1_000_000;

/// How the demo runs.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// End after the first whole trace.
    pub once: bool,
    /// End after this time.
    pub bound: Option<Duration>,
    /// Customers' requests per second.
    pub rate: f64,
    /// Seed of the customers' wishes.
    pub seed: u64,
}

/// Runs the demo until its bound, or until `halt` is set.
///
/// # Errors
/// When something does not start, or, with `once`, no whole trace was seen in time.
pub fn run(options: Options, halt: &AtomicBool) -> Result<()> {
    let shop = Shop::open(|name| eprintln!("starting {name}"))?;
    eprintln!("the shop is open at http://{}; its cgroup is {}", shop.address(), shop.scope().path().display());
    let judge = options.once.then(|| Agent::watch(shop.scope())).transpose()?;
    eprintln!("each line is a span as it ends; each picture is a whole trace");
    let lines = show(&shop, &[])?;
    let mut traces = show(&shop, &["--traces"])?;
    eprintln!("{}", traces.printed().trim_end());
    let result = thread::scope(|scope| {
        let customers = scope.spawn(|| shop.serve_customers(options.rate, options.seed, halt));
        let result = watch(options, &shop, judge.as_ref(), &mut traces, halt);
        halt.store(true, Ordering::Relaxed);
        let served = customers.join().ok().context("the customers' thread panicked")??;
        eprintln!("the customers sent {served} requests");
        result
    });
    lines.stop()?;
    let report = traces.stop()?;
    // The first line, that it was ready, was shown before.
    report.errors.lines().skip(1).for_each(|line| eprintln!("{line}"));
    if let Some(judge) = judge {
        judge.stop()?;
    }
    result
}

/// An agent that shows what it sees in the terminal.
fn show(shop: &Shop, options: &[&str]) -> Result<Agent> {
    let mut command = Agent::command()?;
    command.args(["watch", "--cgroup"]).arg(shop.scope().name()?).args(options);
    Agent::show(command)
}

fn watch(options: Options, shop: &Shop, judge: Option<&Agent>, shown: &mut Agent, halt: &AtomicBool) -> Result<()> {
    let bound = options.bound.or(options.once.then_some(ONCE_BOUND));
    let end = bound.map(|bound| Instant::now() + bound);
    loop {
        if halt.load(Ordering::Relaxed) {
            return Ok(());
        }
        if let Some(status) = shown.ended(LOOK)? {
            bail!("the agent ended with {status}; it printed:\n{}", shown.printed());
        }
        if let Some(judge) = judge
            && whole_trace(&judge.spans()?, &shop.services()).is_some()
        {
            eprintln!("a whole trace was seen: nginx -> Flask -> Node and axum, each inside its parent");
            return Ok(());
        }
        if end.is_some_and(|end| Instant::now() >= end) {
            match judge {
                Some(judge) => bail!("no whole trace among {} spans within {bound:?}", judge.spans()?.len()),
                None => return Ok(()),
            }
        }
    }
}

/// A trace that has all the services, each span inside its parent: an order, from nginx through Flask to the
/// catalogue and to the orders. Gives its id.
pub fn whole_trace<'a>(spans: &'a [JsonSpan], services: &BTreeMap<u32, Service>) -> Option<&'a str> {
    let mut traces: BTreeMap<&str, BTreeMap<&str, &JsonSpan>> = BTreeMap::new();
    for span in spans {
        traces.entry(&span.trace_id).or_default().insert(&span.span_id, span);
    }
    let is_whole = |trace: &BTreeMap<&str, &JsonSpan>| {
        // From the span up to its root, as kinds and services.
        let way = |span: &JsonSpan| {
            let mut way = Vec::new();
            let mut at = Some(span);
            while let Some(span) = at {
                way.push((span.is_server(), services.get(&span.pid).copied()));
                if way.len() > trace.len() {
                    return None;
                }
                at = match span.parent() {
                    None => return Some(way),
                    Some(parent) => {
                        let parent = *trace.get(parent)?;
                        let inside =
                            span.start_ns + SLACK_NS >= parent.start_ns && span.end_ns <= parent.end_ns + SLACK_NS;
                        inside.then_some(parent)
                    }
                };
            }
            None
        };
        let reaches = |last: Service| {
            let expected = [
                (true, Some(last)),
                (false, Some(Service::Front)),
                (true, Some(Service::Front)),
                (false, Some(Service::Proxy)),
                (true, Some(Service::Proxy)),
            ];
            trace.values().any(|span| way(span).is_some_and(|way| way == expected))
        };
        reaches(Service::Catalogue) && reaches(Service::Orders)
    };
    traces.iter().find(|(_, trace)| is_whole(trace)).map(|(id, _)| *id)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn services() -> BTreeMap<u32, Service> {
        (0..).zip([Service::Proxy, Service::Front, Service::Catalogue, Service::Orders]).collect()
    }

    /// `id`, `parent`, `kind`, `pid` (see [`services`]), start and end in milliseconds.
    fn span(id: &str, parent: &str, kind: &str, pid: u32, start: u64, end: u64) -> JsonSpan {
        let parent = (!parent.is_empty()).then_some(parent);
        serde_json::from_value(json!({
            "trace_id": "t", "span_id": id, "parent_span_id": parent, "kind": kind, "name": "GET", "service": "",
            "start_ns": start * 1_000_000, "end_ns": end * 1_000_000, "pid": pid, "tid": pid, "links": [], "attributes": {},
        }))
        .unwrap()
    }

    fn order() -> Vec<JsonSpan> {
        vec![
            span("a", "", "SERVER", 0, 0, 100),
            span("b", "a", "CLIENT", 0, 1, 99),
            span("c", "b", "SERVER", 1, 2, 98),
            span("d", "c", "CLIENT", 1, 10, 30),
            span("e", "d", "SERVER", 2, 11, 29),
            span("f", "c", "CLIENT", 1, 40, 90),
            span("g", "f", "SERVER", 3, 41, 89),
        ]
    }

    #[test]
    fn an_order_with_all_its_spans_is_a_whole_trace() {
        assert_eq!(whole_trace(&order(), &services()), Some("t"));
    }

    #[test]
    fn a_trace_without_one_of_the_services_is_not_whole() {
        let mut spans = order();
        spans.pop();
        assert_eq!(whole_trace(&spans, &services()), None);
    }

    #[test]
    fn a_trace_with_a_missing_parent_is_not_whole() {
        let mut spans = order();
        spans.remove(1);
        assert_eq!(whole_trace(&spans, &services()), None);
    }

    #[test]
    fn a_child_that_outlives_its_parent_does_not_make_a_whole_trace() {
        let mut spans = order();
        spans[6].end_ns = 95_000_000;
        assert_eq!(whole_trace(&spans, &services()), None);
    }

    #[test]
    fn a_circle_of_parents_ends_the_search() {
        let mut spans = order();
        spans[0].parent_span_id = Some("g".into());
        assert_eq!(whole_trace(&spans, &services()), None);
    }
}
