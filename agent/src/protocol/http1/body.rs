//! How long a message's body is (RFC 9112, section 6), and how far it has come. Bodies are counted, never kept.

mod chunked;

pub(super) use chunked::Chunked;

use super::head::MethodKind;

/// What a head declares of its body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Declared {
    length: Option<Length>,
    coding: Option<Coding>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Length {
    Exactly(u64),
    /// Not a number, or two different ones.
    Invalid,
}

/// The last transfer coding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Coding {
    Chunked,
    Other,
}

/// How the end of a body is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// There is no body, or it has this many bytes.
    Length(u64),
    /// Chunked transfer coding.
    Chunked,
    /// It ends with the connection.
    UntilClose,
    /// The head contradicts itself: end-points refuse it, or differ.
    Unknown,
}

impl Declared {
    /// Takes a `Content-Length` field line. Equal numbers may repeat, in a list or in lines (RFC 9112, section 6.3).
    pub(super) fn content_length(&mut self, value: &[u8]) {
        for part in value.split(|&b| b == b',') {
            let length = decimal(part.trim_ascii()).map_or(Length::Invalid, Length::Exactly);
            self.length = match self.length {
                None => Some(length),
                Some(before) if before == length => Some(before),
                Some(_) => Some(Length::Invalid),
            };
        }
    }

    /// Takes a `Transfer-Encoding` field line. `identity` was a coding in RFC 2616 that meant none.
    pub(super) fn transfer_encoding(&mut self, value: &[u8]) {
        for part in value.split(|&b| b == b',') {
            let name = part.split(|&b| b == b';').next().unwrap_or_default().trim_ascii();
            if name.eq_ignore_ascii_case(b"chunked") {
                self.coding = Some(Coding::Chunked);
            } else if !name.is_empty() && !name.eq_ignore_ascii_case(b"identity") {
                self.coding = Some(Coding::Other);
            }
        }
    }

    /// The body of a request.
    pub(super) fn of_request(self) -> Framing {
        match (self.coding, self.length) {
            (Some(Coding::Chunked), _) => Framing::Chunked,
            (Some(Coding::Other), _) | (None, Some(Length::Invalid)) => Framing::Unknown,
            (None, Some(Length::Exactly(n))) => Framing::Length(n),
            (None, None) => Framing::Length(0),
        }
    }

    /// The body of a response with this status to a request with this method. What follows a 101 or a successful
    /// CONNECT is no body.
    pub(super) fn of_response(self, status: u16, method: MethodKind) -> Framing {
        if status < 200 || matches!(status, 204 | 304) || method == MethodKind::Head || is_tunnel(status, method) {
            return Framing::Length(0);
        }
        match (self.coding, self.length) {
            (Some(Coding::Chunked), _) => Framing::Chunked,
            (Some(Coding::Other), _) | (None, None) => Framing::UntilClose,
            (None, Some(Length::Invalid)) => Framing::Unknown,
            (None, Some(Length::Exactly(n))) => Framing::Length(n),
        }
    }
}

/// Whether the connection is a tunnel after this response (RFC 9110, section 9.3.6).
pub(super) fn is_tunnel(status: u16, method: MethodKind) -> bool {
    method == MethodKind::Connect && (200..300).contains(&status)
}

fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    digits.iter().try_fold(0_u64, |n, b| n.checked_mul(10)?.checked_add(u64::from(b - b'0')))
}

/// A body on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Body {
    /// This many bytes are to come; never 0.
    Length(u64),
    Chunked(Chunked),
    UntilClose,
}

/// How far some bytes have brought a body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Progress {
    /// Bytes that belong to the message.
    pub(super) wire: u64,
    /// Of these, payload.
    pub(super) payload: u64,
    /// What became of the body with them.
    pub(super) state: State,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum State {
    /// More is to come.
    #[default]
    More,
    /// This was its end; bytes that are left over are the next message's.
    Complete,
    /// The bytes are no chunked coding, or were not given where they are needed: the rest is not understood.
    Broken,
}

impl Body {
    /// The body with this framing; none where there are no bytes to come. [`Framing::Unknown`] has none.
    pub(super) fn new(framing: Framing) -> Option<Self> {
        match framing {
            Framing::Length(0) | Framing::Unknown => None,
            Framing::Length(n) => Some(Self::Length(n)),
            Framing::Chunked => Some(Self::Chunked(Chunked::default())),
            Framing::UntilClose => Some(Self::UntilClose),
        }
    }

