//! The user's filters: include and exclude rules per dimension, and what they say of a process or a pair of ports. It
//! looks at nothing but the identity it is given.

use std::collections::{BTreeMap, BTreeSet};

use netspan_ebpf::{COMM_LEN, rule};

use super::{
    glob,
    rules::{self, Dimension, RuleError, Target},
};
use crate::host::Identity;

/// Rules of all dimensions, either all include or all exclude.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RuleSet {
    /// Process ids; their descendants count as well.
    pub pids: BTreeSet<u32>,
    /// Command names, padded with zeros as in the kernel.
    pub comms: BTreeSet<[u8; COMM_LEN]>,
    /// Executables: paths with wildcards, or file names.
    pub exes: BTreeSet<String>,
    /// Cgroup paths; cgroups below count as well.
    pub cgroups: BTreeSet<String>,
    /// Beginnings of container ids.
    pub containers: BTreeSet<String>,
    /// Ports, each with the sides it applies to ([`rule::LOCAL`], [`rule::PEER`]).
    pub ports: BTreeMap<u16, u8>,
}

impl RuleSet {
    /// Adds a rule.
    pub fn add(&mut self, dimension: Dimension, text: &str) -> Result<(), RuleError> {
        match rules::parse(dimension, text)? {
            Target::Pid(pid) => drop(self.pids.insert(pid)),
            Target::Comm(comm) => drop(self.comms.insert(comm)),
            Target::Exe(exe) => drop(self.exes.insert(exe)),
            Target::Cgroup(path) => drop(self.cgroups.insert(path)),
            Target::Container(id) => drop(self.containers.insert(id)),
            Target::Ports(first, last, sides) => {
                for port in first..=last {
                    *self.ports.entry(port).or_default() |= sides;
                }
            }
        }
        Ok(())
    }

    fn exe(&self, identity: &Identity) -> bool {
        match identity.exe.as_deref() {
            Some(exe) => self.exes.iter().any(|pattern| exe_matches(pattern, exe)),
            None => !identity.comm.is_empty() && self.exes.iter().any(|pattern| comm_fits(pattern, &identity.comm)),
        }
    }

    fn container(&self, identity: &Identity) -> bool {
        let id = identity.container.as_deref();
        id.is_some_and(|id| self.containers.iter().any(|beginning| id.starts_with(beginning.as_str())))
    }

    fn cgroup(&self, identity: &Identity) -> bool {
        identity.cgroup.as_deref().is_some_and(|path| self.cgroups.iter().any(|rule| is_at_or_below(path, rule)))
    }

    fn comm(&self, identity: &Identity) -> bool {
        self.comms.contains(&rules::comm_key(&identity.comm))
    }

    fn pid(&self, identity: &Identity) -> bool {
        self.pids.contains(&identity.pid) || identity.ancestors.iter().any(|pid| self.pids.contains(pid))
    }

    fn port(&self, local: Option<u16>, peer: Option<u16>) -> bool {
        let on = |port: Option<u16>, side: u8| {
            port.and_then(|port| self.ports.get(&port)).is_some_and(|sides| sides & side != 0)
        };
        on(local, rule::LOCAL) || on(peer, rule::PEER)
    }
}

/// A pattern with a slash is about the whole path, one without about the file name.
pub(super) fn exe_matches(pattern: &str, exe: &str) -> bool {
    if pattern.contains('/') {
        return glob::matches(pattern, exe);
    }
    glob::matches(pattern, exe.rsplit('/').next().unwrap_or(exe))
}

/// Whether a program that was gone before its executable could be read may be the one of a pattern: at `exec` the kernel
/// takes the command name from the file's name, and cuts it.
fn comm_fits(pattern: &str, comm: &str) -> bool {
    let name = pattern.rsplit('/').next().unwrap_or(pattern);
    glob::matches(name, comm) || (comm.len() == COMM_LEN - 1 && name.starts_with(comm))
}

/// Whether the cgroup `path` is `ancestor`, or lies below it.
fn is_at_or_below(path: &str, ancestor: &str) -> bool {
    let ancestor = ancestor.trim_end_matches('/');
    path.strip_prefix(ancestor).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// All filters. See the [module](super) for what they mean together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FilterRules {
    /// What to see; a dimension without rules here doesn't narrow.
    pub include: RuleSet,
    /// What not to see; wins over `include`.
    pub exclude: RuleSet,
}

impl FilterRules {
    /// Whether there is no rule at all.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether a process passes the dimensions that the kernel can't decide: executable, container, and the command name
    /// of a process whose first call comes from a thread with a name of its own. An executable that isn't known (the
    /// process was gone at once) is judged by the command name. A container that isn't known passes no include rule and is
    /// hit by no exclude rule; a command name that isn't known is left to the kernel.
    pub fn admits(&self, identity: &Identity) -> bool {
        let Self { include, exclude } = self;
        (include.exes.is_empty() || include.exe(identity))
            && (include.containers.is_empty() || include.container(identity))
            && (include.comms.is_empty() || identity.comm.is_empty() || include.comm(identity))
            && !exclude.comm(identity)
            && !exclude.exe(identity)
            && !exclude.container(identity)
    }

    /// Whether a process passes every dimension of processes. For a replay, where no kernel has filtered before; live,
    /// the kernel knows the descent of a process that has already ended, and an identity may not.
    pub fn admits_replayed(&self, identity: &Identity) -> bool {
        let Self { include, exclude } = self;
        self.admits(identity)
            && (include.pids.is_empty() || include.pid(identity))
            && (include.comms.is_empty() || include.comm(identity))
            && (include.cgroups.is_empty() || include.cgroup(identity))
            && !exclude.pid(identity)
            && !exclude.cgroup(identity)
    }

