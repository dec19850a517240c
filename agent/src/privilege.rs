//! Which capabilities the agent's threads hold: what each still needs, and nothing else, once what takes more is done.
//!
//! The kernel knows capabilities by thread, and a thread gets those of the one that began it. So they are given up where threads
//! begin, and the first thread gives up its own when the programs are attached and before it begins to watch for libraries.
//! [`begin`] comes before all threads: without it nothing here does anything, as in commands that do not capture.
//!
//! | thread | keeps | for |
//! |---|---|---|
//! | capture, and what it begins (TLS, tasks) | [`CAPTURE`] | see there |
//! | `api` | [`READ`], but not in effect | its questions |
//! | `api-question`, `conntrack` | [`READ`] | `/v1/doctor` looks at processes; namespaces of processes |
//! | `process-context` | [`READ`] | `/proc/PID/{maps,mem}` |
//! | `export`, `export-metrics`, `store`, `metrics`, `kubernetes` | none | they use files of the agent's own user, and sockets |
#![forbid(unsafe_code)]

use std::sync::{
    OnceLock,
    atomic::{AtomicBool, Ordering},
};

use crate::probe::perf_is_permitted;
use rustix::{
    io,
    thread::{
        CapabilitySet, CapabilitySets, capabilities, capability_is_in_bounding_set,
        remove_capability_from_bounding_set, set_capabilities, set_no_new_privs,
    },
};

/// What looking at processes takes: `SYS_PTRACE` for `/proc/PID/{maps,root,environ,exe,mem,task}` and `pidfd_getfd`, `DAC_READ_SEARCH` for
/// files and directories that only their owner may read.
pub const READ: CapabilitySet = CapabilitySet::SYS_PTRACE.union(CapabilitySet::DAC_READ_SEARCH);
/// What capture takes as long as it goes on: `BPF` for the maps and for programs that are loaded when a library needs them,
/// `PERFMON` to load programs that trace, and to attach uprobes, `CHECKPOINT_RESTORE` for libraries that were deleted
/// (`/proc/PID/map_files`), and [`READ`].
pub const CAPTURE: CapabilitySet =
    READ.union(CapabilitySet::BPF).union(CapabilitySet::PERFMON).union(CapabilitySet::CHECKPOINT_RESTORE);
/// Those of BPF and of tracing before they were told apart: whoever has this instead of them keeps it, and so does who needs it to
/// attach uprobes (Debian's 5.10, while `kernel.perf_event_paranoid` is above 2).
const ADMIN: CapabilitySet = CapabilitySet::SYS_ADMIN;

/// A kind of thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Attaches, and looks at processes.
    Capture,
    /// Answers requests from outside, and begins [`Role::Question`]s.
    Api,
    /// Looks at processes.
    Question,
    /// Uses files of its own, and sockets.
    Service,
}

static IS_ON: AtomicBool = AtomicBool::new(false);
static KEPT: OnceLock<CapabilitySet> = OnceLock::new();

/// From now on threads give up what they do not need; to be called before there are any. Programs that are executed from now on
/// get no privileges (`PR_SET_NO_NEW_PRIVS`).
pub fn begin() {
    IS_ON.store(true, Ordering::SeqCst);
    if let Err(error) = set_no_new_privs(true) {
        log::warn!("PR_SET_NO_NEW_PRIVS: {error}");
    }
}

/// Gives up, for this thread and those that it begins from now on, what its role does not need. Nothing gets it back.
pub fn settle(role: Role) {
    if !IS_ON.load(Ordering::SeqCst) {
        return;
    }
    match restrict(role) {
        Ok(kept) if role == Role::Capture => drop(KEPT.set(kept)),
        Ok(_) => {}
        // The kernel never refuses to take what a thread gives.
        Err(error) => log::warn!("capabilities can't be given up: {error}"),
    }
}

/// What capture kept, by name; absent before it gave up anything.
pub fn kept() -> Option<Vec<String>> {
    KEPT.get().map(|kept| names(*kept))
}

