//! `[[export]]`: destinations in the file, each with its kind, its target and how it is spoken to. And the queue, for all of
//! them.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use toml::de::{DeTable, DeValue};

use super::{
    ConfigError, Origin,
    file::scalar,
    options::switch,
    serve::{age, size},
    similar::nearest,
};
use crate::{
    control::parse_duration,
    export::delivery::{
        Compression, Config, Protocol,
        config::{Endpoint, EndpointPath, FileTarget, Signal, Target, TlsFiles, header, parse_endpoint},
        queue::disk,
    },
    span::Attribute,
};

/// Longest name of a destination: it is the name of a directory.
const NAME_MAX: usize = 64;
/// Age of a queue at least.
const AGE_MIN: Duration = Duration::from_mins(1);
/// Bytes of a file at least before the next one is begun.
const ROTATE_MIN: u64 = 64 << 10;
/// Files at most.
const FILES_MAX: u32 = 1000;
/// Longest time of one attempt at most.
const TIMEOUT_MAX: Duration = Duration::from_hours(1);

/// The queues.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueOptions {
    /// Spans wait in memory. Default: on the disk in `netspan run`, in memory elsewhere unless `dir` is given.
    pub off: bool,
    /// The directory under which each destination has its own. Default: `queue` in the service's state directory
    /// (`STATE_DIRECTORY`), else in `/var/lib/netspan`.
    pub dir: Option<PathBuf>,
    /// Bytes of each queue at most, from [`disk::BYTES_MIN`]. Default: 512 MiB.
    pub bytes: u64,
    /// Age of what is tried again at most, from a minute. Default: 24 hours.
    pub age: Duration,
}

impl Default for QueueOptions {
    fn default() -> Self {
        Self { off: false, dir: None, bytes: 512 << 20, age: Duration::from_hours(24) }
    }
}

impl QueueOptions {
    pub(super) fn set_bytes(&mut self, text: &str) -> Result<(), String> {
        self.bytes = queue_bytes(text)?;
        Ok(())
    }

    pub(super) fn set_age(&mut self, text: &str) -> Result<(), String> {
        self.age = queue_age(text)?;
        Ok(())
    }

    /// The directory of all queues, if there are any. `state` is the directory of state, if the command keeps state.
    pub fn base(&self, state: Option<PathBuf>) -> Option<PathBuf> {
        let default = || state.map(|state| state.join("queue"));
        if self.off { None } else { self.dir.clone().or_else(default) }
    }

    /// A destination's configuration with its queue under `base`.
    pub fn place(&self, config: Config, base: Option<&Path>) -> Config {
        Destination { config, queue: true, bytes: None, age: None, metrics: None }.place(self, base)
    }
}

/// A destination of the file.
#[derive(Clone, Debug, PartialEq)]
pub struct Destination {
    config: Config,
    queue: bool,
    bytes: Option<u64>,
    age: Option<Duration>,
    /// Where metrics go, if they do.
    metrics: Option<Config>,
}

impl Destination {
    /// What the exporter of metrics is told, if metrics go there.
    pub fn metrics(&self, resource: &[Attribute]) -> Option<Config> {
        self.metrics.clone().map(|config| Config { resource: resource.to_vec(), ..config })
    }

    /// What the exporter is told: with the queue under `base` if there is one, and these attributes for each resource.
    pub fn resolve(&self, queue: &QueueOptions, base: Option<&Path>, resource: &[Attribute]) -> Config {
        let mut own = self.clone();
        own.config.resource = resource.to_vec();
        own.place(queue, base)
    }

    fn place(self, queue: &QueueOptions, base: Option<&Path>) -> Config {
        let Self { mut config, queue: wanted, bytes, age, metrics: _ } = self;
        if let Some(base) = base.filter(|_| wanted) {
            let dir = base.join(format!("{}.{}", config.name, config.format().name()));
            let bytes = bytes.unwrap_or(queue.bytes);
            config.queue = Some(disk::Config { dir, bytes, segment: disk::SEGMENT_BYTES });
            config.limits.retry_age = age.unwrap_or(queue.age);
        }
        config
    }
}

