//! Protocols as seen from the middle: bytes in, exchanges out.
//!
//! Nothing here does I/O, takes a clock, or panics: a parser is a function of bytes and state, and stamps come with the
//! bytes. Which protocol a connection speaks is found by `detect`; each protocol has a module of its own.
#![forbid(unsafe_code)]

pub mod detect;
pub mod http1;
pub mod http2;
pub mod tls;
mod token;

use bytes::Bytes;
pub use token::Tokens;

/// The call that moved some bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stamp {
    /// When the call was entered, in boot-time nanoseconds.
    pub start_ns: u64,
    /// When it returned.
    pub end_ns: u64,
    /// When the received bytes arrived in the socket, where the kernel tells.
    pub arrived_ns: Option<u64>,
    /// Process that called.
    pub tgid: u32,
    /// Thread that called.
    pub tid: u32,
}

/// Which end of the connection is looked at: it decides in which order bytes of the two flows existed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Observer {
    /// The process sends requests and receives responses.
    Client,
    /// The process receives requests and sends responses.
    Server,
}

impl Observer {
    /// The flow that is received, or the one that is sent.
    pub const fn flow(self, received: bool) -> Flow {
        match (self, received) {
            (Self::Client, false) | (Self::Server, true) => Flow::Requests,
            (Self::Client, true) | (Self::Server, false) => Flow::Responses,
        }
    }
}

/// What travels in one direction of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Flow {
    /// From the client to the server.
    Requests,
    /// From the server to the client.
    Responses,
}

/// A run of consecutive bytes of one flow. The runs of a flow, in order, are the whole flow: nothing is left out
/// without a chunk that says how many bytes and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chunk<'a> {
    /// The bytes themselves.
    Copied(&'a [u8]),
    /// Bytes of a body: counted by the kernel side, not copied.
    Skipped(u64),
    /// Bytes past one of the kernel side's bounds: counted, not copied, and nobody knows what they were.
    Cut(u64),
    /// Bytes whose events were lost; 0 where even their number is unknown. The call that comes with them says by when
    /// they had moved.
    Lost(u64),
}

/// How a flow, or the whole connection, ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The sender of this flow ended it in order (shut-down or close).
    Finished,
    /// Reset or another socket error (positive `errno`).
    Error(i32),
    /// The process that held this end of the connection closed it.
    Closed,
    /// The process that held this end of the connection ended.
    Exited,
    /// The agent stopped looking (shut-down, table full): nothing is known of the end.
    Unobserved,
}

/// Version of HTTP that a message names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Version {
    /// HTTP/1.0
    Http10,
    /// HTTP/1.1
    Http11,
    /// HTTP/2
    Http2,
}

/// The head of a request. Only headers of the allow-list ([`crate::span::redact`]) are here, with their names in lower
/// case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Method as written; empty where it is not known.
    pub method: Bytes,
    /// Scheme, where the request itself names it apart from its target (`:scheme`, RFC 9113, section 8.3.1).
    pub scheme: Option<Bytes>,
    /// Request target as written, but for the values of its query, which are masked unless asked for; empty where it is
    /// not known.
    pub target: Bytes,
    /// Version.
    pub version: Version,
    /// Headers on the allow-list, in their order.
    pub headers: Vec<(Bytes, Bytes)>,
}

/// The head of a final response, headers as in [`Request`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// Status code, 100 to 999; 0 where it is not known.
    pub status: u16,
    /// Version.
    pub version: Version,
    /// Headers on the allow-list, in their order.
    pub headers: Vec<(Bytes, Bytes)>,
}

/// Sizes of one message, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Size {
    /// Everything on the wire: heads, framing, body, trailers.
    pub wire: u64,
    /// The body's payload, without chunk heads.
    pub body: u64,
}

/// One message of an exchange: when its first and last bytes moved, and how large it was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Transfer {
    /// The call that moved its first byte.
    pub first: Stamp,
    /// The call that moved its last byte seen so far.
    pub last: Stamp,
    /// Sizes seen so far.
    pub size: Size,
}

/// Why an exchange is not the whole truth. The names are the values of `netspan.incomplete`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Incomplete {
    /// Events were lost within it.
    Lost,
    /// A part lay past one of the kernel side's bounds.
    Cut,
    /// The head could not be parsed as a whole.
    Malformed,
    /// A head was longer than is kept.
    HeadTooLong,
    /// It had begun before the agent looked.
    JoinedLate,
    /// The connection was reset before the response was complete.
    Reset,
    /// The connection was closed before the response was complete.
    Closed,
    /// A process ended before the response was complete.
    Exited,
    /// The agent stopped looking before the response was complete.
    Unobserved,
    /// The time that an exchange may stay open ran out.
    TimedOut,
    /// Method, target or status refer to header compression state from before the agent looked, or that was lost.
    HeadersUnknown,
    /// The server said that it did not act on the request (GOAWAY, RFC 9113, section 6.8).
    Refused,
}

