//! Builds the BPF programs and gives the object's path to the crate as `NETSPAN_PROBES`. It must not install anything.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, exit},
};

use anyhow::{Context as _, Result, bail};
use toolchain::Toolchain;

#[path = "build/lean.rs"]
mod lean;
#[path = "../xtask/src/toolchain.rs"]
#[expect(dead_code, reason = "`xtask` uses the rest of it")]
mod toolchain;

/// If this variable is set, the object keeps the lines of source code: the verifier's log shows them where it refuses a program.
const KEEP_LINES: &str = "NETSPAN_KEEP_LINES";

fn main() {
    if let Err(error) = build() {
        eprintln!("error: {error:#}");
        exit(1);
    }
}

fn build() -> Result<()> {
    let manifest_dir = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").context("cargo sets CARGO_MANIFEST_DIR")?);
    let out_dir = PathBuf::from(env::var_os("OUT_DIR").context("cargo sets OUT_DIR")?);
    let root = manifest_dir.parent().context("the agent lies in the workspace")?;
    for path in ["ebpf/src", "ebpf/Cargo.toml", "Cargo.lock", "xtask/src/toolchain.rs", "agent/build.rs", "agent/build"]
    {
        println!("cargo::rerun-if-changed={}", root.join(path).display());
    }
    let object = build_probes(&toolchain::find(root)?, &target_dir(&out_dir))?;
    println!("cargo::rerun-if-env-changed={KEEP_LINES}");
    // A copy, because the next build of another profile overwrites the original while this one may be being read.
    let copy = out_dir.join(toolchain::PROBES);
    let read = fs::read(&object).with_context(|| format!("can't read {}", object.display()))?;
    let lines = env::var_os(KEEP_LINES).is_some();
    let kept = if lines { read } else { lean::lean(&read)? };
    fs::write(&copy, kept).with_context(|| format!("can't write {}", copy.display()))?;
    println!("cargo::rustc-env=NETSPAN_PROBES={}", copy.display());
    Ok(())
}

/// Builds the programs and gives the object's path.
fn build_probes(toolchain: &Toolchain, target_dir: &Path) -> Result<PathBuf> {
    let mut command = Command::new(&toolchain.cargo);
    command.arg("build").args(toolchain.arguments());
    toolchain.prepare(&mut command, target_dir)?;
    let status = command.status().with_context(|| format!("can't start {}", toolchain.cargo.display()))?;
    if !status.success() {
        bail!("the BPF programs did not build ({toolchain}): see the messages above");
    }
    Ok(target_dir.join(toolchain::TARGET).join("release").join(toolchain::PROBES))
}

/// `bpf/` in the target directory, shared by all profiles; the outer cargo never locks it, so it can't wait for us.
fn target_dir(out_dir: &Path) -> PathBuf {
    let target = out_dir.ancestors().find(|dir| dir.join("CACHEDIR.TAG").exists());
    target.unwrap_or(out_dir).join("bpf")
}
