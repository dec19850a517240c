//! Which request a call belongs to where nothing says so: statistics over many requests of one program.
#![forbid(unsafe_code)]

mod absorb;
mod anchor;
mod ascent;
mod assign;
mod blocks;
mod calibrate;
mod context;
mod density;
mod first;
mod learn;
mod model;
mod pattern;
mod problem;
mod random;
mod routes;
mod sample;
mod scale;
mod score;
mod solve;
mod state;
mod tally;
mod thread;
mod verdict;

pub use calibrate::Calibration;
pub use model::{Model, PAIRS_MAX};
pub use pattern::PATTERNS_MAX;
pub use problem::OPEN_MAX;
pub use routes::ROUTES_MAX;

/// A request that a process received.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// When it was read, in nanoseconds.
    pub start_ns: u64,
    /// When it was answered; `None` while it is open.
    pub end_ns: Option<u64>,
    /// What was asked for: any number, the same for the same.
    pub route: u32,
    /// The thread that read it.
    pub thread: Option<u64>,
    /// Whether the window has all calls that were made in its time: only then is it learned from how many it makes.
    pub whole: bool,
}

/// A call that the process made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Call {
    /// When it was begun, in nanoseconds.
    pub start_ns: u64,
    /// When its answer was read.
    pub end_ns: u64,
    /// What was asked for, and of whom.
    pub route: u32,
    /// The thread that made it.
    pub thread: Option<u64>,
    /// What exact methods say of its owner.
    pub owner: Owner,
    /// A request that it can't belong to: the other end of the same exchange.
    pub barred: Option<u32>,
}

/// What is known of the request that a call belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Owner {
    /// Nothing: it is asked for.
    #[default]
    Unknown,
    /// It is this one, by its place in the window.
    Request(u32),
    /// None: nobody's request caused it.
    Nobody,
}

/// Requests and calls of one process over a time.
#[derive(Clone, Copy, Debug, Default)]
pub struct Window<'a> {
    /// Its requests, in any order.
    pub requests: &'a [Request],
    /// Its calls, in any order.
    pub calls: &'a [Call],
}

/// What was found out of a call.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Verdict {
    /// The request that it most probably belongs to, by its place in the window.
    pub request: Option<u32>,
    /// How sure that is, from 0 to 1.
    pub confidence: f64,
    /// The next probable one, and how sure that would be.
    pub runner_up: Option<(u32, f64)>,
    /// How many requests were open when the call began.
    pub open: u32,
}

/// What happened in windows so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Windows solved.
    pub windows: u64,
    /// Calls that began while more than [`OPEN_MAX`] requests were open; the earlier ones were not looked at.
    pub crowded: u64,
    /// Calls that could not be assigned exactly within the bound of work, and were taken as they came.
    pub cut_short: u64,
}
