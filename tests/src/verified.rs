//! What the verifier said of the programs that `netspan doctor` loaded, against the budget of each.
#![forbid(unsafe_code)]

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::agent::Agent;

/// The most instructions that the verifier may go through for one program: half of what kernels permit.
pub const BUDGET: u64 = 500_000;

/// A program, where it is attached, and the number of instructions that the verifier went through; kernels before 5.16
/// do not tell.
pub type Verified = (String, String, Option<u64>);

/// Asks `netspan doctor`, with these options.
///
/// # Errors
/// When it loads nothing, or a program is over its budget.
pub fn programs(options: &[String]) -> Result<Vec<Verified>> {
    let output = Agent::command()?.args(["doctor", "--json", "--pid", "1"]).args(options).output()?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "netspan doctor failed: {errors}");
    let told: Value = serde_json::from_slice(&output.stdout).context("netspan doctor prints no JSON")?;
    let hooks = told["capture"]["hooks"].as_array().with_context(|| format!("no hooks in {}", told["capture"]))?;
    let text = |hook: &Value, name: &str| hook[name].as_str().unwrap_or("").to_owned();
    // What waits for a module was verified, too.
    let loaded = hooks.iter().filter(|hook| hook["state"] == "attached" || hook["state"] == "waiting");
    let programs: Vec<Verified> = loaded
        .map(|hook| (text(hook, "program"), text(hook, "target"), hook["verified_instructions"].as_u64()))
        .collect();
    ensure!(!programs.is_empty(), "nothing is attached: {told}");
    for (program, target, verified) in &programs {
        let verified = verified.unwrap_or(0);
        ensure!(verified <= BUDGET, "{program} at {target}: {verified} instructions, the budget is {BUDGET}");
    }
    Ok(programs)
}
