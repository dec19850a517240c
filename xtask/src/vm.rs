//! `cargo xtask vm`: runs a job under other kernels. The guest's root is this machine's own, read-only under an overlay, so
//! everything that is installed and built here is there; nothing that a job does outlives it.

mod accel;
mod archive;
mod console;
mod cpio;
mod initramfs;
mod kernel;
mod machine;
mod modules;

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};

pub use self::kernel::{Source, parse};
use self::{
    accel::{Accel, Wish},
    initramfs::Guest,
    kernel::Kernel,
    machine::{Machine, Stalled},
};
use crate::{
    build::{self, Profile},
    command,
    progress::{Step, note, seconds},
    setup::{self, Need},
};

/// The job that runs when none is named: the first of these that is there.
const DEFAULT_JOBS: [&str; 2] = ["tests/vm/job.sh", "xtask/src/vm/boots.sh"];

/// Seconds that a job may take: on a busy host emulation takes several times as long as on an idle one.
const DEFAULT_LIMIT: u64 = 1800;

/// Guests that run at one time: much of a job keeps one processor busy, or waits.
const GUESTS_AT_ONCE: usize = 2;

/// Which kernels, and what to do under them.
#[derive(Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "flags of the command line, independent of each other")]
pub struct Options {
    /// A kernel: 5.10, 6.1, 6.12 or 7.2; may be repeated
    #[arg(long = "kernel", value_name = "VERSION", required_unless_present = "all", value_parser = kernel::parse)]
    kernels: Vec<&'static Source>,
    /// All kernels
    #[arg(long, conflicts_with = "kernels")]
    all: bool,
    /// A script that the guest runs as root with bash; its exit code is the verdict [default: the small scenario]
    #[arg(long, value_name = "SCRIPT")]
    job: Option<PathBuf>,
    /// Seconds that the job may take
    #[arg(long, value_name = "SECONDS", default_value_t = DEFAULT_LIMIT)]
    limit: u64,
    /// Mebibytes of the guest's memory
    #[arg(long, value_name = "MIB", default_value_t = 4096)]
    memory: u32,
    /// What runs the guest's instructions
    #[arg(long, value_enum, default_value_t = Wish::Auto, conflicts_with = "icount")]
    accel: Wish,
    /// One processor, and a clock that counts instructions: ratios of rates are repeatable
    #[arg(long)]
    icount: bool,
    /// More of the kernel's command line, such as `mitigations=off`
    #[arg(long, value_name = "WORDS", default_value = "")]
    append: String,
    /// Do not build the agent and the lab first
    #[arg(long)]
    no_build: bool,
    /// Use the agent and the lab as they are shipped, not those of the tests
    #[arg(long)]
    release: bool,
    /// Arguments for the job
    #[arg(last = true)]
    arguments: Vec<OsString>,
}

impl Options {
    /// The default job under some kernels, with everything built already.
    pub fn of_test(kernels: Vec<&'static Source>) -> Self {
        Self {
            kernels,
            all: false,
            job: None,
            limit: DEFAULT_LIMIT,
            memory: 4096,
            accel: Wish::Auto,
            icount: false,
            append: String::new(),
            no_build: true,
            release: false,
            arguments: vec![],
        }
    }

    /// A job that measures in guest instructions, under one kernel, within `limit` seconds.
    pub fn of_bench(kernel: &'static Source, job: PathBuf, limit: u64, arguments: Vec<OsString>) -> Self {
        Self { job: Some(job), limit, icount: true, release: true, arguments, ..Self::of_test(vec![kernel]) }
    }

    fn profile(&self) -> Profile {
        if self.release { Profile::Release } else { Profile::Dev }
    }
}

/// Runs the job under each kernel.
///
/// # Errors
/// When something can't be prepared, or the job failed under a kernel.
pub fn run(root: &Path, options: &Options) -> Result<()> {
    let failed = verdicts(root, options)?.into_iter().filter(|(_, passed)| !passed).map(|(version, _)| version);
    let failed: Vec<_> = failed.collect();
    ensure!(failed.is_empty(), "the job failed under kernel {}", failed.join(", "));
    Ok(())
}

