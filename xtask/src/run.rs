//! `cargo xtask run`: `netspan run` on this host, from this source tree.

use std::{ffi::OsString, os::unix::process::CommandExt as _, path::Path, process::Command};

use anyhow::{Context as _, Result};

use crate::{
    build::{self, Profile},
    setup,
};

/// What is passed on.
#[derive(Debug, clap::Args)]
#[command(disable_help_flag = true)]
pub struct Options {
    /// Flags for `netspan run` (`--help` lists them)
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "FLAGS")]
    flags: Vec<OsString>,
}

/// Builds the agent and becomes it.
pub fn run(root: &Path, options: &Options) -> Result<()> {
    setup::ensure(root, &[setup::Need::Probes])?;
    let agent = build::binaries(root, Profile::Release, &["netspan"])?.join("netspan");
    // The process is replaced, so that signals reach the agent itself; this returns only when it can't.
    Err(Command::new(&agent).arg("run").args(&options.flags).exec())
        .with_context(|| format!("can't run {}", agent.display()))
}
