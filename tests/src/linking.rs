//! How right the agent's links are while it looks: front ends of several styles of concurrency, each calling one or two
//! servers, at several concurrencies.
//!
//! A front end notes for itself which request each of its calls was made for, by the ports and ordinals of both; nothing of
//! that is on the wire, and all requests of a route look the same. Proxies and gRPC's libraries can't note ports and streams: their requests have
//! a serial number in their query, whose value the agent masks before anything else is done with it, or in their message, which it does not read.
#![forbid(unsafe_code)]
#![expect(clippy::cast_precision_loss, reason = "shares need not be exact")]

mod downstream;
mod front;
mod kept;
mod load;
mod rpc;
mod score;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Result;
use clap::ValueEnum as _;

use crate::{
    agent::{Agent, Report},
    scope::Scope,
};
use downstream::Downstream;
use front::Made;
pub use front::Style;
use kept::Kept;
pub use score::{Outcome, Score};

/// Time for the last spans: the agent keeps a call for as long as its request is open.
const SETTLE: Duration = Duration::from_millis(1500);

/// What is measured.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Styles; all if none is named
    #[arg(long = "style", value_enum)]
    styles: Vec<Style>,
    /// Requests at once
    #[arg(long, value_delimiter = ',', default_values_t = [1, 4, 16, 64])]
    concurrency: Vec<u32>,
    /// Seconds per run
    #[arg(long, default_value_t = 8)]
    seconds: u64,
    /// Mean delay behind the front end, in milliseconds; by the concurrency if none is given
    #[arg(long)]
    delay: Option<u64>,
    /// Runs of each, with seeds from 1 on
    #[arg(long, default_value_t = 1)]
    seeds: u64,
    /// Record each run in this directory, with what belonged together, and measure the recording's replay
    #[arg(long, value_name = "DIRECTORY")]
    keep: Option<PathBuf>,
    /// Run nothing: measure the replays of what was kept in this directory
    #[arg(long, value_name = "DIRECTORY", conflicts_with = "keep")]
    again: Option<PathBuf>,
    /// More options for the agent, after `--`
    #[arg(last = true)]
    agent: Vec<String>,
}

impl Options {
    /// Runs all cases, and tells of each on standard error.
    pub fn run(&self) -> Result<Vec<Outcome>> {
        if let Some(directory) = &self.again {
            return self.replay(directory);
        }
        let styles = if self.styles.is_empty() { Style::value_variants() } else { &self.styles };
        let mut outcomes = Vec::new();
        eprintln!("{}", Outcome::heading());
        let mut skipped = 0;
        for style in styles {
            if let Some(why) = style.missing()? {
                eprintln!("{style:?} is left out: {why}");
                skipped += 1;
                continue;
            }
            for concurrency in &self.concurrency {
                for seed in 1..=self.seeds {
                    // As many requests per second at each concurrency as two cores bear.
                    let delay = Duration::from_millis(self.delay.unwrap_or_else(|| u64::from(*concurrency).max(8)));
                    let length = Duration::from_secs(self.seconds);
                    let case = Case { style: *style, concurrency: *concurrency, length, delay, seed };
                    let outcome = match &self.keep {
                        Some(directory) => case.keep(&Kept::new(directory, case)?, &self.agent)?,
                        None => case.run(&self.agent)?,
                    };
                    eprintln!("{}", outcome.line());
                    outcomes.push(outcome);
                }
            }
        }
        if skipped > 0 {
            eprintln!("{skipped} of {} styles left out", styles.len());
        }
        Ok(outcomes)
    }

    fn replay(&self, directory: &Path) -> Result<Vec<Outcome>> {
        eprintln!("{}", Outcome::heading());
        let mut outcomes = Vec::new();
        for kept in Kept::all(directory)? {
            let outcome = kept.score(&self.agent)?;
            eprintln!("{}", outcome.line());
            outcomes.push(outcome);
        }
        Ok(outcomes)
    }
}

/// One run.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// The front end.
    pub style: Style,
    /// Connections to it, each with one request at a time.
    pub concurrency: u32,
    /// How long.
    pub length: Duration,
    /// Mean delay of the servers behind it.
    pub delay: Duration,
    /// Seed of the load and of the delays.
    pub seed: u64,
}

impl Case {
    /// Runs it.
    pub fn run(self, options: &[String]) -> Result<Outcome> {
        let (truth, report) = self.watched(|scope| Agent::watch_with(scope, options))?;
        Ok(Outcome::of(self, &truth, &report))
    }

    /// Runs it and keeps it; the options are for the replay.
    fn keep(self, kept: &Kept, options: &[String]) -> Result<Outcome> {
        let (truth, _) = self.watched(|scope| {
            let mut command = Agent::command()?;
            command.arg("record").arg(kept.recording()).arg("--cgroup").arg(scope.name()?);
            Agent::start(command)
        })?;
        kept.write(&truth)?;
        kept.score(options)
    }

    fn watched(self, start: impl FnOnce(&Scope) -> Result<Agent>) -> Result<(Vec<Made>, Report)> {
        let scope = Scope::new()?;
        let Self { style, concurrency, length, delay, seed } = self;
        let behind = [0, 1].map(|n| Downstream::start(style.is_rpc(), delay, seed.wrapping_mul(2) + n));
        let [first, second] = behind;
        let behind = [first?, second?];
        let mut front = style.start(&scope, [behind[0].port(), behind[1].port()])?;
        let agent = start(&scope)?;
        let asked = if style.is_rpc() {
            rpc::run(front.address(), style.routes(), concurrency, length, seed)?
        } else {
            load::run(front.address(), (style.routes(), style.ids()), concurrency, length, seed)?
        };
        std::thread::sleep(SETTLE);
        let report = agent.stop()?;
        Ok((front.stop(&asked, &behind)?, report))
    }
}
