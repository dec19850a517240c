//! `netspan run`: the daemon: capture, link, store, export, answer.

use std::{process::ExitCode, sync::Arc, time::Duration};

use anyhow::Context as _;

use super::{
    config::{Options, state_dir},
    export::{Exporters, Watch},
    flags::{CaptureFlags, CommonFlags, FilterFlags, LinkFlags, NameFlags, OtlpFlags, RedactFlags, ServeFlags},
    session::{Consumer, Origin, Session, prioritise},
    summary,
};
use crate::{
    api,
    capture::count::Account,
    export::{Fanout, delivery::WhenFull},
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
    let state = state_dir(std::env::var("STATE_DIRECTORY").ok().as_deref());
    let exporters = Exporters::start(&options, Some(state), WhenFull::DropOldest)?;
    let (store, api) = serve(&options)?;
    if exporters.is_empty() && store.is_none() && api.is_none() {
        log::warn!(
            "spans go nowhere: give --otlp URL or [[export]] in the file, or use netspan watch to see them here"
        );
    }
    let mut fanout = Fanout::default();
    let sinks = [store.as_ref().map(store::Handle::sink), api.as_ref().map(api::Handle::sink)];
    for sink in exporters.sinks().chain(sinks.into_iter().flatten()) {
        fanout.add(sink);
    }
    let session = Session::start(&options, Origin::new()?, false)?;
    let told = api.as_ref().map(api::Handle::told);
    if let Some(told) = &told {
        told.doctor(Box::new(super::doctor::live(&options, session.probes())));
    }
    let watches = exporters.watches();
    let account = session.run(&mut Run { fanout, told, watches }, || Ok(read()?))?;
    let delivered = exporters.shutdown(PATIENCE);
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
    watches: Vec<Watch>,
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

    fn account(&mut self, mut account: Account) {
        for watch in &self.watches {
            watch.add_to(&mut account);
        }
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