/// What a table may have, in the order of the errors.
const KEYS: [&str; 18] = [
    "kind",
    "name",
    "url",
    "path",
    "headers",
    "timeout",
    "compression",
    "certificate",
    "client_certificate",
    "client_key",
    "queue",
    "queue_bytes",
    "queue_age",
    "rotate_bytes",
    "rotate_files",
    "greet",
    "metrics",
    "metrics_url",
];
/// Of these, what only a file has.
const OF_A_FILE: [&str; 3] = ["path", "rotate_bytes", "rotate_files"];
/// And what only an endpoint has.
const OF_AN_ENDPOINT: [&str; 10] = [
    "url",
    "headers",
    "timeout",
    "compression",
    "certificate",
    "client_certificate",
    "client_key",
    "greet",
    "metrics",
    "metrics_url",
];
/// Of these, what only OTLP has.
const OF_OTLP: [&str; 2] = ["metrics", "metrics_url"];

/// A table of the file, being read.
pub(super) struct Table<'a> {
    /// The file.
    pub path: &'a Path,
    /// Line of its beginning, from 1.
    pub line: usize,
    /// Its keys and values.
    pub entries: &'a DeTable<'a>,
    /// The line of a place in the file.
    pub line_of: &'a dyn Fn(std::ops::Range<usize>) -> usize,
}

