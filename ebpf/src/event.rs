//! What the programs tell the agent.

use super::{COMM_LEN, PATH_LEN};

/// What an event is; the first field that a decoder looks at.
pub mod kind {
    /// [`ConnEvent`](super::ConnEvent): a connection was first seen, or more became known about it.
    pub const CONN: u16 = 1;
    /// [`DataEvent`](super::DataEvent): a call moved bytes.
    pub const DATA: u16 = 2;
    /// [`CloseEvent`](super::CloseEvent): a connection, or one direction of it, ended.
    pub const CLOSE: u16 = 3;
    /// [`ProcessEvent`](super::ProcessEvent): a process began another program.
    pub const EXEC: u16 = 4;
    /// [`ProcessEvent`](super::ProcessEvent): a process ended.
    pub const EXIT: u16 = 5;
    /// [`ProcessEvent`](super::ProcessEvent): a process called `io_uring_setup`.
    pub const IO_URING: u16 = 6;
    /// [`LookEvent`](super::LookEvent): the agent should look at what a descriptor is.
    pub const LOOK: u16 = 7;
    /// [`GoroutineEvent`](super::GoroutineEvent): a goroutine is at a request of a connection.
    pub const GOROUTINE: u16 = 8;
    /// [`ContextEvent`](super::ContextEvent): a request came with its trace, told by the host that sent it.
    pub const CONTEXT: u16 = 9;
    /// [`ContextEvent`](super::ContextEvent): the thread that sent a request publishes which trace and span it is at.
    pub const THREAD_CONTEXT: u16 = 10;
    /// [`TaskEvent`](super::TaskEvent): a task of a Python program sends.
    pub const TASK: u16 = 11;
    /// [`LoopEvent`](super::LoopEvent): the agent should look where a Python program keeps its tasks.
    pub const LOOP: u16 = 12;
    /// [`ThreadEvent`](super::ThreadEvent): a thread made another one.
    pub const THREAD: u16 = 13;
}

/// The head of every event.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EventHead {
    /// When the hook ran.
    pub time_ns: u64,
    /// The connection's id, unique while the agent runs and never used again; 0 for events of processes.
    pub conn: u64,
    /// For `DATA`: ordinal among the events of its connection and direction. It is used up by a lost event as well: a gap
    /// in it is a loss. The directions count by themselves, because two threads may use them at once. For `CLOSE`: how many
    /// ordinals both directions used up. Else 0, also for [`data_flag::HELLO`]: that one is lost is told by `pos`.
    pub seq: u32,
    /// Process (thread-group) id, in the initial pid namespace.
    pub tgid: u32,
    /// Thread id, in the initial pid namespace.
    pub tid: u32,
    /// One of [`kind`].
    pub kind: u16,
    /// Explicit padding.
    pub _pad: u16,
}
const _: () = assert!(size_of::<EventHead>() == 32);

/// Which end of a connection the process holds.
pub mod role {
    /// Not known (a connection older than the agent).
    pub const UNKNOWN: u8 = 0;
    /// The process connected.
    pub const CLIENT: u8 = 1;
    /// The process accepted.
    pub const SERVER: u8 = 2;
}

/// Address family of a connection.
pub mod family {
    /// Not known yet.
    pub const UNKNOWN: u8 = 0;
    /// `AF_UNIX`.
    pub const UNIX: u8 = 1;
    /// `AF_INET`, or `AF_INET6` with v4-mapped addresses.
    pub const INET: u8 = 2;
    /// `AF_INET6`.
    pub const INET6: u8 = 10;
    /// Something that is not a stream socket of those families.
    pub const OTHER: u8 = 255;
}

/// How a connection came to be known.
pub mod origin {
    /// `connect` was seen.
    pub const CONNECT: u8 = 1;
    /// `accept` was seen.
    pub const ACCEPT: u8 = 2;
    /// First seen at a message: it is older than the agent, or its descriptor arrived by an unseen way.
    pub const FOUND: u8 = 3;
    /// A session of TLS was seen from its beginning.
    pub const SESSION: u8 = 4;
}

/// Bits of [`ConnEvent::known`].
pub mod known {
    /// `local` and `local_port`.
    pub const LOCAL: u8 = 1;
    /// `peer` and `peer_port`.
    pub const PEER: u8 = 2;
    /// `cookie`.
    pub const COOKIE: u8 = 4;
    /// The descriptor is known to be a stream socket; without it user space has to look.
    pub const SOCKET: u8 = 8;
    /// `sequences`.
    pub const SEQUENCES: u8 = 16;
    /// User space is looking whether the addresses are translated on the way; an event with [`TRANSLATED`] follows.
    pub const LOOKING: u8 = 32;
    /// Nothing but `local` and `peer`, as the other end has them, whether or not they are translated on the way.
    pub const TRANSLATED: u8 = 64;
}

