//! The table of all options: the only list of them.

use super::{Options, Origin, options::switch, sampling};
use crate::control::{Dimension, StatusRange, parse_duration};

/// How often an option's value can be given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Once.
    One,
    /// Any number of times.
    List,
    /// A flag without a value; true or false elsewhere.
    Switch,
}

/// An option: its names, and how a value of it is checked and taken.
#[derive(Debug)]
pub struct Spec {
    /// Its key in the file, with the tables it stands in.
    pub key: &'static str,
    /// Its flag, without dashes.
    pub flag: &'static str,
    /// How often it can be given.
    pub shape: Shape,
    /// Takes a value; an error says what is wrong with it and what to give.
    pub(super) set: Set,
}

impl Spec {
    /// Its variable: `NETSPAN_` and the key in capitals.
    pub fn variable(&self) -> String {
        format!("NETSPAN_{}", self.key.to_ascii_uppercase().replace('.', "_"))
    }

    /// The option with a key.
    pub fn by_key(key: &str) -> Option<&'static Self> {
        Self::ALL.iter().find(|spec| spec.key == key)
    }

    /// The option with a flag.
    pub fn by_flag(flag: &str) -> Option<&'static Self> {
        Self::ALL.iter().find(|spec| spec.flag == flag)
    }

    /// All options.
    pub const ALL: &[Self] = &[
        list("filter.pid", "pid", |options, text, _| text_of(options.filter.include.add(Dimension::Pid, text))),
        list("filter.comm", "comm", |options, text, _| text_of(options.filter.include.add(Dimension::Comm, text))),
        list("filter.exe", "exe", |options, text, _| text_of(options.filter.include.add(Dimension::Exe, text))),
        list("filter.cgroup", "cgroup", |options, text, _| {
            text_of(options.filter.include.add(Dimension::Cgroup, text))
        }),
        list("filter.container", "container", |options, text, _| {
            text_of(options.filter.include.add(Dimension::Container, text))
        }),
        list("filter.port", "port", |options, text, _| text_of(options.filter.include.add(Dimension::Port, text))),
        list("filter.local_port", "local-port", |options, text, _| {
            text_of(options.filter.include.add(Dimension::LocalPort, text))
        }),
        list("filter.remote_port", "remote-port", |options, text, _| {
            text_of(options.filter.include.add(Dimension::RemotePort, text))
        }),
        list("filter.exclude.pid", "exclude-pid", |options, text, _| {
            text_of(options.filter.exclude.add(Dimension::Pid, text))
        }),
        list("filter.exclude.comm", "exclude-comm", |options, text, _| {
            text_of(options.filter.exclude.add(Dimension::Comm, text))
        }),
        list("filter.exclude.exe", "exclude-exe", |options, text, _| {
            text_of(options.filter.exclude.add(Dimension::Exe, text))
        }),
        list("filter.exclude.cgroup", "exclude-cgroup", |options, text, _| {
            text_of(options.filter.exclude.add(Dimension::Cgroup, text))
        }),
        list("filter.exclude.container", "exclude-container", |options, text, _| {
            text_of(options.filter.exclude.add(Dimension::Container, text))
        }),
        list("filter.exclude.port", "exclude-port", |options, text, _| {
            text_of(options.filter.exclude.add(Dimension::Port, text))
        }),
        list("filter.exclude.local_port", "exclude-local-port", |options, text, _| {
            text_of(options.filter.exclude.add(Dimension::LocalPort, text))
        }),
        list("filter.exclude.remote_port", "exclude-remote-port", |options, text, _| {
            text_of(options.filter.exclude.add(Dimension::RemotePort, text))
        }),
        one("capture.family", "family", |options, text, _| options.capture.set_family(text)),
        one("capture.hook", "hook", |options, text, _| options.capture.set_hook(text)),
        one("capture.ring_size", "ring-size", |options, text, _| options.capture.set_ring_bytes(text)),
        one("capture.goroutines", "goroutines", |options, text, _| options.capture.set_goroutines(text)),
        one("capture.propagate", "propagate", |options, text, _| options.capture.set_propagate(text)),
        one("capture.nice", "nice", |options, text, _| options.capture.set_nice(text)),
        one("capture.connections", "connections", |options, text, _| options.capture.set_connections(text)),
        Spec {
            key: "capture.keep_capabilities",
            flag: "keep-capabilities",
            shape: Shape::Switch,
            set: |options, text, _| switch(text).map(|keep| options.capture.keep_capabilities = keep),
        },
        Spec {
            key: "redact.keep_query",
            flag: "keep-query",
            shape: Shape::Switch,
            set: |options, text, _| switch(text).map(|keep| options.keep_query = keep),
        },
        list("redact.header", "header", |options, text, _| options.add_header(text)),
        one("link.min_confidence", "min-confidence", |options, text, _| options.set_min_confidence(text)),
        list("service.rule", "service-rule", |options, text, _| {
            text_of(text.parse().map(|rule| options.services.push(rule)))
        }),
        one("kubernetes.metadata", "kubernetes", |options, text, _| options.kubernetes.set_mode(text)),
        one("kubernetes.node", "node-name", |options, text, _| options.kubernetes.set_node(text)),
        list("kubernetes.label", "kubernetes-label", |options, text, _| options.kubernetes.add_label(text)),
        Spec {
            key: "kubernetes.well_known_labels",
            flag: "kubernetes-well-known-labels",
            shape: Shape::Switch,
            set: |options, text, _| switch(text).map(|count| options.kubernetes.wanted.well_known = count),
        },
        list("route.template", "route", |options, text, _| options.add_template(text)),
        one("sampling.ratio", "sample", |options, text, _| sampling::set_ratio(&mut options.sampling, text)),
        one("sampling.incoming", "sample-incoming", |options, text, _| {
            sampling::set_incoming(&mut options.sampling, text)
        }),
        one("sampling.errors", "sample-errors", |options, text, _| sampling::set_errors(&mut options.sampling, text)),
        one("sampling.slow", "sample-slow", |options, text, _| sampling::set_slow(&mut options.sampling, text)),
        one("sampling.slow_factor", "sample-slow-factor", |options, text, _| {
            sampling::set_slow_factor(&mut options.sampling, text)
        }),
        one("sampling.rare", "sample-rare", |options, text, _| sampling::set_rare(&mut options.sampling, text)),
        one("sampling.cap", "sample-cap", |options, text, _| sampling::set_cap(&mut options.sampling, text)),
        one("sampling.delay", "sample-delay", |options, text, _| sampling::set_delay(&mut options.sampling, text)),
        one("sampling.store", "sample-store", |options, text, _| sampling::set_store(&mut options.sampling, text)),
        one("sampling.header", "sample-header", |options, text, _| options.set_sampling_header(text)),
        list("sampling.rule", "sample-rule", |options, text, _| sampling::add_rule(&mut options.sampling.rules, text)),
        list("sampling.span_rule", "sample-span-rule", |options, text, _| {
            sampling::add_rule(&mut options.sampling.span_rules, text)
        }),
        one("otlp.url", "otlp", |options, text, origin| options.otlp.set_url(text, origin)),
        one("otlp.protocol", "otlp-protocol", |options, text, origin| options.otlp.set_protocol(text, origin)),
        Spec {
            key: "otlp.no_metrics",
            flag: "no-otlp-metrics",
            shape: Shape::Switch,
            set: |options, text, _| switch(text).map(|off| options.otlp.no_metrics = off),
        },
        one("otlp.metrics_interval", "otlp-metrics-interval", |options, text, origin| {
            options.otlp.set_interval(text, origin)
        }),
        Spec {
            key: "queue.off",
            flag: "no-queue",
            shape: Shape::Switch,
            set: |options, text, _| switch(text).map(|off| options.queue.off = off),
        },
        one("queue.dir", "queue", |options, text, _| {
            options.queue.dir = Some(text.into());
            Ok(())
        }),
        one("queue.bytes", "queue-bytes", |options, text, _| options.queue.set_bytes(text)),
        one("queue.age", "queue-age", |options, text, _| options.queue.set_age(text)),
        list("view.path", "path", |options, text, _| text_of(options.view.add_path(text))),
        list("view.status", "status", |options, text, _| {
            text_of(StatusRange::parse(text).map(|range| options.view.statuses.push(range)))
        }),
        one("view.min_duration", "min-duration", |options, text, _| {
            text_of(parse_duration(text).map(|shortest| options.view.min_duration = Some(shortest)))
        }),
        list("view.service", "service", |options, text, _| {
            options.view.services.push(text.to_owned());
            Ok(())
        }),
        Spec {
            key: "store.off",
            flag: "no-store",
            shape: Shape::Switch,
            set: |options, text, _| switch(text).map(|off| options.store.off = off),
        },
        one("store.dir", "store", |options, text, _| {
            options.store.dir = Some(text.into());
            Ok(())
        }),
        one("store.bytes", "store-bytes", |options, text, _| options.store.set_bytes(text)),
        one("store.age", "store-age", |options, text, _| options.store.set_age(text)),
        one("listen", "listen", |options, text, _| options.api.set_listen(text)),
        one("token", "token", |options, text, _| options.api.set_token(text)),
        one("log.level", "log", |options, text, _| options.set_log(text)),
    ];
}

type Set = fn(&mut Options, &str, &Origin) -> Result<(), String>;

const fn one(key: &'static str, flag: &'static str, set: Set) -> Spec {
    Spec { key, flag, shape: Shape::One, set }
}

const fn list(key: &'static str, flag: &'static str, set: Set) -> Spec {
    Spec { key, flag, shape: Shape::List, set }
}

fn text_of<E: std::fmt::Display>(result: Result<(), E>) -> Result<(), String> {
    result.map_err(|error| error.to_string())
}
