//! The DaemonSet's container from the layout of its image: a file system with the binary and what it is linked with, the mounts, the
//! variables and the capabilities that the manifest declares, and nothing else.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use netspan_tests::{agent::Agent, paths, ports, scope::Scope};
use serde_json::Value;

use super::{AGENT, manifests, output, sees};

/// A token as the secret would have it.
const TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// Makes the image's file system: what distroless has of libraries, and the binary.
fn image(root: &Path) -> Result<()> {
    let binary = paths::agent()?;
    let mut files = vec![(binary.clone(), PathBuf::from("/usr/bin/netspan"))];
    for line in output(Command::new(paths::tool("ldd", "libc-bin")?).arg(&binary))?.lines() {
        let path = line.split_whitespace().find(|word| word.starts_with('/'));
        files.extend(path.map(|path| (PathBuf::from(path), PathBuf::from(path))));
    }
    for (from, to) in files {
        let to = root.join(to.strip_prefix("/")?);
        fs::create_dir_all(to.parent().context("a directory")?)?;
        fs::copy(&from, &to).with_context(|| from.display().to_string())?;
    }
    for directory in ["proc", "sys", "tmp", "etc/netspan", "var/lib/netspan"] {
        fs::create_dir_all(root.join(directory))?;
    }
    Ok(())
}

fn texts<'v>(value: &'v Value, key: Option<&str>) -> Vec<&'v str> {
    let all = value.as_array().map_or(&[][..], Vec::as_slice);
    all.iter().filter_map(|one| key.map_or(one, |key| &one[key]).as_str()).collect()
}

/// What the runtime does: mounts, capabilities, root directory, and then the entry point.
fn script(root: &Path, container: &Value) -> Result<String> {
    let root = root.display();
    let mut script = format!("set -e\nmount --rbind /proc {root}/proc\nmount -t sysfs -o ro sysfs {root}/sys\n");
    for path in texts(&container["volumeMounts"], Some("mountPath")).iter().filter(|path| path.starts_with("/sys/")) {
        script += &format!("if [ -d {path} ]; then mount --rbind {path} {root}{path}; fi\n");
    }
    let granted: Vec<_> = texts(&container["securityContext"]["capabilities"]["add"], None);
    ensure!(!granted.is_empty(), "no capabilities");
    let granted: Vec<_> = granted.iter().map(|name| format!("cap_{}", name.to_lowercase())).collect();
    let capsh = paths::tool("capsh", "libcap2-bin")?;
    // In this order: what is kept is all that is left when the entry point begins.
    script += &format!(
        "all=$({0} --print | sed -n 's/^Bounding set =//p')\nkeep=,{1},\ndrop=\n\
         for one in $(echo $all | tr , ' '); do case $keep in *,$one,*) ;; *) drop=$drop,$one ;; esac; done\n\
         exec {0} --chroot={root} --drop=${{drop#,}} --shell=/usr/bin/netspan -- \"$@\"\n",
        capsh.display(),
        granted.join(","),
    );
    Ok(script)
}

fn get(port: u16, path: &str, headers: &str) -> Result<String> {
    let mut socket = TcpStream::connect(("127.0.0.1", port))?;
    write!(socket, "GET {path} HTTP/1.1\r\nHost: 10.0.0.7:4410\r\n{headers}Connection: close\r\n\r\n")?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer)?;
    Ok(answer)
}

#[test]
fn the_daemonsets_container_sees_with_what_it_declares() -> Result<()> {
    let _turn = AGENT.lock();
    let (scope, directory) = (Scope::new()?, tempfile::tempdir()?);
    let root = directory.path().join("root");
    image(&root)?;
    let documents = manifests::plain()?;
    let container = &manifests::of_kind(&documents, "DaemonSet")?["spec"]["template"]["spec"]["containers"][0];
    fs::write(
        root.join("etc/netspan/netspan.toml"),
        "[[export]]\nkind = \"file\"\npath = \"/var/lib/netspan/spans\"\n",
    )?;
    let port = ports::free()?;
    let arguments: Vec<_> = texts(&container["args"], None);
    let arguments = arguments.iter().map(|one| one.replace(":4410", &format!(":{port}")));
    let mut command = Agent::command_by_unshare()?;
    command.args(["sh", "-c", &script(&root, container)?, "sh"]).args(arguments);
    command.arg("--cgroup").arg(scope.name()?).current_dir("/");
    command.env("NETSPAN_TOKEN", TOKEN).env("STATE_DIRECTORY", "/var/lib/netspan");
    command.env("OTEL_RESOURCE_ATTRIBUTES", "k8s.node.name=node-a");
    for variable in ["NETSPAN_STORE_OFF", "NETSPAN_QUEUE_OFF", "NETSPAN_LISTEN"] {
        command.env_remove(variable);
    }
    let agent = sees(command, &scope, directory.path(), &root.join("var/lib/netspan/spans"))?;
    // As the kubelet asks, and as others do.
    ensure!(get(port, "/healthz", "")?.starts_with("HTTP/1.1 200"), "the probes fail");
    ensure!(get(port, "/v1/health", "")?.starts_with("HTTP/1.1 401"), "it answers without a token");
    let health = get(port, "/v1/health", &format!("Authorization: Bearer {TOKEN}\r\n"))?;
    ensure!(health.contains("CAP_BPF") && !health.contains("CAP_SYS_NICE"), "{health}");
    agent.stop()?;
    Ok(())
}
