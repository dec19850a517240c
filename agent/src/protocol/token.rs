//! Values of a request by which it may be known again in a call that is made for it: what its request and correlation ids
//! are, and ids in its path. Only their hashes are kept, and only of headers on the allow-list ([`crate::span::redact`]):
//! what names a credential or a session is not there.
#![forbid(unsafe_code)]

use super::Request;
use std::hash::{DefaultHasher, Hasher as _};

/// Headers whose value names one request, in lower case, as written: it is handed through as a whole or not at all.
pub const NAMED: [&[u8]; 18] = [
    b"x-request-id",
    b"x-correlation-id",
    b"request-id",
    b"correlation-id",
    b"x-trace-id",
    b"x-transaction-id",
    b"x-client-request-id",
    b"x-ms-client-request-id",
    b"x-amzn-requestid",
    // The caller's span, in headers that are handed through.
    b"traceparent",
    b"b3",
    b"x-b3-spanid",
    b"x-datadog-parent-id",
    b"uber-trace-id",
    b"ot-tracer-spanid",
    b"grpc-trace-bin",
    b"x-amzn-trace-id",
    b"x-cloud-trace-context",
];
/// Values of headers that are kept of a request; more are passed over.
pub const NAMED_MAX: usize = 3;
/// Values of its path, likewise.
pub const PATH_MAX: usize = 2;
/// Segments of a path that are looked at.
const SEGMENTS_MAX: usize = 16;
/// A longer value names no request, in bytes.
const LENGTH_MAX: usize = 128;
/// A value that holds less chance than so many bits, by the characters that it is made of, may come twice: it may be a counter.
const BITS_MIN: f32 = 56.0;
/// One that has fewer different characters is filled up with zeros, or repeats itself.
const DIFFERENT_MIN: u32 = 6;

/// Hashes of the values of one request; never of one that is likely to come twice by chance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tokens {
    named: [u64; NAMED_MAX],
    path: [u64; PATH_MAX],
}

