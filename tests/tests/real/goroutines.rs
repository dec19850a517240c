//! Whose calls a Go program makes, told by its goroutines, with many requests open at once: with the host's Go, of whichever version.

use std::time::Duration;

use anyhow::{Result, ensure};
use netspan_tests::linking::{Case, Style};

/// A style: at least this share of the calls, in hundredths, gets its parent by `goroutine`, and none a wrong one.
fn are_linked(style: Style, share: usize) -> Result<()> {
    let _machine = crate::alone();
    let length = Duration::from_secs(4);
    let case = Case { style, concurrency: 32, length, delay: Duration::from_millis(20), seed: 1 };
    let outcome = case.run(&[])?;
    let by_goroutine = outcome.methods.get("goroutine").cloned().unwrap_or_default();
    ensure!(outcome.calls > 100 && by_goroutine.wrong == 0, "{outcome:#?}");
    // Goroutines that others make are believed once a place in the program has shown that its goroutines do not outlive requests.
    ensure!(by_goroutine.made * 100 >= outcome.calls * share && outcome.right_later >= 0.97, "{outcome:#?}");
    Ok(())
}

#[test]
fn calls_of_go_and_of_the_goroutines_that_it_makes_are_linked() -> Result<()> {
    are_linked(Style::Go, 90)
}

#[test]
fn calls_of_go_without_symbols_are_linked() -> Result<()> {
    are_linked(Style::GoStripped, 90)
}

#[test]
fn what_a_goroutine_calls_after_the_answer_is_no_requests() -> Result<()> {
    // Every seventeenth call or so is left over.
    are_linked(Style::GoLeft, 80)
}
