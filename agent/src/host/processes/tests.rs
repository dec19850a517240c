//! Processes that come, change and go, told as files and events.

use std::{
    io::Write,
    process::{Command, Stdio},
};

use netspan_ebpf::{COMM_LEN, EventHead, PATH_LEN};

use super::*;
use crate::host::{
    NameSource,
    fake::{Fake, Process},
};

const MS: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MS;

fn event(kind: u16, pid: u32, time_ns: u64, comm: &str, path: &str, cgroup: u64) -> ProcessEvent {
    let mut event = ProcessEvent {
        head: EventHead { time_ns, tgid: pid, tid: pid, kind, ..EventHead::default() },
        cgroup,
        comm: [0; COMM_LEN],
        path: [0; PATH_LEN],
        _pad: [0; 4],
    };
    event.comm[..comm.len()].copy_from_slice(comm.as_bytes());
    event.path[..path.len()].copy_from_slice(path.as_bytes());
    event
}

fn exec(pid: u32, time_ns: u64, path: &str) -> ProcessEvent {
    event(kind::EXEC, pid, time_ns, path.rsplit('/').next().expect("a name"), path, 0)
}

fn exit(pid: u32, time_ns: u64) -> ProcessEvent {
    event(kind::EXIT, pid, time_ns, "", "", 0)
}

fn program(pid: u32, start_ticks: u64, exe: &str) -> Process<'_> {
    Process { pid, start_ticks, exe: Some(exe), args: exe, ..Process::default() }
}

fn processes(fake: &Fake) -> Processes {
    Processes::new(fake.root(), Vec::new())
}

fn service(processes: &mut Processes, pid: u32, at_ns: u64) -> String {
    processes.identity(pid, at_ns).service.clone()
}

#[test]
fn a_running_process_is_read_once_and_shared() {
    let fake = Fake::new();
    fake.start(&Process {
        comm: "nginx",
        args: "nginx -g secret",
        environ: "OTEL_RESOURCE_ATTRIBUTES=service.version=2 TOKEN=hunter2",
        cgroup: "0::/system.slice/nginx.service\n",
        ..program(7, 50, "/usr/sbin/nginx")
    });
    fake.start(&program(1, 1, "/sbin/init"));
    let mut processes = processes(&fake);
    let identity = processes.identity(7, SECOND);
    let resource = processes.resource(7, SECOND + 1);
    assert!(Arc::ptr_eq(&resource, &processes.resource(7, SECOND + 2)));
    assert_eq!((processes.counts().read, processes.len()), (1, 1));
    assert_eq!(
        *identity,
        Identity {
            pid: 7,
            since_ns: 500 * MS,
            start_ticks: 50,
            comm: "nginx".into(),
            exe: Some("/usr/sbin/nginx".into()),
            command: Some("nginx".into()),
            cgroup: Some("/system.slice/nginx.service".into()),
            container: None,
            pod: None,
            unit: Some("nginx.service".into()),
            ancestors: vec![1],
            service: "nginx".into(),
            service_from: NameSource::Unit,
            declared: vec![("service.version".into(), "2".into())],
            kubernetes: None,
        }
    );
    let kept = format!("{identity:?}{resource:?}");
    assert!(!kept.contains("secret") && !kept.contains("hunter2"), "{kept}");
}

#[test]
fn a_process_that_is_gone_is_known_by_its_exec_event() {
    let fake = Fake::new();
    let id = "a".repeat(64);
    let cgroup = fake.cgroup(&format!("/docker/{id}"));
    let mut processes = processes(&fake);
    processes.on_process_event(&event(kind::EXEC, 9, SECOND, "curl", "/usr/bin/curl", cgroup));
    processes.on_process_event(&exit(9, SECOND + 5 * MS));
    let identity = processes.identity(9, SECOND + 4 * MS);
    assert_eq!((identity.service.as_str(), identity.service_from), ("curl", NameSource::Executable));
    assert_eq!((identity.exe.as_deref(), identity.comm.as_str()), (Some("/usr/bin/curl"), "curl"));
    assert_eq!(identity.container, Some(id));
    assert_eq!(processes.counts(), Counts { from_event: 1, ..Counts::default() });
}

