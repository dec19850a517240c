//! The overhead of the agent on a server that does nothing else: nginx bound to one core, requests over kept-alive
//! connections from another core ([`Workload`]), in interleaved pairs with and without the agent. It measures and
//! prints; it judges nothing.
//!
//! Two ratios are told. `ratio` is of requests per second, what users of the server feel; on a machine with few cores it
//! holds what the agent and the client take from each other, too. `capacity` is of requests per second of the server's
//! own time on its core: what the hooks cost it. The kernel's counting of programs' run time costs as well, so that it
//! is on only in one more run at the end. For uprobes it counts the program alone, not the trap into the kernel and back,
//! which costs several times as much: that is in the server's own time (`server_ns_with`) only.
#![forbid(unsafe_code)]

pub mod programs;
mod sink;
pub mod soak;
pub(crate) mod usage;
mod workload;

use std::{process::Command, time::Duration};

use anyhow::{Context, Result, ensure};
use serde::Serialize;
use tempfile::TempDir;

use self::workload::Told;
pub use self::workload::Workload;
use crate::{
    agent::{Agent, Report},
    certificate::Certificate,
    nginx, paths, ports,
    process::{Address, Process},
    scope::Scope,
};

/// Bytes of the page that is asked for: about as many as in nginx's own welcome page.
const PAGE: usize = 612;

/// How the benchmark runs.
#[derive(Clone, Debug)]
pub struct Options {
    /// What is asked for, and how.
    pub workload: Workload,
    /// Pairs of runs with and without the agent.
    pub pairs: usize,
    /// Length of one run.
    pub length: Duration,
    /// Kept-alive connections.
    pub connections: u32,
    /// More options for the agent.
    pub agent: Vec<String>,
}

/// Everything that was measured.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// What was asked for, and how.
    pub workload: Workload,
    /// Cores of this machine; nginx has the first to itself if there are two.
    pub cores: usize,
    /// Requests per second without the agent, run by run.
    pub without: Vec<f64>,
    /// Requests per second with the agent, run by run.
    pub with: Vec<f64>,
    /// `with / without` of the pairs.
    pub ratio: Spread,
    /// Requests per second of the server's CPU time, `with / without` of the pairs.
    pub capacity: Spread,
    /// The server's CPU time per request without the agent, in nanoseconds: the middle of the runs.
    pub server_ns_without: f64,
    /// The same with the agent.
    pub server_ns_with: f64,
    /// The server's share of its core without the agent: the middle of the runs. Well below 1, the rates tell of something
    /// else than the server.
    pub server_share_without: f64,
    /// The same with the agent.
    pub server_share_with: f64,
    /// What the agent used, run by run.
    pub agent: Vec<Used>,
    /// Requests that the client counts as answered, in all runs with the agent.
    pub requests: u64,
    /// Spans that the agent made of them. With HTTP/2 there are up to as many more as streams are in flight at the end of
    /// each run, which the client counts as not answered.
    pub spans: Option<u64>,
    /// Events that hooks wanted to send, in all runs with the agent.
    pub attempted: Option<u64>,
    /// Events that reached the agent.
    pub delivered: Option<u64>,
    /// Events that were lost.
    pub lost: Option<u64>,
    /// Run time of the BPF programs, in one more run.
    pub hooks: Vec<programs::Hook>,
    /// Bytes that the sink of the export got; 0 would mean that nothing was exported.
    pub exported_bytes: u64,
}

/// Middle and spread of a set of figures.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    /// Smallest.
    pub min: f64,
    /// Middle.
    pub median: f64,
    /// Largest.
    pub max: f64,
}

/// What the agent used in one run.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Used {
    /// Time until it was ready, in seconds.
    pub ready_s: f64,
    /// CPU time of its start, in seconds: until it had hooked what runs on this host and was at rest.
    pub start_cpu_s: f64,
    /// Share of one core while the load ran.
    pub cpu: f64,
    /// Resident memory after the load, in bytes.
    pub rss: u64,
    /// The most resident memory it ever had, in bytes.
    pub rss_peak: u64,
}

/// What one run of the load came to.
#[derive(Clone, Copy, Debug)]
struct Run {
    /// Requests per second.
    rate: f64,
    /// Answered requests.
    requests: u64,
    /// Nanoseconds of the server's CPU time per request.
    server_ns: f64,
    /// Share of a core that the server used.
    server_share: f64,
}

struct Bench {
    options: Options,
    cores: usize,
    scope: Scope,
    address: Address,
    sink: sink::Sink,
    _certificate: Option<Certificate>,
    _nginx: Process,
    _directory: TempDir,
}

