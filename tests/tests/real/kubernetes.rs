//! Names of Kubernetes: a real agent with the files and variables of a pod, an API server over HTTPS that tells of one pod, and
//! processes in cgroups as the kubelet makes them.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read, Write as _},
    net::{TcpListener, TcpStream},
    path::Path,
    process::Command,
    sync::{Arc, Mutex, PoisonError, mpsc},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use netspan_tests::{
    agent::Agent,
    certificate::Certificate,
    paths, ports,
    process::{Address, Process, command_in},
    scope::Scope,
    wait,
};
use rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use serde_json::{Value, json};

const UID: &str = "0a1b2c3d-1111-2222-3333-444455556666";
const CONTAINER: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const TOKEN: &str = "the-service-accounts-token";
/// Time for anything to happen.
const BOUND: Duration = Duration::from_secs(30);

/// The pod of a Deployment, with its container once that is told.
fn pod(container: Option<&str>) -> Value {
    json!({
        "metadata": {
            "uid": UID, "name": "cart-5d4b8c7f9-x2x4z", "namespace": "shop", "resourceVersion": "7",
            "labels": { "pod-template-hash": "5d4b8c7f9", "team": "checkout" },
            "annotations": { "example.com/password": "hunter2" },
            "ownerReferences": [{ "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "cart-5d4b8c7f9", "uid": "1", "controller": true }],
        },
        "spec": {
            "nodeName": "node-a",
            "containers": [{ "name": "app", "env": [{ "name": "PASSWORD", "value": "hunter2" }] }],
        },
        "status": { "phase": "Running", "containerStatuses": [{
            "name": "app", "image": "registry.example.com/cart:1.2", "containerID": container.map(|id| format!("containerd://{id}")),
        }] },
    })
}

/// An API server that tells each list of the pod, and each watch what it is given.
struct ApiServer {
    port: u16,
    events: mpsc::Sender<String>,
    /// Requests that came without the token, or for anything but this node's pods.
    wrong: Arc<Mutex<Vec<String>>>,
}

impl ApiServer {
    fn start(certificate: &Certificate) -> Result<Self> {
        let chain = CertificateDer::pem_file_iter(certificate.chain())?.collect::<Result<_, _>>()?;
        let key = PrivateKeyDer::from_pem_file(certificate.key())?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let config = Arc::new(config.with_no_client_auth().with_single_cert(chain, key)?);
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port();
        let (events, told) = mpsc::channel();
        let (told, wrong) = (Arc::new(Mutex::new(told)), Arc::<Mutex<Vec<String>>>::default());
        let found = Arc::clone(&wrong);
        std::thread::spawn(move || {
            for socket in listener.incoming().map_while(Result::ok) {
                let (config, told, wrong) = (Arc::clone(&config), Arc::clone(&told), Arc::clone(&found));
                // A client that goes away ends its thread.
                std::thread::spawn(move || answer(socket, config, &told, &wrong));
            }
        });
        Ok(Self { port, events, wrong })
    }

    fn tell(&self, kind: &str, object: &Value) -> Result<()> {
        Ok(self.events.send(json!({ "type": kind, "object": object }).to_string())?)
    }
}

fn answer(
    socket: TcpStream,
    config: Arc<ServerConfig>,
    events: &Mutex<mpsc::Receiver<String>>,
    wrong: &Mutex<Vec<String>>,
) -> Result<()> {
    let mut stream = StreamOwned::new(ServerConnection::new(config)?, socket);
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let head = String::from_utf8(head)?;
    let is_right = head.starts_with("GET /api/v1/pods?fieldSelector=spec.nodeName%3Dnode-a&")
        && head.contains(&format!("authorization: Bearer {TOKEN}\r\n"));
    if !is_right {
        wrong.lock().unwrap_or_else(PoisonError::into_inner).push(head.clone());
    }
    if !head.contains("&watch=true&") {
        let body = json!({ "metadata": { "resourceVersion": "7" }, "items": [pod(None)] }).to_string();
        write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len())?;
        stream.conn.send_close_notify();
        return Ok(stream.flush()?);
    }
    write!(stream, "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")?;
    stream.flush()?;
    let events = events.lock().unwrap_or_else(PoisonError::into_inner);
    while let Ok(event) = events.recv() {
        write!(stream, "{:x}\r\n{event}\n\r\n", event.len() + 1)?;
        stream.flush()?;
    }
    Ok(())
}

/// Spans as OTLP's JSON, each with its resource's attributes: what is exported, not what is kept.
struct Receiver {
    port: u16,
    resources: Arc<Mutex<Vec<(Value, String)>>>,
}

impl Receiver {
    fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let (port, resources) = (listener.local_addr()?.port(), Arc::<Mutex<Vec<(Value, String)>>>::default());
        let taken = Arc::clone(&resources);
        std::thread::spawn(move || {
            for socket in listener.incoming().map_while(Result::ok) {
                let taken = Arc::clone(&taken);
                std::thread::spawn(move || take(socket, &taken));
            }
        });
        Ok(Self { port, resources })
    }

    /// The resource of a span whose path has this text.
    fn resource(&self, path: &str, kind: u64) -> Result<Value> {
        let found = || {
            let resources = self.resources.lock().unwrap_or_else(PoisonError::into_inner);
            let (path, kind) = (format!("\"{path}\""), format!("\"kind\":{kind}"));
            let is_it = |(_, span): &&(Value, String)| span.contains(&path) && span.contains(&kind);
            Ok(resources.iter().find(is_it).map(|(resource, _)| resource.clone()))
        };
        wait::until(&format!("the span of {path}"), BOUND, found)
    }
}

