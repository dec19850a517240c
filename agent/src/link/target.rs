//! What a request's target and `Host` say of where it goes: scheme, authority, path, query. It never fails: what is
//! malformed is left out.

use crate::protocol::Request;
use std::borrow::Cow;

/// A request target taken apart (RFC 9112, section 3.2).
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Target<'a> {
    /// From an absolute-form target.
    pub(super) scheme: Option<Cow<'a, str>>,
    /// Host and port from an absolute-form or authority-form target, else from `Host`; empty if there is none.
    pub(super) authority: Cow<'a, str>,
    /// Path, or `*`; empty in authority form.
    pub(super) path: Cow<'a, str>,
    /// Query without its question mark.
    pub(super) query: Option<Cow<'a, str>>,
}

impl<'a> Target<'a> {
    pub(super) fn of(request: &'a Request) -> Self {
        let host = || {
            let host = request.headers.iter().find(|(name, _)| name.as_ref() == b"host");
            host.map_or("".into(), |(_, value)| String::from_utf8_lossy(value))
        };
        let is_connect = request.method.as_ref() == b"CONNECT";
        match String::from_utf8_lossy(&request.target) {
            Cow::Borrowed(target) => Self::apart(target, is_connect, host),
            Cow::Owned(target) => {
                let Target { scheme, authority, path, query } = Target::apart(&target, is_connect, || "".into());
                let owned = |part: Cow<'_, str>| Cow::Owned(part.into_owned());
                let authority =
                    if authority.is_empty() && !is_authority(&target, is_connect) { host() } else { owned(authority) };
                Self { scheme: scheme.map(owned), authority, path: owned(path), query: query.map(owned) }
            }
        }
    }

    fn apart(target: &'a str, is_connect: bool, host: impl FnOnce() -> Cow<'a, str>) -> Self {
        if is_authority(target, is_connect) {
            return Self { scheme: None, authority: target.into(), path: "".into(), query: None };
        }
        let (scheme, authority, rest) = match absolute(target) {
            Some((scheme, authority, rest)) => (Some(scheme), authority, rest),
            None => (None, 0..0, 0),
        };
        let cut = target[rest..].find(['?', '#']).map_or(target.len(), |at| rest + at);
        let query = target[cut..].strip_prefix('?').map(|query| query.split('#').next().unwrap_or_default());
        let path = if scheme.is_some() && cut == rest { "/" } else { &target[rest..cut] };
        Self {
            scheme: scheme.map(|end| target[..end].into()),
            authority: if authority.is_empty() { host() } else { target[authority].into() },
            path: path.into(),
            query: query.map(Into::into),
        }
    }

    /// Host name or address (IPv6 without brackets) and port of the authority.
    pub(super) fn host_and_port(&self) -> (Option<&str>, Option<u16>) {
        let authority = self.authority.trim();
        let (host, port) = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, rest)) => (host, rest.strip_prefix(':')),
            None => match authority.rsplit_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (authority, None),
            },
        };
        (Some(host).filter(|host| !host.is_empty()), port.and_then(|port| port.parse().ok()))
    }
}

/// Whether a target is an authority. The extended CONNECT of HTTP/2 has a path (RFC 8441, section 4).
fn is_authority(target: &str, is_connect: bool) -> bool {
    is_connect && !target.starts_with('/')
}

/// End of the scheme, range of the authority, and beginning of what follows, of an absolute-form target.
fn absolute(target: &str) -> Option<(usize, std::ops::Range<usize>, usize)> {
    let scheme = target.find("://").filter(|end| {
        *end > 0 && target[..*end].bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
    })?;
    let start = scheme + 3;
    let end = target[start..].find(['/', '?', '#']).map_or(target.len(), |at| start + at);
    Some((scheme, start..end, end))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Version;
    use bytes::Bytes;

    fn request(method: &'static str, target: &'static str, host: &'static str) -> Request {
        Request {
            method: Bytes::from_static(method.as_bytes()),
            scheme: None,
            target: Bytes::from_static(target.as_bytes()),
            version: Version::Http11,
            headers: vec![(Bytes::from_static(b"host"), Bytes::from_static(host.as_bytes()))],
        }
    }

    #[test]
    fn every_form_of_a_target_is_taken_apart() {
        type Row = (&'static str, &'static str, Option<&'static str>, &'static str, &'static str, Option<&'static str>);
        let table: [Row; 7] = [
            ("GET", "/a/b?c=d", None, "h:1", "/a/b", Some("c=d")),
            ("GET", "/", None, "h:1", "/", None),
            ("OPTIONS", "*", None, "h:1", "*", None),
            ("GET", "http://x:2/a?b#c", Some("http"), "x:2", "/a", Some("b")),
            ("GET", "http://x:2", Some("http"), "x:2", "/", None),
            ("GET", "/go?to=http://x/", None, "h:1", "/go", Some("to=http://x/")),
            ("CONNECT", "x:443", None, "x:443", "", None),
        ];
        for (method, target, scheme, authority, path, query) in table {
            let request = request(method, target, "h:1");
            let parts = Target::of(&request);
            assert_eq!(parts.scheme.as_deref(), scheme, "{target}");
            assert_eq!(parts.authority, authority, "{target}");
            assert_eq!(parts.path, path, "{target}");
            assert_eq!(parts.query.as_deref(), query, "{target}");
        }
    }

    #[test]
    fn an_authority_is_a_host_with_or_without_port() {
        for (host, expected) in [
            ("a.example:8080", (Some("a.example"), Some(8080))),
            ("a.example", (Some("a.example"), None)),
            ("[::1]:80", (Some("::1"), Some(80))),
            ("[::1]", (Some("::1"), None)),
            ("a:b", (Some("a"), None)),
            ("", (None, None)),
        ] {
            let request = request("GET", "/", host);
            assert_eq!(Target::of(&request).host_and_port(), expected, "{host}");
        }
    }
}
