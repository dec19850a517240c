//! What the binary is made of, as `CycloneDX` 1.5 (JSON): the crates that are linked into it or into the BPF programs, with
//! licences and checksums, and what the web UI contains. Crates for tests and for building are not in it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::Release;
use crate::{build, command};

/// The targets that code of the binary is built for: the host, and the BPF programs.
const TARGETS: [fn() -> String; 2] =
    [|| format!("{}-unknown-linux-gnu", std::env::consts::ARCH), || "bpfel-unknown-none".to_owned()];
/// Packages that the binary is made of.
const ROOTS: [&str; 2] = ["netspan", "netspan-ebpf"];

/// Writes it.
pub fn make(root: &Path, out: &Path, release: &Release) -> Result<PathBuf> {
    let mut cargo = build::cargo(root);
    cargo.args(["metadata", "--format-version", "1", "--locked"]);
    for target in TARGETS {
        cargo.args(["--filter-platform", &target()]);
    }
    let metadata = serde_json::from_slice(&command::capture(&mut cargo)?).context("cargo metadata")?;
    let lock = fs::read_to_string(root.join("Cargo.lock"))?;
    let web = serde_json::from_str(&fs::read_to_string(root.join("agent/web/package-lock.json"))?)?;
    let made = document(&metadata, &checksums(&lock), &web, &time(release.epoch)?)?;
    let file = out.join(format!("netspan-{}.cdx.json", release.version));
    fs::write(&file, serde_json::to_string_pretty(&made)? + "\n")?;
    Ok(file)
}

/// The document, of what `cargo metadata` says, the lock file's checksums and the web UI's lock file.
fn document(metadata: &Value, sums: &BTreeMap<(String, String), String>, web: &Value, time: &str) -> Result<Value> {
    let text = |value: &Value, key: &str| value[key].as_str().unwrap_or_default().to_owned();
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let packages: BTreeMap<String, Value> =
        list(&metadata["packages"]).into_iter().map(|package| (text(&package, "id"), package)).collect();
    let edges: BTreeMap<String, Vec<String>> = list(&metadata["resolve"]["nodes"])
        .iter()
        .map(|node| {
            let linked = |one: &&Value| list(&one["dep_kinds"]).iter().any(|kind| kind["kind"].is_null());
            let all = list(&node["deps"]);
            (text(node, "id"), all.iter().filter(linked).map(|one| text(one, "pkg")).collect())
        })
        .collect();
    let mut reached = BTreeSet::new();
    let is_root = |package: &Value| ROOTS.contains(&package["name"].as_str().unwrap_or_default());
    let mut open: Vec<&String> = packages.iter().filter(|(_, one)| is_root(one)).map(|(id, _)| id).collect();
    while let Some(id) = open.pop() {
        if reached.insert(id) {
            open.extend(edges.get(id).into_iter().flatten());
        }
    }
    let purl = |id: &String| {
        let package = packages.get(id).with_context(|| format!("{id} is not among the packages"))?;
        Ok(format!("pkg:cargo/{}@{}", text(package, "name"), text(package, "version")))
    };
    let (mut components, mut dependencies, mut main) = (Vec::new(), Vec::new(), Value::Null);
    for id in reached {
        let (own, package) = (purl(id)?, &packages[id]);
        let (name, version) = (text(package, "name"), text(package, "version"));
        let mut component = json!({ "type": "library", "bom-ref": own, "name": name, "version": version, "purl": own });
        if let Some(licence) = package["license"].as_str() {
            // Before SPDX had OR, Cargo had a slash.
            component["licenses"] = json!([{ "expression": licence.replace('/', " OR ") }]);
        }
        if let Some(sum) = sums.get(&(name.clone(), version)) {
            component["hashes"] = json!([{ "alg": "SHA-256", "content": sum }]);
        }
        let mut on = edges.get(id).into_iter().flatten().map(purl).collect::<Result<Vec<_>>>()?;
        on.sort();
        on.dedup();
        dependencies.push(json!({ "ref": own, "dependsOn": on }));
        if name == ROOTS[0] {
            component["type"] = json!("application");
            main = component;
        } else {
            components.push(component);
        }
    }
    components.push(ui(web)?);
    Ok(json!({
        "bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1,
        "metadata": { "timestamp": time, "component": main },
        "components": components, "dependencies": dependencies,
    }))
}

