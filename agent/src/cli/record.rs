//! `netspan record`: events to a file, for a replay.

use std::{fs::File, path::PathBuf, process::ExitCode, sync::Arc};

use anyhow::Context as _;
use netspan_ebpf::ConnEvent;

use super::{
    export::Exported,
    flags::{CaptureFlags, CommonFlags, FilterFlags, KubernetesFlags, NameFlags, RedactFlags},
    session::{CONNECTIONS, Consumer, Origin, Session, prepare_threads},
    summary,
};
use crate::{
    capture::{
        event::Event,
        recording::{Header, Scrub, WriteError, Writer},
    },
    host::{Machine, ProcRoot, Processes},
    live::{Tap, boot_ns},
    span::Span,
};

/// Arguments of `netspan record`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The recording to write
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Flags of every command.
    #[command(flatten)]
    pub common: CommonFlags,
    /// How to capture.
    #[command(flatten)]
    pub capture: CaptureFlags,
    /// What to see.
    #[command(flatten)]
    pub filter: FilterFlags,
    /// Names.
    #[command(flatten)]
    pub names: NameFlags,
    /// Kubernetes.
    #[command(flatten)]
    pub kubernetes: KubernetesFlags,
    /// Redaction.
    #[command(flatten)]
    pub redact: RedactFlags,
}

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let read =
        || super::prepare(&args.common, &[&args.capture, &args.filter, &args.names, &args.kubernetes, &args.redact]);
    let options = read()?;
    prepare_threads(&options);
    let name = args.file.display();
    let file = File::create(&args.file).with_context(|| format!("{name}: can't be written"))?;
    let origin = Origin::new()?;
    let mut header = Header::new(origin.seed, origin.clock_offset_ns, boot_ns());
    header.machine = serde_json::to_value(Machine::read(&ProcRoot::host()))?;
    let is_gzip = args.file.extension().is_some_and(|extension| extension == "gz");
    let mut record = Record {
        writer: Writer::new(file, &header, is_gzip)?,
        scrub: Scrub::new(CONNECTIONS, Arc::new(options.redaction()?)),
        scrubbed: Vec::new(),
        failed: None,
    };
    let session = Session::start(&options, origin, true)?;
    let mut account = session.run(&mut record, || Ok(read()?))?;
    account.add("recording", record.scrub.counts().named());
    if let Some(error) = record.failed {
        return Err(error).with_context(|| format!("{name}: the recording is not whole"));
    }
    record.writer.finish(&account).with_context(|| format!("{name}: the recording is not whole"))?;
    summary::print(&account, &[], &Exported::default());
    Ok(ExitCode::SUCCESS)
}

/// Events to a file. Spans are made all the same, because making them asks who the processes are.
struct Record {
    writer: Writer<File>,
    scrub: Scrub,
    scrubbed: Vec<u8>,
    failed: Option<WriteError>,
}

impl Record {
    fn keep(&mut self, result: Result<(), WriteError>) {
        if let Err(error) = result {
            self.failed.get_or_insert(error);
        }
    }
}

impl Tap for Record {
    fn event(&mut self, record: &[u8]) {
        self.scrubbed.clear();
        self.scrub.record(record, &mut self.scrubbed);
        if !self.scrubbed.is_empty() {
            let result = self.writer.event(&self.scrubbed);
            self.keep(result);
        }
    }

    fn update(&mut self, event: &ConnEvent) {
        self.scrubbed.clear();
        Event::Conn(*event).encode(&mut self.scrubbed);
        let result = self.writer.update(&self.scrubbed);
        self.keep(result);
    }

    fn advance(&mut self, now_ns: u64) {
        let result = self.writer.advance(now_ns);
        self.keep(result);
    }
}

impl Consumer for Record {
    fn spans(&mut self, _: Vec<Arc<Span>>) -> bool {
        self.failed.is_none()
    }

    fn turned(&mut self, processes: &mut Processes) -> anyhow::Result<()> {
        for identity in processes.take_new() {
            let result = self.writer.identity(&serde_json::to_vec(&*identity)?);
            self.keep(result);
        }
        Ok(())
    }
}