/// A connection was first seen, or more became known about it: the whole of what is known, each time.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConnEvent {
    /// Head; `kind` is [`kind::CONN`].
    pub head: EventHead,
    /// The socket's cookie (`SO_COOKIE`), or 0.
    pub cookie: u64,
    /// The socket's kernel address as a mere number, or 0: equal numbers at one time are one socket.
    pub sock: u64,
    /// When the connection was begun (SYN sent), or 0.
    pub syn_ns: u64,
    /// When it was established, or 0.
    pub established_ns: u64,
    /// When `accept` returned it, or 0.
    pub accepted_ns: u64,
    /// Local address. For a Unix socket whose peer is known ([`known::PEER`]): the socket's own number in the first
    /// eight bytes, so that the two ends mirror each other as those of TCP do.
    pub local: [u8; 16],
    /// Peer's address; for Unix sockets as `local`.
    pub peer: [u8; 16],
    /// Local port.
    pub local_port: u16,
    /// Peer's port.
    pub peer_port: u16,
    /// The descriptor, or -1.
    pub fd: i32,
    /// The listening descriptor that accepted it, or -1.
    pub listen_fd: i32,
    /// The network namespace's inode number, or 0 where that is not known: equal addresses in two namespaces are two
    /// connections.
    pub netns: u32,
    /// One of [`role`].
    pub role: u8,
    /// One of [`family`].
    pub family: u8,
    /// One of [`origin`].
    pub origin: u8,
    /// Bits of [`known`].
    pub known: u8,
    /// 1 for a session of TLS, whose bytes are plaintext; what else is told is of the socket that carries it.
    pub tls: u8,
    /// Explicit padding.
    pub _pad: [u8; 3],
    /// For a session the id of the connection that carries it, or 0 where that is not known.
    pub over: u64,
    /// Initial sequence numbers of TCP (RFC 9293 section 3.4.1): the one that this end sent, and the one that it received. What
    /// the kernel counts from tells the first of the two one too high for the end that accepted, and it is told as it is.
    pub sequences: [u32; 2],
}
const _: () = assert!(size_of::<ConnEvent>() == 144);

/// Direction of bytes, seen from the process.
pub mod direction {
    /// Received.
    pub const IN: u8 = 0;
    /// Sent.
    pub const OUT: u8 = 1;
}

/// Bits of [`DataEvent::flags`].
pub mod data_flag {
    /// Another event of the same call follows.
    pub const MORE: u8 = 1;
    /// The copied bytes begin where the kernel side believes that a message head begins.
    pub const START: u8 = 2;
    /// Bytes that should have been copied could not be: the fault is counted, and they read as lost.
    pub const FAULT: u8 = 4;
    /// Bytes at `off + copied` and later in this call were left out because they lie past a bound (segments, steps,
    /// size of a head), not because they belong to a body.
    pub const CUT: u8 = 8;
    /// What follows the event is not one run of bytes but several, each behind a [`PieceHead`](super::PieceHead): a call
    /// that moved many small frames is one event.
    pub const PIECES: u8 = 16;
    /// The copied bytes are of the first record of a socket that carries TLS, which is of the hand-shake: of its first
    /// [`HELLO_MAX`](super::HELLO_MAX) bytes. Nothing else of such a socket is told by `DATA`.
    pub const HELLO: u8 = 32;
}

/// Stands before each run of bytes of an event with [`data_flag::PIECES`], at a multiple of [`PIECE_ALIGN`] bytes behind
/// the event. The runs are in order and do not overlap.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PieceHead {
    /// Where in the call's bytes the run stands.
    pub off: u32,
    /// How many bytes it has.
    pub len: u32,
}
const _: () = assert!(size_of::<PieceHead>() == 8);
/// See [`PieceHead`].
pub const PIECE_ALIGN: usize = 4;

/// A call moved bytes. `copied` bytes of payload follow this struct; they stand at offset `off` of the `len` bytes that
/// the call moved. What lies between the copied parts of a call are bytes of a body: counted, never copied.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DataEvent {
    /// Head; `kind` is [`kind::DATA`], `time_ns` is when the call returned.
    pub head: EventHead,
    /// When a sending call was entered. For a receiving one, whose entry tells nothing of the message, `time_ns`.
    pub start_ns: u64,
    /// Bytes that this connection had moved in this direction before the call, since it was first seen.
    pub pos: u64,
    /// When the first of the received bytes arrived in the socket, or 0 where the kernel does not tell.
    pub arrived_ns: u64,
    /// Bytes that the call moved.
    pub len: u32,
    /// Where in them the copied bytes begin.
    pub off: u32,
    /// How many are copied; with [`data_flag::PIECES`] the size of all pieces with their heads.
    pub copied: u32,
    /// One of [`direction`].
    pub direction: u8,
    /// Bits of [`data_flag`].
    pub flags: u8,
    /// Explicit padding.
    pub _pad: u16,
}
const _: () = assert!(size_of::<DataEvent>() == 72);

/// How a connection ended.
pub mod close {
    /// The process closed its last descriptor.
    pub const CLOSED: u8 = 1;
    /// The process shut its sending side down.
    pub const SHUT_WRITE: u8 = 2;
    /// The peer ended its sending side (a read returned 0).
    pub const PEER_END: u8 = 3;
    /// Reset, or another error of the socket; `error` has it.
    pub const ERROR: u8 = 4;
    /// The process ended.
    pub const EXITED: u8 = 5;
}

