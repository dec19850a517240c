//! The packages of Node's programs, installed once in the build directory with pinned versions.
#![forbid(unsafe_code)]

use std::{
    fs::{self, File},
    path::PathBuf,
    process::Command,
};

use anyhow::{Context, Result, ensure};
use rustix::fs::{FlockOperation, flock};

use crate::paths;

/// Says what is wanted, and in which versions.
const FILES: [&str; 2] = ["package.json", "package-lock.json"];

/// The directory to name in `NODE_PATH`, made if it is not there or is of other versions.
///
/// # Errors
/// When `npm` is missing or the packages cannot be installed.
pub fn modules() -> Result<PathBuf> {
    let directory = paths::kept("node")?;
    // Several tests may come at once, in several processes.
    let lock = File::create(directory.join("lock"))?;
    flock(&lock, FlockOperation::LockExclusive).context("cannot lock Node's packages")?;
    let (marker, modules) = (directory.join("installed.json"), directory.join("node_modules"));
    let source = paths::apps().join("node");
    let wanted = fs::read(source.join(FILES[1])).context("Node's packages have no lock file")?;
    if fs::read(&marker).is_ok_and(|installed| installed == wanted) {
        return Ok(modules);
    }
    for file in FILES {
        fs::copy(source.join(file), directory.join(file))?;
    }
    let output = Command::new(paths::tool("npm", "npm")?)
        .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"])
        .current_dir(&directory)
        .output()
        .context("cannot run npm")?;
    ensure!(output.status.success(), "npm failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    // Last of all: packages that were left half installed are installed anew.
    fs::write(&marker, wanted)?;
    Ok(modules)
}
