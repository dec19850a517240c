//! The family `syscall`: its hooks, and how they are loaded.

use std::{collections::HashMap, path::Path, thread as threads};

use aya::{Ebpf, EbpfLoader, maps::Array, programs::Program};
use netspan_ebpf::syscall;

use super::{
    Begun, Family, Hook, HookState, LoadOptions,
    Need::{self, May, Must},
    ProbeError,
    btf::Btf,
    object::OBJECT,
    permission,
    preemption::Model,
    propagate, raw_tracepoint, reason, thread, tracefs,
    tracepoint::{attach, require},
};

/// A system call: its name as the tracepoints have it, its number, which of [`syscall`] it is, need.
const CALLS: &[(&str, libc::c_long, u8, Need)] = &[
    ("read", libc::SYS_read, syscall::READ, Must),
    ("readv", libc::SYS_readv, syscall::READV, Must),
    ("recvfrom", libc::SYS_recvfrom, syscall::RECVFROM, Must),
    ("recvmsg", libc::SYS_recvmsg, syscall::RECVMSG, Must),
    ("recvmmsg", libc::SYS_recvmmsg, syscall::RECVMMSG, Must),
    ("write", libc::SYS_write, syscall::WRITE, Must),
    ("writev", libc::SYS_writev, syscall::WRITEV, Must),
    ("sendto", libc::SYS_sendto, syscall::SENDTO, Must),
    ("sendmsg", libc::SYS_sendmsg, syscall::SENDMSG, Must),
    ("sendmmsg", libc::SYS_sendmmsg, syscall::SENDMMSG, Must),
    ("sendfile64", libc::SYS_sendfile, syscall::SENDFILE, Must),
    ("splice", libc::SYS_splice, syscall::SPLICE, Must),
    ("connect", libc::SYS_connect, syscall::CONNECT, Must),
    ("accept", libc::SYS_accept, syscall::ACCEPT, Must),
    ("accept4", libc::SYS_accept4, syscall::ACCEPT, Must),
    ("dup", libc::SYS_dup, syscall::DUP, Must),
    // Architectures of the generic table have no dup2.
    #[cfg(target_arch = "x86_64")]
    ("dup2", libc::SYS_dup2, syscall::DUP2, Must),
    ("dup3", libc::SYS_dup3, syscall::DUP2, Must),
    ("fcntl", libc::SYS_fcntl, syscall::FCNTL, Must),
    ("shutdown", libc::SYS_shutdown, syscall::SHUTDOWN, Must),
    ("close", libc::SYS_close, syscall::CLOSE, Must),
    ("close_range", libc::SYS_close_range, syscall::CLOSE_RANGE, May),
    ("io_uring_setup", libc::SYS_io_uring_setup, syscall::IO_URING_SETUP, May),
    ("setsockopt", libc::SYS_setsockopt, syscall::SETSOCKOPT, May),
];

/// The program for the entry of each of [`syscall`], by its value.
const ENTRIES: [&str; 23] = [
    "",
    "enter_read",
    "enter_readv",
    "enter_recvfrom",
    "enter_recvmsg",
    "enter_recvmmsg",
    "enter_write",
    "enter_writev",
    "enter_sendto",
    "enter_sendmsg",
    "enter_sendmmsg",
    "enter_sendfile",
    "enter_splice",
    "enter_connect",
    "enter_accept",
    "enter_dup",
    "enter_dup2",
    "enter_fcntl",
    "enter_shutdown",
    "enter_close",
    "enter_close_range",
    "enter_io_uring_setup",
    "enter_setsockopt",
];

/// Calls that nothing is to be known of but their entry.
const ENTRY_ONLY: [u8; 4] = [syscall::SHUTDOWN, syscall::CLOSE, syscall::CLOSE_RANGE, syscall::IO_URING_SETUP];

/// Program, category and name of the event, need: what runs besides the system calls.
const EVENTS: &[(&str, &str, &str, Need)] = &[
    ("task_newtask", "task", "task_newtask", Must),
    ("sched_process_exec", "sched", "sched_process_exec", Must),
    ("sched_process_exit", "sched", "sched_process_exit", Must),
    ("inet_sock_set_state", "sock", "inet_sock_set_state", Must),
    ("tcp_rcv_space_adjust", "tcp", "tcp_rcv_space_adjust", Must),
];

