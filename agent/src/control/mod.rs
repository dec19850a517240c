//! Control: what the user wants to see, as data, and how that becomes the kernel's filter maps.
//!
//! [`FilterRules`] is the user's view. [`FilterPlan`] is what the kernel maps get. [`SpanFilter`] chooses among finished
//! spans and never reaches the kernel. Nothing here writes a map: that is [`crate::probe`]'s work.
//!
//! # What filters mean
//! Rules of one dimension are alternatives (OR); dimensions narrow each other (AND); an exclude rule always wins.
//! The dimensions are: process id (with descendants), command name, executable, cgroup (and those below), container id,
//! port. `--port`, `--local-port` and `--remote-port` are one dimension. Without any include rule everything is seen.
//!
//! The kernel applies what it can decide. What it can't is applied once more by [`FilterRules::admits`], so the kernel
//! may let through too much and never too little.
#![forbid(unsafe_code)]

pub(crate) mod glob;
mod plan;
mod rules;
mod set;
mod view;

pub use self::{
    plan::FilterPlan,
    rules::{Dimension, RuleError, Target},
    set::{FilterRules, RuleSet},
    view::{
        Condition, Mark, PATHS, SpanFilter, StatusRange, ViewError, is_searched, marks, nanoseconds, parse_duration,
    },
};
