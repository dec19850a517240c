//! The field lines of a head (RFC 9112, section 5): which of them are kept, and what they say of the body. It reads
//! heads that end-points accept although the grammar does not, and says so.

use bytes::Bytes;

use super::body::Declared;
use crate::span::redact::{Redaction, VALUE_MAX, holds_url, is_token, mask_target};

/// What the field lines of a head say.
#[derive(Debug, Default)]
pub(super) struct Fields {
    /// What they declare of the body.
    pub(super) declared: Declared,
    /// `Expect: 100-continue`.
    pub(super) expects: bool,
    /// A line is none of the grammar's, and end-points may read it in different ways.
    pub(super) malformed: bool,
    /// Values that were cut to [`VALUE_MAX`].
    pub(super) cut: u64,
    /// Names, and where their values lie in `values`.
    kept: Vec<(Bytes, usize, usize)>,
    values: Vec<u8>,
}

impl Fields {
    /// Reads field lines; `lines` begins after the start line. `room` is the room that the caller needs in front of the
    /// kept values.
    pub(super) fn read(lines: &[u8], front: Vec<u8>, redaction: &Redaction) -> Self {
        let mut fields = Self { values: front, kept: Vec::with_capacity(8), ..Self::default() };
        let mut rest = lines;
        while let Some((line, after)) = split_line(rest) {
            rest = after;
            if line.is_empty() {
                break;
            }
            if is_folded(rest) {
                let joined;
                (joined, rest) = unfold(line, rest);
                fields.line(&joined, redaction);
            } else {
                fields.line(line, redaction);
            }
        }
        fields
    }

    /// What was in front, and the kept headers. All share one buffer.
    pub(super) fn into_kept(self, front: usize) -> (Bytes, Vec<(Bytes, Bytes)>) {
        let values = Bytes::from(self.values);
        let headers = self.kept.into_iter().map(|(name, start, end)| (name, values.slice(start..end))).collect();
        (values.slice(..front), headers)
    }

    fn line(&mut self, line: &[u8], redaction: &Redaction) {
        let Some(colon) = memchr::memchr(b':', line) else {
            self.malformed = true;
            return;
        };
        let (name, value) = (line[..colon].trim_ascii_end(), line[colon + 1..].trim_ascii());
        if name.len() != colon || name.is_empty() || !name.iter().all(|&b| is_token(b)) {
            self.malformed = true;
        }
        if name.eq_ignore_ascii_case(b"content-length") {
            self.declared.content_length(value);
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            self.declared.transfer_encoding(value);
        } else if name.eq_ignore_ascii_case(b"expect") {
            self.expects |= value.eq_ignore_ascii_case(b"100-continue");
        }
        if let Some(name) = redaction.allowed(name) {
            self.keep(name, value, redaction);
        }
    }

    fn keep(&mut self, name: Bytes, value: &[u8], redaction: &Redaction) {
        let start = self.values.len();
        let cut = if holds_url(&name) {
            mask_target(value, redaction.query(), &mut self.values)
        } else {
            self.values.extend_from_slice(&value[..value.len().min(VALUE_MAX)]);
            value.len() > VALUE_MAX
        };
        self.cut += u64::from(cut);
        self.kept.push((name, start, self.values.len()));
    }
}

/// The first line without its end (CRLF, or a bare LF), and what follows; none if no line is complete.
pub(super) fn split_line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = memchr::memchr(b'\n', bytes)?;
    let line = &bytes[..end];
    Some((line.strip_suffix(b"\r").unwrap_or(line), &bytes[end + 1..]))
}

/// Whether the next line continues the one before it (obs-fold: RFC 9112, section 5.2).
fn is_folded(rest: &[u8]) -> bool {
    matches!(rest.first(), Some(b' ' | b'\t'))
}

fn unfold<'a>(line: &[u8], mut rest: &'a [u8]) -> (Vec<u8>, &'a [u8]) {
    let mut joined = line.to_vec();
    while is_folded(rest) {
        let Some((line, after)) = split_line(rest) else { break };
        joined.push(b' ');
        joined.extend_from_slice(line.trim_ascii());
        rest = after;
    }
    (joined, rest)
}
