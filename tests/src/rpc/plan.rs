//! Which calls a client shall make, and how they ended: the JSON that all client programs read and print.
#![forbid(unsafe_code)]

use std::{net::SocketAddr, path::PathBuf};

use serde::{Deserialize, Serialize};

/// Status codes (gRPC, `statuscodes.md`).
const CANCELLED: u16 = 1;
const DEADLINE_EXCEEDED: u16 = 4;
const UNIMPLEMENTED: u16 = 12;

/// Names of the status codes, by their numbers (the same document).
const STATUSES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

/// Name of a status code; none has the name "".
pub(super) fn status_name(code: u16) -> &'static str {
    STATUSES.get(usize::from(code)).copied().unwrap_or("")
}

/// One call.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Call {
    /// Method of the service, without the service's name.
    pub rpc: String,
    /// The message that is sent.
    pub message: String,
    /// How often it is sent, where the client streams; 1 elsewhere.
    pub count: u32,
    /// Time until the client gives up, in milliseconds.
    pub deadline_ms: Option<u64>,
}

impl Call {
    /// A call with one message.
    pub fn new(rpc: &str, message: &str) -> Self {
        Self { rpc: rpc.into(), message: message.into(), count: 1, deadline_ms: None }
    }

    /// The `:path` of its request.
    pub fn path(&self) -> String {
        format!("/{}/{}", super::SERVICE, self.rpc)
    }

    /// `package.Service/Method`
    pub fn method(&self) -> String {
        format!("{}/{}", super::SERVICE, self.rpc)
    }

    /// Whether the client gives up before the answer comes. Who ends the call is then a race: the client, which may
    /// reset the stream and make up the status (`DEADLINE_EXCEEDED`, tonic: `CANCELLED`), or the server, which knows the
    /// deadline too and may send one. So the status that the client tells may not have been on the wire.
    pub fn is_given_up(&self) -> bool {
        let lasts = self.message.split(' ').next().and_then(|word| word.parse::<u64>().ok()).unwrap_or(0);
        self.rpc == "Slow" && self.deadline_ms.is_some_and(|deadline| deadline < lasts)
    }

    /// How it ends: status code, messages sent, messages received. See [`Self::is_given_up`] for the status of those.
    pub fn expected(&self) -> (u16, u32, u32) {
        let mut words = self.message.split(' ');
        let number = words.next().and_then(|word| word.parse().ok()).unwrap_or(0);
        match self.rpc.as_str() {
            "Count" => (words.next().and_then(|word| word.parse().ok()).unwrap_or(0), 1, number),
            "Sum" => (0, self.count, 1),
            "Chat" => (0, self.count, self.count),
            "Fail" => (number as u16, 1, 0),
            "Slow" if self.is_given_up() => (DEADLINE_EXCEEDED, 1, 0),
            "Echo" | "Slow" => (0, 1, 1),
            _ => (UNIMPLEMENTED, 1, 0),
        }
    }
}

/// Which calls a client shall make.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Plan {
    /// Where the server listens.
    pub address: SocketAddr,
    /// PEM file of the authority to trust; `None`: no TLS.
    pub authority: Option<PathBuf>,
    /// Calls in flight per connection.
    pub in_flight: usize,
    /// For each connection what is called on it. All connections are open at the same time.
    pub connections: Vec<Vec<Call>>,
}

impl Plan {
    /// All calls, with the ordinals of their connection and of themselves on it.
    pub fn calls(&self) -> impl Iterator<Item = (usize, usize, &Call)> {
        let connections = self.connections.iter().enumerate();
        connections.flat_map(|(connection, calls)| {
            calls.iter().enumerate().map(move |(ordinal, call)| (connection, ordinal, call))
        })
    }
}

/// How a call ended, as the client saw it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Outcome {
    /// Ordinal of the connection in the plan.
    pub connection: usize,
    /// Ordinal of the call on its connection.
    pub ordinal: usize,
    /// The request's `:path`.
    pub path: String,
    /// gRPC status code.
    pub status: u16,
    /// Messages sent.
    pub sent: u32,
    /// Messages received. Those before an error status may be missing: grpc-js drops what it has not handed out yet.
    pub received: u32,
}

impl Outcome {
    /// With what its client may leave open ([`Call::is_given_up`], [`Self::received`]) as it is expected.
    #[must_use]
    pub fn settled(self, call: &Call) -> Self {
        let (status, _, received) = call.expected();
        let given_up = call.is_given_up() && self.status == CANCELLED;
        let dropped = self.status != 0 && self.received < received;
        Self {
            status: if given_up { status } else { self.status },
            received: if dropped { received } else { self.received },
            ..self
        }
    }
}

/// Calls of all kinds.
pub fn calls(connections: usize, each: usize) -> Vec<Vec<Call>> {
    (0..connections).map(|connection| (0..each).map(|ordinal| mixed(connection + ordinal)).collect()).collect()
}

fn mixed(ordinal: usize) -> Call {
    match ordinal % 12 {
        0 => Call::new("Echo", "hello"),
        1 => Call::new("Count", "5"),
        2 => Call { count: 4, ..Call::new("Sum", "25") },
        3 => Call { count: 3, ..Call::new("Chat", "well?") },
        4 => Call::new("Fail", "5 no such thing"),
        5 => Call { deadline_ms: Some(50), ..Call::new("Slow", "5000") },
        6 => Call::new("Echo", &"long".repeat(10_000)),
        7 => Call { deadline_ms: Some(20_000), ..Call::new("Slow", "3") },
        8 => Call::new("Count", "3 13"),
        9 => Call::new("Echo", ""),
        10 => Call::new("Missing", "x"),
        _ => Call::new("Fail", "16 100% ünknown"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_expected_follows_the_method_and_its_message() {
        let late = Call { deadline_ms: Some(50), ..Call::new("Slow", "51") };
        let cases = [
            (Call::new("Echo", ""), (0, 1, 1)),
            (Call::new("Count", "3"), (0, 1, 3)),
            (Call::new("Count", "3 13"), (13, 1, 3)),
            (Call { count: 4, ..Call::new("Sum", "25") }, (0, 4, 1)),
            (Call { count: 4, ..Call::new("Chat", "x") }, (0, 4, 4)),
            (Call::new("Fail", "5 no"), (5, 1, 0)),
            (late.clone(), (DEADLINE_EXCEEDED, 1, 0)),
            (Call { deadline_ms: Some(51), ..late }, (0, 1, 1)),
            (Call::new("Other", ""), (UNIMPLEMENTED, 1, 0)),
        ];
        for (call, expected) in cases {
            assert_eq!(call.expected(), expected, "{call:?}");
        }
    }
}