#[test]
fn a_script_that_is_gone_is_named_by_the_file_that_was_executed() {
    let fake = Fake::new();
    let mut processes = processes(&fake);
    processes.on_process_event(&exec(9, SECOND, "/srv/fetch.py"));
    assert_eq!(service(&mut processes, 9, SECOND), "fetch");
    processes.on_process_event(&exec(8, SECOND, "./probe"));
    assert_eq!(service(&mut processes, 8, SECOND), "probe", "a relative path names by the command");
    processes.on_process_event(&event(kind::EXEC, 6, SECOND, "fetch.py", "", 0));
    let identity = processes.identity(6, SECOND);
    assert_eq!((identity.service.as_str(), identity.service_from), ("fetch", NameSource::Comm), "without a path");
    assert_eq!((identity.exe.as_deref(), identity.command.as_deref()), (None, None));
}

#[test]
fn an_exec_begins_another_program_and_late_questions_get_the_earlier_one() {
    let fake = Fake::new();
    fake.start(&program(7, 50, "/usr/bin/first"));
    let mut processes = processes(&fake);
    assert_eq!(service(&mut processes, 7, SECOND), "first");
    fake.start(&program(7, 50, "/usr/bin/second"));
    assert_eq!(service(&mut processes, 7, SECOND + MS), "first", "nothing said so yet");
    processes.on_process_event(&exec(7, SECOND + 2 * MS, "/usr/bin/second"));
    assert_eq!(service(&mut processes, 7, SECOND + 3 * MS), "second");
    assert_eq!(service(&mut processes, 7, SECOND + MS), "first");
    assert_eq!(processes.identity(7, SECOND + 3 * MS).start_ticks, 50);
}

#[test]
fn an_exec_whose_event_was_lost_is_noticed_at_the_next_check() {
    let fake = Fake::new();
    fake.start(&program(7, 50, "/usr/bin/first"));
    let mut processes = processes(&fake);
    assert_eq!(service(&mut processes, 7, SECOND), "first");
    fake.start(&program(7, 50, "/usr/bin/second (deleted)"));
    assert_eq!(service(&mut processes, 7, SECOND + CHECK_EVERY_NS), "second");
    assert_eq!(service(&mut processes, 7, SECOND + 1), "first");
    fake.start(&program(7, 50, "/usr/bin/second"));
    assert_eq!(service(&mut processes, 7, SECOND + 2 * CHECK_EVERY_NS), "second");
    assert_eq!((processes.counts().missed_execs, processes.len()), (1, 2));
}

#[test]
fn what_happens_right_after_the_exit_still_belongs_to_the_process() {
    let fake = Fake::new();
    let mut processes = processes(&fake);
    processes.on_process_event(&exec(7, SECOND, "/usr/bin/curl"));
    processes.on_process_event(&exit(7, SECOND + MS));
    assert_eq!(service(&mut processes, 7, SECOND + 2 * MS), "curl");
}

#[test]
fn a_process_id_used_anew_after_an_exit_is_another_process() {
    let fake = Fake::new();
    fake.start(&program(7, 50, "/usr/bin/first"));
    let mut processes = processes(&fake);
    assert_eq!(service(&mut processes, 7, SECOND), "first");
    processes.on_process_event(&exit(7, 2 * SECOND));
    fake.start(&program(7, 900, "/usr/bin/second"));
    assert_eq!(service(&mut processes, 7, 10 * SECOND), "second");
    assert_eq!(service(&mut processes, 7, SECOND), "first", "spans come late");
    assert_eq!(processes.counts().reused, 1);
}

#[test]
fn a_process_id_used_anew_is_noticed_even_when_its_exit_was_lost() {
    let fake = Fake::new();
    fake.start(&program(7, 50, "/usr/bin/first"));
    let mut processes = processes(&fake);
    assert_eq!(service(&mut processes, 7, SECOND), "first");
    fake.start(&program(7, 150, "/usr/bin/second"));
    assert_eq!(service(&mut processes, 7, SECOND + CHECK_EVERY_NS), "second");
    assert_eq!((service(&mut processes, 7, SECOND), processes.counts().reused), ("first".into(), 1));
}

