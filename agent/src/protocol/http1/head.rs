//! A message's head (RFC 9112, sections 2 to 5): where it ends, and what of it is kept. It parses what is complete of a
//! head that was cut, too; it must not give a start line that was not there whole.

use bytes::Bytes;

use super::{
    body::Declared,
    fields::{Fields, split_line},
};
use crate::{
    protocol::{Request, Response, Version, detect::METHODS},
    span::redact::{Redaction, is_token, mask_target},
};

/// Bytes that are usually kept of a head, at most.
const KEPT_USUAL: usize = 512;

/// What a method means for framing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MethodKind {
    /// The response has no body.
    Head,
    /// A successful response makes a tunnel.
    Connect,
    /// Any other, or not known.
    Other,
}

/// A request's head.
#[derive(Debug)]
pub(super) struct RequestHead {
    pub(super) request: Request,
    pub(super) declared: Declared,
    pub(super) expects: bool,
    pub(super) malformed: bool,
    /// Parts that were longer than is kept.
    pub(super) cut: u64,
}

/// A response's head.
#[derive(Debug)]
pub(super) struct ResponseHead {
    pub(super) response: Response,
    pub(super) declared: Declared,
    pub(super) malformed: bool,
    /// Parts that were longer than is kept.
    pub(super) cut: u64,
}

/// Length of the head that `bytes` begins with, with its empty line; none while it is not complete. Nothing before
/// `from` needs to be looked at again.
pub(super) fn length(bytes: &[u8], from: usize) -> Option<usize> {
    // The empty line may have begun up to two bytes before.
    let from = from.saturating_sub(2);
    memchr::memchr_iter(b'\n', bytes.get(from..)?).find_map(|at| match bytes.get(from + at + 1..)? {
        [b'\n', ..] => Some(from + at + 2),
        [b'\r', b'\n', ..] => Some(from + at + 3),
        _ => None,
    })
}

/// Parses a request's head; none if its request line is none.
pub(super) fn request(head: &[u8], redaction: &Redaction) -> Option<RequestHead> {
    let (line, lines) = split_line(head)?;
    let (method, rest) = line.split_at(memchr::memchr(b' ', line)?);
    let rest = &rest[1..];
    let (target, version) = rest.split_at(memchr::memchr(b' ', rest)?);
    let version = version_of(&version[1..])?;
    if method.is_empty() || target.is_empty() || !method.iter().all(|&b| is_token(b)) {
        return None;
    }
    // One buffer for all that is kept.
    let mut front = Vec::with_capacity(head.len().min(KEPT_USUAL));
    let mut cut = u64::from(mask_target(target, redaction.query(), &mut front));
    let target_end = front.len();
    let known = METHODS.iter().find(|m| m.as_bytes() == method);
    if known.is_none() {
        front.extend_from_slice(method);
    }
    let front_end = front.len();
    let fields = Fields::read(lines, front, redaction);
    cut += fields.cut;
    let (declared, expects, malformed) = (fields.declared, fields.expects, fields.malformed);
    let (front, headers) = fields.into_kept(front_end);
    let method = known.map_or_else(|| front.slice(target_end..), |m| Bytes::from_static(m.as_bytes()));
    let request = Request { method, scheme: None, target: front.slice(..target_end), version, headers };
    Some(RequestHead { request, declared, expects, malformed, cut })
}

/// The method's meaning, of a head that need not be whole.
pub(super) fn method_kind(head: &[u8]) -> MethodKind {
    if head.starts_with(b"HEAD ") {
        MethodKind::Head
    } else if head.starts_with(b"CONNECT ") {
        MethodKind::Connect
    } else {
        MethodKind::Other
    }
}

/// Parses a response's head; none if its status line is none.
pub(super) fn response(head: &[u8], redaction: &Redaction) -> Option<ResponseHead> {
    let (line, lines) = split_line(head)?;
    let (version, rest) = line.split_at_checked(8)?;
    let version = version_of(version)?;
    let [b' ', a @ b'1'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9', reason @ ..] = rest else { return None };
    if !matches!(reason.first(), None | Some(b' ')) {
        return None;
    }
    let status = [a, b, c].iter().fold(0, |n, &&digit| n * 10 + u16::from(digit - b'0'));
    let fields = Fields::read(lines, Vec::with_capacity(head.len().min(KEPT_USUAL)), redaction);
    let (declared, malformed, cut) = (fields.declared, fields.malformed, fields.cut);
    let (_, headers) = fields.into_kept(0);
    Some(ResponseHead { response: Response { status, version, headers }, declared, malformed, cut })
}

/// `HTTP/1.` and one digit; minor versions above 1 are to be read as 1 (RFC 9110, section 6.2).
fn version_of(bytes: &[u8]) -> Option<Version> {
    match bytes.strip_prefix(b"HTTP/1.")? {
        [b'0'] => Some(Version::Http10),
        [b'1'..=b'9'] => Some(Version::Http11),
        _ => None,
    }
}
