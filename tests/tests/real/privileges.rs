//! What the threads of `netspan run` may still do once it is ready, as the kernel tells; and that it is enough.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context, Result, ensure};
use netspan_tests::{agent::Agent, ports, scenario::LAST_SPAN, scope::Scope, span::JsonSpan, wait};

use crate::tls::{Https, install, openssl};

/// `linux/capability.h`
const DAC_READ_SEARCH: u64 = 1 << 2;
const SYS_PTRACE: u64 = 1 << 19;
const PERFMON: u64 = 1 << 38;
const BPF: u64 = 1 << 39;
const CHECKPOINT_RESTORE: u64 = 1 << 40;
const READ: u64 = SYS_PTRACE | DAC_READ_SEARCH;
const CAPTURE: u64 = READ | PERFMON | BPF | CHECKPOINT_RESTORE;

/// What the kernel tells of a thread.
#[derive(Debug)]
pub struct Task {
    pub name: String,
    fields: BTreeMap<String, String>,
}

impl Task {
    fn set(&self, field: &str) -> Result<u64> {
        let text = self.fields.get(field).with_context(|| format!("no {field} of {}", self.name))?;
        u64::from_str_radix(text, 16).with_context(|| format!("{field} of {}: {text}", self.name))
    }
}

fn tasks(pid: u32) -> Result<Vec<Task>> {
    let mut tasks = Vec::new();
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        // A thread may end meanwhile.
        let Ok(status) = fs::read_to_string(task?.path().join("status")) else { continue };
        let fields = status.lines().filter_map(|line| line.split_once(':'));
        let fields: BTreeMap<_, _> = fields.map(|(key, value)| (key.to_owned(), value.trim().to_owned())).collect();
        tasks.push(Task { name: fields.get("Name").cloned().unwrap_or_default(), fields });
    }
    Ok(tasks)
}

/// What a thread of this name has, permitted and in effect.
fn expected(name: &str) -> (u64, u64) {
    match name {
        "export" | "export-metrics" | "store" | "metrics" | "kubernetes" => (0, 0),
        "api" => (READ, 0),
        "api-question" | "conntrack" | "process-context" => (READ, READ),
        _ => (CAPTURE, CAPTURE),
    }
}

fn hold_only_what_they_need(pid: u32) -> Result<()> {
    let tasks = hold_no_more_than_they_need(pid)?;
    for name in ["netspan", "export", "export-metrics", "store", "api"] {
        ensure!(tasks.iter().any(|task| task.name == name), "no thread {name}: {tasks:?}");
    }
    Ok(())
}

/// Looks at all threads of an agent, and gives them.
pub fn hold_no_more_than_they_need(pid: u32) -> Result<Vec<Task>> {
    let tasks = tasks(pid)?;
    for task in &tasks {
        let (permitted, effective) = expected(&task.name);
        let found = (task.set("CapPrm")?, task.set("CapEff")?, task.set("CapBnd")?, task.set("CapAmb")?);
        ensure!(found == (permitted, effective, permitted, 0), "{found:x?} of {task:?}");
        ensure!(task.fields.get("NoNewPrivs").is_some_and(|it| it == "1"), "{task:?}");
    }
    Ok(tasks)
}

fn paths(file: &Path) -> Vec<String> {
    let text = fs::read_to_string(file).unwrap_or_default();
    let spans = text.lines().filter_map(|line| JsonSpan::parse(line).ok());
    spans.filter(JsonSpan::is_server).map(|span| span.path().to_owned()).collect()
}

#[test]
fn all_threads_give_up_what_they_do_not_need_and_what_comes_later_is_still_seen() -> Result<()> {
    let _machine = crate::alone();
    let (scope, directory) = (Scope::new()?, tempfile::tempdir()?);
    let (spans, config) = (directory.path().join("spans"), directory.path().join("netspan.toml"));
    fs::write(&config, format!("[[export]]\nkind = \"file\"\npath = {:?}\n", spans.display().to_string()))?;
    let mut command = Agent::command()?;
    command.args(["run", "--cgroup"]).arg(scope.name()?).arg("--config").arg(&config);
    command.arg("--store").arg(directory.path().join("store")).arg("--queue").arg(directory.path().join("queue"));
    command.args(["--listen", "127.0.0.1:0", "--otlp", &format!("http://127.0.0.1:{}", ports::free()?)]);
    command.env("NETSPAN_STORE_OFF", "false").env("NETSPAN_QUEUE_OFF", "false");
    let agent = Agent::start(command)?;
    hold_only_what_they_need(agent.pid())?;
    ensure!(agent.printed().contains("CAP_BPF, CAP_CHECKPOINT_RESTORE are kept"), "{}", agent.printed());

    // A library that nobody has seen yet: it is analysed and hooked by what was kept.
    let files = openssl()?;
    let libraries = directory.path().join("libraries");
    fs::create_dir(&libraries)?;
    install(&files, &libraries)?;
    let server = Https::start(&scope, "plain", Some(&libraries))?;
    let asked = server.ask(&scope, 2)?;
    let all_there = || Ok((paths(&spans).len() >= asked.len()).then_some(()));
    wait::until("that all requests are in the file", LAST_SPAN, all_there)
        .with_context(|| format!("{:?}; it printed:\n{}", paths(&spans), agent.printed()))?;
    hold_only_what_they_need(agent.pid())?;
    agent.stop()?;
    Ok(())
}