fn restrict(role: Role) -> io::Result<CapabilitySet> {
    let held = capabilities(None)?;
    let (mut permitted, mut effective) = sets(role, held.permitted);
    if role == Role::Capture && held.permitted.contains(ADMIN) && !is_enough(held, effective)? {
        permitted |= ADMIN;
        effective |= ADMIN;
    }
    bound(permitted)?;
    // What is neither permitted nor inheritable leaves the ambient set, too.
    let inheritable = held.inheritable & permitted;
    set_capabilities(None, CapabilitySets { effective, permitted, inheritable })?;
    Ok(permitted)
}

/// Whether uprobes can be attached with these alone: tried, for no version number tells.
fn is_enough(held: CapabilitySets, effective: CapabilitySet) -> io::Result<bool> {
    set_capabilities(None, CapabilitySets { effective, ..held })?;
    let is_enough = perf_is_permitted();
    set_capabilities(None, held)?;
    Ok(is_enough)
}

/// What is permitted, and what of it is in effect.
fn sets(role: Role, held: CapabilitySet) -> (CapabilitySet, CapabilitySet) {
    match role {
        Role::Capture => {
            let is_old = !held.contains(CapabilitySet::BPF | CapabilitySet::PERFMON);
            let kept = held & if is_old { CAPTURE | ADMIN } else { CAPTURE };
            (kept, kept)
        }
        Role::Api => (held & READ, CapabilitySet::empty()),
        Role::Question => (held & READ, held & READ),
        Role::Service => (CapabilitySet::empty(), CapabilitySet::empty()),
    }
}

/// Leaves only these in the bounding set, as far as the thread may: without `SETPCAP` it stays as it is.
fn bound(kept: CapabilitySet) -> io::Result<()> {
    for number in 0..u64::BITS {
        let one = CapabilitySet::from_bits_retain(1 << number);
        match capability_is_in_bounding_set(one) {
            Ok(true) if !kept.contains(one) => match remove_capability_from_bounding_set(one) {
                Err(io::Errno::PERM) => return Ok(()),
                removed => removed?,
            },
            Ok(_) => {}
            // The kernel knows no more of them.
            Err(_) => return Ok(()),
        }
    }
    Ok(())
}

fn names(set: CapabilitySet) -> Vec<String> {
    set.iter_names().map(|(name, _)| format!("CAP_{name}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_role_keeps_what_it_needs_of_what_there_is() {
        let all = CapabilitySet::all();
        let few = CapabilitySet::BPF | CapabilitySet::PERFMON | CapabilitySet::SYS_PTRACE;
        let none = CapabilitySet::empty();
        for (role, held, permitted, effective) in [
            (Role::Capture, all, CAPTURE, CAPTURE),
            (Role::Capture, few, few, few),
            (Role::Capture, ADMIN | READ | CapabilitySet::CHOWN, ADMIN | READ, ADMIN | READ),
            (Role::Capture, none, none, none),
            (Role::Api, all, READ, none),
            (Role::Question, all, READ, READ),
            (Role::Service, all, none, none),
        ] {
            assert_eq!(sets(role, held), (permitted, effective), "{role:?} of {held:?}");
        }
        assert_eq!(names(READ), ["CAP_DAC_READ_SEARCH", "CAP_SYS_PTRACE"]);
    }

    #[test]
    fn what_a_thread_gives_up_is_gone_for_it_and_those_after_it_alone() {
        let before = capabilities(None).expect("told");
        let of_both = std::thread::spawn(|| {
            restrict(Role::Service).expect("permitted");
            let child = std::thread::spawn(|| capabilities(None).expect("told"));
            [capabilities(None).expect("told"), child.join().expect("sound")]
        });
        for sets in of_both.join().expect("sound") {
            assert!(sets.permitted.is_empty() && sets.effective.is_empty() && sets.inheritable.is_empty(), "{sets:?}");
        }
        assert_eq!(capabilities(None).expect("told"), before);
    }
}
