//! The suites: what each needs and runs.

use std::{
    fmt,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result};
use clap::ValueEnum;

use super::{count::Count, web};
use crate::{
    build::{self, Profile},
    command,
    setup::Need,
    toolchain::{self, DEBIAN_RUSTC},
    vm,
};

/// The kernels under which everything must work before anybody else sees it: the oldest and the newest.
const KERNELS: [&str; 2] = ["5.10", "7.2"];

/// A group of tests that runs by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Suite {
    /// The source is formatted
    Fmt,
    /// No lint speaks, on the host
    Clippy,
    /// No lint speaks, in the BPF programs
    ClippyBpf,
    /// Pure tests, and recordings that are replayed
    Unit,
    /// Real servers and clients on this kernel
    Real,
    /// Packages, unit and manifests: checked, installed, and started with what they grant
    Deploy,
    /// The web UI in a browser
    Web,
    /// The small scenario under the oldest and the newest kernel
    Vm,
}

impl Suite {
    /// All, the quick ones first.
    pub const ALL: [Self; 8] =
        [Self::Fmt, Self::Clippy, Self::ClippyBpf, Self::Unit, Self::Real, Self::Deploy, Self::Web, Self::Vm];

    /// What must be installed.
    pub fn needs(self) -> &'static [Need] {
        match self {
            Self::Fmt => &[],
            Self::Clippy | Self::Unit => &[Need::Probes],
            Self::ClippyBpf => &[Need::Probes, Need::Tests],
            Self::Real | Self::Deploy => &[Need::Probes, Need::Lab],
            Self::Web => &[Need::Probes, Need::Web],
            Self::Vm => &[Need::Probes, Need::Lab, Need::Machines],
        }
    }

    /// Runs it, and counts.
    ///
    /// # Errors
    /// When it could not run to its end.
    pub fn run(self, root: &Path) -> Result<Count> {
        match self {
            Self::Fmt => checked(build::cargo(root).args(["fmt", "--all", "--check"])),
            Self::Clippy => {
                checked(build::cargo(root).args(["clippy", "--workspace", "--all-targets", "--", "--deny", "warnings"]))
            }
            Self::ClippyBpf => checked(&mut clippy_of_probes(root)?),
            Self::Unit => tests(root, &["--workspace", "--exclude", "netspan-tests"]),
            Self::Real => {
                build::binaries(root, Profile::Dev, &["netspan", "netspan-tests"])?;
                tests(root, &["--package", "netspan-tests"])
            }
            Self::Deploy => {
                build::binaries(root, Profile::Dev, &["netspan", "netspan-tests", "xtask"])?;
                tests(root, &["--package", "netspan-tests", "--test", "deploy"])
            }
            Self::Web => web::run(root),
            Self::Vm => {
                build::binaries(root, Profile::Dev, &["netspan", "netspan-tests"])?;
                let kernels = KERNELS.iter().map(|version| vm::parse(version)).collect::<Result<_>>()?;
                let mut count = Count::default();
                for (_, passed) in vm::verdicts(root, &vm::Options::of_test(kernels))? {
                    count += Count::of(passed);
                }
                Ok(count)
            }
        }
    }
}

impl fmt::Display for Suite {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.to_possible_value();
        out.write_str(value.as_ref().map_or("", |value| value.get_name()))
    }
}

/// A check that is one test: it passes or it does not.
fn checked(command: &mut Command) -> Result<Count> {
    let status = command.status().with_context(|| format!("can't start `{}`", command::line(command)))?;
    Ok(Count::of(status.success()))
}

/// Clippy of the toolchain that builds the BPF programs, because only that one has `core` for them.
fn clippy_of_probes(root: &Path) -> Result<Command> {
    let toolchain = toolchain::find(root)?;
    // Debian has it beside the compiler; a rustup toolchain's own cargo finds it by itself.
    let mut command = if toolchain.rustc == Path::new(DEBIAN_RUSTC) {
        let mut command = Command::new(toolchain.rustc.with_file_name("cargo-clippy"));
        command.env("CARGO", &toolchain.cargo);
        command
    } else {
        Command::new(&toolchain.cargo)
    };
    command.arg("clippy").args(toolchain.arguments());
    toolchain.prepare(&mut command, &build::target(root).join("bpf"))?;
    command.args(["--", "--deny", "warnings"]);
    Ok(command)
}

/// Runs Rust's tests, shows what they print, and adds up their closing lines.
fn tests(root: &Path, packages: &[&str]) -> Result<Count> {
    let mut cargo = build::cargo(root);
    cargo.args(["test", "--no-fail-fast"]).args(packages).stdout(Stdio::piped());
    let mut child = cargo.spawn().context("can't start cargo test")?;
    let output = child.stdout.take().context("cargo test has an output")?;
    let mut count = Count::default();
    for line in BufReader::new(output).lines() {
        let line = line.context("cargo test printed what is no text")?;
        println!("{line}");
        if let Some(part) = Count::of_line(&line) {
            count += part;
        }
    }
    // A program that does not build, or that dies, has no closing line.
    if !child.wait().context("can't wait for cargo test")?.success() && count.failed == 0 {
        count += Count::FAILED;
    }
    Ok(count)
}
