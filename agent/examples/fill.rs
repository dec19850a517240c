//! Fills a store with the traffic of a made-up shop, for looking at the web UI and for its tests:
//! `cargo run -p netspan --example fill -- DIR [TRACES [MINUTES [BIG]]]`.
//!
//! The same numbers give the same traffic. What there is to find in it:
//! in the second half `pricing` is four times as slow and fails now and then; `cron` asks `payments`, whom only `orders` should
//! ask; `batch` is a noisy neighbour of `catalog`; in the last tenth there is a new way, from `shop` to `reviews`; one path is
//! HTML; `mailer` follows from orders and is waited for by nobody; one trace has BIG spans. It ends with the present.

#![expect(
    clippy::cast_possible_wrap,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "figures that are made up, and small"
)]

use std::{sync::Arc, time::Duration};

use netspan::{
    export::Sink,
    span::{Kind, Link, Method, Resource, Span, SpanId, SpanLink, Status, TraceId, Value},
    store,
};

const SERVICES: [&str; 11] =
    ["nginx", "shop", "catalog", "pricing", "orders", "payments", "mailer", "cron", "batch", "reviews", "big"];
/// A path that would be a script if it were shown as HTML.
const HTML: &str = "/search/<img src=x onerror=\"window.hacked=1\"><script>window.hacked=1</script>";
const MS: u64 = 1_000_000;

/// A number that looks random.
fn mixed(n: u64) -> u64 {
    let n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ (n >> 31)
}

/// A call: who asks whom for what, when, and for how long the callee works.
struct Call<'a> {
    from: &'a str,
    to: &'a str,
    request: (&'a str, String),
    start: u64,
    length: u64,
    is_error: bool,
}

struct Fill {
    sink: Sink,
    resources: Vec<Arc<Resource>>,
    dice: u64,
    trace: TraceId,
    given: u64,
}

impl Fill {
    fn roll(&mut self) -> u64 {
        self.dice += 1;
        mixed(self.dice)
    }

    /// A duration around `typical` with a long tail.
    fn length(&mut self, typical: u64) -> u64 {
        let roll = self.roll();
        let even = (roll % 1000) as f64 / 1000.0;
        let tail = if roll.is_multiple_of(97) { 6.0 } else { 1.0 };
        (typical as f64 * (0.6 + even * even * 1.4) * tail) as u64
    }

    fn id(&mut self) -> SpanId {
        SpanId(self.roll().to_be_bytes())
    }

    fn give(&mut self, span: Span) {
        self.given += 1;
        self.sink.give(Arc::new(span));
    }

    fn span(&mut self, service: &str, kind: Kind, parent: Option<(SpanId, Method, f64)>, call: &Call<'_>) -> Span {
        let at = SERVICES.iter().position(|name| *name == service).unwrap_or(0);
        let (method, path) = (call.request.0, &call.request.1);
        let text = |text: &str| Value::Text(text.to_owned().into());
        let number = |ns: u64| Value::Int(ns.cast_signed());
        let port = 8000 + SERVICES.iter().position(|name| *name == call.to).unwrap_or(0);
        let mut attributes = vec![
            ("http.request.method".into(), text(method)),
            ("http.response.status_code".into(), Value::Int(if call.is_error { 503 } else { 200 })),
            ("server.port".into(), Value::Int(port as i64)),
            ("network.protocol.version".into(), text("1.1")),
            ("http.response.body.size".into(), number(200 + self.roll() % 9000)),
            ("user_agent.original".into(), text(if kind == Kind::Server { call.from } else { "netspan-fill" })),
        ];
        let length = call.length;
        match kind {
            Kind::Client => attributes.extend([
                ("url.full".into(), text(&format!("http://{}{path}", call.to))),
                ("server.address".into(), text(call.to)),
                ("netspan.time.send".into(), number(length / 50)),
                ("netspan.time.wait".into(), number(length * 9 / 10)),
                ("netspan.time.receive".into(), number(length / 20)),
            ]),
            Kind::Server => attributes.extend([
                ("url.path".into(), text(path)),
                ("client.address".into(), text(&format!("10.0.0.{at}"))),
                ("netspan.time.queue_wait".into(), number(length / 25)),
                ("netspan.time.receive".into(), number(length / 100)),
                ("netspan.time.app".into(), number(length * 2 / 3)),
                ("netspan.time.send".into(), number(length / 30)),
            ]),
        }
        let link = parent.map(|(_, method, confidence)| Link { method, confidence });
        Span {
            trace_id: self.trace,
            span_id: self.id(),
            parent: parent.map(|(id, ..)| id),
            parent_is_remote: false,
            trace_state: String::new(),
            kind,
            name: method.to_owned(),
            start_ns: call.start,
            end_ns: call.start + length,
            status: if call.is_error { Status::Error } else { Status::Unset },
            resource: Arc::clone(&self.resources[at]),
            pid: 4000 + at as u32,
            tid: 4000 + at as u32,
            incomplete: None,
            link,
            links: Vec::new(),
            attributes,
        }
    }

