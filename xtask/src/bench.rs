//! `cargo xtask bench`: builds the agent and the lab as they are shipped, and lets the lab measure. It judges nothing.

use std::{ffi::OsString, os::unix::process::CommandExt as _, path::Path, process::Command};

use anyhow::{Context as _, Result};

use crate::{
    build::{self, Profile},
    setup, vm,
};

/// What the guest runs.
const GUEST_JOB: &str = "xtask/src/vm/overhead.sh";
/// Seconds that this may take: a guest's second is several of ours.
const GUEST_LIMIT: u64 = 3600;

/// Which measurement.
#[derive(Debug, clap::Args)]
pub struct Options {
    #[command(subcommand)]
    measurement: Measurement,
}

#[derive(Debug, clap::Subcommand)]
enum Measurement {
    /// What the agent costs an nginx that does nothing else; prints JSON
    Overhead {
        /// Measure in a virtual machine, in instructions of the guest: repeatable whatever else this machine does
        #[arg(long)]
        vm: bool,
        /// The kernel of the virtual machine
        #[arg(long, value_name = "VERSION", default_value = "6.12", value_parser = vm::parse)]
        kernel: &'static vm::Source,
        /// What is asked for, and how: h1, h2 or tls [default: h1]
        #[arg(long, value_name = "NAME")]
        workload: Option<OsString>,
        /// Flags for `netspan-lab overhead`; after another `--`, for the agent
        #[arg(last = true, value_name = "FLAGS")]
        flags: Vec<OsString>,
    },
    /// The agent's memory, twice a minute, over an hour at 5,000 requests per second; prints JSON
    Soak {
        /// Flags for `netspan-lab soak`; after another `--`, for the agent
        #[arg(last = true, value_name = "FLAGS")]
        flags: Vec<OsString>,
    },
    /// How right links are while the agent looks, by style of concurrency; prints a table and JSON
    Links {
        /// Flags for `netspan-lab links-live`; after another `--`, for the agent
        #[arg(last = true, value_name = "FLAGS")]
        flags: Vec<OsString>,
    },
}

/// Prepares, builds, and becomes the lab; or lets a guest run the lab.
pub fn run(root: &Path, options: &Options) -> Result<()> {
    let (vm, kernel, workload, flags) = match &options.measurement {
        Measurement::Overhead { vm, kernel, workload, flags } => (vm, kernel, workload, flags),
        Measurement::Links { flags } => return measure(root, "links-live", flags),
        Measurement::Soak { flags } => return measure(root, "soak", flags),
    };
    // The lab knows the names.
    let workload = workload.iter().flat_map(|name| [OsString::from("--workload"), name.clone()]);
    let flags: Vec<OsString> = workload.chain(flags.iter().cloned()).collect();
    if *vm {
        let job = root.join(GUEST_JOB);
        return vm::run(root, &vm::Options::of_bench(kernel, job, GUEST_LIMIT, flags));
    }
    measure(root, "overhead", &flags)
}

/// Becomes the lab.
fn measure(root: &Path, task: &str, flags: &[OsString]) -> Result<()> {
    setup::ensure(root, &[setup::Need::Probes, setup::Need::Lab])?;
    let lab = build::binaries(root, Profile::Release, &["netspan", "netspan-tests"])?.join("netspan-lab");
    Err(Command::new(&lab).arg(task).args(flags).exec()).with_context(|| format!("can't run {}", lab.display()))
}
