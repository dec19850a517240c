//! A pod, as it is kept: names and containers, out of what the API server tells of it. Its environment, its commands, its volumes and
//! its other annotations are never taken out of the text that it was read from.
//!
//! # Service
//! By OpenTelemetry's conventions for Kubernetes ("Specify resource attributes using Kubernetes annotations"), the first that there is:
//! the annotation `resource.opentelemetry.io/service.name`; if well-known labels count, `app.kubernetes.io/instance` and
//! `app.kubernetes.io/name`; the Deployment, `ReplicaSet`, `StatefulSet`, `DaemonSet`, `CronJob` or Job; the pod. Labels do not count
//! unless somebody says so, which the conventions ask for, too: `instance` is often one word for a whole release of many services.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{Workload, owner::workloads};

/// Containers of a pod that are kept at most, those of its beginning and those for debugging included.
pub const CONTAINERS_MAX: usize = 64;
/// Bytes of a name or a label's value that is kept, at most; Kubernetes permits 253.
pub const TEXT_MAX: usize = 256;

/// What is wanted of a pod beside its names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Labels that become attributes.
    pub labels: Vec<String>,
    /// Whether `app.kubernetes.io/instance`, `name` and `version` tell of the service.
    pub well_known: bool,
}

/// A pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    /// Its UID.
    pub uid: String,
    /// Its service.
    service: String,
    /// Whether `service.version` is told for all its containers.
    has_version: bool,
    /// Attributes of all its processes.
    attributes: Vec<(String, String)>,
    /// Its containers that have an id.
    pub containers: Vec<Container>,
    /// Whether all its containers have ended for good.
    pub is_over: bool,
}

/// A container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    /// Its id, without the runtime's name before it.
    pub id: String,
    name: String,
    /// What its image says of the version.
    version: Option<String>,
}

/// Names and containers that were left out because of their length or number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cut {
    /// Containers beyond [`CONTAINERS_MAX`].
    pub containers: u64,
    /// Texts longer than [`TEXT_MAX`], or with control characters.
    pub texts: u64,
}

impl Pod {
    /// Takes what is wanted of a pod; `None` where it has no UID or name, and is none.
    pub(super) fn of(told: Told, wanted: &Wanted, cut: &mut Cut) -> Option<Self> {
        let Told { metadata, spec, status } = told;
        let mut sound = |text: Option<String>| {
            let text = text.filter(|text| !text.is_empty())?;
            let fits = text.len() <= TEXT_MAX && !text.contains(char::is_control);
            cut.texts += u64::from(!fits);
            fits.then_some(text)
        };
        let (uid, name) = (sound(metadata.uid)?, sound(metadata.name)?);
        let namespace = sound(metadata.namespace)?;
        let labels = metadata.labels.unwrap_or_default();
        let mut label = |key: &str| sound(labels.get(key).cloned());
        let owners = metadata.owner_references.unwrap_or_default();
        let controller = owners.iter().find(|owner| owner.controller == Some(true));
        let owners = workloads(controller, labels.get("pod-template-hash").map(String::as_str));
        let well_known = |key: &str| if wanted.well_known { labels.get(key).cloned() } else { None };
        let own: Vec<_> = wanted.labels.iter().filter_map(|key| Some((key, label(key)?))).collect();
        let declared = metadata.annotations.unwrap_or_default();

        let owner = owners.first().map(|(_, name)| name.clone());
        let service = sound(declared.name)
            .or_else(|| sound(well_known("app.kubernetes.io/instance")))
            .or_else(|| sound(well_known("app.kubernetes.io/name")))
            .or_else(|| sound(owner))
            .unwrap_or_else(|| name.clone());
        let version = sound(declared.version).or_else(|| sound(well_known("app.kubernetes.io/version")));
        let service_namespace = sound(declared.namespace).unwrap_or_else(|| namespace.clone());

        let mut attributes = Vec::new();
        let mut add = |key: &str, value: Option<String>| attributes.extend(value.map(|value| (key.to_owned(), value)));
        add("k8s.namespace.name", Some(namespace));
        add("k8s.pod.name", Some(name));
        add("k8s.pod.uid", Some(uid.clone()));
        add("k8s.node.name", sound(spec.node_name));
        for (key, name) in owners {
            add(key, sound(Some(name)));
        }
        add("service.namespace", Some(service_namespace));
        let has_version = version.is_some();
        add("service.version", version);
        add("service.instance.id", sound(declared.instance));
        for (key, value) in own {
            add(&format!("k8s.pod.label.{key}"), Some(value));
        }

        let is_over = matches!(status.phase.as_deref(), Some("Succeeded" | "Failed"));
        let all = [status.containers, status.init_containers, status.ephemeral_containers];
        let mut containers = Vec::new();
        for told in all.into_iter().flatten().flatten() {
            // Without an id it does not run yet.
            let id = told.id.as_deref().and_then(|id| id.split_once("://")).map(|(_, id)| id.to_owned());
            let (Some(id), Some(name)) = (sound(id), sound(Some(told.name))) else { continue };
            if containers.len() == CONTAINERS_MAX {
                cut.containers += 1;
                continue;
            }
            containers.push(Container { id, name, version: sound(told.image.as_deref().and_then(version_of)) });
        }
        Some(Self { uid, service, has_version, attributes, containers, is_over })
    }

