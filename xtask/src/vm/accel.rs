//! What runs the guest's instructions. Whether the machine's virtualisation works is known only by booting with it.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Result, ensure};

use super::{initramfs, kernel::Kernel, machine::Machine};
use crate::{build, progress::Step};

/// Time in which a kernel must say a word under KVM; it takes one or two seconds where KVM works.
const PROBE_LIMIT: Duration = Duration::from_secs(15);
/// The word.
const PROBE_WORD: &str = "netspan-vm-runs";

/// All that emulation has but `cmpxchg16b`: with it, kernels from 6.12 on sometimes die in `kmem_cache_alloc`.
const EMULATED: &str = "max,-cx16";

/// What the user wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Wish {
    /// KVM where it works, else emulation
    Auto,
    /// Hardware virtualisation
    Kvm,
    /// Emulation
    Tcg,
}

/// What is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accel {
    /// Hardware virtualisation.
    Kvm,
    /// Emulation, a thread for each processor of the guest.
    Tcg,
    /// Emulation of one processor, with a clock that counts instructions.
    Counting,
}

impl Accel {
    /// The arguments for qemu.
    pub fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::Kvm => &["-accel", "kvm", "-cpu", "host", "-smp", "2"],
            Self::Tcg => &["-accel", "tcg,thread=multi", "-cpu", EMULATED, "-smp", "2"],
            Self::Counting => {
                &["-accel", "tcg,thread=single", "-icount", "shift=0,sleep=off", "-cpu", EMULATED, "-smp", "1"]
            }
        }
    }
}

impl fmt::Display for Accel {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Kvm => "KVM",
            Self::Tcg => "emulated",
            Self::Counting => "emulated, counting instructions",
        })
    }
}

/// Chooses by the wish and, where it is open, by a trial.
pub fn choose(wish: Wish, kernel: &Kernel, root: &Path) -> Result<Accel> {
    match wish {
        Wish::Kvm => {
            ensure!(Path::new("/dev/kvm").exists(), "this machine has no /dev/kvm: use `--accel tcg`");
            Ok(Accel::Kvm)
        }
        Wish::Auto if Path::new("/dev/kvm").exists() && kvm_works(kernel, root)? => Ok(Accel::Kvm),
        Wish::Auto | Wish::Tcg => Ok(Accel::Tcg),
    }
}

/// Boots with KVM, once for each boot of this machine.
fn kvm_works(kernel: &Kernel, root: &Path) -> Result<bool> {
    let directory = build::target(root).join("vm");
    let known = directory.join("kvm");
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let yes = format!("{boot}works\n");
    if let Ok(text) = fs::read_to_string(&known).as_deref()
        && text.starts_with(&boot)
    {
        return Ok(text == yes);
    }
    let step = Step::begin(format!("does KVM work here? (a trial of at most {} s)", PROBE_LIMIT.as_secs()));
    let works = boots_under_kvm(kernel, &directory);
    step.done(if works { "yes" } else { "no, a guest hangs: emulating" });
    fs::write(&known, if works { yes } else { format!("{boot}hangs\n") })?;
    Ok(works)
}

fn boots_under_kvm(kernel: &Kernel, directory: &Path) -> bool {
    let initrd: PathBuf = directory.join("kvm-initrd");
    let machine = Machine { kernel, initrd: &initrd, accel: Accel::Kvm, memory: 512, append: "" };
    initramfs::write_probe(PROBE_WORD, &initrd)
        .and_then(|_| machine.start("trial", &directory.join("kvm-console"))?.says(PROBE_WORD, PROBE_LIMIT))
        .is_ok()
}
