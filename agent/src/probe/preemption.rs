//! Whether the kernel may take the CPU from a task that is in the middle of a BPF program.
//!
//! A program on a trampoline or a raw tracepoint is skipped where it is already running on the same CPU
//! (`__bpf_prog_enter_recur`, `__bpf_trace_run`). Under a kernel that preempts, a task can be put off in the middle of the
//! program, and what the next task does on that CPU is then not seen. Kprobes and the tracepoints of perf keep the CPU
//! until their program has ended (`trace_call_bpf`).

use std::{
    fs::{self, File},
    io::{self, Read as _},
    os::fd::AsFd as _,
    sync::LazyLock,
};

use rustix::{
    fs::{Mode, OFlags},
    mount::{FsMountFlags, FsOpenFlags, MountAttrFlags},
};

use super::btf::VMLINUX;

/// What makes raw tracepoints preemptible, as the kernel's type information names it: since then they are guarded by
/// sleepable RCU (`include/linux/tracepoint.h`) and no longer keep the CPU.
const SLEEPABLE: &[u8] = b"tracepoint_srcu";

/// The kernel's preemption model, as far as it tells: `none`, `voluntary`, `lazy`, `full`, `rt`, or that it is not known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Model(String);

impl Model {
    /// That of the running kernel, asked once.
    pub fn of_kernel() -> &'static Self {
        static MODEL: LazyLock<Model> = LazyLock::new(|| {
            let version = rustix::system::uname().version().to_string_lossy().into_owned();
            Model::of(&version, || chosen_model().inspect_err(|e| log::debug!("sched/preempt: {e}")).ok())
        });
        &MODEL
    }

    /// That of a kernel whose `uname -v` is known. Where it can be chosen while running, `chosen` reads the choice.
    fn of(version: &str, chosen: impl FnOnce() -> Option<String>) -> Self {
        let words: Vec<&str> = version.split([' ', ',']).collect();
        let model = if words.contains(&"PREEMPT_DYNAMIC") {
            chosen().as_deref().and_then(in_parentheses).map_or_else(|| "unknown".to_owned(), str::to_owned)
        } else if words.contains(&"PREEMPT_RT") {
            "rt".to_owned()
        } else if words.iter().any(|word| word.starts_with("PREEMPT")) {
            "full".to_owned()
        } else {
            "none".to_owned()
        };
        Self(model)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.0
    }

    /// Why programs on trampolines may be skipped, if they may.
    pub fn skips_trampolines(&self) -> Option<String> {
        let keeps = ["none", "voluntary"].contains(&self.0.as_str());
        (!keeps).then(|| format!("under preemption model {} the kernel may skip trampolines' programs", self.0))
    }

    /// Whether programs on raw tracepoints may be skipped.
    pub fn skips_raw_tracepoints(&self) -> bool {
        self.skips_trampolines().is_some()
            && memchr::memmem::find(&fs::read(VMLINUX).unwrap_or_default(), SLEEPABLE).is_some()
    }
}

/// What `sched/preempt` of debugfs holds: all models, the chosen one in parentheses. debugfs need not be mounted: this
/// mounts it where nobody else sees it.
fn chosen_model() -> io::Result<String> {
    if let Ok(text) = fs::read_to_string("/sys/kernel/debug/sched/preempt") {
        return Ok(text);
    }
    let debugfs = rustix::mount::fsopen("debugfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    rustix::mount::fsconfig_create(debugfs.as_fd())?;
    let root =
        rustix::mount::fsmount(debugfs.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::MOUNT_ATTR_RDONLY)?;
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let mut text = String::new();
    File::from(rustix::fs::openat(&root, "sched/preempt", flags, Mode::empty())?).read_to_string(&mut text)?;
    Ok(text)
}

fn in_parentheses(text: &str) -> Option<&str> {
    text.split_once('(')?.1.split_once(')').map(|(word, _)| word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(version: &str, chosen: Option<&str>) -> Model {
        Model::of(version, || chosen.map(str::to_owned))
    }

    #[test]
    fn a_kernel_that_does_not_preempt_skips_nothing() {
        for model in [
            model("#1 SMP Debian 5.10.251-1 (2026-03-01)", None),
            model("#1 SMP PREEMPT_DYNAMIC Debian 6.12", Some("none (voluntary) full lazy\n")),
        ] {
            assert_eq!(model.skips_trampolines(), None, "{model:?}");
            assert!(!model.skips_raw_tracepoints(), "{model:?}");
        }
    }

    #[test]
    fn a_kernel_that_preempts_or_does_not_tell_may_skip() {
        for (model, name) in [
            (model("#1 SMP PREEMPT_DYNAMIC x", Some("full (lazy)\n")), "lazy"),
            (model("#1 SMP PREEMPT_DYNAMIC x", None), "unknown"),
            (model("#1 SMP PREEMPT x", None), "full"),
            (model("#1 SMP PREEMPT_RT x", None), "rt"),
        ] {
            assert_eq!(model.name(), name);
            assert!(model.skips_trampolines().is_some_and(|why| why.contains(name)));
        }
    }
}
