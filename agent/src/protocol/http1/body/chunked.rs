//! Chunked transfer coding (RFC 9112, section 7.1) as a counter: it keeps a number and a state, no bytes.
//!
//! ```text
//!        digits            LF              last data byte        LF
//! Size ─────────▶ Size ─────────▶ Data ───────────────────▶ End ─────▶ Size
//!                   │ LF, size 0                            
//!                   ▼                LF of an empty line
//!                Trailer ───────────────────────────────────▶ complete
//! ```
//! A bare LF is taken for CRLF. Extensions and trailers are passed over.

use super::{Progress, State};

/// Bytes of one chunk-size line, with its extensions.
pub(in crate::protocol::http1) const SIZE_LINE_MAX: u32 = 16 * 1024;
/// Bytes of all trailers.
pub(in crate::protocol::http1) const TRAILERS_MAX: u32 = 64 * 1024;

/// Where in a chunked body the next byte lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::protocol::http1) struct Chunked {
    at: At,
    /// Bytes of the line, or of the trailers, so far.
    line: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// The hexadecimal size.
    Size { size: u64, digits: bool },
    /// After the size: blanks and extensions.
    Extension { size: u64 },
    /// Payload.
    Data { left: u64 },
    /// The line end after the payload; `cr` once its CR was there.
    End { cr: bool },
    /// Trailers; `empty` while the line has no byte but a CR.
    Trailer { empty: bool },
}

impl Default for Chunked {
    fn default() -> Self {
        Self { at: At::Size { size: 0, digits: false }, line: 0 }
    }
}

impl Chunked {
    /// Bytes of payload that come next.
    pub(in crate::protocol::http1) fn payload_left(&self) -> u64 {
        if let At::Data { left } = self.at { left } else { 0 }
    }

    /// Whether the next byte is of a chunk-size line, before its extensions.
    pub(in crate::protocol::http1) fn in_size(&self) -> bool {
        matches!(self.at, At::Size { .. })
    }

    /// Moves on by bytes that are given.
    pub(in crate::protocol::http1) fn copied(&mut self, bytes: &[u8]) -> Progress {
        let mut progress = Progress::default();
        let mut rest = bytes;
        while let Some((&byte, after)) = rest.split_first() {
            if let At::Data { left } = &mut self.at {
                let n = (rest.len() as u64).min(*left);
                *left -= n;
                progress.wire += n;
                progress.payload += n;
                rest = rest.get(n as usize..).unwrap_or_default();
                if *left == 0 {
                    self.at = At::End { cr: false };
                }
                continue;
            }
            match self.byte(byte) {
                State::Broken => return Progress { state: State::Broken, ..progress },
                State::Complete => return Progress { wire: progress.wire + 1, state: State::Complete, ..progress },
                State::More => {}
            }
            progress.wire += 1;
            rest = after;
        }
        progress
    }

    /// Moves on by bytes that are not given: those may only be payload, and the line end after it.
    pub(in crate::protocol::http1) fn counted(&mut self, n: u64) -> Progress {
        let mut progress = Progress::default();
        let mut rest = n;
        while rest > 0 {
            match &mut self.at {
                At::Data { left } => {
                    let n = rest.min(*left);
                    *left -= n;
                    progress.payload += n;
                    progress.wire += n;
                    rest -= n;
                    if *left == 0 {
                        self.at = At::End { cr: false };
                    }
                }
                At::End { cr } => {
                    progress.wire += 1;
                    rest -= 1;
                    if *cr {
                        *self = Self::default();
                    } else {
                        *cr = true;
                    }
                }
                At::Size { .. } | At::Extension { .. } | At::Trailer { .. } => {
                    return Progress { state: State::Broken, ..progress };
                }
            }
        }
        progress
    }

