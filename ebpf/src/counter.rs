//! Counters of the kernel side, one 64-bit cell per CPU each; the agent adds the cells.
//!
//! For events: `attempted = submitted + ring_full`. For maps: each `*_FULL` counts entries that could not be made.

/// Events that a hook wanted to send.
pub const EVENT_ATTEMPTED: u32 = 0;
/// Events put into a ring.
pub const EVENT_SUBMITTED: u32 = 1;
/// Events lost because the ring was full.
pub const RING_FULL: u32 = 2;
/// Connections that the full connection table let go while they were in use, or had no room for.
pub const CONN_FULL: u32 = 3;
/// Descriptors lost because the descriptor table was full.
pub const FD_FULL: u32 = 4;
/// Calls lost because the table of threads was full.
pub const CALL_FULL: u32 = 5;
/// Processes decided anew at each call because the process table was full.
pub const PROCESS_FULL: u32 = 6;
/// Socket addresses that could not be remembered.
pub const SOCK_FULL: u32 = 7;
/// User memory that could not be read (paged out or unmapped).
pub const READ_FAULT: u32 = 8;
/// Calls with more segments, steps or messages than are looked at.
pub const CALL_CUT: u32 = 9;
/// Message heads longer than [`HEAD_MAX`](super::HEAD_MAX).
pub const HEAD_CUT: u32 = 10;
/// Connections given up as no protocol of ours.
pub const OPAQUE: u32 = 11;
/// Bytes moved on connections that passed the filters.
pub const BYTES_SEEN: u32 = 12;
/// Bytes copied to user space.
pub const BYTES_COPIED: u32 = 13;
/// Calls that could not be tied to a connection.
pub const UNTIED: u32 = 14;
/// Runs of a program that found no free cell to work in: what they would have told is lost.
pub const SCRATCH_FULL: u32 = 15;
/// Calls whose return was not seen (kretprobes beyond the kernel's limit): their bytes are lost.
pub const RETURN_MISSED: u32 = 16;
/// Kernel memory that could not be read.
pub const KERNEL_FAULT: u32 = 17;
/// Runs of a program that the kernel skipped because it was already running on that CPU. The agent asks the kernel
/// for it; what such a run was about, and whether it would have been seen, is not known.
pub const RUN_MISSED: u32 = 18;
/// Sessions of TLS that could not be remembered.
pub const SESSION_FULL: u32 = 19;
/// Records of rustls that were not read, because their socket was not found.
pub const RECORD_UNTIED: u32 = 20;
/// Records of rustls that are not laid out as netspan knows it.
pub const RECORD_UNREAD: u32 = 21;
/// Requests that were sent with the TCP option; under TLS also the last writes of hand-shakes.
pub const OPTION_SENT: u32 = 22;
/// Requests that came with it.
pub const OPTION_RECEIVED: u32 = 23;
/// Segments that had no room for it.
pub const OPTION_NO_ROOM: u32 = 24;
/// Connections whose peer did not answer the offer.
pub const OPTION_NO_PEER: u32 = 25;
/// Requests that could have been sent with it, had it been known what they were made for.
pub const OPTION_UNSURE: u32 = 26;
/// Times at which TCP had moved more bytes of a connection than its calls told: runs of programs that the kernel skipped, calls
/// that no hook sees. The bytes are told as lost.
pub const BYTES_UNSEEN: u32 = 27;
/// Contexts of threads that could not be read.
pub const THREAD_FAULT: u32 = 28;
/// How many counters there are.
pub const COUNT: u32 = 29;
/// Rows of counters; a counter's value is its sum over all rows and CPUs.
pub const ROWS: u32 = super::SCRATCH_CELLS + 1;