    /// What is told of a process in the pod: in one of its containers, or in one that is not known yet.
    pub(super) fn workload(&self, container: Option<&Container>) -> Workload {
        let mut attributes = self.attributes.clone();
        if let Some(Container { name, version, .. }) = container {
            attributes.push(("k8s.container.name".to_owned(), name.clone()));
            if let Some(version) = version.as_ref().filter(|_| !self.has_version) {
                attributes.push(("service.version".to_owned(), version.clone()));
            }
        }
        Workload { service: self.service.clone(), attributes }
    }
}

/// The version that an image's reference tells: `TAG@DIGEST`, `DIGEST` or `TAG`, as the conventions have it.
fn version_of(image: &str) -> Option<String> {
    // A runtime that knows no name tells the image's own id.
    if image.starts_with("sha256:") {
        return None;
    }
    let (name, digest) = image.split_once('@').map_or((image, None), |(name, digest)| (name, Some(digest)));
    let last = name.rsplit('/').next().unwrap_or(name);
    let tag = last.split_once(':').map(|(_, tag)| tag).filter(|tag| !tag.is_empty());
    match (tag, digest) {
        (Some(tag), Some(digest)) => Some(format!("{tag}@{digest}")),
        (one, other) => one.or(other).map(str::to_owned),
    }
}

/// What is read of a pod's JSON. A field that is null is as good as one that is not there.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Told {
    #[serde(default)]
    pub(super) metadata: Metadata,
    #[serde(default)]
    spec: Spec,
    #[serde(default)]
    status: Status,
}

/// Of `ObjectMeta`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Metadata {
    name: Option<String>,
    namespace: Option<String>,
    pub(super) uid: Option<String>,
    labels: Option<BTreeMap<String, String>>,
    annotations: Option<Annotations>,
    owner_references: Option<Vec<Reference>>,
}

/// The annotations that tell of the service. Others are not even read: they may hold anything.
#[derive(Debug, Default, Deserialize)]
struct Annotations {
    #[serde(rename = "resource.opentelemetry.io/service.name")]
    name: Option<String>,
    #[serde(rename = "resource.opentelemetry.io/service.version")]
    version: Option<String>,
    #[serde(rename = "resource.opentelemetry.io/service.namespace")]
    namespace: Option<String>,
    #[serde(rename = "resource.opentelemetry.io/service.instance.id")]
    instance: Option<String>,
}