#[test]
fn a_later_process_with_the_id_is_not_taken_for_one_that_is_gone() {
    let fake = Fake::new();
    let mut processes = processes(&fake);
    processes.on_process_event(&exec(7, SECOND, "/usr/bin/curl"));
    fake.start(&program(7, 300, "/usr/bin/later"));
    assert_eq!(service(&mut processes, 7, SECOND), "curl");
    assert_eq!(service(&mut processes, 7, 4 * SECOND), "later");
    assert_eq!(service(&mut processes, 8, SECOND), "unknown_service");
    fake.start(&program(8, 300, "/usr/bin/later"));
    assert_eq!(service(&mut processes, 8, SECOND), "unknown_service", "it began after the time in question");
}

#[test]
fn a_process_that_is_ending_does_not_spoil_what_its_exec_told() {
    let fake = Fake::new();
    fake.start(&Process { pid: 7, start_ticks: 90, comm: "curl", exe: None, ..Process::default() });
    let mut processes = processes(&fake);
    processes.on_process_event(&exec(7, SECOND, "/usr/bin/curl"));
    assert_eq!(processes.identity(7, SECOND).exe.as_deref(), Some("/usr/bin/curl"));
    assert_eq!(processes.identity(7, SECOND + CHECK_EVERY_NS).exe.as_deref(), Some("/usr/bin/curl"));
}

#[test]
fn beyond_the_budget_processes_are_read_when_they_are_asked_for() {
    let fake = Fake::new();
    let mut processes = processes(&fake);
    for pid in 1000..1000 + EAGER_PER_SECOND {
        processes.on_process_event(&exec(pid, SECOND, "/bin/true"));
    }
    fake.start(&Process { args: "python3 shop.py", ..program(7, 90, "/usr/bin/python3") });
    processes.on_process_event(&exec(7, SECOND, "/usr/bin/python3"));
    assert_eq!(processes.counts().read, 0);
    assert_eq!(service(&mut processes, 7, SECOND), "shop");
    processes.on_process_event(&exec(7, 2 * SECOND, "/usr/bin/python3"));
    assert_eq!(processes.counts().read, 2, "another second, another budget");
}

#[test]
fn the_cache_stays_within_its_bound_and_forgets_what_is_over_first() {
    let fake = Fake::new();
    let mut processes = Processes { max: 16, ..processes(&fake) };
    for pid in 1..=8 {
        processes.on_process_event(&exec(pid, SECOND, "/bin/over"));
        processes.on_process_event(&exit(pid, SECOND));
    }
    let later = SECOND + GRACE_NS + 1;
    for pid in 101..=108 {
        processes.on_process_event(&exec(pid, later, "/bin/kept"));
    }
    assert_eq!(processes.len(), 16);
    processes.on_process_event(&exec(200, later, "/bin/new"));
    assert!(processes.len() <= 16);
    let counts = processes.counts();
    assert!(counts.evicted >= 1, "{counts:?}");
    for pid in 101..=108 {
        assert_eq!(service(&mut processes, pid, later), "kept");
    }
    for pid in 201..400 {
        processes.on_process_event(&exec(pid, later, "/bin/new"));
        assert_eq!(service(&mut processes, 101, later), "kept", "what is in use stays");
        assert!(processes.len() <= 16);
    }
}

#[test]
fn a_process_that_executes_for_ever_keeps_few_versions() {
    let fake = Fake::new();
    let mut processes = processes(&fake);
    for n in 0..100 {
        processes.on_process_event(&exec(7, n * MS, "/bin/again"));
    }
    assert_eq!((processes.len(), processes.counts().evicted), (VERSIONS_MAX, 100 - VERSIONS_MAX as u64));
}

