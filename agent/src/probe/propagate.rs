//! Tells other hosts of requests by a TCP option: loads the program and attaches it to the cgroups that are watched.

use std::{fs::File, path::PathBuf};

use aya::{
    Ebpf, EbpfLoader,
    programs::{CgroupAttachMode, SockOps},
};

use super::{Hook, HookState, reason};

/// Where other hosts are told of requests, and by which ids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Propagate {
    /// Seed of the run's ids.
    pub seed: [u64; 2],
    /// Directories of cgroups (version 2): sockets that processes in them or below make, carry the option.
    pub cgroups: Vec<PathBuf>,
}

const PROGRAM: &str = "tcp_option";

/// Sets what the programs know from the beginning.
pub(super) fn configure<'l>(loader: &mut EbpfLoader<'l>, propagate: Option<&'l Propagate>) {
    if let Some(propagate) = propagate {
        loader.override_global("PROPAGATE", &1u32, true).override_global("SEED", &propagate.seed, true);
    }
}

/// Attaches to each cgroup. That it can't is no reason for the agent not to run: the hook tells.
pub(super) fn attach(ebpf: &mut Ebpf, propagate: &Propagate) -> Vec<Hook> {
    let hook = |target: String, state| Hook { program: PROGRAM, target, verified: None, state };
    let loaded = ebpf.program_mut(PROGRAM).ok_or_else(|| "not in the object".to_owned()).and_then(load);
    let program = match loaded {
        Ok(program) => program,
        Err(why) => return vec![hook("sock_ops".into(), HookState::Failed(why))],
    };
    if propagate.cgroups.is_empty() {
        return vec![hook("sock_ops".into(), HookState::Failed("there is no such cgroup of version 2".into()))];
    }
    let attached = propagate.cgroups.iter().map(|path| {
        let attached = File::open(path).map_err(|error| error.to_string()).and_then(|cgroup| {
            // A link leaves others their place in any case, and takes no flags; every kernel that has the option has links.
            program.attach(cgroup, CgroupAttachMode::Single).map_err(|error| reason(&error))
        });
        let state = attached.map_or_else(HookState::Failed, |_| HookState::Attached);
        hook(format!("sock_ops:{}", path.display()), state)
    });
    attached.collect()
}

fn load(program: &mut aya::programs::Program) -> Result<&mut SockOps, String> {
    let program: &mut SockOps = program.try_into().map_err(|error| reason(&error))?;
    program.load().map_err(|error| reason(&error))?;
    Ok(program)
}