impl Tokens {
    /// Those of a request.
    pub fn of(request: &Request) -> Self {
        let mut tokens = Self::default();
        for (name, value) in &request.headers {
            if NAMED.contains(&name.as_ref()) {
                put(&mut tokens.named, hash(value, false));
            }
        }
        let path = request.target.split(|byte| matches!(byte, b'?' | b'#')).next().unwrap_or_default();
        for segment in path.split(|byte| *byte == b'/').take(SEGMENTS_MAX) {
            put(&mut tokens.path, hash(segment, true));
        }
        tokens
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Those of headers.
    pub fn named(&self) -> impl Iterator<Item = u64> {
        self.named.into_iter().filter(|hash| *hash != 0)
    }

    /// Those of the path.
    pub fn path(&self) -> impl Iterator<Item = u64> {
        self.path.into_iter().filter(|hash| *hash != 0)
    }
}

/// Puts a hash into the first free place, once.
fn put(places: &mut [u64], hash: Option<u64>) {
    let Some(hash) = hash else { return };
    if let Some(place) = places.iter_mut().find(|place| **place == 0 || **place == hash) {
        *place = hash;
    }
}

/// The hash of a value that hardly comes twice, whatever the case of its letters; never 0.
fn hash(value: &[u8], only_hex: bool) -> Option<u64> {
    let value = value.trim_ascii();
    let mut lower = [0; LENGTH_MAX];
    let lower = lower.get_mut(..value.len())?;
    lower.copy_from_slice(value);
    lower.make_ascii_lowercase();
    let (mut count, mut seen, mut is_hex, mut is_decimal) = (0u16, 0u64, true, true);
    for byte in lower.iter().copied() {
        match byte {
            b'0'..=b'9' => seen |= 1 << (byte - b'0'),
            b'a'..=b'z' => {
                seen |= 1 << (byte - b'a' + 10);
                is_decimal = false;
                is_hex &= byte <= b'f';
            }
            b'-' => continue,
            // A list, or a text.
            b' ' | b',' | b';' | b'"' | b'\\' | 0x7f.. | ..b' ' => return None,
            _ => {
                is_hex = false;
                continue;
            }
        }
        count += 1;
    }
    let bits = match (is_decimal, is_hex) {
        (true, _) => 3.3,
        (_, true) => 4.0,
        _ => 5.0,
    };
    // Words have no digits.
    let is_chance = f32::from(count) * bits >= BITS_MIN && seen.count_ones() >= DIFFERENT_MIN && seen & 0x3ff != 0;
    if !is_chance || only_hex && !is_hex {
        return None;
    }
    let mut hasher = DefaultHasher::new();
    hasher.write(lower);
    Some(hasher.finish().max(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{protocol::Version, span::redact};
    use bytes::Bytes;

    const UUID: &str = "3f2504e0-4f89-41d3-9a0c-0305e82c3301";

    fn tokens(target: &str, headers: &[(&'static str, &str)]) -> Tokens {
        let headers =
            headers.iter().map(|(name, value)| (Bytes::from(*name), Bytes::copy_from_slice(value.as_bytes())));
        Tokens::of(&Request {
            method: Bytes::from("GET"),
            scheme: None,
            target: Bytes::copy_from_slice(target.as_bytes()),
            version: Version::Http11,
            headers: headers.collect(),
        })
    }

    #[test]
    fn values_that_hardly_come_twice_are_tokens() {
        for (value, is_token) in [
            (UUID, true),
            ("4bf92f3577b34da6a3ce929d0e0e4736", true),
            ("01ARZ3NDEKTSV4RRFFQ69G5FAV", true),
            ("01arz3ndektsv4rrffq69g5fav", true),
            ("f058ebd6-02f7-4d3f-942e-904344e8cde5@host/1", true),
            ("12345678901234567890", true),
            ("", false),
            ("1", false),
            ("1234567890", false),
            ("checkout-of-production", false),
            ("0000000000000000000000000000012f", false),
            ("abababababababababababababababab", false),
            ("3f2504e0-4f89, 9a0c-0305e82c3301", false),
            ("aGVsbG8gd29ybGQ", true),
            ("\u{e9}3f2504e0-4f89-41d3-9a0c-0305e82c3301", false),
            (&"3f2504e04f8941d3".repeat(9), false),
        ] {
            assert_eq!(!tokens("/", &[("x-request-id", value)]).is_empty(), is_token, "{value}");
        }
    }

    #[test]
    fn only_ids_of_requests_and_hexadecimal_segments_of_paths_are_taken() {
        let own = tokens("/", &[("x-request-id", UUID)]);
        let upper = UUID.to_ascii_uppercase();
        assert_eq!(tokens("/", &[("x-correlation-id", &format!(" {upper} "))]), own);
        assert!(tokens("/", &[("user-agent", UUID), ("host", UUID), ("x-forwarded-for", UUID)]).is_empty());
        let path = tokens(&format!("/orders/{UUID}/lines"), &[]);
        assert_eq!(path.path().collect::<Vec<_>>(), own.named().collect::<Vec<_>>());
        for target in ["/orders/1234", "/a-long-name-of-a-thing-12", &format!("/?id={UUID}"), &format!("/a#{UUID}")] {
            assert!(tokens(target, &[]).is_empty(), "{target}");
        }
    }

    #[test]
    fn what_is_kept_of_a_request_is_bounded() {
        let values: Vec<String> = (0..20).map(|n| format!("{}{n:02}", &UUID[..34])).collect();
        let headers: Vec<_> = values.iter().map(|value| ("x-request-id", value.as_str())).collect();
        let kept = tokens(&format!("/{}", values.join("/")), &headers);
        assert_eq!((kept.named().count(), kept.path().count()), (NAMED_MAX, PATH_MAX));
        let twice = tokens(&format!("/{UUID}/{UUID}"), &[("x-request-id", UUID), ("x-correlation-id", UUID)]);
        assert_eq!((twice.named().count(), twice.path().count()), (1, 1));
    }

    #[test]
    fn headers_that_are_looked_at_are_on_the_allow_list() {
        assert!(NAMED.iter().all(|name| redact::is_listed(name)));
    }
}
