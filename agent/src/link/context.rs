//! Trace context that a request carries in its headers, in the forms of ten families ([`FAMILIES`]). It reads; it never judges
//! whether the caller told the truth.

mod amazon;
mod census;
mod datadog;
mod google;
mod jaeger;
mod opentracing;
mod skywalking;

use crate::span::{SpanId, TraceId};
use base64::{
    alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use bytes::Bytes;

/// Members of a tracestate that are kept at most (W3C trace-context, 3.3.1.1); one with more is dropped whole.
const TRACESTATE_MEMBERS: usize = 32;
/// Bytes of a tracestate that are kept at most; the standard asks for at least 512.
const TRACESTATE_BYTES: usize = 4096;

/// A request's headers, names in lower case.
type Headers<'a> = &'a [(Bytes, Bytes)];
type Read = fn(Headers<'_>) -> Option<Context>;

/// The families, each with the header that it does not go without, by authority: the standard, then what applications' own
/// tracers write, and last what load balancers add, whose spans are often nowhere to be found.
const FAMILIES: [(&str, Read); 10] = [
    ("traceparent", w3c),
    ("b3", b3_single),
    ("x-b3-traceid", b3_multi),
    ("x-datadog-trace-id", datadog::context),
    ("uber-trace-id", jaeger::context),
    ("ot-tracer-traceid", opentracing::context),
    ("sw8", skywalking::context),
    ("grpc-trace-bin", census::context),
    ("x-amzn-trace-id", amazon::context),
    ("x-cloud-trace-context", google::context),
];

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
    /// The trace's id as the headers have it, where `trace_id` had to be made of it.
    pub original: Option<Box<str>>,
}

impl Context {
    /// Finds the context in a request's headers (names in lower case). Invalid context is no context.
    pub fn of(headers: &[(Bytes, Bytes)]) -> Option<Self> {
        // One pass tells which families are there: nearly every request has one, or none.
        let family = |name: &Bytes| FAMILIES.iter().position(|(header, _)| header.as_bytes() == name.as_ref());
        let there = headers.iter().filter_map(|(name, _)| family(name)).fold(0u16, |there, family| there | 1 << family);
        let of_there = FAMILIES.iter().enumerate().filter(|(family, _)| there >> family & 1 == 1);
        of_there.map(|(_, (_, read))| read).find_map(|read| read(headers))
    }

    /// Of ids that are not zero; without a tracestate.
    fn new(trace_id: TraceId, span_id: SpanId, sampled: Option<bool>) -> Option<Self> {
        let is_sound = nonzero(trace_id.0).is_some() && nonzero(span_id.0).is_some();
        is_sound.then(|| Self { trace_id, span_id, state: String::new(), sampled, original: None })
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
    let context = Context::new(TraceId(hex_lower(trace)?), SpanId(hex_lower(span)?), Some(flags & 1 == 1))?;
    (well_formed && fields.next().is_none()).then(|| Context { state: tracestate(headers), ..context })
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
    let sampled = match sampled {
        Some("1" | "d" | "true") => Some(true),
        Some("0" | "false") => Some(false),
        _ => None,
    };
    Context::new(trace_of_either_length(trace)?, SpanId(hex(span)?), sampled)
}

/// A trace id of 32 digits, or of 16: its low half.
fn trace_of_either_length(digits: &str) -> Option<TraceId> {
    matches!(digits.len(), 16 | 32).then(|| padded(digits).map(TraceId))?
}

fn nonzero<const N: usize>(id: [u8; N]) -> Option<[u8; N]> {
    id.iter().any(|byte| *byte != 0).then_some(id)
}

/// A number of at most `2 * N` hexadecimal digits, of which leading zeros may be missing.
fn padded<const N: usize>(digits: &str) -> Option<[u8; N]> {
    let is_sound = (1..=2 * N).contains(&digits.len()) && digits.is_ascii();
    if is_sound { hex(&format!("{digits:0>width$}", width = 2 * N)) } else { None }
}

/// A number in decimal digits and nothing else, as `u64::from_str` takes a sign, too.
fn decimal(digits: &str) -> Option<u64> {
    if digits.bytes().all(|digit| digit.is_ascii_digit()) { digits.parse().ok() } else { None }
}

/// Base64 of the usual alphabet, padded or not: writers differ.
const fn base64_lax() -> GeneralPurpose {
    let config = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    GeneralPurpose::new(&alphabet::STANDARD, config)
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

    pub(super) const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    pub(super) const SPAN: &str = "00f067aa0ba902b7";

    pub(super) fn context(headers: &[(&str, &str)]) -> Option<Context> {
        let bytes = |text: &str| Bytes::copy_from_slice(text.as_bytes());
        Context::of(&headers.iter().map(|(name, value)| (bytes(name), bytes(value))).collect::<Vec<_>>())
    }

    pub(super) fn expected(state: &str) -> Context {
        let (trace_id, span_id) = (TraceId(hex(TRACE).unwrap()), SpanId(hex(SPAN).unwrap()));
        Context { trace_id, span_id, state: state.to_owned(), sampled: Some(true), original: None }
    }

    /// What is read of the caller's decision.
    pub(super) fn sampled(headers: &[(&str, &str)]) -> Option<bool> {
        context(headers).expect("a context").sampled
    }

    #[test]
    fn the_family_of_most_authority_is_taken_and_the_next_where_that_is_not_sound() {
        let (w3c, other) = (format!("00-{TRACE}-{SPAN}-01"), format!("{TRACE}:1:0:1"));
        let amazon = format!("Root=1-{}-{};Parent=0000000000000002;Sampled=1", &TRACE[..8], &TRACE[8..]);
        let of = |w3c: &str, jaeger: &str| {
            let headers = [("x-amzn-trace-id", amazon.as_str()), ("uber-trace-id", jaeger), ("traceparent", w3c)];
            context(&headers).unwrap().span_id.to_string()
        };
        assert_eq!(of(&w3c, &other), SPAN);
        assert_eq!(of("00-broken", &other), "0000000000000001");
        assert_eq!(of("00-broken", "broken"), "0000000000000002");
    }

    #[test]
    fn every_header_of_the_families_may_be_kept() {
        for (header, _) in FAMILIES {
            assert!(crate::span::redact::ALLOWED.contains(&header), "{header}");
        }
    }

    #[test]
    fn values_of_any_form_make_no_family_panic() {
        let texts =
            ["", "-", ":", ";", "=", "/", ",", "é", "\u{0}", "0", "1-", "--------", "Root=", "_dd.p.tid=", "%3A%3A%3A"];
        for (header, _) in FAMILIES {
            for (one, two) in texts.iter().flat_map(|one| texts.iter().map(move |two| (one, two))) {
                let value = format!("{one}{two}");
                let rest = ["x-b3-spanid", "x-datadog-parent-id", "ot-tracer-spanid", "x-datadog-tags"];
                let headers: Vec<_> = [header].into_iter().chain(rest).map(|name| (name, value.as_str())).collect();
                assert_eq!(context(&headers), None, "{header}: {value}");
            }
        }
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
        for (flags, expected) in [("00", Some(false)), ("01", Some(true)), ("03", Some(true)), ("02", Some(false))] {
            assert_eq!(sampled(&[("traceparent", &format!("00-{TRACE}-{SPAN}-{flags}"))]), expected, "{flags}");
        }
        for (last, expected) in [("-0", Some(false)), ("-1", Some(true)), ("-d", Some(true)), ("", None), ("-x", None)]
        {
            assert_eq!(sampled(&[("b3", &format!("{TRACE}-{SPAN}{last}"))]), expected, "{last}");
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
