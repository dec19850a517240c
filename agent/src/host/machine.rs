//! The host itself, as resource attributes. Read once.

use serde::{Deserialize, Serialize};

use super::ProcRoot;

/// The host. A recording carries it, so that a replay elsewhere tells of the recorded host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// `host.name`
    pub name: Option<String>,
    /// `host.id`: `/etc/machine-id`.
    pub id: Option<String>,
}

impl Machine {
    /// Reads this host's name and id.
    pub fn read(root: &ProcRoot) -> Self {
        let id = root.line("/etc/machine-id").or_else(|| root.line("/var/lib/dbus/machine-id"));
        Self {
            name: root.line("/proc/sys/kernel/hostname").filter(|name| name != "(none)"),
            // `uninitialized` stands there during first boot (machine-id(5)).
            id: id.filter(|id| id.bytes().all(|digit| digit.is_ascii_hexdigit())),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn name_and_id_are_read_and_placeholders_are_not() {
        let dir = tempfile::tempdir().expect("a directory");
        let root = ProcRoot::at(dir.path());
        assert_eq!(Machine::read(&root), Machine::default());
        for sub in ["proc/sys/kernel", "etc"] {
            fs::create_dir_all(dir.path().join(sub)).expect("a directory");
        }
        fs::write(dir.path().join("proc/sys/kernel/hostname"), "edge-1\n").expect("a file");
        fs::write(dir.path().join("etc/machine-id"), "uninitialized\n").expect("a file");
        assert_eq!(Machine::read(&root), Machine { name: Some("edge-1".into()), id: None });
        fs::write(dir.path().join("etc/machine-id"), "0a1b\n").expect("a file");
        assert_eq!(Machine::read(&root).id.as_deref(), Some("0a1b"));
    }
}
