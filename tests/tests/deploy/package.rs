//! The Debian package: made, installed below a directory, and its agent started with the capabilities of its unit.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use anyhow::{Context, Result, ensure};
use netspan_tests::{agent::Agent, paths, scope::Scope};
use serde_json::Value;

use super::{AGENT, deploy, output, sees};

/// Where all files were made, once.
fn packaged() -> Result<&'static Path> {
    static MADE: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let make = || {
        let out = paths::kept("package")?;
        fs::remove_dir_all(&out)?;
        let mut package = Command::new(paths::binary("xtask")?);
        output(package.arg("package").arg("--binary").arg(paths::agent()?).arg("--out").arg(&out))?;
        Ok(out)
    };
    let made = MADE.get_or_init(|| make().map_err(|error: anyhow::Error| format!("{error:#}")));
    made.as_deref().map_err(|error| anyhow::anyhow!("{error}"))
}

fn file_of(ending: &str) -> Result<PathBuf> {
    let files = fs::read_dir(packaged()?)?.filter_map(|file| Some(file.ok()?.path()));
    let mut found = files.filter(|file| file.to_string_lossy().ends_with(ending));
    found.next().with_context(|| format!("no file {ending}"))
}

/// Installs the package into an empty system.
fn installed(root: &Path) -> Result<()> {
    for directory in ["var/lib/dpkg/info", "var/lib/dpkg/updates", "var/log"] {
        fs::create_dir_all(root.join(directory))?;
    }
    fs::write(root.join("var/lib/dpkg/status"), "")?;
    let mut dpkg = Command::new(paths::tool("dpkg", "dpkg")?);
    dpkg.arg("--root").arg(root).args(["--force-depends", "--force-script-chrootless", "--install"]);
    output(dpkg.arg(file_of(".deb")?)).map(drop)
}

/// The value of a line of the unit.
fn of_unit(root: &Path, key: &str) -> Result<String> {
    let unit = fs::read_to_string(root.join("usr/lib/systemd/system/netspan.service"))?;
    let line = unit.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    line.map(str::to_owned).with_context(|| format!("the unit has no {key}"))
}

#[test]
fn the_package_installs_and_its_agent_sees_with_the_units_capabilities() -> Result<()> {
    let _turn = AGENT.lock();
    let (scope, directory) = (Scope::new()?, tempfile::tempdir()?);
    let root = directory.path().join("root");
    installed(&root)?;
    for file in ["etc/netspan/netspan.toml", "usr/share/man/man1/netspan-run.1.gz"] {
        ensure!(root.join(file).is_file(), "{file} is not installed");
    }
    let completions = fs::read_to_string(root.join("usr/share/bash-completion/completions/netspan"))?;
    ensure!(completions.contains("netspan"), "no completions");
    let capabilities = of_unit(&root, "CapabilityBoundingSet")?;
    let names = capabilities.split_whitespace().map(|name| name.to_lowercase().replace("cap_", "+"));
    let bounds = format!("--bounding-set=-all,{}", names.collect::<Vec<_>>().join(","));
    let start = of_unit(&root, "ExecStart")?;
    let mut words = start.split_whitespace();
    let binary = root.join(words.next().context("a program")?.trim_start_matches('/'));
    let mut command = Agent::command_by_setpriv(&binary, &[&bounds, "--no-new-privs"])?;
    let spans = directory.path().join("spans");
    let config = root.join("etc/netspan/netspan.toml");
    let text = fs::read_to_string(&config)?;
    fs::write(&config, format!("{text}\n[[export]]\nkind = \"file\"\npath = {:?}\n", spans.display().to_string()))?;
    command.args(words).arg("--config").arg(&config).arg("--cgroup").arg(scope.name()?);
    command.env("STATE_DIRECTORY", directory.path().join("state"));
    command.env("NETSPAN_STORE_OFF", "false").env("NETSPAN_QUEUE_OFF", "false");
    let agent = sees(command, &scope, directory.path(), &spans)?;
    ensure!(!agent.printed().contains("CAP_SYS_NICE"), "the priority is not permitted:\n{}", agent.printed());
    agent.stop()?;
    Ok(())
}

#[test]
fn removing_the_package_leaves_the_configuration_and_purging_it_nothing() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let root = directory.path().join("root");
    installed(&root)?;
    let dpkg = |action: &str| {
        let mut dpkg = Command::new(paths::tool("dpkg", "dpkg")?);
        dpkg.arg("--root").arg(&root).args(["--force-script-chrootless", action, "netspan"]);
        output(&mut dpkg)
    };
    let verified = dpkg("--verify")?;
    ensure!(verified.trim().is_empty(), "{verified}");
    dpkg("--remove")?;
    ensure!(root.join("etc/netspan/netspan.toml").is_file() && !root.join("usr/bin/netspan").exists(), "removed");
    dpkg("--purge")?;
    ensure!(!root.join("etc/netspan").exists(), "purged");
    Ok(())
}

#[test]
fn systemd_finds_nothing_wrong_with_the_unit() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let unit = fs::read_to_string(deploy().join("systemd/netspan.service"))?;
    // It is not installed here.
    let own = unit.replace("/usr/bin/netspan", &paths::agent()?.display().to_string());
    let file = directory.path().join("netspan.service");
    fs::write(&file, own)?;
    let systemd = paths::tool("systemd-analyze", "systemd")?;
    let mut verify = Command::new(&systemd);
    let said = verify.args(["verify", "--man=no", "--recursive-errors=no"]).arg(&file).output()?;
    let said = String::from_utf8_lossy(&said.stderr).into_owned();
    ensure!(!said.contains("netspan.service"), "{said}");
    output(Command::new(systemd).args(["security", "--offline=true", "--threshold=35"]).arg(&file)).map(drop)
}

#[test]
fn checksums_hold_and_the_sbom_has_what_is_linked_and_nothing_twice() -> Result<()> {
    output(Command::new("sha256sum").args(["--check", "--strict", "SHA256SUMS"]).current_dir(packaged()?))?;
    let sbom: Value = serde_json::from_str(&fs::read_to_string(file_of(".cdx.json")?)?)?;
    let components = sbom["components"].as_array().context("components")?;
    let mut references = BTreeSet::new();
    for one in components.iter().chain([&sbom["metadata"]["component"]]) {
        ensure!(references.insert(one["bom-ref"].as_str().context("a reference")?), "twice: {one}");
        ensure!(one["licenses"].is_array(), "no licence: {one}");
        let sum = one["hashes"][0]["content"].as_str();
        ensure!(sum.is_none_or(|sum| sum.len() == 64 && sum.bytes().all(|b| b.is_ascii_hexdigit())), "{one}");
    }
    for wanted in ["aya", "tokio", "aya-ebpf", "preact"] {
        ensure!(components.iter().any(|one| one["name"] == wanted), "no {wanted}");
    }
    ensure!(!components.iter().any(|one| one["name"] == "rcgen"), "what tests use is not in the binary");
    for one in sbom["dependencies"].as_array().context("dependencies")? {
        for on in one["dependsOn"].as_array().context("a list")? {
            ensure!(references.contains(on.as_str().unwrap_or_default()), "{on} is not described");
        }
    }
    Ok(())
}
