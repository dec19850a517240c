//! A Python environment with the servers' packages, made once in the build directory with pinned versions.
#![forbid(unsafe_code)]

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};
use rustix::fs::{FlockOperation, flock};

use crate::paths;

/// The packages: exact versions, so that every machine runs the same programs.
pub const REQUIREMENTS: &str = "\
blinker==1.9.0
certifi==2025.1.31
charset-normalizer==3.4.1
click==8.1.8
flask==3.1.0
gunicorn==23.0.0
h11==0.14.0
httptools==0.6.4
idna==3.10
itsdangerous==2.2.0
jinja2==3.1.6
markupsafe==3.0.2
packaging==24.2
requests==2.32.3
rotel==0.0.1a15
urllib3==2.3.0
uvicorn==0.34.0
werkzeug==3.1.3
";

/// The environment's directory of programs, made if it is not there or is of other versions.
///
/// # Errors
/// When Python's `venv` is missing or the packages cannot be installed.
pub fn programs() -> Result<PathBuf> {
    let directory = paths::kept("python")?.join("environment");
    // Several tests may come at once, in several processes.
    let lock = File::create(directory.with_extension("lock"))?;
    flock(&lock, FlockOperation::LockExclusive).context("cannot lock the Python environment")?;
    let programs = directory.join("bin");
    let marker = directory.join("requirements.txt");
    if fs::read_to_string(&marker).is_ok_and(|text| text == REQUIREMENTS) {
        return Ok(programs);
    }
    eprintln!("making the Python environment in {} (once, about 30 s)", directory.display());
    let wanted = directory.with_extension("txt");
    fs::write(&wanted, REQUIREMENTS)?;
    let python = paths::tool("python3", "python3-venv")?;
    run(Command::new(python).args(["-m", "venv", "--clear"]).arg(&directory))?;
    run(Command::new(programs.join("python"))
        .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "-r"])
        .arg(&wanted))?;
    // Last of all: an environment that was left half made is made anew.
    fs::rename(&wanted, &marker)?;
    Ok(programs)
}

/// One program of the environment.
pub fn program(name: &str) -> Result<PathBuf> {
    let file = programs()?.join(name);
    if !Path::new(&file).exists() {
        bail!("the Python environment has no {name}: remove {} and try again", paths::kept("python")?.display());
    }
    Ok(file)
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("cannot run {}", command.get_program().display()))?;
    if !output.status.success() {
        bail!("{command:?} failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}
