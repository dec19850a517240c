//! Replay tests: dialogues between processes, played as events of the kernel side, against the spans that they must
//! give. No kernel, no clock, no waiting.

mod conventions;
mod crowd;
mod dialogue;
mod ends;
mod exported;
mod forged;
mod golden;
mod goroutines;
mod http2;
mod links;
mod published;
mod recorded;
mod recorded_http2;
mod served;
mod sessions;
mod styles;
mod table;
mod tasks;
mod tokens;
mod told;
mod tracers;
mod turns;
mod workers;
