//! `cargo xtask test`: runs the suites one after another, counts, and says how each of them ended.

mod count;
mod jaeger;
mod suite;
mod web;

use std::{path::Path, time::Instant};

use anyhow::{Result, bail, ensure};

use self::{count::Count, suite::Suite};
use crate::{
    progress::{note, seconds},
    setup::{self, Need},
};

/// Which suites.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Run this suite only; may be repeated [default: all]
    #[arg(long = "suite", value_name = "NAME", value_enum)]
    suites: Vec<Suite>,
}

/// Prepares, runs, counts.
///
/// # Errors
/// When something can't be prepared, or a test failed.
pub fn run(root: &Path, options: &Options) -> Result<()> {
    let suites = if options.suites.is_empty() { Suite::ALL.to_vec() } else { options.suites.clone() };
    let mut needs: Vec<Need> = suites.iter().flat_map(|suite| suite.needs()).copied().collect();
    needs.dedup();
    setup::ensure(root, &needs)?;
    let mut closing = vec![];
    let mut total = Count::default();
    for suite in suites {
        let begun = Instant::now();
        note(&format!("suite {suite} begins"));
        let count = suite.run(root).unwrap_or_else(|error| {
            eprintln!("error: {error:#}");
            Count::FAILED
        });
        let line = format!("suite {suite}: {count} in {}", seconds(begun.elapsed()));
        note(&line);
        closing.push(line);
        total += count;
    }
    for line in closing {
        println!("{line}");
    }
    println!("{total}");
    ensure!(total.passed > 0 || total.failed > 0, "no test ran");
    if total.failed > 0 {
        bail!("{} of the tests failed", total.failed);
    }
    Ok(())
}
