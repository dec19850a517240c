//! Who made a pod: the workloads that its controller and its labels tell of, and nothing that they do not.
//!
//! The API server tells of a pod its direct controller alone. A Deployment is told by the name of its `ReplicaSet`, which ends in the
//! pod's label `pod-template-hash`; a `CronJob` by the name of its Job, which ends in the minute that it was due at. A Job whose name
//! ends in other digits, such as a number or a date, has none. Controllers of the same kind in other API groups are not these.

use super::pod::Reference;

/// The first minute (since the Unix epoch) that a Job's name can be of: 2015, before `CronJob`s. Dates written as eight digits are
/// below it.
const MINUTE_MIN: u64 = 23_667_840;
/// As late at most, in the same: the year 2150.
const MINUTE_MAX: u64 = 94_672_000;

/// The workloads of a pod, as attributes: the outermost one first. `hash` is the label `pod-template-hash`.
pub(super) fn workloads(controller: Option<&Reference>, hash: Option<&str>) -> Vec<(&'static str, String)> {
    let Some(Reference { api_version, kind, name, .. }) = controller else { return Vec::new() };
    let group = api_version.split_once('/').map_or("", |(group, _)| group);
    let own = match (group, kind.as_str()) {
        ("apps", "ReplicaSet") => "k8s.replicaset.name",
        ("apps", "StatefulSet") => "k8s.statefulset.name",
        ("apps", "DaemonSet") => "k8s.daemonset.name",
        ("batch", "Job") => "k8s.job.name",
        _ => return Vec::new(),
    };
    let above = match own {
        "k8s.replicaset.name" => deployment(name, hash).map(|name| ("k8s.deployment.name", name.to_owned())),
        "k8s.job.name" => cron_job(name).map(|name| ("k8s.cronjob.name", name.to_owned())),
        _ => None,
    };
    above.into_iter().chain([(own, name.clone())]).collect()
}

/// The Deployment of a `ReplicaSet`.
fn deployment<'n>(replica_set: &'n str, hash: Option<&str>) -> Option<&'n str> {
    let name = replica_set.strip_suffix(hash.filter(|hash| !hash.is_empty())?)?.strip_suffix('-')?;
    (!name.is_empty()).then_some(name)
}

/// The `CronJob` of a Job (`getJobName` of the controller): before Kubernetes 1.21 the time was in seconds.
fn cron_job(job: &str) -> Option<&str> {
    let (name, due) = job.rsplit_once('-')?;
    let is_number = due.bytes().all(|digit| digit.is_ascii_digit());
    let number: u64 = due.parse().ok().filter(|_| is_number)?;
    let minute = match due.len() {
        8 => number,
        10 => number / 60,
        _ => return None,
    };
    (!name.is_empty() && (MINUTE_MIN..MINUTE_MAX).contains(&minute)).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(api: &str, kind: &str, name: &str, hash: Option<&str>) -> Vec<(&'static str, String)> {
        let reference =
            Reference { api_version: api.into(), kind: kind.into(), name: name.into(), controller: Some(true) };
        workloads(Some(&reference), hash)
    }

    fn names(all: &[(&'static str, String)]) -> Vec<String> {
        all.iter().map(|(key, name)| format!("{}={name}", &key["k8s.".len()..key.len() - ".name".len()])).collect()
    }

    #[test]
    fn each_controller_is_named_and_what_made_it() {
        for (api, kind, name, hash, expected) in [
            ("apps/v1", "ReplicaSet", "cart-5d4b8c7f9", Some("5d4b8c7f9"), "deployment=cart,replicaset=cart-5d4b8c7f9"),
            ("apps/v1", "ReplicaSet", "a-b-5d4b8c7f9", Some("5d4b8c7f9"), "deployment=a-b,replicaset=a-b-5d4b8c7f9"),
            ("apps/v1", "ReplicaSet", "cart-5d4b8c7f9", None, "replicaset=cart-5d4b8c7f9"),
            ("apps/v1", "ReplicaSet", "cart-5d4b8c7f9", Some("other"), "replicaset=cart-5d4b8c7f9"),
            ("apps/v1", "ReplicaSet", "cart", Some(""), "replicaset=cart"),
            ("apps/v1", "ReplicaSet", "-x", Some("x"), "replicaset=-x"),
            ("apps/v1", "StatefulSet", "db", None, "statefulset=db"),
            ("apps/v1", "DaemonSet", "proxy", Some("5d4b8c7f9"), "daemonset=proxy"),
            ("batch/v1", "Job", "backup-29384123", None, "cronjob=backup,job=backup-29384123"),
            ("batch/v1", "Job", "backup-1609459200", None, "cronjob=backup,job=backup-1609459200"),
            ("batch/v1", "Job", "migrate", None, "job=migrate"),
        ] {
            assert_eq!(names(&of(api, kind, name, hash)).join(","), expected, "{kind} {name}");
        }
    }

    #[test]
    fn digits_that_are_no_time_make_no_cronjob() {
        for job in ["migrate-2", "backup-20261122", "x-99999999", "x-0029384123", "x-+9384123", "-29384123", "x-"] {
            assert_eq!(names(&of("batch/v1", "Job", job, None)), [format!("job={job}")]);
        }
    }

    #[test]
    fn controllers_of_the_same_name_in_other_groups_are_others() {
        assert!(of("apps.kruise.io/v1beta1", "StatefulSet", "db", None).is_empty());
        assert!(of("v1", "Node", "node-a", None).is_empty(), "a static pod's mirror");
        assert!(workloads(None, Some("x")).is_empty());
    }
}
