//! Debian's archive, of another suite than the machine's: apt with lists of its own, so that the machine's stay as they
//! are. The mirror is the machine's own, asked for at run time.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use crate::command;

/// The keys that Debian signs its suites with, old ones included.
const KEYS: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// A part of the archive that has a mirror path of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Releases, updates and backports.
    Main,
    /// Security.
    Security,
}

/// One suite of the archive.
#[derive(Debug)]
pub struct Archive {
    directory: PathBuf,
    machine: String,
}

impl Archive {
    /// Gets the lists of a suite into `directory`.
    pub fn open(part: Part, suite: &str, directory: &Path) -> Result<Self> {
        for part in ["lists/partial", "cache/archives/partial", "parts", "packages"] {
            let path = directory.join(part);
            fs::create_dir_all(&path).with_context(|| format!("can't create {}", path.display()))?;
        }
        let machine = command::text(Command::new("dpkg").arg("--print-architecture"))?.trim().to_owned();
        let signed = if Path::new(KEYS).exists() { format!("[signed-by={KEYS}] ") } else { String::new() };
        let list = format!("deb {signed}{} {suite} main\n", mirror(part)?);
        fs::write(directory.join("sources.list"), list).context("can't write the source list")?;
        let archive = Self { directory: directory.to_owned(), machine };
        command::capture(archive.apt("apt-get").args(["--quiet", "update", "--error-on=any"]))
            .with_context(|| format!("can't get the lists of {suite}"))?;
        Ok(archive)
    }

    /// The machine's kind, as Debian calls it.
    pub fn machine(&self) -> &str {
        &self.machine
    }

    /// Of the packages whose names match a regular expression, the one with the highest version.
    pub fn newest(&self, names: &str) -> Result<String> {
        let found = command::text(self.apt("apt-cache").args(["search", "--names-only", names]))?;
        let names: Vec<_> = found.lines().filter_map(|line| line.split_whitespace().next()).collect();
        let newest = names.iter().copied().reduce(|best, name| if is_newer(name, best) { name } else { best });
        newest.map(str::to_owned).context("no package matches")
    }

    /// What a package depends on directly; of alternatives, all.
    pub fn depends(&self, package: &str) -> Result<Vec<String>> {
        let text = command::text(self.apt("apt-cache").args(["depends", "--important", package]))?;
        let names = text.lines().filter_map(|line| line.trim().split_once("Depends: "));
        Ok(names.map(|(_, name)| name.to_owned()).collect())
    }

    /// Downloads packages and gives the files.
    pub fn download(&self, packages: &[String]) -> Result<Vec<PathBuf>> {
        let directory = self.directory.join("packages");
        command::run(
            self.apt("apt-get")
                // Without its sandbox: the unprivileged user can't reach every target directory.
                .args(["--quiet", "-o", "APT::Sandbox::User=root", "download"])
                .args(packages)
                .current_dir(&directory),
        )?;
        let files = fs::read_dir(&directory).with_context(|| format!("can't read {}", directory.display()))?;
        Ok(files.filter_map(|file| Some(file.ok()?.path())).filter(|path| is_package(path)).collect())
    }

    fn apt(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let settings = [
            ("Dir::Etc::SourceList", self.directory.join("sources.list")),
            ("Dir::Etc::SourceParts", self.directory.join("parts")),
            ("Dir::State::Lists", self.directory.join("lists")),
            ("Dir::Cache", self.directory.join("cache")),
        ];
        for (name, path) in settings {
            command.arg("-o").arg(format!("{name}={}", path.display()));
        }
        for setting in ["Acquire::Languages=none", "APT::Sandbox::User=root", "Acquire::Check-Valid-Until=false"] {
            command.args(["-o", setting]);
        }
        command
    }
}

fn is_package(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "deb")
}

/// Compares names that differ in the version that they hold only.
fn is_newer(name: &str, than: &str) -> bool {
    command::succeeds("dpkg", &["--compare-versions", name, "gt", than])
}

/// The mirror that the machine itself uses for a part of the archive.
fn mirror(part: Part) -> Result<String> {
    let format = ["indextargets", "--format", "$(ORIGIN) $(CODENAME) $(REPO_URI)", "Created-By: Packages"];
    let targets = command::text(Command::new("apt-get").args(format)).context("can't ask apt for its mirror")?;
    parse_mirror(&targets, part)
}

/// `targets`: a line for each index, with its origin, its suite's code name and its mirror.
fn parse_mirror(targets: &str, part: Part) -> Result<String> {
    let found = targets.lines().find_map(|line| {
        let mut words = line.split(' ');
        let (origin, codename, uri) = (words.next()?, words.next()?, words.next()?);
        let of_part = codename.ends_with("-security") == (part == Part::Security);
        (origin == "Debian" && of_part).then(|| uri.to_owned())
    });
    let Some(uri) = found else {
        let part = if part == Part::Main { "the archive" } else { "the security archive" };
        bail!("apt knows no mirror of {part} of Debian: run `apt-get update`, or add one to its sources");
    };
    Ok(uri)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TARGETS: &str = "Somebody stable https://else.where/\nDebian bookworm http://mirror/debian/\n\
                           Debian bookworm-updates http://mirror/debian/\n\
                           Debian bookworm-security http://mirror/security/\n";

    #[test]
    fn each_part_has_the_mirror_that_apt_uses_for_it() {
        assert_eq!(parse_mirror(TARGETS, Part::Main).unwrap(), "http://mirror/debian/");
        assert_eq!(parse_mirror(TARGETS, Part::Security).unwrap(), "http://mirror/security/");
    }

    #[test]
    fn a_machine_without_debians_mirror_is_told_so() {
        assert!(parse_mirror("Somebody stable https://else.where/\n", Part::Main).is_err());
    }

    #[test]
    fn the_newest_package_is_chosen_by_version_and_not_by_letters() {
        assert!(is_newer("linux-image-6.12.100-cloud-amd64", "linux-image-6.12.99-cloud-amd64"));
    }
}
