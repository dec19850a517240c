//! Bounded waiting. Where the kernel offers an event it is awaited; a poll with a short pause is used only for what has
//! none (another program's port, its log file).
#![forbid(unsafe_code)]

use std::{
    path::Path,
    process::{Child, ExitStatus},
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, PidfdFlags, pidfd_open},
};

/// Pause between two looks at something that tells nobody when it changes.
const PAUSE: Duration = Duration::from_millis(5);

/// Looks until `look` finds something.
///
/// # Errors
/// When `look` fails, or `bound` has passed: the message says that `what` did not happen.
pub fn until<T>(what: &str, bound: Duration, mut look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let end = Instant::now() + bound;
    loop {
        if let Some(found) = look().with_context(|| format!("while waiting for {what}"))? {
            return Ok(found);
        }
        if Instant::now() >= end {
            bail!("{what} did not happen within {} s", bound.as_secs_f32());
        }
        sleep(PAUSE);
    }
}

/// Waits for a child's end; `None` when `bound` passed first.
pub fn exit(child: &mut Child, bound: Duration) -> Result<Option<ExitStatus>> {
    if let Some(status) = child.try_wait()? {
        return Ok(Some(status));
    }
    let pid = Pid::from_child(child);
    let handle = pidfd_open(pid, PidfdFlags::empty()).context("cannot watch a child process")?;
    let end = Instant::now() + bound;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let limit = Timespec { tv_sec: left.as_secs().cast_signed(), tv_nsec: left.subsec_nanos().into() };
        let mut watched = [PollFd::new(&handle, PollFlags::IN)];
        match poll(&mut watched, Some(&limit)) {
            Ok(0) => return Ok(child.try_wait()?),
            Ok(_) => return Ok(Some(child.wait()?)),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error).context("cannot wait for a child process"),
        }
    }
}

/// The lines of a file that is being written, without one that is not whole yet; none where there is no file.
pub fn whole_lines(file: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    whole.lines().map(str::to_owned).collect()
}
