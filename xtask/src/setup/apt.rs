//! Installs Debian packages that are missing, without letting the services in them start.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};

use super::packages::SERVICES;
use crate::{command, progress::note};

/// What asks `invoke-rc.d` and `systemctl` whether a package may start its service.
const POLICY: &str = "/usr/sbin/policy-rc.d";
/// A policy of ours: it refuses. The second line tells it from somebody else's.
const REFUSE: &str = "#!/bin/sh\n# Made by netspan's `cargo xtask setup` for the time of an installation.\nexit 101\n";

/// Installs those of the packages that are missing; gives what came of it.
///
/// # Errors
/// When that is not possible from here; the message holds the one command to run.
pub fn install(wanted: &[&str]) -> Result<String> {
    if wanted.is_empty() {
        return Ok("none is needed".to_owned());
    }
    if !command::succeeds("dpkg-query", &["--version"]) {
        bail!("this is no Debian: install what holds the programs of these packages: {}", wanted.join(" "));
    }
    let missing = missing(wanted);
    if missing.is_empty() {
        return Ok(format!("all {} are installed", wanted.len()));
    }
    if !rustix::process::geteuid().is_root() {
        bail!("run this as root, then try again: apt-get update && apt-get install {}", missing.join(" "));
    }
    note(&format!("installing {}", missing.join(" ")));
    {
        let _policy = Policy::refuse()?;
        if missing.iter().any(|name| !has_candidate(name)) || get_packages(&missing).is_err() {
            note("the lists of packages are old or missing: updating them");
            command::run(apt_get().arg("update"))?;
            get_packages(&missing)?;
        }
    }
    disable_services(&missing);
    Ok(format!("installed {}", missing.join(" ")))
}

fn missing<'a>(wanted: &[&'a str]) -> Vec<&'a str> {
    let query = Command::new("dpkg-query")
        .args(["--show", "--showformat", "${Package} ${db:Status-Status}\n"])
        .args(wanted)
        .stderr(Stdio::null())
        .output();
    // It fails when a package is unknown, and still prints the others.
    let known = query.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    let installed = |name: &str| known.lines().any(|line| line.split_once(' ') == Some((name, "installed")));
    wanted.iter().copied().filter(|name| !installed(name)).collect()
}

fn has_candidate(name: &str) -> bool {
    command::text(Command::new("apt-cache").args(["madison", name])).is_ok_and(|versions| !versions.trim().is_empty())
}

fn apt_get() -> Command {
    let mut command = Command::new("apt-get");
    command.args(["--quiet", "-o", "Dpkg::Use-Pty=0", "-o", "DPkg::Lock::Timeout=120"]);
    command.env("DEBIAN_FRONTEND", "noninteractive").stdin(Stdio::null());
    command
}

fn get_packages(names: &[&str]) -> Result<()> {
    command::run(apt_get().args(["install", "--yes", "--no-install-recommends"]).args(names))
}

/// A service that was not on this machine before us shall not start with it either.
fn disable_services(installed: &[&str]) {
    if !Path::new("/run/systemd/system").exists() {
        return;
    }
    for (_, unit) in SERVICES.iter().filter(|(package, _)| installed.contains(package)) {
        if !command::succeeds("systemctl", &["disable", "--now", unit]) {
            note(&format!("{unit} could not be disabled: `systemctl disable --now {unit}`"));
        }
    }
}

/// Keeps services from starting as long as it lives.
struct Policy(Option<PathBuf>);

impl Policy {
    fn refuse() -> Result<Self> {
        let path = Path::new(POLICY);
        // A policy of the machine's own stays; one of ours was left behind by an installation that was killed.
        if fs::read_to_string(path).is_ok_and(|text| text != REFUSE) {
            return Ok(Self(None));
        }
        fs::write(path, REFUSE)
            .and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(0o755)))
            .with_context(|| format!("can't write {POLICY}, which keeps services from starting"))?;
        Ok(Self(Some(path.to_owned())))
    }
}

impl Drop for Policy {
    fn drop(&mut self) {
        if let Some(path) = &self.0 {
            fs::remove_file(path).ok();
        }
    }
}
