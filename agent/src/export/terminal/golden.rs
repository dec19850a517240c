//! Golden files, and the spans that they show. `NETSPAN_BLESS=1 cargo test` writes the files anew; look at them then.

use std::{fs, path::Path, sync::Arc};

use crate::span::{Kind, Link, Method, Resource, Span, SpanId, SpanLink, Status, TraceId, Value};

/// 2025-01-01 12:03:04.512 UTC
pub const START_NS: u64 = 1_735_732_984_512_000_000;

/// Compares `text` with the golden file of this name.
pub fn check(name: &str, text: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/export/terminal/goldens").join(name);
    if std::env::var_os("NETSPAN_BLESS").is_some() {
        fs::write(&file, text).expect("the golden file is writable");
    }
    let golden = fs::read_to_string(&file).unwrap_or_default();
    assert!(golden == text, "{name} is now:\n{text}\nit was:\n{golden}\nif that is right: NETSPAN_BLESS=1 cargo test");
}

/// A span of the sample trace: times in microseconds since [`START_NS`].
pub fn span(id: u64, parent: u64, kind: Kind, service: &str, from_us: u64, to_us: u64) -> Span {
    let pid = 4000 + service.bytes().map(u32::from).sum::<u32>();
    Span {
        trace_id: TraceId(0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736_u128.to_be_bytes()),
        span_id: SpanId(id.to_be_bytes()),
        parent: (parent != 0).then_some(SpanId(parent.to_be_bytes())),
        parent_is_remote: false,
        trace_state: String::new(),
        kind,
        name: "GET".to_owned(),
        start_ns: START_NS + from_us * 1000,
        end_ns: START_NS + to_us * 1000,
        status: Status::Unset,
        resource: Arc::new(Resource { service: service.to_owned(), attributes: Vec::new() }),
        pid,
        tid: pid,
        incomplete: None,
        link: None,
        links: Vec::new(),
        attributes: Vec::new(),
    }
}

