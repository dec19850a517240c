//! Loads, chooses and attaches the BPF programs, and reports what was attached and why something was not.
//!
//! What runs is decided by what loads and attaches, never by a version number. Nothing here looks at events.

mod bpf;
pub mod btf;
mod choice;
mod counters;
mod defined;
mod descriptor;
mod kernel;
mod ktls;
mod layout;
mod lockdown;
mod memory;
mod missed;
mod object;
mod perf;
mod preemption;
mod propagate;
mod raw_tracepoint;
mod relocated;
mod socket;
mod syscall;
mod tasks;
mod thread;
pub mod tls;
mod tracefs;
mod tracepoint;
mod unix_diag;
mod verified;

pub use choice::{FamilyChoice, HookChoice};
pub use counters::Counters;
pub use descriptor::{Descriptor, inspect};
pub use kernel::Kernel;
pub use perf::is_permitted as perf_is_permitted;
pub use propagate::Propagate;
pub use tasks::Tasks;
pub use thread::ThreadSlots;
pub use unix_diag::UnixDiag;

use std::{fmt, fs::File, os::fd::AsRawFd as _, path::PathBuf, time::Duration};

use aya::{
    Ebpf,
    maps::{Array, CgroupArray, HashMap, MapData, RingBuf},
    programs::ProgramError,
};
use netspan_ebpf::{CGROUP_RULES_MAX, FdKey, FilterConfig, Layout, RING_SHARDS};

use self::defined::DefinedProbes;

/// A family of hooks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// Tracepoints of system calls; no kernel memory is read.
    Syscall,
    /// Functions of the kernel's sockets.
    Socket,
}

impl Family {
    /// Its name in options and reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Syscall => "syscall",
            Self::Socket => "socket",
        }
    }
}

/// What became of one hook.
#[derive(Clone, Debug)]
pub struct Hook {
    /// The BPF program.
    pub program: &'static str,
    /// What it is for: a tracepoint or a kernel function.
    pub target: String,
    /// Instructions that the verifier went through, where the kernel tells (from 5.16) or [`Probes::count_verified`]
    /// found out.
    pub verified: Option<u32>,
    /// Attached, or why not.
    pub state: HookState,
}

/// Attached, or why not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HookState {
    /// Attached.
    Attached,
    /// This kernel does not have it; netspan works without it.
    Absent,
    /// It is of a module that is not loaded: it attaches itself when that is.
    Waiting,
    /// Others do its work, because it could not be loaded or attached.
    Replaced(String),
    /// It could not be loaded or attached.
    Failed(String),
}

/// How long the start waits for hooks on the TLS libraries of processes that run already.
const TLS_START: Duration = Duration::from_secs(20);
/// Where the kernel tells that `perf_event_open` makes kprobes.
const KPROBES: &str = "/sys/bus/event_source/devices/kprobe";

/// Whether netspan works without a hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Need {
    /// It does not.
    Must,
    /// It does, on kernels that don't have the event or function.
    May,
}

/// Told of an object whose first programs are loaded.
type Begun<'b> = &'b mut dyn FnMut(&Ebpf);

/// [`Layout`] as a global of the programs.
#[repr(transparent)]
#[derive(Clone, Copy)]
struct LayoutPod(Layout);
// SAFETY: 32-bit integers.
unsafe impl aya::Pod for LayoutPod {}

/// Sizes and choices that hold from loading on.
#[derive(Clone, Debug)]
pub struct LoadOptions {
    /// Bytes of each of the [`RING_SHARDS`] rings; a power of two, at least a page.
    pub ring_bytes: u32,
    /// Connections that the kernel side knows at one time.
    pub connections: u32,
    /// Each time that many more bytes wait in a ring, the agent is woken; a power of two.
    pub wake_bytes: u64,
    /// Whether and where other hosts are told of requests.
    pub propagate: Option<Propagate>,
}

