//! nginx, with its access log as the ground truth.

use anyhow::{Context, Result, bail};
use netspan_tests::{scenario::nginx_mixed, verified};

use crate::{alone, together};

/// Environment variable that sets the number of requests; the whole promise is 100000.
const REQUESTS: &str = "NETSPAN_TEST_REQUESTS";
/// Connections at once.
const CONCURRENCY: u32 = 32;
/// Attempts at durations that agree.
const ATTEMPTS: u32 = 3;
/// Without it.
const REQUESTS_DEFAULT: u32 = 10_000;

#[test]
fn the_verifier_goes_through_each_program_within_its_budget() -> Result<()> {
    let _machine = together();
    for (program, target, verified) in verified::programs(&[])? {
        println!("{program} at {target}: {verified:?} instructions");
    }
    Ok(())
}

#[test]
fn the_spans_of_a_mixed_load_are_exactly_the_access_log() -> Result<()> {
    let _machine = alone();
    let requests = match std::env::var(REQUESTS) {
        Ok(text) => text.parse().with_context(|| format!("{REQUESTS}={text} is no number"))?,
        Err(_) => REQUESTS_DEFAULT,
    };
    // The spans must be right each time. How near their durations are to nginx's own depends on what else the machine
    // does: nginx takes its times before and after it waits for the processor.
    let mut found = Vec::new();
    for _ in 0..ATTEMPTS {
        let mixed = nginx_mixed(requests, CONCURRENCY, false, &[])?;
        if mixed.is_near() {
            return Ok(());
        }
        found.push(mixed);
    }
    bail!("fewer than 99 % of the durations are within 1 ms: {found:?}")
}
