//! `netspan map`: who calls whom, by what a running agent keeps.

use std::process::ExitCode;

use super::{
    client::AgentFlags,
    query::QueryFlags,
    table::{Edge, duration, rate, share, show, text},
};

/// Arguments of `netspan map`.
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(flatten)]
    query: QueryFlags,
    #[command(flatten)]
    agent: AgentFlags,
}

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let Some(answer) = args.agent.ask("/v1/map", &args.query.words())? else { return Ok(ExitCode::SUCCESS) };
    let end = |name: &serde_json::Value, is_seen: &serde_json::Value| {
        let name = text(name);
        if is_seen == true { name } else { format!("({name})") }
    };
    let rows = answer["edges"].as_array().into_iter().flatten().map(|edge| {
        vec![
            end(&edge["caller"], &edge["caller_seen"]),
            end(&edge["callee"], &edge["callee_seen"]),
            edge["count"].to_string(),
            rate(&edge["rate"]),
            share(&edge["error_share"]),
            duration(&edge["p50_ns"]),
            duration(&edge["p99_ns"]),
        ]
    });
    let titles = [
        ("caller", Edge::Left),
        ("callee", Edge::Left),
        ("calls", Edge::Right),
        ("per s", Edge::Right),
        ("errors", Edge::Right),
        ("p50", Edge::Right),
        ("p99", Edge::Right),
    ];
    let rows: Vec<_> = rows.collect();
    show(&titles, &rows)?;
    if answer["is_whole"] == false {
        eprintln!("netspan: only the newest spans were looked at; --last narrows the time");
    }
    Ok(ExitCode::SUCCESS)
}