impl Default for LoadOptions {
    fn default() -> Self {
        Self { ring_bytes: 2 << 20, connections: 32_768, wake_bytes: 64 << 10, propagate: None }
    }
}

/// Why probes could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// The kernel refuses BPF as such.
    #[error("cannot load BPF programs: {0}; run as root, or with CAP_BPF, CAP_PERFMON and CAP_SYS_PTRACE")]
    Permission(String),
    /// The tracing file system is missing and can't be mounted.
    #[error("cannot find tracepoints: {0}; mount it: mount -t tracefs tracefs /sys/kernel/tracing")]
    Tracefs(String),
    /// The object or its maps.
    #[error("cannot load the BPF object: {0}")]
    Object(#[from] Box<aya::EbpfError>),
    /// A hook that nothing works without.
    #[error("cannot attach {program} to {target}: {why}")]
    Hook {
        /// Program.
        program: &'static str,
        /// Tracepoint or function.
        target: String,
        /// Reason.
        why: String,
    },
    /// What a family needs is not permitted here, root or not.
    #[error("this kernel does not permit what it needs, as under lockdown: {0}")]
    Refused(String),
    /// The kernel's type information.
    #[error("cannot find where the kernel keeps what the family socket reads: {0}")]
    Btf(#[from] btf::BtfError),
    /// A map is not as expected.
    #[error("map {0}: {1}")]
    Map(&'static str, String),
}

/// Loaded and attached programs. Dropping this detaches everything.
pub struct Probes {
    /// The family that runs.
    pub family: Family,
    /// What became of each hook.
    pub hooks: Vec<Hook>,
    /// Why a preferred family does not run.
    pub fallbacks: Vec<(Family, String)>,
    /// Those that are attached as libraries of TLS are found, or why they can't be loaded, until that begins. They are
    /// loaded with the maps' descriptors, and so end before the maps do.
    tls_programs: Option<Result<tls::Programs, String>>,
    tls: Option<tls::Watch>,
    ebpf: Ebpf,
    /// Keeps what aya does not.
    _defined: Option<DefinedProbes>,
}

impl fmt::Debug for Probes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Probes").field("family", &self.family).field("hooks", &self.hooks).finish_non_exhaustive()
    }
}

impl Probes {
    /// Loads and attaches the family that was chosen, or the best that loads. Nothing is seen until the filters are set.
    pub fn load(family: FamilyChoice, hook: HookChoice, options: &LoadOptions) -> Result<Self, ProbeError> {
        let mut fallbacks = Vec::new();
        let mut tls_programs = None;
        // The verifier takes its time for either kind of programs: it may have two processors.
        let mut begun = |ebpf: &Ebpf| tls_programs = Some(tls::Programs::of(ebpf));
        let mut loaded = None;
        if family != FamilyChoice::Syscall {
            match socket::load(hook, options, &mut begun) {
                Ok((ebpf, hooks, defined)) => loaded = Some((Family::Socket, ebpf, hooks, Some(defined))),
                Err(e) if family == FamilyChoice::Socket => return Err(e),
                Err(e) => fallbacks.push((Family::Socket, e.to_string())),
            }
        }
        let (family, mut ebpf, mut hooks, defined) = if let Some(loaded) = loaded {
            loaded
        } else {
            let (ebpf, hooks) = syscall::load(options, &mut begun)?;
            (Family::Syscall, ebpf, hooks, None)
        };
        if let Some(propagate) = &options.propagate {
            hooks.extend(propagate::attach(&mut ebpf, propagate));
        }
        Ok(Self { family, hooks, fallbacks, ebpf, tls_programs, tls: None, _defined: defined })
    }

