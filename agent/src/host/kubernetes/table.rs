//! The pods of this node, by UID and by the ids of their containers. Bounded: what finds no place is counted.

use rustc_hash::FxHashMap;

use super::{Workload, pod::Pod};

/// Pods that are held at most; the kubelet's own bound is 110 unless somebody raised it.
pub const PODS_MAX: usize = 2048;

/// The pods.
#[derive(Debug, Default)]
pub(super) struct Table {
    pods: FxHashMap<String, Pod>,
    /// UID of the pod, and which of its containers.
    containers: FxHashMap<String, (String, usize)>,
    /// Pods that found no place.
    pub(super) cut: u64,
}

impl Table {
    /// Takes a pod as it is now. Returns whether that changed anything.
    pub(super) fn put(&mut self, pod: Pod) -> bool {
        if pod.is_over {
            return self.remove(&pod.uid);
        }
        match self.pods.get(&pod.uid) {
            Some(known) if *known == pod => return false,
            Some(_) => drop(self.remove(&pod.uid)),
            None if self.pods.len() >= PODS_MAX => {
                self.cut += 1;
                return false;
            }
            None => {}
        }
        for (index, container) in pod.containers.iter().enumerate() {
            self.containers.insert(container.id.clone(), (pod.uid.clone(), index));
        }
        self.pods.insert(pod.uid.clone(), pod);
        true
    }

    /// Forgets a pod. Returns whether it was there.
    pub(super) fn remove(&mut self, uid: &str) -> bool {
        let Some(pod) = self.pods.remove(uid) else { return false };
        for container in pod.containers {
            // Another pod may have it by now.
            if self.containers.get(&container.id).is_some_and(|(of, _)| of == uid) {
                self.containers.remove(&container.id);
            }
        }
        true
    }

    /// What is known of a container, else of a pod.
    pub(super) fn find(&self, container: Option<&str>, pod: Option<&str>) -> Option<Workload> {
        if let Some((uid, index)) = container.and_then(|id| self.containers.get(id)) {
            let pod = self.pods.get(uid)?;
            return Some(pod.workload(pod.containers.get(*index)));
        }
        Some(self.pods.get(pod?)?.workload(None))
    }

    /// Pods and containers that are held.
    pub(super) fn len(&self) -> (usize, usize) {
        (self.pods.len(), self.containers.len())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::host::kubernetes::pod::{Cut, Wanted};

    fn pod(uid: &str, name: &str, phase: &str, containers: &[&str]) -> Pod {
        let statuses =
            containers.iter().map(|id| json!({ "name": format!("c-{id}"), "containerID": format!("x://{id}") }));
        let json = json!({
            "metadata": { "uid": uid, "name": name, "namespace": "n" },
            "status": { "phase": phase, "containerStatuses": statuses.collect::<Vec<_>>() },
        });
        let told = serde_json::from_value(json).expect("a pod");
        Pod::of(told, &Wanted::default(), &mut Cut::default()).expect("a pod")
    }

    fn name(table: &Table, container: Option<&str>, uid: Option<&str>) -> Option<String> {
        table.find(container, uid).map(|workload| workload.service)
    }

    #[test]
    fn a_pod_is_found_by_its_containers_and_by_itself() {
        let mut table = Table::default();
        assert!(table.put(pod("u1", "a", "Running", &["c1", "c2"])) && table.put(pod("u2", "b", "Running", &[])));
        assert!(!table.put(pod("u1", "a", "Running", &["c1", "c2"])), "nothing is new");
        assert_eq!(table.len(), (2, 2));
        assert_eq!(name(&table, Some("c2"), Some("u2")).as_deref(), Some("a"), "the container tells for sure");
        assert_eq!(name(&table, Some("c9"), Some("u2")).as_deref(), Some("b"), "a container that is not told yet");
        assert_eq!((name(&table, Some("c9"), None), name(&table, None, Some("u9"))), (None, None));
    }

    #[test]
    fn a_container_that_began_anew_replaces_the_one_before() {
        let mut table = Table::default();
        table.put(pod("u1", "a", "Running", &["c1"]));
        assert!(table.put(pod("u1", "a", "Running", &["c2"])));
        assert_eq!((name(&table, Some("c1"), None), name(&table, Some("c2"), None)), (None, Some("a".into())));
        assert_eq!(table.len(), (1, 1));
    }

    #[test]
    fn a_pod_of_the_same_name_is_another_one() {
        let mut table = Table::default();
        table.put(pod("u1", "db-0", "Running", &["c1"]));
        table.put(pod("u2", "db-0", "Running", &["c2"]));
        assert!(table.remove("u1") && !table.remove("u1"));
        assert_eq!((name(&table, Some("c1"), None), name(&table, Some("c2"), None)), (None, Some("db-0".into())));
    }

    #[test]
    fn a_pod_that_is_over_gives_up_its_place() {
        let mut table = Table::default();
        table.put(pod("u1", "a", "Running", &["c1"]));
        assert!(table.put(pod("u1", "a", "Succeeded", &["c1"])));
        assert!(!table.put(pod("u3", "b", "Failed", &["c3"])));
        assert_eq!(table.len(), (0, 0));
    }

    #[test]
    fn what_is_too_much_is_counted_and_the_rest_stays() {
        let mut table = Table::default();
        for n in 0..PODS_MAX + 5 {
            table.put(pod(&format!("u{n}"), "a", "Running", &[]));
        }
        assert_eq!((table.len().0, table.cut), (PODS_MAX, 5));
        assert!(table.put(pod("u1", "b", "Running", &[])), "one that is there may change");
        assert!(table.remove("u2") && table.put(pod("new", "c", "Running", &[])));
    }
}
