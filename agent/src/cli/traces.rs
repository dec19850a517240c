//! `netspan traces`: the newest traces of a running agent.

use std::process::ExitCode;

use super::{
    client::AgentFlags,
    query::QueryFlags,
    table::{Edge, duration, show, text},
};
use crate::export::terminal::look_of;

/// Arguments of `netspan traces`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Show at most so many
    #[arg(long, value_name = "NUMBER", default_value = "20")]
    limit: u32,
    #[command(flatten)]
    query: QueryFlags,
    #[command(flatten)]
    agent: AgentFlags,
}

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let mut words = args.query.words();
    words.push(("limit", args.limit.to_string()));
    let Some(answer) = args.agent.ask("/v1/traces", &words)? else { return Ok(ExitCode::SUCCESS) };
    let look = look_of(&std::io::stdout());
    let rows = answer["traces"].as_array().into_iter().flatten().map(|trace| {
        vec![
            look.date_and_time(trace["start_ns"].as_u64().unwrap_or(0)),
            text(&trace["trace_id"]),
            duration(&trace["duration_ns"]),
            trace["spans"].to_string(),
            trace["errors"].to_string(),
            text(&trace["service"]),
            format!("{} {}", text(&trace["name"]), text(&trace["path"])),
        ]
    });
    let titles = [
        ("begun", Edge::Left),
        ("trace", Edge::Left),
        ("duration", Edge::Right),
        ("spans", Edge::Right),
        ("errors", Edge::Right),
        ("service", Edge::Left),
        ("request", Edge::Left),
    ];
    let rows: Vec<_> = rows.collect();
    show(&titles, &rows)?;
    if answer["has_more"] == true {
        eprintln!("netspan: there are more; --limit shows more of them");
    }
    Ok(ExitCode::SUCCESS)
}