/// A connection, or one direction of it, ended.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CloseEvent {
    /// Head; `kind` is [`kind::CLOSE`].
    pub head: EventHead,
    /// Bytes received since it was first seen.
    pub bytes_in: u64,
    /// Bytes sent since it was first seen.
    pub bytes_out: u64,
    /// Positive `errno`, or 0.
    pub error: i32,
    /// Smoothed round trip in microseconds, where `tcp` says so.
    pub srtt_us: u32,
    /// Smallest round trip in microseconds that was measured lately, where `tcp` says so.
    pub min_rtt_us: u32,
    /// Segments sent again, where `tcp` says so.
    pub retransmits: u32,
    /// One of [`close`].
    pub how: u8,
    /// 1 where `srtt_us`, `min_rtt_us` and `retransmits` are known.
    pub tcp: u8,
    /// Explicit padding.
    pub _pad: [u8; 6],
}
const _: () = assert!(size_of::<CloseEvent>() == 72);

/// Something happened to a process.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessEvent {
    /// Head; `kind` is one of [`kind::EXEC`], [`kind::EXIT`], [`kind::IO_URING`].
    pub head: EventHead,
    /// Id of its cgroup in the unified hierarchy.
    pub cgroup: u64,
    /// Its command name, padded with zeros.
    pub comm: [u8; COMM_LEN],
    /// For `EXEC`: the file name that was executed, padded with zeros.
    pub path: [u8; PATH_LEN],
    /// Explicit padding.
    pub _pad: [u8; 4],
}
const _: () = assert!(size_of::<ProcessEvent>() == 168);

/// A descriptor of which nothing is known is used again and again, and never for the beginning of a message of ours: the
/// agent should look whether it is a stream socket, and else strike it out.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LookEvent {
    /// Head; `kind` is [`kind::LOOK`].
    pub head: EventHead,
    /// The descriptor.
    pub fd: i32,
    /// Explicit padding.
    pub pad: u32,
}
const _: () = assert!(size_of::<LookEvent>() == 40);

/// A goroutine of a Go program is at a request of a connection: it is about to read one, which it will serve, or to send one.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GoroutineEvent {
    /// Head; `kind` is [`kind::GOROUTINE`], `conn` the connection on which the request is told.
    pub head: EventHead,
    /// The goroutine's number (`goid`), which no other of the process ever has.
    pub goroutine: u64,
    /// The number of the one that made it, or 0 (before Go 1.21).
    pub parent: u64,
    /// Address of the instruction that made it (`gopc`), where `parent` is known.
    pub site: u64,
    /// One of [`role`], that of the process.
    pub role: u64,
}
const _: () = assert!(size_of::<GoroutineEvent>() == 64);

/// Tasks that a [`TaskEvent`] has.
pub const TASKS_MAX: usize = 4;

/// A task of asyncio.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct TaskId {
    /// Its address, which a later one of the process may have again; 0 for none.
    pub address: u64,
    /// When it was made, in boot-time nanoseconds, or 0 where that was not seen.
    pub made_ns: u64,
}
const _: () = assert!(size_of::<TaskId>() == 16);

/// A task of asyncio, in a Python program, sends on a connection what may be the first of a message. Told before the bytes are.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TaskEvent {
    /// Head; `kind` is [`kind::TASK`].
    pub head: EventHead,
    /// When the call was entered: [`DataEvent::start_ns`] of its bytes.
    pub start_ns: u64,
    /// The task, the one that made it, and so on, as far as known; then zeros.
    pub tasks: [TaskId; TASKS_MAX],
}
const _: () = assert!(size_of::<TaskEvent>() == 104);

/// A thread made another one of its process.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ThreadEvent {
    /// Head; `kind` is [`kind::THREAD`], `tid` the thread that made it.
    pub head: EventHead,
    /// The new thread's id, in the initial pid namespace.
    pub made: u32,
    /// Explicit padding.
    pub pad: u32,
}
const _: () = assert!(size_of::<ThreadEvent>() == 40);

/// A Python program uses asyncio, and it is not known where it keeps which tasks are running, or whether the thread runs a loop.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LoopEvent {
    /// Head; `kind` is [`kind::LOOP`], `tid` the thread that used it.
    pub head: EventHead,
    /// Address of the module `_asyncio`, or of a task.
    pub object: u64,
}
const _: () = assert!(size_of::<LoopEvent>() == 40);

/// A request of an accepted connection came with a TCP option that tells the caller's trace and span; or what the thread publishes that
/// sent a request.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ContextEvent {
    /// Head; `kind` is [`kind::CONTEXT`] or [`kind::THREAD_CONTEXT`], `conn` the connection on which the request is told. Of the latter,
    /// `time_ns` is that of the `DATA` with which the request begins.
    pub head: EventHead,
    /// Ordinal of the request on it; 0 of a thread's.
    pub ordinal: u64,
    /// The trace's id, as on the wire.
    pub trace: [u8; 16],
    /// The id of the caller's span, as on the wire.
    pub span: [u8; 8],
}
const _: () = assert!(size_of::<ContextEvent>() == 64);
