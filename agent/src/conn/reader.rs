//! What reads a connection's bytes: nothing is decided, or HTTP/1, or HTTP/2, or nobody. It asks which protocol begins, once, and
//! never looks at a connection again that turned out not to be ours.

use super::socket::{Role, Socket};
use crate::{
    protocol::{
        Chunk, End, Exchange, Flow, Notice, Observer, Stamp,
        detect::{DETECT_MAX, Verdict, detect},
        http1, http2,
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
    Http2(Box<http2::Connection>, Observer),
    /// Not ours.
    Opaque,
}

/// What parsers gave up.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sums {
    pub(super) http1: http1::Counts,
    pub(super) http2: http2::Counts,
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
        matches!(self, Self::Http2(..))
    }

    pub(super) fn is_opaque(&self) -> bool {
        matches!(self, Self::Opaque)
    }

    /// The role that the bytes revealed.
    pub(super) fn role(&self) -> Option<Role> {
        match self {
            Self::Http1(_, Observer::Client) | Self::Http2(_, Observer::Client) => Some(Role::Client),
            Self::Http1(_, Observer::Server) | Self::Http2(_, Observer::Server) => Some(Role::Server),
            Self::Undecided(_) | Self::Opaque => None,
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
                    self.read(received, &stamp, Chunk::Copied(&bytes), redaction, out);
                }
            }
        }
        self.read(received, stamp, chunk, redaction, out);
    }

    fn read(
        &mut self,
        received: bool,
        stamp: &Stamp,
        chunk: Chunk<'_>,
        redaction: &Arc<Redaction>,
        out: &mut Vec<Notice>,
    ) {
        let (Self::Http1(_, observer) | Self::Http2(_, observer)) = *self else { return };
        let flow = match (observer, received) {
            (Observer::Client, false) | (Observer::Server, true) => Flow::Requests,
            (Observer::Client, true) | (Observer::Server, false) => Flow::Responses,
        };
        let before = out.len();
        match self {
            Self::Http1(parser, _) => parser.data(flow, stamp, chunk, out),
            Self::Http2(parser, _) => parser.data(flow, stamp, chunk, out),
            Self::Undecided(_) | Self::Opaque => {}
        }
        if out[before..].contains(&Notice::Opaque) {
            let upgraded = match self {
                Self::Http1(parser, _) => upgraded(parser, observer, redaction, (flow, stamp, chunk), out),
                _ => None,
            };
            *self = upgraded.map_or(Self::Opaque, |parser| Self::Http2(Box::new(parser), observer));
        }
    }

    /// A flow, or the whole connection, ended.
    pub(super) fn end(&mut self, flow: Option<Flow>, end: End, out: &mut Vec<Notice>) {
        match self {
            Self::Http1(parser, _) => parser.end(flow, end, out),
            Self::Http2(parser, _) => parser.end(flow, end, out),
            Self::Undecided(_) | Self::Opaque => {}
        }
    }

    pub(super) fn expire(&mut self, before_ns: u64, out: &mut Vec<Notice>) {
        match self {
            Self::Http1(parser, _) if parser.open() > 0 => parser.expire(before_ns, out),
            Self::Http2(parser, _) => parser.expire(before_ns, out),
            Self::Http1(..) | Self::Undecided(_) | Self::Opaque => {}
        }
    }

    pub(super) fn add_counts(&self, sums: &mut Sums) {
        match self {
            Self::Http1(parser, _) => add_http1(&mut sums.http1, parser.counts()),
            Self::Http2(parser, _) => sums.http2.add(&parser.counts()),
            Self::Undecided(_) | Self::Opaque => {}
        }
    }
}

fn add_http1(sum: &mut http1::Counts, counts: http1::Counts) {
    let http1::Counts { request_gaps, response_gaps, unpaired, malformed, head_too_long, held_full, open_full, cut } =
        counts;
    sum.request_gaps += request_gaps;
    sum.response_gaps += response_gaps;
    sum.unpaired += unpaired;
    sum.malformed += malformed;
    sum.head_too_long += head_too_long;
    sum.held_full += held_full;
    sum.open_full += open_full;
    sum.cut += cut;
}

