//! What a process used, from `/proc`.
#![forbid(unsafe_code)]

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use rustix::param::clock_ticks_per_second;

/// User and system time of all its threads since it began.
pub fn cpu(pid: u32) -> Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).with_context(|| format!("process {pid} is gone"))?;
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
    // utime and stime are the fields 14 and 15 of the file; the name is the second, and what precedes is cut off.
    let ticks: u64 = fields.iter().skip(11).take(2).map(|field| field.parse::<u64>().unwrap_or(0)).sum();
    Ok(Duration::from_millis(ticks * 1000 / clock_ticks_per_second()))
}

/// The same, as soon as the process is at rest: for half a second it used less than a tenth of that. A process that is
/// not at rest within ten seconds is looked at as it is.
pub fn at_rest(pid: u32) -> Result<Duration> {
    let (pause, until) = (Duration::from_millis(500), Instant::now() + Duration::from_secs(10));
    let mut used = cpu(pid)?;
    loop {
        thread::sleep(pause);
        let now = cpu(pid)?;
        if now.saturating_sub(used) < pause / 10 || Instant::now() > until {
            return Ok(now);
        }
        used = now;
    }
}

/// A line of `/proc/<pid>/status` that is in kB, as bytes.
pub fn memory(pid: u32, line: &str) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).with_context(|| format!("process {pid} is gone"))?;
    let value = status.lines().find_map(|found| found.strip_prefix(line)?.strip_prefix(':'));
    let kilobytes: u64 = value
        .and_then(|value| value.split_whitespace().next())
        .with_context(|| format!("no {line} in the status of process {pid}"))?
        .parse()?;
    Ok(kilobytes * 1024)
}
