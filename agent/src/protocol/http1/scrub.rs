//! Masks what a recording must not hold, in place and without changing a length: values of headers that are not on the
//! allow-list, of queries and of user information, and every byte that is neither of a head nor of a chunk-size line.
//! What framing needs stays, so a parser makes the same exchanges of the scrubbed bytes.
//!
//! It follows one direction of a connection as a stream, in any pieces. It never lets a byte pass before it knows what
//! the byte is: a piece that ends where that is not known yet is masked up to its end.

mod line;
pub(in crate::protocol) mod target;

use line::{Head, HeadState};

use super::body::{Body, Framing, State};
use crate::{protocol::Chunk, span::redact::Redaction};

/// What stands in the place of a masked byte.
pub const STAR: u8 = b'*';

/// Scrubs one direction of a connection. It finds out by itself whether that carries requests or responses.
#[derive(Clone, Debug, Default)]
pub struct Scrubber {
    at: At,
}

#[derive(Clone, Debug, Default)]
enum At {
    /// A message may begin here.
    #[default]
    Start,
    Head(Box<Head>),
    Body(Body),
    /// Nobody knows where: everything is masked until a message is said to begin.
    Unknown,
    /// Behind the head of a response that switches to another protocol (101), likewise.
    Switched,
}

impl Scrubber {
    /// Masks the next copied bytes in place. `starts` says that a message begins with the first of them
    /// (`data_flag::START`); that is believed where its own framing has it otherwise, as for the response to HEAD. Returns
    /// how many of the bytes come behind a response that switches to another protocol; those are masked.
    pub fn copied(&mut self, bytes: &mut [u8], starts: bool, redaction: &Redaction) -> usize {
        if starts {
            self.at = At::Start;
        }
        let mut rest = bytes;
        while !rest.is_empty() {
            if matches!(self.at, At::Switched) {
                rest.fill(STAR);
                return rest.len();
            }
            let used = self.step(rest, redaction);
            rest = &mut rest[used..];
        }
        0
    }

    /// Whether a response switched to another protocol, and nothing came behind it.
    pub fn is_switched(&self) -> bool {
        matches!(self.at, At::Switched)
    }

    /// Bytes passed that were not copied.
    pub fn missing(&mut self, chunk: Chunk<'_>) {
        let (Chunk::Skipped(n) | Chunk::Cut(n) | Chunk::Lost(n)) = chunk else { return };
        let At::Body(body) = &mut self.at else {
            self.at = At::Unknown;
            return;
        };
        let progress = body.counted(n);
        self.at = match progress.state {
            State::More if n > 0 => return,
            State::Complete if progress.wire == n => At::Start,
            State::More | State::Complete | State::Broken => At::Unknown,
        };
    }

    /// Masks some bytes, at least one, and returns how many.
    fn step(&mut self, rest: &mut [u8], redaction: &Redaction) -> usize {
        match &mut self.at {
            At::Start if matches!(rest[0], b'\r' | b'\n') => 1,
            At::Start => {
                let mut head = Box::<Head>::default();
                let used = head.step(rest, redaction);
                self.at = At::Head(head);
                used
            }
            At::Head(head) => {
                let used = head.step(rest, redaction);
                match head.state() {
                    HeadState::More => {}
                    HeadState::Complete(framing) => {
                        self.at = match (framing, Body::new(framing)) {
                            (Framing::Unknown, _) if head.is_switch() => At::Switched,
                            (Framing::Unknown, _) => At::Unknown,
                            (_, None) => At::Start,
                            (_, Some(body)) => At::Body(body),
                        };
                    }
                    HeadState::Broken => self.at = At::Unknown,
                }
                used
            }
            At::Body(body) => {
                let (used, state) = scrub_body(body, rest);
                match state {
                    State::More => {}
                    State::Complete => self.at = At::Start,
                    State::Broken => self.at = At::Unknown,
                }
                used
            }
            At::Unknown | At::Switched => {
                rest.fill(STAR);
                rest.len()
            }
        }
    }
}

