//! `netspan trace`: one trace of a running agent, as a waterfall.

use std::{process::ExitCode, sync::Arc};

use anyhow::Context as _;

use super::{client::AgentFlags, table::print};
use crate::{
    export::terminal::{Bounds, Waterfalls, look_of},
    span::json,
};

/// Arguments of `netspan trace`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Its id; leading zeros may be left out
    #[arg(value_name = "ID")]
    id: String,
    #[command(flatten)]
    agent: AgentFlags,
}

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    anyhow::ensure!(args.id.bytes().all(|digit| digit.is_ascii_hexdigit()), "{}: not a trace id", args.id);
    let path = format!("/v1/traces/{}", args.id);
    if args.agent.json {
        args.agent.ask(&path, &[])?;
        return Ok(ExitCode::SUCCESS);
    }
    let lines = args.agent.get(&path, &[("format", "ndjson".to_owned())])?;
    let bounds = Bounds { spans: usize::MAX, spans_per_trace: 10_000, ..Bounds::default() };
    let (mut trace, mut text) = (Waterfalls::new(look_of(&std::io::stdout()), bounds), String::new());
    for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let span = json::read(line).context("the agent's answer can't be read")?;
        trace.push(&Arc::new(span), &mut text);
    }
    trace.finish(&mut text);
    print(&text)?;
    Ok(ExitCode::SUCCESS)
}
