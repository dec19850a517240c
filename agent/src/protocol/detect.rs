//! Which protocol a flow speaks, judged from its first bytes. It only looks: it keeps no state and must not guess where
//! the bytes so far allow two answers.
#![forbid(unsafe_code)]

/// Request methods that make the first bytes of a flow an HTTP/1 request: those of RFC 9110, RFC 5789 and `WebDAV`
/// (RFC 4918, 3253, 3648, 5323), and those that common caches and device protocols add. This is the one list; the
/// kernel side's simpler test is filled from it. On a connection that is known to be HTTP/1 any token is a method.
pub const METHODS: &[&str] = &[
    "GET",
    "POST",
    "PUT",
    "HEAD",
    "DELETE",
    "OPTIONS",
    "PATCH",
    "CONNECT",
    "TRACE",
    "PROPFIND",
    "PROPPATCH",
    "MKCOL",
    "MKCALENDAR",
    "MKACTIVITY",
    "MKWORKSPACE",
    "COPY",
    "MOVE",
    "LOCK",
    "UNLOCK",
    "ACL",
    "BASELINE-CONTROL",
    "BIND",
    "UNBIND",
    "REBIND",
    "CHECKIN",
    "CHECKOUT",
    "UNCHECKOUT",
    "LABEL",
    "LINK",
    "UNLINK",
    "MERGE",
    "ORDERPATCH",
    "REPORT",
    "SEARCH",
    "QUERY",
    "UPDATE",
    "VERSION-CONTROL",
    "PURGE",
    "BAN",
    "SUBSCRIBE",
    "UNSUBSCRIBE",
    "NOTIFY",
    "M-SEARCH",
    "SOURCE",
];

/// How every HTTP/1 status line begins (RFC 9112, section 4).
pub const RESPONSE_START: &[u8] = b"HTTP/1.";

/// The client's connection preface of HTTP/2 (RFC 9113, section 3.4).
pub const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Bytes after which [`detect`] never answers [`Verdict::More`].
pub const DETECT_MAX: usize = 64;

/// What the first bytes of a flow are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// The head of an HTTP/1 request begins here.
    Http1Request,
    /// The head of an HTTP/1 response begins here.
    Http1Response,
    /// An HTTP/2 client begins here, with prior knowledge.
    Http2Preface,
    /// None of our protocols.
    Other,
    /// Too few bytes to tell; ask again with more.
    More,
}

/// Judges the first bytes of a flow; `prefix` must begin at the flow's (or a message's) first byte.
pub fn detect(prefix: &[u8]) -> Verdict {
    match *prefix {
        [] => Verdict::More,
        [b'H', ..] if begins(prefix, RESPONSE_START) => full(prefix, RESPONSE_START, Verdict::Http1Response),
        [b'P', b'R', b'I', ..] if begins(prefix, HTTP2_PREFACE) => full(prefix, HTTP2_PREFACE, Verdict::Http2Preface),
        [b'P' | b'H', ..] if begins(prefix, HTTP2_PREFACE) || begins(prefix, RESPONSE_START) => Verdict::More,
        _ => request(prefix),
    }
}

/// Whether one of the two is the other's beginning.
fn begins(prefix: &[u8], whole: &[u8]) -> bool {
    prefix.iter().zip(whole).all(|(a, b)| a == b)
}

fn full(prefix: &[u8], whole: &[u8], verdict: Verdict) -> Verdict {
    if prefix.len() >= whole.len() { verdict } else { Verdict::More }
}

fn request(prefix: &[u8]) -> Verdict {
    let Some(space) = prefix.iter().position(|&b| b == b' ') else {
        return if METHODS.iter().any(|m| m.as_bytes().starts_with(prefix)) { Verdict::More } else { Verdict::Other };
    };
    let (method, target) = (&prefix[..space], &prefix[space + 1..]);
    if !METHODS.iter().any(|m| m.as_bytes() == method) {
        return Verdict::Other;
    }
    if method == b"CONNECT" { authority(target) } else { self::target(target) }
}

