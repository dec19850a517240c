//! The lines of a head, scrubbed as they come.

use super::{STAR, target};
use crate::{
    protocol::http1::{
        METHOD_MAX,
        body::{Declared, Framing},
        head::MethodKind,
    },
    span::redact::{NAME_MAX, Redaction, holds_url, is_token},
};

/// Bytes of a value that tells a body's length which are looked at; a longer one makes the length unknown.
const FRAMING_VALUE_MAX: usize = 128;
/// Headers that are not on the allow-list and stay, because an exchange's shape depends on them.
const FRAMING: &[&[u8]] = &[b"content-length", b"transfer-encoding", b"connection", b"upgrade", b"expect"];

/// What has become of a head.
pub(super) enum HeadState {
    More,
    Complete(Framing),
    /// It is no head.
    Broken,
}

/// A head on its way.
#[derive(Clone, Debug, Default)]
pub(super) struct Head {
    at: At,
    /// The first word, or the present header's name in lower case.
    word: Vec<u8>,
    /// The value of the present header, if it tells a body's length.
    framing: Vec<u8>,
    /// Status, if it is a response's head.
    status: Option<u16>,
    declared: Declared,
    value: Value,
    /// The present line has no byte but a carriage return.
    empty: bool,
    unframed: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum At {
    /// In the start line's first word.
    #[default]
    Word,
    /// In the request target: at its first byte, and while it is in a path.
    Target {
        first: bool,
        passes: bool,
    },
    /// In the version of a request; so many bytes of it passed.
    Version(usize),
    /// In the status code; so many digits passed.
    Status(usize),
    /// At the beginning of a field line, or in its name.
    Name,
    /// After a name, before its colon.
    Colon,
    /// In a value; `blank` before its first byte that is not.
    Value {
        blank: bool,
    },
    /// In a part of a line that is masked.
    Masked,
    /// After the empty line.
    Complete,
    Broken,
}

/// What happens to the present header's value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Value {
    #[default]
    Mask,
    Keep,
    /// Kept, and looked at.
    Length,
    Coding,
    /// Masked as a target is.
    Url,
}

impl Head {
    pub(super) fn state(&self) -> HeadState {
        match self.at {
            At::Broken => HeadState::Broken,
            At::Complete if self.unframed => HeadState::Complete(Framing::Unknown),
            At::Complete => HeadState::Complete(match self.status {
                None => self.declared.of_request(),
                // Another protocol follows.
                Some(101) => Framing::Unknown,
                Some(status) => self.declared.of_response(status, MethodKind::Other),
            }),
            _ => HeadState::More,
        }
    }

    /// Whether it is a response's that switches to another protocol.
    pub(super) fn is_switch(&self) -> bool {
        self.status == Some(101)
    }

    /// Scrubs some bytes, and returns how many; 0 if the head turned out to be over or none.
    pub(super) fn step(&mut self, rest: &mut [u8], redaction: &Redaction) -> usize {
        let byte = rest[0];
        if byte == b'\n' {
            self.end_line();
            return 1;
        }
        match self.at {
            At::Target { first, passes } => return self.target(rest, first, passes, redaction),
            At::Value { blank: false } if self.value == Value::Url => return self.url(rest, redaction),
            _ => {}
        }
        if byte == b'\r' {
            return 1;
        }
        let first = std::mem::replace(&mut self.empty, false);
        if first && !matches!(byte, b' ' | b'\t') {
            self.end_value();
        }
        match self.at {
            At::Word => self.word(byte),
            At::Version(n) if n < 8 && matches!(byte, b'H' | b'T' | b'P' | b'/' | b'.' | b'0'..=b'9') => {
                self.at = At::Version(n + 1);
            }
            At::Status(n) if n < 3 && byte.is_ascii_digit() => {
                self.status = self.status.map(|status| status * 10 + u16::from(byte - b'0'));
                self.at = At::Status(n + 1);
            }
            At::Status(3) if byte == b' ' => self.at = At::Masked,
            // A continuation of the line before (obs-fold), under the same rule.
            At::Name if first && matches!(byte, b' ' | b'\t') => self.fold(),
            At::Name if is_token(byte) && self.word.len() <= NAME_MAX => self.word.push(byte.to_ascii_lowercase()),
            // Longer than any name that is kept.
            At::Name if is_token(byte) => rest[0] = STAR,
            At::Name | At::Colon if byte == b':' => self.begin_value(redaction),
            At::Name | At::Colon if matches!(byte, b' ' | b'\t') => self.at = At::Colon,
            At::Value { blank } => return self.value(rest, blank),
            At::Complete | At::Broken => return 0,
            At::Version(_) | At::Status(_) | At::Name | At::Colon | At::Masked | At::Target { .. } => {
                self.at = At::Masked;
                rest[0] = STAR;
            }
        }
        usize::from(self.at != At::Broken)
    }

