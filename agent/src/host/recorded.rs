//! Identities in a replay: what the recording carries and nothing of the host that replays it.

use std::{collections::HashMap, sync::Arc};

use netspan_ebpf::ProcessEvent;

use super::{Identities, Identity, Machine, NameRule, naming, resource};
use crate::span::Resource;

type Known = (Arc<Identity>, Arc<Resource>);

/// The identities of a recording, all loaded before the first event is replayed.
#[derive(Debug, Default)]
pub struct Recorded {
    machine: Machine,
    rules: Vec<NameRule>,
    /// Per process, by ascending `since_ns`.
    known: HashMap<u32, Vec<Known>>,
}

impl Recorded {
    /// None yet, of the host that was recorded. The rules name anew; without one that matches, the recorded name stays.
    pub fn new(machine: Machine, rules: Vec<NameRule>) -> Self {
        Self { machine, rules, known: HashMap::new() }
    }

    /// Adds an identity as a recording has it: as JSON.
    ///
    /// # Errors
    /// The text is no identity; nothing was added.
    pub fn load(&mut self, json: &[u8]) -> Result<(), serde_json::Error> {
        self.add(serde_json::from_slice(json)?);
        Ok(())
    }

    /// Adds an identity; one of the same process and moment replaces an earlier one, for it was learned later.
    pub fn add(&mut self, mut identity: Identity) {
        naming::rename(&mut identity, &self.rules);
        let resource = Arc::new(resource::of(&identity, &self.machine));
        let of_process = self.known.entry(identity.pid).or_default();
        let since = identity.since_ns;
        let known = (Arc::new(identity), resource);
        match of_process.binary_search_by_key(&since, |(identity, _)| identity.since_ns) {
            Ok(at) => of_process[at] = known,
            Err(at) => of_process.insert(at, known),
        }
    }

    /// The last that held at the time; before the first one, the first.
    fn at(&mut self, pid: u32, at_ns: u64) -> Known {
        if !self.known.contains_key(&pid) {
            self.add(Identity { pid, service: naming::UNKNOWN.to_owned(), ..Identity::default() });
        }
        let of_process = &self.known[&pid];
        let after = of_process.partition_point(|(identity, _)| identity.since_ns <= at_ns);
        of_process[after.saturating_sub(1)].clone()
    }
}

impl Identities for Recorded {
    fn on_process_event(&mut self, _: &ProcessEvent) {}

    fn identity(&mut self, pid: u32, at_ns: u64) -> Arc<Identity> {
        self.at(pid, at_ns).0
    }

    fn resource(&mut self, pid: u32, at_ns: u64) -> Arc<Resource> {
        self.at(pid, at_ns).1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(since_ns: u64, service: &str) -> Identity {
        Identity { pid: 7, since_ns, service: service.into(), ..Identity::default() }
    }

    #[test]
    fn the_identity_that_held_at_the_time_answers() {
        let mut recorded = Recorded::new(Machine::default(), Vec::new());
        recorded.add(identity(200, "curl"));
        recorded.add(identity(100, "guess"));
        recorded.add(identity(100, "sh"));
        for (at, expected) in [(50, "sh"), (100, "sh"), (199, "sh"), (200, "curl"), (900, "curl")] {
            assert_eq!(recorded.identity(7, at).service, expected, "at {at}");
            assert_eq!(recorded.resource(7, at).service, expected, "at {at}");
        }
        assert!(Arc::ptr_eq(&recorded.resource(7, 300), &recorded.resource(7, 400)));
    }

    #[test]
    fn a_process_that_was_not_recorded_is_unknown() {
        let mut recorded = Recorded::default();
        assert_eq!((recorded.identity(8, 1).pid, recorded.resource(8, 1).service.as_str()), (8, "unknown_service"));
    }

    #[test]
    fn a_rule_names_anew() {
        let rules = vec!["comm:curl=fetcher".parse().expect("a rule")];
        let mut recorded = Recorded::new(Machine::default(), rules);
        recorded.add(Identity { comm: "curl".into(), ..identity(1, "curl") });
        recorded.add(Identity { comm: "sh".into(), ..identity(2, "sh") });
        assert_eq!(
            (recorded.resource(7, 1).service.as_str(), recorded.resource(7, 2).service.as_str()),
            ("fetcher", "sh")
        );
    }
}