fn take(socket: TcpStream, taken: &Mutex<Vec<(Value, String)>>) -> Result<()> {
    let mut input = BufReader::new(socket.try_clone()?);
    let mut output = socket;
    loop {
        let (mut length, mut line) = (0, String::new());
        while input.read_line(&mut line)? > 2 {
            let lower = line.to_ascii_lowercase();
            if let Some(value) = lower.strip_prefix("content-length:") {
                length = value.trim().parse()?;
            }
            line.clear();
        }
        if line.is_empty() {
            return Ok(());
        }
        let mut body = vec![0; length];
        input.read_exact(&mut body)?;
        let message: Value = serde_json::from_slice(&body)?;
        let groups = message["resourceSpans"].as_array().cloned().unwrap_or_default();
        for group in groups {
            let spans = group["scopeSpans"].as_array().into_iter().flatten();
            let spans = spans.flat_map(|scope| scope["spans"].as_array().cloned().unwrap_or_default());
            let mut taken = taken.lock().unwrap_or_else(PoisonError::into_inner);
            taken.extend(spans.map(|span| (group["resource"].clone(), span.to_string())));
        }
        output.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}")?;
    }
}

fn attribute<'r>(resource: &'r Value, name: &str) -> Option<&'r str> {
    let all = resource["attributes"].as_array()?;
    all.iter().find(|one| one["key"] == name)?["value"]["stringValue"].as_str()
}

/// An agent's command in a mount namespace where the service account's files are where every pod has them.
fn command_in_pod(files: &Path, api: &ApiServer) -> Result<Command> {
    let mut command = Agent::command_by_unshare()?;
    let script = format!(
        "set -e\nmount -t tmpfs none /run\nmkdir -p /run/secrets/kubernetes.io/serviceaccount\n\
         cp {}/token {0}/ca.crt /run/secrets/kubernetes.io/serviceaccount/\nexec {} \"$@\"\n",
        files.display(),
        paths::agent()?.display()
    );
    command.args(["sh", "-c", &script, "sh"]);
    command.env("KUBERNETES_SERVICE_HOST", "127.0.0.1").env("KUBERNETES_SERVICE_PORT", api.port.to_string());
    command.env("NODE_NAME", "node-a");
    Ok(command)
}