    /// Keeps the hooks on TLS libraries attached from now on, in processes that `admits` lets pass. Those that run
    /// already have them when this returns, unless that takes longer than [`TLS_START`].
    ///
    /// # Errors
    /// One line that says why not; everything else works without.
    pub fn watch_tls(&mut self, admits: tls::Admits, goroutines: bool) -> Result<(), String> {
        let programs = self.tls_programs.take().ok_or("they are watched already")??;
        self.tls = Some(tls::Watch::start(programs, admits, goroutines, TLS_START)?);
        Ok(())
    }

    /// What watches TLS libraries, if it runs.
    pub const fn tls(&self) -> Option<&tls::Watch> {
        self.tls.as_ref()
    }

    /// Finds out how many instructions the verifier went through where the kernel does not tell; it takes about as long as
    /// loading did.
    pub fn count_verified(&mut self) {
        verified::count(&self.ebpf, &mut self.hooks);
    }

    /// Takes the rings; can be done once.
    pub fn rings(&mut self) -> Result<Vec<RingBuf<MapData>>, ProbeError> {
        const NAMES: [&str; RING_SHARDS as usize] = ["RING_0", "RING_1", "RING_2", "RING_3"];
        NAMES
            .into_iter()
            .map(|name| {
                let map = self.ebpf.take_map(name).ok_or(ProbeError::Map(name, "absent".into()))?;
                RingBuf::try_from(map).map_err(|e| ProbeError::Map(name, e.to_string()))
            })
            .collect()
    }

    /// Takes the reader of the kernel side's counters; can be done once.
    pub fn counters(&mut self) -> Result<Counters, ProbeError> {
        Counters::new(&mut self.ebpf)
    }

    /// Takes the writer of the descriptor table; can be done once.
    pub fn descriptors(&mut self) -> Result<Descriptors, ProbeError> {
        let map = self.ebpf.take_map("FDS").ok_or(ProbeError::Map("FDS", "absent".into()))?;
        Ok(Descriptors { map: HashMap::try_from(map).map_err(|e| ProbeError::Map("FDS", e.to_string()))? })
    }

    /// Takes the writer of the table of threads' contexts; can be done once.
    pub fn thread_slots(&mut self) -> Result<ThreadSlots, ProbeError> {
        ThreadSlots::new(&mut self.ebpf)
    }

    /// Takes the maps of what asyncio runs, and answers the kernel side's questions about it; can be done once.
    pub fn tasks(&mut self) -> Result<Tasks, ProbeError> {
        let mut take = |name| self.ebpf.take_map(name).ok_or(ProbeError::Map(name, "absent".into()));
        let (pythons, loops) = (take("PYTHONS")?, take("LOOPS")?);
        let wrong = |name| move |e: aya::maps::MapError| ProbeError::Map(name, e.to_string());
        let pythons = HashMap::try_from(pythons).map_err(wrong("PYTHONS"))?;
        Ok(Tasks::start(pythons, HashMap::try_from(loops).map_err(wrong("LOOPS"))?))
    }

    /// Takes the filters' maps; can be done once.
    pub fn filters(&mut self) -> Result<Filters, ProbeError> {
        Filters::new(&mut self.ebpf)
    }
}

/// The kernel side's descriptor table, to strike out what is no stream socket.
pub struct Descriptors {
    map: HashMap<MapData, FdKeyPod, FdEntryPod>,
}

/// [`FdKey`] as a map's key.
#[repr(transparent)]
#[derive(Clone, Copy)]
struct FdKeyPod(FdKey);
// SAFETY: two 32-bit integers, without padding.
unsafe impl aya::Pod for FdKeyPod {}

/// The table's value: key of the connection, socket.
#[repr(C)]
#[derive(Clone, Copy)]
struct FdEntryPod([u64; 2]);
// SAFETY: two 64-bit integers.
unsafe impl aya::Pod for FdEntryPod {}

impl Descriptors {
    /// Whether a descriptor stands for a connection now, as far as the kernel side knows.
    pub fn stands_for(&self, tgid: u32, fd: i32, conn: u64) -> bool {
        self.map.get(&FdKeyPod(FdKey { tgid, fd }), 0).is_ok_and(|FdEntryPod([key, _])| key == conn)
    }

