//! The Debian package, by `dpkg-deb`. What stands in it beside the tree is in `agent/deploy/debian/`.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use super::Release;
use crate::command;

/// What `dpkg` runs.
const SCRIPTS: [&str; 3] = ["postinst", "prerm", "postrm"];

/// Makes it of a tree.
pub fn make(root: &Path, out: &Path, stage: &Path, release: &Release) -> Result<PathBuf> {
    let sources = root.join("agent/deploy/debian");
    let architecture = architecture()?;
    let control = stage.join("DEBIAN");
    fs::create_dir_all(&control)?;
    let size = command::text(Command::new("du").args(["--summarize", "--apparent-size", "-k"]).arg(stage))?;
    let size = size.split_whitespace().next().context("du printed nothing")?.to_owned();
    let libc = libc(&fs::read(stage.join("usr/bin/netspan"))?).context("the binary needs no glibc")?;
    let text = fs::read_to_string(sources.join("control"))?;
    let text = text.replace("@VERSION@", &release.version).replace("@ARCHITECTURE@", architecture);
    let text = text.replace("@SIZE@", &size).replace("@LIBC@", &format!("{}.{}", libc.0, libc.1));
    fs::write(control.join("control"), text)?;
    fs::copy(sources.join("conffiles"), control.join("conffiles"))?;
    for script in SCRIPTS {
        let to = control.join(script);
        fs::copy(sources.join(script), &to)?;
        fs::set_permissions(to, fs::Permissions::from_mode(0o755))?;
    }
    fs::write(control.join("md5sums"), sums(stage)?)?;
    let file = out.join(format!("netspan_{}_{architecture}.deb", release.version));
    let mut build = Command::new("dpkg-deb");
    build.args(["--root-owner-group", "-Zxz", "-z3", "--build"]).arg(stage).arg(&file);
    command::capture(build.env("SOURCE_DATE_EPOCH", release.epoch.to_string()))?;
    fs::remove_dir_all(control)?;
    Ok(file)
}

/// Debian's name of this machine.
fn architecture() -> Result<&'static str> {
    match std::env::consts::ARCH {
        "x86_64" => Ok("amd64"),
        "aarch64" => Ok("arm64"),
        other => bail!("no name is known for {other}"),
    }
}

/// Checksums of the files but the configuration, for `dpkg --verify`.
fn sums(stage: &Path) -> Result<Vec<u8>> {
    let list = "find usr -type f -print0 | LC_ALL=C sort -z | xargs -0 md5sum";
    command::capture(Command::new("sh").args(["-c", list]).current_dir(stage))
}

/// The newest version of glibc that a binary asks for: those are names in it, `GLIBC_2.34`.
fn libc(binary: &[u8]) -> Option<(u32, u32)> {
    const PREFIX: &[u8] = b"GLIBC_";
    let places = binary.windows(PREFIX.len()).enumerate().filter(|(_, window)| *window == PREFIX);
    let version = |at: usize| {
        let rest = binary.get(at + PREFIX.len()..)?;
        let end = rest.iter().position(|byte| !byte.is_ascii_digit() && *byte != b'.')?;
        let (major, minor) = std::str::from_utf8(rest.get(..end)?).ok()?.split_once('.')?;
        let minor = minor.split('.').next()?;
        Some((major.parse().ok()?, minor.parse().ok()?))
    };
    places.filter_map(|(at, _)| version(at)).max()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_glibc_that_is_asked_for_is_found() {
        let binary = b"\0GLIBC_2.2.5\0GLIBC_2.34\0GLIBC_2.9\0GLIBC_PRIVATE\0GLIBC_";
        assert_eq!(libc(binary), Some((2, 34)));
        assert_eq!(libc(b"static"), None);
    }
}
