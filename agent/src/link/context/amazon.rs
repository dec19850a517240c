//! AWS X-Ray: `X-Amzn-Trace-Id: Root=1-{8 hex}-{24 hex};Parent={16 hex};Sampled={0, 1 or ?}`, in any order and among other
//! fields. A load balancer that only begins a trace names no parent.

use super::{Context, Headers, hex, only};
use crate::span::{SpanId, TraceId};

pub(super) fn context(headers: Headers<'_>) -> Option<Context> {
    let value = only(headers, "x-amzn-trace-id")?;
    let (mut root, mut parent, mut sampled) = (None, None, None);
    for (key, value) in value.split(';').filter_map(|field| field.split_once('=')) {
        match key.trim() {
            "Root" => root = Some(value.trim()),
            "Parent" => parent = Some(value.trim()),
            "Sampled" => sampled = Some(value.trim()),
            _ => {}
        }
    }
    let (seconds, unique) = root?.strip_prefix("1-")?.split_once('-')?;
    let mut trace = [0; 16];
    trace[..4].copy_from_slice(&hex::<4>(seconds)?);
    trace[4..].copy_from_slice(&hex::<12>(unique)?);
    let sampled = match sampled {
        Some("1") => Some(true),
        Some("0") => Some(false),
        _ => None,
    };
    Context::new(TraceId(trace), SpanId(hex(parent?)?), sampled)
}

#[cfg(test)]
mod tests {
    use crate::link::context::tests::{SPAN, TRACE, context, expected, sampled};

    #[test]
    fn fields_come_in_any_order_among_others() {
        let root = format!("Root=1-{}-{}", &TRACE[..8], &TRACE[8..]);
        for value in [
            format!("{root};Parent={SPAN};Sampled=1"),
            format!("Sampled=1; Lineage=1:2|3:4 ;Parent={SPAN}; {root}"),
            format!("Self=1-1-1;{root};Parent={SPAN};Sampled=1;Odd"),
        ] {
            assert_eq!(context(&[("x-amzn-trace-id", &value)]), Some(expected("")), "{value}");
        }
        for (last, is) in [(";Sampled=0", Some(false)), (";Sampled=?", None), ("", None)] {
            assert_eq!(sampled(&[("x-amzn-trace-id", &format!("{root};Parent={SPAN}{last}"))]), is);
        }
        assert_eq!(context(&[("x-amzn-trace-id", &root)]), None, "no parent");
    }

    #[test]
    fn what_is_not_of_that_form_is_no_context() {
        for root in ["", "1-0-0", "2-4bf92f35-77b34da6a3ce929d0e0e4736", "1-4bf92f3577b34da6a3ce929d0e0e4736"] {
            assert_eq!(
                context(&[("x-amzn-trace-id", &format!("Root={root};Parent={SPAN};Sampled=1"))]),
                None,
                "{root}"
            );
        }
    }
}
