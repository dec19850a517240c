//! `OpenTracing`'s basic tracers, as of Lightstep: `ot-tracer-traceid` (16 or 32 hex), `ot-tracer-spanid`, `ot-tracer-sampled`.

use super::{Context, Headers, hex, only, trace_of_either_length};
use crate::span::SpanId;

pub(super) fn context(headers: Headers<'_>) -> Option<Context> {
    let trace = trace_of_either_length(only(headers, "ot-tracer-traceid")?)?;
    let span = SpanId(hex(only(headers, "ot-tracer-spanid")?)?);
    let sampled = match only(headers, "ot-tracer-sampled") {
        Some("true") => Some(true),
        Some("false") => Some(false),
        _ => None,
    };
    Context::new(trace, span, sampled)
}

#[cfg(test)]
mod tests {
    use crate::link::context::tests::{SPAN, TRACE, context, expected, sampled};

    #[test]
    fn three_headers_are_one_context() {
        let ids = [("ot-tracer-traceid", TRACE), ("ot-tracer-spanid", SPAN)];
        assert_eq!(context(&[&ids[..], &[("ot-tracer-sampled", "true")]].concat()), Some(expected("")));
        assert_eq!(sampled(&[&ids[..], &[("ot-tracer-sampled", "false")]].concat()), Some(false));
        assert_eq!(sampled(&ids), None);
        let short = context(&[("ot-tracer-traceid", &TRACE[16..]), ids[1]]).unwrap();
        assert_eq!(short.trace_id.0[..8], [0; 8]);
        assert_eq!(context(&ids[..1]), None);
        assert_eq!(context(&[("ot-tracer-traceid", "1"), ids[1]]), None);
    }
}
