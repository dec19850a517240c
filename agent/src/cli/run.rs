//! `netspan run`: the daemon: capture, link, store, export, answer.

use std::{process::ExitCode, sync::Arc, time::Duration};

use anyhow::Context as _;

use super::{
    config::Options,
    flags::{CaptureFlags, CommonFlags, FilterFlags, LinkFlags, NameFlags, OtlpFlags, RedactFlags, ServeFlags},
    session::{Consumer, Origin, Session, prioritise},
    summary,
};
use crate::{
    api,
    capture::count::Account,
    export::{Fanout, otlp},
    link::Tally,
    live::Tap,
    span::Span,
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
    /// Export.
    #[command(flatten)]
    pub otlp: OtlpFlags,
    /// Redaction.
    #[command(flatten)]
    pub redact: RedactFlags,
    /// Store and API.
    #[command(flatten)]
    pub serve: ServeFlags,
}

/// How long spans may be on their way when the agent ends.
const PATIENCE: Duration = Duration::from_secs(5);

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let read = || {
        let Args { common, capture, filter, link, names, otlp, redact, serve } = args;
        super::prepare(common, &[capture, filter, link, names, otlp, redact, serve])
    };
    let options = read()?;
    prioritise(&options);
    let otlp = options.otlp.resolve(|name| std::env::var(name).ok())?;
    let exporter = otlp.as_ref().map(otlp::start).transpose()?;
    let (store, api) = serve(&options)?;
    if exporter.is_none() && store.is_none() && api.is_none() {
        log::warn!("spans go nowhere: give --otlp URL, or use netspan watch to see them here");
    }
    let mut fanout = Fanout::default();
    let sinks = [exporter.as_ref().map(otlp::Handle::sink), store.as_ref().map(store::Handle::sink)];
    for sink in sinks.into_iter().flatten().chain(api.as_ref().map(api::Handle::sink)) {
        fanout.add(sink);
    }
    let session = Session::start(&options, Origin::new()?, false)?;
    let told = api.as_ref().map(api::Handle::told);
    if let Some(told) = &told {
        told.doctor(Box::new(super::doctor::live(&options, session.probes())));
    }
    let account = session.run(&mut Run { fanout, told }, || Ok(read()?))?;
    let stats = exporter.map(|exporter| exporter.shutdown(PATIENCE));
    drop(api);
    let stored = store.map(store::Handle::shutdown);
    summary::print(&account, &[], stats.as_ref());
    if let Some(stored) = stored {
        eprintln!("  store: {stored}");
    }
    Ok(ExitCode::SUCCESS)
}

/// Starts the store and the API, each on threads of its own. An address that is taken is no reason not to see; one that
/// everybody could read spans from is.
fn serve(options: &Options) -> anyhow::Result<(Option<store::Handle>, Option<api::Handle>)> {
    let config = options.store.config(std::env::var("STATE_DIRECTORY").ok().as_deref());
    let store = config.map(store::start).transpose().context("the store's thread")?;
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

/// Spans to the sinks.
struct Run {
    fanout: Fanout,
    told: Option<Arc<api::Told>>,
}

impl Tap for Run {}

impl Consumer for Run {
    fn spans(&mut self, spans: Vec<Arc<Span>>) -> bool {
        for span in &spans {
            self.fanout.send(span);
        }
        true
    }

    fn wants_account(&self) -> bool {
        self.told.is_some()
    }

    fn account(&mut self, account: Account) {
        if let Some(told) = &self.told {
            told.account(account);
            told.sinks(self.fanout.stats().collect());
        }
    }

    fn links(&mut self, links: Vec<(u32, Tally)>) {
        if let Some(told) = &self.told {
            told.links(links);
        }
    }
}
