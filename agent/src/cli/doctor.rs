//! `netspan doctor`: what this host lets the agent see, and what not and why; and what a running agent made of it. It captures
//! nothing.

mod links;
mod live;
mod tls;

use std::{
    fmt,
    io::{self, Write as _},
    process::ExitCode,
};

use anyhow::Context as _;
use serde_json::{Value, json};

pub use self::live::doctor as live;
use super::{
    client::Agent,
    flags::{CaptureFlags, CommonFlags, FilterFlags, KubernetesFlags, NameFlags},
    kubernetes::Told,
    session::{admission, load},
};
use crate::{
    host::{ProcRoot, Processes, Surveyed, survey},
    live::boot_ns,
    privilege,
    probe::{Family, Hook, HookState, Kernel, Probes, tls::Found},
};

/// Arguments of `netspan doctor`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Whose links are told.
    #[command(flatten)]
    pub agent: Agent,
    /// Flags of every command.
    #[command(flatten)]
    pub common: CommonFlags,
    /// How to capture.
    #[command(flatten)]
    pub capture: CaptureFlags,
    /// What to see.
    #[command(flatten)]
    pub filter: FilterFlags,
    /// Names.
    #[command(flatten)]
    pub names: NameFlags,
    /// Kubernetes.
    #[command(flatten)]
    pub kubernetes: KubernetesFlags,
}

/// Runs the command. The code is 1 where nothing could be captured.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let options = super::prepare(&args.common, &[&args.capture, &args.filter, &args.names, &args.kubernetes])?;
    let kernel = Kernel::read();
    // What is attached sees nothing, because no filter is set; what attaches is the only truth about what would.
    let mut probes = load(&options, None);
    if let Ok(probes) = &mut probes {
        probes.count_verified();
    }
    let mut tls = tls::Examiner::start(probes.as_mut().map_err(|error| &*error), admission(&options));
    let mut processes = Processes::new(ProcRoot::host(), options.services.clone());
    let kubernetes = Told::look(&options.kubernetes);
    processes.ask_pods(kubernetes.pods());
    processes.read_contexts();
    let surveyed = survey(&mut processes, boot_ns(), |identity| options.filter.admits_replayed(identity));
    let examined = surveyed.into_iter().map(|process| {
        let tls = tls.libraries(process.identity.pid, &process.foreign_tls);
        Examined { process, tls }
    });
    let processes = examined.collect();
    let links = links::Links::ask(&args.agent);
    let report = Report { kernel, probes: probes.as_ref(), kubernetes, processes, links };
    let mut out = io::stdout().lock();
    let written = if args.json {
        serde_json::to_writer_pretty(&mut out, &report.json()).map_err(io::Error::from).and_then(|()| writeln!(out))
    } else {
        write!(out, "{report}")
    };
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => return Err(error).context("standard output"),
        _ => {}
    }
    Ok(if probes.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What is wrong outside of the host's pid namespace.
pub(super) const STRANGE_PIDS: &str = "this is not the host's pid namespace, whose ids the kernel tells: processes can't be \
                                       named or filtered by id; run the agent there (hostPID: true, --pid=host)";

/// What the doctor found.
struct Report<'a> {
    kernel: Kernel,
    probes: Result<&'a Probes, &'a anyhow::Error>,
    kubernetes: Told,
    processes: Vec<Examined>,
    links: links::Links,
}

/// A process, and the TLS libraries in it.
struct Examined {
    process: Surveyed,
    tls: Vec<Found>,
}

impl Report<'_> {
    fn json(&self) -> Value {
        let family = self.family();
        let process = |examined: &Examined| {
            let mut json = process_json(family, examined);
            json["links"] = self.links.of(examined.process.identity.pid).cloned().into();
            json
        };
        let processes: Vec<Value> = self.processes.iter().map(process).collect();
        let mut json =
            report_json(&kernel_json(&self.kernel), &capture_json(self.probes), &self.kubernetes, &processes);
        json["links_unknown"] = self.links.error().into();
        json
    }

    fn family(&self) -> Option<Family> {
        self.probes.ok().map(|probes| probes.family)
    }
}

fn report_json(kernel: &Value, capture: &Value, kubernetes: &Told, processes: &[Value]) -> Value {
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "kernel": kernel,
        "capture": capture,
        "kubernetes": kubernetes.to_json(),
        "processes": processes,
    })
}

fn kernel_json(kernel: &Kernel) -> Value {
    let Kernel { release, machine, lockdown, btf, kprobes, preemption, host_pids, .. } = kernel;
    json!({
        "release": release,
        "machine": machine,
        "lockdown": lockdown,
        "btf": btf,
        "kprobes": kprobes,
        "preemption": preemption,
        "host_pid_namespace": host_pids,
        "missing_capabilities": kernel.missing_capabilities(),
        "kept_capabilities": privilege::kept(),
    })
}

fn capture_json(probes: Result<&Probes, &anyhow::Error>) -> Value {
    match probes {
        Ok(probes) => json!({
            "family": probes.family.name(),
            "fallbacks": probes.fallbacks.iter().map(|(family, why)| json!({"family": family.name(), "reason": why}))
                .collect::<Vec<_>>(),
            "hooks": probes.hooks.iter().map(hook_json).collect::<Vec<_>>(),
        }),
        Err(error) => json!({"error": format!("{error:#}")}),
    }
}

