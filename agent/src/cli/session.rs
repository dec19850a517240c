//! A live session: loads the probes, keeps the filters up to date, and drives the pipeline until a signal ends it. What
//! becomes of the spans is the command's concern.
#![forbid(unsafe_code)]

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::Context as _;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use super::{
    config::{CaptureOptions, Options},
    doctor::STRANGE_PIDS,
    kubernetes::{Kubernetes, Told},
};
use crate::{
    capture::{count::Account, memory::Spare},
    conn::Closed,
    control::{FilterPlan, FilterRules},
    host::{CgroupTree, Identities as _, ProcRoot, Processes},
    link,
    live::{Live, Tap, boot_ns, clock_offset_ns},
    pipeline,
    privilege::{self, Role},
    probe::{HookState, Kernel, LoadOptions, Probes, Propagate, tls::Admits},
    span::{Resource, Span},
};

/// Connections that the pipeline knows at one time.
pub const CONNECTIONS: usize = 65_536;
/// How often a consumer gets the account, if it wants it.
const ACCOUNT: Duration = Duration::from_secs(1);
/// Why a capability that stands for many is kept.
const ADMIN_KEPT: &str =
    " (CAP_SYS_ADMIN, because this kernel asks for it while kernel.perf_event_paranoid is above 2)";
/// How often a plan that may change is made anew.
const REPLAN: Duration = Duration::from_secs(1);

/// What a command does with what a session sees.
pub trait Consumer: Tap {
    /// Spans that are done, parents before their children. Returns whether more are wanted.
    fn spans(&mut self, spans: Vec<Arc<Span>>) -> bool;

    /// Whether it wants the account of the run so far now and then.
    fn wants_account(&self) -> bool {
        false
    }

    /// The account of the run so far.
    fn account(&mut self, _account: Account) {}

    /// What became of the spans of each process so far, by its id; told together with the account.
    fn links(&mut self, _links: Vec<(u32, link::Tally)>) {}

    /// Whether it wants the connections that are over.
    fn wants_closed(&self) -> bool {
        false
    }

    /// Connections that are over, each with its process.
    fn closed(&mut self, _closed: Vec<(Closed, Arc<Resource>)>) {}

    /// The options were read anew.
    fn reloaded(&mut self, _options: &Options) {}

    /// A turn is over.
    fn turned(&mut self, _processes: &mut Processes) -> anyhow::Result<()> {
        Ok(())
    }
}

/// What a session's ids and stamps are made of; a recording carries it.
#[derive(Clone, Copy, Debug)]
pub struct Origin {
    /// Seed of the ids.
    pub seed: [u64; 2],
    /// To be added to boot-time nanoseconds to get nanoseconds since the Unix epoch.
    pub clock_offset_ns: u64,
}

impl Origin {
    /// A new one.
    pub fn new() -> anyhow::Result<Self> {
        let mut bytes = [0; 16];
        let mut filled = 0;
        while filled < bytes.len() {
            filled += rustix::rand::getrandom(&mut bytes[filled..], rustix::rand::GetRandomFlags::empty())
                .context("ids: the kernel gives no random numbers")?;
        }
        let (low, high) = bytes.split_at(8);
        let number = |half: &[u8]| half.iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
        Ok(Self { seed: [number(low), number(high)], clock_offset_ns: clock_offset_ns() })
    }
}

/// What the pipeline is told, of a command's options.
pub fn pipeline_options(options: &Options, origin: Origin, is_replay: bool) -> anyhow::Result<pipeline::Options> {
    Ok(pipeline::Options {
        connections: CONNECTIONS,
        redaction: Arc::new(options.redaction()?),
        link: link::Options {
            ids: link::Ids::new(origin.seed),
            clock_offset_ns: origin.clock_offset_ns,
            min_confidence: options.min_confidence,
            adopt_traces: !options.capture.propagate,
        },
        filter: pipeline::Filter { rules: options.filter.clone(), is_replay },
        templates: options.templates.clone().into(),
    })
}

/// A running session.
pub struct Session {
    live: Live<Processes>,
    root: ProcRoot,
    rules: FilterRules,
    plan: FilterPlan,
    planned: Instant,
    signals: Signals,
    kubernetes: Kubernetes,
}

/// What signals asked for.
struct Signals {
    stop: Arc<AtomicBool>,
    reload: Arc<AtomicBool>,
}

