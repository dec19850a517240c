//! Which bytes of a literal's strings may be seen. The allow-list decides, as for a span; and lengths stay, which header
//! compression needs. Names that are not on it are masked too: out of step, anything may look like a name.

use super::super::{
    fields::{is_wanted, without_user},
    hpack::{Decoder, Literal, NAME_MAX, Tail, Text, Value, mask},
};
use crate::{
    protocol::http1::{METHOD_MAX, masked_target},
    span::redact::{Query, Redaction, VALUE_MAX, holds_url, is_token},
};

/// Bytes of a number in a header of gRPC.
const NUMBER_MAX: usize = 10;

/// Digits of a status code.
const STATUS_LENGTH: usize = 3;

/// What may be seen of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rule {
    Nothing,
    /// The first [`VALUE_MAX`] bytes.
    Start,
    /// What a span shows of a target.
    Target,
    /// What comes behind the user information.
    Authority,
}

impl Rule {
    /// Of a value that is not in one record: its form cannot be judged, but whether it is too long for it.
    fn of_parted(name: Option<&[u8]>, text: &Text, redaction: &Redaction) -> Self {
        if text.range.len() > longest(name) { Self::Nothing } else { Self::of(name, redaction) }
    }

    fn of(name: Option<&[u8]>, redaction: &Redaction) -> Self {
        match name {
            Some(b":authority") => Self::Authority,
            Some(b":path") => Self::Target,
            Some(name) if !is_wanted(name, redaction) => Self::Nothing,
            Some(name) if holds_url(name) => Self::Target,
            Some(_) => Self::Start,
            None => Self::Nothing,
        }
    }
}

/// Masks a literal that was decoded. `cuts` are where a record ends in the block.
pub(super) fn literal(
    masked: &mut [u8],
    literal: &Literal,
    (name, value): (Option<&[u8]>, Value<'_>),
    cuts: &[usize],
    redaction: &Redaction,
) {
    let is_parted = |text: &Text| cuts.iter().any(|&cut| text.range.start < cut && cut < text.range.end);
    if let Some(text) = &literal.name {
        if is_parted(text) {
            parted_name(masked, text, cuts);
        } else if !name.is_some_and(|name| is_wanted(name, redaction)) {
            let is_pseudo = name.is_some_and(|name| name.starts_with(b":"));
            // That alone tells a request from trailers.
            or_spoil(mask::part(masked, text, |at, _| at == 0 && is_pseudo), masked, text);
        }
    }
    let text = &literal.value;
    if is_parted(text) {
        let rule = Rule::of_parted(name, text, redaction);
        parted_value(masked, text, cuts, rule, redaction.query());
        return;
    }
    let rule = match value {
        Value::Known(value) if !is_plausible(name, value) => Rule::Nothing,
        _ => Rule::of(name, redaction),
    };
    let shown = match (rule, value) {
        (Rule::Start, Value::Known(_)) => mask::part(masked, text, |at, _| at < VALUE_MAX),
        (Rule::Authority, Value::Known(value)) => {
            let user = value.len() - without_user(value).len();
            // The `@` tells that there was one.
            mask::part(masked, text, |at, _| at + 1 >= user && at < user + VALUE_MAX)
        }
        (Rule::Target, Value::Known(value)) => {
            let shown = shown_of_target(value, redaction.query());
            mask::part(masked, text, |at, _| shown.get(at).copied().unwrap_or(false))
        }
        (Rule::Nothing, _) | (_, Value::Dropped(_) | Value::Unknown(_)) => mask::whole(masked, text),
    };
    or_spoil(shown, masked, text);
}

/// Whether a value can be one of a header of this name. Out of step, a run of anything may look like a value, but hardly
/// without a control character (RFC 9113, section 8.2.1) or in the form that some have.
fn is_plausible(name: Option<&[u8]>, value: &[u8]) -> bool {
    let is_formed = match name {
        Some(b":status") => value.iter().all(u8::is_ascii_digit),
        Some(b":method" | b":scheme") => value.iter().all(|&byte| is_token(byte)),
        Some(b"grpc-status" | b"grpc-timeout") => value.iter().all(u8::is_ascii_alphanumeric),
        _ => !value.iter().any(|byte| byte.is_ascii_control() && *byte != b'\t'),
    };
    is_formed && value.len() <= longest(name)
}

/// Bytes of the longest value that a header of this name can have.
fn longest(name: Option<&[u8]>) -> usize {
    match name {
        Some(b":status") => STATUS_LENGTH,
        Some(b":method" | b":scheme") => METHOD_MAX,
        Some(b"grpc-status" | b"grpc-timeout") => NUMBER_MAX,
        _ => usize::MAX,
    }
}

/// Masks the literal that `block` ends within; `masked` is the same to be changed.
pub(super) fn tail(
    masked: &mut [u8],
    block: &[u8],
    tail: &Tail,
    cuts: &[usize],
    decoder: &mut Decoder,
    redaction: &Redaction,
) {
    let mut stored = Vec::new();
    let name = match &tail.name {
        None => decoder.name(tail.index),
        Some(text) => {
            let is_known = text.decode(block, &mut stored).is_ok() && stored.len() <= NAME_MAX;
            parted_name(masked, text, cuts);
            is_known.then_some(&stored[..])
        }
    };
    if let Some(text) = &tail.value {
        let rule = Rule::of_parted(name, text, redaction);
        parted_value(masked, text, cuts, rule, redaction.query());
    }
}

/// Masks a name that is not in one record: what no name of HTTP/2 has, and all of it if it may be longer than a name is
/// kept.
fn parted_name(masked: &mut [u8], text: &Text, cuts: &[usize]) {
    let may_pass = text.range.len() <= NAME_MAX;
    let keep = |at, byte: u8| may_pass && (is_token(byte) && !byte.is_ascii_uppercase() || at == 0 && byte == b':');
    or_spoil(mask::in_parts(masked, text, cuts, keep), masked, text);
}

/// Masks a value that is not in one record. What may be seen of each byte is told by the ones before it.
fn parted_value(masked: &mut [u8], text: &Text, cuts: &[usize], rule: Rule, query: Query) {
    let mut passes = true;
    let result = match rule {
        Rule::Start => mask::in_parts(masked, text, cuts, |at, byte| {
            passes &= at < VALUE_MAX && !byte.is_ascii_control();
            passes
        }),
        Rule::Target => mask::in_parts(masked, text, cuts, |at, byte| {
            passes &= !byte.is_ascii_control() && (at > 0 || matches!(byte, b'/' | b'*'));
            let shown = passes;
            passes &= query == Query::Keep || !matches!(byte, b'?' | b';' | b'#');
            shown
        }),
        Rule::Nothing | Rule::Authority => mask::in_parts(masked, text, cuts, |_, _| false),
    };
    or_spoil(result, masked, text);
}

/// A string that is none passes in no part.
fn or_spoil(result: Result<(), super::super::hpack::Error>, masked: &mut [u8], text: &Text) {
    if result.is_err() {
        let end = text.range.end.min(masked.len());
        mask::undecodable(masked.get_mut(text.range.start..end).unwrap_or_default());
    }
}

/// For each byte of a target, whether it may be seen.
fn shown_of_target(target: &[u8], query: Query) -> Vec<bool> {
    let mut changed = target.to_vec();
    masked_target::each(&mut changed, query, |hidden| hidden.iter_mut().for_each(|byte| *byte = !*byte));
    changed.iter().zip(target).map(|(changed, byte)| changed == byte).collect()
}
