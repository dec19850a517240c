//! The web UI's suite: the committed build is that of the sources, and a browser shows what an agent knows.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result};

use super::{count::Count, jaeger};
use crate::{
    build::{self, Profile},
    command,
    progress::note,
};

/// The first version of Node that Vite runs on; the tests run on older ones, too.
const NODE_MIN: u32 = 20;

/// Runs it.
pub fn run(root: &Path) -> Result<Count> {
    let web = root.join("agent/web");
    command::run(npm(&web).args(["ci", "--no-audit", "--no-fund"]))?;
    let mut count = is_up_to_date(&web)?;
    // Both at once: one after the other, the library would be built twice, as examples may use more.
    command::run(build::cargo(root).args(["build", "--package", "netspan", "--bins", "--example", "fill"]))?;
    let directory = build::directory(root, Profile::Dev);
    let mut tests = npm(&web);
    tests
        .args(["run", "--silent", "test"])
        .env("NETSPAN_BIN", directory.join("netspan"))
        .env("NETSPAN_FILL", directory.join("examples/fill"))
        .stdout(Stdio::piped());
    match jaeger::ui() {
        Ok(directory) => drop(tests.env("NETSPAN_JAEGER_UI", directory)),
        Err(error) => note(&format!("Jaeger's UI is not tested: {error:#}")),
    }
    let mut child = tests.spawn().context("can't start npm")?;
    let output = child.stdout.take().context("npm has an output")?;
    let mut own = Count::default();
    for line in BufReader::new(output).lines() {
        let line = line.context("a test printed what is no text")?;
        println!("{line}");
        if let Some(part) = Count::of_node_line(&line) {
            own += part;
        }
    }
    // A runner that dies has no closing lines.
    if !child.wait().context("can't wait for npm")?.success() && own.failed == 0 {
        own += Count::FAILED;
    }
    count += own;
    Ok(count)
}

fn npm(web: &Path) -> Command {
    let mut npm = Command::new("npm");
    npm.current_dir(web);
    npm
}

/// Builds the UI anew and compares it with what is committed.
fn is_up_to_date(web: &Path) -> Result<Count> {
    let version = command::text(Command::new("node").arg("--version"))?;
    let major = version.trim_start_matches('v').split('.').next().and_then(|major| major.parse::<u32>().ok());
    if major.is_none_or(|major| major < NODE_MIN) {
        note(&format!(
            "Node {} is too old for Vite: whether dist is what comes of it is not looked at",
            version.trim()
        ));
        return Ok(Count { skipped: 1, ..Count::default() });
    }
    let kept = files(&web.join("dist"))?;
    command::run(npm(web).args(["run", "--silent", "build"]))?;
    let built = files(&web.join("dist"))?;
    let is_same = kept == built;
    if !is_same {
        note("agent/web/dist was not what its sources become; it is now: commit it");
    }
    Ok(Count::of(is_same))
}

/// All files below a directory with their contents, by name.
fn files(directory: &Path) -> Result<Vec<(PathBuf, Vec<u8>)>> {
    let mut found = Vec::new();
    let entries = fs::read_dir(directory).with_context(|| format!("can't read {}", directory.display()))?;
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(files(&path)?);
        } else {
            let contents = fs::read(&path).with_context(|| format!("can't read {}", path.display()))?;
            found.push((path, contents));
        }
    }
    found.sort();
    Ok(found)
}