#[test]
fn a_long_chain_of_forks_ends() {
    let fake = Fake::new();
    for pid in 2..200 {
        fake.start(&Process { parent: pid - 1, ..program(pid, 50, "/usr/bin/python3") });
    }
    let mut processes = processes(&fake);
    assert_eq!(processes.identity(199, SECOND).ancestors.len(), ANCESTORS_MAX);
    assert!(processes.counts().read <= ANCESTORS_MAX as u64 + 1);
}

#[test]
fn a_recorder_gets_every_identity_and_a_replay_answers_alike() {
    let fake = Fake::new();
    fake.start(&program(7, 50, "/usr/bin/first"));
    let mut live = processes(&fake);
    assert!(live.take_new().is_empty());
    live.keep_new();
    let questions = [(7, SECOND), (7, SECOND + 5 * MS), (9, SECOND + 4 * MS), (7, SECOND), (11, SECOND)];
    live.on_process_event(&exec(9, SECOND + 3 * MS, "/usr/bin/curl"));
    live.identity(7, SECOND);
    live.on_process_event(&exec(7, SECOND + 2 * MS, "/usr/bin/second"));
    let answers: Vec<_> = questions.map(|(pid, at)| live.identity(pid, at)).into();
    let mut replay = crate::host::Recorded::new(live.machine().clone(), Vec::new());
    for identity in live.take_new() {
        replay.load(&serde_json::to_vec(&*identity).expect("plain data")).expect("what was written");
    }
    assert!(replay.load(b"{").is_err());
    assert!(live.take_new().is_empty());
    for ((pid, at), answer) in questions.into_iter().zip(answers) {
        assert_eq!(replay.identity(pid, at), answer, "{pid} at {at}");
        assert_eq!(replay.resource(pid, at), live.resource(pid, at), "{pid} at {at}");
    }
}

#[test]
fn a_real_process_of_this_kernel_is_read() {
    let mut child = Command::new("cat")
        .env_clear()
        .env("OTEL_RESOURCE_ATTRIBUTES", "service.name=reader,service.version=7")
        .env("TOKEN", "hunter2")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("cat");
    // Its answer shows that it runs its own program by now.
    let mut input = child.stdin.take().expect("a pipe");
    input.write_all(b"x").expect("a reader");
    let mut answer = [0];
    std::io::Read::read_exact(child.stdout.as_mut().expect("a pipe"), &mut answer).expect("an answer");
    let mut processes = Processes::new(ProcRoot::host(), Vec::new());
    let identity = processes.identity(child.id(), u64::MAX / 2);
    drop(input);
    child.wait().expect("an end");
    assert_eq!((identity.service.as_str(), identity.service_from), ("reader", NameSource::Declared));
    assert_eq!((identity.comm.as_str(), identity.command.as_deref()), ("cat", Some("cat")));
    assert!(
        identity.exe.as_deref().is_some_and(|exe| exe.ends_with("/cat") || exe.contains("coreutils")),
        "{identity:?}"
    );
    assert_eq!(identity.ancestors.first(), Some(&std::process::id()));
    assert_eq!(identity.declared, [("service.version".to_owned(), "7".to_owned())]);
    assert!(identity.start_ticks > 0 && identity.since_ns == identity.start_ticks * TICK_NS);
}

