//! Routes of requests: the names of endpoints, with the values in their paths left out, so that spans of one endpoint have one
//! name. Given ones ([`Template`]) win; all others are inferred ([`tree`]).
//!
//! A span of a server gets `http.route`, and the name `{method} {route}`. An inferred route is marked by
//! `netspan.route.inferred`. There is no route where there is no path, or only a part of it, and none for a path that nothing
//! but refusals (4xx) were given for: a scanner teaches nothing. Methods of gRPC are names already; they are only counted here,
//! so that a client that makes names up can't make them many.
//!
//! Bounds: [`SERVICES_MAX`], [`tree::PLACES_MAX`] for each, [`PLACES_ALL_MAX`] for all together, [`RPC_MAX`] methods of gRPC for each
//! service. What is beyond is [`OVERFLOW`] (gRPC: `_OTHER`), and counted. It takes no clock: the same spans get the same names.
#![forbid(unsafe_code)]

mod segment;
mod template;
mod tree;

use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};

use self::tree::{Found, Tree};
pub use self::{
    segment::Variable,
    template::{TEMPLATES_MAX, Template, TemplateError},
    tree::{OFTEN, OFTEN_SHARE, PLACES_MAX, SEGMENTS_MAX, WORDS_BESIDE_MAX, WORDS_MAX},
};
use crate::span::{Kind, Span, Text, Value, redact::TARGET_MAX};

/// Services whose routes are remembered; beyond, the one that was silent longest is forgotten.
pub const SERVICES_MAX: usize = 1024;
/// Places in the trees of all services together.
pub const PLACES_ALL_MAX: usize = 32_768;
/// Methods of gRPC of a service.
pub const RPC_MAX: usize = 1024;
/// The route of what finds no place.
pub const OVERFLOW: &str = "/{other}";
/// What stands for a method that has no place (semantic conventions, `http.request.method` and `rpc.method`).
const OTHER: &str = "_OTHER";

/// What became of the spans so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Spans with a route that was given.
    pub given: u64,
    /// Spans with a route that was inferred.
    pub inferred: u64,
    /// Spans of servers that have none.
    pub unknown: u64,
    /// Spans that found no place.
    pub overflow: u64,
    /// Places at which words became values.
    pub closed: u64,
    /// Services that were forgotten.
    pub evicted: u64,
    /// Places in use now.
    pub places: u64,
}

impl Counts {
    /// Each counter with its name.
    pub const fn named(&self) -> [(&'static str, u64); 7] {
        let Self { given, inferred, unknown, overflow, closed, evicted, places } = *self;
        [
            ("given", given),
            ("inferred", inferred),
            ("unknown", unknown),
            ("overflow", overflow),
            ("closed", closed),
            ("evicted", evicted),
            ("places", places),
        ]
    }
}

/// What is known of a service.
#[derive(Debug, Default)]
struct Service {
    tree: Tree,
    methods: FxHashSet<Box<str>>,
    used_ns: u64,
}

/// Names spans. See the [module](self).
#[derive(Debug, Default)]
pub struct Routes {
    templates: Arc<[Template]>,
    services: FxHashMap<String, Service>,
    counts: Counts,
}

/// What of a span's attributes tells its route.
#[derive(Default)]
struct Seen<'a> {
    method: Option<&'a str>,
    path: Option<&'a str>,
    rpc: Option<(usize, &'a str)>,
    status: Option<i64>,
    has_route: bool,
}

enum Named {
    Route { route: Text, is_inferred: bool },
    RpcOverflow(usize),
    Nothing,
}

impl Routes {
    /// Routes of which only these are known; the first that matches a request wins.
    pub fn new(templates: Arc<[Template]>) -> Self {
        Self { templates, ..Self::default() }
    }

    /// Replaces the routes that are given.
    pub fn set_templates(&mut self, templates: Arc<[Template]>) {
        self.templates = templates;
    }

    /// What became of the spans so far.
    pub const fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Gives the span its route and its name, if it has one.
    pub fn name(&mut self, span: &mut Span) {
        let seen = Seen::of(span);
        match self.named(span, &seen) {
            Named::Route { route, is_inferred } => {
                let method = seen.method.filter(|method| *method != OTHER).unwrap_or("HTTP");
                span.name = [method, " ", &route].concat();
                span.attributes.push(("http.route".into(), Value::Text(route)));
                if is_inferred {
                    span.attributes.push(("netspan.route.inferred".into(), Value::Bool(true)));
                }
            }
            Named::RpcOverflow(at) => {
                if let Some((_, value)) = span.attributes.get_mut(at) {
                    let original = std::mem::replace(value, Value::Text(OTHER.into()));
                    span.attributes.push(("rpc.method_original".into(), original));
                }
                "grpc".clone_into(&mut span.name);
            }
            Named::Nothing => {}
        }
    }

