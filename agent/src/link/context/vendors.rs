//! Context in the forms of single tracers and clouds: each reads its own headers, and gives nothing where these are not whole.

use super::{Context, hex, nonzero, only};
use crate::span::{SpanId, TraceId};
use bytes::Bytes;

type Headers = [(Bytes, Bytes)];

/// The first of these forms that a request carries.
pub(super) fn of(headers: &Headers) -> Option<Context> {
    jaeger(headers)
        .or_else(|| amazon(headers))
        .or_else(|| google(headers))
        .or_else(|| grpc(headers))
        .or_else(|| opentracing(headers))
        .or_else(|| skywalking(headers))
        .or_else(|| datadog(headers))
}

fn context(trace_id: [u8; 16], span_id: [u8; 8], sampled: Option<bool>) -> Option<Context> {
    let (trace_id, span_id) = (TraceId(nonzero(trace_id)?), SpanId(nonzero(span_id)?));
    Some(Context { trace_id, span_id, state: String::new(), sampled })
}

/// Hex digits, of which leading zeros may be missing.
fn padded<const N: usize>(digits: &str) -> Option<[u8; N]> {
    (1..=2 * N).contains(&digits.len()).then(|| hex(&format!("{digits:0>width$}", width = 2 * N)))?
}

/// `uber-trace-id: {trace}:{span}:{parent}:{flags}`, perhaps URL-encoded.
fn jaeger(headers: &Headers) -> Option<Context> {
    let value = only(headers, "uber-trace-id")?.replace("%3A", ":").replace("%3a", ":");
    let mut fields = value.split(':');
    let (trace, span, _parent, flags) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
    let [flags] = padded::<1>(flags)?;
    (fields.next().is_none()).then(|| context(padded(trace)?, padded(span)?, Some(flags & 1 == 1)))?
}

/// `x-amzn-trace-id: Root=1-{8 hex}-{24 hex};Parent={16 hex};Sampled={0, 1 or ?}`, in any order. A load balancer names no parent.
fn amazon(headers: &Headers) -> Option<Context> {
    let value = only(headers, "x-amzn-trace-id")?;
    let field =
        |name: &str| value.split(';').filter_map(|field| field.trim().split_once('=')).find(|(key, _)| *key == name);
    let mut root = field("Root")?.1.split('-');
    let ("1", time, random, None) = (root.next()?, root.next()?, root.next()?, root.next()) else { return None };
    let trace = (time.len() == 8).then(|| hex(&[time, random].concat()))?;
    let sampled = match field("Sampled") {
        Some((_, "1")) => Some(true),
        Some((_, "0")) => Some(false),
        _ => None,
    };
    context(trace?, hex(field("Parent")?.1)?, sampled)
}

/// `x-cloud-trace-context: {32 hex}/{decimal}[;o={0 or 1}]`.
fn google(headers: &Headers) -> Option<Context> {
    let value = only(headers, "x-cloud-trace-context")?;
    let (ids, options) = value.split_once(';').map_or((value, None), |(ids, options)| (ids, Some(options)));
    let (trace, span) = ids.split_once('/')?;
    let sampled = match options {
        Some("o=1") => Some(true),
        Some("o=0") => Some(false),
        _ => None,
    };
    context(hex(trace)?, decimal(span)?, sampled)
}

/// `grpc-trace-bin`: 29 bytes in base64: version 0, then the fields 0 (trace), 1 (span) and 2 (flags).
fn grpc(headers: &Headers) -> Option<Context> {
    let bytes = base64(only(headers, "grpc-trace-bin")?)?;
    let [0, 0, rest @ ..] = &bytes[..] else { return None };
    let (trace, [1, rest @ ..]) = rest.split_first_chunk::<16>()? else { return None };
    let (span, [2, flags]) = rest.split_first_chunk::<8>()? else { return None };
    context(*trace, *span, Some(flags & 1 == 1))
}

/// `ot-tracer-traceid`, `ot-tracer-spanid`, `ot-tracer-sampled`.
fn opentracing(headers: &Headers) -> Option<Context> {
    let trace = only(headers, "ot-tracer-traceid")?;
    let trace = matches!(trace.len(), 16 | 32).then(|| padded(trace))?;
    let sampled = match only(headers, "ot-tracer-sampled") {
        Some("true") => Some(true),
        Some("false") => Some(false),
        _ => None,
    };
    context(trace?, hex(only(headers, "ot-tracer-spanid")?)?, sampled)
}

