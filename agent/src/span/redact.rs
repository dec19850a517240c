//! What may be kept of a request: the allow-list of headers, and the masking of targets. Whatever is not allowed here is
//! dropped where it is parsed, and is never in a span, a log or a recording.
//!
//! # The allow-list
//! | headers | why |
//! |---|---|
//! | `host`, `user-agent`, `server` | attributes of the semantic conventions |
//! | `content-type`, `content-length`, `content-encoding`, `transfer-encoding`, `connection`, `upgrade` | what the message is |
//! | `traceparent`, `tracestate`, `b3`, `x-b3-*`, `uber-trace-id`, `x-amzn-trace-id`, `x-cloud-trace-context`, `grpc-trace-bin`, `ot-tracer-*`, `sw8`, `x-datadog-*` | context: the parent that the application names |
//! | `x-request-id`, `request-id`, `x-client-request-id`, `x-ms-client-request-id`, `x-amzn-requestid`, `x-correlation-id`, `correlation-id`, `x-trace-id`, `x-transaction-id`, `x-envoy-attempt-count`, `x-envoy-expected-rq-timeout-ms` | correlation |
//! | `forwarded`, `x-forwarded-for`, `x-forwarded-proto`, `x-forwarded-host` | the client behind a proxy |
//!
//! Not on it, on purpose: `referer`, `location` and the like (they are URLs, and URLs carry secrets), `baggage` (data
//! of users), and every credential. Configuration adds names ([`Redaction::new`]); values of headers that hold URLs are
//! then masked as targets are. Names of credentials are refused: there is no way to keep those.
#![forbid(unsafe_code)]

mod target;

pub use crate::protocol::http1::Scrubber;
use bytes::Bytes;
pub(crate) use target::KEY_MAX;
pub use target::mask_target;

/// Bytes of a header's value that are kept; the rest is cut off and counted.
pub const VALUE_MAX: usize = 4096;
/// Bytes of a request target that are kept, after masking; the rest is cut off and counted.
pub const TARGET_MAX: usize = 4096;
/// Header names that configuration may add.
pub const EXTRA_MAX: usize = 32;
/// Length of the longest header name that is looked at.
pub const NAME_MAX: usize = 64;
/// What stands in the place of a masked value (semantic conventions of `url.query`).
pub const MASK: &[u8] = b"REDACTED";

/// What to do with the values of query strings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Query {
    /// Keys are kept, each value becomes [`MASK`].
    #[default]
    Mask,
    /// Kept as written.
    Keep,
}

/// Why a header name cannot be added to the allow-list.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RedactionError {
    /// It names a credential.
    #[error("header `{0}` carries credentials and is never kept; remove it from the list of captured headers")]
    Secret(String),
    /// It is not a header name.
    #[error("`{0}` is not a header name (RFC 9110: letters, digits and !#$%&'*+-.^_`|~, at most {NAME_MAX} bytes)")]
    NotAName(String),
    /// Too many.
    #[error("{0} extra headers are asked for, at most {EXTRA_MAX} can be kept")]
    TooMany(usize),
}

/// What is kept. The default is the allow-list above with masked queries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Redaction {
    query: Query,
    extra: Vec<Bytes>,
}

impl Redaction {
    /// The allow-list with `headers` added (any case; names on the list already are ignored).
    ///
    /// # Errors
    /// A name that is none, that names a credential, or more than [`EXTRA_MAX`] names.
    pub fn new<S: AsRef<str>>(headers: &[S], query: Query) -> Result<Self, RedactionError> {
        let mut extra: Vec<Bytes> = Vec::new();
        for header in headers {
            let name = header.as_ref().trim().to_ascii_lowercase();
            if name.is_empty() || name.len() > NAME_MAX || !name.bytes().all(is_token) {
                return Err(RedactionError::NotAName(header.as_ref().to_owned()));
            }
            if is_secret(&name) {
                return Err(RedactionError::Secret(name));
            }
            if known(name.as_bytes()).is_none() && !extra.iter().any(|e| e == name.as_bytes()) {
                extra.push(Bytes::from(name));
            }
        }
        if extra.len() > EXTRA_MAX {
            return Err(RedactionError::TooMany(extra.len()));
        }
        Ok(Self { query, extra })
    }

    /// What happens to queries.
    pub const fn query(&self) -> Query {
        self.query
    }

    /// The name in lower case if the header may be kept. Allocates nothing.
    pub fn allowed(&self, name: &[u8]) -> Option<Bytes> {
        let first = name.first()?.to_ascii_lowercase();
        if !may_be_listed(first, name.len()) && self.extra.is_empty() {
            return None;
        }
        let mut lower = [0; NAME_MAX];
        let lower = lower.get_mut(..name.len())?;
        lower.copy_from_slice(name);
        lower.make_ascii_lowercase();
        if let Some(name) = known(lower) {
            return Some(Bytes::from_static(name));
        }
        self.extra.iter().find(|extra| extra[..] == *lower).cloned()
    }
}

/// Whether a header (in lower case) is on the allow-list, without being asked for.
pub fn is_listed(name: &[u8]) -> bool {
    name.first().is_some_and(|first| may_be_listed(*first, name.len())) && known(name).is_some()
}

/// Whether a name that begins with this letter (in lower case) and is so long may be on the allow-list.
const fn may_be_listed(first: u8, len: usize) -> bool {
    len < 64 && LENGTHS[first as usize] >> len & 1 != 0
}

/// Whether the value of this header (in lower case) is a URL, and is masked as a target.
pub fn holds_url(name: &[u8]) -> bool {
    matches!(
        name,
        b"referer"
            | b"location"
            | b"content-location"
            | b"refresh"
            | b"link"
            | b"origin"
            | b"destination"
            | b"x-original-url"
            | b"x-forwarded-uri"
            | b"x-original-uri"
    )
}

