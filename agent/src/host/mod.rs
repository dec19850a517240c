//! Host: who is this process, which container or unit does it run in, what is its service called?
//!
//! [`Processes`] answers live, from procfs and from the kernel's process events; [`Recorded`] answers in a replay, from
//! the identities that a recording carries. The pipeline knows only the trait [`Identities`]. All files are read below a
//! [`ProcRoot`], so that tests bring a tree of their own. Nothing here decides what is seen: that is [`crate::control`].
//!
//! What its pod is called in Kubernetes comes from [`kubernetes`], which asks the API server; who asks here does not wait for that.
//!
//! What a process publishes of itself while it runs is read by [`context`], likewise beside the pipeline.
//!
//! Of a process's environment two variables are read and the rest is dropped; of its command line nothing but the
//! program's name leaves this module.
#![forbid(unsafe_code)]

mod cgroup;
mod conntrack;
mod container;
mod context;
mod environ;
#[cfg(test)]
pub(crate) mod fake;
mod identity;
mod interpreter;
pub mod kubernetes;
mod machine;
mod naming;
mod processes;
mod read;
mod recorded;
mod resource;
mod root;
mod survey;
mod title;

pub use self::{
    cgroup::{CgroupTree, CgroupWhere, Hierarchies},
    conntrack::Conntrack,
    container::Place,
    context::ContextCounts,
    identity::{Identity, NameSource},
    kubernetes::{Pods, Workload},
    machine::Machine,
    naming::{NameRule, NameRuleError},
    processes::{Counts, GRACE_NS, PROCESSES_MAX, Processes},
    recorded::Recorded,
    root::{ProcRoot, Stat},
    survey::{Surveyed, survey},
};

use std::sync::Arc;

use netspan_ebpf::ProcessEvent;

use crate::span::Resource;

/// Who processes are: the pipeline's only view of this module.
///
/// Stamps are boot-time nanoseconds of events, so that the answer doesn't depend on when the question is asked.
pub trait Identities {
    /// A process began another program, or ended.
    fn on_process_event(&mut self, event: &ProcessEvent);

    /// Who the process `pid` was at `at_ns`. There is always an answer; what isn't known is empty in it.
    fn identity(&mut self, pid: u32, at_ns: u64) -> Arc<Identity>;

    /// The same as OpenTelemetry's resource, shared by all spans of the process.
    fn resource(&mut self, pid: u32, at_ns: u64) -> Arc<Resource>;

    /// What was counted so far, for the account.
    fn counted(&self) -> Vec<(&'static str, u64)> {
        Vec::new()
    }
}
