//! Options of what Kubernetes is asked.

use std::path::Path;

use crate::host::kubernetes::{Cluster, LABELS_MAX, Missing, Wanted, is_node};

/// Bytes of a label's key at most: a prefix of 253, a slash and a name of 63.
const LABEL_MAX: usize = 317;

/// What Kubernetes is asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KubernetesOptions {
    /// Whether. Default: where the agent runs in a pod that may ask.
    pub mode: KubernetesMode,
    /// The node whose pods are asked for. Default: `NODE_NAME`.
    pub node: Option<String>,
    /// Labels of pods that become attributes, at most [`LABELS_MAX`]; and whether well-known ones tell of the service. Default: none,
    /// and they do not.
    pub wanted: Wanted,
}

/// Whether Kubernetes is asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KubernetesMode {
    /// Where the agent runs in a pod that may ask.
    #[default]
    Auto,
    /// In any case: without what it takes, the agent does not start.
    On,
    /// Never.
    Off,
}

impl KubernetesOptions {
    /// Whom to ask; nobody if the options say so. `variable` reads the environment, `directory` has the service account's files.
    pub fn cluster(
        &self,
        variable: impl Fn(&str) -> Option<String>,
        directory: &Path,
    ) -> Option<Result<Cluster, Missing>> {
        (self.mode != KubernetesMode::Off)
            .then(|| Cluster::of_pod(variable, directory, self.node.as_deref(), self.wanted.clone()))
    }

    pub(super) fn set_mode(&mut self, text: &str) -> Result<(), String> {
        self.mode = match text {
            "auto" => KubernetesMode::Auto,
            "on" => KubernetesMode::On,
            "off" => KubernetesMode::Off,
            _ => return Err("neither auto nor on nor off: give one of the three".to_owned()),
        };
        Ok(())
    }

    pub(super) fn set_node(&mut self, text: &str) -> Result<(), String> {
        if !is_node(text) {
            return Err("not a node's name: give small letters, digits, - and ., such as node-1.example.com".to_owned());
        }
        self.node = Some(text.to_owned());
        Ok(())
    }

    pub(super) fn add_label(&mut self, text: &str) -> Result<(), String> {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'/');
        if text.is_empty() || text.len() > LABEL_MAX || !text.bytes().all(fits) {
            return Err("not a label's key: give one such as team or example.com/team".to_owned());
        }
        if self.wanted.labels.iter().any(|known| known == text) {
            return Ok(());
        }
        if self.wanted.labels.len() >= LABELS_MAX {
            return Err(format!("too many labels: give at most {LABELS_MAX}"));
        }
        self.wanted.labels.push(text.to_owned());
        Ok(())
    }
}