/// `OwnerReference`
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Reference {
    pub(super) api_version: String,
    pub(super) kind: String,
    pub(super) name: String,
    pub(super) controller: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    node_name: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
struct Status {
    phase: Option<String>,
    #[serde(rename = "containerStatuses")]
    containers: Option<Vec<ContainerStatus>>,
    #[serde(rename = "initContainerStatuses")]
    init_containers: Option<Vec<ContainerStatus>>,
    #[serde(rename = "ephemeralContainerStatuses")]
    ephemeral_containers: Option<Vec<ContainerStatus>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ContainerStatus {
    name: String,
    #[serde(rename = "containerID")]
    id: Option<String>,
    image: Option<String>,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(json: &serde_json::Value, wanted: &Wanted) -> (Option<Pod>, Cut) {
        let mut cut = Cut::default();
        let told = serde_json::from_str(&json.to_string()).expect("a pod");
        (Pod::of(told, wanted, &mut cut), cut)
    }

    fn full() -> serde_json::Value {
        json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {
                "name": "cart-5d4b8c7f9-x2x4z", "namespace": "shop", "uid": "0a1b2c3d-1111-2222-3333-444455556666",
                "labels": {
                    "pod-template-hash": "5d4b8c7f9", "team": "checkout", "secret-label": "hunter2",
                    "app.kubernetes.io/name": "cart-app", "app.kubernetes.io/version": "7"
                },
                "annotations": { "kubectl.kubernetes.io/last-applied-configuration": "hunter2" },
                "ownerReferences": [
                    { "apiVersion": "v1", "kind": "Other", "name": "x", "uid": "1" },
                    { "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "cart-5d4b8c7f9", "uid": "2", "controller": true }
                ]
            },
            "spec": {
                "nodeName": "node-a",
                "containers": [{ "name": "app", "env": [{ "name": "PASSWORD", "value": "hunter2" }], "args": ["hunter2"] }]
            },
            "status": {
                "phase": "Running",
                "containerStatuses": [
                    { "name": "app", "containerID": "containerd://c1", "image": "r.test:5000/shop/cart:1.2" },
                    { "name": "waiting", "image": "x" }
                ],
                "initContainerStatuses": [{ "name": "init", "containerID": "cri-o://c2", "image": "sha256:abc" }]
            }
        })
    }

    fn get<'w>(workload: &'w Workload, key: &str) -> Option<&'w str> {
        let mut all = workload.attributes.iter().filter(|(name, _)| name == key);
        let found = all.next().map(|(_, value)| value.as_str());
        assert!(all.next().is_none(), "{key} is there twice");
        found
    }

    #[test]
    fn names_are_taken_and_secrets_are_not() {
        let wanted = Wanted { labels: vec!["team".into(), "none".into()], well_known: false };
        let (pod, cut) = pod(&full(), &wanted);
        let pod = pod.expect("a pod");
        assert_eq!((cut, pod.is_over, pod.containers.len()), (Cut::default(), false, 2));
        let workload = pod.workload(pod.containers.first());
        assert_eq!(workload.service, "cart");
        for (key, expected) in [
            ("k8s.namespace.name", Some("shop")),
            ("k8s.pod.name", Some("cart-5d4b8c7f9-x2x4z")),
            ("k8s.pod.uid", Some("0a1b2c3d-1111-2222-3333-444455556666")),
            ("k8s.node.name", Some("node-a")),
            ("k8s.deployment.name", Some("cart")),
            ("k8s.replicaset.name", Some("cart-5d4b8c7f9")),
            ("k8s.container.name", Some("app")),
            ("k8s.pod.label.team", Some("checkout")),
            ("k8s.pod.label.none", None),
            ("service.namespace", Some("shop")),
            ("service.version", Some("1.2")),
            ("service.instance.id", None),
        ] {
            assert_eq!(get(&workload, key), expected, "{key}");
        }
        assert!(!format!("{pod:?}").contains("hunter2"), "{pod:?}");
        let elsewhere = pod.workload(None);
        assert_eq!((get(&elsewhere, "k8s.container.name"), get(&elsewhere, "service.version")), (None, None));
    }

    #[test]
    fn a_service_is_named_by_the_conventions_order() {
        let service = |json: &serde_json::Value, well_known| {
            let (pod, _) = pod(json, &Wanted { well_known, ..Wanted::default() });
            let pod = pod.expect("a pod");
            let workload = pod.workload(pod.containers.first());
            (workload.service.clone(), get(&workload, "service.version").unwrap_or_default().to_owned())
        };
        let is = |name: &str, version: &str| (name.to_owned(), version.to_owned());
        let mut json = full();
        assert_eq!(service(&json, false), is("cart", "1.2"), "labels count only where somebody says so");
        assert_eq!(service(&json, true), is("cart-app", "7"));
        json["metadata"]["labels"]["app.kubernetes.io/instance"] = "release".into();
        assert_eq!(service(&json, true), is("release", "7"));
        let annotation = |key: &str| format!("resource.opentelemetry.io/{key}");
        json["metadata"]["annotations"][annotation("service.name")] = "declared".into();
        json["metadata"]["annotations"][annotation("service.version")] = "9".into();
        assert_eq!(service(&json, true), is("declared", "9"));
        let alone = json!({ "metadata": { "name": "job", "namespace": "n", "uid": "u", "labels": null } });
        assert_eq!(service(&alone, true), is("job", ""));
    }

    #[test]
    fn all_names_are_the_conventions_own() {
        use opentelemetry_semantic_conventions::attribute as name;
        let known = [
            name::K8S_NAMESPACE_NAME,
            name::K8S_POD_NAME,
            name::K8S_POD_UID,
            name::K8S_NODE_NAME,
            name::K8S_CONTAINER_NAME,
            name::K8S_DEPLOYMENT_NAME,
            name::K8S_REPLICASET_NAME,
            name::K8S_STATEFULSET_NAME,
            name::K8S_DAEMONSET_NAME,
            name::K8S_JOB_NAME,
            name::K8S_CRONJOB_NAME,
            name::SERVICE_NAMESPACE,
            name::SERVICE_VERSION,
        ];
        for (api, kind, owner) in [
            ("apps/v1", "ReplicaSet", "cart-5d4b8c7f9"),
            ("apps/v1", "StatefulSet", "db"),
            ("apps/v1", "DaemonSet", "proxy"),
            ("batch/v1", "Job", "backup-29384123"),
        ] {
            let mut json = full();
            let reference = json!({ "apiVersion": api, "kind": kind, "name": owner, "controller": true });
            json["metadata"]["ownerReferences"] = json!([reference]);
            let pod = pod(&json, &Wanted { labels: vec!["team".into()], well_known: false }).0.expect("a pod");
            let workload = pod.workload(pod.containers.first());
            assert!(workload.attributes.iter().any(|(_, value)| value == owner), "{workload:?}");
            for (key, _) in &workload.attributes {
                assert!(known.contains(&key.as_str()) || key == "k8s.pod.label.team", "{key}");
            }
        }
    }

    #[test]
    fn an_image_tells_its_version() {
        for (image, expected) in [
            ("nginx", None),
            ("nginx:1.27", Some("1.27")),
            ("r.test:5000/a/nginx", None),
            ("r.test:5000/a/nginx:1@sha256:ab", Some("1@sha256:ab")),
            ("nginx@sha256:ab", Some("sha256:ab")),
            ("sha256:0123", None),
            ("", None),
        ] {
            assert_eq!(version_of(image).as_deref(), expected, "{image}");
        }
    }

    #[test]
    fn what_is_too_long_or_too_much_is_left_out_and_counted() {
        let mut json = full();
        json["metadata"]["labels"]["team"] = "x".repeat(TEXT_MAX + 1).into();
        json["spec"]["nodeName"] = "a\u{1b}[31m".into();
        let many = (0..CONTAINERS_MAX + 3).map(|n| json!({ "name": "c", "containerID": format!("x://{n}") }));
        json["status"]["containerStatuses"] = many.collect();
        let (pod, cut) = pod(&json, &Wanted { labels: vec!["team".into()], well_known: false });
        let pod = pod.expect("a pod");
        assert_eq!((cut, pod.containers.len()), (Cut { containers: 4, texts: 2 }, CONTAINERS_MAX));
        let workload = pod.workload(None);
        assert_eq!((get(&workload, "k8s.pod.label.team"), get(&workload, "k8s.node.name")), (None, None));
    }

    #[test]
    fn what_has_no_name_is_no_pod() {
        for json in
            [json!({}), json!({ "metadata": { "uid": "u" } }), json!({ "metadata": { "uid": "", "name": "n" } })]
        {
            assert_eq!(pod(&json, &Wanted::default()).0, None, "{json}");
        }
    }

    #[test]
    fn a_pod_whose_containers_ended_is_over() {
        for (phase, is_over) in [("Pending", false), ("Running", false), ("Succeeded", true), ("Failed", true)] {
            let mut json = full();
            json["status"]["phase"] = phase.into();
            assert_eq!(pod(&json, &Wanted::default()).0.expect("a pod").is_over, is_over, "{phase}");
        }
    }
}
