//! `OpenCensus` in gRPC: `grpc-trace-bin`, base64 of a version and fields: 0 and 16 bytes of trace, 1 and 8 bytes of span, 2 and a
//! byte of options. Fields that are not known end it.

use base64::Engine as _;

use super::{Context, Headers, base64_lax, only};
use crate::span::{SpanId, TraceId};

pub(super) fn context(headers: Headers<'_>) -> Option<Context> {
    let bytes = base64_lax().decode(only(headers, "grpc-trace-bin")?).ok()?;
    let (&0, rest) = bytes.split_first()? else { return None };
    let (trace, rest) = field::<16>(rest, 0)?;
    let (span, rest) = field::<8>(rest, 1)?;
    let sampled = field::<1>(rest, 2).map(|([options], _)| options & 1 == 1);
    Context::new(TraceId(trace), SpanId(span), sampled)
}

/// The field of that number, if it is the next, and what comes after it.
fn field<const N: usize>(bytes: &[u8], number: u8) -> Option<([u8; N], &[u8])> {
    let rest = bytes.strip_prefix(&[number])?;
    let (value, rest) = rest.split_first_chunk::<N>()?;
    Some((*value, rest))
}

#[cfg(test)]
mod tests {
    use base64::{Engine as _, prelude::BASE64_STANDARD, prelude::BASE64_STANDARD_NO_PAD};

    use crate::link::context::tests::{context, expected};

    fn bytes() -> Vec<u8> {
        let known = expected("");
        [&[0, 0][..], &known.trace_id.0, &[1], &known.span_id.0, &[2, 1]].concat()
    }

    #[test]
    fn it_is_read_with_padding_and_without() {
        for text in [BASE64_STANDARD.encode(bytes()), BASE64_STANDARD_NO_PAD.encode(bytes())] {
            assert_eq!(context(&[("grpc-trace-bin", &text)]), Some(expected("")), "{text}");
        }
        let with = |change: &dyn Fn(&mut Vec<u8>)| {
            let mut bytes = bytes();
            change(&mut bytes);
            context(&[("grpc-trace-bin", &BASE64_STANDARD.encode(bytes))]).map(|context| context.sampled)
        };
        assert_eq!(with(&|bytes| *bytes.last_mut().unwrap() = 0), Some(Some(false)));
        assert_eq!(with(&|bytes| bytes.truncate(27)), Some(None));
        assert_eq!(with(&|bytes| bytes.extend([9, 9, 9])), Some(Some(true)), "a field of the future");
        assert_eq!(with(&|bytes| bytes[0] = 1), None, "another version");
        assert_eq!(with(&|bytes| bytes.truncate(20)), None);
        assert_eq!(with(&Vec::clear), None);
        assert_eq!(context(&[("grpc-trace-bin", "not base64!")]), None);
    }
}
