//! From the user's rules to what the kernel's filter maps get. It reads the process table and the cgroup tree of the
//! moment, so it is made anew when they may have changed; it writes no map.

use std::{
    cell::LazyCell,
    collections::{BTreeMap, BTreeSet, HashMap},
    path::PathBuf,
};

use netspan_ebpf::{CGROUP_RULES_MAX, COMM_LEN, dimension, rule};

use super::{FilterRules, RuleSet, rules::comm_key, set::exe_matches};
use crate::{
    host::{CgroupTree, CgroupWhere, ProcRoot},
    probe::KernelRules,
};

/// What the kernel's filter maps get. Equal plans need no update.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FilterPlan {
    /// The rules as the kernel side takes them, sorted: process ids with their descendants of the moment, command names,
    /// cgroups, ports.
    pub kernel: KernelRules,
    /// One line for each rule that matches nothing at present.
    pub warnings: Vec<String>,
    /// Whether another plan may come of the same rules: cgroups come and go under the same path or for the same
    /// container. Whoever runs the agent makes the plan anew about once a second while this is set.
    pub may_change: bool,
}

impl FilterPlan {
    /// Resolves rules against the processes and cgroups of the moment.
    pub fn resolve(rules: &FilterRules, root: &ProcRoot) -> Self {
        let mut resolver = Resolver {
            root,
            plan: Self::default(),
            pids: BTreeMap::new(),
            cgroup_rules: BTreeMap::new(),
            ports: BTreeMap::new(),
            processes: LazyCell::new(Box::new(|| running(root))),
            cgroups: CgroupTree::find(root),
        };
        resolver.add(&rules.include, rule::INCLUDE);
        // After the includes: where both name a thing, the exclusion replaces it.
        resolver.add(&rules.exclude, rule::EXCLUDE);
        resolver.add_ports(rules);
        resolver.warn_of_programs(rules);
        let Resolver { mut plan, pids, cgroup_rules, ports, .. } = resolver;
        plan.kernel.pids = pids.into_iter().collect();
        plan.kernel.cgroups = cgroup_rules.into_iter().map(|((id, directory), side)| (id, directory, side)).collect();
        plan.kernel.ports = ports.into_iter().collect();
        plan.kernel.comms = merge_comms(rules);
        plan
    }
}

fn merge_comms(rules: &FilterRules) -> Vec<([u8; COMM_LEN], u8)> {
    let mut comms: BTreeMap<_, _> = rules.include.comms.iter().map(|comm| (*comm, rule::INCLUDE)).collect();
    comms.extend(rules.exclude.comms.iter().map(|comm| (*comm, rule::EXCLUDE)));
    comms.into_iter().collect()
}

/// A process of the moment.
struct Running {
    parent: u32,
    comm: String,
}

type ProcessTable = BTreeMap<u32, Running>;

fn running(root: &ProcRoot) -> ProcessTable {
    let stat = |pid: u32| {
        let stat = root.process(pid).and_then(|process| process.stat()).ok()?;
        Some((pid, Running { parent: stat.parent, comm: stat.comm }))
    };
    root.pids().into_iter().filter_map(stat).collect()
}

struct Resolver<'a> {
    root: &'a ProcRoot,
    plan: FilterPlan,
    pids: BTreeMap<u32, u8>,
    cgroup_rules: BTreeMap<(u64, PathBuf), u8>,
    ports: BTreeMap<u16, u8>,
    /// Read only when a rule needs it: a plan of cgroups is made anew each second.
    processes: LazyCell<ProcessTable, Box<dyn FnOnce() -> ProcessTable + 'a>>,
    cgroups: CgroupTree,
}

