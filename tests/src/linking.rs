//! How right the agent's links are while it looks: front ends of several styles of concurrency, each calling one or two
//! servers, at several concurrencies.
//!
//! A front end notes for itself which request each of its calls was made for, by the ports and ordinals of both; nothing of
//! that is on the wire, and all requests of a route look the same. Proxies and gRPC's libraries can't note ports and streams: their requests have
//! a serial number in their query, whose value the agent masks before anything else is done with it, or in their message, which it does not read.
#![forbid(unsafe_code)]
#![expect(clippy::cast_precision_loss, reason = "shares need not be exact")]

mod curve;
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

use anyhow::{Result, ensure};
use clap::ValueEnum as _;
use serde::Serialize;

use crate::{
    agent::{Agent, Report},
    bench::usage::{at_rest, cpu},
    scope::Scope,
};
pub use curve::{Bin, Step};
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
    #[arg(long, value_delimiter = ',', default_values_t = [1, 4, 16, 64, 256])]
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

/// What was measured.
#[derive(Debug, Default, Serialize)]
pub struct Measured {
    /// Each run.
    pub outcomes: Vec<Outcome>,
    /// Styles that this machine can't run, and why.
    pub left_out: Vec<String>,
    /// Runs that failed, and why.
    pub failed: Vec<String>,
}

impl Options {
    /// Runs all cases, and tells of each on standard error; `print` gets everything at the end.
    ///
    /// # Errors
    /// When a run failed; the others were printed.
    pub fn run(&self, print: impl FnOnce(&Measured) -> Result<()>) -> Result<()> {
        eprintln!("{}", Outcome::heading());
        let mut measured = Measured::default();
        match &self.again {
            Some(directory) => self.replay(directory, &mut measured)?,
            None => self.measure(&mut measured)?,
        }
        print(&measured)?;
        ensure!(measured.failed.is_empty(), "{} runs failed", measured.failed.len());
        Ok(())
    }

    fn measure(&self, measured: &mut Measured) -> Result<()> {
        let styles = if self.styles.is_empty() { Style::value_variants() } else { &self.styles };
        for style in styles {
            if let Some(why) = style.missing()? {
                eprintln!("{style:?} is left out: {why}");
                measured.left_out.push(format!("{style:?}: {why}"));
                continue;
            }
            for concurrency in &self.concurrency {
                for seed in 1..=self.seeds {
                    // As many requests per second at each concurrency as two cores bear.
                    let delay = Duration::from_millis(self.delay.unwrap_or_else(|| u64::from(*concurrency).max(8)));
                    let length = Duration::from_secs(self.seconds);
                    let case = Case { style: *style, concurrency: *concurrency, length, delay, seed };
                    measured.add(&format!("{style:?} at {concurrency}, seed {seed}"), self.one(case));
                }
            }
        }
        if !measured.left_out.is_empty() {
            eprintln!("{} of {} styles left out", measured.left_out.len(), styles.len());
        }
        Ok(())
    }

    fn one(&self, case: Case) -> Result<Outcome> {
        match &self.keep {
            Some(directory) => case.keep(&Kept::new(directory, case)?, &self.agent),
            None => case.run(&self.agent),
        }
    }

    fn replay(&self, directory: &Path, measured: &mut Measured) -> Result<()> {
        for kept in Kept::all(directory)? {
            measured.add(&kept.to_string(), kept.score(&self.agent));
        }
        Ok(())
    }
}

impl Measured {
    fn add(&mut self, name: &str, outcome: Result<Outcome>) {
        match outcome {
            Ok(outcome) => {
                eprintln!("{}", outcome.line());
                self.outcomes.push(outcome);
            }
            Err(error) => {
                eprintln!("{name}: {error:#}");
                self.failed.push(format!("{name}: {error:#}"));
            }
        }
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
        let (truth, report, cpu) = self.watched(|scope| Agent::watch_with(scope, options))?;
        let per_span = cpu.as_secs_f64() * 1e6 / report.spans.len().max(1) as f64;
        Ok(Outcome { cpu_us_per_span: Some(per_span), ..Outcome::of(self, &truth, &report) })
    }

    /// Runs it and keeps it; the options are for the replay.
    fn keep(self, kept: &Kept, options: &[String]) -> Result<Outcome> {
        let (truth, ..) = self.watched(|scope| {
            let mut command = Agent::command()?;
            command.arg("record").arg(kept.recording()).arg("--cgroup").arg(scope.name()?);
            Agent::start(command)
        })?;
        kept.write(&truth)?;
        kept.score(options)
    }

    /// What belonged together, what the agent said, and its CPU time for it.
    fn watched(self, start: impl FnOnce(&Scope) -> Result<Agent>) -> Result<(Vec<Made>, Report, Duration)> {
        let scope = Scope::new()?;
        let Self { style, concurrency, length, delay, seed } = self;
        let behind = [0, 1].map(|n| Downstream::start(style.is_rpc(), delay, seed.wrapping_mul(2) + n));
        let [first, second] = behind;
        let behind = [first?, second?];
        let mut front = style.start(&scope, [behind[0].port(), behind[1].port()])?;
        let agent = start(&scope)?;
        let before = at_rest(agent.pid())?;
        let asked = if style.is_rpc() {
            rpc::run(front.address(), style.routes(), concurrency, length, seed)?
        } else {
            load::run(front.address(), (style.routes(), style.ids()), concurrency, length, seed)?
        };
        std::thread::sleep(SETTLE);
        let spent = cpu(agent.pid())?.saturating_sub(before);
        let report = agent.stop()?;
        Ok((front.stop(&asked, &behind)?, report, spent))
    }
}