    /// From now on the descriptor's calls are left alone, until it is closed.
    pub fn ignore(&mut self, tgid: u32, fd: i32) {
        if let Err(e) = self.map.insert(FdKeyPod(FdKey { tgid, fd }), FdEntryPod([0, 0]), 0) {
            log::debug!("descriptor {fd} of process {tgid} can't be struck out: {e}");
        }
    }
}

/// The maps that the kernel side filters by. They can be changed at any time.
pub struct Filters {
    head: Array<MapData, FilterConfigPod>,
    pids: HashMap<MapData, u32, u8>,
    comms: HashMap<MapData, [u8; netspan_ebpf::COMM_LEN], u8>,
    cgroups: CgroupArray<MapData>,
    cgroup_rules: Array<MapData, u8>,
    ports: HashMap<MapData, u16, u8>,
    generation: u32,
}

#[repr(transparent)]
#[derive(Clone, Copy)]
struct FilterConfigPod(FilterConfig);
// SAFETY: six 32-bit integers.
unsafe impl aya::Pod for FilterConfigPod {}

/// Rules as the kernel side takes them: the value is made of the bits of [`netspan_ebpf::rule`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KernelRules {
    /// By process id.
    pub pids: Vec<(u32, u8)>,
    /// By command name.
    pub comms: Vec<([u8; netspan_ebpf::COMM_LEN], u8)>,
    /// By cgroup: its id, and its directory in the unified hierarchy. At most [`netspan_ebpf::CGROUP_RULES_MAX`].
    pub cgroups: Vec<(u64, PathBuf, u8)>,
    /// By port.
    pub ports: Vec<(u16, u8)>,
    /// Bits of [`netspan_ebpf::dimension`] with include rules.
    pub include: u32,
    /// Bits of [`netspan_ebpf::dimension`] with exclude rules.
    pub exclude: u32,
}

impl Filters {
    fn new(ebpf: &mut Ebpf) -> Result<Self, ProbeError> {
        fn take<T: TryFrom<aya::maps::Map, Error = aya::maps::MapError>>(
            ebpf: &mut Ebpf,
            name: &'static str,
        ) -> Result<T, ProbeError> {
            let map = ebpf.take_map(name).ok_or(ProbeError::Map(name, "absent".into()))?;
            T::try_from(map).map_err(|e| ProbeError::Map(name, e.to_string()))
        }
        Ok(Self {
            head: take(ebpf, "FILTER")?,
            pids: take(ebpf, "FILTER_PIDS")?,
            comms: take(ebpf, "FILTER_COMMS")?,
            cgroups: take(ebpf, "FILTER_CGROUPS")?,
            cgroup_rules: take(ebpf, "FILTER_CGROUP_RULES")?,
            ports: take(ebpf, "FILTER_PORTS")?,
            generation: 0,
        })
    }

    /// Replaces all rules. While they are being replaced nothing is seen, so that no call is judged by half of them.
    pub fn set(&mut self, rules: &KernelRules) -> Result<(), ProbeError> {
        self.generation += 1;
        let mut head = FilterConfig {
            generation: self.generation,
            include: rules.include,
            exclude: rules.exclude,
            agent: std::process::id(),
            cgroups: 0,
            open: 0,
        };
        self.put_head(head)?;
        replace(&mut self.pids, "FILTER_PIDS", rules.pids.iter().copied())?;
        replace(&mut self.comms, "FILTER_COMMS", rules.comms.iter().copied())?;
        head.cgroups = self.put_cgroups(&rules.cgroups)?;
        replace(&mut self.ports, "FILTER_PORTS", rules.ports.iter().copied())?;
        head.open = 1;
        self.put_head(head)
    }

