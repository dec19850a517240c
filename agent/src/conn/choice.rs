//! Which protocol a connection speaks, and who looks at it, judged from its first bytes in both directions. What reads
//! connections and what scrubs them for recordings both ask here, so that they agree.

use super::socket::{Role, Socket};
use crate::protocol::{
    Chunk, Flow, Observer, Stamp,
    detect::{DETECT_MAX, Verdict, detect},
    http2,
};

/// Runs of bytes that may begin with no message of ours before a connection whose beginning was missed is given up.
const MISSES_MAX: u32 = 16;

/// What a run of bytes tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    /// Nothing yet.
    Later,
    /// Nothing yet, but its bytes may be frames of HTTP/2.
    Perhaps,
    /// It speaks no protocol of ours.
    Opaque,
    /// It speaks HTTP/1 from this run on, or from the held ones before it.
    Http1 {
        /// Which end is looked at.
        observer: Observer,
        /// The first bytes need not begin a message.
        joined_late: bool,
    },
    /// The same of HTTP/2.
    Http2 {
        /// Which end is looked at.
        observer: Observer,
        /// The first bytes need not begin a frame.
        joined_late: bool,
    },
}

/// What is known before the protocol is.
#[derive(Debug, Default)]
pub(crate) struct Undecided {
    /// First bytes, as long as they are too few to tell: received and sent.
    held: [Vec<(Stamp, Vec<u8>)>; 2],
    /// Bytes passed that nobody saw: what follows need not be the beginning of a message.
    missed: bool,
    misses: u32,
}

impl Undecided {
    /// The runs that were too short to tell, received and sent; they go before the one that was looked at last.
    pub(crate) fn into_held(self) -> [Vec<(Stamp, Vec<u8>)>; 2] {
        self.held
    }

    /// The bytes of a direction that are held.
    pub(crate) fn held(&self, received: bool) -> impl Iterator<Item = u8> {
        self.held[usize::from(!received)].iter().flat_map(|(_, run)| run).copied()
    }

    /// Looks at the next run of bytes of a direction.
    pub(crate) fn look(&mut self, socket: &Socket, received: bool, stamp: &Stamp, chunk: Chunk<'_>) -> Choice {
        let Chunk::Copied(bytes) = chunk else {
            self.missed = true;
            self.held = Default::default();
            return Choice::Later;
        };
        let held = &mut self.held[usize::from(!received)];
        let joined: Vec<u8>;
        let prefix = if held.is_empty() {
            bytes
        } else {
            joined = held.iter().flat_map(|(_, run)| run).chain(bytes).copied().take(DETECT_MAX).collect();
            &joined
        };
        let is_beginning = !self.missed && socket.from_beginning();
        let (observer, is_http2) = match (detect(prefix), received) {
            (Verdict::Http1Request, true) | (Verdict::Http1Response, false) => (Observer::Server, false),
            (Verdict::Http1Request, false) | (Verdict::Http1Response, true) => (Observer::Client, false),
            (Verdict::Http2Preface, true) => (Observer::Server, true),
            (Verdict::Http2Preface, false) => (Observer::Client, true),
            (Verdict::More, _) => {
                held.push((*stamp, bytes.to_vec()));
                return Choice::Later;
            }
            // The server may be faster than the client.
            (Verdict::Other, _) if is_beginning && http2::begins_with_settings(prefix) => {
                (if received { Observer::Client } else { Observer::Server }, true)
            }
            (Verdict::Other, _) => {
                held.clear();
                self.missed = true;
                if is_beginning {
                    return Choice::Opaque;
                }
                let verdict = http2::looks_like_frames(bytes);
                match observer_of(verdict, socket, received) {
                    Some(observer) => (observer, true),
                    // A call of gRPC may go on for long without a head that tells.
                    None if verdict != http2::Verdict::Other => return Choice::Perhaps,
                    None => {
                        self.misses += 1;
                        return if self.misses >= MISSES_MAX { Choice::Opaque } else { Choice::Later };
                    }
                }
            }
        };
        let contradicts = match socket.role {
            Role::Unknown => false,
            Role::Client => observer != Observer::Client,
            Role::Server => observer != Observer::Server,
        };
        if contradicts {
            return Choice::Opaque;
        }
        if is_http2 {
            // The preface begins a connection, whatever else is known of it.
            return Choice::Http2 { observer, joined_late: self.missed };
        }
        Choice::Http1 { observer, joined_late: self.missed || !socket.from_beginning() }
    }
}

/// Who looks, if bytes from the middle of a connection are frames of HTTP/2, and it is clear whose.
fn observer_of(verdict: http2::Verdict, socket: &Socket, received: bool) -> Option<Observer> {
    let http2::Verdict::Frames(flow) = verdict else { return None };
    match (socket.role, flow, received) {
        (Role::Client, ..) | (Role::Unknown, Some(Flow::Requests), false) | (_, Some(Flow::Responses), true) => {
            Some(Observer::Client)
        }
        (Role::Server, ..) | (Role::Unknown, Some(Flow::Requests), true) | (_, Some(Flow::Responses), false) => {
            Some(Observer::Server)
        }
        (Role::Unknown, None, _) => None,
    }
}
