//! The destinations of a command, for spans and for metrics, started and ended together.
#![forbid(unsafe_code)]

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
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

/// How long what is on its way to a destination may take when the options are read anew and it is not the same any more.
const RELOAD_PATIENCE: Duration = Duration::from_secs(2);

/// Running exporters, each with the configuration that it was started with. Names are unique.
#[derive(Debug)]
pub struct Exporters {
    spans: Vec<(Config, Handle)>,
    metrics: Vec<(Config, metrics::Handle)>,
    /// How often metrics are sent.
    interval: Duration,
    state: Option<PathBuf>,
    when_full: WhenFull,
    /// What became of spans of destinations that are no more, or were others.
    ended: Arc<Mutex<Vec<Delivered>>>,
    ending: Vec<thread::JoinHandle<()>>,
}

/// What a reload changed: names of destinations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Of spans: new, or with another configuration.
    pub started: Vec<String>,
    /// Of spans: no more.
    pub ended: Vec<String>,
    /// How many destinations of metrics are new, others, or no more.
    pub metrics: usize,
}

impl Changes {
    /// Whether all is as it was.
    pub fn is_empty(&self) -> bool {
        self.started.is_empty() && self.ended.is_empty() && self.metrics == 0
    }
}

impl std::fmt::Display for Changes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names = |names: &[String]| if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        let Self { started, ended, metrics } = self;
        write!(f, "destinations started: {}; ended: {}; of metrics {metrics} changed", names(started), names(ended))
    }
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
        let base = options.queue.base(state.clone());
        let configs = configs(options, base.as_deref())?;
        if let Some(base) = base.filter(|_| !configs.is_empty()) {
            tell_of_left_queues(&base, &configs);
        }
        let start = |config: Config| {
            let config = Config { when_full, ..config };
            let handle = delivery::start(&config)?;
            Ok((config, handle))
        };
        let spans = configs.into_iter().map(start).collect::<anyhow::Result<_>>()?;
        Ok(Self {
            spans,
            metrics: Vec::new(),
            interval: metrics::INTERVAL,
            state,
            when_full,
            ended: Arc::default(),
            ending: Vec::new(),
        })
    }

    /// Makes the destinations those of other options. One whose configuration is the same goes on undisturbed; one that has
    /// another takes over the queue of its name, and gets what is offered from now on. Where `metrics` is absent nobody counts, and metrics
    /// go nowhere.
    ///
    /// # Errors
    /// The options name something that can't be used. All goes on as it was.
    pub fn reload(&mut self, options: &Options, counted: Option<&Shared>) -> anyhow::Result<Changes> {
        let base = options.queue.base(self.state.clone());
        let asked = configs(options, base.as_deref())?;
        let asked: Vec<_> = asked.into_iter().map(|config| Config { when_full: self.when_full, ..config }).collect();
        let asked_metrics = MetricsConfigs::read(options)?;
        // What can fail comes first.
        for config in asked.iter().filter(|config| self.spans.iter().all(|(known, _)| known != *config)) {
            delivery::check(config)?;
        }
        let mut changes = Changes::default();
        let mut before = std::mem::take(&mut self.spans);
        for config in asked {
            let known = before.iter().position(|(known, _)| known.name == config.name);
            let known = known.map(|place| before.swap_remove(place));
            match known {
                Some((known, handle)) if known == config => self.spans.push((known, handle)),
                known => {
                    let (name, ended) = (config.name.clone(), Arc::clone(&self.ended));
                    let end = move || {
                        if let Some((_, before)) = known {
                            keep(&ended, name, before, RELOAD_PATIENCE);
                        }
                    };
                    changes.started.push(config.name.clone());
                    let handle = delivery::start_after(&config, end)?;
                    self.spans.push((config, handle));
                }
            }
        }
        for (config, handle) in before {
            changes.ended.push(config.name.clone());
            let ended = Arc::clone(&self.ended);
            self.ending.push(thread::spawn(move || keep(&ended, config.name, handle, RELOAD_PATIENCE)));
        }
        changes.metrics = self.reload_metrics(asked_metrics, counted)?;
        Ok(changes)
    }

    /// The same of metrics; gives how many destinations changed.
    fn reload_metrics(&mut self, asked: MetricsConfigs, counted: Option<&Shared>) -> anyhow::Result<usize> {
        let Some(counted) = counted else {
            if !asked.is_empty() {
                log::warn!("metrics are counted from the next start on: nothing asked for them at this one");
            }
            return Ok(0);
        };
        let is_same = |known: &Config| asked.interval == self.interval && asked.all.contains(known);
        let (same, other): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.metrics).into_iter().partition(|(known, _)| is_same(known));
        self.metrics = same;
        let new: Vec<Config> =
            asked.all.into_iter().filter(|config| self.metrics.iter().all(|(known, _)| known != config)).collect();
        let changed = new.len().max(other.len());
        for (_, handle) in other {
            // Sums are cumulative: what the old one does not say any more, the new one does.
            self.ending.push(thread::spawn(move || {
                handle.shutdown(RELOAD_PATIENCE);
            }));
        }
        self.start_metrics(MetricsConfigs { all: new, interval: asked.interval }, counted)?;
        Ok(changed)
    }

    /// Starts the exporters of metrics.
    pub fn start_metrics(&mut self, configs: MetricsConfigs, metrics: &Shared) -> anyhow::Result<()> {
        self.interval = configs.interval;
        for config in configs.all {
            let handle = metrics::start(&config, configs.interval, Arc::clone(metrics))?;
            self.metrics.push((config, handle));
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
        let spans = self.spans.iter().map(|(Config { name, .. }, handle)| {
            let read = handle.watch();
            Watch { stage: format!("export.{name}"), read: Box::new(move || read().named()) }
        });
        let metrics = self.metrics.iter().map(|(Config { name, .. }, handle)| {
            let read = handle.watch();
            Watch { stage: format!("export.{name}.metrics"), read: Box::new(move || read().named()) }
        });
        spans.chain(metrics).collect()
    }

    /// Ends all at once, and gives each up to `patience` for what is on its way.
    pub fn shutdown(self, patience: Duration) -> Exported {
        let end = |(config, handle): (Config, Handle)| thread::spawn(move || delivered(config.name, handle, patience));
        let end_metrics = |(config, handle): (Config, metrics::Handle)| {
            thread::spawn(move || (config.name, handle.shutdown(patience)))
        };
        let threads: Vec<_> = self.spans.into_iter().map(end).collect();
        let threads_of_metrics: Vec<_> = self.metrics.into_iter().map(end_metrics).collect();
        let now: Vec<_> = threads.into_iter().filter_map(|end| end.join().ok()).collect();
        self.ending.into_iter().for_each(|end| drop(end.join()));
        let mut spans = std::mem::take(&mut *self.ended.lock().unwrap_or_else(PoisonError::into_inner));
        spans.extend(now);
        Exported { spans, metrics: threads_of_metrics.into_iter().filter_map(|end| end.join().ok()).collect() }
    }
}

/// Ends an exporter.
fn delivered(name: String, handle: Handle, patience: Duration) -> Delivered {
    let totals = handle.totals();
    let stats = handle.shutdown(patience);
    Delivered { name, stats, totals: totals(&stats) }
}

/// Ends an exporter, for the summary at the end of the run.
fn keep(ended: &Mutex<Vec<Delivered>>, name: String, handle: Handle, patience: Duration) {
    let delivered = delivered(name, handle, patience);
    log::info!("{} ended: {}", delivered.name, delivered.stats);
    // Its totals are told by who took over the queue.
    let delivered = Delivered { totals: None, name: format!("{} (until a reload)", delivered.name), ..delivered };
    ended.lock().unwrap_or_else(PoisonError::into_inner).push(delivered);
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