/// For each first byte, the lengths of the names on the allow-list that begin with it, as bits: most names that are not
/// on it differ there already.
const LENGTHS: [u64; 256] = {
    let mut lengths = [0; 256];
    let mut n = 0;
    while n < ALLOWED.len() {
        lengths[ALLOWED[n].as_bytes()[0] as usize] |= 1 << ALLOWED[n].len();
        n += 1;
    }
    lengths
};

/// A character of a token (RFC 9110, section 5.6.2): of a method or of a header name.
pub const fn is_token(byte: u8) -> bool {
    TOKEN[byte as usize]
}

const TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < table.len() {
        table[byte] = (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    let marks = b"!#$%&'*+-.^_`|~";
    let mut mark = 0;
    while mark < marks.len() {
        table[marks[mark] as usize] = true;
        mark += 1;
    }
    table
};

/// Whether a header of this name (in lower case) carries credentials, by what such names have in common.
fn is_secret(name: &str) -> bool {
    const PARTS: &[&str] = &[
        "authoriz",
        "authoris",
        "authent",
        "x-auth",
        "cookie",
        "token",
        "secret",
        "passw",
        "credential",
        "session",
        "signature",
        "api-key",
        "apikey",
        "api_key",
        "access-key",
        "private-key",
        "subscription-key",
        "csrf",
        "xsrf",
        "jwt",
        "assertion",
    ];
    PARTS.iter().any(|part| name.contains(part))
}

const fn text(name: &[u8]) -> &str {
    match std::str::from_utf8(name) {
        Ok(name) => name,
        Err(_) => panic!("a header name on the allow-list is not ASCII"),
    }
}

macro_rules! allow_list {
    ($($name:literal)*) => {
        /// The headers that are kept without being asked for, in lower case.
        pub const ALLOWED: &[&str] = &[$(text($name)),*];

        /// The same name with a static lifetime, if it is on the list.
        fn known(lower: &[u8]) -> Option<&'static [u8]> {
            match lower {
                $($name => Some($name),)*
                _ => None,
            }
        }
    };
}

allow_list! {
    b"host" b"user-agent" b"server"
    b"content-type" b"content-length" b"content-encoding" b"transfer-encoding" b"connection" b"upgrade"
    b"traceparent" b"tracestate"
    b"b3" b"x-b3-traceid" b"x-b3-spanid" b"x-b3-parentspanid" b"x-b3-sampled" b"x-b3-flags"
    b"uber-trace-id" b"x-amzn-trace-id" b"x-cloud-trace-context" b"grpc-trace-bin"
    b"ot-tracer-traceid" b"ot-tracer-spanid" b"ot-tracer-sampled"
    b"sw8"
    b"x-datadog-trace-id" b"x-datadog-parent-id" b"x-datadog-sampling-priority" b"x-datadog-tags" b"x-datadog-origin"
    b"x-request-id" b"request-id" b"x-client-request-id" b"x-ms-client-request-id" b"x-amzn-requestid"
    b"x-correlation-id" b"correlation-id" b"x-trace-id" b"x-transaction-id"
    b"x-envoy-attempt-count" b"x-envoy-expected-rq-timeout-ms"
    b"forwarded" b"x-forwarded-for" b"x-forwarded-proto" b"x-forwarded-host"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_names_are_found_in_any_case() {
        let redaction = Redaction::default();
        for name in ALLOWED {
            assert!(is_listed(name.as_bytes()) && !is_listed(&name.as_bytes()[1..]), "{name}");
            assert_eq!(redaction.allowed(name.to_ascii_uppercase().as_bytes()).unwrap(), name.as_bytes());
            assert!(!is_secret(name), "{name}");
        }
    }

    #[test]
    fn credentials_and_urls_are_not_on_the_list() {
        let redaction = Redaction::default();
        for name in ["Authorization", "Cookie", "Set-Cookie", "X-Api-Key", "Referer", "Location", "baggage", "", "x"] {
            assert_eq!(redaction.allowed(name.as_bytes()), None, "{name}");
        }
        assert_eq!(redaction.allowed(&[b'a'; NAME_MAX + 1]), None);
        assert_eq!(redaction.allowed(b"\xff\xfe"), None);
    }

    #[test]
    fn configuration_adds_names_but_never_credentials() {
        let redaction = Redaction::new(&["X-Tenant", "host", "x-tenant"], Query::Keep).unwrap();
        assert_eq!(redaction.allowed(b"x-TENANT").unwrap(), "x-tenant");
        assert_eq!(redaction.extra.len(), 1);
        for name in [
            "authorization",
            "Proxy-Authorization",
            "cookie",
            "set-cookie",
            "x-api-key",
            "apikey",
            "x-auth-token",
            "x-amz-security-token",
            "x-csrf-token",
            "www-authenticate",
            "x-vault-token",
            "ocp-apim-subscription-key",
        ] {
            assert!(matches!(Redaction::new(&[name], Query::Mask), Err(RedactionError::Secret(_))), "{name}");
        }
        for name in ["", "a b", "a:b", "ü"] {
            assert!(matches!(Redaction::new(&[name], Query::Mask), Err(RedactionError::NotAName(_))), "{name}");
        }
        let many: Vec<String> = (0..=EXTRA_MAX).map(|n| format!("x-{n}")).collect();
        assert_eq!(Redaction::new(&many, Query::Mask), Err(RedactionError::TooMany(EXTRA_MAX + 1)));
    }
}
