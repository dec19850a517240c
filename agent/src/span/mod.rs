//! The span: what netspan shows and exports.
#![forbid(unsafe_code)]

mod hex;
pub mod json;
pub mod redact;
#[cfg(test)]
pub(crate) mod sample;
mod text;
pub mod zipkin;

use std::{borrow::Cow, sync::Arc};
pub use text::Text;

/// Trace id; never all zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TraceId(pub [u8; 16]);

/// Span id; never all zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SpanId(pub [u8; 8]);

/// Kind of a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Seen on the accepting side.
    Server,
    /// Seen on the connecting side.
    Client,
}

/// Status of a span, by the rules of the semantic conventions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Nothing was wrong, or nothing is known.
    Unset,
    /// An error; the attribute `error.type` says which.
    Error,
}

/// Value of an attribute.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Text.
    Text(Text),
    /// Integer.
    Int(i64),
    /// Number.
    Float(f64),
    /// Truth value.
    Bool(bool),
    /// List of texts (captured headers).
    List(Vec<String>),
}

/// The values that are written as this text, apart from lists.
pub fn values_of(text: &str) -> Vec<Value> {
    let mut values = vec![Value::Text(text.to_owned().into())];
    values.extend(text.parse().ok().map(Value::Int));
    values.extend(text.parse().ok().map(Value::Float));
    values.extend(text.parse().ok().map(Value::Bool));
    values
}

/// Name and value.
pub type Attribute = (Cow<'static, str>, Value);

/// How a span came by its parent: the evidence's name, as in `netspan.link.method`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Method {
    /// The request carried a context header.
    Header,
    /// Both ends of one connection are on this host.
    Socket,
    /// The thread that read the request made the call, and held no other request.
    Thread,
    /// Only one request of the process was open during the whole call.
    Exclusive,
    /// The order of reads and sends: the process was at no other request when it made the call.
    Turn,
    /// Statistics over many requests of the program.
    Inferred,
    /// The call has a value that no other request of the process has: a request id.
    Token,
    /// The goroutine that serves the request made the call, or one that it made.
    Goroutine,
    /// The request came with a TCP option in which the caller's host told the caller's span.
    TcpOption,
    /// The thread that made the call published which trace and span it was at.
    ThreadContext,
    /// The asynchronous task that answered the request made the call, or one that it made.
    Task,
    /// The thread that answered the request made the call, and works on one request at a time.
    Handoff,
}

impl Method {
    /// All methods. What is stored refers to them by their place here: new ones go to the end.
    pub const ALL: [Self; 12] = [
        Self::Header,
        Self::Socket,
        Self::Thread,
        Self::Exclusive,
        Self::Turn,
        Self::Inferred,
        Self::Token,
        Self::Goroutine,
        Self::TcpOption,
        Self::ThreadContext,
        Self::Task,
        Self::Handoff,
    ];

    /// The value of `netspan.link.method`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Header => "header",
            Self::Socket => "socket",
            Self::Thread => "thread",
            Self::Exclusive => "exclusive",
            Self::Turn => "turn",
            Self::Inferred => "inferred",
            Self::Token => "token",
            Self::Goroutine => "goroutine",
            Self::TcpOption => "tcp-option",
            Self::ThreadContext => "thread-context",
            Self::Task => "task",
            Self::Handoff => "handoff",
        }
    }
}

/// How the parent was found, and how sure that is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Link {
    /// The evidence.
    pub method: Method,
    /// From 0 to 1; 1 for exact methods.
    pub confidence: f64,
}

/// A reference to another span that is not the parent.
#[derive(Clone, Debug, PartialEq)]
pub struct SpanLink {
    /// Trace of the other span.
    pub trace_id: TraceId,
    /// The other span.
    pub span_id: SpanId,
    /// Method and confidence of the reference, and more.
    pub attributes: Vec<Attribute>,
}

/// Who a span belongs to: a process as OpenTelemetry's resource. Shared by all spans of a process.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Resource {
    /// `service.name`
    pub service: String,
    /// Everything else: `process.*`, `container.id`, `host.*`, ...
    pub attributes: Vec<Attribute>,
}

/// A span.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    /// Its trace.
    pub trace_id: TraceId,
    /// Itself.
    pub span_id: SpanId,
    /// Its parent; a root has none.
    pub parent: Option<SpanId>,
    /// Whether the parent is in another process than this agent's spans (it came by header).
    pub parent_is_remote: bool,
    /// W3C `tracestate` that came with the request, exported unchanged.
    pub trace_state: String,
    /// Kind.
    pub kind: Kind,
    /// Name: `{method} {route}`, else `{method}`.
    pub name: String,
    /// Start, in nanoseconds since the Unix epoch.
    pub start_ns: u64,
    /// End, in nanoseconds since the Unix epoch.
    pub end_ns: u64,
    /// Status.
    pub status: Status,
    /// The process.
    pub resource: Arc<Resource>,
    /// Process id.
    pub pid: u32,
    /// Thread that read the request (server) or sent it (client).
    pub tid: u32,
    /// Why it is not the whole truth, if it is not; a name of [`crate::protocol::Incomplete`].
    pub incomplete: Option<&'static str>,
    /// How the parent was found; absent for roots.
    pub link: Option<Link>,
    /// References to spans that are not the parent.
    pub links: Vec<SpanLink>,
    /// Attributes, by the semantic conventions.
    pub attributes: Vec<Attribute>,
}

impl Span {
    /// The attributes for those who show a span: its own, and those that stand for fields that other formats have no place for.
    pub fn shown_attributes(&self) -> impl Iterator<Item = (&str, Cow<'_, Value>)> {
        let text = |text: &'static str| Value::Text(text.into());
        let link = self.link.map(|Link { method, confidence }| {
            [("netspan.link.method", text(method.name())), ("netspan.link.confidence", Value::Float(confidence))]
        });
        let thread = ("thread.id", Value::Int(i64::from(self.tid)));
        let fields = [thread].into_iter().chain(link.into_iter().flatten());
        let fields = fields.chain(self.incomplete.map(|reason| ("netspan.incomplete", text(reason))));
        let own = self.attributes.iter().map(|(name, value)| (name.as_ref(), Cow::Borrowed(value)));
        own.chain(fields.map(|(name, value)| (name, Cow::Owned(value))))
    }
}
