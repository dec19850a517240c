//! The kernels that we test on, and how each comes from Debian's archive into the target directory. Nothing is installed.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use super::archive::{Archive, Part};
use crate::{
    command,
    progress::{Step, note},
};

/// Where a kernel comes from.
#[derive(Debug, PartialEq, Eq)]
pub struct Source {
    /// As people call it.
    pub version: &'static str,
    /// The part of the archive and the suite.
    part: Part,
    suite: &'static str,
}

/// The kernels, oldest first.
pub const ALL: [Source; 4] = [
    Source { version: "5.10", part: Part::Main, suite: "bullseye" },
    Source { version: "6.1", part: Part::Main, suite: "bookworm" },
    Source { version: "6.12", part: Part::Security, suite: "bookworm-security" },
    Source { version: "7.2", part: Part::Main, suite: "trixie-backports" },
];

/// A kernel that was unpacked.
#[derive(Debug)]
pub struct Kernel {
    /// What `uname -r` says under it.
    pub release: String,
    /// The bootable image.
    pub image: PathBuf,
    /// The directory of its modules, `.../lib/modules/RELEASE`.
    pub modules: PathBuf,
}

/// One of [`ALL`] by its version.
pub fn parse(version: &str) -> Result<&'static Source> {
    ALL.iter().find(|source| source.version == version).with_context(|| {
        let known: Vec<_> = ALL.iter().map(|source| source.version).collect();
        format!("no such kernel here; there are {}", known.join(", "))
    })
}

/// Fetches and unpacks a kernel below `directory`, if it is not there.
pub fn fetch(source: &Source, directory: &Path) -> Result<Kernel> {
    let unpacked = directory.join("unpacked");
    if let Ok(kernel) = find(&unpacked) {
        note(&format!("kernel {}: {} is already here", source.version, kernel.release));
        return Ok(kernel);
    }
    let step = Step::begin(format!("kernel {}: fetch from {}", source.version, source.suite));
    let archive = Archive::open(source.part, source.suite, &directory.join("apt"))?;
    let image = archive
        .newest(&format!(
            r"^linux-image-{}\.[0-9.]+.*-cloud-{}$",
            source.version.replace('.', r"\."),
            archive.machine()
        ))
        .with_context(|| format!("{} has no kernel {} for clouds", source.suite, source.version))?;
    // Newer packages keep the image and the modules in packages of their own.
    let mut packages = vec![image.clone()];
    packages.extend(archive.depends(&image)?.into_iter().filter(|name| {
        name.starts_with("linux-binary-") || name.starts_with("linux-modules-") || name.starts_with("linux-image-")
    }));
    let new = directory.join("unpacking");
    fs::remove_dir_all(&new).ok();
    for file in archive.download(&packages)? {
        command::run(Command::new("dpkg").arg("-x").arg(&file).arg(&new))?;
        fs::remove_file(&file).ok();
    }
    let kernel = find_or_depmod(&new)?;
    // Last of all: what was left half made is made anew.
    fs::remove_dir_all(&unpacked).ok();
    fs::rename(&new, &unpacked).with_context(|| format!("can't rename {}", new.display()))?;
    step.done(&packages.join(", "));
    find(&unpacked).with_context(|| format!("{} was unpacked", kernel.release))
}

fn find_or_depmod(unpacked: &Path) -> Result<Kernel> {
    let kernel = find(unpacked)?;
    let base = kernel.modules.ancestors().nth(3).context("modules lie in lib/modules")?;
    command::capture(Command::new("/sbin/depmod").arg("-b").arg(base).arg(&kernel.release))?;
    Ok(kernel)
}

fn find(unpacked: &Path) -> Result<Kernel> {
    for lib in ["lib/modules", "usr/lib/modules"] {
        let Some(Ok(entry)) = fs::read_dir(unpacked.join(lib)).ok().and_then(|mut entries| entries.next()) else {
            continue;
        };
        let (modules, release) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
        let images = [unpacked.join("boot").join(format!("vmlinuz-{release}")), modules.join("vmlinuz")];
        if let Some(image) = images.into_iter().find(|image| image.is_file()) {
            return Ok(Kernel { release, image, modules });
        }
    }
    bail!("{} holds no kernel with its modules", unpacked.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_that_we_do_not_have_is_refused_with_those_that_we_have() {
        assert_eq!(parse("6.12").unwrap().suite, "bookworm-security");
        assert!(parse("6.13").unwrap_err().to_string().contains("5.10, 6.1, 6.12, 7.2"));
    }
}
