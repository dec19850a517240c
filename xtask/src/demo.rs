//! `cargo xtask demo`: builds the agent and the lab, and lets the lab open the shop. What is shown is the lab's affair.

use std::{ffi::OsString, os::unix::process::CommandExt as _, path::Path, process::Command};

use anyhow::{Context as _, Result};

use crate::{
    build::{self, Profile},
    setup,
};

/// What is passed on to the lab.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// End after the first complete traces; succeed only if a whole, correctly nested trace was seen
    #[arg(long)]
    once: bool,
    /// End after so many seconds
    #[arg(long, value_name = "N")]
    seconds: Option<u64>,
    /// More flags for `netspan-lab demo`
    #[arg(last = true)]
    more: Vec<OsString>,
}

/// Prepares, builds, and becomes the lab.
pub fn run(root: &Path, options: &Options) -> Result<()> {
    setup::ensure(root, &[setup::Need::Probes, setup::Need::Lab])?;
    // The tests' build: it is done sooner, the tests share it, and a shop asks little of the agent.
    let lab = build::binaries(root, Profile::Dev, &["netspan", "netspan-tests"])?.join("netspan-lab");
    let mut command = Command::new(&lab);
    command.arg("demo");
    if options.once {
        command.arg("--once");
    }
    if let Some(seconds) = options.seconds {
        command.args(["--seconds", &seconds.to_string()]);
    }
    command.args(&options.more);
    // The process is replaced, so that an interrupt reaches the lab, which then ends all that it started.
    Err(command.exec()).with_context(|| format!("can't run {}", lab.display()))
}