    fn named(&mut self, span: &Span, seen: &Seen<'_>) -> Named {
        if let Some((at, method)) = seen.rpc {
            return if self.knows_rpc(span, method) { Named::Nothing } else { Named::RpcOverflow(at) };
        }
        if span.kind != Kind::Server || seen.has_route {
            return Named::Nothing;
        }
        let Some(path) = seen.path.filter(|path| path.starts_with('/') && path.len() < TARGET_MAX) else {
            self.counts.unknown += 1;
            return Named::Nothing;
        };
        let given = self.templates.iter().find_map(|template| template.matches(&span.resource.service, path));
        if let Some(route) = given {
            self.counts.given += 1;
            return Named::Route { route: Arc::clone(route).into(), is_inferred: false };
        }
        let learns = seen.status.is_some_and(|status| !(400..500).contains(&status));
        let room = (PLACES_ALL_MAX as u64).saturating_sub(self.counts.places) as usize;
        let service = self.service(span);
        let before = service.tree.places();
        let found = service.tree.find(path, learns, room);
        let (after, closed) = (service.tree.places(), service.tree.take_closed());
        self.counts.places = (self.counts.places + after as u64).saturating_sub(before as u64);
        self.counts.closed += closed;
        match found {
            Found::Route(route) => {
                self.counts.inferred += 1;
                Named::Route { route: route.into(), is_inferred: true }
            }
            Found::Unknown => {
                self.counts.unknown += 1;
                Named::Nothing
            }
            Found::Full => {
                self.counts.overflow += 1;
                Named::Route { route: OVERFLOW.into(), is_inferred: true }
            }
        }
    }

    /// Whether a method of gRPC has a place among those of its service. One that the server does not know gets none.
    fn knows_rpc(&mut self, span: &Span, method: &str) -> bool {
        let methods = &mut self.service(span).methods;
        let is_known = methods.contains(method) || (methods.len() < RPC_MAX && methods.insert(method.into()));
        self.counts.overflow += u64::from(!is_known);
        is_known
    }

    fn service(&mut self, span: &Span) -> &mut Service {
        let name = &span.resource.service;
        if !self.services.contains_key(name) {
            if self.services.len() >= SERVICES_MAX {
                self.evict();
            }
            self.services.insert(name.clone(), Service::default());
            self.counts.places += 1;
        }
        let service = self.services.get_mut(name).expect("it was put there");
        service.used_ns = service.used_ns.max(span.end_ns);
        service
    }