/// `sw8`: eight fields between `-`. Ids are texts, so what stands for them here are hashes, the same on every host.
fn skywalking(headers: &Headers) -> Option<Context> {
    let fields: Vec<&str> = only(headers, "sw8")?.split('-').collect();
    let [sampled @ ("0" | "1"), trace, segment, index, _, _, _, _] = fields[..] else { return None };
    let (trace, segment) = (base64(trace)?, base64(segment)?);
    if trace.is_empty() || segment.is_empty() || index.parse::<u32>().is_err() {
        return None;
    }
    let high = fnv(&[&trace]).to_be_bytes();
    let low = fnv(&[&trace, b"#"]).to_be_bytes();
    let mut trace_id = [0; 16];
    trace_id[..8].copy_from_slice(&high);
    trace_id[8..].copy_from_slice(&low);
    context(trace_id, fnv(&[&segment, b"-", index.as_bytes()]).to_be_bytes(), Some(sampled == "1"))
}

/// `x-datadog-trace-id` and `x-datadog-parent-id` in decimal; the upper half of the trace is in `x-datadog-tags`.
fn datadog(headers: &Headers) -> Option<Context> {
    let low: [u8; 8] = decimal(only(headers, "x-datadog-trace-id")?)?;
    let tags = only(headers, "x-datadog-tags").unwrap_or_default();
    let high = tags.split(',').find_map(|tag| tag.trim().strip_prefix("_dd.p.tid="));
    let mut trace_id = [0; 16];
    if let Some(high) = high {
        trace_id[..8].copy_from_slice(&hex::<8>(high)?);
    }
    trace_id[8..].copy_from_slice(&low);
    let priority = only(headers, "x-datadog-sampling-priority").and_then(|number| number.parse::<i32>().ok());
    context(trace_id, decimal(only(headers, "x-datadog-parent-id")?)?, priority.map(|priority| priority > 0))
}

fn decimal(digits: &str) -> Option<[u8; 8]> {
    let is_plain = !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit());
    is_plain.then(|| digits.parse::<u64>().ok().map(u64::to_be_bytes))?
}

