//! `bpf-linker`, built once into `target/tools`.

use std::{path::Path, process::Command};

use anyhow::{Context as _, Result};

use crate::{
    build, command,
    progress::note,
    toolchain::{self, LLVM_MAJOR},
};

/// The version that reads what the LLVM of this workspace's compilers writes.
const VERSION: &str = "0.10.3";

/// Builds `bpf-linker` if there is none; gives what came of it.
pub fn ensure(root: &Path) -> Result<String> {
    if let Some(linker) = toolchain::find_linker(root) {
        return Ok(format!("already at {}", linker.display()));
    }
    note(&format!("building bpf-linker {VERSION} (LLVM {LLVM_MAJOR}) into target/tools; about a minute on two cores"));
    let mut cargo: Command = build::cargo(root);
    // The target directory is named, because the one of this workspace may be locked by whoever runs us.
    cargo
        .args(["install", "bpf-linker", "--version", VERSION, "--locked", "--root", "target/tools"])
        .env("CARGO_TARGET_DIR", root.join("target/tools/build"));
    command::run(&mut cargo)?;
    std::fs::remove_dir_all(root.join("target/tools/build")).ok();
    let linker =
        toolchain::find_linker(root).context("cargo installed bpf-linker, but it is not in target/tools/bin")?;
    Ok(format!("built {}", linker.display()))
}