impl Resolver<'_> {
    fn add(&mut self, set: &RuleSet, side: u8) {
        for &pid in &set.pids {
            self.activate(dimension::PID, side);
            if !self.processes.contains_key(&pid) {
                self.plan.warnings.push(format!("pid {pid}: no such process runs; give the id of one that does"));
            }
        }
        for pid in self.with_descendants(&set.pids) {
            self.pids.insert(pid, side);
        }
        if !set.comms.is_empty() {
            self.activate(dimension::COMM, side);
        }
        self.add_cgroups(set, side);
    }

    fn activate(&mut self, dimension: u32, side: u8) {
        let kernel = &mut self.plan.kernel;
        *(if side == rule::INCLUDE { &mut kernel.include } else { &mut kernel.exclude }) |= dimension;
    }

    fn with_descendants(&self, pids: &BTreeSet<u32>) -> BTreeSet<u32> {
        if pids.is_empty() {
            return BTreeSet::new();
        }
        let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
        for (&pid, process) in self.processes.iter() {
            children.entry(process.parent).or_default().push(pid);
        }
        let mut found = BTreeSet::new();
        let mut open: Vec<u32> = pids.iter().copied().collect();
        while let Some(pid) = open.pop() {
            if found.insert(pid) {
                open.extend(children.get(&pid).into_iter().flatten());
            }
        }
        found
    }

    /// The kernel has one dimension for cgroups and containers. Excluding, both go there. Including, they narrow each
    /// other, which one dimension can't say: then the kernel gets the cgroups, and containers stay with
    /// [`FilterRules::admits`]. A rule that finds no cgroup yet keeps the dimension active, so that nothing is seen for it
    /// rather than everything.
    fn add_cgroups(&mut self, set: &RuleSet, side: u8) {
        for path in &set.cgroups {
            self.activate(dimension::CGROUP, side);
            self.plan.may_change = true;
            match self.cgroups.at(path) {
                Some(cgroup) => self.add_cgroup(&cgroup, side),
                None => self.warn_of_cgroup(path),
            }
        }
        let mut leave_to_agent = side == rule::INCLUDE && !set.cgroups.is_empty();
        let mut found = Vec::new();
        for beginning in &set.containers {
            self.plan.may_change = true;
            let cgroups = self.cgroups.containers(beginning);
            if cgroups.is_empty() && self.runs_elsewhere(beginning) {
                leave_to_agent = true;
            } else if cgroups.is_empty() {
                let line = format!(
                    "container {beginning}: no running container has such an id; nothing is seen until one does"
                );
                self.plan.warnings.push(line);
            }
            found.extend(cgroups);
        }
        if !set.containers.is_empty() && !leave_to_agent {
            self.activate(dimension::CGROUP, side);
        }
        if side == rule::EXCLUDE || !leave_to_agent {
            for cgroup in &found {
                self.add_cgroup(cgroup, side);
            }
        }
    }

    /// Whether a container runs whose id begins so, but which has a cgroup of its own in the hierarchies of version 1 only.
    fn runs_elsewhere(&self, beginning: &str) -> bool {
        let container = |pid: &u32| self.root.process(*pid).ok()?.container();
        self.processes.keys().filter_map(container).any(|id| id.starts_with(beginning))
    }

    fn add_cgroup(&mut self, cgroup: &CgroupWhere, side: u8) {
        let CgroupWhere { path, id, directory } = cgroup;
        let rule = (*id, directory.clone());
        if self.cgroup_rules.len() as u32 == CGROUP_RULES_MAX && !self.cgroup_rules.contains_key(&rule) {
            let line = format!("cgroup {path}: the kernel side has room for {CGROUP_RULES_MAX}; name one above them");
            self.plan.warnings.push(line);
            return;
        }
        self.cgroup_rules.insert(rule, side);
    }

    fn warn_of_cgroup(&mut self, path: &str) {
        let line = match self.cgroups.mount() {
            Some(_) => format!("cgroup {path}: there is no such cgroup; nothing is seen for it until there is"),
            None => {
                format!("cgroup {path}: this host has no unified cgroup hierarchy mounted; use --pid or --comm instead")
            }
        };
        self.plan.warnings.push(line);
    }

    /// One entry per port has to say include and exclude, with one pair of sides for both. Where the sides differ, only
    /// the include goes to the kernel, and [`FilterRules::admits_ports`] excludes.
    fn add_ports(&mut self, rules: &FilterRules) {
        for (&port, &sides) in &rules.include.ports {
            self.activate(dimension::PORT, rule::INCLUDE);
            self.ports.insert(port, rule::INCLUDE | sides);
        }
        for (&port, &sides) in &rules.exclude.ports {
            let included = rules.include.ports.get(&port).copied().unwrap_or(0);
            if included & !sides != 0 {
                continue;
            }
            self.activate(dimension::PORT, rule::EXCLUDE);
            self.ports.insert(port, rule::EXCLUDE | sides);
        }
    }

    fn warn_of_programs(&mut self, rules: &FilterRules) {
        for comm in &rules.include.comms {
            if !self.processes.values().any(|process| comm_key(&process.comm) == *comm) {
                let name = String::from_utf8_lossy(comm);
                let name = name.trim_end_matches('\0');
                self.plan.warnings.push(format!("comm {name}: no running process is called so; waiting for one"));
            }
        }
        if rules.include.exes.is_empty() {
            return;
        }
        let exes: Vec<String> = self.processes.keys().filter_map(|&pid| self.root.process(pid).ok()?.exe()).collect();
        for pattern in &rules.include.exes {
            if !exes.iter().any(|exe| exe_matches(pattern, exe)) {
                self.plan
                    .warnings
                    .push(format!("exe {pattern}: no running process has such an executable; waiting for one"));
            }
        }
    }
}

#[cfg(test)]
mod tests;
