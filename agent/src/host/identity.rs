//! What is known of one process: plain data, fit for a recording. It holds no command line and no environment.

use serde::{Deserialize, Serialize};

use super::Workload;

/// Who a process is, from one moment on: an `exec` makes another identity of the same process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Identity {
    /// Process id in the initial pid namespace.
    pub pid: u32,
    /// From when on this holds, in boot-time nanoseconds: its `exec`, else its start; 0 where neither is known.
    pub since_ns: u64,
    /// When the process began, in clock ticks since boot (field 22 of `/proc/PID/stat`); 0 where it isn't known. A
    /// process id that comes with another start is another process.
    pub start_ticks: u64,
    /// Command name, at most 15 bytes; empty where it isn't known.
    pub comm: String,
    /// Path of the executable as the process sees it, without ` (deleted)`.
    pub exe: Option<String>,
    /// The program's name as it was called: `argv[0]`, cut before anything that a process title adds.
    pub command: Option<String>,
    /// Cgroup path in the unified hierarchy.
    pub cgroup: Option<String>,
    /// Container id, as long as the cgroup path has it.
    pub container: Option<String>,
    /// UID of the pod of Kubernetes, as long as the cgroup path has it.
    pub pod: Option<String>,
    /// systemd unit, with its suffix.
    pub unit: Option<String>,
    /// Parent, grandparent and so on, as far as they were known, at most [`ANCESTORS_MAX`].
    pub ancestors: Vec<u32>,
    /// Service name.
    pub service: String,
    /// Where the service name comes from.
    pub service_from: NameSource,
    /// What the process says of itself in `OTEL_RESOURCE_ATTRIBUTES` and in its process context, without `service.name`; the latter
    /// wins.
    pub declared: Vec<(String, String)>,
    /// What Kubernetes says of what it runs in. What was known once stays when the pod is gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kubernetes: Option<Workload>,
}

/// Ancestors that an identity lists at most.
pub const ANCESTORS_MAX: usize = 16;

/// Where a service name comes from, best first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NameSource {
    /// A rule of the configuration.
    Configured,
    /// The process context that it publishes in its memory.
    ProcessContext,
    /// The process's own `OTEL_SERVICE_NAME`, or `service.name` in `OTEL_RESOURCE_ATTRIBUTES`.
    Declared,
    /// Its pod's annotation, workload or name.
    Kubernetes,
    /// The systemd unit.
    Unit,
    /// The script, module or jar that an interpreter runs.
    Script,
    /// The executable's file name.
    Executable,
    /// The command name.
    Comm,
    /// The container's short id.
    Container,
    /// Nothing is known.
    #[default]
    Unknown,
}

impl NameSource {
    /// Its name in `netspan doctor`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Configured => "configured",
            Self::ProcessContext => "process_context",
            Self::Declared => "declared",
            Self::Kubernetes => "kubernetes",
            Self::Unit => "unit",
            Self::Script => "script",
            Self::Executable => "executable",
            Self::Comm => "comm",
            Self::Container => "container",
            Self::Unknown => "unknown",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_survives_a_recording() {
        let identity = Identity {
            pid: 7,
            since_ns: 9,
            start_ticks: 3,
            comm: "python3".into(),
            exe: Some("/usr/bin/python3.11".into()),
            container: Some("0123456789ab".into()),
            ancestors: vec![1],
            service: "shop".into(),
            service_from: NameSource::Declared,
            declared: vec![("service.version".into(), "1.2".into())],
            ..Identity::default()
        };
        let text = serde_json::to_string(&identity).expect("plain data");
        assert_eq!(serde_json::from_str::<Identity>(&text).expect("what was written"), identity);
    }

    #[test]
    fn an_identity_of_an_older_recording_with_fewer_fields_is_read() {
        let identity: Identity = serde_json::from_str(r#"{"pid":7,"service":"shop"}"#).expect("fields have defaults");
        assert_eq!((identity.pid, identity.service.as_str()), (7, "shop"));
    }
}
