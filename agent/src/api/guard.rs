//! Which requests are answered at all, by their heads alone.
//!
//! A page from elsewhere that runs in a browser of this host can send requests to 127.0.0.1. It can't read the answers
//! without CORS headers, which are never sent; where it makes its own name point to 127.0.0.1, it could, but then the
//! `Host` is that name. So on a loopback address `Host` has to be one of this host's names. Where a token is asked for,
//! who has it may use any name.

use std::{hint::black_box, net::IpAddr};

use http::{HeaderMap, StatusCode, Uri, header};

/// The rules.
#[derive(Clone, Debug)]
pub struct Guard {
    token: Option<String>,
}

/// Why a request is refused.
pub type Refusal = (StatusCode, &'static str);

const BEARER: &str = "Bearer ";

impl Guard {
    /// Without a token only this host may ask.
    pub const fn new(token: Option<String>) -> Self {
        Self { token }
    }

    /// Whether a request may be answered.
    pub fn check(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), Refusal> {
        let host = authority(uri, headers).ok_or((StatusCode::BAD_REQUEST, "the request has no valid Host"))?;
        if self.token.is_none() && !is_own(host) {
            return Err((StatusCode::FORBIDDEN, "this Host is not answered: use localhost or 127.0.0.1"));
        }
        if let Some(origin) = headers.get(header::ORIGIN) {
            let origin = origin.to_str().unwrap_or_default();
            if origin.split_once("://").is_none_or(|(_, origin)| origin != host) {
                return Err((StatusCode::FORBIDDEN, "pages of another Origin are not answered"));
            }
        }
        // The UI's own files hold no data, and a link to a view may be followed from anywhere.
        let is_public = super::ui::has(uri.path());
        if !is_public && headers.get("sec-fetch-site").is_some_and(|site| site == "cross-site") {
            return Err((StatusCode::FORBIDDEN, "pages of another site are not answered"));
        }
        match &self.token {
            // Whether the agent lives is no secret, and who asks has no token as a rule.
            Some(_) if is_public || uri.path() == "/healthz" => Ok(()),
            Some(token) if !carries(headers, token) => {
                Err((StatusCode::UNAUTHORIZED, "the token is missing or wrong: send it as Authorization: Bearer ..."))
            }
            _ => Ok(()),
        }
    }
}

/// Where the request says that it goes: host and port as they are written.
fn authority<'a>(uri: &'a Uri, headers: &'a HeaderMap) -> Option<&'a str> {
    let mut hosts = headers.get_all(header::HOST).iter();
    let host = hosts.next()?.to_str().ok()?;
    let is_clear = hosts.next().is_none() && uri.authority().is_none_or(|named| named.as_str() == host);
    (is_clear && !host.is_empty()).then_some(host)
}

/// Whether a host is a name or address of this host alone.
fn is_own(authority: &str) -> bool {
    let name = match authority.rsplit_once(':') {
        Some((name, port)) if !port.is_empty() && port.bytes().all(|digit| digit.is_ascii_digit()) => name,
        _ => authority,
    };
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    name.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok_and(super::is_loopback)
}

/// Whether the request carries the token. How long it takes tells nothing of the token but its length.
fn carries(headers: &HeaderMap, token: &str) -> bool {
    let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let Some(given) = given.and_then(|value| value.strip_prefix(BEARER)) else { return false };
    let differences = given.bytes().zip(token.bytes()).fold(0, |all, (a, b)| black_box(all | (a ^ b)));
    given.len() == token.len() && differences == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(token: Option<&str>, path: &str, headers: &[(&'static str, &str)]) -> u16 {
        let map = headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        let uri = path.parse().unwrap();
        Guard::new(token.map(str::to_owned)).check(&uri, &map).map_or_else(|(status, _)| status.as_u16(), |()| 200)
    }

    #[test]
    fn only_this_hosts_names_are_answered_without_a_token() {
        for (host, expected) in [
            ("localhost", 200),
            ("LOCALHOST:4410", 200),
            ("127.0.0.1:4410", 200),
            ("127.9.9.9", 200),
            ("[::1]:4410", 200),
            ("[::1]", 200),
            ("evil.example", 403),
            ("evil.example:4410", 403),
            ("localhost.evil.example", 403),
            ("127.0.0.1.evil.example", 403),
            ("10.0.0.1:4410", 403),
            ("localhost:x", 403),
            ("", 400),
        ] {
            assert_eq!(check(None, "/v1/spans", &[("host", host)]), expected, "{host}");
        }
        assert_eq!(check(None, "/", &[]), 400);
        assert_eq!(check(None, "http://evil.example/", &[("host", "localhost")]), 400);
    }

    #[test]
    fn pages_from_elsewhere_are_refused() {
        for (origin, expected) in [
            ("http://localhost:4410", 200),
            ("http://localhost:9999", 403),
            ("https://evil.example", 403),
            ("null", 403),
        ] {
            assert_eq!(check(None, "/", &[("host", "localhost:4410"), ("origin", origin)]), expected, "{origin}");
        }
        assert_eq!(check(None, "/v1/spans", &[("host", "localhost"), ("sec-fetch-site", "cross-site")]), 403);
        assert_eq!(check(None, "/v1/spans", &[("host", "localhost"), ("sec-fetch-site", "same-origin")]), 200);
        // A link to a view of the UI may be followed from elsewhere; under another name it is still refused.
        for path in ["/", "/assets/app.js"] {
            assert_eq!(check(None, path, &[("host", "localhost"), ("sec-fetch-site", "cross-site")]), 200, "{path}");
            assert_eq!(check(None, path, &[("host", "evil.example"), ("sec-fetch-site", "cross-site")]), 403, "{path}");
            assert_eq!(check(None, path, &[("host", "localhost"), ("origin", "http://evil.example")]), 403, "{path}");
        }
    }

    #[test]
    fn where_a_token_is_asked_for_no_data_goes_without() {
        let host = ("host", "node-1:4410");
        for (authorization, expected) in [
            ("Bearer secret", 200),
            ("Bearer secre", 401),
            ("Bearer secret2", 401),
            ("secret", 401),
            ("Basic secret", 401),
        ] {
            let headers = [host, ("authorization", authorization)];
            assert_eq!(check(Some("secret"), "/v1/spans", &headers), expected, "{authorization}");
        }
        assert_eq!(check(Some("secret"), "/v1/spans", &[host]), 401);
        assert_eq!(check(Some("secret"), "/v1/spans?token=secret", &[host]), 401);
        for path in ["/v1/live", "/v1/doctor", "/metrics", "/assets/other.js", "//", "/assets/../v1/spans"] {
            assert_eq!(check(Some("secret"), path, &[host]), 401, "{path}");
        }
        for path in ["/healthz", "/", "/assets/app.css"] {
            assert_eq!(check(Some("secret"), path, &[host]), 200, "{path}");
        }
    }
}
