//! The family `socket`: its hooks, and how they are loaded.
//!
//! Each function of the kernel is hooked by a trampoline (`fentry`, `fexit`) where that attaches, else by a kprobe; the
//! other way about where the kernel may skip what is on trampolines. What did not attach, and why, stays in the list of
//! hooks. The functions of kernel TLS are [`ktls`]'s.

use aya::{
    Ebpf, EbpfLoader,
    programs::{FEntry, FExit, KProbe, Program},
};

use super::{
    Begun, Hook, HookChoice, HookState, LoadOptions, Need, ProbeError, btf::Btf, defined::DefinedProbes, ktls, layout,
    lockdown, object::OBJECT, permission, preemption::Model, propagate, raw_tracepoint, reason, thread, tracefs,
    tracepoint,
};

/// A function of the kernel, and the programs for it.
struct Function {
    name: &'static str,
    need: Need,
    /// Programs for trampolines: entry, return.
    fentry: [Option<&'static str>; 2],
    /// Those that join them where the kernel may skip one.
    again: &'static [&'static str],
    /// Programs for kprobes: entry, return.
    kprobe: [Option<&'static str>; 2],
}

const fn function(
    name: &'static str,
    need: Need,
    fentry: [Option<&'static str>; 2],
    again: &'static [&'static str],
    kprobe: [Option<&'static str>; 2],
) -> Function {
    Function { name, need, fentry, again, kprobe }
}

/// The functions that are hooked, ends of connections first: what begins is then always seen to end.
const FUNCTIONS: &[Function] = &[
    function(
        "tcp_close",
        Need::Must,
        [Some("fentry_tcp_close"), None],
        &["fentry_tcp_close_again"],
        [Some("kprobe_tcp_close"), None],
    ),
    function(
        "unix_release",
        Need::Must,
        [Some("fentry_unix_release"), None],
        &["fentry_unix_release_again"],
        [Some("kprobe_unix_release"), None],
    ),
    function(
        "tcp_shutdown",
        Need::Must,
        [Some("fentry_tcp_shutdown"), None],
        &["fentry_tcp_shutdown_again"],
        [Some("kprobe_tcp_shutdown"), None],
    ),
    function(
        "unix_shutdown",
        Need::Must,
        [Some("fentry_unix_shutdown"), None],
        &["fentry_unix_shutdown_again"],
        [Some("kprobe_unix_shutdown"), None],
    ),
    function(
        "inet_csk_accept",
        Need::Must,
        [None, Some("fexit_inet_csk_accept")],
        &["fexit_inet_csk_accept_again"],
        [None, Some("kretprobe_inet_csk_accept")],
    ),
    function(
        "unix_accept",
        Need::Must,
        [None, Some("fexit_unix_accept")],
        &["fexit_unix_accept_again"],
        [Some("kprobe_unix_accept"), Some("kretprobe_unix_accept")],
    ),
    function(
        "unix_stream_connect",
        Need::Must,
        [None, Some("fexit_unix_stream_connect")],
        &["fexit_unix_stream_connect_again"],
        [Some("kprobe_unix_stream_connect"), Some("kretprobe_unix_stream_connect")],
    ),
    function(
        "tcp_sendmsg",
        Need::Must,
        [Some("fentry_tcp_sendmsg"), Some("fexit_tcp_sendmsg")],
        &["fentry_tcp_sendmsg_again", "fexit_tcp_sendmsg_again"],
        [Some("kprobe_tcp_sendmsg"), Some("kretprobe_tcp_sent")],
    ),
    function(
        "tcp_recvmsg",
        Need::Must,
        [None, Some("fexit_tcp_recvmsg")],
        &["fentry_tcp_recvmsg", "fentry_tcp_recvmsg_again", "fexit_tcp_recvmsg_again"],
        [Some("kprobe_tcp_recvmsg"), Some("kretprobe_tcp_received")],
    ),
    function(
        "unix_stream_sendmsg",
        Need::Must,
        [Some("fentry_unix_stream_sendmsg"), Some("fexit_unix_stream_sendmsg")],
        &["fentry_unix_stream_sendmsg_again", "fexit_unix_stream_sendmsg_again"],
        [Some("kprobe_unix_stream_sendmsg"), Some("kretprobe_unix_sent")],
    ),
    function(
        "unix_stream_recvmsg",
        Need::Must,
        [None, Some("fexit_unix_stream_recvmsg")],
        &["fentry_unix_stream_recvmsg", "fentry_unix_stream_recvmsg_again", "fexit_unix_stream_recvmsg_again"],
        [Some("kprobe_unix_stream_recvmsg"), Some("kretprobe_unix_received")],
    ),
    function(
        "tcp_splice_read",
        Need::May,
        [None, Some("fexit_tcp_splice_read")],
        &["fentry_tcp_splice_read", "fentry_tcp_splice_read_again", "fexit_tcp_splice_read_again"],
        [Some("kprobe_pages"), Some("kretprobe_tcp_received")],
    ),
    function(
        "unix_stream_splice_read",
        Need::May,
        [None, Some("fexit_unix_stream_splice_read")],
        &[
            "fentry_unix_stream_splice_read",
            "fentry_unix_stream_splice_read_again",
            "fexit_unix_stream_splice_read_again",
        ],
        [Some("kprobe_pages"), Some("kretprobe_unix_received")],
    ),
    // Kernels before 6.5; later ones send pages by `sendmsg`.
    function(
        "tcp_sendpage",
        Need::May,
        [None, Some("fexit_tcp_sendpage")],
        &[],
        [Some("kprobe_tcp_sendpage"), Some("kretprobe_tcp_sent")],
    ),
    function(
        "unix_stream_sendpage",
        Need::May,
        [None, Some("fexit_unix_stream_sendpage")],
        &[],
        [Some("kprobe_pages"), Some("kretprobe_unix_sent")],
    ),
];

/// Tells arrivals where there is no tracepoint for them.
const ARRIVAL: Function = function(
    "sock_def_readable",
    Need::May,
    [Some("fentry_sock_def_readable"), None],
    &[],
    [Some("kprobe_sock_def_readable"), None],
);

/// Program, category and name of the tracepoints that are no hooks of sockets.
const EVENTS: &[(&str, &str, &str)] = &[
    ("task_newtask", "task", "task_newtask"),
    ("sched_process_exec", "sched", "sched_process_exec"),
    ("sched_process_exit", "sched", "sched_process_exit"),
];

/// Loads and attaches.
pub fn load(
    choice: HookChoice,
    options: &LoadOptions,
    begun: Begun<'_>,
) -> Result<(Ebpf, Vec<Hook>, DefinedProbes), ProbeError> {
    let tracefs = tracefs::root()?;
    lockdown::check(&tracefs).map_err(ProbeError::Refused)?;
    let btf = Btf::of_kernel()?;
    let layout = super::LayoutPod(layout::resolve(&btf)?);
    let model = Model::of_kernel();
    let skips = model.skips_trampolines();
    let twice = u32::from(skips.is_some());
    let pointer = thread::pointer(&btf, super::Family::Socket);
    let mut loader = EbpfLoader::new();
    loader
        // Nothing in the object is relocated by the kernel's types.
        .btf(None)
        .override_global("LAYOUT", &layout, true)
        .override_global("TWICE", &twice, true)
        .override_global("KERNEL_READS", &1u32, true)
        .override_global("THREAD_POINTER", &pointer, true)
        .override_global("WAKE_BYTES", &options.wake_bytes, true)
        .map_max_entries("CONNS", options.connections)
        .map_max_entries("SOCKS", options.connections.saturating_mul(4))
        // What only the other family uses.
        .map_max_entries("FDS", 1)
        .map_max_entries("THREADS", 1);
    for ring in ["RING_0", "RING_1", "RING_2", "RING_3"] {
        loader.map_max_entries(ring, options.ring_bytes);
    }
    propagate::configure(&mut loader, options.propagate.as_ref());
    let mut ebpf = loader.load(OBJECT).map_err(permission)?;
    let defined = DefinedProbes::new(&tracefs);
    let (kinds, passed_over) = kinds(choice, skips);
    let skips = twice != 0;
    let mut family = Family { kinds, skips, btf: &btf, types: None, ebpf: &mut ebpf, hooks: Vec::new(), defined };
    if let Some(why) = passed_over {
        let state = HookState::Replaced(why);
        family.hooks.push(Hook { program: "fentry_*", target: "fentry:*".into(), verified: None, state });
    }
    for &(program, category, event) in EVENTS {
        let hook = tracepoint::attach(family.ebpf, &tracefs, program, category, event, Need::Must);
        tracepoint::require(&hook, Need::Must)?;
        family.hooks.push(hook);
    }
    begun(family.ebpf);
    family.raw("raw_set_state", "inet_sock_set_state", Need::Must)?;
    if model.skips_raw_tracepoints() {
        family.raw("raw_set_state_again", "inet_sock_set_state", Need::Must)?;
    }
    for function in FUNCTIONS {
        family.attach(function)?;
    }
    if tracefs::format(&tracefs, "sock", "sk_data_ready").is_some() {
        family.raw("raw_data_ready", "sk_data_ready", Need::May)?;
    } else {
        family.attach(&ARRIVAL)?;
    }
    let Family { mut hooks, mut defined, .. } = family;
    hooks.extend(ktls::attach(&mut ebpf, &btf, &mut defined));
    Ok((ebpf, hooks, defined))
}

/// A way to hook a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Trampoline,
    Kprobe,
}

/// The ways that are tried for a function, the best first, and why the first of them is not that of trampolines.
fn kinds(choice: HookChoice, skips: Option<String>) -> (Vec<Kind>, Option<String>) {
    match (choice, skips) {
        (HookChoice::Fentry, _) => (vec![Kind::Trampoline], None),
        (HookChoice::Kprobe, _) => (vec![Kind::Kprobe], None),
        (HookChoice::Auto, None) => (vec![Kind::Trampoline, Kind::Kprobe], None),
        (HookChoice::Auto, why) => (vec![Kind::Kprobe, Kind::Trampoline], why),
    }
}

/// The family while it is being attached.
struct Family<'a> {
    kinds: Vec<Kind>,
    /// The kernel may skip programs on trampolines.
    skips: bool,
    btf: &'a Btf,
    /// aya's reading of the same, for trampolines; made when it is first needed.
    types: Option<aya::Btf>,
    ebpf: &'a mut Ebpf,
    hooks: Vec<Hook>,
    defined: DefinedProbes,
}

