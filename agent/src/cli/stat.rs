//! `netspan stat`: rates, errors and durations of what a running agent keeps, by group, also against an earlier time.

mod against;

use std::process::ExitCode;

use clap::ValueEnum;
use serde_json::Value as Json;

use super::{
    client::AgentFlags,
    query::QueryFlags,
    table::{Edge, bytes, duration, rate, share, show, text},
};
use crate::export::terminal::brief;

/// Arguments of `netspan stat`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// What spans are grouped by
    #[arg(long, value_name = "WHAT", default_value = "service")]
    group_by: By,
    /// Which figure orders the groups, the largest first; with --against, the one that changed most
    #[arg(
        long,
        value_name = "WHICH",
        default_value = "rate",
        default_value_if("against", clap::builder::ArgPredicate::IsPresent, "p50")
    )]
    metric: Metric,
    /// Compare the time asked for with one of the same length so much earlier, such as 1h or 1d
    #[arg(long, value_name = "DURATION")]
    against: Option<String>,
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

impl By {
    fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Metric {
    P50,
    P75,
    P90,
    P99,
    P999,
    Rate,
    Errors,
    Bytes,
    Time,
}

impl Metric {
    /// The figure of a group, where it has one.
    fn of(self, group: &Json) -> Option<f64> {
        let field = match self {
            Self::P50 => "p50_ns",
            Self::P75 => "p75_ns",
            Self::P90 => "p90_ns",
            Self::P99 => "p99_ns",
            Self::P999 => "p999_ns",
            Self::Rate => "rate",
            Self::Errors => "errors",
            Self::Bytes => "bytes",
            Self::Time => return Some(total_ns(group)),
        };
        group[field].as_f64()
    }
}

/// All durations of a group together, in nanoseconds.
fn total_ns(group: &Json) -> f64 {
    group["mean_ns"].as_f64().unwrap_or(0.0) * group["count"].as_f64().unwrap_or(0.0)
}

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    if let Some(earlier) = &args.against {
        return against::run(args, earlier);
    }
    let mut words = args.query.words();
    words.push(("group-by", args.group_by.name()));
    let Some(answer) = args.agent.ask("/v1/stat", &words)? else { return Ok(ExitCode::SUCCESS) };
    let mut groups: Vec<&Json> = answer["groups"].as_array().into_iter().flatten().collect();
    let figure = |group: &Json| args.metric.of(group).unwrap_or(0.0);
    groups.sort_by(|a, b| figure(b).total_cmp(&figure(a)));
    let rows: Vec<_> = groups.iter().take(args.limit).map(|group| row(group)).collect();
    let numbers = ["count", "per s", "errors", "share", "p50", "p75", "p90", "p99", "p99.9", "time", "bytes"];
    show_groups(args.group_by, &numbers, &rows)?;
    Ok(ExitCode::SUCCESS)
}

/// Writes a table of groups and their numbers, whose titles these are.
fn show_groups(by: By, numbers: &[&str], rows: &[Vec<String>]) -> std::io::Result<()> {
    let by = by.name();
    let mut titles = vec![(by.as_str(), Edge::Left)];
    titles.extend(numbers.iter().map(|name| (*name, Edge::Right)));
    show(&titles, rows)
}

#[expect(clippy::cast_sign_loss, reason = "durations are positive")]
fn row(group: &Json) -> Vec<String> {
    vec![
        text(&group["name"]),
        group["count"].to_string(),
        rate(&group["rate"]),
        group["errors"].to_string(),
        share(&group["error_share"]),
        duration(&group["p50_ns"]),
        duration(&group["p75_ns"]),
        duration(&group["p90_ns"]),
        duration(&group["p99_ns"]),
        duration(&group["p999_ns"]),
        brief(total_ns(group) as u64),
        bytes(&group["bytes"]),
    ]
}
