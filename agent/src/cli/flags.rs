//! Flags that commands share. They hold text only: values are checked in [`super::config`], in the same way for flags,
//! variables and file.

use std::path::PathBuf;

use clap::Args;

use super::config::Flags;

/// Flags of every command.
#[derive(Args, Clone, Debug, Default)]
pub struct CommonFlags {
    /// The file of options.
    #[arg(
        long,
        value_name = "FILE",
        help = "Read options from this TOML file [env: NETSPAN_CONFIG] [default: /etc/netspan/netspan.toml, if it is there]"
    )]
    pub config: Option<PathBuf>,
    /// Log this much: off, error, warn, info, debug or trace [default: info]
    #[arg(long, value_name = "LEVEL")]
    pub log: Option<String>,
}

/// Flags that choose what is seen, and name it.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Filters (alternatives within one, all of them together; exclusion wins)")]
pub struct FilterFlags {
    /// See only this process and its descendants
    #[arg(long, value_name = "PID")]
    pub pid: Vec<String>,
    /// See only processes with this command name, as in /proc/PID/comm
    #[arg(long, value_name = "NAME")]
    pub comm: Vec<String>,
    /// See only processes with this executable, as in /proc/PID/exe: a path or a file name, `*` and `?` are wildcards
    #[arg(long, value_name = "PATH")]
    pub exe: Vec<String>,
    /// See only processes in this cgroup or below, as in /proc/PID/cgroup
    #[arg(long, value_name = "PATH")]
    pub cgroup: Vec<String>,
    /// See only processes in the container whose id begins so
    #[arg(long, value_name = "ID")]
    pub container: Vec<String>,
    /// See only connections with this local or remote port, or range of ports
    #[arg(long, value_name = "PORT")]
    pub port: Vec<String>,
    /// See only connections with this local port, or range of ports
    #[arg(long, value_name = "PORT")]
    pub local_port: Vec<String>,
    /// See only connections with this remote port, or range of ports
    #[arg(long, value_name = "PORT")]
    pub remote_port: Vec<String>,
    /// Ignore this process and its descendants
    #[arg(long, value_name = "PID")]
    pub exclude_pid: Vec<String>,
    /// Ignore processes with this command name, as in /proc/PID/comm
    #[arg(long, value_name = "NAME")]
    pub exclude_comm: Vec<String>,
    /// Ignore processes with this executable, as in /proc/PID/exe: a path or a file name, `*` and `?` are wildcards
    #[arg(long, value_name = "PATH")]
    pub exclude_exe: Vec<String>,
    /// Ignore processes in this cgroup or below, as in /proc/PID/cgroup
    #[arg(long, value_name = "PATH")]
    pub exclude_cgroup: Vec<String>,
    /// Ignore processes in the container whose id begins so
    #[arg(long, value_name = "ID")]
    pub exclude_container: Vec<String>,
    /// Ignore connections with this local or remote port, or range of ports
    #[arg(long, value_name = "PORT")]
    pub exclude_port: Vec<String>,
    /// Ignore connections with this local port, or range of ports
    #[arg(long, value_name = "PORT")]
    pub exclude_local_port: Vec<String>,
    /// Ignore connections with this remote port, or range of ports
    #[arg(long, value_name = "PORT")]
    pub exclude_remote_port: Vec<String>,
}

/// Flags of what Kubernetes is asked.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Kubernetes")]
pub struct KubernetesFlags {
    /// Ask the API server for the names of this node's pods: auto (in a pod that may ask), on or off [default: auto]
    #[arg(long, value_name = "auto|on|off")]
    pub kubernetes: Option<String>,
    /// The node.
    #[arg(long, value_name = "NAME", help = "The node whose pods are asked for [default: NODE_NAME]")]
    pub node_name: Option<String>,
    /// Keep this label of pods, as attribute k8s.pod.label.KEY
    #[arg(long, value_name = "KEY")]
    pub kubernetes_label: Vec<String>,
    /// Name services by their pods' labels app.kubernetes.io/instance, app.kubernetes.io/name and app.kubernetes.io/version, before
    /// what Deployments and other workloads are called
    #[arg(long)]
    pub kubernetes_well_known_labels: bool,
}

/// Flags that name services.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Names")]
pub struct NameFlags {
    /// Call matching processes NAME; DIMENSION is exe, comm, cgroup or container
    #[arg(long, value_name = "DIMENSION:PATTERN=NAME")]
    pub service_rule: Vec<String>,
    /// Routes.
    #[arg(
        long,
        value_name = "[SERVICE ]PATH",
        help = "Call matching requests by this route, such as '/users/{id}' or 'shop* /static/{file*}'; others are inferred"
    )]
    pub route: Vec<String>,
}