/// Runs it.
///
/// # Errors
/// When a program is missing or fails, or the load gets wrong answers.
pub fn overhead(options: Options) -> Result<Outcome> {
    ensure!(options.pairs > 0, "at least one pair is needed");
    let bench = Bench::start(options)?;
    bench.load(Duration::from_secs(1))?;
    let (mut without, mut with, mut agent, mut reports) = (vec![], vec![], vec![], vec![]);
    for pair in 0..bench.options.pairs {
        eprintln!("pair {} of {}", pair + 1, bench.options.pairs);
        // Every second pair begins with the agent, so that a drift of the machine favours neither.
        for first in [true, false] {
            if first == (pair % 2 == 0) {
                without.push(bench.load(bench.options.length)?);
            } else {
                let (run, used, report) = bench.watched(|| Ok(()))?;
                with.push(run);
                agent.push(used);
                reports.push(report);
            }
        }
    }
    let before = programs::all()?;
    let counting = programs::counting()?;
    let mut hooks = Vec::new();
    eprintln!("one more with the agent, for the hooks");
    bench.watched(|| {
        hooks.extend(programs::since(&before, programs::all()?));
        Ok(())
    })?;
    drop(counting);
    let pairs = || with.iter().zip(&without);
    let ratios: Vec<f64> = pairs().map(|(with, without)| with.rate / without.rate).collect();
    let capacities: Vec<f64> = pairs().map(|(with, without)| without.server_ns / with.server_ns).collect();
    let rates = |runs: &[Run]| runs.iter().map(|run| run.rate).collect();
    let middle = |runs: &[Run], of: fn(&Run) -> f64| spread(&runs.iter().map(of).collect::<Vec<_>>()).median;
    let sum = |name: &str| reports.iter().map(|report| report.figure(name)).sum::<Option<u64>>();
    Ok(Outcome {
        workload: bench.options.workload,
        cores: bench.cores,
        ratio: spread(&ratios),
        capacity: spread(&capacities),
        server_ns_without: middle(&without, |run| run.server_ns),
        server_ns_with: middle(&with, |run| run.server_ns),
        server_share_without: middle(&without, |run| run.server_share),
        server_share_with: middle(&with, |run| run.server_share),
        agent,
        requests: with.iter().map(|run| run.requests).sum(),
        spans: sum("spans"),
        attempted: sum("attempted"),
        delivered: sum("delivered"),
        lost: sum("lost"),
        hooks: programs::summed(hooks),
        exported_bytes: bench.sink.bytes(),
        without: rates(&without),
        with: rates(&with),
    })
}

impl Bench {
    fn start(options: Options) -> Result<Self> {
        let cores = std::thread::available_parallelism()?.get();
        let scope = Scope::new()?;
        let directory = tempfile::tempdir()?;
        let address = Address::local(ports::free()?);
        let certificate = options.workload.certificate()?;
        let pin = if cores > 1 { "worker_cpu_affinity 01;\n" } else { "" };
        let configuration = format!(
            "{pin}{}http {{\n{}sendfile on;\nopen_file_cache max=10;\nserver {{ {} root .; }}\n}}\n",
            nginx::preamble(1),
            http_preamble(),
            options.workload.listening(&address, certificate.as_ref()),
        );
        std::fs::write(directory.path().join("index.html"), vec![b'p'; PAGE])?;
        let nginx = nginx::start(&scope, directory.path(), &configuration, &address)?;
        let sink = sink::Sink::open()?;
        Ok(Self {
            options,
            cores,
            scope,
            address,
            sink,
            _certificate: certificate,
            _nginx: nginx,
            _directory: directory,
        })
    }

    /// CPU time of the server so far.
    fn server_cpu(&self) -> Result<Duration> {
        self.scope.processes().into_iter().map(usage::cpu).sum()
    }

    /// Full load.
    fn load(&self, length: Duration) -> Result<Run> {
        let Options { workload, connections, .. } = self.options;
        let (client, arguments) = workload.client(connections, length, &self.address)?;
        let mut command = if self.cores > 1 {
            let mut command = Command::new(paths::tool("taskset", "util-linux")?);
            command.args(["-c", "1"]).arg(&client);
            command
        } else {
            Command::new(&client)
        };
        let before = self.server_cpu()?;
        let output = command.args(arguments).output().with_context(|| format!("cannot run {}", client.display()))?;
        let text = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{} failed: {text}{errors}", client.display());
        let Told { rate, requests } = workload.read(&text)?;
        let used = self.server_cpu()?.saturating_sub(before).as_secs_f64();
        let per_request = used / f64::from(u32::try_from(requests.max(1)).unwrap_or(u32::MAX));
        Ok(Run { rate, requests, server_ns: per_request * 1e9, server_share: per_request * rate })
    }

    /// The load with the agent; `look` is done before the agent ends.
    fn watched(&self, look: impl FnOnce() -> Result<()>) -> Result<(Run, Used, Report)> {
        let agent = watching(&self.scope, &self.sink, &self.options.agent)?;
        let cpu = usage::at_rest(agent.pid())?;
        let run = self.load(self.options.length)?;
        let used = Used {
            ready_s: agent.ready_in().as_secs_f64(),
            start_cpu_s: cpu.as_secs_f64(),
            cpu: usage::cpu(agent.pid())?.saturating_sub(cpu).as_secs_f64() / self.options.length.as_secs_f64(),
            rss: usage::memory(agent.pid(), "VmRSS")?,
            rss_peak: usage::memory(agent.pid(), "VmHWM")?,
        };
        look()?;
        Ok((run, used, agent.stop()?))
    }
}

/// The part of the `http` block that every nginx needs which is measured: nothing is logged, and connections last.
fn http_preamble() -> String {
    nginx::http_preamble().replace("access_log access.log truth;", "access_log off;")
        + "keepalive_requests 1000000000;\n"
}

/// The agent as it is measured: it sees the scope, and exports to the sink. `more` are more of its options.
fn watching(scope: &Scope, sink: &sink::Sink, more: &[String]) -> Result<Agent> {
    let mut command = Agent::command()?;
    command.args(["run", "--cgroup"]).arg(scope.name()?);
    command.args(["--otlp", &sink.url(), "--otlp-protocol", "http/protobuf"]).args(more);
    Agent::start(command)
}

fn spread(figures: &[f64]) -> Spread {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (low, high) = ((sorted.len() - 1) / 2, sorted.len() / 2);
    Spread { min: sorted[0], median: f64::midpoint(sorted[low], sorted[high]), max: sorted[sorted.len() - 1] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_of_figures_is_between_the_two_in_the_middle() {
        assert_eq!(spread(&[4.0, 1.0, 3.0, 2.0]), Spread { min: 1.0, median: 2.5, max: 4.0 });
        assert_eq!(spread(&[5.0]), Spread { min: 5.0, median: 5.0, max: 5.0 });
    }
}
