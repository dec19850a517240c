//! Spans for the tests of other modules.

use std::sync::Arc;

use super::{Kind, Link, Method, Resource, Span, SpanId, SpanLink, Status, TraceId, Value};

/// A server span with something in every field.
pub fn server() -> Span {
    Span {
        trace_id: TraceId(0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736_u128.to_be_bytes()),
        span_id: SpanId(0x00f0_67aa_0ba9_02b7_u64.to_be_bytes()),
        parent: Some(SpanId(0xb7ad_6b71_6920_3331_u64.to_be_bytes())),
        parent_is_remote: false,
        trace_state: "congo=t61rcWkgMzE".to_owned(),
        kind: Kind::Server,
        name: "GET".to_owned(),
        start_ns: 1_735_689_600_123_456_789,
        end_ns: 1_735_689_600_135_856_789,
        status: Status::Error,
        resource: Arc::new(Resource {
            service: "shop".to_owned(),
            attributes: vec![
                ("process.pid".into(), Value::Int(4711)),
                ("process.executable.name".into(), Value::Text("python3".into())),
            ],
        }),
        pid: 4711,
        tid: 4712,
        incomplete: Some("reset"),
        link: Some(Link { method: Method::Socket, confidence: 1.0 }),
        links: vec![SpanLink {
            trace_id: TraceId(0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c_u128.to_be_bytes()),
            span_id: SpanId(0xb7ad_6b71_6920_3331_u64.to_be_bytes()),
            attributes: vec![
                ("netspan.link.method".into(), Value::Text("exclusive".into())),
                ("netspan.link.confidence".into(), Value::Float(0.83)),
            ],
        }],
        attributes: vec![
            ("http.request.method".into(), Value::Text("GET".into())),
            ("http.response.status_code".into(), Value::Int(503)),
            ("url.path".into(), Value::Text("/a\"b".into())),
            ("netspan.truth".into(), Value::Bool(true)),
            ("http.request.header.accept".into(), Value::List(vec!["a".to_owned(), "b".to_owned()])),
        ],
    }
}

/// A span with nothing that may be absent.
pub fn root() -> Span {
    Span {
        parent: None,
        trace_state: String::new(),
        kind: Kind::Client,
        status: Status::Unset,
        incomplete: None,
        link: None,
        links: Vec::new(),
        attributes: Vec::new(),
        ..server()
    }
}