/// Masks a body up to its end; of chunked coding, what tells sizes stays.
fn scrub_body(body: &mut Body, rest: &mut [u8]) -> (usize, State) {
    let Body::Chunked(chunked) = body else {
        let progress = body.copied(rest);
        let used = progress.wire as usize;
        rest[..used].fill(STAR);
        return (used, progress.state);
    };
    let payload = rest.len().min(usize::try_from(chunked.payload_left()).unwrap_or(usize::MAX));
    if payload > 0 {
        chunked.copied(&rest[..payload]);
        rest[..payload].fill(STAR);
        return (payload, State::More);
    }
    let size = chunked.in_size();
    let byte = rest[0];
    let progress = chunked.copied(&rest[..1]);
    let framing =
        matches!(byte, b'\r' | b'\n') || size && (byte.is_ascii_hexdigit() || matches!(byte, b';' | b' ' | b'\t'));
    if progress.state == State::Broken {
        return (0, State::Broken);
    }
    if !framing {
        rest[0] = STAR;
    }
    (1, progress.state)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::span::redact::Query;

    fn scrubbed(bytes: &str) -> String {
        scrubbed_with(bytes, &Redaction::default())
    }

    fn scrubbed_with(bytes: &str, redaction: &Redaction) -> String {
        let mut bytes = bytes.as_bytes().to_vec();
        Scrubber::default().copied(&mut bytes, true, redaction);
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn values_are_masked_and_framing_stays() {
        let table = [
            (
                "POST /a?user=bob&x HTTP/1.1\r\nHost: h\r\nCookie: s=1\r\nContent-Length: 3\r\n\r\nabc",
                "POST /a?user=***&* HTTP/1.1\r\nHost: h\r\nCookie: ***\r\nContent-Length: 3\r\n\r\n***",
            ),
            ("GET http://u:p@h/ HTTP/1.1\r\n\r\n", "GET http://***@h/ HTTP/1.1\r\n\r\n"),
            (
                "HTTP/1.1 200 OK\r\nSet-Cookie: a=b;\r\n c\r\nServer: x\r\n y\r\nExpect: q\r\n\r\nbody",
                "HTTP/1.1 200 **\r\nSet-Cookie: ****\r\n *\r\nServer: x\r\n y\r\nExpect: q\r\n\r\n****",
            ),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;e=f\r\nhello\r\n0\r\nT: v\r\n\r\nHTTP/1.1 204 No\r\n\r\n",
                "HTTP/1.1 200 **\r\nTransfer-Encoding: chunked\r\n\r\n5;***\r\n*****\r\n0\r\n****\r\n\r\nHTTP/1.1 204 **\r\n\r\n",
            ),
            ("HTTP/1.1 101 Go\r\n\r\nsecret", "HTTP/1.1 101 **\r\n\r\n******"),
            ("secret stuff", "secret *****"),
            ("\x16\x03secret", "********"),
            ("GET / HTTP/1.1\r\nno colon here\r\n\r\n", "GET / HTTP/1.1\r\nno **********\r\n\r\n"),
            ("GET /a b HTTP/1.1\r\nA: b\r\n\r\n", "GET /a **********\r\nA: *\r\n\r\n"),
        ];
        for (bytes, expected) in table {
            assert_eq!(scrubbed(bytes), expected);
        }
    }

    #[test]
    fn what_is_asked_for_stays_and_urls_are_masked() {
        let redaction = Redaction::new(&["referer", "x-tenant"], Query::Keep).unwrap();
        assert_eq!(
            scrubbed_with("GET /?a=b HTTP/1.1\r\nReferer: http://u:p@h/?c=d\r\nX-Tenant: t\r\n\r\n", &redaction),
            "GET /?a=b HTTP/1.1\r\nReferer: http://***@h/?c=d\r\nX-Tenant: t\r\n\r\n",
        );
        let redaction = Redaction::new(&["referer"], Query::Mask).unwrap();
        assert_eq!(
            scrubbed_with("GET / HTTP/1.1\r\nReferer: http://h/?c=d\r\n\r\n", &redaction),
            "GET / HTTP/1.1\r\nReferer: http://h/?c=*\r\n\r\n",
        );
    }

    #[test]
    fn no_split_lets_a_secret_pass() {
        let whole = "GET http://SECRET:SECRET@h/a;j=SECRET?k=SECRET&SECRET HTTP/1.1\r\nAuthorization: SECRET SECRET\r\n \
                     SECRET\r\nContent-Length: 6\r\n\r\nSECRETGET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nSECRET\r\n0\r\nA: SECRET\r\n\r\n";
        for first in 0..whole.len() {
            for second in first..whole.len() {
                let mut bytes = whole.as_bytes().to_vec();
                let mut scrubber = Scrubber::default();
                let redaction = Redaction::default();
                let (a, rest) = bytes.split_at_mut(first);
                let (b, c) = rest.split_at_mut(second - first);
                scrubber.copied(a, true, &redaction);
                scrubber.copied(b, false, &redaction);
                scrubber.copied(c, false, &redaction);
                let text = String::from_utf8(bytes).unwrap();
                assert!(
                    !["SEC", "ECR", "CRE", "RET"].iter().any(|part| text.contains(part)),
                    "{first} {second}: {text}"
                );
                assert!(text.ends_with("\r\n6\r\n******\r\n0\r\n*********\r\n\r\n"), "{first} {second}: {text}");
            }
        }
    }

    #[test]
    fn bytes_that_were_not_copied_are_followed_in_a_body_only() {
        let head = "HTTP/1.1 200 **\r\nContent-Length: 6\r\n\r\n";
        let redaction = Redaction::default();
        for (missing, expected) in [
            (Chunk::Skipped(6), "HTTP/1.1 204 **\r\n\r\n"),
            (Chunk::Lost(6), "HTTP/1.1 204 **\r\n\r\n"),
            (Chunk::Skipped(7), "*******************"),
            (Chunk::Lost(0), "*******************"),
        ] {
            let mut scrubber = Scrubber::default();
            scrubber.copied(&mut head.as_bytes().to_vec(), true, &redaction);
            scrubber.missing(missing);
            let mut next = b"HTTP/1.1 204 No\r\n\r\n".to_vec();
            scrubber.copied(&mut next, false, &redaction);
            assert_eq!(String::from_utf8(next).unwrap(), expected);
            let mut next = b"HTTP/1.1 204 No\r\n\r\n".to_vec();
            scrubber.copied(&mut next, true, &redaction);
            assert_eq!(next, b"HTTP/1.1 204 **\r\n\r\n");
        }
    }
}
