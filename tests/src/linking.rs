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

use crate::{agent::Agent, scope::Scope};
use downstream::Downstream;
pub use front::Style;
pub use score::{Outcome, Score};

/// Time for the last spans: the agent keeps a call for as long as its request is open.
const SETTLE: Duration = Duration::from_millis(1500);

/// What is measured.
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
        let asked = load::run(front.address(), self.style.routes(), self.concurrency, self.length, self.seed)?;
        std::thread::sleep(SETTLE);
        let report = agent.stop()?;
        let truth = front.stop(&asked, &behind)?;
        Ok(Outcome::of(self, &truth, &report))
    }
}
