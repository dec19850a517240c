//! Programs in C (`tests/apps/c`), built by the compiler that Rust links with.
#![forbid(unsafe_code)]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};

use crate::paths;

/// How the program `context` comes to its thread-local variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slot {
    /// It is the program's own.
    Program,
    /// It is a library's that the program is linked with; the argument is the dialect (`gnu` or `gnu2`).
    Linked(&'static str),
    /// It is a library's that is loaded by `dlopen`, likewise.
    Loaded(&'static str),
}

/// The program `context`, built into `directory`, and the library that it is to load, if there is one.
pub fn context(directory: &Path, slot: Slot) -> Result<(PathBuf, Option<PathBuf>)> {
    let (program, library) = (directory.join("context"), directory.join("libslot.so"));
    let sources = paths::apps().join("c");
    let (main, variable) = (sources.join("context.c"), sources.join("slot.c"));
    let mut command = Command::new(paths::tool("cc", "gcc")?);
    command.args(["-O2", "-pthread", "-o"]).arg(&program).arg(&main);
    match slot {
        Slot::Program => run(command.arg(&variable).arg("-rdynamic"))?,
        Slot::Linked(dialect) => {
            shared(&variable, &library, dialect)?;
            run(command.arg(&library).arg(format!("-Wl,-rpath,{}", directory.display())))?;
        }
        Slot::Loaded(dialect) => {
            shared(&variable, &library, dialect)?;
            run(command.arg("-DLOADED"))?;
        }
    }
    Ok((program, matches!(slot, Slot::Loaded(_)).then_some(library)))
}

fn shared(source: &Path, library: &Path, dialect: &str) -> Result<()> {
    let mut command = Command::new(paths::tool("cc", "gcc")?);
    command.args(["-O2", "-shared", "-fPIC", &format!("-mtls-dialect={dialect}"), "-o"]).arg(library).arg(source);
    run(&mut command)
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.output().context("cannot run cc")?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// What a program printed so far, line by line.
pub fn printed(directory: &Path, name: &str) -> Vec<String> {
    let text = fs::read_to_string(directory.join(format!("{name}.log"))).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}