    /// Both ends of a call; gives the callee's.
    fn call(&mut self, parent: Option<(SpanId, Method, f64)>, call: Call<'_>) -> SpanId {
        let network = 40_000 + self.roll() % 200_000;
        let client = self.span(call.from, Kind::Client, parent, &call);
        let id = client.span_id;
        let inner =
            Call { start: call.start + network, length: call.length.saturating_sub(2 * network).max(1000), ..call };
        let mut server = self.span(inner.to, Kind::Server, Some((id, Method::Socket, 1.0)), &inner);
        let callee = server.span_id;
        if self.roll().is_multiple_of(500) {
            server.incomplete = Some("reset");
        }
        self.give(client);
        self.give(server);
        callee
    }

    /// The n-th visit of the shop. `age` is 0 at the beginning and 1 at the end.
    fn visit(&mut self, n: u64, start: u64, age: f64) {
        let roll = self.roll();
        let item = roll % 5000;
        let is_slow = age > 0.5;
        let pricing_fails = is_slow && self.roll().is_multiple_of(12);
        let catalog = self.length(4 * MS);
        let pricing = self.length(if is_slow { 12 * MS } else { 3 * MS });
        let buys = roll.is_multiple_of(4);
        let orders = if buys { self.length(18 * MS) } else { 0 };
        let reviews = if age > 0.9 && roll.is_multiple_of(3) { self.length(6 * MS) } else { 0 };
        let calls = catalog.max(pricing) + orders + reviews;
        let path = if n % 1000 == 500 {
            HTML.to_owned()
        } else if buys {
            format!("/checkout/{item}")
        } else {
            format!("/items/{item}")
        };
        let whole = calls + 3 * MS;
        let request = |method, path: &str| (method, path.to_owned());
        let root_call = Call {
            from: "192.0.2.9",
            to: "nginx",
            request: request("GET", &path),
            start,
            length: whole + MS,
            is_error: pricing_fails,
        };
        let root = self.span("nginx", Kind::Server, None, &root_call);
        let root_id = root.span_id;
        self.give(root);
        let turn = Some((root_id, Method::Turn, 0.97));
        let shop =
            self.call(turn, Call { from: "nginx", to: "shop", start: start + MS / 2, length: whole, ..root_call });
        let begun = start + 3 * MS / 2;
        let thread = Some((shop, Method::Thread, 1.0));
        self.call(
            thread,
            Call {
                from: "shop",
                to: "catalog",
                request: request("GET", &format!("/items/{item}")),
                start: begun,
                length: catalog,
                is_error: false,
            },
        );
        let inferred = Some((shop, Method::Inferred, 0.95 + (roll % 50) as f64 / 1000.0));
        self.call(
            inferred,
            Call {
                from: "shop",
                to: "pricing",
                request: request("GET", &format!("/price/{item}")),
                start: begun + MS / 10,
                length: pricing,
                is_error: pricing_fails,
            },
        );
        let begun = begun + catalog.max(pricing) + MS / 5;
        if buys {
            self.order(shop, begun, orders, item);
        }
        if reviews > 0 {
            self.call(
                thread,
                Call {
                    from: "shop",
                    to: "reviews",
                    request: request("GET", &format!("/reviews/{item}")),
                    start: begun + orders,
                    length: reviews,
                    is_error: false,
                },
            );
        }
    }

