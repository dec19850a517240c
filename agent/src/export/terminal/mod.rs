//! What `netspan watch` and `netspan replay` print: a line for each span, or a waterfall for each trace. Functions of
//! spans to text: no clock, no I/O (but for [`look_of`], which asks the terminal how wide it is), and in the order in which
//! the spans are given.

mod bar;
mod clean;
mod describe;
#[cfg(test)]
#[cfg(test)]
mod golden;
mod lines;
mod look;
mod row;
mod surroundings;
mod traces;
mod tree;
mod units;
mod waterfall;

pub use clean::{clean, columns};
pub use lines::Lines;
pub use look::Look;
pub use surroundings::look_of;
pub use traces::{Bounds, Counters, Waterfalls};
pub use units::brief;