/// Why what goes through `io_uring` is not seen, if it is not.
fn io_uring_spot(family: Option<Family>, process: &Surveyed) -> Option<&'static str> {
    let is_blind = process.io_urings > 0 && family == Some(Family::Syscall);
    is_blind.then_some("io_uring: what goes through it is not seen by the family syscall")
}

fn process_json(family: Option<Family>, Examined { process, tls }: &Examined) -> Value {
    let Surveyed { identity, sockets, listens, io_urings, foreign_tls: _ } = process;
    let mut not_seen: Vec<String> = io_uring_spot(family, process).into_iter().map(str::to_owned).collect();
    not_seen.extend(tls.iter().filter_map(tls::blind_spot));
    json!({
        "pid": identity.pid,
        "service": identity.service,
        "service_from": identity.service_from,
        "command": identity.comm,
        "executable": identity.exe,
        "container": identity.container,
        "pod": identity.kubernetes.as_ref().and_then(|workload| workload.get("k8s.pod.name")),
        "unit": identity.unit,
        "sockets": sockets,
        "listens": listens,
        "io_urings": io_urings,
        "tls": tls.iter().map(tls::json).collect::<Vec<_>>(),
        "not_seen": not_seen,
    })
}

fn hook_json(hook: &Hook) -> Value {
    let (state, reason) = state(&hook.state);
    json!({
        "program": hook.program,
        "target": hook.target,
        "state": state,
        "reason": reason,
        "verified_instructions": hook.verified,
    })
}

/// A hook's state in a word, and the reason.
fn state(state: &HookState) -> (&'static str, Option<&str>) {
    match state {
        HookState::Attached => ("attached", None),
        HookState::Absent => ("absent", Some("this kernel does not have it")),
        HookState::Waiting => ("waiting", Some("for its module, which is not loaded")),
        HookState::Replaced(why) => ("replaced", Some(why)),
        HookState::Failed(why) => ("failed", Some(why)),
    }
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Kernel { release, machine, lockdown, btf, kprobes, preemption, .. } = &self.kernel;
        let yes = |is: &bool| if *is { "yes" } else { "no" };
        writeln!(f, "netspan {} on Linux {release}, {machine}", env!("CARGO_PKG_VERSION"))?;
        let lockdown = lockdown.as_deref().unwrap_or("not told (securityfs is not mounted)");
        writeln!(f, "  lockdown      {lockdown}")?;
        writeln!(f, "  BTF           {}", yes(btf))?;
        writeln!(f, "  kprobes       {}", yes(kprobes))?;
        writeln!(f, "  preemption    {preemption}")?;
        if !self.kernel.host_pids {
            writeln!(f, "  processes     {STRANGE_PIDS}")?;
        }
        match self.kernel.missing_capabilities().as_slice() {
            [] => writeln!(f, "  capabilities  all that are needed")?,
            missing => writeln!(f, "  capabilities  missing: {}", missing.join(", "))?,
        }
        writeln!(f, "  kubernetes    {}", self.kubernetes.line())?;
        match self.probes {
            Ok(probes) => {
                writeln!(f, "\ncapture: family {}", probes.family.name())?;
                for (family, why) in &probes.fallbacks {
                    writeln!(f, "  family {} does not run: {why}", family.name())?;
                }
                for hook in &probes.hooks {
                    let (state, reason) = state(&hook.state);
                    write!(f, "  {:<32} {state}", hook.target)?;
                    if let Some(verified) = hook.verified {
                        write!(f, ", {verified} instructions verified")?;
                    }
                    writeln!(f, "{}", reason.map(|why| format!(": {why}")).unwrap_or_default())?;
                }
            }
            Err(error) => writeln!(f, "\ncapture: nothing can be captured: {error:#}")?,
        }
        writeln!(f, "\nprocesses with stream sockets: {}", self.processes.len())?;
        if !self.processes.is_empty() {
            writeln!(
                f,
                "  {:>7}  {:<20} {:<16} {:>7}  {:<16} not seen",
                "pid", "service", "command", "sockets", "listens"
            )?;
        }
        for Examined { process, tls } in &self.processes {
            let listens: Vec<String> = process.listens.iter().map(u16::to_string).collect();
            let mut spots: Vec<&str> = io_uring_spot(self.family(), process).into_iter().collect();
            if tls.iter().any(|found| found.state.is_err()) {
                spots.push("TLS, for the reason below");
            }
            writeln!(
                f,
                "  {:>7}  {:<20} {:<16} {:>7}  {:<16} {}",
                process.identity.pid,
                process.identity.service,
                process.identity.comm,
                process.sockets,
                if listens.is_empty() { "-".to_owned() } else { listens.join(",") },
                if spots.is_empty() { "-".to_owned() } else { spots.join("; ") }
            )?;
            for found in tls {
                writeln!(f, "  {:>7}  TLS: {}", "", tls::Line(found))?;
            }
            if let Some(links) = self.links.of(process.identity.pid) {
                writeln!(f, "  {:>7}  links: {}", "", links::Line(links))?;
            }
        }
        if let Some(why) = self.links.error() {
            writeln!(f, "\nlinks: not known, because only a running agent makes them: {why}")?;
        }
        Ok(())
    }
}