/// Flags of the kernel side.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Capture")]
pub struct CaptureFlags {
    /// Family of hooks: auto, syscall or socket [default: auto]
    #[arg(long)]
    pub family: Option<String>,
    /// Kind of hook of the socket family: auto, fentry or kprobe [default: auto]
    #[arg(long)]
    pub hook: Option<String>,
    /// Size of each ring buffer: a power of two from 64KiB to 256MiB [default: 2MiB]
    #[arg(long, value_name = "BYTES")]
    pub ring_size: Option<String>,
    /// Connections that are known at one time, from 256 to 1048576; beyond, the most silent give way
    /// [default: 32768]
    #[arg(long, value_name = "NUMBER")]
    pub connections: Option<String>,
    /// Scheduling priority of the agent, from -20 (first) to 19 (last): where it has to wait, events are lost
    /// [default: -10]
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    pub nice: Option<String>,
    /// Follow goroutines of Go programs, which tells exactly whose their calls are: on or off. It costs two microseconds per request
    /// and per call [default: on]
    #[arg(long, value_name = "on|off")]
    pub goroutines: Option<String>,
    /// Tell other hosts, whose agents do the same, which trace a request is of: tcp-option puts it into the TCP header of a request's
    /// first segments, between hosts that both offer it; the payload stays as it is. It takes the right to configure networks at the start
    /// [default: none]
    #[arg(long, value_name = "tcp-option|none")]
    pub propagate: Option<String>,
    /// Keep all capabilities, instead of giving up after the start what is not needed any more: for stores, queues and files that
    /// belong to other users
    #[arg(long)]
    pub keep_capabilities: bool,
}

/// Flags of what is kept of requests.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Redaction")]
pub struct RedactFlags {
    /// Keep the values of query strings, which are masked otherwise
    #[arg(long)]
    pub keep_query: bool,
    /// Keep this header as well; names of credentials are refused
    #[arg(long, value_name = "NAME")]
    pub header: Vec<String>,
}

/// Flags of the links between spans.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Links")]
pub struct LinkFlags {
    /// Confidence from 0 to 1 from which on a link becomes a parent [default: 0.95]
    #[arg(long, value_name = "NUMBER")]
    pub min_confidence: Option<String>,
}

/// Flags of the export.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Export")]
pub struct OtlpFlags {
    /// The endpoint.
    #[arg(
        long,
        value_name = "URL",
        help = "Send spans to this OTLP endpoint, such as http://localhost:4317; OTEL_EXPORTER_OTLP_* variables apply too"
    )]
    pub otlp: Option<String>,
    /// Protocol: grpc, http/protobuf or http/json [default: grpc on port 4317, else http/protobuf]
    #[arg(long, value_name = "PROTOCOL")]
    pub otlp_protocol: Option<String>,
    /// Send spans only there, no metrics
    #[arg(long)]
    pub no_otlp_metrics: bool,
    /// Send metrics so often [default: 1m]
    #[arg(long, value_name = "DURATION")]
    pub otlp_metrics_interval: Option<String>,
    /// Where spans wait.
    #[arg(
        long,
        value_name = "DIR",
        help = "Let spans wait for their destinations in this directory [default: queue in the service's state directory, \
                else /var/lib/netspan/queue; in memory in a replay]"
    )]
    pub queue: Option<String>,
    /// Let spans wait in memory only
    #[arg(long)]
    pub no_queue: bool,
    /// Let so much wait for each destination at most [default: 512MiB]
    #[arg(long, value_name = "BYTES")]
    pub queue_bytes: Option<String>,
    /// Let spans wait for so long [default: 24h; 10m in memory]
    #[arg(long, value_name = "DURATION")]
    pub queue_age: Option<String>,
}

