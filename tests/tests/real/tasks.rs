//! Whose calls a program on asyncio makes, told by its tasks, with many requests open at once.

use std::time::Duration;

use anyhow::{Result, ensure};
use netspan_tests::linking::{Case, Style};

/// A style at this concurrency: nearly all calls get their parent by `task`, and none a wrong one.
fn are_linked(style: Style, concurrency: u32) -> Result<()> {
    let _machine = crate::alone();
    let length = Duration::from_secs(4);
    let case = Case { style, concurrency, length, delay: Duration::from_millis(20), seed: 1 };
    let outcome = case.run(&[])?;
    let by_task = outcome.methods.get("task").cloned().unwrap_or_default();
    ensure!(outcome.calls > 100 && by_task.wrong == 0, "{outcome:#?}");
    // Requests of the first moments are answered before it is known where the program keeps its tasks.
    ensure!(by_task.made * 100 >= outcome.calls * 90 && outcome.right_later >= 0.97, "{outcome:#?}");
    Ok(())
}

#[test]
fn calls_of_aiohttp_are_linked_by_task_with_many_requests_open() -> Result<()> {
    are_linked(Style::AsyncioTimers, 32)
}

#[test]
fn calls_of_aiohttp_in_parallel_are_linked_by_task() -> Result<()> {
    are_linked(Style::Asyncio, 32)
}

#[test]
fn calls_of_uvicorn_with_httpx_are_linked_by_task() -> Result<()> {
    are_linked(Style::Uvicorn, 16)
}
