//! `netspan run`: the daemon: capture, link, export.

use std::{process::ExitCode, sync::Arc, time::Duration};

use super::{
    flags::{CaptureFlags, CommonFlags, FilterFlags, LinkFlags, NameFlags, OtlpFlags, RedactFlags},
    session::{Consumer, Origin, Session, prioritise},
    summary,
};
use crate::{
    export::{Fanout, otlp},
    live::Tap,
    span::Span,
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
}

/// How long spans may be on their way when the agent ends.
const PATIENCE: Duration = Duration::from_secs(5);

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let read = || {
        super::prepare(&args.common, &[&args.capture, &args.filter, &args.link, &args.names, &args.otlp, &args.redact])
    };
    let options = read()?;
    prioritise(&options);
    let otlp = options.otlp.resolve(|name| std::env::var(name).ok())?;
    if otlp.is_none() {
        log::warn!("spans go nowhere: give --otlp URL, or use netspan watch to see them here");
    }
    let exporter = otlp.as_ref().map(otlp::start).transpose()?;
    let mut fanout = Fanout::default();
    if let Some(exporter) = &exporter {
        fanout.add(exporter.sink());
    }
    let session = Session::start(&options, Origin::new()?, false)?;
    let account = session.run(&mut Run { fanout }, || Ok(read()?))?;
    let stats = exporter.map(|exporter| exporter.shutdown(PATIENCE));
    summary::print(&account, &[], stats.as_ref());
    Ok(ExitCode::SUCCESS)
}

/// Spans to the sinks.
struct Run {
    fanout: Fanout,
}

impl Tap for Run {}

impl Consumer for Run {
    fn spans(&mut self, spans: Vec<Arc<Span>>) -> bool {
        for span in &spans {
            self.fanout.send(span);
        }
        true
    }
}