/// Flags of sampling.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Sampling (of what leaves the host; without, all does)")]
pub struct SampleFlags {
    /// Keep a trace with this probability, from 0 to 1, where nothing else keeps it [default: 1]
    #[arg(long, value_name = "RATIO")]
    pub sample: Option<String>,
    /// Let callers' decisions stand instead of chance: override or respect [default: override]
    #[arg(long, value_name = "WHAT")]
    pub sample_incoming: Option<String>,
    /// Keep traces with errors, or leave them to chance: keep or chance [default: keep]
    #[arg(long, value_name = "WHAT")]
    pub sample_errors: Option<String>,
    /// Keep traces with a span that took at least this long, such as 2s
    #[arg(long, value_name = "DURATION")]
    pub sample_slow: Option<String>,
    /// Keep traces with a request that took so many times as long as the 99th percentile of its route, such as 1.5
    #[arg(long, value_name = "FACTOR")]
    pub sample_slow_factor: Option<String>,
    /// Keep so many traces of each route, and of each way through services, in a minute [default: 1]
    #[arg(long, value_name = "NUMBER")]
    pub sample_rare: Option<String>,
    /// Keep traces with a request that carries this header, unless its value is 0 or false; it is captured, too
    #[arg(long, value_name = "NAME")]
    pub sample_header: Option<String>,
    /// Let chance keep at most so many traces of a route in a second
    #[arg(long, value_name = "NUMBER")]
    pub sample_cap: Option<String>,
    /// Rules.
    #[arg(
        long,
        value_name = "RULE",
        help = "What to do with traces: conditions, then keep, drop or a probability, such as 'service=shop route=/api/* status=2xx                 0.1'; the first rule that matches counts"
    )]
    pub sample_rule: Vec<String>,
    /// What to do with single spans of traces that are kept; rules as those of traces
    #[arg(long, value_name = "RULE")]
    pub sample_span_rule: Vec<String>,
    /// Wait so long for more of a trace after its request was answered [default: 1s]
    #[arg(long, value_name = "DURATION")]
    pub sample_delay: Option<String>,
    /// What the store gets: all or kept [default: all]
    #[arg(long, value_name = "WHAT")]
    pub sample_store: Option<String>,
}

/// Flags of the store and of the API.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Store and API")]
pub struct ServeFlags {
    /// Keep spans in this directory [default: the service's state directory, else /var/lib/netspan]
    #[arg(long, value_name = "DIR")]
    pub store: Option<String>,
    /// Keep no spans
    #[arg(long)]
    pub no_store: bool,
    /// Keep at most so much [default: 1GiB]
    #[arg(long, value_name = "BYTES")]
    pub store_bytes: Option<String>,
    /// Keep spans for so long [default: 24h]
    #[arg(long, value_name = "DURATION")]
    pub store_age: Option<String>,
    /// Answer questions on this address, or `none`; any other than a loopback address needs a token
    /// [default: 127.0.0.1:4410]
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<String>,
    /// Answer only requests that carry this; who can list processes sees flags, so rather use the variable or the file
    #[arg(long, value_name = "TOKEN")]
    pub token: Option<String>,
}

/// Flags that choose among finished spans.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "View")]
pub struct ViewFlags {
    /// Show only spans with this path or below; with `*` or `?` the whole path has to match
    #[arg(long, value_name = "PATH")]
    pub path: Vec<String>,
    /// Show only spans with this status: 404, 5xx, >=400, 400-499, `error` or `ok`
    #[arg(long, value_name = "STATUS")]
    pub status: Vec<String>,
    /// Show only spans that took at least this long, such as 250ms
    #[arg(long, value_name = "DURATION")]
    pub min_duration: Option<String>,
    /// Show only spans of this service; `*` and `?` are wildcards
    #[arg(long, value_name = "NAME")]
    pub service: Vec<String>,
}

/// Values of an option, if there are any.
fn several(key: &'static str, values: &[String]) -> Option<(&'static str, Vec<String>)> {
    (!values.is_empty()).then(|| (key, values.to_vec()))
}

fn one(key: &'static str, value: Option<&String>) -> Option<(&'static str, Vec<String>)> {
    value.map(|value| (key, vec![value.clone()]))
}

impl Flags for CommonFlags {
    fn given(&self) -> Vec<(&'static str, Vec<String>)> {
        let Self { log, config: _ } = self;
        [one("log.level", log.as_ref())].into_iter().flatten().collect()
    }
}

