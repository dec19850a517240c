//! Masking of request targets and other URLs: what a span may show of them. It never fails: what it does not understand
//! it masks.
#![forbid(unsafe_code)]

use super::{MASK, Query, TARGET_MAX};

/// Bytes of a query's key that are kept; a longer one is taken for a value without a key.
pub(crate) const KEY_MAX: usize = 64;

/// Appends `target` without its user information, with the values of its query, of its path parameters
/// (`;jsessionid=...`) and its fragment masked. At most [`TARGET_MAX`] bytes are appended; returns whether some were
/// cut off.
pub fn mask_target(target: &[u8], query: Query, out: &mut Vec<u8>) -> bool {
    let start = out.len();
    let path = authority(target, out);
    match query {
        Query::Keep => out.extend_from_slice(path),
        Query::Mask => mask_path(path, out),
    }
    let cut = out.len() - start > TARGET_MAX;
    out.truncate(start + TARGET_MAX);
    cut
}

/// Appends scheme and authority, if there are any, without user information, and returns what follows.
fn authority<'a>(target: &'a [u8], out: &mut Vec<u8>) -> &'a [u8] {
    let Some((scheme, rest)) = split_authority(target) else { return target };
    let end = rest.iter().position(|b| matches!(b, b'/' | b'?' | b'#')).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let host = authority.iter().rposition(|&b| b == b'@').map_or(authority, |at| &authority[at + 1..]);
    out.extend_from_slice(scheme);
    out.extend_from_slice(host);
    path
}

/// The scheme with its `://`, and what begins with the authority. Origin and asterisk form have none; authority form
/// (CONNECT) has no scheme.
fn split_authority(target: &[u8]) -> Option<(&[u8], &[u8])> {
    if matches!(target.first(), None | Some(b'/' | b'*' | b'?' | b'#')) {
        return None;
    }
    let scheme = target.windows(3).position(|w| w == b"://").map_or(0, |at| at + 3);
    // A `://` past the beginning of the path or query belongs to those.
    let before = &target[..scheme.saturating_sub(3)];
    let scheme = if before.iter().any(|b| matches!(b, b'/' | b'?' | b'#' | b'@')) { 0 } else { scheme };
    Some(target.split_at(scheme))
}

fn mask_path(path: &[u8], out: &mut Vec<u8>) {
    let end = path.iter().position(|b| matches!(b, b'?' | b'#')).unwrap_or(path.len());
    let (path, rest) = path.split_at(end);
    mask_parameters(path, out);
    let fragment = rest.iter().position(|&b| b == b'#').unwrap_or(rest.len());
    let (query, fragment) = rest.split_at(fragment);
    if let Some((mark, query)) = query.split_first() {
        out.push(*mark);
        mask_query(query, out);
    }
    if let Some((mark, fragment)) = fragment.split_first() {
        out.push(*mark);
        mask_value(fragment, out);
    }
}

/// The path with the values of `;key=value` masked.
fn mask_parameters(path: &[u8], out: &mut Vec<u8>) {
    let mut rest = path;
    while let Some(start) = rest.iter().position(|&b| b == b';') {
        out.extend_from_slice(&rest[..=start]);
        rest = &rest[start + 1..];
        let end = rest.iter().position(|b| matches!(b, b'/' | b';')).unwrap_or(rest.len());
        let (parameter, after) = rest.split_at(end);
        match parameter.iter().position(|&b| b == b'=') {
            Some(equals) => {
                out.extend_from_slice(&parameter[..=equals]);
                mask_value(&parameter[equals + 1..], out);
            }
            None => out.extend_from_slice(parameter),
        }
        rest = after;
    }
    out.extend_from_slice(rest);
}

fn mask_query(query: &[u8], out: &mut Vec<u8>) {
    let mut rest = query;
    loop {
        let end = rest.iter().position(|b| matches!(b, b'&' | b';')).unwrap_or(rest.len());
        let pair = &rest[..end];
        match pair.iter().position(|&b| b == b'=') {
            Some(equals) if (1..=KEY_MAX).contains(&equals) => {
                out.extend_from_slice(&pair[..=equals]);
                mask_value(&pair[equals + 1..], out);
            }
            // Without a key there is no telling what it is.
            _ => mask_value(pair, out),
        }
        let Some(mark) = rest.get(end) else { return };
        out.push(*mark);
        rest = &rest[end + 1..];
    }
}

fn mask_value(value: &[u8], out: &mut Vec<u8>) {
    if !value.is_empty() {
        out.extend_from_slice(MASK);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masked(target: &str) -> String {
        let mut out = Vec::new();
        assert!(!mask_target(target.as_bytes(), Query::Mask, &mut out));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn values_are_masked_and_keys_kept() {
        let table = [
            ("/", "/"),
            ("*", "*"),
            ("", ""),
            ("/a/b.html", "/a/b.html"),
            ("/a?user=bob&id=7", "/a?user=REDACTED&id=REDACTED"),
            ("/a?user=bob;id=7", "/a?user=REDACTED;id=REDACTED"),
            ("/a?x=&y", "/a?x=&REDACTED"),
            ("/a?", "/a?"),
            ("/a?&&", "/a?&&"),
            ("/a?=secret", "/a?REDACTED"),
            ("/a?k=a=b?c", "/a?k=REDACTED"),
            ("/a?secret", "/a?REDACTED"),
            ("/a#secret", "/a#REDACTED"),
            ("/a?b=c#d", "/a?b=REDACTED#REDACTED"),
            ("/a;jsessionid=1F/b;c?d=e", "/a;jsessionid=REDACTED/b;c?d=REDACTED"),
            ("/go?to=http://u:p@h/", "/go?to=REDACTED"),
            ("http://u:p@h:80/a?b=c", "http://h:80/a?b=REDACTED"),
            ("http://u:p@x@h/", "http://h/"),
            ("http://h?q=1", "http://h?q=REDACTED"),
            ("http://h", "http://h"),
            ("u:p@h:443", "h:443"),
            ("h:443", "h:443"),
            ("[::1]:443", "[::1]:443"),
            ("u@h/http://", "h/http://"),
        ];
        for (target, expected) in table {
            assert_eq!(masked(target), expected, "{target}");
        }
        let key = "k".repeat(KEY_MAX + 1);
        assert_eq!(masked(&format!("/?{key}=v")), "/?REDACTED");
    }

    #[test]
    fn a_query_is_kept_when_asked_for_but_user_information_never_is() {
        let mut out = b"x".to_vec();
        assert!(!mask_target(b"http://u:p@h/a?b=c", Query::Keep, &mut out));
        assert_eq!(out, b"xhttp://h/a?b=c");
    }

    #[test]
    fn a_long_target_is_cut() {
        let mut out = Vec::new();
        assert!(mask_target(&[b'/'; TARGET_MAX + 1], Query::Mask, &mut out));
        assert_eq!(out.len(), TARGET_MAX);
    }
}
