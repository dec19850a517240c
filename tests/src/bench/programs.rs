//! Run time of BPF programs, from `bpftool`, while the kernel counts it.
#![forbid(unsafe_code)]

use std::{collections::BTreeMap, fs, process::Command};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::paths;

/// The switch for the kernel's counting of run time.
const SWITCH: &str = "/proc/sys/kernel/bpf_stats_enabled";

/// A loaded program and how long it ran.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Hook {
    /// Id of the load.
    #[serde(skip_serializing)]
    pub id: u32,
    /// Name of the program.
    #[serde(default)]
    pub name: String,
    /// Time in it, in nanoseconds.
    #[serde(default, rename(deserialize = "run_time_ns"))]
    pub total_ns: u64,
    /// How often it ran.
    #[serde(default, rename(deserialize = "run_cnt"))]
    pub runs: u64,
    /// `total_ns / runs`
    #[serde(default)]
    pub mean_ns: u64,
}

/// While it lives, the kernel counts; afterwards the switch is as before.
#[derive(Debug)]
pub struct Counting {
    before: String,
}

impl Drop for Counting {
    fn drop(&mut self) {
        let _ = fs::write(SWITCH, &self.before);
    }
}

/// Lets the kernel count.
pub fn counting() -> Result<Counting> {
    let before = fs::read_to_string(SWITCH).with_context(|| format!("cannot read {SWITCH}"))?;
    fs::write(SWITCH, "1").with_context(|| format!("cannot write {SWITCH}"))?;
    Ok(Counting { before: before.trim().to_owned() })
}

/// All programs that are loaded now.
pub fn all() -> Result<Vec<Hook>> {
    let output = Command::new(paths::tool("bpftool", "bpftool")?).args(["prog", "show", "-j"]).output()?;
    serde_json::from_slice(&output.stdout).context("bpftool prints no list of programs")
}

/// The programs that were not there before.
pub fn since(before: &[Hook], now: Vec<Hook>) -> impl Iterator<Item = Hook> {
    now.into_iter().filter(|hook| before.iter().all(|old| old.id != hook.id))
}

/// The runs of equally named programs put together, the ones with the most time first.
pub fn summed(hooks: Vec<Hook>) -> Vec<Hook> {
    let mut by_name: BTreeMap<String, Hook> = BTreeMap::new();
    for hook in hooks.into_iter().filter(|hook| hook.runs > 0) {
        let sum = by_name.entry(hook.name.clone()).or_insert(Hook { total_ns: 0, runs: 0, ..hook.clone() });
        sum.total_ns += hook.total_ns;
        sum.runs += hook.runs;
        sum.mean_ns = sum.total_ns / sum.runs;
    }
    let mut all: Vec<Hook> = by_name.into_values().collect();
    all.sort_by_key(|hook| std::cmp::Reverse(hook.total_ns));
    all
}
