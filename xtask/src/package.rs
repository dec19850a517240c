//! `cargo xtask package`: what is given to others: a Debian package, an archive, the list of what is in the binary (SBOM), and
//! checksums. The same sources and tools give the same files: times are those of the last commit.

mod deb;
mod sbom;
mod stage;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

use crate::{
    build::{self, Profile},
    command,
    progress::Step,
    setup,
};

/// What to package.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Package this binary instead of building one
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
    /// Write the files into this directory [default: package in the target directory]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// What a release is made of.
#[derive(Debug)]
struct Release {
    /// The version, as the workspace has it.
    version: String,
    /// Seconds since the Unix epoch that all files are said to be of.
    epoch: u64,
}

/// Makes all files, and prints their paths.
///
/// # Errors
/// When a program that is needed is missing or fails.
pub fn run(root: &Path, options: &Options) -> Result<()> {
    let binary = if let Some(binary) = &options.binary {
        binary.clone()
    } else {
        setup::ensure(root, &[setup::Need::Probes])?;
        build::binaries(root, Profile::Release, &["netspan"])?.join("netspan")
    };
    let out = options.out.clone().unwrap_or_else(|| build::target(root).join("package"));
    fs::create_dir_all(&out).with_context(|| format!("can't make {}", out.display()))?;
    let release = Release { version: version(root)?, epoch: epoch(root) };
    let step = Step::begin(format!("package netspan {}", release.version));
    let stage = stage::fill(root, &out.join("stage"), &binary)?;
    let files =
        [deb::make(root, &out, &stage, &release)?, archive(&out, &stage, &release)?, sbom::make(root, &out, &release)?];
    fs::remove_dir_all(&stage)?;
    let sums = checksums(&out, &files)?;
    step.done("done");
    for file in files.iter().chain([&sums]) {
        println!("{}", file.display());
    }
    Ok(())
}

/// Packages what is committed, and nothing else, if all that carries the version agrees about it.
///
/// # Errors
/// When something is not committed or versions differ; else as [`run`].
pub fn release(root: &Path) -> Result<()> {
    let changed = command::text(Command::new("git").args(["status", "--porcelain"]).current_dir(root))?;
    ensure!(changed.trim().is_empty(), "not all is committed:\n{}", changed.trim_end());
    let version = version(root)?;
    for (file, line) in [
        ("agent/deploy/chart/Chart.yaml", format!("appVersion: {version}")),
        ("agent/deploy/chart/Chart.yaml", format!("version: {version}")),
        ("agent/deploy/kubernetes/netspan.yaml", format!("image: netspan:{version}")),
    ] {
        let text = fs::read_to_string(root.join(file)).with_context(|| file.to_owned())?;
        ensure!(text.lines().any(|own| own.trim() == line), "{file} has no line `{line}`");
    }
    run(root, &Options { binary: None, out: None })
}

/// The version in the workspace's manifest.
fn version(root: &Path) -> Result<String> {
    let manifest = fs::read_to_string(root.join("Cargo.toml"))?;
    let line = manifest.lines().find_map(|line| line.strip_prefix("version = "));
    Ok(line.context("Cargo.toml has no version")?.trim_matches('"').to_owned())
}

/// `SOURCE_DATE_EPOCH`, else the time of the last commit; sources without either are of 1970.
fn epoch(root: &Path) -> u64 {
    let given = std::env::var("SOURCE_DATE_EPOCH").ok();
    let commit = || command::text(Command::new("git").args(["log", "-1", "--format=%ct"]).current_dir(root)).ok();
    given.or_else(commit).and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}

fn archive(out: &Path, stage: &Path, release: &Release) -> Result<PathBuf> {
    let file = out.join(format!("netspan-{}-linux-{}.tar.gz", release.version, std::env::consts::ARCH));
    let mut tar = Command::new("tar");
    tar.args(["--create", "--sort=name", "--owner=0", "--group=0", "--numeric-owner", "--format=gnu"])
        .arg(format!("--mtime=@{}", release.epoch))
        .args(["--use-compress-program", "gzip --no-name", "--file"])
        .arg(&file)
        .arg("--directory")
        .arg(stage)
        .arg(".");
    command::run(&mut tar)?;
    Ok(file)
}

/// `SHA256SUMS`, as `sha256sum --check` reads it.
fn checksums(out: &Path, files: &[PathBuf]) -> Result<PathBuf> {
    let names = files.iter().filter_map(|file| file.file_name());
    let sums = command::capture(Command::new("sha256sum").args(names).current_dir(out))?;
    let file = out.join("SHA256SUMS");
    fs::write(&file, sums)?;
    Ok(file)
}