/// Loads and attaches.
pub fn load(options: &LoadOptions, begun: Begun<'_>) -> Result<(Ebpf, Vec<Hook>), ProbeError> {
    let tracefs = tracefs::root()?;
    let space_adjust = tracefs::format(&tracefs, "tcp", "tcp_rcv_space_adjust").unwrap_or_default();
    let has_family = u32::from(tracefs::offset(&space_adjust, "family").is_some());
    let pointer = Btf::of_kernel().map_or(0, |btf| thread::pointer(&btf, Family::Syscall));
    let mut loader = EbpfLoader::new();
    loader
        // Nothing in the object is relocated by the kernel's types.
        .btf(None)
        .override_global("SPACE_ADJUST_HAS_FAMILY", &has_family, true)
        .override_global("THREAD_POINTER", &pointer, true)
        .override_global("WAKE_BYTES", &options.wake_bytes, true)
        .map_max_entries("CONNS", options.connections)
        .map_max_entries("SOCKS", options.connections)
        .map_max_entries("FDS", options.connections.saturating_mul(2));
    for ring in ["RING_0", "RING_1", "RING_2", "RING_3"] {
        loader.map_max_entries(ring, options.ring_bytes);
    }
    propagate::configure(&mut loader, options.propagate.as_ref());
    let mut ebpf = loader.load(OBJECT).map_err(permission)?;
    let mut hooks = Vec::new();
    let (first, others) = EVENTS.split_at(1);
    attach_events(&mut ebpf, &tracefs, first, &mut hooks)?;
    begun(&ebpf);
    let every_call = if Model::of_kernel().skips_raw_tracepoints() { PERF } else { RAW };
    let names: Vec<&str> = others.iter().map(|event| event.0).chain(every_call.map(|(name, _)| name)).collect();
    let mut outcomes = load_together(&mut ebpf, &names);
    // What failed is tried again, and required where it must be.
    attach_events(&mut ebpf, &tracefs, others, &mut hooks)?;
    hooks.push(arrival(&mut ebpf, &tracefs));
    let outcomes = every_call.map(|(name, _)| outcomes.remove(name).unwrap_or_else(|| Err("not in the object".into())));
    if let Err(why) = every(&mut ebpf, &tracefs, every_call, outcomes, &mut hooks) {
        log::debug!("the tracepoints of all calls don't work here ({why}): single ones are used");
        hooks.push(Hook {
            program: "raw_sys_enter",
            target: raw_tracepoint::target("sys_enter"),
            verified: None,
            state: HookState::Replaced(why),
        });
        for &(name, _, which, need) in CALLS {
            let entry = ENTRIES[usize::from(which)];
            hooks.push(attach(&mut ebpf, &tracefs, entry, "syscalls", &format!("sys_enter_{name}"), need));
            require(&hooks[hooks.len() - 1], need)?;
            if !ENTRY_ONLY.contains(&which) {
                hooks.push(attach(&mut ebpf, &tracefs, "sys_exit", "syscalls", &format!("sys_exit_{name}"), need));
                require(&hooks[hooks.len() - 1], need)?;
            }
        }
    }
    Ok((ebpf, hooks))
}

/// The two programs that all system calls pass, and their tracepoints. The entry is attached last, since a return without
/// an entry is nothing.
const RAW: [(&str, &str); 2] = [("raw_sys_exit", "sys_exit"), ("raw_sys_enter", "sys_enter")];
/// The same by perf.
const PERF: [(&str, &str); 2] = [("perf_sys_exit", "sys_exit"), ("perf_sys_enter", "sys_enter")];

/// Attaches what runs besides the system calls.
fn attach_events(
    ebpf: &mut Ebpf,
    tracefs: &Path,
    events: &[(&'static str, &str, &str, Need)],
    hooks: &mut Vec<Hook>,
) -> Result<(), ProbeError> {
    for &(program, category, event, need) in events {
        let hook = attach(ebpf, tracefs, program, category, event, need);
        require(&hook, need)?;
        hooks.push(hook);
    }
    Ok(())
}

/// Attaches the two hooks that all system calls pass, as [`PERF`] or [`RAW`] has them. Both must be loaded before one is
/// attached: half of them would be worse than none.
fn every(
    ebpf: &mut Ebpf,
    tracefs: &Path,
    every_call: [(&'static str, &str); 2],
    outcomes: [Result<(), String>; 2],
    hooks: &mut Vec<Hook>,
) -> Result<(), String> {
    if cfg!(not(target_arch = "x86_64")) {
        return Err("the registers are known on x86-64 only".into());
    }
    let mut numbers: Array<_, u8> =
        ebpf.map_mut("SYSCALLS").ok_or("map SYSCALLS is absent")?.try_into().map_err(|e| format!("SYSCALLS: {e}"))?;
    for &(_, number, which, _) in CALLS {
        let index = u32::try_from(number).map_err(|e| e.to_string())?;
        numbers.set(index, which, 0).map_err(|e| format!("SYSCALLS: {e}"))?;
    }
    outcomes.into_iter().collect::<Result<(), _>>()?;
    for (name, event) in every_call {
        if every_call == RAW {
            hooks.push(raw_tracepoint::attach(ebpf, name, event)?);
            continue;
        }
        let hook = attach(ebpf, tracefs, name, "raw_syscalls", event, Must);
        if let HookState::Failed(why) = hook.state {
            return Err(why);
        }
        hooks.push(hook);
    }
    Ok(())
}

/// Loads programs side by side, since the verifier takes more time for them than all else takes at the start. Those that
/// are not in the object are left out.
fn load_together(ebpf: &mut Ebpf, names: &[&str]) -> HashMap<String, Result<(), String>> {
    let programs = ebpf.programs_mut().filter(|(name, _)| names.contains(name));
    let load = |program: &mut Program| match program {
        Program::RawTracePoint(program) => program.load().map_err(|e| reason(&e)),
        Program::TracePoint(program) => program.load().map_err(|e| reason(&e)),
        other => Err(format!("it is of type {:?}", other.prog_type())),
    };
    threads::scope(|scope| {
        let threads: Vec<_> =
            programs.map(|(name, program)| (name.to_owned(), scope.spawn(move || load(program)))).collect();
        let died = |_| Err("it can't be loaded".into());
        threads.into_iter().map(|(name, thread)| (name, thread.join().unwrap_or_else(died))).collect()
    })
}

/// Attaches to the arrival of data, where the kernel tells it.
fn arrival(ebpf: &mut Ebpf, tracefs: &Path) -> Hook {
    const NAME: &str = "sk_data_ready";
    if tracefs::format(tracefs, "sock", NAME).is_none() {
        let target = raw_tracepoint::target(NAME);
        return Hook { program: NAME, target, verified: None, state: HookState::Absent };
    }
    raw_tracepoint::hook(ebpf, NAME, NAME)
}