    fn end_line(&mut self) {
        match self.at {
            At::Word | At::Broken => self.at = At::Broken,
            At::Name if self.empty => self.end_head(),
            _ => {
                self.at = At::Name;
                self.empty = true;
                self.word.clear();
            }
        }
    }

    fn end_head(&mut self) {
        self.end_value();
        self.at = At::Complete;
    }

    /// A byte of the first word: it is a method or the version of a response.
    fn word(&mut self, byte: u8) {
        if byte == b' ' {
            self.at = if self.word.starts_with(b"HTTP/1.") {
                self.status = Some(0);
                At::Status(0)
            } else if self.word.contains(&b'/') {
                At::Broken
            } else {
                At::Target { first: true, passes: true }
            };
        } else if self.word.len() < METHOD_MAX && (is_token(byte) || byte == b'/') {
            self.word.push(byte);
        } else {
            self.at = At::Broken;
        }
    }

    fn target(&mut self, rest: &mut [u8], first: bool, passes: bool, redaction: &Redaction) -> usize {
        let end = memchr::memchr2(b' ', b'\n', rest);
        let used = end.unwrap_or(rest.len());
        let run = &mut rest[..used];
        if !passes {
            target::mask(run);
        } else if end.is_some() && first {
            target::whole(run, redaction.query());
        } else if used > 0 {
            let passes = target::part(run, first, redaction.query());
            self.at = At::Target { first: false, passes };
        }
        if rest.get(used) == Some(&b' ') {
            self.at = At::Version(0);
            return used + 1;
        }
        used
    }

    /// The colon was there: the name is known.
    fn begin_value(&mut self, redaction: &Redaction) {
        self.value = match &self.word[..] {
            b"content-length" => Value::Length,
            b"transfer-encoding" => Value::Coding,
            name if FRAMING.contains(&name) => Value::Keep,
            name if redaction.allowed(name).is_none() => Value::Mask,
            name if holds_url(name) => Value::Url,
            _ => Value::Keep,
        };
        self.at = At::Value { blank: true };
    }

    fn fold(&mut self) {
        // What an obs-fold in it means for framing is not for a recording to decide.
        self.at = if self.value == Value::Mask { At::Masked } else { At::Value { blank: true } };
        self.framing.push(b' ');
    }

    /// Bytes of a value, up to the line's end.
    fn value(&mut self, rest: &mut [u8], blank: bool) -> usize {
        if blank && matches!(rest[0], b' ' | b'\t') {
            return 1;
        }
        self.at = At::Value { blank: false };
        if self.value == Value::Url {
            return 0;
        }
        let used = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
        let run = &mut rest[..used];
        match self.value {
            Value::Mask => target::mask(run),
            Value::Keep | Value::Url => {}
            Value::Length | Value::Coding => {
                let room = FRAMING_VALUE_MAX - self.framing.len().min(FRAMING_VALUE_MAX);
                self.unframed |= run.len() > room;
                self.framing.extend_from_slice(&run[..run.len().min(room)]);
            }
        }
        used
    }

    /// The value of the header before this line is over.
    fn end_value(&mut self) {
        let value = std::mem::take(&mut self.framing);
        match self.value {
            Value::Length => self.declared.content_length(value.trim_ascii()),
            Value::Coding => self.declared.transfer_encoding(value.trim_ascii()),
            Value::Mask | Value::Keep | Value::Url => {}
        }
        self.value = Value::Mask;
    }

    /// A value that is a URL: masked as one if all of it is here.
    fn url(&mut self, rest: &mut [u8], redaction: &Redaction) -> usize {
        let end = memchr::memchr(b'\n', rest);
        let used = end.unwrap_or(rest.len());
        let run = &mut rest[..used];
        let text = run.strip_suffix(b"\r").map_or(used, <[u8]>::len);
        match end {
            Some(_) => target::whole(&mut run[..text], redaction.query()),
            None => target::mask(run),
        }
        self.at = At::Masked;
        used
    }
}
