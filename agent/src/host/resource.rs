//! From an identity to OpenTelemetry's resource: names of the semantic conventions, nothing that isn't in the identity.

use std::borrow::Cow;

use super::{Identity, Machine, root::file_name};
use crate::span::{Attribute, Resource, Value};

/// Attributes that netspan observes itself: what a process declares never replaces them.
const OBSERVED: [&str; 7] = ["process.", "host.", "os.", "container.id", "k8s.pod.uid", "telemetry.", "netspan."];

/// The resource of a process on a host.
pub(super) fn of(identity: &Identity, machine: &Machine) -> Resource {
    let mut attributes: Vec<Attribute> = Vec::new();
    let mut text = |name: &'static str, value: Option<&str>| {
        if let Some(value) = value {
            attributes.push((Cow::Borrowed(name), Value::Text(value.to_owned().into())));
        }
    };
    let declares = |name: &str| identity.declared.iter().any(|(present, _)| present == name);
    // What the pod's annotations say of the service gives way to what the process says; names of Kubernetes do not.
    let of_pod = identity.kubernetes.iter().flat_map(|workload| &workload.attributes);
    let of_pod = of_pod.filter(|(name, _)| !(name.starts_with("service.") && declares(name)));
    let of_pod: Vec<_> = of_pod.collect();
    let is_told = |name: &str| of_pod.iter().any(|(told, _)| told == name);
    if !declares("service.instance.id") && !is_told("service.instance.id") {
        text("service.instance.id", Some(&instance(identity, machine)));
    }
    text("process.executable.name", identity.exe.as_deref().and_then(file_name));
    text("process.executable.path", identity.exe.as_deref());
    text("process.command", identity.command.as_deref());
    text("container.id", identity.container.as_deref());
    if !is_told("k8s.pod.uid") {
        text("k8s.pod.uid", identity.pod.as_deref());
    }
    text("netspan.systemd.unit", identity.unit.as_deref());
    text("netspan.cgroup", identity.cgroup.as_deref());
    text("host.name", machine.name.as_deref());
    text("host.id", machine.id.as_deref());
    text("os.type", Some("linux"));
    attributes.push((Cow::Borrowed("process.pid"), Value::Int(i64::from(identity.pid))));
    let is_observed = |name: &str| OBSERVED.iter().any(|observed| name.starts_with(observed)) || is_told(name);
    let of_process = identity.declared.iter().filter(|(name, _)| !is_observed(name));
    for (name, value) in of_pod.iter().copied().chain(of_process) {
        attributes.push((Cow::Owned(name.clone()), Value::Text(value.clone().into())));
    }
    Resource { service: identity.service.clone(), attributes }
}

/// One running process of a service: where it runs, its id, and its start, which tells it from a later process with the
/// same id. Equal for the same process after a restart of the agent.
fn instance(identity: &Identity, machine: &Machine) -> String {
    let container = identity.container.as_deref().map(|id| id.get(..12).unwrap_or(id));
    let place = container.or(machine.name.as_deref()).unwrap_or("host");
    let Identity { pid, start_ticks, .. } = identity;
    if *start_ticks == 0 { format!("{place}:{pid}") } else { format!("{place}:{pid}:{start_ticks}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(resource: &Resource, name: &str) -> Option<String> {
        resource.attributes.iter().find(|(key, _)| key == name).map(|(_, value)| match value {
            Value::Text(text) => text.to_string(),
            other => format!("{other:?}"),
        })
    }

    fn machine() -> Machine {
        Machine { name: Some("edge-1".into()), id: Some("0a1b".into()) }
    }

    #[test]
    fn an_identity_becomes_conventional_attributes() {
        let identity = Identity {
            pid: 7,
            start_ticks: 99,
            exe: Some("/usr/sbin/nginx".into()),
            command: Some("nginx".into()),
            container: Some("0123456789abcdef".into()),
            pod: Some("0a1b2c3d-1111-2222-3333-444455556666".into()),
            service: "edge".into(),
            ..Identity::default()
        };
        let resource = of(&identity, &machine());
        assert_eq!(resource.service, "edge");
        for (name, expected) in [
            ("service.instance.id", "0123456789ab:7:99"),
            ("process.pid", "Int(7)"),
            ("process.executable.name", "nginx"),
            ("process.executable.path", "/usr/sbin/nginx"),
            ("process.command", "nginx"),
            ("container.id", "0123456789abcdef"),
            ("k8s.pod.uid", "0a1b2c3d-1111-2222-3333-444455556666"),
            ("host.name", "edge-1"),
            ("host.id", "0a1b"),
            ("os.type", "linux"),
        ] {
            assert_eq!(get(&resource, name).as_deref(), Some(expected), "{name}");
        }
    }

    #[test]
    fn all_names_are_the_conventions_own() {
        use opentelemetry_semantic_conventions::resource as name;
        let known = [
            name::SERVICE_INSTANCE_ID,
            name::PROCESS_EXECUTABLE_NAME,
            name::PROCESS_EXECUTABLE_PATH,
            name::PROCESS_COMMAND,
            name::PROCESS_PID,
            name::CONTAINER_ID,
            name::HOST_NAME,
            name::HOST_ID,
            name::OS_TYPE,
        ];
        let identity = Identity {
            pid: 7,
            exe: Some("/a".into()),
            command: Some("a".into()),
            container: Some("0123456789abcdef".into()),
            unit: Some("a.service".into()),
            cgroup: Some("/a".into()),
            ..Identity::default()
        };
        let resource = of(&identity, &machine());
        assert_eq!(resource.attributes.len(), known.len() + 2);
        for (name, _) in &resource.attributes {
            assert!(known.contains(&name.as_ref()) || name.starts_with("netspan."), "{name}");
        }
    }

    #[test]
    fn what_is_unknown_is_left_out() {
        let resource = of(&Identity { pid: 7, ..Identity::default() }, &Machine::default());
        let names: Vec<_> = resource.attributes.iter().map(|(name, _)| name.as_ref()).collect();
        assert_eq!(names, ["service.instance.id", "os.type", "process.pid"]);
        assert_eq!(get(&resource, "service.instance.id").as_deref(), Some("host:7"));
    }

    #[test]
    fn a_process_declares_what_it_likes_but_not_what_is_observed() {
        let pair = |name: &str| (name.to_owned(), "x".to_owned());
        let declared = ["service.version", "service.instance.id", "process.pid", "host.name", "k8s.pod.name"].map(pair);
        let resource = of(&Identity { pid: 7, declared: declared.into(), ..Identity::default() }, &machine());
        assert_eq!(get(&resource, "service.version").as_deref(), Some("x"));
        assert_eq!(get(&resource, "service.instance.id").as_deref(), Some("x"));
        assert_eq!(get(&resource, "k8s.pod.name").as_deref(), Some("x"));
        assert_eq!(get(&resource, "host.name").as_deref(), Some("edge-1"));
        assert_eq!(get(&resource, "process.pid").as_deref(), Some("Int(7)"));
    }
}
