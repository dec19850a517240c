//! Random conversations of which the truth is known: what each message is, which bytes of it are payload, and which
//! exchanges must come of them. The same seed makes the same conversation.

use std::fmt::Write as _;

/// Seeds of a test: `quick` of them. `NETSPAN_FUZZ_ROUNDS=1000000 cargo test -p netspan --lib http1` runs longer; a
/// failure names its seed, and `NETSPAN_FUZZ_SEED` begins there.
pub(super) fn seeds(quick: u64) -> std::ops::Range<u64> {
    let number = |name| std::env::var(name).ok().and_then(|value| value.parse().ok());
    let first = number("NETSPAN_FUZZ_SEED").unwrap_or(0);
    first..first + number("NETSPAN_FUZZ_ROUNDS").unwrap_or(quick)
}

/// A small generator of numbers (SplitMix64): tests need repeatable ones, not good ones.
#[derive(Clone, Debug)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x6a09_e667_f3bc_c908)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `n`, which must not be 0.
    pub(super) fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    /// True once in `n` times.
    pub(super) fn once_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    pub(super) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    pub(super) fn bytes(&mut self, n: usize) -> Vec<u8> {
        (0..n).map(|_| self.next() as u8).collect()
    }
}

/// Bytes of a message, and which of them are payload.
#[derive(Clone, Debug, Default)]
pub(super) struct Message {
    pub(super) bytes: Vec<u8>,
    /// For each byte: whether a kernel side that knows the framing leaves it out.
    pub(super) left_out: Vec<bool>,
    /// Bytes of the body.
    body: usize,
}

impl Message {
    fn framing(&mut self, bytes: &[u8]) {
        self.push(bytes, false);
    }

    fn payload(&mut self, bytes: &[u8]) {
        self.push(bytes, true);
        self.body += bytes.len();
    }

    fn push(&mut self, bytes: &[u8], left_out: bool) {
        self.bytes.extend_from_slice(bytes);
        self.left_out.resize(self.bytes.len(), left_out);
    }
}

/// A request, what answers it, and the line that must come of both.
#[derive(Clone, Debug)]
pub(super) struct Talk {
    pub(super) request: Message,
    /// Interim responses, and the final one.
    pub(super) responses: Vec<Message>,
    pub(super) line: String,
    /// The final response ends with the connection.
    pub(super) until_close: bool,
}

/// What [`super::line`] makes of exchange number `ordinal`. Request and response both name `id`, in the target and in
/// `x-request-id`.
pub(super) fn talk(random: &mut Random, ordinal: u64, id: u64, last: bool) -> Talk {
    let method = random.pick(&["GET", "GET", "POST", "PUT", "HEAD", "DELETE", "PATCH", "frob"]);
    let end = random.pick(&["\r\n", "\r\n", "\r\n", "\n"]);
    let (target, shown) = target(random, id);
    let mut head = format!("{method} {target} HTTP/1.{}{end}Host: h{end}", random.below(2));
    headers(random, end, &mut head);
    let declared = framing(random, false);
    let request = message(random, head, end, declared);

    let mut responses = Vec::new();
    let mut after = String::new();
    while random.once_in(5) {
        let status = random.pick(&[100, 102, 103]);
        after = format!(" after {status}");
        let mut interim = Message::default();
        interim.framing(format!("HTTP/1.1 {status} Wait{end}Link: </SECRET>{end}{end}").as_bytes());
        responses.push(interim);
    }
    let status = random.pick(&[200, 200, 201, 204, 302, 304, 404, 500, 599]);
    let mut head = format!("HTTP/1.{} {status}{end}X-Request-Id: {id}{end}", random.below(2));
    headers(random, end, &mut head);
    let bodiless = method == "HEAD" || matches!(status, 204 | 304);
    let framing = framing(random, last);
    let response = if bodiless { bare(random, head, end, framing) } else { message(random, head, end, framing) };
    let line = format!(
        "{ordinal} {method} {shown} -> {status} {}/{} {}/{}{after}",
        request.bytes.len(),
        request.body,
        response.bytes.len(),
        response.body,
    );
    responses.push(response);
    let until_close = framing == Framing::UntilClose && !bodiless;
    Talk { request, responses, line, until_close }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    /// Nothing is declared: a request has no body then.
    None,
    Length,
    Chunked,
    UntilClose,
}

