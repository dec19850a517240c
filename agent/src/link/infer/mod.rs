//! Which request a call belongs to where nothing says so: statistics over many requests of one program.
//!
//! [`Model`] is what is known of a program; it is kept as long as the program runs. [`Model::learn`] makes it from a window
//! of requests and calls, [`Model::solve`] says of each call of a window which request it belongs to, and refines the model.
//! Nothing here takes a clock, does I/O, or depends on anything but its arguments: the same seed gives the same verdicts.
//!
//! What is maximised is the likelihood of all that requests did (`score`): when each call began after what it waited
//! for (`anchor`), when the request ended after its last call (`model`), which calls it made, and how many
//! (`pattern`), after which other and while how many were open (`context`), on which thread (`thread`). A call may
//! also belong to no request, at the price of how rare that is.
//!
//! 1. First ideas of the delays come from gaps that are there more often than chance explains (`first`).
//! 2. A first assignment goes through the calls in time; then block after block of calls is taken away and assigned
//!    anew, exactly by auction (`assign`), given the rest (`ascent`, `blocks`). Unless the model is thorough, requests that a call's start
//!    and end speak against are left out before (`problem`), and what is clear after the first assignment is not assigned together again.
//! 3. Calls change hands at random as often as the likelihood says (`sample`); models are refitted from that
//!    (`tally`, `learn`), and how sure a verdict is comes from it (`verdict`).
//! 4. A window is solved several times from disturbed beginnings; only what they agree on is sure (`solve`).
//! 5. Where exact links are known, claims are corrected by what held-out ones show (`calibrate`). Where there are none,
//!    the share of samples is made stricter, and falls with the doubts about the window as a whole.
#![forbid(unsafe_code)]
#![expect(
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "counts and gaps become likelihoods, which are no more exact than a float"
)]
#![expect(clippy::similar_names, reason = "a call and its caller, a score and its scorer are what this is about")]

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
mod signal;
mod solve;
mod state;
mod tally;
#[cfg(test)]
mod tests;
mod verdict;

pub use calibrate::{Calibration, OBSERVATIONS_MAX, OBSERVATIONS_MIN};
pub use model::{Model, PAIRS_MAX};
pub use pattern::PATTERNS_MAX;
pub use problem::OPEN_MAX;
pub use routes::ROUTES_MAX;

/// The most that statistics may claim: what is exact has 1.
pub const CONFIDENCE_MAX: f64 = 0.999;

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
    /// The request that the thread was at last, by its place in the window.
    pub last: Option<u32>,
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
    /// The same before it was corrected by what held-out calls show: what [`Calibration::observe`] wants to know.
    pub claim: f64,
    /// The next probable one, and how sure that would be.
    pub runner_up: Option<(u32, f64)>,
    /// How many requests were open when the call began.
    pub open: u32,
    /// The last thing that happened to both before was read by one system call: nothing tells them apart, and how well the program is known
    /// does not show here.
    pub is_tie: bool,
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
