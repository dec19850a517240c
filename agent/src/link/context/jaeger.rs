//! Jaeger: `uber-trace-id: {trace}:{span}:{parent}:{flags}`, hexadecimal, leading zeros often left out, sometimes URL-encoded.

use super::{Context, Headers, only, padded};
use crate::span::{SpanId, TraceId};

/// Flags of Jaeger's client libraries.
const SAMPLED: u8 = 1;
const DEBUG: u8 = 2;

pub(super) fn context(headers: Headers<'_>) -> Option<Context> {
    let value = only(headers, "uber-trace-id")?.replace("%3A", ":").replace("%3a", ":");
    let fields: Vec<&str> = value.splitn(5, ':').collect();
    let [trace, span, _, flags] = fields[..] else { return None };
    let [flags] = padded::<1>(flags)?;
    Context::new(TraceId(padded(trace)?), SpanId(padded(span)?), Some(flags & (SAMPLED | DEBUG) != 0))
}

#[cfg(test)]
mod tests {
    use crate::link::context::tests::{SPAN, TRACE, context, expected, sampled};

    #[test]
    fn ids_may_lack_their_zeros_and_be_encoded() {
        for value in
            [format!("{TRACE}:{SPAN}:0:1"), format!("{TRACE}%3A{SPAN}%3a0%3A3"), format!("{TRACE}:f067aa0ba902b7:1:2")]
        {
            assert_eq!(context(&[("uber-trace-id", &value)]), Some(expected("")), "{value}");
        }
        let short = context(&[("uber-trace-id", "a3ce929d0e0e4736:1:0:1")]).unwrap();
        assert_eq!(short.trace_id.to_string(), "0000000000000000a3ce929d0e0e4736");
        assert_eq!(short.span_id.to_string(), "0000000000000001");
        assert_eq!(sampled(&[("uber-trace-id", &format!("{TRACE}:{SPAN}:0:0"))]), Some(false));
    }

    #[test]
    fn what_is_not_of_that_form_is_no_context() {
        let long = format!("1{TRACE}:{SPAN}:0:1");
        let zero = format!("0:{SPAN}:0:1");
        for value in [long.as_str(), &zero, "", ":::", "1:1:0", "1:0:0:1", "1:1:0:", "1:1:0:1:1", "1:é:0:1", "1:+1:0:1"]
        {
            assert_eq!(context(&[("uber-trace-id", value)]), None, "{value}");
        }
    }
}
