//! Where the API server is, and who the agent is to it: what the kubelet gives every container that may ask it ("Accessing the API from
//! a Pod"). Nothing is read here but variables and whether files are there.

use std::path::{Path, PathBuf};

use super::pod::Wanted;

/// Where the kubelet puts a service account's token and the API server's authority.
pub const DIRECTORY: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// Bytes of a node's name at most (RFC 1123, as Kubernetes has it).
const NODE_MAX: usize = 253;

/// What a watch needs to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// The API server, such as `https://10.96.0.1:443`.
    pub url: String,
    /// The file with the token; it is read for each request, because the kubelet replaces it before it expires.
    pub token: PathBuf,
    /// The file with the authority that vouches for the API server.
    pub authority: PathBuf,
    /// The node whose pods are asked for.
    pub node: String,
    /// What is wanted of them.
    pub wanted: Wanted,
}

/// Why there is no API server to ask.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Missing {
    /// Not in a pod.
    #[error(
        "KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set, as they are in every pod; run the agent in one"
    )]
    Service,
    /// A variable that is no address.
    #[error("KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are no address: {0:?}")]
    Address(String),
    /// No service account.
    #[error("{} is not there; let the pod have its service account's token (automountServiceAccountToken: true)", .0.display())]
    Token(PathBuf),
    /// Which node is this?
    #[error(
        "the node's name is not known; give --node-name, or NODE_NAME by the downward API (fieldRef: spec.nodeName)"
    )]
    Node,
}

impl Cluster {
    /// The configuration of a pod. `variable` reads the environment, `directory` is mostly [`DIRECTORY`], `node` was given by an option.
    pub fn of_pod(
        variable: impl Fn(&str) -> Option<String>,
        directory: &Path,
        node: Option<&str>,
        wanted: Wanted,
    ) -> Result<Self, Missing> {
        let variable = |name: &str| variable(name).filter(|value| !value.is_empty());
        let (Some(host), Some(port)) = (variable("KUBERNETES_SERVICE_HOST"), variable("KUBERNETES_SERVICE_PORT"))
        else {
            return Err(Missing::Service);
        };
        let host = if host.contains(':') && !host.starts_with('[') { format!("[{host}]") } else { host };
        let url = format!("https://{host}:{port}");
        let is_address = port.parse().is_ok_and(|port: u16| port > 0)
            && url.parse::<http::Uri>().is_ok_and(|uri| uri.authority().is_some_and(|it| !it.as_str().contains('@')));
        if !is_address {
            return Err(Missing::Address(format!("{host}:{port}")));
        }
        let (token, authority) = (directory.join("token"), directory.join("ca.crt"));
        for file in [&token, &authority] {
            if !file.exists() {
                return Err(Missing::Token(file.clone()));
            }
        }
        let node = node.map(str::to_owned).or_else(|| variable("NODE_NAME").filter(|name| is_node(name)));
        Ok(Self { url, token, authority, node: node.ok_or(Missing::Node)?, wanted })
    }
}

/// Whether this can be a node's name: a name of RFC 1123, which needs no escaping in a query.
pub fn is_node(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.');
    (1..=NODE_MAX).contains(&name.len()) && name.bytes().all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_pod(variables: &[(&str, &str)], directory: &Path, node: Option<&str>) -> Result<Cluster, Missing> {
        let read = |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        Cluster::of_pod(read, directory, node, Wanted::default())
    }

    #[test]
    fn a_pods_configuration_is_found_and_what_is_missing_is_named() {
        let dir = tempfile::tempdir().expect("a directory");
        let service = [("KUBERNETES_SERVICE_HOST", "10.96.0.1"), ("KUBERNETES_SERVICE_PORT", "443")];
        assert_eq!(of_pod(&service[..1], dir.path(), None), Err(Missing::Service));
        assert_eq!(of_pod(&service, dir.path(), Some("a")), Err(Missing::Token(dir.path().join("token"))));
        for file in ["token", "ca.crt"] {
            std::fs::write(dir.path().join(file), "x").expect("a file");
        }
        assert_eq!(of_pod(&service, dir.path(), None), Err(Missing::Node));
        let named = [service[0], service[1], ("NODE_NAME", "node-b")];
        let cluster = of_pod(&named, dir.path(), None).expect("all is there");
        assert_eq!((cluster.url.as_str(), cluster.node.as_str()), ("https://10.96.0.1:443", "node-b"));
        assert_eq!(of_pod(&named, dir.path(), Some("node-a")).expect("all is there").node, "node-a");
        let six = [("KUBERNETES_SERVICE_HOST", "fd00::1"), service[1], named[2]];
        assert_eq!(of_pod(&six, dir.path(), None).expect("all is there").url, "https://[fd00::1]:443");
        for (host, port) in [("10.0.0.1", "https"), ("10.0.0.1", "0"), ("a b", "443"), ("u@h", "443")] {
            let odd = [("KUBERNETES_SERVICE_HOST", host), ("KUBERNETES_SERVICE_PORT", port), named[2]];
            assert!(matches!(of_pod(&odd, dir.path(), None), Err(Missing::Address(_))), "{host}:{port}");
        }
    }

    #[test]
    fn a_node_has_a_name_that_needs_no_escaping() {
        for (name, is) in [("node-a.test", true), ("", false), ("a,b", false), ("Node", false), ("a&watch=true", false)]
        {
            assert_eq!(is_node(name), is, "{name}");
        }
        assert!(is_node(&"a".repeat(NODE_MAX)) && !is_node(&"a".repeat(NODE_MAX + 1)));
    }
}