/// The parser of a connection that HTTP/1 was just upgraded on to HTTP/2, with what `chunk` holds of it; none if it was
/// not. The upgrading exchange is not over then: the first stream answers it. That takes the first request of a
/// connection, because ordinals of later ones are those of streams.
fn upgraded(
    parser: &http1::Connection,
    observer: Observer,
    redaction: &Arc<Redaction>,
    (flow, stamp, chunk): (Flow, &Stamp, Chunk<'_>),
    out: &mut Vec<Notice>,
) -> Option<http2::Connection> {
    let at = out.len().checked_sub(2)?;
    let Some([Notice::Finished(exchange), Notice::Opaque]) = out.get(at..) else { return None };
    if !upgrades(exchange) {
        return None;
    }
    let (request, sent) = (exchange.request.clone()?, exchange.sent);
    out.truncate(at);
    let config = http2::Config { observer, joined_late: false, redaction: Arc::clone(redaction) };
    let mut connection = http2::Connection::upgraded(config, request, sent);
    let rest = match chunk {
        Chunk::Copied(bytes) if flow == Flow::Responses => {
            Chunk::Copied(bytes.get(bytes.len().saturating_sub(parser.unread())..).unwrap_or_default())
        }
        // The response had been held, and nobody knows what was held behind it.
        _ => Chunk::Lost(0),
    };
    connection.data(Flow::Responses, stamp, rest, out);
    Some(connection)
}

/// Whether an exchange hands its connection over to HTTP/2 (RFC 7540, section 3.2).
fn upgrades(exchange: &Exchange) -> bool {
    let Some(response) = &exchange.response else { return false };
    let h2c = |(name, value): &(bytes::Bytes, bytes::Bytes)| name == "upgrade" && value.eq_ignore_ascii_case(b"h2c");
    exchange.ordinal == 0 && exchange.incomplete.is_none() && response.status == 101 && response.headers.iter().any(h2c)
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
        let is_beginning = !self.missed && socket.from_beginning();
        let (observer, is_http2) = match (detect(prefix), received) {
            (Verdict::Http1Request, true) | (Verdict::Http1Response, false) => (Observer::Server, false),
            (Verdict::Http1Request, false) | (Verdict::Http1Response, true) => (Observer::Client, false),
            (Verdict::Http2Preface, true) => (Observer::Server, true),
            (Verdict::Http2Preface, false) => (Observer::Client, true),
            (Verdict::More, _) => {
                held.push((*stamp, bytes.to_vec()));
                return None;
            }
            // The server may be faster than the client.
            (Verdict::Other, _) if is_beginning && http2::begins_with_settings(prefix) => {
                (if received { Observer::Client } else { Observer::Server }, true)
            }
            (Verdict::Other, _) => {
                held.clear();
                self.missed = true;
                if is_beginning {
                    return Some(Reader::Opaque);
                }
                let verdict = http2::looks_like_frames(bytes);
                let Some(observer) = observer_of(verdict, socket, received) else {
                    // A call of gRPC may go on for long without a head that tells.
                    self.misses += u32::from(verdict == http2::Verdict::Other);
                    return (self.misses >= MISSES_MAX).then_some(Reader::Opaque);
                };
                (observer, true)
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
        let redaction = Arc::clone(redaction);
        if is_http2 {
            // The preface begins a connection, whatever else is known of it.
            let joined_late = self.missed;
            let config = http2::Config { observer, joined_late, redaction };
            return Some(Reader::Http2(Box::new(http2::Connection::new(config)), observer));
        }
        let joined_late = self.missed || !socket.from_beginning();
        let config = http1::Config { observer, joined_late, redaction };
        Some(Reader::Http1(Box::new(http1::Connection::new(config)), observer))
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