    fn evict(&mut self) {
        let oldest = self.services.iter().min_by_key(|(name, service)| (service.used_ns, *name));
        let Some(oldest) = oldest.map(|(name, _)| name.clone()) else { return };
        if let Some(gone) = self.services.remove(&oldest) {
            self.counts.places = self.counts.places.saturating_sub(gone.tree.places() as u64);
            self.counts.evicted += 1;
        }
    }
}

impl<'a> Seen<'a> {
    fn of(span: &'a Span) -> Self {
        let mut seen = Self::default();
        for (at, (name, value)) in span.attributes.iter().enumerate() {
            match (name.as_ref(), value) {
                ("http.request.method", Value::Text(text)) => seen.method = Some(text),
                ("url.path", Value::Text(text)) => seen.path = Some(text),
                ("http.response.status_code", Value::Int(code)) => seen.status = Some(*code),
                ("rpc.method", Value::Text(text)) => seen.rpc = Some((at, text)),
                ("http.route", _) => seen.has_route = true,
                _ => {}
            }
        }
        seen
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::span::{Resource, sample};

    fn span(service: &str, method: &'static str, path: &str, status: i64) -> Span {
        Span {
            name: method.to_owned(),
            resource: Arc::new(Resource { service: service.to_owned(), attributes: Vec::new() }),
            attributes: vec![
                ("http.request.method".into(), Value::Text(method.into())),
                ("url.path".into(), Value::Text(path.to_owned().into())),
                ("http.response.status_code".into(), Value::Int(status)),
            ],
            ..sample::server()
        }
    }

    fn named(routes: &mut Routes, mut span: Span) -> (String, Option<String>, bool) {
        routes.name(&mut span);
        let text = |wanted: &str| {
            span.attributes.iter().find_map(|(name, value)| match value {
                Value::Text(text) if name == wanted => Some(text.to_string()),
                _ => None,
            })
        };
        let is_inferred = span.attributes.iter().any(|(name, _)| name == "netspan.route.inferred");
        (span.name.clone(), text("http.route"), is_inferred)
    }

    #[test]
    fn a_server_span_gets_its_route_and_its_name() {
        let mut routes = Routes::default();
        for (span, name, route) in [
            (span("shop", "GET", "/users/7", 200), "GET /users/{id}", Some("/users/{id}")),
            (span("shop", "_OTHER", "/users/7", 200), "HTTP /users/{id}", Some("/users/{id}")),
            (span("shop", "GET", "/users/8", 404), "GET /users/{id}", Some("/users/{id}")),
            (span("shop", "GET", "/.git/config", 404), "GET", None),
            (span("shop", "OPTIONS", "*", 200), "OPTIONS", None),
            (span("shop", "CONNECT", "", 200), "CONNECT", None),
            (span("shop", "GET", &format!("/{}", "a/".repeat(TARGET_MAX / 2)), 200), "GET", None),
            (Span { kind: Kind::Client, ..span("shop", "GET", "/users/7", 200) }, "GET", None),
        ] {
            let path = format!("{:.60?}", span.attributes);
            assert_eq!(
                named(&mut routes, span),
                (name.to_owned(), route.map(str::to_owned), route.is_some()),
                "{path}"
            );
        }
        let counts = *routes.counts();
        assert_eq!((counts.inferred, counts.unknown, counts.overflow), (3, 4, 0));
    }

    #[test]
    fn given_routes_win_and_are_not_marked() {
        let templates: Arc<[Template]> =
            ["cart /api/{version}/items/{sku}", "/health"].map(|text| text.parse().expect(text)).into();
        let mut routes = Routes::new(templates);
        let given = |name: &str, route: &str, is_inferred| (name.to_owned(), Some(route.to_owned()), is_inferred);
        let item = |service| span(service, "GET", "/api/v1/items/7", 500);
        assert_eq!(
            named(&mut routes, item("cart")),
            given("GET /api/{version}/items/{sku}", "/api/{version}/items/{sku}", false)
        );
        assert_eq!(named(&mut routes, item("shop")), given("GET /api/v1/items/{id}", "/api/v1/items/{id}", true));
        assert_eq!(named(&mut routes, span("x", "GET", "/health", 404)), given("GET /health", "/health", false));
        routes.set_templates([].into());
        assert_eq!(named(&mut routes, span("x", "GET", "/health", 404)), ("GET".to_owned(), None, false));
    }

    #[test]
    fn methods_of_grpc_are_bounded() {
        let mut routes = Routes::default();
        let call = |method: String, code: &'static str| Span {
            name: method.clone(),
            attributes: vec![
                ("rpc.method".into(), Value::Text(method.into())),
                ("rpc.response.status_code".into(), Value::Text(code.into())),
                ("url.path".into(), Value::Text("/p.S/M".into())),
            ],
            ..sample::server()
        };
        let mut name = |method: &str, code| {
            let mut span = call(method.to_owned(), code);
            routes.name(&mut span);
            (
                span.name,
                span.attributes.into_iter().filter(|(name, _)| name.starts_with("rpc.method")).collect::<Vec<_>>(),
            )
        };
        let text = |text: &str| Value::Text(text.to_owned().into());
        let other = |method| {
            (
                "grpc".to_owned(),
                vec![("rpc.method".into(), text("_OTHER")), ("rpc.method_original".into(), text(method))],
            )
        };
        // What a service does not have is asked for by a name all the same.
        assert_eq!(name("p.S/Scan", "UNIMPLEMENTED").0, "p.S/Scan");
        for n in 1..RPC_MAX {
            let method = format!("p.S/M{n}");
            assert_eq!(name(&method, "OK").0, method);
        }
        assert_eq!(name("p.S/More", "OK"), other("p.S/More"));
        assert_eq!(name("p.S/M7", "UNIMPLEMENTED").0, "p.S/M7");
    }

    #[test]
    fn services_and_places_are_bounded_together() {
        let mut routes = Routes::default();
        for n in 0..SERVICES_MAX + 10 {
            let mut span = span(&format!("s{n}"), "GET", "/a", 200);
            span.end_ns = n as u64;
            routes.name(&mut span);
        }
        assert_eq!((routes.services.len(), routes.counts().evicted), (SERVICES_MAX, 10));
        assert!(!routes.services.contains_key("s0") && routes.services.contains_key("s10"));
        let word = |n: usize| char::from(b'a' + (n % 26) as u8).to_string() + &"b".repeat(n / 26);
        let all = (0..SERVICES_MAX).flat_map(|service| (0..60).map(move |n| (service, n)));
        for (service, n) in all {
            routes.name(&mut span(&format!("s{service}"), "GET", &format!("/{}", word(n)), 200));
        }
        let counts = routes.counts();
        let sum: usize = routes.services.values().map(|service| service.tree.places()).sum();
        assert_eq!(counts.places, sum as u64);
        assert!(sum <= PLACES_ALL_MAX && counts.overflow > 0, "{counts:?}");
        let mut last = span(&format!("s{}", SERVICES_MAX - 1), "GET", "/never/before", 200);
        routes.name(&mut last);
        assert_eq!(last.name, "GET /{other}");
    }
}
