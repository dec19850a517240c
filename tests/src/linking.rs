//! How right the agent's links are while it looks: front ends of several styles of concurrency, each calling one or two
//! servers, at several concurrencies.
//!
//! A front end notes for itself which request each of its calls was made for, by the ports and ordinals of both; nothing of
//! that is on the wire, and all requests of a route look the same. nginx can't note its own port: its requests have a serial
//! number in their query, whose value the agent masks before anything else is done with it.
#![forbid(unsafe_code)]
#![expect(clippy::cast_precision_loss, reason = "shares need not be exact")]

mod downstream;
mod front;
mod load;
mod score;

use std::time::Duration;

use anyhow::Result;
use clap::ValueEnum as _;

use crate::{agent::Agent, scope::Scope};
use downstream::Downstream;
pub use front::Style;
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
    /// More options for the agent, after `--`
    #[arg(last = true)]
    agent: Vec<String>,
}

impl Options {
    /// Runs all cases, and tells of each on standard error.
    pub fn run(&self) -> Result<Vec<Outcome>> {
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
                    let outcome = case.run(&self.agent)?;
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
        let scope = Scope::new()?;
        let behind = [0, 1].map(|n| Downstream::start(self.delay, self.seed.wrapping_mul(2) + n));
        let [first, second] = behind;
        let behind = [first?, second?];
        let mut front = self.style.start(&scope, [behind[0].port(), behind[1].port()])?;
        let agent = Agent::watch_with(&scope, options)?;
        let asked = load::run(
            front.address(),
            (self.style.routes(), self.style.ids()),
            self.concurrency,
            self.length,
            self.seed,
        )?;
        std::thread::sleep(SETTLE);
        let report = agent.stop()?;
        let truth = front.stop(&asked, &behind)?;
        Ok(Outcome::of(self, &truth, &report))
    }
}