impl Flags for FilterFlags {
    fn given(&self) -> Vec<(&'static str, Vec<String>)> {
        let Self {
            pid,
            comm,
            exe,
            cgroup,
            container,
            port,
            local_port,
            remote_port,
            exclude_pid,
            exclude_comm,
            exclude_exe,
            exclude_cgroup,
            exclude_container,
            exclude_port,
            exclude_local_port,
            exclude_remote_port,
        } = self;
        [
            several("filter.pid", pid),
            several("filter.comm", comm),
            several("filter.exe", exe),
            several("filter.cgroup", cgroup),
            several("filter.container", container),
            several("filter.port", port),
            several("filter.local_port", local_port),
            several("filter.remote_port", remote_port),
            several("filter.exclude.pid", exclude_pid),
            several("filter.exclude.comm", exclude_comm),
            several("filter.exclude.exe", exclude_exe),
            several("filter.exclude.cgroup", exclude_cgroup),
            several("filter.exclude.container", exclude_container),
            several("filter.exclude.port", exclude_port),
            several("filter.exclude.local_port", exclude_local_port),
            several("filter.exclude.remote_port", exclude_remote_port),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

impl Flags for KubernetesFlags {
    fn given(&self) -> Vec<(&'static str, Vec<String>)> {
        let Self { kubernetes, node_name, kubernetes_label, kubernetes_well_known_labels } = self;
        [
            one("kubernetes.metadata", kubernetes.as_ref()),
            one("kubernetes.node", node_name.as_ref()),
            several("kubernetes.label", kubernetes_label),
            kubernetes_well_known_labels.then(|| ("kubernetes.well_known_labels", vec!["true".to_owned()])),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

impl Flags for NameFlags {
    fn given(&self) -> Vec<(&'static str, Vec<String>)> {
        let Self { service_rule, route } = self;
        [several("service.rule", service_rule), several("route.template", route)].into_iter().flatten().collect()
    }
}

impl Flags for CaptureFlags {
    fn given(&self) -> Vec<(&'static str, Vec<String>)> {
        let Self { family, hook, ring_size, connections, nice, goroutines, propagate, keep_capabilities } = self;
        [
            one("capture.family", family.as_ref()),
            one("capture.hook", hook.as_ref()),
            one("capture.ring_size", ring_size.as_ref()),
            one("capture.connections", connections.as_ref()),
            one("capture.nice", nice.as_ref()),
            one("capture.goroutines", goroutines.as_ref()),
            one("capture.propagate", propagate.as_ref()),
            keep_capabilities.then(|| ("capture.keep_capabilities", vec!["true".to_owned()])),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

impl Flags for RedactFlags {
    fn given(&self) -> Vec<(&'static str, Vec<String>)> {
        let Self { keep_query, header } = self;
        [keep_query.then(|| ("redact.keep_query", vec!["true".to_owned()])), several("redact.header", header)]
            .into_iter()
            .flatten()
            .collect()
    }
}

impl Flags for LinkFlags {
    fn given(&self) -> Vec<(&'static str, Vec<String>)> {
        let Self { min_confidence } = self;
        [one("link.min_confidence", min_confidence.as_ref())].into_iter().flatten().collect()
    }
}

impl Flags for OtlpFlags {
    fn given(&self) -> Vec<(&'static str, Vec<String>)> {
        let Self {
            otlp,
            otlp_protocol,
            no_otlp_metrics,
            otlp_metrics_interval,
            queue,
            no_queue,
            queue_bytes,
            queue_age,
        } = self;
        [
            one("otlp.url", otlp.as_ref()),
            one("otlp.protocol", otlp_protocol.as_ref()),
            no_otlp_metrics.then(|| ("otlp.no_metrics", vec!["true".to_owned()])),
            one("otlp.metrics_interval", otlp_metrics_interval.as_ref()),
            one("queue.dir", queue.as_ref()),
            no_queue.then(|| ("queue.off", vec!["true".to_owned()])),
            one("queue.bytes", queue_bytes.as_ref()),
            one("queue.age", queue_age.as_ref()),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

impl Flags for SampleFlags {
    fn given(&self) -> Vec<(&'static str, Vec<String>)> {
        let Self {
            sample,
            sample_incoming,
            sample_errors,
            sample_slow,
            sample_slow_factor,
            sample_rare,
            sample_header,
            sample_cap,
            sample_rule,
            sample_span_rule,
            sample_delay,
            sample_store,
        } = self;
        [
            one("sampling.ratio", sample.as_ref()),
            one("sampling.incoming", sample_incoming.as_ref()),
            one("sampling.errors", sample_errors.as_ref()),
            one("sampling.slow", sample_slow.as_ref()),
            one("sampling.slow_factor", sample_slow_factor.as_ref()),
            one("sampling.rare", sample_rare.as_ref()),
            one("sampling.header", sample_header.as_ref()),
            one("sampling.cap", sample_cap.as_ref()),
            several("sampling.rule", sample_rule),
            several("sampling.span_rule", sample_span_rule),
            one("sampling.delay", sample_delay.as_ref()),
            one("sampling.store", sample_store.as_ref()),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

impl Flags for ServeFlags {
    fn given(&self) -> Vec<(&'static str, Vec<String>)> {
        let Self { store, no_store, store_bytes, store_age, listen, token } = self;
        [
            one("store.dir", store.as_ref()),
            no_store.then(|| ("store.off", vec!["true".to_owned()])),
            one("store.bytes", store_bytes.as_ref()),
            one("store.age", store_age.as_ref()),
            one("listen", listen.as_ref()),
            one("token", token.as_ref()),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

impl Flags for ViewFlags {
    fn given(&self) -> Vec<(&'static str, Vec<String>)> {
        let Self { path, status, min_duration, service } = self;
        [
            several("view.path", path),
            several("view.status", status),
            one("view.min_duration", min_duration.as_ref()),
            several("view.service", service),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}
