//! What reads a connection's bytes: nothing is decided, or HTTP/1, or nobody. It asks which protocol begins, once, and
//! never looks at a connection again that turned out not to be ours.

use super::socket::{Role, Socket};
use crate::{
    protocol::{
        Chunk, End, Flow, Notice, Stamp,
        detect::{DETECT_MAX, Verdict, detect},
        http1::{self, Observer},
    },
    span::redact::Redaction,
};
use std::sync::Arc;

/// Runs of bytes that may begin with no message of ours before a connection whose beginning was missed is given up.
pub(super) const MISSES_MAX: u32 = 16;

/// Reader of a connection.
#[derive(Debug)]
pub(super) enum Reader {
    Undecided(Undecided),
    Http1(Box<http1::Connection>, Observer),
    /// Not ours.
    Opaque,
    /// Not ours yet.
    Http2,
}

/// What is known before the protocol is.
#[derive(Debug, Default)]
pub(super) struct Undecided {
    /// First bytes, as long as they are too few to tell: received and sent.
    held: [Vec<(Stamp, Vec<u8>)>; 2],
    /// Bytes passed that nobody saw: what follows need not be the beginning of a message.
    missed: bool,
    misses: u32,
}

impl Default for Reader {
    fn default() -> Self {
        Self::Undecided(Undecided::default())
    }
}

impl Reader {
    /// Which of the readers it is.
    pub(super) fn kind(&self) -> std::mem::Discriminant<Self> {
        std::mem::discriminant(self)
    }

    pub(super) fn is_http2(&self) -> bool {
        matches!(self, Self::Http2)
    }

    pub(super) fn is_opaque(&self) -> bool {
        matches!(self, Self::Http2 | Self::Opaque)
    }

    /// The role that the bytes revealed.
    pub(super) fn role(&self) -> Option<Role> {
        match self {
            Self::Http1(_, Observer::Client) => Some(Role::Client),
            Self::Http1(_, Observer::Server) => Some(Role::Server),
            _ => None,
        }
    }

    /// More is known of the socket.
    pub(super) fn identify(&mut self, socket: &Socket) {
        if socket.family == super::Family::Other {
            *self = Self::Opaque;
        }
    }

    /// Takes the next run of bytes of a direction.
    pub(super) fn data(
        &mut self,
        socket: &Socket,
        received: bool,
        stamp: &Stamp,
        chunk: Chunk<'_>,
        redaction: &Arc<Redaction>,
        out: &mut Vec<Notice>,
    ) {
        if let Self::Undecided(undecided) = self {
            let Some(decided) = undecided.look(socket, received, stamp, chunk, redaction) else { return };
            let Self::Undecided(undecided) = std::mem::replace(self, decided) else { return };
            for (received, runs) in [true, false].into_iter().zip(undecided.held) {
                for (stamp, bytes) in runs {
                    self.read(received, &stamp, Chunk::Copied(&bytes), out);
                }
            }
        }
        self.read(received, stamp, chunk, out);
    }

    fn read(&mut self, received: bool, stamp: &Stamp, chunk: Chunk<'_>, out: &mut Vec<Notice>) {
        let Self::Http1(parser, observer) = self else { return };
        let flow = match (*observer, received) {
            (Observer::Client, false) | (Observer::Server, true) => Flow::Requests,
            (Observer::Client, true) | (Observer::Server, false) => Flow::Responses,
        };
        let before = out.len();
        parser.data(flow, stamp, chunk, out);
        if out[before..].contains(&Notice::Opaque) {
            *self = Self::Opaque;
        }
    }

    /// A flow, or the whole connection, ended.
    pub(super) fn end(&mut self, flow: Option<Flow>, end: End, out: &mut Vec<Notice>) {
        if let Self::Http1(parser, _) = self {
            parser.end(flow, end, out);
        }
    }

    pub(super) fn expire(&mut self, before_ns: u64, out: &mut Vec<Notice>) {
        if let Self::Http1(parser, _) = self
            && parser.open() > 0
        {
            parser.expire(before_ns, out);
        }
    }

    pub(super) fn add_counts(&self, sum: &mut http1::Counts) {
        let Self::Http1(parser, _) = self else { return };
        let http1::Counts {
            request_gaps,
            response_gaps,
            unpaired,
            malformed,
            head_too_long,
            held_full,
            open_full,
            cut,
        } = parser.counts();
        sum.request_gaps += request_gaps;
        sum.response_gaps += response_gaps;
        sum.unpaired += unpaired;
        sum.malformed += malformed;
        sum.head_too_long += head_too_long;
        sum.held_full += held_full;
        sum.open_full += open_full;
        sum.cut += cut;
    }
}

impl Undecided {
    /// Looks at a run of bytes; says what reads the connection from here on, if that is clear now.
    fn look(
        &mut self,
        socket: &Socket,
        received: bool,
        stamp: &Stamp,
        chunk: Chunk<'_>,
        redaction: &Arc<Redaction>,
    ) -> Option<Reader> {
        let Chunk::Copied(bytes) = chunk else {
            self.missed = true;
            self.held = Default::default();
            return None;
        };
        let held = &mut self.held[usize::from(!received)];
        let joined: Vec<u8>;
        let prefix = if held.is_empty() {
            bytes
        } else {
            joined = held.iter().flat_map(|(_, run)| run).chain(bytes).copied().take(DETECT_MAX).collect();
            &joined
        };
        let observer = match (detect(prefix), received) {
            (Verdict::Http1Request, true) | (Verdict::Http1Response, false) => Observer::Server,
            (Verdict::Http1Request, false) | (Verdict::Http1Response, true) => Observer::Client,
            (Verdict::Http2Preface, _) => return Some(Reader::Http2),
            (Verdict::More, _) => {
                held.push((*stamp, bytes.to_vec()));
                return None;
            }
            (Verdict::Other, _) => {
                held.clear();
                self.misses += 1;
                let may_be_a_middle = self.missed || !socket.from_beginning();
                self.missed = true;
                return (!may_be_a_middle || self.misses >= MISSES_MAX).then_some(Reader::Opaque);
            }
        };
        let contradicts = match socket.role {
            Role::Unknown => false,
            Role::Client => observer != Observer::Client,
            Role::Server => observer != Observer::Server,
        };
        if contradicts {
            return Some(Reader::Opaque);
        }
        let joined_late = self.missed || !socket.from_beginning();
        let config = http1::Config { observer, joined_late, redaction: Arc::clone(redaction) };
        Some(Reader::Http1(Box::new(http1::Connection::new(config)), observer))
    }
}
