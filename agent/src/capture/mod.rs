//! From the kernel's rings, or from a recording, to events: draining, decoding, counting what is lost, record and replay.
//! What an event means is decided further right.

pub mod count;
pub mod drain;
pub mod event;
pub mod memory;
pub mod recording;