fn get(port: u16, path: &str) -> Result<String> {
    let mut socket = TcpStream::connect(("127.0.0.1", port))?;
    write!(socket, "GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer)?;
    Ok(answer)
}

fn ask(scope: &Scope, address: &Address, path: &str) -> Result<()> {
    let mut curl = command_in(scope, paths::tool("curl", "curl")?);
    let asked = curl.args(["--noproxy", "*", "--silent", "--output", "/dev/null", &format!("http://{address}{path}")]);
    ensure!(asked.status()?.success(), "curl failed");
    Ok(())
}

#[test]
fn spans_of_a_pod_have_its_names_as_soon_as_the_api_server_tells_them() -> Result<()> {
    let _machine = crate::together();
    let (scope, files) = (Scope::new()?, tempfile::tempdir()?);
    let inside = scope.pod(UID, CONTAINER)?;
    let certificate = Certificate::new()?;
    fs::copy(certificate.authority(), files.path().join("ca.crt"))?;
    fs::write(files.path().join("token"), TOKEN)?;
    let (api, receiver, port) = (ApiServer::start(&certificate)?, Receiver::start()?, ports::free()?);

    let address = Address::local(ports::free()?);
    let python = paths::tool("python3", "python3")?;
    let own_port = address.to_string().replace("127.0.0.1:", "");
    let _server = Process::start(&inside, files.path(), "http", python, |command| {
        command.args(["-m", "http.server", "--bind", "127.0.0.1", &own_port])
    })?
    .listening(&address)?;

    let mut command = command_in_pod(files.path(), &api)?;
    let config = files.path().join("netspan.toml");
    let export = format!("[[export]]\nkind = \"otlp-json\"\nurl = \"http://127.0.0.1:{}\"\n", receiver.port);
    fs::write(&config, format!("{export}compression = \"none\"\nmetrics = false\n[kubernetes]\nlabel = [\"team\"]\n"))?;
    command.arg("run").arg("--config").arg(&config).arg("--cgroup").arg(scope.name()?);
    command.env("NETSPAN_LISTEN", format!("127.0.0.1:{port}"));
    let agent = Agent::start(command)?;

    // The pod is known by its UID before its container is.
    ask(&scope, &address, "/early")?;
    let early = receiver.resource("/early", 2)?;
    let printed = || agent.printed();
    ensure!(attribute(&early, "service.name") == Some("cart"), "{early:#}\n{}", printed());
    ensure!(attribute(&early, "k8s.container.name").is_none(), "{early:#}");

    api.tell("MODIFIED", &pod(Some(CONTAINER)))?;
    let is_told = || Ok(get(port, "/metrics")?.contains("name=\"containers\"} 1\n").then_some(()));
    wait::until("the container's name", BOUND, is_told)?;
    ask(&scope, &address, "/late")?;
    let late = receiver.resource("/late", 2)?;
    for (name, expected) in [
        ("service.name", "cart"),
        ("service.namespace", "shop"),
        ("service.version", "1.2"),
        ("k8s.namespace.name", "shop"),
        ("k8s.pod.name", "cart-5d4b8c7f9-x2x4z"),
        ("k8s.pod.uid", UID),
        ("k8s.container.name", "app"),
        ("k8s.deployment.name", "cart"),
        ("k8s.replicaset.name", "cart-5d4b8c7f9"),
        ("k8s.node.name", "node-a"),
        ("k8s.pod.label.team", "checkout"),
        ("container.id", CONTAINER),
    ] {
        ensure!(attribute(&late, name) == Some(expected), "{name}: {late:#}");
    }
    // What is outside of pods has no names of one. Clients have their URL as a whole.
    let client = receiver.resource(&format!("http://{address}/late"), 3)?;
    ensure!(attribute(&client, "k8s.pod.name").is_none(), "{client:#}");
    ensure!(attribute(&client, "service.name") == Some("curl"), "{client:#}");

    let health = get(port, "/v1/health")?;
    let body = health.split("\r\n\r\n").nth(1).context("a body")?;
    let told: Value = serde_json::from_str(body).with_context(|| health.clone())?;
    let kubernetes = &told["kubernetes"];
    let known = (&kubernetes["state"], &kubernetes["node"], &kubernetes["pods"], &kubernetes["containers"]);
    ensure!(known == (&json!("watching"), &json!("node-a"), &json!(1), &json!(1)), "{kubernetes:#}");
    ensure!(told["account"]["counters"]["host"]["in_pods"] == 1, "{told:#}");
    let tasks = crate::privileges::hold_no_more_than_they_need(agent.pid())?;
    ensure!(tasks.iter().any(|task| task.name == "kubernetes"), "{tasks:?}");

    // The doctor asks for itself.
    let mut doctor = command_in_pod(files.path(), &api)?;
    let told = doctor.args(["doctor", "--json", "--cgroup"]).arg(scope.name()?).output()?;
    let report: Value = serde_json::from_slice(&told.stdout).context("the doctor's JSON")?;
    ensure!(
        report["kubernetes"]["state"] == "watching" && report["kubernetes"]["pods"] == 1,
        "{:#}",
        report["kubernetes"]
    );
    let process = report["processes"].as_array().and_then(|all| all.first()).context("a process")?;
    ensure!(process["pod"] == "cart-5d4b8c7f9-x2x4z" && process["service_from"] == "kubernetes", "{process:#}");

    let report = agent.stop()?;
    let wrong = api.wrong.lock().unwrap_or_else(PoisonError::into_inner);
    ensure!(wrong.is_empty(), "{wrong:?}");
    ensure!(!report.errors.contains("hunter2") && !report.errors.contains(TOKEN), "{}", report.errors);
    ensure!(report.errors.contains("1 of node node-a are known"), "{}", report.errors);
    Ok(())
}

#[test]
fn without_an_api_server_all_else_works_and_the_log_says_so_once() -> Result<()> {
    let _machine = crate::together();
    let (scope, files) = (Scope::new()?, tempfile::tempdir()?);
    let certificate = Certificate::new()?;
    fs::copy(certificate.authority(), files.path().join("ca.crt"))?;
    fs::write(files.path().join("token"), TOKEN)?;
    // Nobody listens there.
    let nobody = ApiServer { port: ports::free()?, events: mpsc::channel().0, wrong: Arc::default() };
    let mut command = command_in_pod(files.path(), &nobody)?;
    command.args(["watch", "--json", "--cgroup"]).arg(scope.name()?);
    let agent = Agent::start(command)?;
    let address = Address::local(ports::free()?);
    let python = paths::tool("python3", "python3")?;
    let own_port = address.to_string().replace("127.0.0.1:", "");
    let _server = Process::start(&scope, files.path(), "http", python, |command| {
        command.args(["-m", "http.server", "--bind", "127.0.0.1", &own_port])
    })?
    .listening(&address)?;
    ask(&scope, &address, "/")?;
    ensure!(agent.await_spans(2, BOUND), "{}", agent.printed());
    let report = agent.stop()?;
    let told = report.errors.matches("the API server does not tell of pods").count();
    ensure!(told == 1, "told {told} times:\n{}", report.errors);
    Ok(())
}

#[test]
fn what_is_asked_for_and_can_not_be_done_is_one_line() -> Result<()> {
    let mut command = Agent::command()?;
    command.env_remove("KUBERNETES_SERVICE_HOST");
    let output = command.args(["watch", "--kubernetes", "on", "--pid", "1"]).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(!output.status.success(), "it started");
    ensure!(said.contains("--kubernetes on: KUBERNETES_SERVICE_HOST"), "{said}");
    ensure!(said.trim().lines().count() == 1, "{said}");
    Ok(())
}