impl Table<'_> {
    /// The destination that it describes.
    pub fn read(&self) -> Result<Destination, ConfigError> {
        for name in self.entries.keys() {
            let name = name.get_ref().as_ref();
            if !KEYS.contains(&name) {
                let advice = nearest(name, KEYS.into_iter()).map_or_else(
                    || format!("it can have {}", KEYS.join(", ")),
                    |meant| format!("did you mean {meant}?"),
                );
                let (path, line) = (self.path.to_owned(), self.line_at(name));
                return Err(ConfigError::UnknownKey { path, line, key: format!("export.{name}"), advice });
            }
        }
        let kind = self.text("kind")?.ok_or_else(|| self.wrong(format!("it has no kind: give {KINDS}")))?;
        let (target, compression) = if kind == "file" {
            (Target::File(self.file(&kind)?), Compression::None)
        } else {
            let protocol = self.value("kind", &kind, protocol)?;
            (
                Target::Endpoint(Box::new(self.endpoint(&kind, protocol)?)),
                self.parsed("compression", compression)?.unwrap_or_default(),
            )
        };
        let name = self.parsed("name", name)?.unwrap_or(kind);
        let mut config = Config::new(&name, target, Vec::new());
        config.compression = compression;
        Ok(Destination {
            metrics: self.metrics(&config)?,
            config,
            queue: self.parsed("queue", switch)?.unwrap_or(true),
            bytes: self.parsed("queue_bytes", queue_bytes)?,
            age: self.parsed("queue_age", queue_age)?,
        })
    }

    fn file(&self, kind: &str) -> Result<FileTarget, ConfigError> {
        self.has_none_of(&OF_AN_ENDPOINT, kind)?;
        let path = self.text("path")?.ok_or_else(|| self.wrong("it has no path: give that of the file".to_owned()))?;
        Ok(FileTarget {
            path: path.into(),
            bytes: self.parsed("rotate_bytes", rotate_bytes)?.unwrap_or(100 << 20),
            files: self.parsed("rotate_files", rotate_files)?.unwrap_or(5),
        })
    }

    fn endpoint(&self, kind: &str, protocol: Protocol) -> Result<Endpoint, ConfigError> {
        self.has_none_of(&OF_A_FILE, kind)?;
        if protocol == Protocol::Zipkin {
            self.has_none_of(&OF_OTLP, kind)?;
        }
        let example = if protocol == Protocol::Zipkin { "http://zipkin:9411" } else { "http://collector:4317" };
        let url = self.text("url")?.ok_or_else(|| self.wrong(format!("it has no url: give one such as {example}")))?;
        let uri = parse_endpoint("export.url", &url, EndpointPath::IfNone(path_of(protocol)));
        let (uri, _) = uri.map_err(|error| self.wrong(error.to_string()))?;
        let identity = match (self.text("client_certificate")?, self.text("client_key")?) {
            (Some(certificate), Some(key)) => Some((certificate.into(), key.into())),
            (None, None) => None,
            _ => {
                return Err(
                    self.wrong("client_certificate and client_key belong together: give both or none".to_owned())
                );
            }
        };
        Ok(Endpoint {
            uri,
            signal: Signal::Traces,
            protocol,
            guessed: false,
            headers: self.headers()?,
            timeout: self.parsed("timeout", timeout)?.unwrap_or(Duration::from_secs(10)),
            tls: TlsFiles { authorities: self.text("certificate")?.map(PathBuf::from), identity },
            greet: self.parsed("greet", switch)?.unwrap_or(true),
        })
    }

    /// Where metrics go: where spans go, unless it is said otherwise.
    fn metrics(&self, config: &Config) -> Result<Option<Config>, ConfigError> {
        let url = self.text("metrics_url")?;
        let Target::Endpoint(endpoint) = &config.target else { return Ok(None) };
        if endpoint.protocol == Protocol::Zipkin {
            return Ok(None);
        }
        let wanted = self.parsed("metrics", switch)?;
        if wanted == Some(false) {
            return match url {
                None => Ok(None),
                Some(_) => Err(self.wrong("metrics is false and there is a metrics_url: remove one".to_owned())),
            };
        }
        let Some(url) = url else {
            let found = config.for_metrics();
            if found.is_none() && wanted.is_some() {
                let why = format!("its url does not end with {}: give a metrics_url", Signal::Traces.path());
                return Err(self.wrong(why));
            }
            return Ok(found);
        };
        let uri = parse_endpoint("export.metrics_url", &url, EndpointPath::IfNone(Signal::Metrics.path()));
        let (uri, _) = uri.map_err(|error| self.wrong(error.to_string()))?;
        let endpoint = Endpoint { uri, signal: Signal::Metrics, ..(**endpoint).clone() };
        Ok(Some(Config { target: Target::Endpoint(Box::new(endpoint)), ..config.clone() }))
    }

    fn headers(&self) -> Result<http::HeaderMap, ConfigError> {
        let mut headers = http::HeaderMap::new();
        let Some(given) = self.entries.get("headers") else { return Ok(headers) };
        let DeValue::Table(given) = given.get_ref() else {
            return Err(self.wrong("headers is no table: write headers = { name = \"value\" }".to_owned()));
        };
        for (name, value) in given {
            let name = name.get_ref();
            // The value may be a secret, and is not shown.
            let wrong = |why: &str| self.wrong(format!("headers: {name:?} {why}"));
            let value = scalar(value.get_ref()).ok_or_else(|| wrong("has a value that is no text"))?;
            let (name, value) = header(name, &value).map_err(wrong)?;
            headers.append(name, value);
        }
        Ok(headers)
    }

    fn has_none_of(&self, keys: &[&str], kind: &str) -> Result<(), ConfigError> {
        let found = keys.iter().find(|key| self.entries.contains_key(**key));
        found.map_or(Ok(()), |key| Err(self.wrong(format!("kind {kind:?} has no {key}: remove it"))))
    }

    fn text(&self, key: &'static str) -> Result<Option<String>, ConfigError> {
        let Some(value) = self.entries.get(key) else { return Ok(None) };
        let text = match value.get_ref() {
            DeValue::Boolean(value) => Some(value.to_string()),
            value => scalar(value),
        };
        text.map(Some).ok_or_else(|| self.wrong(format!("{key} is no single value: give one")))
    }

    fn parsed<T>(
        &self,
        key: &'static str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Option<T>, ConfigError> {
        self.text(key)?.map(|text| self.value(key, &text, parse)).transpose()
    }

    fn value<T>(&self, key: &str, text: &str, parse: impl Fn(&str) -> Result<T, String>) -> Result<T, ConfigError> {
        parse(text).map_err(|why| {
            let origin = Origin::File(self.path.to_owned(), self.line_at(key), format!("export.{key}"));
            ConfigError::Value { origin, value: text.to_owned(), why }
        })
    }

    fn line_at(&self, key: &str) -> usize {
        self.entries.get_key_value(key).map_or(self.line, |(key, _)| (self.line_of)(key.span()))
    }

    fn wrong(&self, why: String) -> ConfigError {
        ConfigError::Export { path: self.path.to_owned(), line: self.line, why }
    }
}

