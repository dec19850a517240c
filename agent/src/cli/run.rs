//! `netspan run`: the daemon: capture, link, store, export, answer.

use std::{
    path::Path,
    process::ExitCode,
    sync::{Arc, PoisonError},
    time::{Duration, Instant},
};

use anyhow::Context as _;

use super::{
    config::{Options, state_dir},
    export::{Exporters, MetricsConfigs, Watch},
    flags::{
        CaptureFlags, CommonFlags, FilterFlags, KubernetesFlags, LinkFlags, NameFlags, OtlpFlags, RedactFlags,
        SampleFlags, ServeFlags,
    },
    session::{Consumer, Origin, Session, prepare_threads},
    summary,
};
use crate::{
    api,
    capture::count::Account,
    conn::Closed,
    export::{Fanout, Sink, delivery::WhenFull},
    host::Processes,
    link::Tally,
    live::Tap,
    metrics,
    sample::{self, Sampler},
    span::{Resource, Span},
    store,
};

/// Arguments of `netspan run`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Flags of every command.
    #[command(flatten)]
    pub common: CommonFlags,
    /// How to capture.
    #[command(flatten)]
    pub capture: CaptureFlags,
    /// What to see.
    #[command(flatten)]
    pub filter: FilterFlags,
    /// Links.
    #[command(flatten)]
    pub link: LinkFlags,
    /// Names.
    #[command(flatten)]
    pub names: NameFlags,
    /// Kubernetes.
    #[command(flatten)]
    pub kubernetes: KubernetesFlags,
    /// Export.
    #[command(flatten)]
    pub otlp: OtlpFlags,
    /// Redaction.
    #[command(flatten)]
    pub redact: RedactFlags,
    /// Sampling.
    #[command(flatten)]
    pub sample: SampleFlags,
    /// Store and API.
    #[command(flatten)]
    pub serve: ServeFlags,
}

/// How long spans may be on their way when the agent ends.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long spans may take to be counted when the agent ends.
const COUNTED_MAX: Duration = Duration::from_secs(1);

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let read = || {
        let Args { common, capture, filter, link, names, kubernetes, otlp, redact, sample, serve } = args;
        super::prepare(common, &[capture, filter, link, names, kubernetes, otlp, redact, sample, serve])
    };
    let options = read()?;
    prepare_threads(&options);
    let state = state_dir(std::env::var("STATE_DIRECTORY").ok().as_deref());
    let mut exporters = Exporters::start(&options, Some(state.clone()), WhenFull::DropOldest)?;
    let metrics_to = MetricsConfigs::read(&options)?;
    let (store, api) = serve(&options, &state)?;
    if exporters.is_empty() && metrics_to.is_empty() && store.is_none() && api.is_none() {
        log::warn!(
            "spans go nowhere: give --otlp URL or [[export]] in the file, or use netspan watch to see them here"
        );
    }
    let origin = Origin::new()?;
    let counted = counted(api.as_ref(), &metrics_to)?;
    if let Some((metrics, _)) = &counted {
        exporters.start_metrics(metrics_to, metrics)?;
    }
    let mut run = Run::new(options.sampling.clone(), store.as_ref().map(store::Handle::sink), origin, exporters);
    run.counted = counted;
    if let Some((_, sink)) = &run.counted {
        run.all.add(sink.clone());
    }
    let session = Session::start(&options, origin, false)?;
    run.told = api.as_ref().map(api::Handle::told);
    if let Some(told) = &run.told {
        let kubernetes = session.kubernetes();
        told.doctor(Box::new(super::doctor::live(&options, session.probes(), kubernetes.clone())));
        told.kubernetes(Box::new(move || kubernetes.to_json()));
    }
    let mut account = session.run(&mut run, || Ok(read()?))?;
    let delivered = run.finish(&mut account).shutdown(PATIENCE);
    drop(api);
    let stored = store.map(store::Handle::shutdown);
    summary::print(&account, &[], &delivered);
    if let Some(stored) = stored {
        eprintln!("  store: {stored}");
    }
    Ok(ExitCode::SUCCESS)
}

/// Starts the store and the API, each on threads of its own. An address that is taken is no reason not to see; one that
/// everybody could read spans from is.
fn serve(options: &Options, state: &Path) -> anyhow::Result<(Option<store::Handle>, Option<api::Handle>)> {
    let store = options.store.config(state).map(store::start).transpose().context("the store's thread")?;
    let stored = store.as_ref().map(|store| api::Stored { reader: store.reader(), stats: Box::new(store.watch()) });
    let api = match options.api.config().map(|config| api::start(&config, stored)) {
        None => None,
        Some(Ok(api)) => {
            log::info!("the API listens on http://{}", api.address());
            Some(api)
        }
        Some(Err(error @ api::StartError::NeedsToken(_))) => return Err(error.into()),
        Some(Err(error)) => {
            log::error!("there is no API: {error}");
            None
        }
    };
    Ok((store, api))
}