    /// Nothing is seen from now on.
    pub fn close(&mut self) -> Result<(), ProbeError> {
        self.generation += 1;
        self.put_head(FilterConfig { generation: self.generation, ..FilterConfig::default() })
    }

    /// Enters the rules by cgroup; gives their number.
    fn put_cgroups(&mut self, rules: &[(u64, PathBuf, u8)]) -> Result<u32, ProbeError> {
        const NAME: &str = "FILTER_CGROUPS";
        let mut index = 0;
        for (_, path, value) in rules {
            if index == CGROUP_RULES_MAX {
                return Err(ProbeError::Map(NAME, format!("more than {CGROUP_RULES_MAX} cgroup rules")));
            }
            let cgroup = File::open(path).map_err(|e| ProbeError::Map(NAME, format!("{}: {e}", path.display())))?;
            let refused = |e| ProbeError::Map(NAME, format!("{} is no cgroup of version 2: {e}", path.display()));
            self.cgroups.set(index, cgroup.as_raw_fd(), 0).map_err(refused)?;
            self.cgroup_rules.set(index, value, 0).map_err(|e| ProbeError::Map(NAME, e.to_string()))?;
            index += 1;
        }
        Ok(index)
    }

    fn put_head(&mut self, head: FilterConfig) -> Result<(), ProbeError> {
        self.head.set(0, FilterConfigPod(head), 0).map_err(|e| ProbeError::Map("FILTER", e.to_string()))
    }
}

/// Makes a map hold these entries and no others.
fn replace<K: aya::Pod>(
    map: &mut HashMap<MapData, K, u8>,
    name: &'static str,
    entries: impl Iterator<Item = (K, u8)>,
) -> Result<(), ProbeError> {
    let keys: Vec<K> = map.keys().filter_map(Result::ok).collect();
    for key in keys {
        let _ = map.remove(&key);
    }
    for (key, value) in entries {
        map.insert(key, value, 0).map_err(|e| ProbeError::Map(name, format!("{e}; too many rules")))?;
    }
    Ok(())
}

/// Tells a refusal of BPF as such from a broken object.
fn permission(error: aya::EbpfError) -> ProbeError {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(inner) = source {
        if inner.downcast_ref::<std::io::Error>().is_some_and(|e| e.kind() == std::io::ErrorKind::PermissionDenied) {
            return ProbeError::Permission(format!("{text}: {inner}"));
        }
        text = format!("{text}: {inner}");
        source = inner.source();
    }
    ProbeError::Object(Box::new(error))
}

/// One line of a verifier's or a system call's refusal.
fn reason(error: &ProgramError) -> String {
    match error {
        ProgramError::LoadError { io_error, verifier_log } => {
            let log = verifier_log.to_string();
            log::debug!("verifier: {log}");
            format!("{io_error}: {}", complaint(&log).unwrap_or("no verifier log"))
        }
        other => {
            let mut text = other.to_string();
            let mut source = std::error::Error::source(other);
            while let Some(error) = source {
                text = format!("{text}: {error}");
                source = error.source();
            }
            text
        }
    }
}

/// What a verifier's log complains of: its last line but for the statistics.
fn complaint(log: &str) -> Option<&str> {
    const STATISTICS: [&str; 3] = ["processed ", "stack depth ", "verification time "];
    log.lines().rev().find(|line| !line.is_empty() && !STATISTICS.iter().any(|begin| line.starts_with(begin)))
}

#[cfg(test)]
mod tests {
    use super::complaint;

    #[test]
    fn the_complaint_stands_before_the_statistics() {
        let log = "0: (bf) r6 = r1\nR1 invalid mem access 'inv'\nverification time 12 usec\nstack depth 0+184\n\
                   processed 7 insns (limit 1000000) max_states_per_insn 0\n\n";
        assert_eq!(complaint(log), Some("R1 invalid mem access 'inv'"));
        assert_eq!(complaint("stack depth 8\n"), None);
    }
}