/// FNV-1a of these bytes, one part after the other.
fn fnv(parts: &[&[u8]]) -> u64 {
    let bytes = parts.iter().flat_map(|part| part.iter());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Base64 (RFC 4648, section 4) with or without padding.
fn base64(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() * 3 / 4);
    let (mut held, mut bits) = (0_u32, 0);
    for digit in text.trim_end_matches('=').bytes() {
        let value = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        held = held << 6 & 0xffff | u32::from(value);
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push((held >> bits & 0xff) as u8);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const SPAN: &str = "00f067aa0ba902b7";

    fn read(headers: &[(&str, &str)]) -> Option<(String, String, Option<bool>)> {
        let bytes = |text: &str| Bytes::copy_from_slice(text.as_bytes());
        let headers: Vec<_> = headers.iter().map(|(name, value)| (bytes(name), bytes(value))).collect();
        let text = |id: &[u8]| id.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
        Context::of(&headers).map(|context| (text(&context.trace_id.0), text(&context.span_id.0), context.sampled))
    }

    fn expected(trace: &str, sampled: Option<bool>) -> (String, String, Option<bool>) {
        (trace.to_owned(), SPAN.to_owned(), sampled)
    }

    #[test]
    fn each_form_is_read() {
        let short = format!("{:0>32}", &TRACE[16..]);
        let decimal = "67667974448284343";
        let low = "11803532876627986230";
        for (headers, trace, sampled) in [
            (vec![("uber-trace-id", "4bf92f3577b34da6a3ce929d0e0e4736:f067aa0ba902b7:0:1")], TRACE, Some(true)),
            (vec![("uber-trace-id", "a3ce929d0e0e4736%3A00f067aa0ba902b7%3A0%3A0")], &short, Some(false)),
            (
                vec![(
                    "x-amzn-trace-id",
                    "Self=1-2-3; Sampled=1;Parent=00f067aa0ba902b7;Root=1-4bf92f35-77b34da6a3ce929d0e0e4736",
                )],
                TRACE,
                Some(true),
            ),
            (
                vec![("x-amzn-trace-id", "Root=1-4bf92f35-77b34da6a3ce929d0e0e4736;Parent=00f067aa0ba902b7;Sampled=?")],
                TRACE,
                None,
            ),
            (
                vec![("x-cloud-trace-context", "4bf92f3577b34da6a3ce929d0e0e4736/67667974448284343;o=1")],
                TRACE,
                Some(true),
            ),
            (vec![("x-cloud-trace-context", "4bf92f3577b34da6a3ce929d0e0e4736/67667974448284343")], TRACE, None),
            (vec![("grpc-trace-bin", "AABL+S81d7NNpqPOkp0ODkc2AQDwZ6oLqQK3AgE=")], TRACE, Some(true)),
            (vec![("grpc-trace-bin", "AABL+S81d7NNpqPOkp0ODkc2AQDwZ6oLqQK3AgA")], TRACE, Some(false)),
            (
                vec![
                    ("ot-tracer-traceid", "a3ce929d0e0e4736"),
                    ("ot-tracer-spanid", SPAN),
                    ("ot-tracer-sampled", "true"),
                ],
                &short,
                Some(true),
            ),
            (
                vec![
                    ("x-datadog-trace-id", low),
                    ("x-datadog-parent-id", decimal),
                    ("x-datadog-tags", "_dd.p.dm=-1,_dd.p.tid=4bf92f3577b34da6"),
                    ("x-datadog-sampling-priority", "-1"),
                ],
                TRACE,
                Some(false),
            ),
            (vec![("x-datadog-trace-id", low), ("x-datadog-parent-id", decimal)], &short, None),
        ] {
            assert_eq!(read(&headers), Some(expected(trace, sampled)), "{headers:?}");
        }
    }

    #[test]
    fn texts_of_skywalking_are_hashed_alike_and_apart() {
        let header = |trace: &str, index: &str| {
            read(&[("sw8", &format!("1-{trace}-c2VnbWVudA==-{index}-c2hvcA==-aQ==-L2E=-Yg=="))])
        };
        let one = header("dHJhY2U=", "3").expect("a context");
        assert_eq!(header("dHJhY2U=", "3"), Some(one.clone()));
        let other = header("dHJhY2U=", "4").expect("a context");
        assert!(one.0 == other.0 && one.1 != other.1 && one.2 == Some(true));
        assert_ne!(header("dHJhY2Ux", "3").expect("a context").0, one.0);
        assert_eq!(header("", "3"), None);
        assert_eq!(header("dHJhY2U=", "x"), None);
    }

    #[test]
    fn what_is_not_whole_is_no_context_and_the_standard_comes_first() {
        let zeros = "0".repeat(32);
        for (name, value) in [
            ("uber-trace-id", "1:2:3"),
            ("uber-trace-id", "1:2:3:4:5"),
            ("uber-trace-id", "g:2:0:1"),
            ("uber-trace-id", ":::"),
            ("x-amzn-trace-id", "Root=1-4bf92f35-77b34da6a3ce929d0e0e4736"),
            ("x-amzn-trace-id", "Root=2-4bf92f35-77b34da6a3ce929d0e0e4736;Parent=00f067aa0ba902b7"),
            ("x-amzn-trace-id", "Root=;Parent=;="),
            ("x-cloud-trace-context", TRACE),
            ("x-cloud-trace-context", "4bf92f3577b34da6a3ce929d0e0e4736/99999999999999999999"),
            ("x-cloud-trace-context", &format!("{zeros}/1")),
            ("grpc-trace-bin", "AABL+S81"),
            ("grpc-trace-bin", "\u{e9}"),
            ("sw8", "1-2-3"),
            ("x-datadog-trace-id", "5"),
            ("ot-tracer-traceid", "5"),
        ] {
            assert_eq!(read(&[(name, value)]), None, "{name}: {value}");
        }
        let parent = format!("00-{TRACE}-{SPAN}-01");
        assert_eq!(read(&[("uber-trace-id", "1:2:0:0"), ("traceparent", &parent)]), Some(expected(TRACE, Some(true))));
    }
}