/// What is bundled into the web UI: Preact and nothing else (`agent/web/public/third-party.txt`).
fn ui(lock: &Value) -> Result<Value> {
    let version = lock["packages"]["node_modules/preact"]["version"].as_str().context("the web UI has no Preact")?;
    let purl = format!("pkg:npm/preact@{version}");
    let licenses = [json!({ "license": { "id": "MIT" } })];
    Ok(json!({
        "type": "library", "bom-ref": purl, "name": "preact", "version": version, "purl": purl, "licenses": licenses,
    }))
}

/// Checksums of a lock file, by name and version.
fn checksums(lock: &str) -> BTreeMap<(String, String), String> {
    let package = |block: &str| {
        let value = |key: &str| {
            let line = block.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(" = \""))?;
            Some(line.trim_end_matches('"').to_owned())
        };
        Some(((value("name")?, value("version")?), value("checksum")?))
    };
    lock.split("[[package]]").filter_map(package).collect()
}

/// Seconds since the Unix epoch as a date and time.
fn time(epoch: u64) -> Result<String> {
    let text =
        command::text(Command::new("date").args(["--utc", "--date", &format!("@{epoch}"), "+%Y-%m-%dT%H:%M:%SZ"]))?;
    Ok(text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, license: &str) -> Value {
        json!({ "id": format!("id-{name}"), "name": name, "version": "1.0.0", "license": license })
    }

    #[test]
    fn what_is_linked_is_listed_with_licence_and_checksum_and_what_tests_use_is_not() {
        let dep = |name: &str, kind: Value| json!({ "pkg": format!("id-{name}"), "dep_kinds": [{ "kind": kind }] });
        let metadata = json!({
            "packages": [package("netspan", "MIT"), package("used", "MIT/Apache-2.0"), package("below", "BSD-3-Clause"),
                         package("tester", "MIT")],
            "resolve": { "nodes": [
                { "id": "id-netspan", "deps": [dep("used", Value::Null), dep("tester", json!("dev"))] },
                { "id": "id-used", "deps": [dep("below", Value::Null)] },
                { "id": "id-below", "deps": [] }, { "id": "id-tester", "deps": [] },
            ] },
        });
        let lock = "[[package]]\nname = \"used\"\nversion = \"1.0.0\"\nsource = \"registry\"\nchecksum = \"abcd\"\n\n\
                    [[package]]\nname = \"netspan\"\nversion = \"1.0.0\"\n";
        let web = json!({ "packages": { "node_modules/preact": { "version": "10.0.0" } } });
        let made = document(&metadata, &checksums(lock), &web, "1970-01-01T00:00:00Z").expect("sound");
        let names: Vec<_> = made["components"].as_array().expect("a list").iter().map(|one| &one["name"]).collect();
        assert_eq!(names, ["below", "used", "preact"]);
        let used = &made["components"][1];
        assert_eq!(used["licenses"][0]["expression"], "MIT OR Apache-2.0");
        assert_eq!(used["hashes"][0]["content"], "abcd");
        assert_eq!(made["metadata"]["component"]["name"], "netspan");
        let of = |name: &str| format!("pkg:cargo/{name}@1.0.0");
        let all = made["dependencies"].as_array().expect("a list");
        let netspan = all.iter().find(|one| one["ref"] == of("netspan")).expect("its own");
        assert_eq!(netspan["dependsOn"], json!([of("used")]));
    }
}
