//! The tree of files that a package installs, below a directory.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use crate::command;

/// Shells, and where they look for completions.
const COMPLETIONS: [(&str, &str); 3] = [
    ("bash", "usr/share/bash-completion/completions/netspan"),
    ("zsh", "usr/share/zsh/vendor-completions/_netspan"),
    ("fish", "usr/share/fish/vendor_completions.d/netspan.fish"),
];

/// Files of the sources, and where they go.
const FILES: [(&str, &str); 5] = [
    ("agent/deploy/systemd/netspan.service", "usr/lib/systemd/system/netspan.service"),
    ("agent/deploy/netspan.toml", "etc/netspan/netspan.toml"),
    ("README.md", "usr/share/doc/netspan/README.md"),
    ("LICENSE-MIT", "usr/share/doc/netspan/LICENSE-MIT"),
    ("LICENSE-APACHE", "usr/share/doc/netspan/LICENSE-APACHE"),
];

/// Makes the tree anew, with this binary.
pub fn fill(root: &Path, stage: &Path, binary: &Path) -> Result<PathBuf> {
    if stage.exists() {
        fs::remove_dir_all(stage)?;
    }
    let own = stage.join("usr/bin/netspan");
    parent(&own)?;
    // Lines of the sources are most of the file; symbols stay, for the traces of panics.
    command::run(Command::new("strip").args(["--strip-debug", "-o"]).arg(&own).arg(binary))?;
    fs::set_permissions(&own, fs::Permissions::from_mode(0o755))?;
    for (from, to) in FILES {
        let to = stage.join(to);
        parent(&to)?;
        fs::copy(root.join(from), &to).with_context(|| format!("can't copy {from}"))?;
        fs::set_permissions(&to, fs::Permissions::from_mode(0o644))?;
    }
    for (shell, to) in COMPLETIONS {
        let to = stage.join(to);
        parent(&to)?;
        fs::write(to, command::capture(Command::new(&own).args(["completions", shell]))?)?;
    }
    let pages = stage.join("usr/share/man/man1");
    fs::create_dir_all(&pages)?;
    command::run(Command::new(&own).arg("man").arg(&pages))?;
    let mut names: Vec<_> = fs::read_dir(&pages)?.map(|page| Ok(page?.path())).collect::<Result<_>>()?;
    names.sort();
    command::run(Command::new("gzip").args(["--no-name", "--best"]).args(names))?;
    Ok(stage.to_owned())
}

fn parent(file: &Path) -> Result<()> {
    let directory = file.parent().context("a file has a directory")?;
    fs::create_dir_all(directory).with_context(|| format!("can't make {}", directory.display()))
}
