//! Whose calls are seen: a verdict per process, kept until the process executes another program or the rules change.
//!
//! What the kernel side can't decide (executables, containers, the name of a process whose first call comes from a
//! thread with a name of its own) it includes; the agent applies the whole rules again.

use aya_ebpf::helpers::{bpf_get_current_comm, bpf_get_current_pid_tgid};
use netspan_ebpf::{CGROUP_RULES_MAX, counter, dimension, rule, verdict};

use crate::{
    conn::Conn,
    emit::count,
    maps::{FILTER, FILTER_CGROUP_RULES, FILTER_CGROUPS, FILTER_COMMS, FILTER_PIDS, FILTER_PORTS, PROCESSES, Process},
};

/// How many generations of forks are followed from a process up to a pid rule.
const ANCESTORS: u32 = 8;

/// Whether the calls of the current process are seen.
#[inline(always)]
pub fn seen(tgid: u32) -> bool {
    let Some(config) = FILTER.get(0) else { return false };
    if config.open == 0 || tgid == config.agent {
        return false;
    }
    if let Some(process) = PROCESSES.get_ptr_mut(tgid) {
        // SAFETY: a map value; a race with another CPU writes the same verdict.
        let process = unsafe { &mut *process };
        if process.generation != config.generation || process.verdict == verdict::NONE {
            process.verdict = decide(tgid);
            process.generation = config.generation;
        }
        return process.verdict == verdict::INCLUDE;
    }
    let verdict = decide(tgid);
    let process =
        Process { since_ns: 0, parent: 0, heir_of: 0, verdict, generation: config.generation, forked: 0, tied: 0 };
    if PROCESSES.insert(tgid, process, 0).is_err() {
        count(counter::PROCESS_FULL, 1);
    }
    verdict == verdict::INCLUDE
}

/// Decides by the rules. A global function, which the verifier checks once per program: it runs once per process and
/// generation.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn decide(tgid: u32) -> u32 {
    let Some(config) = FILTER.get(0) else { return verdict::EXCLUDE };
    let mut included = 0;
    let active = config.include | config.exclude;
    if active & dimension::PID != 0 {
        let value = pid_rule(tgid);
        if value & rule::EXCLUDE != 0 {
            return verdict::EXCLUDE;
        }
        if value & rule::INCLUDE != 0 {
            included |= dimension::PID;
        }
    }
    if active & dimension::COMM != 0 {
        let value = if bpf_get_current_pid_tgid() as u32 == tgid {
            // SAFETY: the value is copied at once.
            bpf_get_current_comm().ok().and_then(|comm| unsafe { FILTER_COMMS.get(comm) }.copied()).unwrap_or(0)
        } else {
            rule::INCLUDE
        };
        if value & rule::EXCLUDE != 0 {
            return verdict::EXCLUDE;
        }
        if value & rule::INCLUDE != 0 {
            included |= dimension::COMM;
        }
    }
    if active & dimension::CGROUP != 0 {
        let mut value = 0;
        let mut index = 0;
        while index < CGROUP_RULES_MAX && index < config.cgroups {
            value |= cgroup_rule(index);
            index += 1;
        }
        if value & u32::from(rule::EXCLUDE) != 0 {
            return verdict::EXCLUDE;
        }
        if value & u32::from(rule::INCLUDE) != 0 {
            included |= dimension::CGROUP;
        }
    }
    let wanted = config.include & (dimension::PID | dimension::COMM | dimension::CGROUP);
    if included & wanted == wanted { verdict::INCLUDE } else { verdict::EXCLUDE }
}

/// The rule at `index`, if the current process is in its cgroup or below. A global function: the verifier checks it
/// once, not once per rule.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn cgroup_rule(index: u32) -> u32 {
    if FILTER_CGROUPS.current_task_under_cgroup(index) != Ok(true) {
        return 0;
    }
    FILTER_CGROUP_RULES.get(index).map_or(0, |&rule| u32::from(rule))
}

/// The rule for a process, its own or that of the ancestor that forked it.
#[inline(always)]
fn pid_rule(tgid: u32) -> u8 {
    let mut pid = tgid;
    let mut up = 0;
    while up < ANCESTORS {
        // SAFETY: the value is copied at once.
        if let Some(&value) = unsafe { FILTER_PIDS.get(pid) } {
            if up > 0 {
                let _ = FILTER_PIDS.insert(tgid, value, 0);
            }
            return value;
        }
        // SAFETY: the value is copied at once.
        match unsafe { PROCESSES.get(pid) } {
            Some(process) if process.parent != 0 => pid = process.parent,
            _ => return 0,
        }
        up += 1;
    }
    0
}

/// Whether the rules by port let a connection pass. While its ports are not known it passes: the agent decides.
#[inline(always)]
pub fn ports_pass(conn: &mut Conn) -> bool {
    let Some(config) = FILTER.get(0) else { return false };
    if (config.include | config.exclude) & dimension::PORT == 0 || conn.local_port == 0 && conn.peer_port == 0 {
        return true;
    }
    if conn.port_generation != config.generation {
        // SAFETY: the values are copied at once.
        let (local, peer) = unsafe {
            (
                FILTER_PORTS.get(conn.local_port).copied().unwrap_or(0),
                FILTER_PORTS.get(conn.peer_port).copied().unwrap_or(0),
            )
        };
        let mut value = 0;
        if local & rule::LOCAL != 0 {
            value |= local & (rule::INCLUDE | rule::EXCLUDE);
        }
        if peer & rule::PEER != 0 {
            value |= peer & (rule::INCLUDE | rule::EXCLUDE);
        }
        let wanted = config.include & dimension::PORT != 0;
        conn.port_verdict = u8::from(value & rule::EXCLUDE == 0 && (!wanted || value & rule::INCLUDE != 0));
        conn.port_generation = config.generation;
    }
    conn.port_verdict != 0
}
