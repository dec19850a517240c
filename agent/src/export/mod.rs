//! Where spans go: a fan-out to bounded sinks, the OTLP sink, and the terminal's lines and waterfalls. Nothing here makes
//! the pipeline wait: a full sink counts a drop.
#![forbid(unsafe_code)]

pub mod fanout;
pub mod otlp;
pub mod terminal;

pub use fanout::{Fanout, Sink, SinkStats};
