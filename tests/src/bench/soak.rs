//! The agent over a long time: an nginx that passes all requests on to another one, at a steady rate, and the agent's memory twice a
//! minute. It measures and prints; it judges nothing.
#![forbid(unsafe_code)]

use std::{
    sync::atomic::AtomicBool,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde::Serialize;

use super::{http_preamble, sink::Sink, spread, usage, watching};
use crate::{
    drive::Ask,
    load::{self, Dice, Plan},
    nginx, ports,
    process::Address,
    scope::Scope,
};

/// Connections of the load. It opens them anew for each turn.
const CONNECTIONS: u32 = 32;
/// One request in so many asks the server to end its connection.
const CLOSE_SHARE: u64 = 100;
/// Values of the id in a path.
const IDS: u64 = 1_000_000;
/// Seconds between two looks at the agent.
const TURN_S: u32 = 30;
/// The turn in which the agent stands still, if it does, from 0.
const STANDSTILL_AT: u32 = 4;

/// How it runs.
#[derive(Clone, Debug)]
pub struct Options {
    /// How long the load lasts.
    pub minutes: u32,
    /// Requests per second that the client makes; nginx makes as many, and each request is three spans.
    pub rate: u32,
    /// For how long the agent stands still in the third minute, as on a host that is busy with something else.
    pub standstill: Duration,
    /// More options for the agent.
    pub agent: Vec<String>,
}

/// What the agent used, up to a time.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Look {
    /// Minutes since the load began.
    pub minutes: f64,
    /// Resident memory, in mebibytes.
    pub rss_mib: f64,
    /// The part of it that is no file's.
    pub anonymous_mib: f64,
    /// Share of one core since the look before.
    pub cpu: f64,
}

/// Everything that was measured.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// Requests per second that were asked for.
    pub rate: u32,
    /// The client's requests that were answered.
    pub requests: u64,
    /// Spans that the agent made; three of each request would be all.
    pub spans: Option<u64>,
    /// Events that hooks wanted to send.
    pub attempted: Option<u64>,
    /// Events that reached the agent.
    pub delivered: Option<u64>,
    /// Events that were lost.
    pub lost: Option<u64>,
    /// Bytes that the sink of the export got.
    pub exported_bytes: u64,
    /// Mebibytes per hour by which anonymous memory grew in the second half of the time: the slope of the line through its looks.
    pub growth_mib_per_hour: f64,
    /// The middle of the share of one core.
    pub cpu: f64,
    /// The looks, in turn.
    pub looks: Vec<Look>,
}

