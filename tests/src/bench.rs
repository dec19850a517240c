//! The overhead of the agent on a server that does nothing else: nginx bound to one core, requests over kept-alive
//! connections from another core, in interleaved pairs with and without the agent. It measures and prints; it judges
//! nothing.
//!
//! Two ratios are told. `ratio` is of requests per second, what users of the server feel; on a machine with few cores it
//! holds what the agent and the client take from each other, too. `capacity` is of requests per second of the server's
//! own time on its core: what the hooks cost it. The kernel's counting of programs' run time costs as well, so that it
//! is on only in one more run at the end.
#![forbid(unsafe_code)]

pub mod programs;
mod sink;
mod usage;

use std::{process::Command, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use serde::Serialize;
use tempfile::TempDir;

use crate::{
    agent::{Agent, Report},
    nginx, paths, ports,
    process::{Address, Process},
    scope::Scope,
};

/// Bytes of the page that is asked for: about as many as in nginx's own welcome page.
const PAGE: usize = 612;

/// How the benchmark runs.
#[derive(Clone, Debug)]
pub struct Options {
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
    /// What the agent used, run by run.
    pub agent: Vec<Used>,
    /// Events that hooks wanted to send, in all runs.
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
    /// Nanoseconds of the server's CPU time per request.
    server_ns: f64,
}

struct Bench {
    options: Options,
    cores: usize,
    scope: Scope,
    address: Address,
    sink: sink::Sink,
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
    let server_ns = |runs: &[Run]| spread(&runs.iter().map(|run| run.server_ns).collect::<Vec<_>>()).median;
    let sum = |name: &str| reports.iter().map(|report| report.figure(name)).sum::<Option<u64>>();
    Ok(Outcome {
        cores: bench.cores,
        ratio: spread(&ratios),
        capacity: spread(&capacities),
        server_ns_without: server_ns(&without),
        server_ns_with: server_ns(&with),
        agent,
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
        let Address::Tcp(socket) = &address else { bail!("not a TCP address") };
        let pin = if cores > 1 { "worker_cpu_affinity 01;\n" } else { "" };
        let configuration = format!(
            "{pin}{}http {{\n{}access_log off;\nkeepalive_requests 1000000000;\n\
             sendfile on;\nopen_file_cache max=10;\nserver {{ listen {socket}; root .; }}\n}}\n",
            nginx::preamble(1),
            nginx::http_preamble().replace("access_log access.log truth;", ""),
        );
        std::fs::write(directory.path().join("index.html"), vec![b'p'; PAGE])?;
        let nginx = nginx::start(&scope, directory.path(), &configuration, &address)?;
        Ok(Self { options, cores, scope, address, sink: sink::Sink::open()?, _nginx: nginx, _directory: directory })
    }

    /// CPU time of the server so far.
    fn server_cpu(&self) -> Result<Duration> {
        self.scope.processes().into_iter().map(usage::cpu).sum()
    }

    /// Full load.
    fn load(&self, length: Duration) -> Result<Run> {
        let wrk = paths::tool("wrk", "wrk")?;
        let mut command = if self.cores > 1 {
            let mut command = Command::new(paths::tool("taskset", "util-linux")?);
            command.args(["-c", "1"]).arg(wrk);
            command
        } else {
            Command::new(wrk)
        };
        let before = self.server_cpu()?;
        let output = command
            .args(["-t", "1", "-c", &self.options.connections.to_string()])
            .args(["-d", &format!("{}s", length.as_secs().max(1))])
            .arg(format!("http://{}/", self.address))
            .output()
            .context("cannot run wrk")?;
        let text = String::from_utf8_lossy(&output.stdout);
        ensure!(output.status.success(), "wrk failed: {text}{}", String::from_utf8_lossy(&output.stderr));
        ensure!(!text.contains("Non-2xx") && !text.contains("Socket errors"), "wrk met errors:\n{text}");
        let [rate, requests] = figures(&text).with_context(|| format!("wrk says no rate:\n{text}"))?;
        let used = self.server_cpu()?.saturating_sub(before);
        Ok(Run { rate, server_ns: used.as_secs_f64() * 1e9 / requests.max(1.0) })
    }

    /// The load with the agent; `look` is done before the agent ends.
    fn watched(&self, look: impl FnOnce() -> Result<()>) -> Result<(Run, Used, Report)> {
        let mut command = Agent::command()?;
        command.args(["run", "--cgroup"]).arg(self.scope.name()?);
        command.args(["--otlp", &self.sink.url(), "--otlp-protocol", "http/protobuf"]).args(&self.options.agent);
        let agent = Agent::start(command)?;
        let cpu = usage::cpu(agent.pid())?;
        let run = self.load(self.options.length)?;
        let used = Used {
            ready_s: agent.ready_in().as_secs_f64(),
            cpu: usage::cpu(agent.pid())?.saturating_sub(cpu).as_secs_f64() / self.options.length.as_secs_f64(),
            rss: usage::memory(agent.pid(), "VmRSS")?,
            rss_peak: usage::memory(agent.pid(), "VmHWM")?,
        };
        look()?;
        Ok((run, used, agent.stop()?))
    }
}

/// Requests per second and requests, as wrk tells them.
fn figures(text: &str) -> Option<[f64; 2]> {
    let rate = text.lines().find_map(|line| line.trim().strip_prefix("Requests/sec:"))?.trim().parse().ok()?;
    let requests = text.lines().find_map(|line| line.trim().split_once(" requests in "))?.0.trim().parse().ok()?;
    Some([rate, requests])
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
    fn the_rate_is_read_from_what_wrk_prints() {
        let text = "Running 1s test @ http://127.0.0.1:80/\n  1 threads\n  51300 requests in 1.00s, 8MB read\n\
                    Requests/sec:  51234.56\nTransfer/sec: 8MB\n";
        assert_eq!(figures(text), Some([51234.56, 51300.0]));
        assert_eq!(figures("nothing"), None);
    }

    #[test]
    fn the_median_of_an_even_number_of_figures_is_between_the_two_in_the_middle() {
        assert_eq!(spread(&[4.0, 1.0, 3.0, 2.0]), Spread { min: 1.0, median: 2.5, max: 4.0 });
        assert_eq!(spread(&[5.0]), Spread { min: 5.0, median: 5.0, max: 5.0 });
    }
}
