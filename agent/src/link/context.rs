//! Trace context that a request carries in its headers: W3C trace-context, then B3, then those of single tracers and clouds
//! ([`vendors`]). It reads; it never judges whether the caller told the truth.

mod vendors;

use crate::span::{SpanId, TraceId};
use bytes::Bytes;

/// Members of a tracestate that are kept at most (W3C trace-context, 3.3.1.1); one with more is dropped whole.
const TRACESTATE_MEMBERS: usize = 32;
/// Bytes of a tracestate that are kept at most; the standard asks for at least 512.
const TRACESTATE_BYTES: usize = 4096;

/// What a request's headers say of its trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Context {
    /// The trace.
    pub trace_id: TraceId,
    /// The caller's span.
    pub span_id: SpanId,
    /// `tracestate`, its header lines joined; empty if there was none or it was invalid.
    pub state: String,
    /// Whether the caller keeps the trace; absent where it leaves that open.
    pub sampled: Option<bool>,
}

impl Context {
    /// Finds the context in a request's headers (names in lower case). Invalid context is no context.
    pub fn of(headers: &[(Bytes, Bytes)]) -> Option<Self> {
        w3c(headers).or_else(|| b3_single(headers)).or_else(|| b3_multi(headers)).or_else(|| vendors::of(headers))
    }

    /// Whether both name the same caller.
    pub fn same_caller(&self, other: &Self) -> bool {
        (self.trace_id, self.span_id) == (other.trace_id, other.span_id)
    }
}

/// The value of a header that must not be repeated.
fn only<'a>(headers: &'a [(Bytes, Bytes)], name: &str) -> Option<&'a str> {
    let mut values = headers.iter().filter(|(key, _)| key.as_ref() == name.as_bytes());
    match (values.next(), values.next()) {
        (Some((_, value)), None) => std::str::from_utf8(value).ok().map(str::trim),
        _ => None,
    }
}

/// `traceparent` (W3C trace-context, 3.2): `VV-trace-span-flags`, lower case; a version after 00 may append fields.
fn w3c(headers: &[(Bytes, Bytes)]) -> Option<Context> {
    let value = only(headers, "traceparent")?;
    let known = value.get(..55)?;
    let mut fields = known.split('-');
    let (version, trace, span, flags) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
    let [version] = hex_lower::<1>(version)?;
    let [flags] = hex_lower::<1>(flags)?;
    let appended = &value[55..];
    let well_formed = match version {
        0xff => false,
        0 => appended.is_empty(),
        _ => appended.is_empty() || appended.starts_with('-'),
    };
    let trace_id = TraceId(nonzero(hex_lower(trace)?)?);
    let span_id = SpanId(nonzero(hex_lower(span)?)?);
    let sampled = Some(flags & 1 == 1);
    (well_formed && fields.next().is_none()).then(|| Context { trace_id, span_id, state: tracestate(headers), sampled })
}

fn tracestate(headers: &[(Bytes, Bytes)]) -> String {
    let lines: Option<Vec<&str>> = headers
        .iter()
        .filter(|(key, _)| key.as_ref() == b"tracestate")
        .map(|(_, value)| std::str::from_utf8(value).ok())
        .collect();
    let Some(lines) = lines else { return String::new() };
    let state = lines.iter().map(|line| line.trim()).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(",");
    let printable = state.bytes().all(|byte| (b' '..=b'~').contains(&byte) || byte == b'\t');
    let members = state.split(',').filter(|member| !member.trim().is_empty()).count();
    if printable && members <= TRACESTATE_MEMBERS && state.len() <= TRACESTATE_BYTES { state } else { String::new() }
}

/// `b3: {trace}-{span}[-{sampled}[-{parent}]]`; a lone sampling decision names no caller.
fn b3_single(headers: &[(Bytes, Bytes)]) -> Option<Context> {
    let mut fields = only(headers, "b3")?.split('-');
    b3(fields.next()?, fields.next()?, fields.next())
}

/// `x-b3-traceid`, `x-b3-spanid`, `x-b3-sampled`, and `x-b3-flags`, of which `1` is `d`.
fn b3_multi(headers: &[(Bytes, Bytes)]) -> Option<Context> {
    let is_debug = only(headers, "x-b3-flags") == Some("1");
    let sampled = if is_debug { Some("d") } else { only(headers, "x-b3-sampled") };
    b3(only(headers, "x-b3-traceid")?, only(headers, "x-b3-spanid")?, sampled)
}

fn b3(trace: &str, span: &str, sampled: Option<&str>) -> Option<Context> {
    let mut trace_id = [0; 16];
    match trace.len() {
        32 => trace_id = hex(trace)?,
        16 => trace_id[8..].copy_from_slice(&hex::<8>(trace)?),
        _ => return None,
    }
    let span_id = SpanId(nonzero(hex(span)?)?);
    let sampled = match sampled {
        Some("1" | "d" | "true") => Some(true),
        Some("0" | "false") => Some(false),
        _ => None,
    };
    Some(Context { trace_id: TraceId(nonzero(trace_id)?), span_id, state: String::new(), sampled })
}

