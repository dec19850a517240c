//! Who processes are, live: a bounded cache over procfs that the kernel's process events keep true. It reads no clock:
//! time is what the events say.
//!
//! A process has one *version* per program that it ran: an `exec` begins another one, an exit ends the last. A question
//! names a time and is answered by the version that held then, so spans that are finished late still get their own
//! process. A process id used anew is told by its start time.

mod published;

use std::{collections::VecDeque, sync::Arc};

use netspan_ebpf::{ProcessEvent, ThreadSlot, kind};
use rustc_hash::FxHashMap;

use super::{
    CgroupTree, ContextCounts, Hierarchies, Identities, Identity, Machine, NameRule, Place, Pods, ProcRoot,
    context::Reader,
    identity::ANCESTORS_MAX,
    naming,
    read::{self, Facts},
    resource, title,
};
use crate::span::Resource;

/// Versions of processes that are remembered at most; the least recently used goes first.
pub const PROCESSES_MAX: usize = 4096;
/// How long a process that ended is preferred for forgetting over one that runs, in nanoseconds: until then spans of it
/// may still come.
pub const GRACE_NS: u64 = 30_000_000_000;
/// Versions of one process that are remembered at most.
const VERSIONS_MAX: usize = 4;
/// How often it is checked that a process id still means the same process, in nanoseconds. Needed only where its exit
/// event was lost.
const CHECK_EVERY_NS: u64 = 1_000_000_000;
/// Processes that are read from procfs right at their `exec` at most, per second. Beyond it they are read when they are
/// asked for, so that a host that does nothing but start programs isn't slowed by the agent.
const EAGER_PER_SECOND: u32 = 250;
/// How long after its exit a process still answers to its id, in nanoseconds: its connections are closed after the kernel
/// tells of the exit (`do_exit`), and no id is used anew so soon.
const EXIT_SLACK_NS: u64 = 1_000_000_000;
/// Nanoseconds of a clock tick (`USER_HZ` is 100 on every architecture that BPF runs on).
const TICK_NS: u64 = 10_000_000;

/// What happened in the cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Processes read from procfs.
    pub read: u64,
    /// Processes already gone that were known from their `exec` event alone.
    pub from_event: u64,
    /// Processes of which nothing could be learned.
    pub unknown: u64,
    /// Versions forgotten because [`PROCESSES_MAX`] was reached.
    pub evicted: u64,
    /// Process ids found to mean another process than before.
    pub reused: u64,
    /// Processes found to run another executable than before, though no event said so.
    pub missed_execs: u64,
    /// Declared attributes left out because of their number or length.
    pub declared_cut: u64,
    /// Cgroups left out because of their number.
    pub cgroups_cut: u64,
    /// Processes that got their pod's names.
    pub in_pods: u64,
    /// What became of looks at process contexts.
    pub contexts: ContextCounts,
    /// How often it was found out where threads publish what they are at.
    pub thread_contexts: u64,
}

#[derive(Clone, Debug)]
struct Version {
    identity: Arc<Identity>,
    resource: Arc<Resource>,
    /// When the process ended, or was found to be another one.
    ended_ns: Option<u64>,
    /// When it was last compared with procfs.
    checked_ns: u64,
    /// Whether procfs was read; else a later question tries again.
    is_read: bool,
    used: u64,
    /// Which [`Pods::generation`] was searched for its pod.
    pods_seen: Option<u64>,
    /// Address and time of the process context that was read.
    context: Option<(u64, u64)>,
    /// Looks in vain at its memory.
    looks: usize,
    /// When the next look may follow.
    look_ns: u64,
}

/// Who processes are, live.
#[derive(Debug)]
pub struct Processes {
    root: ProcRoot,
    machine: Machine,
    rules: Vec<NameRule>,
    cgroups: CgroupTree,
    /// What Kubernetes calls its containers, if it is asked.
    pods: Option<Pods>,
    /// Who reads process contexts, if they are read.
    contexts: Option<Reader>,
    /// Per process, oldest version first.
    versions: FxHashMap<u32, VecDeque<Version>>,
    held: usize,
    max: usize,
    uses: u64,
    latest_ns: u64,
    eager_second: u64,
    eager_left: u32,
    journal: Option<Vec<Arc<Identity>>>,
    /// Where threads of processes publish what they are at, as was found since the last question.
    slots: Vec<(u32, ThreadSlot)>,
    /// How many parents are being asked for now.
    depth: usize,
    counts: Counts,
}

impl Processes {
    /// An empty cache over `root`, with the configuration's naming rules.
    pub fn new(root: ProcRoot, rules: Vec<NameRule>) -> Self {
        Self {
            machine: Machine::read(&root),
            cgroups: CgroupTree::find(&root),
            root,
            rules,
            pods: None,
            contexts: None,
            versions: FxHashMap::default(),
            held: 0,
            max: PROCESSES_MAX,
            uses: 0,
            latest_ns: 0,
            eager_second: 0,
            eager_left: 0,
            journal: None,
            slots: Vec::new(),
            depth: 0,
            counts: Counts::default(),
        }
    }

