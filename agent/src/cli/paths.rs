//! `netspan paths`: which ways requests take, by what a running agent keeps: a tree of calls with their time, and how much of it was
//! on the critical path.

use std::process::ExitCode;

use serde_json::Value as Json;

use super::{
    client::AgentFlags,
    query::QueryFlags,
    table::{Edge, share, show, text},
};
use crate::export::terminal::{brief, look_of};

/// Arguments of `netspan paths`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Show at most so many calls: those that took most time, and what leads to them
    #[arg(long, value_name = "NUMBER", default_value = "60")]
    limit: usize,
    #[command(flatten)]
    query: QueryFlags,
    #[command(flatten)]
    agent: AgentFlags,
}

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let Some(answer) = args.agent.ask("/v1/paths", &args.query.words())? else { return Ok(ExitCode::SUCCESS) };
    let nodes: Vec<&Json> = answer["nodes"].as_array().into_iter().flatten().collect();
    let order = order(&nodes, args.limit);
    let look = look_of(&std::io::stdout());
    let critical_ns: u64 = nodes.iter().map(|node| number(node, "critical_ns")).fold(0, u64::saturating_add);
    let row = |(place, depth): &(usize, usize)| {
        let node = nodes[*place];
        let count = number(node, "count").max(1);
        let callee = text(&node["service"]);
        let callee = if node["callee_seen"] == true { callee } else { format!("({callee})") };
        vec![
            format!("{}{callee} {}", "  ".repeat(*depth), text(&node["name"])),
            count.to_string(),
            share(&ratio(number(node, "errors"), count)),
            brief(number(node, "sum_ns") / count),
            brief(number(node, "self_ns") / count),
            brief(number(node, "network_ns") / count),
            share(&ratio(number(node, "critical_ns"), critical_ns)),
            look.date_and_time(number(node, "first_ns")),
        ]
    };
    let rows: Vec<_> = order.iter().map(row).collect();
    let titles = [
        ("way", Edge::Left),
        ("calls", Edge::Right),
        ("errors", Edge::Right),
        ("mean", Edge::Right),
        ("own", Edge::Right),
        ("between", Edge::Right),
        ("critical", Edge::Right),
        ("first", Edge::Left),
    ];
    show(&titles, &rows)?;
    if rows.len() < nodes.len() {
        eprintln!("netspan: {} more calls took less time; --limit shows more of them", nodes.len() - rows.len());
    }
    if answer["is_whole"] == false {
        eprintln!("netspan: only the newest {} traces were looked at; --last narrows the time", answer["traces"]);
    }
    Ok(ExitCode::SUCCESS)
}

fn number(node: &Json, field: &str) -> u64 {
    node[field].as_u64().unwrap_or(0)
}

#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
fn ratio(part: u64, whole: u64) -> Json {
    (part as f64 / whole.max(1) as f64).into()
}

/// Places and depths of the calls to be shown: the costliest and what leads to them, each below its caller, the costliest first.
fn order(nodes: &[&Json], limit: usize) -> Vec<(usize, usize)> {
    let parent = |place: usize| nodes[place]["parent"].as_u64().map(|parent| parent as usize).filter(|at| *at < place);
    let mut costly: Vec<usize> = (0..nodes.len()).collect();
    costly.sort_by_key(|place| std::cmp::Reverse(number(nodes[*place], "sum_ns")));
    let mut is_shown = vec![false; nodes.len()];
    for place in costly.iter().take(limit) {
        let mut at = Some(*place);
        while let Some(place) = at.filter(|place| !is_shown[*place]) {
            is_shown[place] = true;
            at = parent(place);
        }
    }
    let mut calls = vec![Vec::new(); nodes.len()];
    let mut next: Vec<(usize, usize)> = Vec::new();
    // The last one that is put down is taken first.
    for place in costly.into_iter().rev().filter(|place| is_shown[*place]) {
        match parent(place) {
            Some(parent) => calls[parent].push(place),
            None => next.push((place, 0)),
        }
    }
    let mut order = Vec::new();
    while let Some((place, depth)) = next.pop() {
        order.push((place, depth));
        next.extend(calls[place].iter().map(|call| (*call, depth + 1)));
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn calls_are_below_their_callers_and_the_costliest_first() {
        let node = |parent: Option<u64>, sum: u64| json!({ "parent": parent, "sum_ns": sum });
        let nodes = [node(None, 5), node(Some(0), 1), node(Some(0), 3), node(None, 9), node(Some(1), 2)];
        let nodes: Vec<&Json> = nodes.iter().collect();
        assert_eq!(order(&nodes, 9), [(3, 0), (0, 0), (2, 1), (1, 1), (4, 2)]);
        // What leads to a costly one is shown with it.
        assert_eq!(order(&nodes, 1), [(3, 0)]);
        assert_eq!(order(&nodes, 4), [(3, 0), (0, 0), (2, 1), (1, 1), (4, 2)]);
        // An answer that makes no sense is no endless loop.
        assert_eq!(order(&[&node(Some(0), 1), &node(Some(9), 1)], 9), [(0, 0), (1, 0)]);
        assert_eq!(order(&[], 9), []);
    }
}