impl Signals {
    fn new() -> io::Result<Self> {
        let signals = Self { stop: Arc::default(), reload: Arc::default() };
        for signal in [SIGINT, SIGTERM] {
            // A second signal ends the process at once, in case the first one's flush hangs.
            signal_hook::flag::register_conditional_default(signal, Arc::clone(&signals.stop))?;
            signal_hook::flag::register(signal, Arc::clone(&signals.stop))?;
        }
        signal_hook::flag::register(SIGHUP, Arc::clone(&signals.reload))?;
        Ok(signals)
    }
}

impl Session {
    /// Loads and attaches, sets the filters, and says on standard error that it is ready.
    pub fn start(options: &Options, origin: Origin, record: bool) -> anyhow::Result<Self> {
        let begun = Instant::now();
        let signals = Signals::new().context("signals can't be handled")?;
        let root = ProcRoot::host();
        let kubernetes = Kubernetes::start(&options.kubernetes)?;
        let probes = load(options, propagate(options, origin, &root))?;
        if rustix::process::getpriority_process(None) != Ok(options.capture.nice) {
            log::warn!("no priority {} without CAP_SYS_NICE: on a busy host events may be lost", options.capture.nice);
        }
        if !Kernel::read().host_pids {
            log::warn!("{STRANGE_PIDS}");
        }
        let mut processes = Processes::new(root.clone(), options.services.clone());
        if let Err(error) = processes.watch_contexts() {
            log::warn!("process contexts are not read: no thread ({error})");
        }
        // Nothing is captured yet, so nothing is held up.
        kubernetes.wait();
        processes.ask_pods(kubernetes.pods());
        if record {
            processes.keep_new();
        }
        let mut live = Live::new(probes, pipeline_options(options, origin, false)?, processes)?;
        let plan = FilterPlan::resolve(&options.filter, &root);
        for warning in &plan.warnings {
            log::warn!("{warning}");
        }
        live.filter(&plan.kernel)?;
        privilege::settle(Role::Capture);
        if let Some(kept) = privilege::kept() {
            let admin = if kept.iter().any(|name| name == "CAP_SYS_ADMIN") { ADMIN_KEPT } else { "" };
            log::info!("capabilities: {} are kept, all others given up{admin}", kept.join(", "));
        }
        live.watch_tls(admission(options), options.capture.goroutines);
        let probes = live.probes();
        let attached = probes.hooks.iter().filter(|hook| hook.state == HookState::Attached).count();
        eprintln!(
            "netspan: ready in {} ms: family {}, {attached} hooks",
            begun.elapsed().as_millis(),
            probes.family.name()
        );
        for hook in probes.hooks.iter().filter(|hook| hook.target.starts_with("sock_ops")) {
            if let HookState::Failed(why) = &hook.state {
                log::warn!("no other host is told of requests ({}): {why}", hook.target);
            }
        }
        for (family, why) in &probes.fallbacks {
            log::info!("family {} does not run here: {why}", family.name());
        }
        Ok(Self { live, root, rules: options.filter.clone(), plan, planned: Instant::now(), signals, kubernetes })
    }

    /// What is attached.
    pub fn probes(&self) -> &Probes {
        self.live.probes()
    }

    /// What is known of Kubernetes.
    pub fn kubernetes(&self) -> Told {
        self.kubernetes.told()
    }

    /// Runs until a signal comes or the consumer has enough. `reload` reads the options anew, for SIGHUP. Returns the
    /// account of the run.
    pub fn run(
        mut self,
        consumer: &mut impl Consumer,
        reload: impl Fn() -> anyhow::Result<Options>,
    ) -> anyhow::Result<Account> {
        let (mut told, mut spare): (Option<Instant>, _) = (None, Spare::default());
        if consumer.wants_closed() {
            self.live.pipeline().keep_closed();
        }
        while !self.signals.stop.load(Ordering::Relaxed) {
            if consumer.wants_account() && told.is_none_or(|told| told.elapsed() >= ACCOUNT) {
                told = Some(Instant::now());
                let mut account = self.live.account();
                self.kubernetes.told().count(&mut account);
                consumer.account(account);
                consumer.links(self.live.pipeline().links());
            }
            let spans = self.live.turn(consumer).context("the rings can't be waited for")?;
            if !spans.is_empty() && !consumer.spans(spans) {
                break;
            }
            for (pid, slot) in self.live.pipeline().identities().take_slots() {
                self.live.read_threads(pid, slot);
            }
            self.hand_closed(consumer);
            consumer.turned(self.live.pipeline().identities())?;
            self.keep_filters(consumer, &reload)?;
            spare.turned();
        }
        let (spans, mut account) = self.live.finish(consumer);
        self.kubernetes.told().count(&mut account);
        consumer.spans(spans);
        Ok(account)
    }