/// Runs it.
///
/// # Errors
/// When a program is missing or fails, or the load gets wrong answers.
pub fn soak(options: &Options) -> Result<Outcome> {
    let turns = options.minutes * 60 / TURN_S;
    ensure!(turns >= 4, "at least two minutes are needed");
    let scope = Scope::new()?;
    let directory = tempfile::tempdir()?;
    let (front, back) = (Address::local(ports::free()?), Address::local(ports::free()?));
    let configuration = format!(
        "{}http {{\n{}upstream back {{ server {back}; keepalive 64; }}\n\
         server {{ listen {back}; location / {{ return 200 'soaked'; }} }}\n\
         server {{ listen {front}; location / {{\n proxy_http_version 1.1; proxy_set_header Connection ''; proxy_pass http://back;\n }} }}\n}}\n",
        nginx::preamble(1),
        http_preamble(),
    );
    let _nginx = nginx::start(&scope, directory.path(), &configuration, &front)?;
    let sink = Sink::open()?;
    let agent = watching(&scope, &sink, &options.agent)?;
    let mut used = usage::at_rest(agent.pid())?;
    let (mut requests, mut looks) = (0, Vec::new());
    for turn in 0..turns {
        let plan = Plan {
            seed: turn.into(),
            concurrency: CONNECTIONS,
            requests: options.rate * TURN_S,
            rate: Some(options.rate.into()),
        };
        let began = Instant::now();
        let still = if turn == STANDSTILL_AT { options.standstill } else { Duration::ZERO };
        requests += thread::scope(|scope| {
            let standing = scope.spawn(|| stand_still(agent.pid(), still));
            let answers = load::run(&front, plan, &AtomicBool::new(false), ask)?;
            standing.join().expect("it does not panic")?;
            Ok::<_, anyhow::Error>(answers.len() as u64)
        })?;
        let cpu = usage::cpu(agent.pid())?;
        let took = began.elapsed();
        let look = Look {
            minutes: f64::from((turn + 1) * TURN_S) / 60.0,
            rss_mib: mib(usage::memory(agent.pid(), "VmRSS")?),
            anonymous_mib: mib(usage::memory(agent.pid(), "RssAnon")?),
            cpu: cpu.saturating_sub(used).as_secs_f64() / took.as_secs_f64(),
        };
        used = cpu;
        eprintln!(
            "{:6.1} min: {:6.1} MiB resident, {:6.1} MiB of it anonymous; {:.2} of a core; the turn took {:.1} s",
            look.minutes,
            look.rss_mib,
            look.anonymous_mib,
            look.cpu,
            took.as_secs_f64()
        );
        looks.push(look);
    }
    let report = agent.stop()?;
    eprintln!("What the agent said:\n{}", report.errors);
    Ok(Outcome {
        rate: options.rate,
        requests,
        spans: report.figure("spans"),
        attempted: report.figure("attempted"),
        delivered: report.figure("delivered"),
        lost: report.figure("lost"),
        exported_bytes: sink.bytes(),
        growth_mib_per_hour: growth_per_hour(&looks[looks.len() / 2..]).context("looks at one time only")?,
        cpu: spread(&looks.iter().map(|look| look.cpu).collect::<Vec<_>>()).median,
        looks,
    })
}

/// Stops a process, and lets it go on later.
fn stand_still(pid: u32, time: Duration) -> Result<()> {
    if time.is_zero() {
        return Ok(());
    }
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).context("no process")?;
    kill_process(pid, Signal::STOP)?;
    thread::sleep(time);
    Ok(kill_process(pid, Signal::CONT)?)
}

fn mib(bytes: u64) -> f64 {
    f64::from(u32::try_from(bytes >> 10).unwrap_or(u32::MAX)) / 1024.0
}

/// One of many paths by one route, and now and then the last of a connection.
fn ask(dice: &mut Dice) -> Ask {
    Ask { close: dice.below(CLOSE_SHARE) == 0, ..Ask::get(&format!("/items/{}", dice.below(IDS))) }
}

/// The slope of the line through the looks that is nearest to them (least squares).
fn growth_per_hour(looks: &[Look]) -> Option<f64> {
    let points = || looks.iter().map(|look| (look.minutes / 60.0, look.anonymous_mib));
    let count = f64::from(u32::try_from(looks.len()).ok()?);
    let (hours, mib) = points().fold((0.0, 0.0), |(hours, mib), point| (hours + point.0, mib + point.1));
    let (hours, mib) = (hours / count, mib / count);
    let (above, below) = points().fold((0.0, 0.0), |(above, below), point| {
        (above + (point.0 - hours) * (point.1 - mib), below + (point.0 - hours).powi(2))
    });
    (below > 0.0).then(|| above / below)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_the_slope_of_the_looks() {
        let look = |minutes, anonymous_mib| Look { minutes, rss_mib: 0.0, anonymous_mib, cpu: 0.0 };
        let growing = [look(30.0, 1000.0), look(60.0, 2000.0), look(90.0, 3000.0)];
        assert!((growth_per_hour(&growing).unwrap() - 2000.0).abs() < 1e-6);
        let flat = [look(30.0, 1000.0), look(60.0, 1100.0), look(90.0, 1000.0)];
        assert!(growth_per_hour(&flat).unwrap().abs() < 1e-6);
        assert_eq!(growth_per_hour(&[look(30.0, 1000.0)]), None);
    }
}
