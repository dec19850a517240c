//! How often the kernel skipped a program because it was already running on that CPU.

use std::os::fd::{AsFd as _, OwnedFd};

use aya::Ebpf;

use super::bpf;

/// The programs that are loaded.
pub struct Programs {
    fds: Vec<(String, OwnedFd)>,
}

impl Programs {
    /// Those of an object that are loaded.
    pub fn of(ebpf: &Ebpf) -> Self {
        let loaded = ebpf.programs().filter_map(|(name, program)| Some((name, program.fd().ok()?)));
        let owned = loaded.filter_map(|(name, fd)| Some((name.to_owned(), fd.as_fd().try_clone_to_owned().ok()?)));
        Self { fds: owned.collect() }
    }

    /// Runs that were skipped, over all programs.
    pub fn missed(&self) -> u64 {
        let mut sum = 0;
        for (name, fd) in &self.fds {
            let missed = bpf::recursion_misses(fd.as_fd()).unwrap_or(0);
            if missed > 0 {
                log::debug!("{name} was skipped {missed} times");
            }
            sum += missed;
        }
        sum
    }
}
