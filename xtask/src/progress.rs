//! Tells on standard error what a task is doing, how far it is, and how long each step took. It decides nothing.

use std::time::{Duration, Instant};

/// A step that has begun.
#[derive(Debug)]
pub struct Step {
    title: String,
    begun: Instant,
}

impl Step {
    /// Says that a step begins.
    pub fn begin(title: impl Into<String>) -> Self {
        let title = title.into();
        eprintln!("[xtask] {title} ...");
        Self { title, begun: Instant::now() }
    }

    /// Says that the step is done, with what came of it, and how long it took.
    pub fn done(self, outcome: &str) {
        eprintln!("[xtask] {}: {outcome} ({})", self.title, seconds(self.begun.elapsed()));
    }
}

/// Says something that takes no time.
pub fn note(text: &str) {
    eprintln!("[xtask] {text}");
}

/// A duration as people read it, to a tenth of a second.
pub fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}