    /// From now on tells what Kubernetes calls what a process runs in.
    pub fn ask_pods(&mut self, pods: Option<Pods>) {
        self.pods = pods;
    }

    /// From now on keeps each new identity for [`Self::take_new`]. A recorder calls it first.
    pub fn keep_new(&mut self) {
        self.journal.get_or_insert_default();
    }

    /// The identities learned since the last call, in order, for a recording. An identity with the process and moment of
    /// an earlier one replaces it.
    pub fn take_new(&mut self) -> Vec<Arc<Identity>> {
        self.journal.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// A process as it is at `at_ns`, whatever was known of it before.
    pub fn look_anew(&mut self, pid: u32, at_ns: u64) -> Arc<Identity> {
        self.versions.clear();
        self.held = 0;
        self.identity(pid, at_ns)
    }

    /// The host.
    pub fn machine(&self) -> &Machine {
        &self.machine
    }

    /// What happened so far.
    pub fn counts(&self) -> Counts {
        Counts { cgroups_cut: self.cgroups.cut(), ..self.counts }
    }

    /// Versions remembered now; at most [`PROCESSES_MAX`].
    pub fn len(&self) -> usize {
        self.held
    }

    /// Whether nothing is remembered.
    pub fn is_empty(&self) -> bool {
        self.held == 0
    }

    /// The version of `pid` that held at `at_ns`, made if need be.
    fn version(&mut self, pid: u32, at_ns: u64) -> &Version {
        self.latest_ns = self.latest_ns.max(at_ns);
        self.take_contexts();
        let index = match self.find(pid, at_ns) {
            Some(index) if self.is_due(pid, index, at_ns) => self.check(pid, index, at_ns),
            Some(index) => index,
            None => self.learn(pid, at_ns, None),
        };
        self.look_up_pod(pid, index);
        self.look_for_context(pid, index, at_ns);
        self.uses += 1;
        let version = &mut self.versions.get_mut(&pid).expect("just found or made")[index];
        version.used = self.uses;
        version
    }

    /// Completes a version by its pod's names. The pod may be known later than the process: it is looked up again whenever there is
    /// something new. While the pods are being written, the next question looks.
    fn look_up_pod(&mut self, pid: u32, index: usize) {
        let Some(pods) = &self.pods else { return };
        let version = &mut self.versions.get_mut(&pid).expect("just found or made")[index];
        let Identity { container, pod, .. } = &*version.identity;
        let generation = pods.generation();
        if (container.is_none() && pod.is_none()) || version.pods_seen == Some(generation) {
            return;
        }
        let Ok(found) = pods.find(container.as_deref(), pod.as_deref()) else { return };
        version.pods_seen = Some(generation);
        if found.is_none() || found == version.identity.kubernetes {
            return;
        }
        self.counts.in_pods += u64::from(version.identity.kubernetes.is_none());
        let mut identity = Identity { kubernetes: found, ..Identity::clone(&version.identity) };
        naming::of_pod(&mut identity);
        version.resource = Arc::new(resource::of(&identity, &self.machine));
        version.identity = Arc::new(identity);
        if let Some(journal) = &mut self.journal {
            journal.push(Arc::clone(&version.identity));
        }
    }

    /// The last version that had begun; for a time before the first one, the first.
    fn find(&self, pid: u32, at_ns: u64) -> Option<usize> {
        let begun = self.versions.get(&pid)?.partition_point(|version| version.identity.since_ns <= at_ns);
        Some(begun.saturating_sub(1))
    }

    /// Whether it is time to compare a version with procfs. One that was followed by another never is.
    fn is_due(&self, pid: u32, index: usize, at_ns: u64) -> bool {
        let of_process = &self.versions[&pid];
        let Version { ended_ns, checked_ns, .. } = of_process[index];
        let is_last = index + 1 == of_process.len();
        is_last && at_ns >= ended_ns.map_or(checked_ns + CHECK_EVERY_NS, |ended| ended + EXIT_SLACK_NS)
    }

    /// Compares the last version with procfs, and learns anew what has changed or was never read.
    fn check(&mut self, pid: u32, index: usize, at_ns: u64) -> usize {
        let version = &mut self.versions.get_mut(&pid).expect("found before")[index];
        version.checked_ns = at_ns;
        let (since_ns, is_read, start_ticks) =
            (version.identity.since_ns, version.is_read, version.identity.start_ticks);
        let has_ended = version.ended_ns.is_some();
        let known_exe = version.identity.exe.clone();
        let process = self.root.process(pid).ok();
        let now = process.as_ref().and_then(|process| process.stat().ok());
        let exe = process.and_then(|process| process.exe());
        let is_same = |start: u64| if start_ticks == 0 { ticks_ns(start) <= since_ns } else { start == start_ticks };
        match now.map(|stat| stat.start_ticks) {
            Some(start) if !is_same(start) => {
                version.ended_ns.get_or_insert(at_ns.min(ticks_ns(start)));
                self.counts.reused += 1;
                self.learn(pid, at_ns, None)
            }
            Some(_) if !is_read => self.complete(pid, index, since_ns),
            Some(_) if exe.is_some() && known_exe.is_some() && exe != known_exe => {
                self.counts.missed_execs += 1;
                self.learn_since(pid, at_ns, Some(at_ns), None)
            }
            None if has_ended => self.learn(pid, at_ns, None),
            _ => index,
        }
    }

    /// Reads a version that was known from its event alone. A process that is ending has no executable any more, and its
    /// event knows more than procfs.
    fn complete(&mut self, pid: u32, index: usize, since_ns: u64) -> usize {
        let Ok(facts) = Facts::read(&self.root, pid) else { return index };
        if facts.exe.is_none() {
            return index;
        }
        let identity = self.identity_of(pid, since_ns, Some(&facts), None);
        let resource = Arc::new(resource::of(&identity, &self.machine));
        // Asking for the parent may have moved or evicted it.
        let place =
            self.versions.get_mut(&pid).and_then(|all| all.iter().position(|one| one.identity.since_ns == since_ns));
        let Some(index) = place else { return self.insert(identity, true, since_ns) };
        let version = &mut self.versions.get_mut(&pid).expect("just found")[index];
        (version.identity, version.resource, version.is_read) = (Arc::new(identity), resource, true);
        version.pods_seen = None;
        if let Some(journal) = &mut self.journal {
            journal.push(Arc::clone(&version.identity));
        }
        index
    }

    /// Makes a version for the time `at_ns`, of procfs, else of the `exec` event, else of nothing.
    fn learn(&mut self, pid: u32, at_ns: u64, event: Option<&ProcessEvent>) -> usize {
        self.learn_since(pid, at_ns, event.map(|event| event.head.time_ns), event)
    }

    /// As [`Self::learn`]; the version begins at `since_ns`, else with the process.
    fn learn_since(&mut self, pid: u32, at_ns: u64, since_ns: Option<u64>, event: Option<&ProcessEvent>) -> usize {
        let may_read = event.is_none() || self.may_read_eagerly(at_ns);
        let facts = may_read.then(|| Facts::read(&self.root, pid).ok()).flatten().filter(|facts| {
            // A process that began after the time in question only has the same id; one without executable is ending.
            ticks_ns(facts.stat.start_ticks) <= at_ns && (event.is_none() || facts.exe.is_some())
        });
        let began_ns = || facts.as_ref().map_or(at_ns, |facts| ticks_ns(facts.stat.start_ticks));
        let since_ns = since_ns.unwrap_or_else(began_ns);
        let identity = self.identity_of(pid, since_ns, facts.as_ref(), event);
        if facts.is_none() && may_read {
            *(if event.is_some() { &mut self.counts.from_event } else { &mut self.counts.unknown }) += 1;
        }
        self.insert(identity, facts.is_some(), if may_read { at_ns } else { 0 })
    }

    /// Puts an identity together of what procfs says, else of what the event says.
    fn identity_of(
        &mut self,
        pid: u32,
        since_ns: u64,
        facts: Option<&Facts>,
        event: Option<&ProcessEvent>,
    ) -> Identity {
        let mut identity = Identity { pid, since_ns, ..Identity::default() };
        let mut place = Place::default();
        if let Some(facts) = facts {
            self.counts.read += 1;
            self.counts.declared_cut += facts.declared.cut;
            identity.start_ticks = facts.stat.start_ticks;
            identity.comm.clone_from(&facts.stat.comm);
            identity.exe.clone_from(&facts.exe);
            identity.command = title::command(&facts.argv, facts.exe.as_deref());
            identity.cgroup.clone_from(&facts.cgroup);
            identity.ancestors = read::ancestors(&self.root, facts.stat.parent);
            identity.declared.clone_from(&facts.declared.attributes);
            place = facts.place.clone();
        } else if let Some(event) = event {
            let path = read::text(&event.path);
            identity.comm = read::text(&event.comm);
            identity.exe = path.starts_with('/').then(|| path.clone());
            identity.command = (!path.is_empty()).then_some(path);
            identity.cgroup = self.cgroups.path(event.cgroup, since_ns);
            place = read::place(&Hierarchies { unified: identity.cgroup.clone(), legacy: Vec::new() });
        }
        identity.container.clone_from(&place.container);
        identity.pod.clone_from(&place.pod);
        identity.unit.clone_from(&place.unit);
        let parent = self.parent_of(&identity, facts);
        naming::name(&mut identity, facts, &self.rules, &place, parent.as_deref());
        identity
    }

    /// The parent's identity, asked for only where the name may depend on it: the parent runs the same executable.
    fn parent_of(&mut self, identity: &Identity, facts: Option<&Facts>) -> Option<Arc<Identity>> {
        let parent = facts?.stat.parent;
        let exe = self.root.process(parent).ok()?.exe();
        if exe.is_none() || exe != identity.exe || self.depth >= ANCESTORS_MAX {
            return None;
        }
        self.depth += 1;
        let parent = Arc::clone(&self.version(parent, self.latest_ns).identity);
        self.depth -= 1;
        Some(parent)
    }

    fn may_read_eagerly(&mut self, at_ns: u64) -> bool {
        let second = at_ns / 1_000_000_000;
        if second != self.eager_second {
            (self.eager_second, self.eager_left) = (second, EAGER_PER_SECOND);
        }
        let may = self.eager_left > 0;
        self.eager_left -= u32::from(may);
        may
    }

    fn insert(&mut self, identity: Identity, is_read: bool, checked_ns: u64) -> usize {
        if self.held >= self.max {
            self.evict();
        }
        let (pid, since_ns) = (identity.pid, identity.since_ns);
        let of_process = self.versions.entry(pid).or_default();
        if of_process.len() == VERSIONS_MAX {
            of_process.pop_front();
            self.held -= 1;
            self.counts.evicted += 1;
        }
        let index = of_process.partition_point(|version| version.identity.since_ns <= since_ns);
        let version = Version {
            resource: Arc::new(resource::of(&identity, &self.machine)),
            identity: Arc::new(identity),
            ended_ns: None,
            checked_ns,
            is_read,
            used: self.uses,
            pods_seen: None,
            context: None,
            looks: 0,
            look_ns: 0,
        };
        if let Some(journal) = &mut self.journal {
            journal.push(Arc::clone(&version.identity));
        }
        of_process.insert(index, version);
        self.held += 1;
        index
    }

    /// Forgets an eighth: first those that ended long ago, then the least recently used.
    fn evict(&mut self) {
        let latest = self.latest_ns;
        let is_over = |version: &Version| version.ended_ns.is_some_and(|ended| latest.saturating_sub(ended) > GRACE_NS);
        let mut order: Vec<_> =
            self.versions.values().flatten().map(|version| (!is_over(version), version.used)).collect();
        let last = (self.max / 8).min(order.len() - 1);
        let bound = *order.select_nth_unstable(last).1;
        let held = self.held;
        self.versions.retain(|_, of_process| {
            of_process.retain(|version| (!is_over(version), version.used) > bound);
            !of_process.is_empty()
        });
        self.held = self.versions.values().map(VecDeque::len).sum();
        self.counts.evicted += (held - self.held) as u64;
    }
}

impl Identities for Processes {
    fn on_process_event(&mut self, event: &ProcessEvent) {
        let (pid, at_ns) = (event.head.tgid, event.head.time_ns);
        self.latest_ns = self.latest_ns.max(at_ns);
        match event.head.kind {
            kind::EXEC => drop(self.learn(pid, at_ns, Some(event))),
            kind::EXIT => {
                for version in self.versions.get_mut(&pid).into_iter().flatten() {
                    if version.identity.since_ns <= at_ns {
                        version.ended_ns.get_or_insert(at_ns);
                    }
                }
            }
            _ => {}
        }
    }

    fn identity(&mut self, pid: u32, at_ns: u64) -> Arc<Identity> {
        Arc::clone(&self.version(pid, at_ns).identity)
    }

    fn resource(&mut self, pid: u32, at_ns: u64) -> Arc<Resource> {
        Arc::clone(&self.version(pid, at_ns).resource)
    }

    fn counted(&self) -> Vec<(&'static str, u64)> {
        #[rustfmt::skip]
        let Counts {
            read, from_event, unknown, evicted, reused, missed_execs, declared_cut, cgroups_cut, in_pods, contexts, thread_contexts,
        } = self.counts();
        let mut counted = vec![
            ("read", read),
            ("from_event", from_event),
            ("unknown", unknown),
            ("evicted", evicted),
            ("reused", reused),
            ("missed_execs", missed_execs),
            ("declared_cut", declared_cut),
            ("cgroups_cut", cgroups_cut),
            ("in_pods", in_pods),
        ];
        counted.extend(contexts.named());
        counted.push(("thread_contexts", thread_contexts));
        counted
    }
}

const fn ticks_ns(ticks: u64) -> u64 {
    ticks.saturating_mul(TICK_NS)
}

#[cfg(test)]
mod tests;
