//! What reads a connection's bytes: nothing is decided, or HTTP/1, or HTTP/2, or nobody. It asks [`choice`](super::choice) which
//! protocol begins, once, and never looks at a connection again that turned out not to be ours.

use super::{
    choice::{Choice, Undecided},
    socket::{Role, Socket},
};
use crate::{
    protocol::{Chunk, End, Exchange, Flow, Notice, Observer, Stamp, http1, http2},
    span::redact::Redaction,
};
use std::sync::Arc;

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

    /// What reads the connection from here on, if that is clear now.
    fn of(choice: Choice, stamp: &Stamp, redaction: &Arc<Redaction>) -> Option<Self> {
        let redaction = Arc::clone(redaction);
        Some(match choice {
            Choice::Later | Choice::Perhaps => return None,
            Choice::Opaque => Self::Opaque,
            Choice::Http1 { observer, joined_late } => {
                let config = http1::Config { observer, joined_late, redaction };
                let connection = http1::Connection::new(config);
                // It may have been looked at before, and forgotten (idle for long, or one too many): no ordinal comes twice.
                let first = if joined_late { stamp.end_ns } else { 0 };
                Self::Http1(Box::new(connection.numbered_from(first)), observer)
            }
            Choice::Http2 { observer, joined_late } => {
                let config = http2::Config { observer, joined_late, redaction };
                Self::Http2(Box::new(http2::Connection::new(config)), observer)
            }
        })
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
            let Some(decided) = Self::of(undecided.look(socket, received, stamp, chunk), stamp, redaction) else {
                return;
            };
            let Self::Undecided(undecided) = std::mem::replace(self, decided) else { return };
            for (received, runs) in [true, false].into_iter().zip(undecided.into_held()) {
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
        let flow = observer.flow(received);
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
