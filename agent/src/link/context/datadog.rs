//! Datadog: `x-datadog-trace-id` and `x-datadog-parent-id`, decimal; `x-datadog-sampling-priority`; the high half of a long trace
//! id is `_dd.p.tid` among `x-datadog-tags`.

use super::{Context, Headers, decimal, hex, only};
use crate::span::{SpanId, TraceId};

pub(super) fn context(headers: Headers<'_>) -> Option<Context> {
    let low = decimal(only(headers, "x-datadog-trace-id")?)?;
    let span = decimal(only(headers, "x-datadog-parent-id")?)?;
    let mut trace = [0; 16];
    trace[8..].copy_from_slice(&low.to_be_bytes());
    let tags = only(headers, "x-datadog-tags").unwrap_or_default();
    if let Some(high) = tags.split(',').find_map(|tag| hex::<8>(tag.trim().strip_prefix("_dd.p.tid=")?)) {
        trace[..8].copy_from_slice(&high);
    }
    // -1 and 0: the user or the tracer drops it; 1 and 2: the tracer or the user keeps it.
    let sampled = only(headers, "x-datadog-sampling-priority").and_then(|text| text.parse::<i8>().ok());
    // The low half alone is the id where Datadog's own tools look: nothing without it.
    if low == 0 {
        return None;
    }
    Context::new(TraceId(trace), SpanId(span.to_be_bytes()), sampled.map(|priority| priority > 0))
}

#[cfg(test)]
mod tests {
    use crate::link::context::tests::{SPAN, TRACE, context, expected, sampled};

    fn decimal(hex: &str) -> String {
        u64::from_str_radix(hex, 16).unwrap().to_string()
    }

    #[test]
    fn the_high_half_is_among_the_tags() {
        let (trace, span) = (decimal(&TRACE[16..]), decimal(SPAN));
        let tags = format!("_dd.p.dm=-1,_dd.p.tid={}", &TRACE[..16]);
        let ids = [("x-datadog-trace-id", trace.as_str()), ("x-datadog-parent-id", &span)];
        let rest = [("x-datadog-tags", tags.as_str()), ("x-datadog-sampling-priority", "2")];
        assert_eq!(context(&[&ids[..], &rest].concat()), Some(expected("")));
        assert_eq!(context(&ids).unwrap().trace_id.to_string(), format!("{:0>32}", &TRACE[16..]));
        let broken = [("x-datadog-tags", "_dd.p.tid=xyz")];
        assert_eq!(context(&[&ids[..], &broken].concat()), context(&ids), "the low half is enough");
        for (priority, is) in [("-1", Some(false)), ("0", Some(false)), ("1", Some(true)), ("x", None)] {
            let rest = [("x-datadog-sampling-priority", priority)];
            assert_eq!(sampled(&[&ids[..], &rest].concat()), is, "{priority}");
        }
    }

    #[test]
    fn what_is_no_decimal_number_is_no_context() {
        for (trace, span) in
            [("0", "1"), ("1", "0"), ("", "1"), ("1", ""), ("-1", "1"), ("1", "18446744073709551616"), ("ff", "1")]
        {
            assert_eq!(
                context(&[("x-datadog-trace-id", trace), ("x-datadog-parent-id", span)]),
                None,
                "{trace} {span}"
            );
        }
    }
}
