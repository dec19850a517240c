//! The build of Jaeger's UI that the crate `otlp-embedded` ships. Cargo fetches and checks the crate; it is never compiled, for
//! that would take a compiler of protocol buffers.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result};

use crate::{command, toolchain};

/// The crate and the version that the tests were written for: newer ones may ship a UI that asks for another API.
const CRATE: (&str, &str) = ("otlp-embedded", "0.0.2");

/// The directory of the UI's files, fetched if it is not there.
///
/// # Errors
/// When it can't be fetched from here.
pub fn ui() -> Result<PathBuf> {
    let home = home()?;
    if let Some(found) = find(&home) {
        return Ok(found);
    }
    let (name, version) = CRATE;
    // Outside of the workspace, whose lock file has nothing to do with it.
    let mut fetch = Command::new(toolchain::current_cargo());
    fetch.args(["info", "--quiet", &format!("{name}@{version}")]).current_dir(&home).stdout(Stdio::null());
    command::run(&mut fetch)?;
    find(&home).with_context(|| format!("cargo fetched {name} {version}, but its files are not where they should be"))
}

/// Where cargo keeps what it fetched.
fn home() -> Result<PathBuf> {
    let own = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let usual = || Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo"));
    own.or_else(usual).context("neither CARGO_HOME nor HOME says where cargo keeps crates")
}

fn find(home: &Path) -> Option<PathBuf> {
    let (name, version) = CRATE;
    let below = format!("{name}-{version}/jaeger-ui/build");
    let registries = fs::read_dir(home.join("registry/src")).ok()?;
    registries.filter_map(|entry| Some(entry.ok()?.path().join(&below))).find(|path| path.join("index.html").is_file())
}