fn nonzero<const N: usize>(id: [u8; N]) -> Option<[u8; N]> {
    id.iter().any(|byte| *byte != 0).then_some(id)
}

fn hex_lower<const N: usize>(digits: &str) -> Option<[u8; N]> {
    if digits.bytes().any(|digit| digit.is_ascii_uppercase()) { None } else { hex(digits) }
}

fn hex<const N: usize>(digits: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    if digits.len() != 2 * N {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(digits.as_bytes().chunks_exact(2)) {
        let value = |digit: u8| char::from(digit).to_digit(16);
        *byte = (value(pair[0])? << 4 | value(pair[1])?) as u8;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const SPAN: &str = "00f067aa0ba902b7";

    fn context(headers: &[(&str, &str)]) -> Option<Context> {
        let bytes = |text: &str| Bytes::copy_from_slice(text.as_bytes());
        Context::of(&headers.iter().map(|(name, value)| (bytes(name), bytes(value))).collect::<Vec<_>>())
    }

    fn expected(state: &str) -> Context {
        let (trace_id, span_id) = (TraceId(hex(TRACE).unwrap()), SpanId(hex(SPAN).unwrap()));
        Context { trace_id, span_id, state: state.to_owned(), sampled: Some(true) }
    }

    #[test]
    fn a_traceparent_is_read_with_its_tracestate_lines_joined() {
        let parent = format!("00-{TRACE}-{SPAN}-01");
        let headers = [("traceparent", parent.as_str()), ("tracestate", "a=1"), ("tracestate", " b=2,c=3 ")];
        assert_eq!(context(&headers), Some(expected("a=1,b=2,c=3")));
    }

    #[test]
    fn invalid_traceparents_are_no_context() {
        let zeros = "0".repeat(32);
        for parent in [
            format!("ff-{TRACE}-{SPAN}-01"),
            format!("00-{}-{SPAN}-01", TRACE.to_uppercase()),
            format!("00-{zeros}-{SPAN}-01"),
            format!("00-{TRACE}-{}-01", "0".repeat(16)),
            format!("00-{TRACE}-{SPAN}-01-more"),
            format!("00-{TRACE}-{SPAN}-1"),
            format!("0g-{TRACE}-{SPAN}-01"),
            format!("01-{TRACE}-{SPAN}-01more"),
            format!("00-{TRACE}-{SPAN}001"),
            format!("00-{TRACE}é{}", "0".repeat(19)),
            String::new(),
        ] {
            assert_eq!(context(&[("traceparent", &parent)]), None, "{parent}");
        }
        let twice = format!("00-{TRACE}-{SPAN}-01");
        assert_eq!(context(&[("traceparent", &twice), ("traceparent", &twice)]), None);
    }

    #[test]
    fn the_callers_decision_is_read() {
        let sampled = |headers: &[(&str, &str)]| context(headers).map(|context| context.sampled);
        for (flags, expected) in [("00", Some(false)), ("01", Some(true)), ("03", Some(true)), ("02", Some(false))] {
            assert_eq!(sampled(&[("traceparent", &format!("00-{TRACE}-{SPAN}-{flags}"))]), Some(expected), "{flags}");
        }
        for (last, expected) in [("-0", Some(false)), ("-1", Some(true)), ("-d", Some(true)), ("", None), ("-x", None)]
        {
            assert_eq!(sampled(&[("b3", &format!("{TRACE}-{SPAN}{last}"))]), Some(expected), "{last}");
        }
    }

    #[test]
    fn a_future_version_may_append_fields() {
        let parent = format!("cc-{TRACE}-{SPAN}-01-what-the-future-will-be");
        assert_eq!(context(&[("traceparent", &parent)]), Some(expected("")));
    }

    #[test]
    fn a_tracestate_with_too_many_members_is_dropped_and_the_parent_kept() {
        let parent = format!("00-{TRACE}-{SPAN}-01");
        let state = (0..33).map(|n| format!("k{n}=v")).collect::<Vec<_>>().join(",");
        assert_eq!(context(&[("traceparent", &parent), ("tracestate", &state)]), Some(expected("")));
    }

    #[test]
    fn b3_is_read_in_both_forms_and_a_lone_decision_is_no_context() {
        assert_eq!(context(&[("b3", &format!("{TRACE}-{SPAN}-1-05e3ac9a4f6e3b90"))]), Some(expected("")));
        let multi = [("x-b3-traceid", TRACE), ("x-b3-spanid", SPAN)];
        assert_eq!(context(&multi), Some(Context { sampled: None, ..expected("") }));
        assert_eq!(context(&[&multi[..], &[("x-b3-sampled", "0"), ("x-b3-flags", "1")]].concat()), Some(expected("")));
        let short = context(&[("b3", &format!("{}-{SPAN}", &TRACE[16..]))]).unwrap();
        assert_eq!(short.trace_id.0[..8], [0; 8]);
        assert_eq!(context(&[("b3", "0")]), None);
        let both = context(&[("b3", &format!("{TRACE}-{SPAN}-d")), ("x-b3-traceid", "1"), ("x-b3-spanid", "2")]);
        assert_eq!(both, Some(expected("")));
    }
}