    fn hand_closed(&mut self, consumer: &mut impl Consumer) {
        let pipeline = self.live.pipeline();
        let closed = pipeline.take_closed();
        if !closed.is_empty() {
            let identities = pipeline.identities();
            let with_process = |closed: Closed| {
                let resource = identities.resource(closed.socket.tgid, closed.at_ns);
                (closed, resource)
            };
            consumer.closed(closed.into_iter().map(with_process).collect());
        }
    }

    /// Makes the plan anew where it may have changed, or where a signal asks for other rules.
    fn keep_filters(
        &mut self,
        consumer: &mut impl Consumer,
        reload: &impl Fn() -> anyhow::Result<Options>,
    ) -> anyhow::Result<()> {
        let mut is_due = self.plan.may_change && self.planned.elapsed() >= REPLAN;
        if self.signals.reload.swap(false, Ordering::Relaxed) {
            match reload() {
                Ok(options) => {
                    log::info!(
                        "filters, routes, sampling and destinations were read anew; a change of any other option takes a restart"
                    );
                    match options.redaction() {
                        // The header that asks for a trace may be another one.
                        Ok(redaction) => self.live.pipeline().set_redaction(redaction),
                        Err(error) => log::error!("what is kept of headers stays as it is: {error}"),
                    }
                    consumer.reloaded(&options);
                    self.rules = options.filter;
                    self.live.pipeline().set_rules(self.rules.clone());
                    self.live.pipeline().set_templates(options.templates.into());
                    is_due = true;
                }
                Err(error) => log::error!("the options stay as they are: {error:#}"),
            }
        }
        if is_due {
            self.planned = Instant::now();
            let plan = FilterPlan::resolve(&self.rules, &self.root);
            if plan.kernel != self.plan.kernel {
                self.live.filter(&plan.kernel)?;
            }
            self.plan = plan;
        }
        Ok(())
    }
}

/// Who is to be seen, for what is attached by process.
pub fn admission(options: &Options) -> Admits {
    let rules = options.filter.clone();
    let mut processes = Processes::new(ProcRoot::host(), options.services.clone());
    // Asked once per program that a process begins: what an id stood for before is not remembered.
    Box::new(move |pid| rules.is_empty() || rules.admits_replayed(&processes.look_anew(pid, boot_ns())))
}

/// To be called before there are other threads: lets them go before a busy host's own work, and lets them give up privileges that they
/// do not need, unless the options say otherwise. [`Session::start`] tells where that is not permitted: without privileges there is
/// more to say first.
pub fn prepare_threads(options: &Options) {
    if !options.capture.keep_capabilities {
        privilege::begin();
    }
    // Linux has a priority per thread, and without an id this is for the calling one.
    if let Err(error) = rustix::process::setpriority_process(None, options.capture.nice) {
        log::debug!("setpriority: {error}");
    }
}

/// Loads the probes as the options ask.
pub fn load(options: &Options, propagate: Option<Propagate>) -> anyhow::Result<Probes> {
    let CaptureOptions { family, hook, ring_bytes, connections, .. } = options.capture;
    let load = LoadOptions { ring_bytes, connections, propagate, ..LoadOptions::default() };
    Ok(Probes::load(family, hook, &load)?)
}

/// Where other hosts are told of requests, if they are: in the cgroups that are watched, else on the whole host.
fn propagate(options: &Options, origin: Origin, root: &ProcRoot) -> Option<Propagate> {
    if !options.capture.propagate {
        return None;
    }
    let tree = CgroupTree::find(root);
    let watched = &options.filter.include.cgroups;
    let cgroups = if watched.is_empty() {
        tree.mount().cloned().into_iter().collect()
    } else {
        watched.iter().filter_map(|path| tree.at(path)).map(|cgroup| cgroup.directory).collect()
    };
    Some(Propagate { seed: origin.seed, cgroups })
}