/// Two destinations of one name would share counters and a queue.
pub(super) fn distinct(path: &Path, destinations: &[(usize, Destination)]) -> Result<(), ConfigError> {
    for (at, (line, destination)) in destinations.iter().enumerate() {
        let name = &destination.config.name;
        let is_taken = name == "otlp" || destinations[..at].iter().any(|(_, other)| other.config.name == *name);
        if is_taken {
            let why =
                format!("the name {name:?} is taken: give each destination a name of its own (otlp is that of --otlp)");
            return Err(ConfigError::Export { path: path.to_owned(), line: *line, why });
        }
    }
    Ok(())
}

const KINDS: &str = "otlp-grpc, otlp-http, otlp-json, zipkin or file";

fn protocol(kind: &str) -> Result<Protocol, String> {
    match kind {
        "otlp-grpc" => Ok(Protocol::Grpc),
        "otlp-http" => Ok(Protocol::Http),
        "otlp-json" => Ok(Protocol::Json),
        "zipkin" => Ok(Protocol::Zipkin),
        _ => Err(format!("not a kind of destination: give {KINDS}")),
    }
}

const fn path_of(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Zipkin => "/api/v2/spans",
        Protocol::Grpc | Protocol::Http | Protocol::Json => Signal::Traces.path(),
    }
}

fn name(text: &str) -> Result<String, String> {
    let is_sound = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
    if text.is_empty() || text.len() > NAME_MAX || !text.chars().all(is_sound) {
        return Err(format!("not a name: give 1 to {NAME_MAX} letters, digits, - or _"));
    }
    Ok(text.to_owned())
}

fn compression(text: &str) -> Result<Compression, String> {
    Compression::named(text).ok_or_else(|| "not a compression: give none, gzip or zstd".to_owned())
}

fn timeout(text: &str) -> Result<Duration, String> {
    let timeout = parse_duration(text).ok().filter(|time| !time.is_zero() && *time <= TIMEOUT_MAX);
    timeout.ok_or_else(|| "not a time-out: give up to 60m, such as 10s or 500ms".to_owned())
}

fn queue_bytes(text: &str) -> Result<u64, String> {
    let bytes = size(text).filter(|bytes| *bytes >= disk::BYTES_MIN);
    bytes.ok_or_else(|| "not a size of a queue: give at least 32MiB, such as 500MiB or 2GiB".to_owned())
}

fn queue_age(text: &str) -> Result<Duration, String> {
    age(text)
        .filter(|age| *age >= AGE_MIN)
        .ok_or_else(|| "not an age: give at least 1m, such as 30m, 12h or 7d".to_owned())
}

fn rotate_bytes(text: &str) -> Result<u64, String> {
    let bytes = size(text).filter(|bytes| *bytes >= ROTATE_MIN);
    bytes.ok_or_else(|| "not a size of a file: give at least 64KiB, such as 100MiB".to_owned())
}

fn rotate_files(text: &str) -> Result<u32, String> {
    let files = text.parse().ok().filter(|files| (1..=FILES_MAX).contains(files));
    files.ok_or_else(|| format!("not a number of files: give one from 1 to {FILES_MAX}"))
}
