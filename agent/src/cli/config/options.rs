//! The options, checked: one field each, with unit, range and default.

use std::str::FromStr;

use log::LevelFilter;

use super::{ApiOptions, Destination, KubernetesOptions, OtlpOptions, QueueOptions, StoreOptions};
pub use crate::probe::{FamilyChoice, HookChoice};
use crate::{
    control::{FilterRules, SpanFilter},
    host::NameRule,
    route::{TEMPLATES_MAX, Template},
    sample,
    span::redact::{Query, Redaction, RedactionError, is_listed},
};

/// Bytes of one ring buffer at least.
pub const RING_BYTES_MIN: u32 = 64 << 10;
/// Bytes of one ring buffer at most.
pub const RING_BYTES_MAX: u32 = 256 << 20;

/// Connections that the kernel side knows at one time, at least.
pub const CONNECTIONS_MIN: u32 = 256;
/// Connections that the kernel side knows at one time, at most.
pub const CONNECTIONS_MAX: u32 = 1 << 20;

/// All options of all commands; a command uses those that it has flags for.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// What is captured. Default: everything on the host but the agent itself.
    pub filter: FilterRules,
    /// How it is captured.
    pub capture: CaptureOptions,
    /// Whether values of query strings are kept. Default: each value is masked, the keys are kept.
    pub keep_query: bool,
    /// Header names kept beside the allow-list of [`crate::span::redact`]. Default: none.
    pub headers: Vec<String>,
    /// Confidence from which on a link becomes a parent, 0 to 1. Default: 0.95.
    pub min_confidence: f64,
    /// Rules that name services; the first that matches a process names it. Default: none.
    pub services: Vec<NameRule>,
    /// What Kubernetes is asked.
    pub kubernetes: KubernetesOptions,
    /// Routes that are not to be inferred; the first that matches a request is its. Default: none.
    pub templates: Vec<Template>,
    /// Which spans leave the host. Default: all.
    pub sampling: sample::Options,
    /// Where spans go by OTLP. Default: nowhere.
    pub otlp: OtlpOptions,
    /// Where spans go besides, by the file. Default: nowhere.
    pub destinations: Vec<Destination>,
    /// Where spans wait for their destinations.
    pub queue: QueueOptions,
    /// Which finished spans a view shows. Default: all.
    pub view: SpanFilter,
    /// The store. Default: on.
    pub store: StoreOptions,
    /// The API.
    pub api: ApiOptions,
    /// What is logged: off, error, warn, info, debug or trace. Default: info.
    pub log: LevelFilter,
    /// What to tell the user once the log is there, one line each.
    pub warnings: Vec<String>,
}

/// How the kernel side is loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CaptureOptions {
    /// Family of hooks. Default: the best that loads.
    pub family: FamilyChoice,
    /// Kind of hook of the socket family. Default: the best that attaches.
    pub hook: HookChoice,
    /// Bytes of each of the [`netspan_ebpf::RING_SHARDS`] ring buffers: a power of two from [`RING_BYTES_MIN`] to
    /// [`RING_BYTES_MAX`]. Default: 2 MiB.
    pub ring_bytes: u32,
    /// Connections that the kernel side knows at one time, from [`CONNECTIONS_MIN`] to [`CONNECTIONS_MAX`]; beyond, the
    /// ones that were silent longest give way, and are counted when they are needed again. Default: 32,768.
    pub connections: u32,
    /// Scheduling priority of the agent, from -20 (first) to 19 (last), see `nice(2)`. Default: -10: what it does is little,
    /// but where it has to wait behind a busy host's own work, the rings fill up and events are lost.
    pub nice: i32,
    /// Whether goroutines of Go programs are followed. Default: they are.
    pub goroutines: bool,
    /// Whether requests carry their trace to other hosts in a TCP option. Default: no.
    pub propagate: bool,
    /// Whether capabilities are kept that are not needed any more once all is attached. Default: no.
    pub keep_capabilities: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            filter: FilterRules::default(),
            capture: CaptureOptions::default(),
            keep_query: false,
            headers: Vec::new(),
            min_confidence: 0.95,
            services: Vec::new(),
            kubernetes: KubernetesOptions::default(),
            templates: Vec::new(),
            sampling: sample::Options::default(),
            otlp: OtlpOptions::default(),
            destinations: Vec::new(),
            queue: QueueOptions::default(),
            view: SpanFilter::default(),
            store: StoreOptions::default(),
            api: ApiOptions::default(),
            log: LevelFilter::Info,
            warnings: Vec::new(),
        }
    }
}

impl Default for CaptureOptions {
    fn default() -> Self {
        Self {
            family: FamilyChoice::Auto,
            hook: HookChoice::Auto,
            ring_bytes: 2 << 20,
            connections: 32_768,
            nice: -10,
            goroutines: true,
            propagate: false,
            keep_capabilities: false,
        }
    }
}

