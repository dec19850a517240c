//! The destinations of a command, for spans and for metrics, started and ended together.
#![forbid(unsafe_code)]

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::Duration,
};

use super::config::Options;
use crate::{
    capture::count::Account,
    export::{
        Sink,
        delivery::{self, Config, Handle, Stats, Totals, WhenFull, metrics},
    },
    metrics::Shared,
};

/// Running exporters, by the names of their destinations.
#[derive(Debug)]
pub struct Exporters {
    spans: Vec<(String, Handle)>,
    metrics: Vec<(String, metrics::Handle)>,
}

/// What became of the spans of a destination.
#[derive(Clone, Debug)]
pub struct Delivered {
    /// Its name.
    pub name: String,
    /// In this run.
    pub stats: Stats,
    /// In all runs, where there is a queue on the disk.
    pub totals: Option<Totals>,
}

/// What became of all that was exported.
#[derive(Clone, Debug, Default)]
pub struct Exported {
    /// Of the spans, for each destination.
    pub spans: Vec<Delivered>,
    /// Of the metrics, for each destination that they go to.
    pub metrics: Vec<(String, metrics::Stats)>,
}

/// Reads a destination's counters.
pub struct Watch {
    stage: String,
    read: Box<dyn Fn() -> Vec<(&'static str, u64)> + Send>,
}

impl Watch {
    /// Adds the counters to an account.
    pub fn add_to(&self, account: &mut Account) {
        account.add(&self.stage, (self.read)());
    }
}

impl Exporters {
    /// Starts all that the options, and the standard variables, name. `state` is the directory of
    /// state, if the command keeps state.
    pub fn start(options: &Options, state: Option<PathBuf>, when_full: WhenFull) -> anyhow::Result<Self> {
        ignore_limit_of_files();
        let base = options.queue.base(state);
        let configs = configs(options, base.as_deref())?;
        if let Some(base) = base.filter(|_| !configs.is_empty()) {
            tell_of_left_queues(&base, &configs);
        }
        let start = |config: Config| {
            let config = Config { when_full, ..config };
            Ok((config.name.clone(), delivery::start(&config)?))
        };
        let spans = configs.into_iter().map(start).collect::<anyhow::Result<_>>()?;
        Ok(Self { spans, metrics: Vec::new() })
    }

    /// Starts the exporters of metrics.
    pub fn start_metrics(&mut self, configs: MetricsConfigs, metrics: &Shared) -> anyhow::Result<()> {
        for config in configs.all {
            let handle = metrics::start(&config, configs.interval, Arc::clone(metrics))?;
            self.metrics.push((config.name, handle));
        }
        Ok(())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// The ends that spans are offered to.
    pub fn sinks(&self) -> impl Iterator<Item = Sink> {
        self.spans.iter().map(|(_, handle)| handle.sink())
    }

    /// Readers of the counters.
    pub fn watches(&self) -> Vec<Watch> {
        let spans = self.spans.iter().map(|(name, handle)| {
            let read = handle.watch();
            Watch { stage: format!("export.{name}"), read: Box::new(move || read().named()) }
        });
        let metrics = self.metrics.iter().map(|(name, handle)| {
            let read = handle.watch();
            Watch { stage: format!("export.{name}.metrics"), read: Box::new(move || read().named()) }
        });
        spans.chain(metrics).collect()
    }

    /// Ends all at once, and gives each up to `patience` for what is on its way.
    pub fn shutdown(self, patience: Duration) -> Exported {
        let end = |(name, handle): (String, Handle)| {
            thread::spawn(move || {
                let totals = handle.totals();
                let stats = handle.shutdown(patience);
                Delivered { name, stats, totals: totals(&stats) }
            })
        };
        let end_metrics =
            |(name, handle): (String, metrics::Handle)| thread::spawn(move || (name, handle.shutdown(patience)));
        let threads: Vec<_> = self.spans.into_iter().map(end).collect();
        let threads_of_metrics: Vec<_> = self.metrics.into_iter().map(end_metrics).collect();
        Exported {
            spans: threads.into_iter().filter_map(|end| end.join().ok()).collect(),
            metrics: threads_of_metrics.into_iter().filter_map(|end| end.join().ok()).collect(),
        }
    }
}

/// Where metrics go, and how often.
#[derive(Debug)]
pub struct MetricsConfigs {
    all: Vec<Config>,
    interval: Duration,
}

impl MetricsConfigs {
    /// By the options and the standard variables.
    pub fn read(options: &Options) -> anyhow::Result<Self> {
        let variable = |name: &str| std::env::var(name).ok();
        let simple = options.otlp.resolve_metrics(variable)?;
        let resource = Config::resource(variable)?;
        let more = options.destinations.iter().filter_map(|one| one.metrics(&resource));
        let all: Vec<_> = simple.into_iter().chain(more).collect();
        if let Some(asked) = Config::other_temporality(variable).filter(|_| !all.is_empty()) {
            log::warn!("metrics are cumulative: OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE={asked} is ignored");
        }
        Ok(Self { all, interval: options.otlp.interval(variable)? })
    }

    /// Whether they go nowhere.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }
}

/// A limit on the size of files (`RLIMIT_FSIZE`) is then an error of the write, like a full disk, and not the process's end.
fn ignore_limit_of_files() {
    if let Err(error) = signal_hook::flag::register(libc::SIGXFSZ, Arc::default()) {
        log::debug!("SIGXFSZ: {error}");
    }
}

fn configs(options: &Options, base: Option<&Path>) -> anyhow::Result<Vec<Config>> {
    let variable = |name: &str| std::env::var(name).ok();
    let simple = options.otlp.resolve(variable)?.map(|config| options.queue.place(config, base));
    let resource = Config::resource(variable)?;
    let more = options.destinations.iter().map(|one| one.resolve(&options.queue, base, &resource));
    Ok(simple.into_iter().chain(more).collect())
}

/// Tells of queues whose destination is not configured any more: what waits there is sent nowhere.
fn tell_of_left_queues(base: &Path, configs: &[Config]) {
    let is_known =
        |dir: &Path| configs.iter().any(|config| config.queue.as_ref().is_some_and(|queue| queue.dir == dir));
    for entry in fs::read_dir(base).into_iter().flatten().flatten() {
        let dir = entry.path();
        let is_waiting = !is_known(&dir) && delivery::queue::disk::has_segments(&dir);
        if is_waiting {
            log::warn!(
                "{}: spans wait there for a destination that is not configured: name it so again, or remove the directory",
                dir.display()
            );
        }
    }
}
