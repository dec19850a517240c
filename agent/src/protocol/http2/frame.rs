//! The head of a frame (RFC 9113, section 4.1), and what it must be for its type.

use crate::protocol::Flow;

/// Length of a frame's head.
pub(super) const HEAD_LENGTH: usize = 9;
/// Largest payload unless a side allows more (RFC 9113, section 4.2).
pub(super) const PAYLOAD_USUAL: u32 = 16_384;
/// Largest payload that a side can allow.
pub(super) const PAYLOAD_MAX: u32 = (1 << 24) - 1;

/// Flag of DATA and HEADERS: the sender's side of the stream ends with this frame.
pub(super) const END_STREAM: u8 = 0x1;
/// Flag of SETTINGS and PING: an answer.
pub(super) const ACK: u8 = 0x1;
/// Flag of HEADERS, `PUSH_PROMISE` and CONTINUATION: the header block ends with this frame.
pub(super) const END_HEADERS: u8 = 0x4;
/// Flag of DATA, HEADERS and `PUSH_PROMISE`.
pub(super) const PADDED: u8 = 0x8;
/// Flag of HEADERS.
pub(super) const PRIORITY: u8 = 0x20;

/// Ids and values of the parameters in the payload of SETTINGS (RFC 9113, section 6.5.1).
pub(super) fn settings(payload: &[u8]) -> impl Iterator<Item = (u16, u32)> {
    payload.chunks_exact(6).filter_map(|parameter| {
        let (id, value) = parameter.split_first_chunk()?;
        Some((u16::from_be_bytes(*id), u32::from_be_bytes(*value.first_chunk()?)))
    })
}

/// Type of a frame (RFC 9113, section 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Data,
    Headers,
    Priority,
    Reset,
    Settings,
    PushPromise,
    Ping,
    GoAway,
    WindowUpdate,
    Continuation,
    /// An extension's, to be ignored.
    Other(u8),
}

impl Kind {
    const fn of(byte: u8) -> Self {
        match byte {
            0 => Self::Data,
            1 => Self::Headers,
            2 => Self::Priority,
            3 => Self::Reset,
            4 => Self::Settings,
            5 => Self::PushPromise,
            6 => Self::Ping,
            7 => Self::GoAway,
            8 => Self::WindowUpdate,
            9 => Self::Continuation,
            other => Self::Other(other),
        }
    }

    /// Flags that the type defines.
    pub(super) const fn flags(self) -> u8 {
        match self {
            Self::Data => END_STREAM | PADDED,
            Self::Headers => END_STREAM | END_HEADERS | PADDED | PRIORITY,
            Self::PushPromise => END_HEADERS | PADDED,
            Self::Continuation => END_HEADERS,
            Self::Settings | Self::Ping => ACK,
            Self::Priority | Self::Reset | Self::GoAway | Self::WindowUpdate | Self::Other(_) => 0,
        }
    }
}

/// A frame's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// Length of the payload, below 2^24.
    pub(super) length: u32,
    pub(super) kind: Kind,
    pub(super) flags: u8,
    /// Stream, below 2^31; 0 for the connection.
    pub(super) stream: u32,
    /// The bit that must be 0 and be ignored.
    pub(super) reserved: bool,
}

impl Head {
    pub(super) const fn parse(bytes: [u8; HEAD_LENGTH]) -> Self {
        let [a, b, c, kind, flags, s0, s1, s2, s3] = bytes;
        let stream = u32::from_be_bytes([s0, s1, s2, s3]);
        Self {
            length: u32::from_be_bytes([0, a, b, c]),
            kind: Kind::of(kind),
            flags,
            stream: stream & 0x7fff_ffff,
            reserved: stream >> 31 != 0,
        }
    }

    pub(super) const fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// Whether the sender of this flow may send it: its stream and its length fit its type.
    pub(super) const fn is_legal(&self, flow: Flow) -> bool {
        let (of_stream, odd) = (self.stream != 0, self.stream % 2 == 1);
        let by_server = matches!(flow, Flow::Responses);
        match self.kind {
            // Streams with even ids are pushed: only the server sends on those.
            Kind::Data => of_stream && (odd || by_server) && self.length >= self.padding(),
            Kind::Headers => of_stream && (odd || by_server) && self.length >= self.padding() + self.priority(),
            Kind::Continuation => of_stream && (odd || by_server),
            Kind::Priority => of_stream && self.length == 5,
            Kind::Reset => of_stream && self.length == 4,
            Kind::PushPromise => of_stream && odd && by_server && self.length >= 4 + self.padding(),
            Kind::Settings => !of_stream && self.length.is_multiple_of(6) && (!self.has(ACK) || self.length == 0),
            Kind::Ping => !of_stream && self.length == 8,
            Kind::GoAway => !of_stream && self.length >= 8,
            Kind::WindowUpdate => self.length == 4,
            Kind::Other(_) => true,
        }
    }

    /// Bytes that the flag PADDED adds in front.
    pub(super) const fn padding(&self) -> u32 {
        if self.has(PADDED) { 1 } else { 0 }
    }

    /// Bytes that the flag PRIORITY adds in front.
    pub(super) const fn priority(&self) -> u32 {
        if self.has(PRIORITY) { 5 } else { 0 }
    }
}
