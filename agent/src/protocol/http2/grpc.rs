//! gRPC over HTTP/2: what its headers and trailers say, and where its messages begin ("gRPC over HTTP2", the protocol's
//! description, sections "Requests" and "Responses").

use crate::{protocol::Chunk, span::redact::VALUE_MAX};

/// Bytes in front of each message: a flag (compressed or not) and the length.
const PREFIX_LENGTH: usize = 5;
/// Bytes that a message has at most; a longer one is taken for something else, as the kernel side does.
const MESSAGE_MAX: u32 = 1 << 26;
/// The largest number of digits in a timeout.
const TIMEOUT_DIGITS: usize = 8;

/// Whether a content type is gRPC's: `application/grpc`, alone or with a subtype or parameters. `application/grpc-web`
/// is another protocol.
pub(super) fn is_grpc(content_type: &[u8]) -> bool {
    let Some((front, rest)) = content_type.split_at_checked(16) else { return false };
    front.eq_ignore_ascii_case(b"application/grpc") && matches!(rest.first(), None | Some(b'+' | b';' | b' '))
}

/// `grpc-status`: a decimal number.
pub(super) fn status(value: &[u8]) -> Option<u32> {
    std::str::from_utf8(value).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?.parse().ok()
}

/// `grpc-timeout` in nanoseconds: at most eight digits and a unit.
pub(super) fn timeout_ns(value: &[u8]) -> Option<u64> {
    let (unit, digits) = value.split_last()?;
    if digits.is_empty() || digits.len() > TIMEOUT_DIGITS || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = digits.iter().fold(0, |number, digit| number * 10 + u64::from(digit - b'0'));
    let unit_ns: u64 = match unit {
        b'H' => 3_600_000_000_000,
        b'M' => 60_000_000_000,
        b'S' => 1_000_000_000,
        b'm' => 1_000_000,
        b'u' => 1000,
        b'n' => 1,
        _ => return None,
    };
    Some(number.saturating_mul(unit_ns))
}

/// Appends `grpc-message` without its percent-encoding, up to [`VALUE_MAX`] bytes; returns whether some were cut off.
/// What is no percent-encoding stays as it is.
pub(super) fn message(value: &[u8], out: &mut Vec<u8>) -> bool {
    let end = out.len() + VALUE_MAX;
    let mut rest = value;
    while let Some((&byte, after)) = rest.split_first() {
        if out.len() == end {
            return true;
        }
        let encoded = match *rest {
            [b'%', high, low, ..] => digit(high).zip(digit(low)),
            _ => None,
        };
        let decoded = encoded.map_or(byte, |(high, low)| high << 4 | low);
        out.push(decoded);
        rest = if encoded.is_some() { rest.get(3..).unwrap_or_default() } else { after };
    }
    false
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).map(|digit| digit as u8)
}

/// Counts the messages in one direction of a stream, by the prefixes that were copied.
#[derive(Clone, Copy, Debug)]
pub(super) struct Messages {
    at: At,
    begun: u64,
}

#[derive(Clone, Copy, Debug)]
enum At {
    /// So far into a prefix.
    Prefix { have: u8, length: u32 },
    /// So many bytes before the end of a message.
    Message(u32),
    /// Nobody knows.
    Lost,
}

const START: At = At::Prefix { have: 0, length: 0 };

impl Default for Messages {
    fn default() -> Self {
        Self { at: START, begun: 0 }
    }
}

impl Messages {
    /// Messages that began; none if a prefix was not seen.
    pub(super) const fn count(&self) -> Option<u64> {
        match self.at {
            At::Lost => None,
            At::Prefix { .. } | At::Message(_) => Some(self.begun),
        }
    }

    /// The next bytes of the stream's DATA.
    pub(super) fn data(&mut self, body: Chunk<'_>) {
        match body {
            Chunk::Copied(bytes) => self.copied(bytes),
            Chunk::Skipped(n) | Chunk::Cut(n) => self.passed(n),
            Chunk::Lost(_) => self.at = At::Lost,
        }
    }

    fn passed(&mut self, n: u64) {
        self.at = match self.at {
            at if n == 0 => at,
            At::Message(left) if n < u64::from(left) => At::Message(left - n as u32),
            At::Message(left) if n == u64::from(left) => START,
            _ => At::Lost,
        };
    }

    fn copied(&mut self, bytes: &[u8]) {
        self.each(bytes, |_, _| {});
    }

    /// Takes copied bytes as [`data`](Self::data) does, and tells of each run how long it is and whether it is of a
    /// prefix.
    pub(super) fn each(&mut self, bytes: &[u8], mut run: impl FnMut(usize, bool)) {
        let mut rest = bytes;
        while let Some((&byte, after)) = rest.split_first() {
            match self.at {
                At::Lost => return run(rest.len(), false),
                At::Message(left) => {
                    let n = rest.len().min(left as usize);
                    self.passed(n as u64);
                    run(n, false);
                    rest = rest.get(n..).unwrap_or_default();
                }
                At::Prefix { have, length } => {
                    rest = after;
                    self.prefix(have, length, byte);
                    run(1, !matches!(self.at, At::Lost));
                }
            }
        }
    }

