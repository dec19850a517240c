//! Which modules a kernel needs to reach its root, in the order in which they must be loaded, decompressed.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use crate::command;

/// The modules that mount the root, and those that jobs want; what they depend on comes with them. One that a kernel does
/// not have as a file is built in, or it is not there: then the guest says what it can't do.
const WANTED: [&str; 4] = ["virtio_pci", "virtiofs", "overlay", "tls"];

/// A module, ready for `insmod`.
#[derive(Debug)]
pub struct Module {
    /// File name, without the suffix of a compression.
    pub name: String,
    /// What `insmod` takes.
    pub content: Vec<u8>,
}

/// Reads the wanted modules of the kernel whose modules lie in `directory`.
pub fn read(directory: &Path) -> Result<Vec<Module>> {
    let table = directory.join("modules.dep");
    let dependencies = fs::read_to_string(&table).with_context(|| format!("can't read {}", table.display()))?;
    order(&dependencies).iter().map(|file| decompress(&directory.join(file))).collect()
}

/// The files of [`WANTED`] and of what they depend on, each after those that it needs.
fn order(dependencies: &str) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = vec![];
    for wanted in WANTED {
        let mut lines = dependencies.lines().filter_map(|line| line.split_once(':'));
        let Some((file, needs)) = lines.find(|(file, _)| stem(file) == wanted) else { continue };
        // modules.dep(5): the last one named has to be loaded first.
        for file in needs.split_whitespace().rev().chain([file]) {
            if !files.iter().any(|known| known == Path::new(file)) {
                files.push(file.into());
            }
        }
    }
    files
}

/// A module's name, from its path: without directories and suffixes, and with `_` for `-` as the kernel has it.
fn stem(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or(path);
    file.split('.').next().unwrap_or(file).replace('-', "_")
}

fn decompress(file: &Path) -> Result<Module> {
    let content = match file.extension().and_then(|extension| extension.to_str()) {
        Some("xz") => command::capture(Command::new("xz").arg("-dc").arg(file))?,
        Some("zst") => command::capture(Command::new("zstd").arg("-dcq").arg(file))?,
        _ => fs::read(file).with_context(|| format!("can't read {}", file.display()))?,
    };
    Ok(Module { name: format!("{}.ko", stem(&file.to_string_lossy())), content })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_comes_after_what_it_needs_and_once() {
        let dependencies = "kernel/virtio_pci.ko.xz: kernel/virtio_ring.ko.xz kernel/virtio.ko.xz\n\
                            kernel/fs/virtiofs.ko.xz: kernel/fs/fuse.ko.xz kernel/virtio_ring.ko.xz kernel/virtio.ko.xz\n\
                            kernel/fs/overlayfs/overlay.ko.xz:\n";
        let files = order(dependencies);
        let names: Vec<_> = files.iter().map(|file| stem(&file.to_string_lossy())).collect();
        assert_eq!(names, ["virtio", "virtio_ring", "virtio_pci", "fuse", "virtiofs", "overlay"]);
    }
}