/// Metrics and who counts spans into them: the API if there is one, else a thread if they are sent anywhere.
fn counted(api: Option<&api::Handle>, to: &MetricsConfigs) -> anyhow::Result<Option<(metrics::Shared, Sink)>> {
    if let Some(api) = api {
        return Ok(Some((api.told().metrics(), api.sink())));
    }
    if to.is_empty() {
        return Ok(None);
    }
    let metrics = metrics::Shared::default();
    let counting = metrics::Counting::start(Arc::clone(&metrics)).context("the metrics' thread")?;
    Ok(Some((metrics, counting.sink())))
}

/// Waits until all spans that were offered are in the metrics, which are sent for the last time then.
fn await_counted((metrics, sink): &(metrics::Shared, Sink)) {
    let until = Instant::now() + COUNTED_MAX;
    let taken = sink.stats().taken();
    let count = || metrics.lock().unwrap_or_else(PoisonError::into_inner).spans();
    while count() < taken && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Spans to the sinks: some get all of them, some what sampling keeps.
struct Run {
    all: Fanout,
    kept: Fanout,
    store: Option<Sink>,
    sampler: Sampler,
    told: Option<Arc<api::Told>>,
    /// The metrics, if somebody wants them, and the sink of who counts spans.
    counted: Option<(metrics::Shared, Sink)>,
    exporters: Exporters,
    /// What becomes of spans on their way to the destinations.
    watches: Vec<Watch>,
    /// Turns boot-time into Unix time.
    clock_offset_ns: u64,
}

impl Run {
    fn new(sampling: sample::Options, store: Option<Sink>, origin: Origin, exporters: Exporters) -> Self {
        let mut kept = Fanout::default();
        kept.replace(exporters.sinks());
        Self {
            all: Fanout::default(),
            kept,
            store,
            sampler: Sampler::new(sampling),
            told: None,
            counted: None,
            watches: exporters.watches(),
            exporters,
            clock_offset_ns: origin.clock_offset_ns,
        }
    }

    /// Decides about what still waits, and gives up the sinks. Leaves the destinations.
    fn finish(mut self, account: &mut Account) -> Exporters {
        self.sampler.finish();
        self.export();
        self.count(account);
        self.counted.as_ref().inspect(|counted| await_counted(counted));
        self.exporters
    }

    /// Gives what sampling keeps to who gets that.
    fn export(&mut self) {
        let store = self.store.as_ref().filter(|_| self.sampler.options().store == sample::Store::Kept);
        for span in self.sampler.take() {
            self.kept.send(&span);
            if let Some(store) = store {
                store.offer(span);
            }
        }
    }

    fn count(&self, account: &mut Account) {
        let counts = self.sampler.counts();
        if counts.produced > 0 {
            account.add("sample", counts.named());
        }
    }
}

impl Tap for Run {
    fn advance(&mut self, now_ns: u64) {
        self.sampler.advance(now_ns);
    }
}

impl Consumer for Run {
    fn spans(&mut self, spans: Vec<Arc<Span>>) -> bool {
        let is_on = self.sampler.options().is_on();
        let store = self.store.as_ref().filter(|_| !is_on || self.sampler.options().store == sample::Store::All);
        for span in &spans {
            self.all.send(span);
            if let Some(store) = store {
                store.offer(Arc::clone(span));
            }
            if !is_on {
                self.kept.send(span);
            }
        }
        if is_on {
            for span in spans {
                self.sampler.push(span);
            }
        }
        true
    }

    fn wants_account(&self) -> bool {
        self.told.is_some()
    }

    fn account(&mut self, mut account: Account) {
        self.count(&mut account);
        for watch in &self.watches {
            watch.add_to(&mut account);
        }
        if let Some(told) = &self.told {
            told.account(account);
            let store = self.store.as_ref().map(Sink::stats);
            told.sinks(self.kept.stats().chain(store).chain(self.all.stats()).collect());
        }
    }

    fn links(&mut self, links: Vec<(u32, Tally)>) {
        if let Some(told) = &self.told {
            told.links(links);
        }
    }

    fn wants_closed(&self) -> bool {
        self.counted.is_some()
    }

    fn closed(&mut self, closed: Vec<(Closed, Arc<Resource>)>) {
        let Some((metrics, _)) = &self.counted else { return };
        let mut metrics = metrics.lock().unwrap_or_else(PoisonError::into_inner);
        for (closed, resource) in &closed {
            metrics.add_connection(closed, resource, self.clock_offset_ns);
        }
    }

    fn reloaded(&mut self, options: &Options) {
        if *self.sampler.options() != options.sampling {
            self.sampler.set(options.sampling.clone());
        }
        // What was decided so far goes where it was to go.
        self.export();
        match self.exporters.reload(options, self.counted.as_ref().map(|(metrics, _)| metrics)) {
            Ok(changes) if changes.is_empty() => {}
            Ok(changes) => {
                log::info!("{changes}");
                self.kept.replace(self.exporters.sinks());
                self.watches = self.exporters.watches();
            }
            Err(error) => log::error!("spans go where they went: {error:#}"),
        }
    }

    fn turned(&mut self, _: &mut Processes) -> anyhow::Result<()> {
        self.export();
        Ok(())
    }
}
