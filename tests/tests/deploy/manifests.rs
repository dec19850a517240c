//! The manifests of Kubernetes and the chart: valid by the API's own schemas, alike, and without more privileges than they explain.

use std::{
    collections::BTreeSet,
    fs,
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use netspan_tests::{apps::built_by_go, paths, python};
use serde_json::{Value, json};

use super::{deploy, output};

/// The oldest API that has all that is used, and a new one.
const VERSIONS: [&str; 2] = ["1.30", "1.37"];

/// The documents of a file.
pub fn documents(file: &Path) -> Result<Vec<Value>> {
    let script = paths::apps().join("python/manifests.py");
    let json = output(Command::new(python::deploy_program("python")?).arg(script).arg(file))?;
    Ok(serde_json::from_str(&json)?)
}

/// The plain manifests.
pub fn plain() -> Result<Vec<Value>> {
    documents(&deploy().join("kubernetes/netspan.yaml"))
}

/// A document by its kind.
pub fn of_kind<'d>(documents: &'d [Value], kind: &str) -> Result<&'d Value> {
    documents.iter().find(|one| one["kind"] == kind).with_context(|| format!("no {kind}"))
}

/// Unknown fields are errors.
fn is_valid(file: &Path) -> Result<()> {
    for version in VERSIONS {
        let mut validate = Command::new(python::deploy_program("kubernetes-validate")?);
        output(validate.args(["--strict", "--kubernetes-version", version]).arg(file))?;
    }
    Ok(())
}

/// The chart with its own values and some on top.
fn rendered(more: &Value) -> Result<tempfile::NamedTempFile> {
    let chart = deploy().join("chart");
    let mut values = documents(&chart.join("values.yaml"))?.remove(0);
    for (key, value) in more.as_object().context("an object")? {
        ensure!(values.get(key).is_some(), "values.yaml has no {key}");
        values[key] = value.clone();
    }
    let about = documents(&chart.join("Chart.yaml"))?.remove(0);
    let data = json!({
        "Values": values,
        "Release": { "Name": "netspan", "Namespace": "netspan" },
        "Chart": { "Name": about["name"], "Version": about["version"], "AppVersion": about["appVersion"] },
    });
    let file = tempfile::Builder::new().suffix(".yaml").tempfile()?;
    let mut render = Command::new(built_by_go(&paths::tool("go", "golang-go")?, "render")?);
    let render = render.arg(chart.join("templates")).stdin(Stdio::piped()).stdout(file.reopen()?);
    let mut child = render.spawn()?;
    child.stdin.take().context("its input")?.write_all(data.to_string().as_bytes())?;
    ensure!(child.wait()?.success(), "the chart can't be rendered");
    Ok(file)
}

#[test]
fn the_plain_manifests_are_valid() -> Result<()> {
    is_valid(&deploy().join("kubernetes/netspan.yaml"))
}

#[test]
fn the_chart_is_valid_and_gives_the_plain_manifests() -> Result<()> {
    let file = rendered(&json!({}))?;
    is_valid(file.path())?;
    let (mut chart, plain) = (documents(file.path())?, plain()?);
    for made in &mut chart {
        let annotations = made.pointer_mut("/spec/template/metadata/annotations");
        if let Some(annotations) = annotations.and_then(Value::as_object_mut) {
            ensure!(annotations.remove("checksum/config").is_some(), "a new configuration has to restart the agents");
        }
        let kind = made["kind"].as_str().context("a kind")?;
        let wanted = of_kind(&plain, kind)?;
        ensure!(made == wanted, "{kind} by the chart:\n{made:#}\nin the manifest:\n{wanted:#}");
    }
    let kinds = |documents: &[Value]| documents.iter().map(|one| one["kind"].to_string()).collect::<BTreeSet<_>>();
    let mut expected = kinds(&plain);
    // Helm makes it, if asked.
    expected.remove("\"Namespace\"");
    ensure!(kinds(&chart) == expected, "{:?}", kinds(&chart));
    Ok(())
}

