//! Servers and clients of gRPC that share one service, `lab.Lab`. Its messages are bytes without a schema, so nothing is
//! generated; what goes over the wire is gRPC in full.
//!
//! | Method | Kind | Does |
//! |---|---|---|
//! | `Echo` | unary | gives the message back |
//! | `Count` | server streaming | `n` gives `n` messages; `n code` ends with that status after them |
//! | `Sum` | client streaming | gives the sum of the numbers it got |
//! | `Chat` | bidirectional | gives each message back when it comes |
//! | `Fail` | unary | `code text` ends with that status |
//! | `Slow` | unary | answers after so many milliseconds |
#![forbid(unsafe_code)]

mod peer;
mod plan;
mod scenario;
pub mod tonic;

pub use peer::{Called, Peer, Running};
pub use plan::{Call, Outcome, Plan, calls};
pub use scenario::Case;

/// The service's name.
pub const SERVICE: &str = "lab.Lab";

/// Makes what servers and clients need from the network, where it is not there yet.
pub fn prepare() -> anyhow::Result<()> {
    crate::node::modules().and(crate::python::programs()).map(|_| ())
}
