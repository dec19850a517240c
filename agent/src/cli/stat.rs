//! `netspan stat`: rates, errors and durations of what a running agent keeps, by group.

use std::process::ExitCode;

use clap::ValueEnum;
use serde_json::Value as Json;

use super::{
    client::AgentFlags,
    query::QueryFlags,
    table::{Edge, duration, print, rate, share, table, text},
};

/// Arguments of `netspan stat`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// What spans are grouped by
    #[arg(long, value_name = "WHAT", default_value = "service")]
    group_by: By,
    /// Which figure orders the groups, the largest first
    #[arg(long, value_name = "WHICH", default_value = "rate")]
    metric: Metric,
    /// Show at most so many groups
    #[arg(long, value_name = "NUMBER", default_value = "50")]
    limit: usize,
    #[command(flatten)]
    query: QueryFlags,
    #[command(flatten)]
    agent: AgentFlags,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum By {
    Service,
    Route,
    Path,
    Peer,
    Status,
    Process,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Metric {
    P50,
    P99,
    Rate,
    Errors,
    Bytes,
}

impl Metric {
    const fn field(self) -> &'static str {
        match self {
            Self::P50 => "p50_ns",
            Self::P99 => "p99_ns",
            Self::Rate => "rate",
            Self::Errors => "errors",
            Self::Bytes => "bytes",
        }
    }
}

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let mut words = args.query.words();
    let by = args.group_by.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
    words.push(("group-by", by.clone()));
    let Some(answer) = args.agent.ask("/v1/stat", &words)? else { return Ok(ExitCode::SUCCESS) };
    let mut groups: Vec<&Json> = answer["groups"].as_array().into_iter().flatten().collect();
    let figure = |group: &Json| group[args.metric.field()].as_f64().unwrap_or(0.0);
    groups.sort_by(|a, b| figure(b).total_cmp(&figure(a)));
    let rows: Vec<_> = groups.iter().take(args.limit).map(|group| row(group)).collect();
    let titles = [
        (by.as_str(), Edge::Left),
        ("count", Edge::Right),
        ("per s", Edge::Right),
        ("errors", Edge::Right),
        ("share", Edge::Right),
        ("p50", Edge::Right),
        ("p90", Edge::Right),
        ("p99", Edge::Right),
        ("bytes", Edge::Right),
    ];
    print(&table(&titles, &rows))?;
    Ok(ExitCode::SUCCESS)
}

fn row(group: &Json) -> Vec<String> {
    vec![
        text(&group["name"]),
        group["count"].to_string(),
        rate(&group["rate"]),
        group["errors"].to_string(),
        share(&group["error_share"]),
        duration(&group["p50_ns"]),
        duration(&group["p90_ns"]),
        duration(&group["p99_ns"]),
        group["bytes"].to_string(),
    ]
}
