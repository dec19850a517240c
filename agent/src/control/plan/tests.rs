//! Rules against small hosts of files.

use super::*;
use crate::{
    control::Dimension,
    host::fake::{Fake, Process},
};

const IN: u8 = rule::INCLUDE;
const EX: u8 = rule::EXCLUDE;
const BOTH: u8 = rule::LOCAL | rule::PEER;

fn host() -> Fake {
    let fake = Fake::new();
    for (pid, parent, comm) in [(1, 0, "init"), (10, 1, "nginx"), (11, 10, "nginx"), (12, 11, "cgi"), (20, 1, "curl")] {
        fake.start(&Process { pid, parent, comm, exe: Some("/usr/sbin/nginx"), ..Process::default() });
    }
    fake
}

fn plan(fake: &Fake, include: &[(Dimension, &str)], exclude: &[(Dimension, &str)]) -> FilterPlan {
    let mut rules = FilterRules::default();
    for (dimension, text) in include {
        rules.include.add(*dimension, text).expect("a rule");
    }
    for (dimension, text) in exclude {
        rules.exclude.add(*dimension, text).expect("a rule");
    }
    FilterPlan::resolve(&rules, &fake.root())
}

fn ids(plan: &FilterPlan) -> Vec<(u64, u8)> {
    plan.kernel.cgroups.iter().map(|(id, _, side)| (*id, *side)).collect()
}

#[test]
fn no_rules_leave_everything_open() {
    assert_eq!(plan(&host(), &[], &[]), FilterPlan::default());
}

#[test]
fn a_process_comes_with_its_descendants_and_exclusion_wins() {
    let plan = plan(&host(), &[(Dimension::Pid, "10")], &[(Dimension::Pid, "12")]);
    assert_eq!(plan.kernel.pids, [(10, IN), (11, IN), (12, EX)]);
    assert_eq!((plan.kernel.include, plan.kernel.exclude), (dimension::PID, dimension::PID));
    assert!(plan.warnings.is_empty() && !plan.may_change);
}

#[test]
fn what_matches_nothing_is_told_in_one_line_each_and_sees_nothing() {
    let plan = plan(
        &host(),
        &[
            (Dimension::Pid, "99"),
            (Dimension::Comm, "wget"),
            (Dimension::Comm, "curl"),
            (Dimension::Exe, "/opt/none"),
            (Dimension::Exe, "nginx"),
            (Dimension::Cgroup, "/none"),
            (Dimension::Container, "abcd"),
        ],
        &[],
    );
    assert_eq!(
        plan.warnings,
        [
            "pid 99: no such process runs; give the id of one that does",
            "cgroup /none: there is no such cgroup; nothing is seen for it until there is",
            "container abcd: no running container has such an id; nothing is seen until one does",
            "comm wget: no running process is called so; waiting for one",
            "exe /opt/none: no running process has such an executable; waiting for one",
        ]
    );
    assert_eq!(plan.kernel.include, dimension::PID | dimension::COMM | dimension::CGROUP);
    assert!(plan.kernel.cgroups.is_empty() && plan.may_change);
}

#[test]
fn a_cgroup_is_planned_by_id_and_directory_and_anew_when_it_comes_back() {
    let fake = host();
    let id = fake.cgroup("/shop/web");
    let rules = [(Dimension::Cgroup, "/shop/web")];
    let first = plan(&fake, &rules, &[]);
    assert_eq!(ids(&first), [(id, IN)]);
    assert!(first.kernel.cgroups[0].1.ends_with("shop/web"));
    assert!(first.may_change);
    fake.remove_cgroup("/shop/web");
    assert!(plan(&fake, &rules, &[]).kernel.cgroups.is_empty());
    fake.cgroup("/shop/other");
    let id = fake.cgroup("/shop/web");
    assert_eq!(ids(&plan(&fake, &rules, &[])), [(id, IN)]);
    assert_eq!(ids(&plan(&fake, &[], &rules)), [(id, EX)]);
}

#[test]
fn more_cgroups_than_the_kernel_has_room_for_are_refused_in_words() {
    let fake = host();
    let paths: Vec<String> = (0..=CGROUP_RULES_MAX).map(|n| format!("/c{n}")).collect();
    for path in &paths {
        fake.cgroup(path);
    }
    let rules: Vec<_> = paths.iter().map(|path| (Dimension::Cgroup, path.as_str())).collect();
    let plan = plan(&fake, &rules, &[]);
    assert_eq!(plan.kernel.cgroups.len() as u32, CGROUP_RULES_MAX);
    assert!(plan.warnings[0].contains("has room for"), "{:?}", plan.warnings);
}

#[test]
fn a_container_becomes_a_rule_of_its_cgroup() {
    let fake = host();
    let id = fake.cgroup(&format!("/docker/{}", "ab".repeat(32)));
    fake.cgroup("/shop");
    let by_container = (Dimension::Container, "abab");
    assert_eq!(ids(&plan(&fake, &[by_container], &[])), [(id, IN)]);
    assert_eq!(ids(&plan(&fake, &[], &[by_container])), [(id, EX)]);
    let narrowed = plan(&fake, &[by_container, (Dimension::Cgroup, "/shop")], &[]);
    assert_eq!(narrowed.kernel.cgroups.len(), 1, "the kernel gets the cgroup, the agent checks the container");
    assert_ne!(narrowed.kernel.cgroups[0].0, id);
}

#[test]
fn a_container_with_old_cgroups_only_is_left_to_the_agent() {
    let fake = host();
    let cgroup = format!("4:memory:/docker/{}\n0::/\n", "ab".repeat(32));
    fake.start(&Process { pid: 30, cgroup: &cgroup, ..Process::default() });
    let plan = plan(&fake, &[(Dimension::Container, "abab")], &[]);
    assert_eq!((plan.kernel.include, plan.warnings.len()), (0, 0));
}

#[test]
fn names_and_ports_become_entries_with_their_sides() {
    use Dimension::{Comm, LocalPort, Port, RemotePort};
    let plan = plan(
        &host(),
        &[(Comm, "nginx"), (Comm, "curl"), (Port, "80"), (Port, "81"), (LocalPort, "82"), (RemotePort, "82")],
        &[(Comm, "curl"), (RemotePort, "80"), (Port, "81"), (LocalPort, "90")],
    );
    assert_eq!(plan.kernel.comms, [(comm_key("curl"), EX), (comm_key("nginx"), IN)]);
    let ports = [
        (80, IN | BOTH), // Excluded on one side only: the agent decides.
        (81, EX | BOTH),
        (82, IN | BOTH),
        (90, EX | rule::LOCAL),
    ];
    assert_eq!(plan.kernel.ports, ports);
    let both = dimension::COMM | dimension::PORT;
    assert_eq!((plan.kernel.include, plan.kernel.exclude), (both, both));
}

#[test]
fn a_host_without_the_unified_hierarchy_says_what_to_use_instead() {
    let fake = host();
    fake.write("proc/mounts", "proc /proc proc rw 0 0\n");
    let plan = plan(&fake, &[(Dimension::Cgroup, "/shop")], &[]);
    assert_eq!(
        plan.warnings,
        ["cgroup /shop: this host has no unified cgroup hierarchy mounted; use --pid or --comm instead"]
    );
}