    /// Moves on by bytes that are given.
    pub(super) fn copied(&mut self, bytes: &[u8]) -> Progress {
        match self {
            Self::Chunked(chunked) => chunked.copied(bytes),
            Self::Length(_) | Self::UntilClose => self.counted(bytes.len() as u64),
        }
    }

    /// Moves on by bytes that are not given.
    pub(super) fn counted(&mut self, n: u64) -> Progress {
        match self {
            Self::Length(left) => {
                let taken = n.min(*left);
                *left -= taken;
                let state = if *left == 0 { State::Complete } else { State::More };
                Progress { wire: taken, payload: taken, state }
            }
            Self::Chunked(chunked) => chunked.counted(n),
            Self::UntilClose => Progress { wire: n, payload: n, state: State::More },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn declared(lines: &[(&str, &str)]) -> Declared {
        let mut declared = Declared::default();
        for (name, value) in lines {
            match *name {
                "cl" => declared.content_length(value.as_bytes()),
                _ => declared.transfer_encoding(value.as_bytes()),
            }
        }
        declared
    }

    #[test]
    fn requests_are_framed_as_rfc_9112_section_6_3_says() {
        let table: &[(&[(&str, &str)], Framing)] = &[
            (&[], Framing::Length(0)),
            (&[("cl", "0")], Framing::Length(0)),
            (&[("cl", "42")], Framing::Length(42)),
            (&[("cl", "42, 42")], Framing::Length(42)),
            (&[("cl", "42"), ("cl", "42")], Framing::Length(42)),
            (&[("cl", "42"), ("cl", "43")], Framing::Unknown),
            (&[("cl", "42, 43")], Framing::Unknown),
            (&[("cl", "+1")], Framing::Unknown),
            (&[("cl", "-1")], Framing::Unknown),
            (&[("cl", "")], Framing::Unknown),
            (&[("cl", "0x10")], Framing::Unknown),
            (&[("cl", "18446744073709551615")], Framing::Length(u64::MAX)),
            (&[("cl", "18446744073709551616")], Framing::Unknown),
            (&[("te", "chunked")], Framing::Chunked),
            (&[("te", "Chunked")], Framing::Chunked),
            (&[("te", "gzip, chunked")], Framing::Chunked),
            (&[("te", "gzip"), ("te", "chunked")], Framing::Chunked),
            (&[("te", "chunked"), ("cl", "5")], Framing::Chunked),
            (&[("cl", "x"), ("te", "chunked")], Framing::Chunked),
            (&[("te", "gzip")], Framing::Unknown),
            (&[("te", "chunked, gzip")], Framing::Unknown),
            (&[("te", "identity")], Framing::Length(0)),
            (&[("te", "identity"), ("cl", "3")], Framing::Length(3)),
        ];
        for (lines, framing) in table {
            assert_eq!(declared(lines).of_request(), *framing, "{lines:?}");
        }
    }

    #[test]
    fn responses_are_framed_by_status_and_method_too() {
        type Row = (&'static [(&'static str, &'static str)], u16, MethodKind, Framing);
        let table: &[Row] = &[
            (&[], 200, MethodKind::Other, Framing::UntilClose),
            (&[("cl", "5")], 200, MethodKind::Other, Framing::Length(5)),
            (&[("cl", "5")], 200, MethodKind::Head, Framing::Length(0)),
            (&[("te", "chunked")], 200, MethodKind::Head, Framing::Length(0)),
            (&[("cl", "5")], 204, MethodKind::Other, Framing::Length(0)),
            (&[("cl", "5")], 304, MethodKind::Other, Framing::Length(0)),
            (&[("cl", "5")], 100, MethodKind::Other, Framing::Length(0)),
            (&[("cl", "5")], 200, MethodKind::Connect, Framing::Length(0)),
            (&[("cl", "5")], 407, MethodKind::Connect, Framing::Length(5)),
            (&[("te", "gzip"), ("cl", "5")], 200, MethodKind::Other, Framing::UntilClose),
            (&[("cl", "5, 6")], 200, MethodKind::Other, Framing::Unknown),
        ];
        for (lines, status, method, framing) in table {
            assert_eq!(declared(lines).of_response(*status, *method), *framing, "{lines:?} {status} {method:?}");
        }
    }
}
