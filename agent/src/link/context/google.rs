//! Google Cloud: `X-Cloud-Trace-Context: {32 hex}[/{span, decimal}][;o={options}]`, whose lowest option is "sampled". Without a
//! span it names no caller.

use super::{Context, Headers, decimal, hex, only};
use crate::span::{SpanId, TraceId};

pub(super) fn context(headers: Headers<'_>) -> Option<Context> {
    let value = only(headers, "x-cloud-trace-context")?;
    let (ids, options) = value.split_once(';').map_or((value, None), |(ids, options)| (ids, Some(options)));
    let (trace, span) = ids.split_once('/')?;
    let options = options.and_then(|options| decimal(options.trim().strip_prefix("o=")?));
    let span = SpanId(decimal(span)?.to_be_bytes());
    Context::new(TraceId(hex(trace)?), span, options.map(|options| options & 1 == 1))
}

#[cfg(test)]
mod tests {
    use crate::link::context::tests::{SPAN, TRACE, context, expected, sampled};

    #[test]
    fn the_span_is_decimal_and_the_options_may_be_missing() {
        let span = u64::from_str_radix(SPAN, 16).unwrap();
        assert_eq!(context(&[("x-cloud-trace-context", &format!("{TRACE}/{span};o=1"))]), Some(expected("")));
        for (options, is) in [(";o=0", Some(false)), (";o=3", Some(true)), ("", None), (";o=x", None), (";", None)] {
            assert_eq!(sampled(&[("x-cloud-trace-context", &format!("{TRACE}/{span}{options}"))]), is, "{options}");
        }
    }

    #[test]
    fn without_a_span_there_is_no_caller() {
        for rest in ["", ";o=1", "/0;o=1", "/", "/-1", "/+1", "/99999999999999999999", "/1/2"] {
            assert_eq!(context(&[("x-cloud-trace-context", &format!("{TRACE}{rest}"))]), None, "{rest}");
        }
    }
}