/// The span with a request and its answer.
pub fn http(mut span: Span, path: &str, status: i64, peer: (&'static str, i64)) -> Span {
    let text = |text: &str| Value::Text(text.to_owned().into());
    span.attributes =
        vec![("http.request.method".into(), text("GET")), ("http.response.status_code".into(), Value::Int(status))];
    let (address, port) = match span.kind {
        Kind::Server => {
            span.attributes.push(("url.path".into(), text(path)));
            ("network.peer.address", "network.peer.port")
        }
        Kind::Client => {
            span.attributes.push(("url.full".into(), text(&format!("http://{}:{}{path}", peer.0, peer.1))));
            ("server.address", "server.port")
        }
    };
    span.attributes.extend([(address.into(), text(peer.0)), (port.into(), Value::Int(peer.1))]);
    let bad = if span.kind == Kind::Server { 500 } else { 400 };
    span.status = if status >= bad { Status::Error } else { Status::Unset };
    span
}

/// The span with the method of its link.
pub fn by(span: Span, method: Method, confidence: f64) -> Span {
    Span { link: Some(Link { method, confidence }), parent_is_remote: method == Method::Header, ..span }
}

/// A trace of the shop, in the order in which its spans finish: nginx, flask, node and axum, with one error.
pub fn shop() -> Vec<Span> {
    use Kind::{Client, Server};
    use Method::{Socket, Thread};
    vec![
        by(http(span(5, 4, Server, "prices-node", 9_400, 16_900), "/price/42", 200, ("127.0.0.1", 40112)), Socket, 1.0),
        by(http(span(4, 3, Client, "shop", 9_100, 17_300), "/price/42", 200, ("127.0.0.1", 3000)), Thread, 1.0),
        by(
            http(span(8, 7, Client, "stock-axum", 20_300, 41_700), "/rows?id=*", 200, ("db.internal", 5433)),
            Method::Exclusive,
            0.971,
        ),
        by(http(span(7, 6, Server, "stock-axum", 19_900, 42_600), "/stock/42", 503, ("127.0.0.1", 40118)), Socket, 1.0),
        by(http(span(6, 3, Client, "shop", 19_600, 42_900), "/stock/42", 503, ("127.0.0.1", 4000)), Thread, 1.0),
        by(http(span(3, 2, Server, "shop", 1_300, 51_200), "/cart/42", 200, ("127.0.0.1", 51234)), Socket, 1.0),
        by(http(span(2, 1, Client, "nginx", 800, 51_700), "/cart/42", 200, ("127.0.0.1", 5000)), Thread, 1.0),
        http(span(1, 0, Server, "nginx", 0, 52_400), "/cart/42", 200, ("10.1.2.3", 51822)),
    ]
}

/// Spans that are hard to print, each a root.
pub fn oddities() -> Vec<Span> {
    use Kind::{Client, Server};
    let long = "/a/rather/long/path/with/many/segments/and/then/some/more/of/them/until/it/does/not/fit?q=*";
    let mut unix = http(span(22, 0, Server, "gunicorn-on-a-unix-socket", 100, 1_634_100), "/x", 404, ("", 0));
    unix.attributes.truncate(3);
    unix.attributes.push(("network.transport".into(), Value::Text("unix".into())));
    vec![
        http(span(21, 0, Client, "curl", 5, 5), long, 301, ("2001:db8:1:2:3:4:5:6", 8080)),
        unix,
        Span {
            incomplete: Some("head_too_long"),
            ..http(span(23, 0, Client, "curl", 0, 61_000_000), long, 500, ("h", 80))
        },
        Span { incomplete: Some("reset"), name: "GET\x1b[2J".to_owned(), ..span(24, 0, Client, "", 0, 1) },
        http(
            span(25, 0, Server, "製品サービス", 0, 999),
            "/商品/四十二/とても長い名前の商品の詳細ページ",
            200,
            ("10.0.0.1", 1),
        ),
        http(span(26, 0, Server, "evil\x1b]0;pwned\x07", 0, 999), "/\u{202e}txt.exe", 200, ("10.0.0.1", 1)),
    ]
}

/// A reference from a span to another one, as a weak link leaves it.
pub fn reference(to: SpanId, trace_id: TraceId, method: &'static str, confidence: f64) -> SpanLink {
    SpanLink {
        trace_id,
        span_id: to,
        attributes: vec![
            ("netspan.link.method".into(), Value::Text(method.into())),
            ("netspan.link.confidence".into(), Value::Float(confidence)),
        ],
    }
}

/// A trace with all that can be odd about one.
pub fn odd_trace() -> Vec<Span> {
    use Kind::{Client, Server};
    let root = by(http(span(31, 900, Server, "front", 0, 9_000), "/pay", 502, ("10.9.8.7", 4711)), Method::Header, 1.0);
    let mut call = http(span(32, 31, Client, "front", 1_000, 8_000), "/charge", 0, ("bank.example", 443));
    call.attributes.remove(1);
    let mut call = Span { incomplete: Some("reset"), status: Status::Error, ..by(call, Method::Thread, 1.0) };
    call.attributes.push(("netspan.time.connect".into(), Value::Int(5_400_000)));
    let background =
        by(http(span(33, 31, Client, "front", 8_500, 30_000), "/audit", 202, ("audit", 80)), Method::Thread, 1.0);
    let mut maybe = http(span(34, 901, Server, "worker", 12_000, 13_000), "/jobs/1", 200, ("127.0.0.1", 40000));
    maybe.links = vec![
        reference(SpanId(31_u64.to_be_bytes()), maybe.trace_id, "exclusive", 0.834),
        reference(SpanId([9; 8]), TraceId([7; 16]), "thread", 1.0),
    ];
    vec![call, root, background, maybe]
}

/// Numbers that look random and are the same for the same seed (xorshift64*).
pub struct Random(u64);

impl Random {
    /// From any seed.
    pub const fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number below `bound`, which is not 0.
    pub const fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % bound
    }
}
