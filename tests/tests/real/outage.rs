//! Outages of the receiver with the agent itself, on real requests: it is killed meanwhile, and its disk is full. What arrives afterwards is
//! compared with the requests that were made.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::atomic::AtomicBool,
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use netspan_tests::{
    agent::{Agent, Report},
    apps::{App, Kind},
    drive::Ask,
    load::{self, Plan},
    paths, ports,
    process::{Address, Process},
    python,
    scope::Scope,
    wait,
};
use rustix::{
    mount::{MountFlags, UnmountFlags, mount, unmount},
    process::Signal,
};
use serde_json::Value;
use tempfile::TempDir;

/// Time for what waits to arrive.
const SOON: Duration = Duration::from_mins(1);
/// By then a span is in a batch, and that on the disk: at most a second, on a machine that has time.
const BATCHED: Duration = Duration::from_secs(4);
const KILLS: u32 = 4;

/// A server that is looked at, and a port at which nobody receives yet.
struct Outage {
    /// Of the receiver.
    apart: Scope,
    seen: Scope,
    server: App,
    directory: TempDir,
    port: u16,
}

impl Outage {
    fn new() -> Result<Self> {
        let (apart, seen) = (Scope::new()?, Scope::new()?);
        let server = Kind::Node.start(&seen)?;
        Ok(Self { apart, seen, server, directory: tempfile::tempdir()?, port: ports::free()? })
    }

    fn told(&self) -> PathBuf {
        self.directory.path().join("told")
    }

    fn agent(&self, queue: &Path) -> Result<Agent> {
        let mut command = Agent::command()?;
        command.args(["run", "--no-otlp-metrics", "--otlp-protocol", "http/protobuf", "--cgroup", &self.seen.name()?]);
        command.args(["--otlp", &format!("http://127.0.0.1:{}/v1/traces", self.port)]);
        command.env_remove("NETSPAN_QUEUE_OFF").arg("--queue").arg(queue);
        Agent::start(command)
    }

    /// Makes so many requests.
    fn ask(&self, requests: u32) -> Result<usize> {
        let plan = Plan { seed: 1, concurrency: 8, requests, rate: None };
        let answered = load::run(&self.server.address, plan, &AtomicBool::new(false), |_| Ask::get("/hello"))?;
        Ok(answered.len())
    }

    /// The end of the outage.
    fn receiver(&self) -> Result<Process> {
        let script = paths::apps().join("python/otlp.py");
        let started =
            Process::start(&self.apart, self.directory.path(), "otlp", python::program("python")?, |command| {
                command.arg(script).arg(self.port.to_string()).arg(self.told())
            })?;
        started.listening(&Address::local(self.port))
    }

    /// The spans that came, each once.
    fn arrived(&self) -> Result<BTreeSet<String>> {
        let mut ids = BTreeSet::new();
        for line in wait::whole_lines(&self.told()) {
            let told: Value = serde_json::from_str(&line).with_context(|| line.clone())?;
            ensure!(told["wrong"].as_array().is_some_and(Vec::is_empty), "{line}");
            for id in told["ids"].as_array().context("no ids")? {
                let id = id.as_str().context("no id")?.to_owned();
                ensure!(ids.insert(id.clone()), "{id} came twice");
            }
        }
        Ok(ids)
    }
}

/// What the summary says of the destination: `spans A + recovered B = sent C + rejected D + dropped E + queued F`, of which A, B, C, E.
fn account(report: &Report) -> Result<[u64; 4]> {
    let line = report.errors.lines().find(|line| line.contains("sink.otlp: spans"));
    let line = line.with_context(|| format!("nothing of the destination in {}", report.errors))?;
    let mut words = line.split_whitespace();
    let mut after = |name: &str| {
        let word = words.by_ref().skip_while(|word| *word != name).nth(1).unwrap_or("");
        word.trim_end_matches([',', ';']).parse::<u64>().with_context(|| format!("no {name} in {line}"))
    };
    let [spans, recovered, sent, rejected, dropped, queued] =
        [after("spans")?, after("recovered")?, after("sent")?, after("rejected")?, after("dropped")?, after("queued")?];
    ensure!(spans + recovered == sent + rejected + dropped + queued && rejected + queued == 0, "{line}");
    Ok([spans, recovered, sent, dropped])
}

#[test]
fn an_agent_that_is_killed_in_an_outage_sends_all_that_was_in_a_batch() -> Result<()> {
    let _machine = crate::together();
    let outage = Outage::new()?;
    let queue = outage.directory.path().join("queue");
    let mut asked = 0;
    for _ in 0..KILLS {
        let agent = outage.agent(&queue)?;
        asked += outage.ask(500)?;
        thread::sleep(BATCHED);
        agent.stop_by(Signal::KILL)?;
    }
    let _receiver = outage.receiver()?;
    let agent = outage.agent(&queue)?;
    wait::until("what waited", SOON, || Ok((outage.arrived()?.len() >= asked).then_some(())))
        .with_context(|| agent.printed())?;
    let report = agent.stop()?;
    let [spans, recovered, sent, dropped] = account(&report)?;
    let asked = asked as u64;
    ensure!([spans, recovered, sent, dropped] == [0, asked, asked, 0], "{asked} requests: {}", report.errors);
    ensure!(outage.arrived()?.len() as u64 == asked);
    Ok(())
}

/// A small file system of its own.
struct Small(PathBuf);

impl Small {
    fn mount(place: PathBuf) -> Result<Self> {
        std::fs::create_dir(&place)?;
        mount("tmpfs", &place, "tmpfs", MountFlags::empty(), c"size=1m").context("a tmpfs can't be mounted")?;
        Ok(Self(place))
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = unmount(&self.0, UnmountFlags::DETACH);
    }
}

#[test]
fn a_full_disk_in_an_outage_costs_no_capture_and_what_it_costs_is_counted() -> Result<()> {
    let _machine = crate::together();
    let outage = Outage::new()?;
    let disk = Small::mount(outage.directory.path().join("small"))?;
    let agent = outage.agent(&disk.0.join("queue"))?;
    let asked = outage.ask(6000)? as u64;
    thread::sleep(BATCHED);
    let _receiver = outage.receiver()?;
    let mut before = 0;
    // What was dropped does not come: until nothing more does.
    wait::until("what waited", SOON, || {
        thread::sleep(BATCHED);
        let now = outage.arrived()?.len();
        let is_over = now > 0 && now == before;
        before = now;
        Ok(is_over.then_some(()))
    })?;
    let report = agent.stop()?;
    let [spans, recovered, sent, dropped] = account(&report)?;
    ensure!(spans == asked && recovered == 0 && report.figure("lost") == Some(0), "{asked}: {}", report.errors);
    ensure!(outage.arrived()?.len() as u64 == sent && sent + dropped == asked, "{}", report.errors);
    let failures = report.figure("disk_failures").context("no disk_failures")?;
    ensure!(failures + dropped > 0, "the disk was not full: {}", report.errors);
    Ok(())
}