/// A pod of the Deployment `cart`, with a container in it if it has an id.
fn cart(container: Option<&str>) -> serde_json::Value {
    serde_json::json!({
        "metadata": {
            "uid": POD, "name": "cart-5d4b8c7f9-x2x4z", "namespace": "shop",
            "labels": { "pod-template-hash": "5d4b8c7f9" },
            "ownerReferences": [{ "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "cart-5d4b8c7f9", "controller": true }],
        },
        "spec": { "nodeName": "node-a" },
        "status": { "containerStatuses": [{
            "name": "app", "containerID": container.map(|id| format!("containerd://{id}")), "image": "cart:1.2",
        }] },
    })
}

const POD: &str = "0a1b2c3d-1111-2222-3333-444455556666";

fn in_pod(environ: &'static str, cgroup: &str) -> Fake {
    let fake = Fake::new();
    fake.start(&Process { environ, cgroup, ..program(7, 50, "/srv/server") });
    fake
}

fn attribute(resource: &Resource, name: &str) -> Option<String> {
    let mut all = resource.attributes.iter().filter(|(key, _)| key == name);
    let found = all.next().map(|(_, value)| match value {
        crate::span::Value::Text(text) => text.to_string(),
        other => format!("{other:?}"),
    });
    assert!(all.next().is_none(), "{name} is there twice");
    found
}

#[test]
fn a_process_gets_its_pods_names_as_soon_as_they_are_known() {
    let id = "a".repeat(64);
    let fake = in_pod(
        "",
        &format!("0::/kubepods.slice/kubepods-pod{}.slice/cri-containerd-{id}.scope", POD.replace('-', "_")),
    );
    let (mut processes, pods) = (processes(&fake), Pods::default());
    processes.ask_pods(Some(pods.clone()));
    processes.keep_new();
    let early = processes.resource(7, SECOND);
    assert_eq!((early.service.as_str(), attribute(&early, "k8s.pod.uid").as_deref()), ("server", Some(POD)));

    pods.tell(&cart(None));
    let known = processes.resource(7, SECOND + 1);
    assert_eq!((known.service.as_str(), attribute(&known, "k8s.container.name")), ("cart", None));
    assert_eq!(attribute(&known, "k8s.deployment.name").as_deref(), Some("cart"));
    assert!(Arc::ptr_eq(&known, &processes.resource(7, SECOND + 2)), "nothing is new");

    pods.tell(&cart(Some(&id)));
    let whole = processes.resource(7, SECOND + 3);
    assert_eq!(processes.identity(7, SECOND + 3).service_from, NameSource::Kubernetes);
    for (name, expected) in [
        ("k8s.container.name", Some("app")),
        ("k8s.namespace.name", Some("shop")),
        ("k8s.pod.name", Some("cart-5d4b8c7f9-x2x4z")),
        ("k8s.pod.uid", Some(POD)),
        ("k8s.node.name", Some("node-a")),
        ("service.version", Some("1.2")),
        ("service.namespace", Some("shop")),
        ("service.instance.id", Some("aaaaaaaaaaaa:7:50")),
    ] {
        assert_eq!(attribute(&whole, name).as_deref(), expected, "{name}");
    }
    assert_eq!(processes.counts().in_pods, 1);
    // A recording has what was known last.
    let last = processes.take_new().pop().expect("an identity");
    let again: Identity = serde_json::from_str(&serde_json::to_string(&*last).expect("plain data")).expect("the same");
    assert_eq!(again.kubernetes.expect("kept").get("k8s.container.name"), Some("app"));
}

#[test]
fn what_a_process_says_of_itself_is_better_than_what_its_pod_says() {
    let id = "b".repeat(64);
    let environ =
        "OTEL_SERVICE_NAME=own OTEL_RESOURCE_ATTRIBUTES=service.version=9,k8s.pod.name=wrong,k8s.cluster.name=c";
    let fake = in_pod(environ, &format!("0::/kubepods/pod{POD}/{id}"));
    let (mut processes, pods) = (processes(&fake), Pods::default());
    processes.ask_pods(Some(pods.clone()));
    pods.tell(&cart(Some(&id)));
    let resource = processes.resource(7, SECOND);
    assert_eq!(resource.service, "own");
    for (name, expected) in [
        ("service.version", "9"),
        ("k8s.pod.name", "cart-5d4b8c7f9-x2x4z"),
        ("k8s.cluster.name", "c"),
        ("service.namespace", "shop"),
    ] {
        assert_eq!(attribute(&resource, name).as_deref(), Some(expected), "{name}");
    }
    let rules = vec!["exe:/srv/server=configured".parse().expect("a rule")];
    let mut configured = Processes::new(fake.root(), rules);
    configured.ask_pods(Some(pods));
    assert_eq!(service(&mut configured, 7, SECOND), "configured");
}