    /// Nobody knows where messages begin from here on.
    pub(super) fn lose(&mut self) {
        self.at = At::Lost;
    }

    fn prefix(&mut self, have: u8, length: u32, byte: u8) {
        self.begun += u64::from(have == 0);
        // The flag is 0 or 1.
        let length = if have == 0 { 0 } else { length << 8 | u32::from(byte) };
        self.at = match usize::from(have) + 1 {
            1 if byte > 1 => At::Lost,
            2.. if length << (8 * (PREFIX_LENGTH - 1 - usize::from(have))) > MESSAGE_MAX => At::Lost,
            PREFIX_LENGTH if length == 0 => START,
            PREFIX_LENGTH => At::Message(length),
            _ => At::Prefix { have: have + 1, length },
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_types_of_grpc_are_told_from_others() {
        for (text, expected) in [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("Application/GRPC; charset=utf-8", true),
            ("application/grpc-web", false),
            ("application/grpc-web+proto", false),
            ("application/grp", false),
            ("application/json", false),
            ("", false),
        ] {
            assert_eq!(is_grpc(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn timeouts_are_nanoseconds() {
        for (text, expected) in [
            ("1H", Some(3_600_000_000_000)),
            ("2M", Some(120_000_000_000)),
            ("30S", Some(30_000_000_000)),
            ("250m", Some(250_000_000)),
            ("7u", Some(7000)),
            ("99999999n", Some(99_999_999)),
            ("99999999H", Some(u64::MAX)),
            ("100000000n", None),
            ("1", None),
            ("S", None),
            ("1s", None),
            ("-1S", None),
            ("", None),
        ] {
            assert_eq!(timeout_ns(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn a_status_is_a_number() {
        for (text, expected) in [("0", Some(0)), ("16", Some(16)), ("", None), ("+1", None), ("OK", None)] {
            assert_eq!(status(text.as_bytes()), expected, "{text}");
        }
        assert_eq!(status(b"99999999999"), None);
    }

    #[test]
    fn messages_of_errors_are_decoded_and_bounded() {
        for (text, expected) in [("a%20b", "a b"), ("100%", "100%"), ("%zz%4", "%zz%4"), ("%C3%bc", "\u{fc}"), ("", "")]
        {
            let mut out = Vec::new();
            assert!(!message(text.as_bytes(), &mut out));
            assert_eq!(out, expected.as_bytes(), "{text}");
        }
        let mut out = b"before".to_vec();
        assert!(message(&b"%41".repeat(VALUE_MAX + 1), &mut out));
        assert_eq!(out.len(), VALUE_MAX + 6);
    }

    /// Three messages: of 3, 0 and 300 bytes.
    fn body() -> Vec<u8> {
        [&b"\0\0\0\0\x03abc\x01\0\0\0\0\0\0\0\x01\x2c"[..], &[9; 300]].concat()
    }

    #[test]
    fn messages_are_counted_however_their_bytes_are_split() {
        let body = body();
        for first in 0..=body.len() {
            let mut messages = Messages::default();
            messages.data(Chunk::Copied(&body[..first]));
            messages.data(Chunk::Copied(&body[first..]));
            assert_eq!(messages.count(), Some(3), "split at {first}");
        }
    }

    #[test]
    fn payload_that_is_not_copied_is_passed_over() {
        let mut messages = Messages::default();
        messages.data(Chunk::Copied(b"\0\0\0\0\x03"));
        messages.data(Chunk::Skipped(3));
        messages.data(Chunk::Copied(b"\0\0\0\x01\0"));
        messages.data(Chunk::Cut(255));
        assert_eq!(messages.count(), Some(2));
        messages.data(Chunk::Skipped(1));
        messages.data(Chunk::Copied(b"\0"));
        assert_eq!(messages.count(), Some(3));
    }

    #[test]
    fn a_prefix_that_was_not_seen_ends_the_count() {
        for missing in [Chunk::Skipped(4), Chunk::Cut(4), Chunk::Lost(1)] {
            let mut messages = Messages::default();
            messages.data(Chunk::Copied(b"\0\0\0\0\x03"));
            messages.data(missing);
            messages.data(Chunk::Copied(b"\0\0\0\0\x03"));
            assert_eq!(messages.count(), None, "{missing:?}");
        }
        let mut messages = Messages::default();
        messages.data(Chunk::Copied(b"{\"a\""));
        assert_eq!(messages.count(), None);
    }
}