/// Runs the job under each kernel and says of each whether it passed.
///
/// # Errors
/// When something can't be prepared for any kernel.
pub fn verdicts(root: &Path, options: &Options) -> Result<Vec<(&'static str, bool)>> {
    ensure!(rustix::process::geteuid().is_root(), "virtual machines use this machine's root: run this as root");
    let job = job(root, options.job.as_deref())?;
    if options.no_build {
        setup::ensure(root, &[Need::Machines])?;
    } else {
        setup::ensure(root, &[Need::Probes, Need::Lab, Need::Machines])?;
        build::binaries(root, options.profile(), &["netspan", "netspan-tests"])?;
    }
    if options.job.is_none() {
        prepare(&build::directory(root, options.profile()))?;
    }
    let kernels = if options.all { kernel::ALL.iter().collect() } else { options.kernels.clone() };
    let prepared: Vec<_> =
        kernels.iter().map(|source| (source.version, prepared(root, source, &job, options))).collect();
    let mut verdicts = vec![];
    for some in prepared.chunks(GUESTS_AT_ONCE) {
        thread::scope(|scope| {
            let guests: Vec<_> = some
                .iter()
                .map(|(version, prepared)| {
                    let job = &job;
                    let run = move || match prepared {
                        Ok(guest) => guest.run(job, options).map_err(|error| format!("{error:#}")),
                        Err(error) => Err(format!("{error:#}")),
                    };
                    (*version, scope.spawn(run))
                })
                .collect();
            for (version, guest) in guests {
                let verdict = guest.join().unwrap_or_else(|_| Err("what ran it panicked".to_owned()));
                if let Err(error) = &verdict {
                    note(&format!("kernel {version}: {error}"));
                }
                verdicts.push((version, verdict.is_ok()));
            }
        });
    }
    for (version, passed) in &verdicts {
        note(&format!("kernel {version}: {}", if *passed { "passed" } else { "FAILED" }));
    }
    Ok(verdicts)
}

/// Makes what the default job's programs need from the network, because a guest has none.
fn prepare(binaries: &Path) -> Result<()> {
    let step = Step::begin("packages of Python, Node and Go");
    command::run(Command::new(binaries.join("netspan-lab")).arg("prepare"))?;
    step.done("done");
    Ok(())
}

/// A guest that can be started.
#[derive(Debug)]
struct Prepared {
    version: &'static str,
    directory: PathBuf,
    kernel: Kernel,
    initrd: PathBuf,
    accel: Accel,
}

fn prepared(root: &Path, source: &Source, job: &Path, options: &Options) -> Result<Prepared> {
    let version = source.version;
    let directory = build::target(root).join("vm").join(version);
    let kernel = kernel::fetch(source, &directory)?;

    let step = Step::begin(format!("kernel {version}: initramfs"));
    let binaries = build::directory(root, options.profile());
    let guest = Guest { kernel: &kernel, root, version, job, arguments: &options.arguments, binaries: &binaries };
    let initrd = directory.join("initrd");
    let bytes = initramfs::write(&guest, &initrd)?;
    step.done(&format!("{} KiB", bytes / 1024));

    let accel = if options.icount { Accel::Counting } else { accel::choose(options.accel, &kernel, root)? };
    Ok(Prepared { version, directory, kernel, initrd, accel })
}

impl Prepared {
    /// Boots, and runs the job. Where the machine is emulated and one of its processors stands still, that is done once more: with
    /// the same programs it may be the emulation (seen once in some thirty runs, on 5.10). What the kernel says of it is shown.
    fn run(&self, job: &Path, options: &Options) -> Result<()> {
        let outcome = self.attempt(job, options);
        match &outcome {
            Err(error) if self.accel == Accel::Tcg && error.is::<Stalled>() => {
                note(&format!("kernel {}: STALLED, and begins once more: {error:#}", self.version));
                self.attempt(job, options)
            }
            _ => outcome,
        }
    }

    fn attempt(&self, job: &Path, options: &Options) -> Result<()> {
        let Self { version, directory, kernel, initrd, accel } = self;
        let console = directory.join("console");
        let machine = Machine { kernel, initrd, accel: *accel, memory: options.memory, append: &options.append };
        let step = Step::begin(format!("kernel {version}: boot ({accel})"));
        let mut running = machine.start(version, &console)?;
        running.boot().with_context(|| format!("release {} did not boot", kernel.release))?;
        step.done(&kernel.release);

        let step = Step::begin(format!("kernel {version}: {}", job.display()));
        let limit = Duration::from_secs(options.limit);
        let code = running.job(limit, |line| println!("[{version}] {line}"))?;
        step.done(&format!("exit code {code}"));
        if code != 0 {
            bail!("the job's exit code is {code}; all that was printed is in {}", console.display());
        }
        Ok(())
    }
}

/// The job's absolute path.
fn job(root: &Path, named: Option<&Path>) -> Result<PathBuf> {
    let found = match named {
        Some(path) => Some(path.to_owned()).filter(|path| path.is_file()),
        None => DEFAULT_JOBS.iter().map(|path| root.join(path)).find(|path| path.is_file()),
    };
    let path = found.with_context(|| match named {
        Some(path) => format!("there is no script {}", path.display()),
        None => format!("there is no {}", DEFAULT_JOBS[0]),
    })?;
    path.canonicalize().with_context(|| format!("can't resolve {}", path.display()))
}

/// What a time limit that was reached says.
fn too_late(what: &str, limit: Duration) -> anyhow::Error {
    anyhow::anyhow!("{what} took more than {}", seconds(limit))
}