impl Options {
    /// What may be kept of requests.
    pub fn redaction(&self) -> Result<Redaction, RedactionError> {
        Redaction::new(&self.headers, if self.keep_query { Query::Keep } else { Query::Mask })
    }

    /// The header that asks for a trace: it is captured, too.
    pub(super) fn set_sampling_header(&mut self, name: &str) -> Result<(), String> {
        let name = name.trim().to_ascii_lowercase();
        if is_listed(name.as_bytes()) {
            return Err("this header means something else: give one of your own, such as x-debug".to_owned());
        }
        self.add_header(&name)?;
        self.sampling.header = Some(name);
        Ok(())
    }

    pub(super) fn add_header(&mut self, name: &str) -> Result<(), String> {
        self.headers.push(name.to_owned());
        self.redaction().map(drop).map_err(|error| error.to_string())
    }

    pub(super) fn add_template(&mut self, text: &str) -> Result<(), String> {
        if self.templates.len() >= TEMPLATES_MAX {
            return Err(format!("too many routes: give at most {TEMPLATES_MAX}"));
        }
        self.templates.push(text.parse().map_err(|error: crate::route::TemplateError| error.to_string())?);
        Ok(())
    }

    pub(super) fn set_min_confidence(&mut self, text: &str) -> Result<(), String> {
        let confidence = text.parse().ok().filter(|confidence| (0.0..=1.0).contains(confidence));
        self.min_confidence = confidence.ok_or("not a confidence: give a number from 0 to 1, such as 0.95")?;
        Ok(())
    }

    pub(super) fn set_log(&mut self, text: &str) -> Result<(), String> {
        let level = LevelFilter::from_str(text);
        self.log = level.map_err(|_| "not a log level: give off, error, warn, info, debug or trace")?;
        Ok(())
    }
}

impl CaptureOptions {
    pub(super) fn set_family(&mut self, text: &str) -> Result<(), String> {
        self.family = match text {
            "auto" => FamilyChoice::Auto,
            "syscall" => FamilyChoice::Syscall,
            "socket" => FamilyChoice::Socket,
            _ => return Err("not a family of hooks: give auto, syscall or socket".to_owned()),
        };
        Ok(())
    }

    pub(super) fn set_hook(&mut self, text: &str) -> Result<(), String> {
        self.hook = match text {
            "auto" => HookChoice::Auto,
            "fentry" => HookChoice::Fentry,
            "kprobe" => HookChoice::Kprobe,
            _ => return Err("not a kind of hook: give auto, fentry or kprobe".to_owned()),
        };
        Ok(())
    }

    pub(super) fn set_ring_bytes(&mut self, text: &str) -> Result<(), String> {
        let bytes =
            bytes(text).filter(|bytes| bytes.is_power_of_two() && (RING_BYTES_MIN..=RING_BYTES_MAX).contains(bytes));
        self.ring_bytes = bytes.ok_or("not a ring size: give a power of two from 64KiB to 256MiB, such as 4MiB")?;
        Ok(())
    }

    pub(super) fn set_nice(&mut self, text: &str) -> Result<(), String> {
        let number = text.parse().ok().filter(|number| (-20..=19).contains(number));
        self.nice = number.ok_or("not a priority: give a number from -20 to 19, such as -10")?;
        Ok(())
    }

    pub(super) fn set_goroutines(&mut self, text: &str) -> Result<(), String> {
        self.goroutines = match text {
            "on" => true,
            "off" => false,
            _ => return Err("neither on nor off: give one of the two".to_owned()),
        };
        Ok(())
    }

    pub(super) fn set_propagate(&mut self, text: &str) -> Result<(), String> {
        self.propagate = match text {
            "tcp-option" => true,
            "none" => false,
            _ => return Err("not a way to tell other hosts: give tcp-option or none".to_owned()),
        };
        Ok(())
    }

    pub(super) fn set_connections(&mut self, text: &str) -> Result<(), String> {
        let number = text.parse().ok().filter(|number| (CONNECTIONS_MIN..=CONNECTIONS_MAX).contains(number));
        self.connections = number.ok_or("not a number of connections: give one from 256 to 1048576, such as 65536")?;
        Ok(())
    }
}

/// A number of bytes, with `KiB` or `MiB` (also `K`, `M`) or without a unit.
fn bytes(text: &str) -> Option<u32> {
    super::serve::size(text)?.try_into().ok()
}

/// `true` or `false`, in the words that people use in environments.
pub(super) fn switch(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Ok(true),
        "false" | "0" | "no" | "off" => Ok(false),
        _ => Err("not a switch: give true or false".to_owned()),
    }
}
