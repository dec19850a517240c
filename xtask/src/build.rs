//! `cargo xtask build`: the agent as it is shipped. Tests and virtual machines use the `dev` profile instead.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Result;

use crate::{command, progress::Step, setup, toolchain};

/// The two ways in which binaries are built here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// Fast to build; with assertions.
    Dev,
    /// What is shipped and measured.
    Release,
}

impl Profile {
    /// The directory's name.
    fn name(self) -> &'static str {
        match self {
            Self::Dev => "debug",
            Self::Release => "release",
        }
    }
}

/// Prepares what the build needs, builds, and says where the agent is.
pub fn run(root: &Path) -> Result<()> {
    setup::ensure(root, &[setup::Need::Probes])?;
    let directory = binaries(root, Profile::Release, &["netspan"])?;
    println!("{}", directory.join("netspan").display());
    Ok(())
}

/// Builds the binaries of some packages, and gives the directory that they are in.
pub fn binaries(root: &Path, profile: Profile, packages: &[&str]) -> Result<PathBuf> {
    let step = Step::begin(format!("build {} ({})", packages.join(", "), profile.name()));
    let mut cargo = cargo(root);
    cargo.arg("build").args(packages.iter().flat_map(|package| ["--package", package]));
    if profile == Profile::Release {
        cargo.arg("--release");
    }
    command::run(&mut cargo)?;
    step.done("done");
    Ok(directory(root, profile))
}

/// Where the binaries of a profile are.
pub fn directory(root: &Path, profile: Profile) -> PathBuf {
    target(root).join(profile.name())
}

/// A cargo for this workspace.
pub fn cargo(root: &Path) -> Command {
    let mut cargo = Command::new(toolchain::current_cargo());
    cargo.current_dir(root);
    cargo
}

/// The workspace's target directory.
pub fn target(root: &Path) -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |directory| root.join(directory))
}
