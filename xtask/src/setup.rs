//! `cargo xtask setup`: installs what the other tasks need, and only what is missing. It changes nothing else on the
//! machine: services that come with a package are not started.

mod apt;
mod linker;
mod packages;

use std::path::Path;

use anyhow::Result;

pub use packages::Need;

use crate::{progress::note, toolchain};

/// Installs everything.
pub fn all(root: &Path) -> Result<()> {
    ensure(root, &[Need::Probes, Need::Tests, Need::Lab, Need::Web, Need::Machines])?;
    note("everything is there");
    Ok(())
}

/// Installs what some kinds of work need.
///
/// # Errors
/// When something can't be installed from here; the message holds the one command to run.
pub fn ensure(root: &Path, needs: &[Need]) -> Result<()> {
    // Each kind of work but the machines' needs the agent, and so its BPF programs.
    let builds = needs.contains(&Need::Probes) || needs.contains(&Need::Tests);
    let steps = if builds { 3 } else { 1 };
    let wanted = packages::wanted(needs, toolchain::has_source_of_core());
    let packages = apt::install(&wanted)?;
    note(&format!("1/{steps} Debian packages for {}: {packages}", names(needs)));
    if !builds {
        return Ok(());
    }
    note(&format!("2/{steps} bpf-linker: {}", linker::ensure(root)?));
    note(&format!("3/{steps} the BPF programs will be built by {}", toolchain::find(root)?));
    Ok(())
}

fn names(needs: &[Need]) -> String {
    needs.iter().map(|need| need.name()).collect::<Vec<_>>().join(", ")
}
