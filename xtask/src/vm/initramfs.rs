//! The guest's first root: the modules that mount the real one, and the scripts that run the job. Written in process.

use std::{
    env,
    ffi::{OsStr, OsString},
    fmt::Write as _,
    fs,
    path::Path,
};

use anyhow::{Context as _, Result};

use super::{cpio::Archive, kernel::Kernel, modules};

/// Where Debian's `busybox-static` is.
const BUSYBOX: [&str; 2] = ["/bin/busybox", "/usr/bin/busybox"];
/// What `init.sh` calls.
const APPLETS: [&str; 7] = ["sh", "mount", "switch_root", "insmod", "poweroff", "mkdir", "cp"];

/// What the guest shall do, and under which kernel.
#[derive(Debug)]
pub struct Guest<'a> {
    /// The kernel.
    pub kernel: &'a Kernel,
    /// The workspace's root: the job's working directory.
    pub root: &'a Path,
    /// The kernel's version, as people call it.
    pub version: &'a str,
    /// The directory of the agent and the lab.
    pub binaries: &'a Path,
    /// The script.
    pub job: &'a Path,
    /// Its arguments.
    pub arguments: &'a [OsString],
}

/// Writes the archive, and gives its size in bytes.
pub fn write(guest: &Guest, file: &Path) -> Result<usize> {
    let mut archive = base()?;
    let mut names = String::new();
    archive.directory("modules");
    for module in modules::read(&guest.kernel.modules)? {
        archive.file(&format!("modules/{}", module.name), &module.content);
        names.push_str(&module.name);
        names.push('\n');
    }
    archive.file("order", names.as_bytes());
    archive.file("init", include_bytes!("init.sh"));
    archive.file("guest.sh", include_bytes!("guest.sh"));
    archive.file("job.env", settings(guest).as_bytes());
    save(archive, file)
}

/// An archive whose `init` only says that the kernel runs, and ends.
pub fn write_probe(said: &str, file: &Path) -> Result<usize> {
    let mut archive = base()?;
    let script = format!("#!/bin/sh\nmount -t devtmpfs dev /dev\necho {said} >/dev/ttyS0\npoweroff -f\n");
    archive.file("init", script.as_bytes());
    save(archive, file)
}

fn base() -> Result<Archive> {
    let busybox = BUSYBOX.iter().find_map(|path| fs::read(path).ok()).context("busybox (busybox-static) is missing")?;
    let mut archive = Archive::default();
    for directory in ["bin", "proc", "sys", "dev", "ro", "rw", "new"] {
        archive.directory(directory);
    }
    archive.file("bin/busybox", &busybox);
    for applet in APPLETS {
        archive.link(&format!("bin/{applet}"), "busybox");
    }
    Ok(archive)
}

fn save(archive: Archive, file: &Path) -> Result<usize> {
    let bytes = archive.finish();
    fs::write(file, &bytes).with_context(|| format!("can't write {}", file.display()))?;
    Ok(bytes.len())
}

/// Shell assignments: what the job sees of this machine's environment, and the job itself.
fn settings(guest: &Guest) -> String {
    let path = env::var_os("PATH").unwrap_or_default();
    let home = env::var_os("HOME").unwrap_or_else(|| "/root".into());
    let mut text = String::new();
    let values: [(&str, &OsStr); 7] = [
        ("PATH", &path),
        ("HOME", &home),
        ("NETSPAN_KERNEL", OsStr::new(guest.version)),
        ("NETSPAN_BINARIES", guest.binaries.as_os_str()),
        ("guest_modules", guest.kernel.modules.as_os_str()),
        ("guest_directory", guest.root.as_os_str()),
        ("guest_job", guest.job.as_os_str()),
    ];
    for (name, value) in values {
        // Writing to a string can't fail.
        let _ = writeln!(text, "{name}={}", quoted(value));
    }
    let arguments: Vec<_> = guest.arguments.iter().map(|argument| quoted(argument)).collect();
    let _ = writeln!(text, "guest_arguments=({})", arguments.join(" "));
    text
}

/// A word that a shell takes literally.
fn quoted(word: &OsStr) -> String {
    format!("'{}'", word.to_string_lossy().replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quoted_word_is_literal_for_a_shell() {
        let word = OsStr::new("a 'b' $(c) \"d\"\\");
        let printed = std::process::Command::new("sh").arg("-c").arg(format!("printf %s {}", quoted(word))).output();
        assert_eq!(printed.unwrap().stdout, word.as_encoded_bytes());
    }
}
