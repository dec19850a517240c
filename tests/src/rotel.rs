//! `rotel`, a real OTLP receiver (from the Python environment), and what it says that it received.
#![forbid(unsafe_code)]

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result};

use crate::{
    ports,
    process::{Address, Process},
    python,
    scope::Scope,
    wait,
};

/// Time for what was sent to appear in its log.
const LOG_BOUND: Duration = Duration::from_secs(10);

/// A running receiver.
#[derive(Debug)]
pub struct Rotel {
    /// Where it takes OTLP/gRPC, as a URL.
    pub grpc: String,
    /// Where it takes OTLP/HTTP, as a URL.
    pub http: String,
    log: PathBuf,
    // Held for its end.
    _process: Process,
}

impl Rotel {
    /// Starts it in `scope`; its files go to `directory`.
    pub fn start(scope: &Scope, directory: &Path) -> Result<Self> {
        let [grpc, http] = [ports::free()?, ports::free()?].map(Address::local);
        let process = Process::start(scope, directory, "rotel", program()?, |command| {
            command
                .args([
                    "start",
                    "--debug-log",
                    "traces",
                    "--debug-log",
                    "metrics",
                    "--debug-log-verbosity",
                    "detailed",
                    "--exporter",
                    "blackhole",
                ])
                .args(["--otlp-grpc-endpoint", &grpc.to_string(), "--otlp-http-endpoint", &http.to_string()])
                .arg("--pid-file")
                .arg(directory.join("rotel.pid"))
                .env("NO_COLOR", "1")
        })?;
        let process = process.listening(&grpc)?.listening(&http)?;
        let url = |address| format!("http://{address}");
        Ok(Self { grpc: url(grpc), http: url(http), log: directory.join("rotel.log"), _process: process })
    }

    /// Waits until its log of received spans satisfies `enough`, and returns the log.
    ///
    /// # Errors
    /// When that does not happen in time: the message holds the log.
    pub fn received(&self, enough: impl Fn(&str) -> bool) -> Result<String> {
        let read = || fs::read_to_string(&self.log).context("cannot read rotel's log");
        wait::until("that rotel logs the spans", LOG_BOUND, || Ok(Some(read()?).filter(|log| enough(log))))
            .with_context(|| format!("rotel's log: {}", read().unwrap_or_default()))
    }
}

/// The receiver's own binary lies among the package's files.
fn program() -> Result<PathBuf> {
    let programs = python::programs()?;
    let library = programs.with_file_name("lib");
    let versions = fs::read_dir(&library).with_context(|| format!("cannot read {}", library.display()))?;
    versions
        .filter_map(|version| Some(version.ok()?.path().join("site-packages/rotel/rotel-agent")))
        .find(|file| file.is_file())
        .context("the Python environment has no rotel-agent: remove it and try again")
}

/// A span as rotel's log shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Logged {
    /// `service.name` of its resource.
    pub service: String,
    /// 32 hex digits.
    pub trace: String,
    /// 16 hex digits.
    pub id: String,
    /// 16 hex digits; empty for roots.
    pub parent: String,
    /// Name.
    pub name: String,
    /// As the protocol names it.
    pub kind: String,
}

/// The spans of a log, in its order. The last one may not be whole while the log is being written.
pub fn spans(log: &str) -> Vec<Logged> {
    let (mut service, mut spans) = (String::new(), Vec::<Logged>::new());
    for line in log.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix("-> service.name: Str(").and_then(|rest| rest.strip_suffix(')')) {
            name.clone_into(&mut service);
        }
        if line.starts_with("Span #") {
            spans.push(Logged { service: service.clone(), ..Logged::default() });
        }
        let (Some(span), Some((field, value))) = (spans.last_mut(), line.split_once(" : ").or(line.split_once(" :")))
        else {
            continue;
        };
        let field = match field.trim() {
            "Trace ID" => &mut span.trace,
            "ID" => &mut span.id,
            "Parent ID" => &mut span.parent,
            "Name" => &mut span.name,
            "Kind" => &mut span.kind,
            _ => continue,
        };
        value.trim().clone_into(field);
    }
    spans
}