    /// One byte outside the payload.
    fn byte(&mut self, byte: u8) -> State {
        self.line += 1;
        match self.at {
            At::Size { size, digits } => match (byte as char).to_digit(16) {
                Some(_) if size >> 60 != 0 => return State::Broken,
                Some(digit) => self.at = At::Size { size: size << 4 | u64::from(digit), digits: true },
                None if !digits => return State::Broken,
                None => return self.extension(byte, size),
            },
            At::Extension { size } => return self.extension(byte, size),
            At::Data { .. } => {}
            At::End { cr } => match (byte, cr) {
                (b'\n', _) => *self = Self::default(),
                (b'\r', false) => self.at = At::End { cr: true },
                _ => return State::Broken,
            },
            At::Trailer { empty } => match byte {
                b'\n' if empty => return State::Complete,
                b'\n' => self.at = At::Trailer { empty: true },
                b'\r' => {}
                _ => self.at = At::Trailer { empty: false },
            },
        }
        if self.line > TRAILERS_MAX { State::Broken } else { State::More }
    }

    /// A byte between the size and the end of its line.
    fn extension(&mut self, byte: u8, size: u64) -> State {
        let first = matches!(self.at, At::Size { .. });
        self.at = match byte {
            b'\n' if size == 0 => At::Trailer { empty: true },
            b'\n' => At::Data { left: size },
            b';' | b'\r' | b' ' | b'\t' => At::Extension { size },
            _ if first => return State::Broken,
            _ => At::Extension { size },
        };
        if byte == b'\n' {
            self.line = 0;
        }
        if self.line > SIZE_LINE_MAX { State::Broken } else { State::More }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(bytes: &str) -> Progress {
        Chunked::default().copied(bytes.as_bytes())
    }

    #[test]
    fn payload_and_framing_are_counted_apart() {
        let table = [
            ("0\r\n\r\n", 5, 0),
            ("5\r\nhello\r\n0\r\n\r\n", 15, 5),
            ("5\nhello\n0\n\n", 11, 5),
            ("A\r\n0123456789\r\n0\r\n\r\n", 20, 10),
            ("5;a=b;c=\"d\"\r\nhello\r\n0;x\r\n\r\n", 27, 5),
            ("5 \r\nhello\r\n0\r\n\r\n", 16, 5),
            ("005\r\nhello\r\n000\r\n\r\n", 19, 5),
            ("1\r\nx\r\n0\r\nA: b\r\nC: d\r\n\r\n", 23, 1),
        ];
        for (bytes, wire, payload) in table {
            assert_eq!(whole(bytes), Progress { wire, payload, state: State::Complete }, "{bytes:?}");
            assert_eq!(whole(&format!("{bytes}HTTP/1.1")).wire, wire, "{bytes:?}");
        }
    }

    #[test]
    fn what_is_no_chunked_coding_is_broken() {
        for bytes in ["x", "\r\n", ";", "5x\r\n", "5\r\nhelloX", "5\r\nhello\rX", "11111111111111111\r\n"] {
            assert_eq!(whole(bytes).state, State::Broken, "{bytes:?}");
        }
    }

    #[test]
    fn endless_lines_are_broken() {
        let extension = format!("1;{}", "x".repeat(SIZE_LINE_MAX as usize));
        assert_eq!(whole(&extension).state, State::Broken);
        let trailers = format!("0\r\n{}", "a: b\r\n".repeat(TRAILERS_MAX as usize / 6 + 1));
        assert_eq!(whole(&trailers).state, State::Broken);
    }

    #[test]
    fn bytes_that_are_not_given_may_be_payload_and_its_line_end_only() {
        let mut chunked = Chunked::default();
        assert_eq!(chunked.copied(b"5\r\n").state, State::More);
        assert_eq!(chunked.counted(3), Progress { wire: 3, payload: 3, state: State::More });
        assert_eq!(chunked.counted(4), Progress { wire: 4, payload: 2, state: State::More });
        assert_eq!(chunked.counted(1).state, State::Broken);
        assert_eq!(chunked.copied(b"0\r\n\r\n").state, State::Complete);
    }
}