#[test]
fn values_of_ones_own_give_valid_manifests() -> Result<()> {
    let own = json!({
        "config": "[sampling]\nratio = 0.5\n",
        "oldKernels": false,
        "env": [{ "name": "A", "value": "1" }, { "name": "B", "value": "x: y" }],
        "imagePullSecrets": [{ "name": "pull" }],
        "nodeSelector": { "kubernetes.io/os": "linux", "pool": "a" },
        "image": { "repository": "example.test/netspan", "tag": "1.2.3", "pullPolicy": "Always" },
    });
    let file = rendered(&own)?;
    is_valid(file.path())?;
    let documents = documents(file.path())?;
    let pod = &of_kind(&documents, "DaemonSet")?["spec"]["template"]["spec"];
    let container = &pod["containers"][0];
    ensure!(container["image"] == "example.test/netspan:1.2.3", "{container:#}");
    ensure!(container["env"].as_array().is_some_and(|env| env.last() == own["env"].as_array().and_then(|e| e.last())));
    let added = container["securityContext"]["capabilities"]["add"].as_array().context("capabilities")?;
    ensure!(!added.contains(&json!("SYS_RESOURCE")), "{added:?}");
    let config = &of_kind(&documents, "ConfigMap")?["data"]["netspan.toml"];
    ensure!(*config == own["config"], "{config}");
    Ok(())
}

#[test]
fn the_container_has_no_more_privileges_than_are_explained() -> Result<()> {
    let documents = plain()?;
    let pod = &of_kind(&documents, "DaemonSet")?["spec"]["template"]["spec"];
    let security = &pod["containers"][0]["securityContext"];
    for (field, value) in [
        ("privileged", json!(false)),
        ("allowPrivilegeEscalation", json!(false)),
        ("readOnlyRootFilesystem", json!(true)),
    ] {
        ensure!(security[field] == value, "{field}: {security:#}");
    }
    ensure!(security["capabilities"]["drop"] == json!(["ALL"]), "{security:#}");
    let added = security["capabilities"]["add"].as_array().context("capabilities")?;
    ensure!(!added.contains(&json!("SYS_ADMIN")) && !added.contains(&json!("ALL")), "{added:?}");
    // Each stands on a line of its own, below a line that says what for.
    let text = fs::read_to_string(deploy().join("kubernetes/netspan.yaml"))?;
    let lines: Vec<_> = text.lines().map(str::trim).collect();
    for name in added.iter().filter_map(Value::as_str) {
        let at = lines.iter().position(|line| *line == format!("- {name}")).context("a line of its own")?;
        ensure!(lines[at - 1].starts_with("# "), "{name} is not explained");
    }
    let writable = pod["containers"][0]["volumeMounts"].as_array().context("mounts")?.iter();
    let writable: Vec<_> = writable.filter(|mount| mount["readOnly"] != true).map(|mount| &mount["name"]).collect();
    ensure!(writable == ["state", "tracing"], "{writable:?}");
    ensure!(pod["hostNetwork"].is_null(), "{pod:#}");
    Ok(())
}

#[test]
fn it_may_list_and_watch_pods_and_nothing_else() -> Result<()> {
    let documents = plain()?;
    let rules = &of_kind(&documents, "ClusterRole")?["rules"];
    let expected = json!([{ "apiGroups": [""], "resources": ["pods"], "verbs": ["list", "watch"] }]);
    ensure!(*rules == expected, "{rules:#}");
    let (account, binding) = (of_kind(&documents, "ServiceAccount")?, of_kind(&documents, "ClusterRoleBinding")?);
    ensure!(account["automountServiceAccountToken"] == false, "other pods of the account have no token");
    let subject = json!([{
        "kind": "ServiceAccount", "name": account["metadata"]["name"], "namespace": account["metadata"]["namespace"],
    }]);
    ensure!(binding["subjects"] == subject && binding["roleRef"]["name"] == "netspan", "{binding:#}");
    let pod = &of_kind(&documents, "DaemonSet")?["spec"]["template"]["spec"];
    ensure!(pod["automountServiceAccountToken"] == true, "{pod:#}");
    let env = pod["containers"][0]["env"].as_array().context("variables")?;
    let node = env.iter().find(|one| one["name"] == "NODE_NAME").context("NODE_NAME")?;
    ensure!(node["valueFrom"]["fieldRef"]["fieldPath"] == "spec.nodeName", "{node:#}");
    Ok(())
}

#[test]
fn a_chart_without_names_of_pods_asks_for_no_rights() -> Result<()> {
    let file = rendered(&json!({ "podNames": false }))?;
    is_valid(file.path())?;
    let documents = documents(file.path())?;
    ensure!(!documents.iter().any(|one| one["kind"].as_str().is_some_and(|kind| kind.starts_with("ClusterRole"))));
    let pod = &of_kind(&documents, "DaemonSet")?["spec"]["template"]["spec"];
    ensure!(pod["automountServiceAccountToken"] == false, "{pod:#}");
    let env = pod["containers"][0]["env"].as_array().context("variables")?;
    ensure!(env.contains(&json!({ "name": "NETSPAN_KUBERNETES_METADATA", "value": "off" })), "{env:?}");
    Ok(())
}