impl Family<'_> {
    /// Attaches a raw tracepoint.
    fn raw(&mut self, program: &'static str, event: &str, need: Need) -> Result<(), ProbeError> {
        let hook = raw_tracepoint::hook(self.ebpf, program, event);
        tracepoint::require(&hook, need)?;
        self.hooks.push(hook);
        Ok(())
    }

    /// Attaches the hooks of a function in the first way that works.
    fn attach(&mut self, function: &Function) -> Result<(), ProbeError> {
        let is_there = self.btf.parameters(function.name).is_some();
        if function.need == Need::May && !is_there {
            self.hooks.push(function.hook(function.name.to_owned(), HookState::Absent));
            return Ok(());
        }
        let mut whys = Vec::new();
        for kind in self.kinds.clone() {
            let (name, attached) = match kind {
                Kind::Trampoline if !is_there => ("fentry", Err("its BTF is missing".to_owned())),
                Kind::Trampoline => ("fentry", self.trampolines(function)),
                Kind::Kprobe => ("kprobe", self.kprobes(function)),
            };
            match attached {
                Ok(hooks) => {
                    let replaced = whys.into_iter().map(|(name, why)| {
                        function.hook(format!("{name}:{}", function.name), HookState::Replaced(why))
                    });
                    self.hooks.extend(replaced.chain(hooks));
                    return Ok(());
                }
                Err(why) => whys.push((name, why)),
            }
        }
        let whys: Vec<String> = whys.into_iter().map(|(name, why)| format!("as {name}: {why}")).collect();
        let hook = function.hook(function.name.to_owned(), HookState::Failed(whys.join("; ")));
        tracepoint::require(&hook, function.need)?;
        self.hooks.push(hook);
        Ok(())
    }

    fn trampolines(&mut self, function: &Function) -> Result<Vec<Hook>, String> {
        if self.types.is_none() {
            self.types = Some(aya::Btf::from_sys_fs().map_err(|e| e.to_string())?);
        }
        let types = self.types.as_ref().ok_or("no BTF")?;
        let again = if self.skips { function.again } else { &[] };
        let names: Vec<&'static str> = function.fentry.into_iter().flatten().chain(again.iter().copied()).collect();
        let mut hooks = Vec::new();
        for &name in &names {
            let program = self.ebpf.program_mut(name).ok_or("not in the object")?;
            let (kind, attached) = match program {
                Program::FEntry(entry) => {
                    ("fentry", entry.load(function.name, types).and_then(|()| entry.attach().map(drop)))
                }
                program => {
                    let exit: &mut FExit = program.try_into().map_err(|e| reason(&e))?;
                    ("fexit", exit.load(function.name, types).and_then(|()| exit.attach().map(drop)))
                }
            };
            if let Err(e) = attached {
                // A part of them is nothing.
                self.unload(&names);
                return Err(reason(&e));
            }
            hooks.push(self.hook(name, format!("{kind}:{}", function.name)));
        }
        Ok(hooks)
    }

    fn kprobes(&mut self, function: &Function) -> Result<Vec<Hook>, String> {
        let mut hooks = Vec::new();
        // The return first: without an entry it is nothing, while an entry alone would count its return as missed.
        for (name, kind) in function.kprobe.iter().zip(["kprobe", "kretprobe"]).rev() {
            let Some(name) = *name else { continue };
            let program: &mut KProbe =
                self.ebpf.program_mut(name).ok_or("not in the object")?.try_into().map_err(|e| reason(&e))?;
            if program.fd().is_err() {
                program.load().map_err(|e| reason(&e))?;
            }
            if kind == "kprobe" {
                program.attach(function.name, 0).map_err(|e| reason(&e))?;
            } else {
                self.defined.attach(program, function.name).map_err(|e| e.to_string())?;
            }
            hooks.push(self.hook(name, format!("{kind}:{}", function.name)));
        }
        Ok(hooks)
    }

    fn unload(&mut self, programs: &[&'static str]) {
        for name in programs {
            match self.ebpf.program_mut(name) {
                Some(Program::FEntry(program)) => drop(FEntry::unload(program)),
                Some(Program::FExit(program)) => drop(FExit::unload(program)),
                _ => {}
            }
        }
    }

    fn hook(&self, program: &'static str, target: String) -> Hook {
        let info = self.ebpf.program(program).and_then(|program| program.info().ok());
        let verified = info.and_then(|info| info.verified_instruction_count());
        Hook { program, target, verified, state: HookState::Attached }
    }
}

impl Function {
    /// The hook where there is no program that was attached.
    fn hook(&self, target: String, state: HookState) -> Hook {
        let program = self.fentry.into_iter().flatten().last().unwrap_or(self.name);
        Hook { program, target, verified: None, state }
    }
}
