//! Masks a request target or another URL in place, by the rules of [`mask_target`](crate::span::redact::mask_target).

use super::STAR;
use crate::span::redact::Query;

/// Masks a whole target.
pub(super) fn whole(target: &mut [u8], query: Query) {
    each(target, query, mask);
}

/// Gives `hide` the parts of a whole target that must not be seen, each byte at most once.
pub(in crate::protocol) fn each(target: &mut [u8], query: Query, hide: fn(&mut [u8])) {
    let path = user_information(target, hide);
    if query == Query::Mask {
        path_and_query(&mut target[path..], hide);
    }
}

/// Masks a part of a target whose other parts are not here, `first` if it is the first. Only a path in origin form can
/// be told from the rest then. Returns whether what follows may pass.
pub(super) fn part(part: &mut [u8], first: bool, query: Query) -> bool {
    let origin = !first || matches!(part.first(), None | Some(b'/' | b'*'));
    let known = match query {
        Query::Keep if origin => part.len(),
        _ if origin => part.iter().position(|b| matches!(b, b'?' | b';' | b'#')).map_or(part.len(), |at| at + 1),
        _ => 0,
    };
    let passes = origin && (query == Query::Keep || !ends_path(part.get(known.wrapping_sub(1)).copied()));
    mask(&mut part[known..]);
    passes
}

fn ends_path(byte: Option<u8>) -> bool {
    matches!(byte, Some(b'?' | b';' | b'#'))
}

/// Masks user information, and returns where the path begins.
fn user_information(target: &mut [u8], hide: fn(&mut [u8])) -> usize {
    if matches!(target.first(), None | Some(b'/' | b'*' | b'?' | b'#')) {
        return 0;
    }
    let scheme = target.windows(3).position(|w| w == b"://").map_or(0, |at| at + 3);
    let before = &target[..scheme.saturating_sub(3)];
    let scheme = if before.iter().any(|b| matches!(b, b'/' | b'?' | b'#' | b'@')) { 0 } else { scheme };
    let rest = &mut target[scheme..];
    let end = rest.iter().position(|b| matches!(b, b'/' | b'?' | b'#')).unwrap_or(rest.len());
    if let Some(at) = rest[..end].iter().rposition(|&b| b == b'@') {
        hide(&mut rest[..at]);
    }
    scheme + end
}

fn path_and_query(path: &mut [u8], hide: fn(&mut [u8])) {
    let query = path.iter().position(|b| matches!(b, b'?' | b'#')).unwrap_or(path.len());
    let (path, rest) = path.split_at_mut(query);
    parameters(path, hide);
    let fragment = rest.iter().position(|&b| b == b'#').unwrap_or(rest.len());
    let (query, fragment) = rest.split_at_mut(fragment);
    for pair in query.get_mut(1..).unwrap_or_default().split_mut(|b| matches!(b, b'&' | b';')) {
        match pair.iter().position(|&b| b == b'=') {
            Some(equals) if (1..=crate::span::redact::KEY_MAX).contains(&equals) => hide(&mut pair[equals + 1..]),
            _ => hide(pair),
        }
    }
    hide(fragment.get_mut(1..).unwrap_or_default());
}

fn parameters(path: &mut [u8], hide: fn(&mut [u8])) {
    let mut segments = path.split_mut(|&b| b == b';');
    segments.next();
    for segment in segments {
        let end = segment.iter().position(|&b| b == b'/').unwrap_or(segment.len());
        if let Some(equals) = segment[..end].iter().position(|&b| b == b'=') {
            hide(&mut segment[equals + 1..end]);
        }
    }
}

/// Masks every byte but a carriage return, which may belong to the line's end.
pub(super) fn mask(bytes: &mut [u8]) {
    bytes.iter_mut().filter(|byte| **byte != b'\r').for_each(|byte| *byte = STAR);
}