    /// Whether a connection passes the dimension of ports; the kernel can't decide it while it doesn't know the ports.
    /// A port that isn't known passes no include rule and is hit by no exclude rule.
    pub fn admits_ports(&self, local: Option<u16>, peer: Option<u16>) -> bool {
        (self.include.ports.is_empty() || self.include.port(local, peer)) && !self.exclude.port(local, peer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity() -> Identity {
        Identity {
            pid: 42,
            comm: "nginx".into(),
            exe: Some("/usr/sbin/nginx".into()),
            cgroup: Some("/system.slice/nginx.service".into()),
            container: Some("0123456789abcdef".into()),
            ancestors: vec![7, 1],
            ..Identity::default()
        }
    }

    fn rules(include: &[(Dimension, &str)], exclude: &[(Dimension, &str)]) -> FilterRules {
        let mut rules = FilterRules::default();
        for (dimension, text) in include {
            rules.include.add(*dimension, text).expect("a valid rule");
        }
        for (dimension, text) in exclude {
            rules.exclude.add(*dimension, text).expect("a valid rule");
        }
        rules
    }

    #[test]
    fn no_rule_admits_everything() {
        let rules = FilterRules::default();
        assert!(rules.is_empty());
        assert!(rules.admits(&Identity::default()) && rules.admits_replayed(&Identity::default()));
        assert!(rules.admits_ports(None, None));
    }

    #[test]
    fn each_dimension_admits_and_refuses_by_itself() {
        use Dimension::{Cgroup, Comm, Container, Exe, Pid};
        for (dimension, yes, no) in [
            (Pid, "42", "43"),
            (Pid, "7", "8"),
            (Comm, "nginx", "ngin"),
            (Exe, "/usr/sbin/nginx", "/usr/bin/nginx"),
            (Exe, "nginx", "ngin"),
            (Exe, "/usr/*/nginx", "/opt/*"),
            (Cgroup, "/system.slice", "/system"),
            (Cgroup, "/", "/user.slice"),
            (Cgroup, "/system.slice/nginx.service", "/system.slice/nginx.service/below"),
            (Container, "0123", "1234"),
        ] {
            assert!(rules(&[(dimension, yes)], &[]).admits_replayed(&identity()), "{dimension:?} {yes}");
            assert!(!rules(&[(dimension, no)], &[]).admits_replayed(&identity()), "{dimension:?} {no}");
            assert!(!rules(&[], &[(dimension, yes)]).admits_replayed(&identity()), "not {dimension:?} {yes}");
            assert!(rules(&[], &[(dimension, no)]).admits_replayed(&identity()), "not {dimension:?} {no}");
        }
    }

    #[test]
    fn alternatives_widen_dimensions_narrow_and_exclusion_wins() {
        use Dimension::{Comm, Exe, Pid};
        let admits = |include: &[_], exclude: &[_]| rules(include, exclude).admits_replayed(&identity());
        assert!(admits(&[(Comm, "curl"), (Comm, "nginx")], &[]));
        assert!(!admits(&[(Comm, "nginx"), (Exe, "curl")], &[]));
        assert!(!admits(&[(Comm, "nginx"), (Pid, "42")], &[(Exe, "nginx")]));
    }

    #[test]
    fn what_only_the_kernel_knows_is_left_to_it_while_live() {
        let rules = rules(&[(Dimension::Pid, "7"), (Dimension::Comm, "curl")], &[]);
        let gone = Identity { pid: 50, ..Identity::default() };
        assert!(rules.admits(&gone) && !rules.admits_replayed(&gone));
        let other = Identity { comm: "wget".into(), ..gone };
        assert!(!rules.admits(&other), "what is known is checked");
    }

    #[test]
    fn an_executable_that_was_never_read_is_judged_by_the_command_name() {
        for (comm, pattern, expected) in [
            ("curl", "/usr/bin/curl", true),
            ("curl", "curl", true),
            ("curl", "/usr/bin/c*", true),
            ("curl", "/usr/bin/curlier", false),
            ("a-name-longer-t", "/bin/a-name-longer-than-kept", true),
            ("", "/usr/bin/*", false),
        ] {
            let gone = Identity { pid: 50, comm: comm.into(), ..Identity::default() };
            assert_eq!(rules(&[(Dimension::Exe, pattern)], &[]).admits(&gone), expected, "{comm} {pattern}");
            assert_eq!(rules(&[], &[(Dimension::Exe, pattern)]).admits(&gone), !expected, "not {comm} {pattern}");
        }
    }

    #[test]
    fn ports_match_on_the_side_they_name() {
        use Dimension::{LocalPort, Port, RemotePort};
        for (rule, local, peer, expected) in [
            ((Port, "80"), 80, 5, true),
            ((Port, "80"), 5, 80, true),
            ((Port, "80"), 5, 6, false),
            ((LocalPort, "80"), 80, 5, true),
            ((LocalPort, "80"), 5, 80, false),
            ((RemotePort, "80"), 5, 80, true),
            ((RemotePort, "80"), 80, 5, false),
            ((Port, "79-81"), 5, 80, true),
        ] {
            assert_eq!(rules(&[rule], &[]).admits_ports(Some(local), Some(peer)), expected, "{rule:?}");
            assert_eq!(rules(&[], &[rule]).admits_ports(Some(local), Some(peer)), !expected, "not {rule:?}");
        }
        assert!(!rules(&[(Port, "80")], &[]).admits_ports(None, None));
        assert!(rules(&[], &[(Port, "80")]).admits_ports(None, None));
    }
}