/// Origin form, asterisk form, or a scheme (RFC 9112, section 3.2): what tells HTTP from the line protocols that begin
/// with a word, too.
fn target(target: &[u8]) -> Verdict {
    const SCHEME_MAX: usize = 16;
    match *target {
        [] => return Verdict::More,
        [b'/' | b'*', ..] => return Verdict::Http1Request,
        _ => {}
    }
    let scheme = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.');
    let end = target.iter().position(|b| !scheme(b)).unwrap_or(target.len());
    if end == 0 || end > SCHEME_MAX || !begins(&target[end..], b"://") {
        Verdict::Other
    } else {
        full(&target[end..], b"://", Verdict::Http1Request)
    }
}

fn authority(target: &[u8]) -> Verdict {
    match target.first() {
        None => Verdict::More,
        Some(b) if b.is_ascii_alphanumeric() || matches!(b, b'[' | b'_' | b'-') => Verdict::Http1Request,
        Some(_) => Verdict::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_bytes_name_their_protocol() {
        let table: &[(&str, Verdict)] = &[
            ("GET / HTTP/1.1\r\n", Verdict::Http1Request),
            ("OPTIONS * HTTP/1.1\r\n", Verdict::Http1Request),
            ("GET http://h/ HTTP/1.1\r\n", Verdict::Http1Request),
            ("CONNECT h:443 HTTP/1.1\r\n", Verdict::Http1Request),
            ("CONNECT [::1]:443 HTTP/1.1\r\n", Verdict::Http1Request),
            ("PROPFIND /dav HTTP/1.1\r\n", Verdict::Http1Request),
            ("M-SEARCH * HTTP/1.1\r\n", Verdict::Http1Request),
            ("HTTP/1.1 200 OK\r\n", Verdict::Http1Response),
            ("HTTP/1.0 200 OK\r\n", Verdict::Http1Response),
            ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Verdict::Http2Preface),
            ("", Verdict::More),
            ("H", Verdict::More),
            ("HT", Verdict::More),
            ("HE", Verdict::More),
            ("HEAD", Verdict::More),
            ("HEAD /", Verdict::Http1Request),
            ("P", Verdict::More),
            ("PR", Verdict::More),
            ("PRI * ", Verdict::More),
            ("PROPF", Verdict::More),
            ("GET ", Verdict::More),
            ("GET http:/", Verdict::More),
            ("GET key\r\n", Verdict::Other),
            ("get /", Verdict::Other),
            ("GETX /", Verdict::Other),
            ("HTTP/2 200", Verdict::Other),
            ("SSH-2.0-x\r\n", Verdict::Other),
            ("*1\r\n$4\r\nPING\r\n", Verdict::Other),
            ("\x16\x03\x01\x02", Verdict::Other),
        ];
        for (bytes, verdict) in table {
            assert_eq!(detect(bytes.as_bytes()), *verdict, "{bytes:?}");
        }
    }

    #[test]
    fn more_bytes_never_overturn_a_verdict() {
        let wholes =
            ["GET /a HTTP/1.1\r\n", "HEAD http://a/ HTTP/1.1", "HTTP/1.1 200 OK", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"];
        for whole in wholes {
            let mut last = Verdict::More;
            for n in 0..=whole.len() {
                let now = detect(&whole.as_bytes()[..n]);
                assert!(last == Verdict::More || last == now, "{whole:?} at {n}");
                last = now;
            }
            assert_ne!(last, Verdict::More);
        }
    }

    #[test]
    fn a_verdict_comes_within_the_bound() {
        for byte in 0..=255_u8 {
            assert_ne!(detect(&[byte; DETECT_MAX]), Verdict::More);
            let mut absolute = b"GET ".to_vec();
            absolute.resize(DETECT_MAX, byte);
            assert_ne!(detect(&absolute), Verdict::More);
        }
    }
}
