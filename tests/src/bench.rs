//! The overhead of the agent on a server that does nothing else: nginx bound to one core, requests over kept-alive
//! connections from another core, in interleaved pairs with and without the agent. It measures and prints; it judges
//! nothing.
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
    /// What the agent used, run by run.
    pub agent: Vec<Used>,
    /// Events that hooks wanted to send, in all runs.
    pub attempted: Option<u64>,
    /// Events that reached the agent.
    pub delivered: Option<u64>,
    /// Events that were lost.
    pub lost: Option<u64>,
    /// Run time of the BPF programs, over all runs.
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
    let hooks_before = programs::all()?;
    let _counting = programs::counting()?;
    let (mut without, mut with, mut agent, mut reports) = (vec![], vec![], vec![], vec![]);
    let mut hooks = Vec::new();
    for pair in 0..bench.options.pairs {
        eprintln!("pair {} of {}", pair + 1, bench.options.pairs);
        // Every second pair begins with the agent, so that a drift of the machine favours neither.
        for first in [true, false] {
            if first == (pair % 2 == 0) {
                without.push(bench.load(bench.options.length)?);
            } else {
                let (rate, used, report) = bench.watched(&hooks_before, &mut hooks)?;
                with.push(rate);
                agent.push(used);
                reports.push(report);
            }
        }
    }
    let ratios: Vec<f64> = with.iter().zip(&without).map(|(with, without)| with / without).collect();
    let sum = |name: &str| reports.iter().map(|report| report.figure(name)).sum::<Option<u64>>();
    Ok(Outcome {
        cores: bench.cores,
        ratio: spread(&ratios),
        agent,
        attempted: sum("attempted"),
        delivered: sum("delivered"),
        lost: sum("lost"),
        hooks: programs::summed(hooks),
        exported_bytes: bench.sink.bytes(),
        without,
        with,
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

    /// Requests per second under full load.
    fn load(&self, length: Duration) -> Result<f64> {
        let wrk = paths::tool("wrk", "wrk")?;
        let mut command = if self.cores > 1 {
            let mut command = Command::new(paths::tool("taskset", "util-linux")?);
            command.args(["-c", "1"]).arg(wrk);
            command
        } else {
            Command::new(wrk)
        };
        let output = command
            .args(["-t", "1", "-c", &self.options.connections.to_string()])
            .args(["-d", &format!("{}s", length.as_secs().max(1))])
            .arg(format!("http://{}/", self.address))
            .output()
            .context("cannot run wrk")?;
        let text = String::from_utf8_lossy(&output.stdout);
        ensure!(output.status.success(), "wrk failed: {text}{}", String::from_utf8_lossy(&output.stderr));
        ensure!(!text.contains("Non-2xx") && !text.contains("Socket errors"), "wrk met errors:\n{text}");
        rate_of(&text).with_context(|| format!("wrk says no rate:\n{text}"))
    }

    fn watched(&self, before: &[programs::Hook], hooks: &mut Vec<programs::Hook>) -> Result<(f64, Used, Report)> {
        let mut command = Agent::command()?;
        command.args(["run", "--cgroup"]).arg(self.scope.name()?);
        command.args(["--otlp", &self.sink.url(), "--otlp-protocol", "http/protobuf"]).args(&self.options.agent);
        let agent = Agent::start(command)?;
        let cpu = usage::cpu(agent.pid())?;
        let rate = self.load(self.options.length)?;
        let used = Used {
            ready_s: agent.ready_in().as_secs_f64(),
            cpu: usage::cpu(agent.pid())?.saturating_sub(cpu).as_secs_f64() / self.options.length.as_secs_f64(),
            rss: usage::memory(agent.pid(), "VmRSS")?,
            rss_peak: usage::memory(agent.pid(), "VmHWM")?,
        };
        hooks.extend(programs::since(before, programs::all()?));
        Ok((rate, used, agent.stop()?))
    }
}

fn rate_of(text: &str) -> Option<f64> {
    text.lines().find_map(|line| line.trim().strip_prefix("Requests/sec:")).and_then(|rate| rate.trim().parse().ok())
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
        let text = "Running 1s test @ http://127.0.0.1:80/\n  1 threads\nRequests/sec:  51234.56\nTransfer/sec: 8MB\n";
        assert_eq!(rate_of(text), Some(51234.56));
        assert_eq!(rate_of("nothing"), None);
    }

    #[test]
    fn the_median_of_an_even_number_of_figures_is_between_the_two_in_the_middle() {
        assert_eq!(spread(&[4.0, 1.0, 3.0, 2.0]), Spread { min: 1.0, median: 2.5, max: 4.0 });
        assert_eq!(spread(&[5.0]), Spread { min: 5.0, median: 5.0, max: 5.0 });
    }
}
