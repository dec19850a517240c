//! `netspan watch`: spans or whole traces on the terminal as they finish.

use std::{process::ExitCode, sync::Arc};

use anyhow::Context as _;

use super::{
    export::Exported,
    flags::{CaptureFlags, CommonFlags, FilterFlags, KubernetesFlags, LinkFlags, NameFlags, RedactFlags, ViewFlags},
    output::{Form, Output},
    session::{Consumer, Origin, Session, prepare_threads},
    summary,
};
use crate::{export::Sink, live::Tap, span::Span};

/// Arguments of `netspan watch`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Show whole traces as waterfalls instead of one line per span
    #[arg(long, conflicts_with = "json")]
    pub traces: bool,
    /// Show one span per line as JSON
    #[arg(long)]
    pub json: bool,
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
    /// Redaction.
    #[command(flatten)]
    pub redact: RedactFlags,
    /// What to show.
    #[command(flatten)]
    pub view: ViewFlags,
}

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let read = || {
        super::prepare(
            &args.common,
            &[&args.capture, &args.filter, &args.link, &args.names, &args.kubernetes, &args.redact, &args.view],
        )
    };
    let options = read()?;
    prepare_threads(&options);
    let session = Session::start(&options, Origin::new()?, false)?;
    let output = Output::start(Form::of(args.traces, args.json), options.view.clone()).context("standard output")?;
    let mut watch = Watch { sink: output.sink(), output };
    let account = session.run(&mut watch, || Ok(read()?))?;
    let Watch { sink, output } = watch;
    drop(sink);
    let (stats, traces) = output.finish().context("standard output")?;
    summary::print(&account, &[stats], &Exported::default());
    summary::traces(traces);
    Ok(ExitCode::SUCCESS)
}

/// Spans to standard output.
struct Watch {
    sink: Sink,
    output: Output,
}

impl Tap for Watch {}

impl Consumer for Watch {
    fn spans(&mut self, spans: Vec<Arc<Span>>) -> bool {
        for span in spans {
            self.sink.offer(span);
        }
        !self.output.is_closed()
    }
}
