//! What is kept of a header block: pseudo-headers, what gRPC says, and the headers on the allow-list. It judges nothing
//! that the block does not say: a field that refers to unknown state of the compression is not known.

use std::ops::Range;

use bytes::Bytes;

use super::{
    grpc,
    hpack::{Field, Value},
};
use crate::{
    protocol::Incomplete,
    span::redact::{Redaction, VALUE_MAX, holds_url, mask_target},
};

/// Bytes that are usually kept of a block, at most.
const KEPT_USUAL: usize = 512;
/// Bytes of values that are kept of a block: a short block can refer to long values many times.
const KEPT_MAX: usize = 64 * 1024;
/// Headers that are kept of a block.
const HEADERS_MAX: usize = 256;

/// What a block begins with, and by that what it is: pseudo-headers come first (RFC 9113, section 8.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Opening {
    /// It has no fields.
    #[default]
    Empty,
    /// With a pseudo-header of requests.
    Request,
    /// With `:status`.
    Response,
    /// With a field that heads do not begin with: trailers.
    Regular,
    /// With a field whose name is not known.
    Unknown,
}

/// What is kept of a block.
#[derive(Debug, Default)]
pub(super) struct Fields {
    pub(super) opening: Opening,
    /// Why the block is not whole.
    pub(super) flaw: Option<Incomplete>,
    /// A name, or a value that would be kept, is not known.
    pub(super) unknown: bool,
    pub(super) status: Option<u16>,
    pub(super) is_connect: bool,
    /// `content-type` says gRPC.
    pub(super) is_grpc: bool,
    pub(super) grpc_status: Option<u32>,
    pub(super) grpc_timeout_ns: Option<u64>,
    /// Values that were cut to their bounds.
    pub(super) cut: u64,
    method: Option<Range<usize>>,
    scheme: Option<Range<usize>>,
    authority: Option<Range<usize>>,
    path: Option<Range<usize>>,
    grpc_message: Option<Range<usize>>,
    headers: Vec<(Bytes, Range<usize>)>,
    values: Vec<u8>,
}

/// The values that were kept, of one buffer.
#[derive(Debug, Default)]
pub(super) struct Kept {
    pub(super) method: Option<Bytes>,
    pub(super) scheme: Option<Bytes>,
    pub(super) authority: Option<Bytes>,
    pub(super) path: Option<Bytes>,
    pub(super) grpc_message: Option<Bytes>,
    pub(super) headers: Vec<(Bytes, Bytes)>,
}

/// Whether a field's value is needed.
pub(super) fn is_wanted(name: &[u8], redaction: &Redaction) -> bool {
    matches!(name, b":method" | b":scheme" | b":authority" | b":path" | b":status" | b"grpc-status" | b"grpc-timeout")
        || redaction.allowed(name).is_some()
}

impl Fields {
    pub(super) fn new() -> Self {
        Self { values: Vec::with_capacity(KEPT_USUAL), headers: Vec::with_capacity(8), ..Self::default() }
    }

    /// Takes the next field of the block.
    pub(super) fn take(&mut self, field: &Field<'_>, redaction: &Redaction) {
        let name = field.name;
        if self.opening == Opening::Empty {
            self.opening = match name {
                None => Opening::Unknown,
                Some(b":status") => Opening::Response,
                Some([b':', ..]) => Opening::Request,
                Some(_) => Opening::Regular,
            };
        }
        let Some(name) = name else {
            self.unknown = true;
            return;
        };
        match field.value {
            Value::Known(value) => self.known(name, value, redaction),
            Value::Unknown(_) => {
                self.is_connect &= name != b":method";
                self.unknown |= is_wanted(name, redaction);
            }
            Value::Dropped(_) => {}
        }
    }

    fn known(&mut self, name: &[u8], value: &[u8], redaction: &Redaction) {
        if self.values.len() >= KEPT_MAX || self.headers.len() >= HEADERS_MAX {
            self.cut += 1;
            return;
        }
        match name {
            b":method" => {
                self.is_connect = value == b"CONNECT";
                self.method = Some(self.keep(value));
            }
            b":scheme" => self.scheme = Some(self.keep(value)),
            b":authority" => self.authority = Some(self.keep(without_user(value))),
            b":path" => {
                let start = self.values.len();
                self.cut += u64::from(mask_target(value, redaction.query(), &mut self.values));
                self.path = Some(start..self.values.len());
            }
            b":status" => self.status = status(value),
            [b':', ..] => {}
            b"grpc-status" => self.grpc_status = grpc::status(value),
            b"grpc-timeout" => self.grpc_timeout_ns = grpc::timeout_ns(value),
            b"grpc-message" => {
                if redaction.allowed(name).is_some() {
                    let start = self.values.len();
                    self.cut += u64::from(grpc::message(value, &mut self.values));
                    self.grpc_message = Some(start..self.values.len());
                }
            }
            _ => self.header(name, value, redaction),
        }
    }

    fn header(&mut self, name: &[u8], value: &[u8], redaction: &Redaction) {
        self.is_grpc |= name == b"content-type" && grpc::is_grpc(value);
        let Some(name) = redaction.allowed(name) else { return };
        let value = if holds_url(&name) {
            let start = self.values.len();
            self.cut += u64::from(mask_target(value, redaction.query(), &mut self.values));
            start..self.values.len()
        } else {
            self.keep(value)
        };
        self.headers.push((name, value));
    }

    fn keep(&mut self, value: &[u8]) -> Range<usize> {
        let start = self.values.len();
        self.cut += u64::from(value.len() > VALUE_MAX);
        self.values.extend_from_slice(value.get(..VALUE_MAX).unwrap_or(value));
        start..self.values.len()
    }

    /// The kept values.
    pub(super) fn into_kept(self) -> Kept {
        let values = Bytes::from(self.values);
        let slice = |range: Range<usize>| values.slice(range);
        Kept {
            method: self.method.map(slice),
            scheme: self.scheme.map(slice),
            authority: self.authority.map(slice),
            path: self.path.map(slice),
            grpc_message: self.grpc_message.map(slice),
            headers: self.headers.into_iter().map(|(name, range)| (name, slice(range))).collect(),
        }
    }
}

/// User information is never kept; it is deprecated here anyway (RFC 9113, section 8.3.1).
pub(super) fn without_user(authority: &[u8]) -> &[u8] {
    let at = memchr::memrchr(b'@', authority);
    at.and_then(|at| authority.get(at + 1..)).unwrap_or(authority)
}

/// Three digits, 100 to 999.
fn status(value: &[u8]) -> Option<u16> {
    let [a @ b'1'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9'] = value else { return None };
    Some([a, b, c].iter().fold(0, |n, &&digit| n * 10 + u16::from(digit - b'0')))
}
