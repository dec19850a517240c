//! `netspan replay`: a recording through the same pipeline.

use std::{
    fs::File,
    io::{self, BufWriter},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;

use super::{
    export::Exporters,
    flags::{CommonFlags, FilterFlags, LinkFlags, NameFlags, OtlpFlags, RedactFlags, ViewFlags},
    output::{Form, Printer},
    session::{Origin, pipeline_options},
    summary,
};
use crate::{
    capture::recording::Reader,
    export::delivery::WhenFull,
    host::{Machine, Recorded},
    pipeline::{self, Pipeline},
};

/// Arguments of `netspan replay`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The recording to read
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Show whole traces as waterfalls instead of one line per span
    #[arg(long, conflicts_with = "json")]
    pub traces: bool,
    /// Show one span per line as JSON
    #[arg(long)]
    pub json: bool,
    /// Flags of every command.
    #[command(flatten)]
    pub common: CommonFlags,
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
    /// What to show.
    #[command(flatten)]
    pub view: ViewFlags,
}

/// How long spans may be on their way when the replay ends.
const PATIENCE: Duration = Duration::from_secs(30);

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let options =
        super::prepare(&args.common, &[&args.filter, &args.link, &args.names, &args.otlp, &args.redact, &args.view])?;
    let name = args.file.display();
    let mut recording = open(&args.file).with_context(|| format!("{name}"))?;
    let machine: Machine = serde_json::from_value(recording.header().machine.clone()).unwrap_or_default();
    let mut recorded = Recorded::new(machine, options.services.clone());
    pipeline::identities(&mut recording, |json| {
        if let Err(error) = recorded.load(json) {
            log::warn!("{name}: an identity can't be read: {error}");
        }
    });
    let mut recording = open(&args.file).with_context(|| format!("{name}"))?;
    let header = recording.header();
    let origin = Origin { seed: header.seed, clock_offset_ns: header.clock_offset_ns };
    let mut pipeline = Pipeline::new(pipeline_options(&options, origin, true)?, recorded);

    // A replay can wait for the receivers.
    let exporters = Exporters::start(&options, None, WhenFull::HoldBack)?;
    let sinks: Vec<_> = exporters.sinks().collect();
    let mut printer = Printer::new(Form::of(args.traces, args.json), options.view.clone());
    let mut out = BufWriter::new(io::stdout().lock());
    let mut written = Ok(());
    let replayed = pipeline::replay(&mut recording, &mut pipeline, |span| {
        printer.span(&span);
        if written.is_ok() {
            written = printer.write(&mut out);
        }
        for sink in &sinks {
            sink.give(Arc::clone(&span));
        }
    });
    printer.finish();
    match written.and_then(|()| printer.write(&mut out)) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => return Err(error).context("standard output"),
        _ => {}
    }
    let delivered = exporters.shutdown(PATIENCE);
    let mut account = replayed.with_context(|| format!("{name}"))?;
    pipeline.account(&mut account);
    summary::print(&account, &[], &delivered);
    summary::traces(printer.traces());
    Ok(ExitCode::SUCCESS)
}

fn open(path: &Path) -> anyhow::Result<Reader> {
    Ok(Reader::new(File::open(path).context("can't be read")?)?)
}