fn framing(random: &mut Random, may_close: bool) -> Framing {
    match random.below(6) {
        0 | 1 => Framing::Chunked,
        2 if may_close => Framing::UntilClose,
        3 if !may_close => Framing::None,
        _ => Framing::Length,
    }
}

fn target(random: &mut Random, id: u64) -> (String, String) {
    match random.below(6) {
        0 => (format!("/{id}?key=SECRET&b=SECRET"), format!("/{id}?key=REDACTED&b=REDACTED")),
        1 => (format!("http://u:SECRET@h/{id}?SECRET"), format!("http://h/{id}?REDACTED")),
        2 => (format!("/{id};s=SECRET"), format!("/{id};s=REDACTED")),
        _ => (format!("/{id}"), format!("/{id}")),
    }
}

fn headers(random: &mut Random, end: &str, head: &mut String) {
    for _ in 0..random.below(6) {
        let line = match random.below(8) {
            0 => "Cookie: SECRET=SECRET".to_owned(),
            1 => format!("AUTHORIZATION:SECRET{end} SECRET{end}\tSECRET"),
            2 => "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned(),
            3 => format!("x-long: {}", "SECRET".repeat(random.below(300))),
            4 => "Empty:".to_owned(),
            5 => format!("Server: a{end}  b \t"),
            6 => format!("{}: SECRET", "x".repeat(1 + random.below(100))),
            _ => "User-Agent: curl/8".to_owned(),
        };
        write!(head, "{line}{end}").unwrap();
    }
}

/// The head that declares a body, and the body.
fn message(random: &mut Random, mut head: String, end: &str, framing: Framing) -> Message {
    let mut message = Message::default();
    let size = random.pick(&[0, 1, 2, 10, 100, 5000]);
    let body = if random.once_in(4) { b"GET / HTTP/1.1\r\n\r\n".repeat(size / 18 + 1) } else { random.bytes(size) };
    declare(random, &mut head, end, framing, body.len());
    message.framing(head.as_bytes());
    match framing {
        Framing::None => {}
        Framing::Length | Framing::UntilClose => message.payload(&body),
        Framing::Chunked => chunked(random, &body, end, &mut message),
    }
    message
}

/// The head of a message that has no body whatever it declares.
fn bare(random: &mut Random, mut head: String, end: &str, framing: Framing) -> Message {
    let mut message = Message::default();
    declare(random, &mut head, end, framing, 7);
    message.framing(head.as_bytes());
    message
}

fn declare(random: &mut Random, head: &mut String, end: &str, framing: Framing, size: usize) {
    match framing {
        // A response without a body has to say so.
        Framing::None if head.starts_with("HTTP/") => write!(head, "Content-Length: 0{end}").unwrap(),
        Framing::None | Framing::UntilClose => {}
        Framing::Length if random.once_in(8) => {
            write!(head, "content-length: {size}, {size}{end}CONTENT-LENGTH:{size}{end}").unwrap();
        }
        Framing::Length => write!(head, "Content-Length: {size}{end}").unwrap(),
        Framing::Chunked => {
            let value = random.pick(&["chunked", "Chunked", "gzip, chunked", "gzip,\r\n chunked"]);
            write!(head, "Transfer-Encoding: {value}{end}").unwrap();
            if random.once_in(4) {
                write!(head, "Content-Length: 3{end}").unwrap();
            }
        }
    }
    head.push_str(end);
}

fn chunked(random: &mut Random, body: &[u8], end: &str, message: &mut Message) {
    let mut rest = body;
    while !rest.is_empty() {
        let (chunk, after) = rest.split_at(1 + random.below(rest.len()));
        let extension = random.pick(&["", "", ";a=SECRET", " ; b=\"SECRET\""]);
        message.framing(format!("{:x}{extension}{end}", chunk.len()).as_bytes());
        message.payload(chunk);
        message.push(end.as_bytes(), end == "\r\n" && random.once_in(2));
        rest = after;
    }
    let trailers = random.pick(&["", "", "Trailer: SECRET\r\nB: c\r\n"]);
    message.framing(format!("000{end}{trailers}{end}").as_bytes());
}