impl Incomplete {
    /// All reasons. What is stored refers to them by their place here: new ones go to the end.
    pub const ALL: [Self; 12] = [
        Self::Lost,
        Self::Cut,
        Self::Malformed,
        Self::HeadTooLong,
        Self::JoinedLate,
        Self::Reset,
        Self::Closed,
        Self::Exited,
        Self::Unobserved,
        Self::TimedOut,
        Self::HeadersUnknown,
        Self::Refused,
    ];

    /// The value of `netspan.incomplete`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Lost => "lost",
            Self::Cut => "cut",
            Self::Malformed => "malformed",
            Self::HeadTooLong => "head_too_long",
            Self::JoinedLate => "joined_late",
            Self::Reset => "reset",
            Self::Closed => "closed",
            Self::Exited => "exited",
            Self::Unobserved => "unobserved",
            Self::TimedOut => "timed_out",
            Self::HeadersUnknown => "headers_unknown",
            Self::Refused => "refused",
        }
    }
}

/// One request and its response on one connection, seen from one side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// HTTP/1: ordinal of the request on its connection since the connection was first seen, from 0, or, where its beginning was
    /// missed, from the time at which it was first seen. After a loss it
    /// counts the requests that were seen: then it is unique, but not the other end's ordinal of the same request.
    /// HTTP/2: the stream's id, or 0 for the request that an upgrade from HTTP/1 made stream 1; both ends agree on it.
    pub ordinal: u64,
    /// Where the request begins: the bytes that its flow had moved before it since the connection was first seen. Both
    /// ends that saw a connection from its first byte agree on it even after a loss; absent once a number was lost.
    pub offset: Option<u64>,
    /// The request's head; absent when only the response was seen.
    pub request: Option<Request>,
    /// The final response's head; absent when there was none.
    pub response: Option<Response>,
    /// The request's bytes.
    pub sent: Option<Transfer>,
    /// The final response's bytes.
    pub answered: Option<Transfer>,
    /// Status of the last 1xx response before the final one.
    pub informational: Option<u16>,
    /// The connection was handed to another protocol by this exchange (101, or a 2xx to CONNECT).
    pub switched: bool,
    /// Error code by which its stream was reset (RFC 9113, section 7), by either side.
    pub reset: Option<u32>,
    /// What gRPC says of it, if it is a call of gRPC.
    pub rpc: Option<Box<Rpc>>,
    /// Why it is not the whole truth, if it is not.
    pub incomplete: Option<Incomplete>,
}

impl Exchange {
    /// The HTTP/2 stream that it is, which both ends of the connection agree on (0: the stream 1 of an upgrade).
    pub fn stream(&self) -> Option<u64> {
        let request = self.request.as_ref().map(|request| request.version);
        let response = self.response.as_ref().map(|response| response.version);
        [request, response].contains(&Some(Version::Http2)).then_some(self.ordinal)
    }
}

/// A call of gRPC ("gRPC over HTTP2", the protocol's description), beyond its HTTP.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rpc {
    /// `grpc-status`, of the trailers or of a response that is nothing else.
    pub status: Option<u32>,
    /// `grpc-message` without its percent-encoding. Free text, which may hold anything: it is kept only where the
    /// configuration adds that header to the allow-list, up to [`crate::span::redact::VALUE_MAX`] bytes.
    pub message: Option<Bytes>,
    /// `grpc-timeout`: the client's deadline, counted from its call, in nanoseconds.
    pub timeout_ns: Option<u64>,
    /// Messages that the client sent, as far as they began; absent where they could not be counted.
    pub sent_messages: Option<u64>,
    /// Messages that the server sent, likewise.
    pub received_messages: Option<u64>,
    /// The call that moved the first byte of the server's first message.
    pub first_message: Option<Stamp>,
    /// Its stream was reset by CANCEL.
    pub cancelled: bool,
}

/// What a protocol tells of a connection, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// The head of a request is known. `ordinal` is that of the exchange that begins.
    Started {
        /// Ordinal of the exchange.
        ordinal: u64,
        /// The call that moved the request's first byte.
        first: Stamp,
        /// What its calls may be known by.
        tokens: Tokens,
    },
    /// An exchange is over.
    Finished(Box<Exchange>),
    /// The connection speaks something else from here on; its bytes are not looked at any more.
    Opaque,
}