    fn order(&mut self, shop: SpanId, start: u64, length: u64, item: u64) {
        let request = |method, path: String| (method, path);
        let by = |id| Some((id, Method::Exclusive, 0.96));
        let order = self.call(
            by(shop),
            Call {
                from: "shop",
                to: "orders",
                request: request("POST", "/orders".into()),
                start,
                length,
                is_error: false,
            },
        );
        let pay = (length * 7 / 10).max(1000);
        self.call(
            by(order),
            Call {
                from: "orders",
                to: "payments",
                request: request("POST", format!("/charge/{item}")),
                start: start + length / 10,
                length: pay,
                is_error: false,
            },
        );
        let mail_call = Call {
            from: "orders",
            to: "mailer",
            request: request("POST", "/mail".into()),
            start: start + length,
            length: 40 * MS,
            is_error: false,
        };
        let mut mail = self.span("mailer", Kind::Server, None, &mail_call);
        mail.links.push(SpanLink {
            trace_id: self.trace,
            span_id: order,
            attributes: vec![
                ("netspan.link.method".into(), Value::Text("inferred".into())),
                ("netspan.link.confidence".into(), Value::Float(0.83)),
            ],
        });
        self.give(mail);
    }

    /// One trace of many spans.
    fn big(&mut self, start: u64, spans: u64) {
        let call = |at: u64, length| Call {
            from: "big",
            to: "big",
            request: ("GET", format!("/part/{at}")),
            start: start + at * MS / 10,
            length,
            is_error: at % 700 == 699,
        };
        let root = self.span("big", Kind::Server, None, &call(0, spans * MS / 10 + 50 * MS));
        let mut parents = vec![root.span_id];
        self.give(root);
        for at in 1..spans {
            let depth = mixed(at) as usize % parents.len().min(12);
            let parent = parents[parents.len() - 1 - depth];
            let span = self.span(
                "big",
                if at % 2 == 0 { Kind::Server } else { Kind::Client },
                Some((parent, Method::Thread, 1.0)),
                &call(at, 5 * MS),
            );
            if at % 8 == 0 {
                parents.push(span.span_id);
            }
            self.give(span);
        }
    }
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let dir = arguments.next().expect("a directory");
    let mut number = |default| arguments.next().map_or(default, |text| text.parse().expect("a number"));
    let (traces, minutes, big): (u64, u64, u64) = (number(2000), number(30), number(10_000));
    let config = store::Config { dir: dir.into(), bytes: 8 << 30, age: Duration::from_hours(48) };
    let store = store::start(config).expect("a thread");
    let resource = |(n, name): (usize, &&str)| {
        let text = |text: String| Value::Text(text.into());
        let attributes = vec![
            ("process.executable.name".into(), text((*name).to_owned())),
            ("process.pid".into(), Value::Int(4000 + n as i64)),
            ("container.id".into(), text(format!("{:064x}", mixed(n as u64 + 1)))),
            ("host.name".into(), text("host".into())),
        ];
        Arc::new(Resource { service: (*name).to_owned(), attributes })
    };
    let resources = SERVICES.iter().enumerate().map(resource).collect();
    let mut fill = Fill { sink: store.sink(), resources, dice: 1, trace: TraceId([0; 16]), given: 0 };
    let span_ns = minutes * 60_000 * MS;
    let from_ns = store::unix_ns() - span_ns;
    for n in 0..traces {
        fill.trace = TraceId((u128::from(mixed(n + 7)) << 64 | u128::from(mixed(n + 1))).to_be_bytes());
        let start = from_ns + span_ns / traces.max(1) * n;
        fill.visit(n, start, n as f64 / traces as f64);
        fill.trace.0[0] ^= 0xff;
        if n % 5 == 4 {
            let length = fill.length(9 * MS);
            let request = ("GET", format!("/export/{n}"));
            fill.call(None, Call { from: "batch", to: "catalog", request, start, length, is_error: false });
        }
        if n % 200 == 150 {
            let request = ("POST", "/charge/0".to_owned());
            fill.trace.0[1] ^= 0xff;
            fill.call(None, Call { from: "cron", to: "payments", request, start, length: 3 * MS, is_error: true });
        }
    }
    if big > 0 {
        fill.trace = TraceId([0xbb; 16]);
        fill.big(from_ns + span_ns / 2, big);
    }
    assert!(store.flush(Duration::from_mins(2)), "the store takes too long");
    let stats = store.shutdown();
    println!("stored {} of {} spans", stats.stored, fill.given);
    assert_eq!(stats.stored, fill.given);
}
