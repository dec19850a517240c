//! `SkyWalking`: `sw8`, eight fields between `-`: sampled, trace, segment, span in it, then names of the caller; texts are base64.
//!
//! Its ids are texts of any form, and have no place where 16 and 8 bytes are expected: they are hashed, by all agents alike, and
//! the trace's own text is kept beside it.

use base64::Engine as _;

use super::{Context, Headers, base64_lax, only};
use crate::span::{SpanId, TraceId};

/// Bytes of an id at most; real ones have up to 60.
const ID_MAX: usize = 128;

pub(super) fn context(headers: Headers<'_>) -> Option<Context> {
    let fields: Vec<&str> = only(headers, "sw8")?.splitn(9, '-').collect();
    let [sampled, trace, segment, span, _, _, _, _] = fields[..] else { return None };
    let sampled = match sampled {
        "1" => true,
        "0" => false,
        _ => return None,
    };
    let (trace, segment) = (id(trace)?, id(segment)?);
    let span: u32 = span.parse().ok()?;
    let span_id = fnv1a(format!("{segment} {span}").as_bytes()) as u64;
    let trace_id = TraceId(fnv1a(trace.as_bytes()).to_be_bytes());
    let context = Context::new(trace_id, SpanId(span_id.to_be_bytes()), Some(sampled))?;
    Some(Context { original: Some(trace.into()), ..context })
}

/// An id's text: printable, and not longer than it may be.
fn id(encoded: &str) -> Option<String> {
    let text = String::from_utf8(base64_lax().decode(encoded).ok()?).ok()?;
    let is_sound = (1..=ID_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
    is_sound.then_some(text)
}

/// FNV-1a of 128 bits (RFC 9923): all agents have the same, whatever built them.
fn fnv1a(bytes: &[u8]) -> u128 {
    const BASIS: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    bytes.iter().fold(BASIS, |hash, byte| (hash ^ u128::from(*byte)).wrapping_mul(PRIME))
}

#[cfg(test)]
mod tests {
    use base64::{Engine as _, prelude::BASE64_STANDARD};

    use super::fnv1a;
    use crate::link::context::tests::context;

    fn sw8(sampled: &str, trace: &str, segment: &str, span: &str) -> String {
        let encode = |text: &str| BASE64_STANDARD.encode(text);
        let names = ["shop", "shop@host", "/checkout", "orders:8080"].map(encode).join("-");
        format!("{sampled}-{}-{}-{span}-{names}", encode(trace), encode(segment))
    }

    #[test]
    fn ids_are_hashed_alike_and_the_traces_text_is_kept() {
        let read = |text: &str| context(&[("sw8", text)]);
        let one = read(&sw8("1", "b1fc.42.165123", "b1fc.42.165124", "3")).unwrap();
        assert_eq!(one.original.as_deref(), Some("b1fc.42.165123"));
        assert_eq!(one.trace_id.0, fnv1a(b"b1fc.42.165123").to_be_bytes());
        assert_eq!(one.sampled, Some(true));
        assert_eq!(read(&sw8("1", "b1fc.42.165123", "b1fc.42.165124", "3")), Some(one.clone()));
        let other = read(&sw8("0", "b1fc.42.165123", "b1fc.42.165124", "4")).unwrap();
        assert_eq!((other.trace_id, other.sampled), (one.trace_id, Some(false)));
        assert_ne!(other.span_id, one.span_id);
    }

    #[test]
    fn the_hash_is_that_of_its_definition() {
        // Test vectors of RFC 9923, appendix.
        assert_eq!(fnv1a(b""), 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d);
        assert_eq!(fnv1a(b"a"), 0xd228_cb69_6f1a_8caf_7891_2b70_4e4a_8964);
    }

    #[test]
    fn what_is_not_of_that_form_is_no_context() {
        let good = sw8("1", "t", "s", "0");
        assert!(context(&[("sw8", &good)]).is_some());
        let long = "x".repeat(129);
        for value in [
            sw8("2", "t", "s", "0"),
            sw8("1", "", "s", "0"),
            sw8("1", &long, "s", "0"),
            sw8("1", "a b", "s", "0"),
            sw8("1", "t", "s", "-1"),
            sw8("1", "t", "s", "x"),
            format!("{good}-more"),
            "1-dA==-cw==-0".to_owned(),
            String::new(),
        ] {
            assert_eq!(context(&[("sw8", &value)]), None, "{value}");
        }
    }
}
