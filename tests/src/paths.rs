//! Where the harness finds the sources of the programs it starts, and where it may put what it builds.
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// Environment variable that names the agent's binary, for a build that lies elsewhere.
pub const AGENT_VARIABLE: &str = "NETSPAN_BIN";

/// The sources of the small programs (`tests/apps`).
pub fn apps() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("apps")
}

/// The build directory that this very program lies in.
pub fn target() -> Result<PathBuf> {
    let own = std::env::current_exe().context("the path of the running program is not known")?;
    own.ancestors()
        .find(|directory| directory.join("CACHEDIR.TAG").exists())
        .map(Path::to_path_buf)
        .with_context(|| format!("{} does not lie in a cargo target directory", own.display()))
}

/// A directory below the build directory for what the harness makes once and keeps.
pub fn kept(name: &str) -> Result<PathBuf> {
    let directory = target()?.join("lab").join(name);
    std::fs::create_dir_all(&directory).with_context(|| format!("cannot make {}", directory.display()))?;
    Ok(directory)
}

/// A binary of this workspace, from the same profile as the running program.
pub fn binary(name: &str) -> Result<PathBuf> {
    let own = std::env::current_exe().context("the path of the running program is not known")?;
    for directory in own.ancestors().skip(1).take(2) {
        let found = directory.join(name);
        if found.is_file() {
            return Ok(found);
        }
    }
    bail!("{name} is not built: run `cargo build -p netspan -p netspan-tests`")
}

/// The agent's binary.
pub fn agent() -> Result<PathBuf> {
    std::env::var_os(AGENT_VARIABLE).map_or_else(|| binary("netspan"), |path| Ok(PathBuf::from(path)))
}

/// A program of the search path, or of the directories for administrators.
///
/// # Errors
/// When it is not installed: the message names the Debian package.
pub fn tool(name: &str, package: &str) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|directory| directory.join(name))
        .find(|file| file.is_file())
        .with_context(|| format!("{name} is not installed: run `cargo xtask setup` (Debian package {package})"))
}
