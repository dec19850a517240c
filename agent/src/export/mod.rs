//! Where spans go: a fan-out to bounded sinks, the delivery to receivers and files, and the terminal's lines and
//! waterfalls. Nothing here makes the pipeline wait: a full sink counts a drop.
#![forbid(unsafe_code)]

pub mod delivery;
pub mod fanout;
pub mod terminal;

pub use fanout::{Fanout, Sink, SinkStats, Watch};
